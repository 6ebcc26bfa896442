/**
 * What a command is.
 *
 * @module
 */

import { formatHelp, type HelpText } from "./help.ts";
import { asksForHelp, type OptionTable, parseOptions, UsageError, type Values } from "./options.ts";

/** Exit codes of the program. */
export const EXIT = { ok: 0, failure: 1, usage: 2 } as const;

/** A command that failed in a way that the user can understand. The exit code is 1. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** How a command is described. */
export interface CommandSpec<T extends OptionTable> extends HelpText {
  /** Its options. */
  readonly options: T;
  /** What its operands are called, e.g. `ID`; it takes none unless given. */
  readonly operands?: { readonly name: string; readonly min: number };
  /** Does the work, and gives the exit code. */
  run(values: Values<T>, operands: readonly string[]): Promise<number> | number;
}

/** A command, ready to run. */
export type Command = (args: readonly string[]) => Promise<number>;

/** Makes a command of its description. It throws a {@linkcode UsageError} for arguments that it cannot take. */
export function makeCommand<T extends OptionTable>(spec: CommandSpec<T>): Command {
  return async (args) => {
    if (asksForHelp(args)) {
      console.log(formatHelp(spec, spec.options));
      return EXIT.ok;
    }
    const { values, operands } = parseOptions(spec.options, args);
    const { name, min } = spec.operands ?? { name: undefined, min: 0 };
    if (name === undefined && operands.length > 0) {
      throw new UsageError(
        `${JSON.stringify(operands[0])} is no option; accepted are options only`,
      );
    }
    if (operands.length < min) throw new UsageError(`${name} is missing`);
    return await spec.run(values, operands);
  };
}

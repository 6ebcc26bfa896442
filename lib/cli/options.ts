/**
 * Options of commands as tables: what is accepted, how it is parsed and what the help says of it all
 * come from the same entry.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { suggest } from "./suggest.ts";

/** A command line that cannot be understood. The message says what is accepted; the exit code is 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** One option of a command. */
export interface Option<V> {
  /** What stands for the value in the help; an option without one is a flag. */
  readonly placeholder: string | undefined;
  /** A few words for the help, defaults included. */
  readonly help: string;
  /** Under which heading the help lists it. */
  readonly section: string;
  /** Whether it may be given more than once. */
  readonly repeatable: boolean;
  /** Whether it is on by itself and given as `--no-NAME`. */
  readonly negated: boolean;
  /**
   * The value for the texts that were given, in their order.
   *
   * @throws {TypeError} when a text is not acceptable.
   */
  read(texts: readonly string[]): V;
}

/** The options of a command by name, without dashes. */
export type OptionTable = Readonly<Record<string, Option<unknown>>>;

/** The values of the options of a table. */
export type Values<T extends OptionTable> = {
  readonly [K in keyof T]: T[K] extends Option<infer V> ? V : never;
};

/** A command line, understood. */
export interface ParsedArgs<T extends OptionTable> {
  /** The values of all options of the table, given or not. */
  readonly values: Values<T>;
  /** The arguments that are no options. */
  readonly operands: readonly string[];
}

const MAIN_SECTION = "Options";

/** An option that takes no value. */
export function flag(help: string): Option<boolean> {
  return {
    ...base(undefined, help),
    read: (texts) => texts.length > 0,
  };
}

/** An option that is on unless `--no-NAME` is given. */
export function negatedFlag(help: string): Option<boolean> {
  return {
    ...base(undefined, help),
    negated: true,
    read: (texts) => texts.length === 0,
  };
}

/** An option with one value. */
export function one<V>(
  placeholder: string,
  help: string,
  parse: (text: string) => V,
): Option<V | undefined> {
  return {
    ...base(placeholder, help),
    read: ([text]) => text === undefined ? undefined : parse(text),
  };
}

/** An option with one of some words as value. */
export function oneOf<const C extends string>(
  placeholder: string,
  help: string,
  choices: readonly C[],
): Option<C | undefined> {
  return one(placeholder, help, (text) => {
    const choice = choices.find((known) => known === text);
    if (choice !== undefined) return choice;
    throw new TypeError(
      `${JSON.stringify(text)} is not accepted; accepted is one of ${choices.join(", ")}`,
    );
  });
}

/** An option that may be given more than once. */
export function many<V>(
  placeholder: string,
  help: string,
  parse: (text: string) => V,
): Option<V[]> {
  return {
    ...base(placeholder, help),
    repeatable: true,
    read: (texts) => texts.map(parse),
  };
}

function base(placeholder: string | undefined, help: string) {
  return { placeholder, help, section: MAIN_SECTION, repeatable: false, negated: false } as const;
}

/** The same options under a heading of their own. */
export function inSection<T extends OptionTable>(section: string, table: T): T {
  return Object.fromEntries(
    Object.entries(table).map(([name, option]) => [name, { ...option, section }]),
  ) as T;
}

/** Whether help is asked for, anywhere before `--`. */
export function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return (end < 0 ? args : args.slice(0, end)).some((arg) => arg === "--help" || arg === "-h");
}

/**
 * Parses a command line.
 *
 * @throws {UsageError} with the name of the option that is not known, lacks its value, is given twice or
 *   has a value that is not acceptable.
 */
export function parseOptions<T extends OptionTable>(
  table: T,
  args: readonly string[],
): ParsedArgs<T> {
  const names = Object.keys(table);
  const negatable = names.filter((name) => table[name]!.negated);
  const flags = names.filter((name) => table[name]!.placeholder === undefined);
  const { _: operands, ...given } = parseArgs(attachValues(table, args), {
    boolean: negatable,
    negatable,
    string: ["_", ...names.filter((name) => !negatable.includes(name))],
    collect: names.filter((name) => !negatable.includes(name)),
    default: Object.fromEntries(negatable.map((name) => [name, true])),
  });
  const values = Object.entries(table).map(([name, option]) => {
    const texts = option.negated
      ? (given[name] === false ? ["false"] : [])
      : given[name] as string[];
    if (texts.length > 1 && !option.repeatable && !flags.includes(name)) {
      throw new UsageError(`--${name} is given ${texts.length} times; accepted is once`);
    }
    return [name, readOption(name, option, texts)];
  });
  return { values: Object.fromEntries(values), operands: operands.map(String) };
}

/**
 * Joins each option and its value to one word, and refuses what is no option. The parser would take a value
 * such as `-` for another option, a `true` behind a flag for its value, and fail at `--_`.
 */
function attachValues(table: OptionTable, args: readonly string[]): string[] {
  const joined: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") return [...joined, ...args.slice(i)];
    if (!arg.startsWith("-") || arg === "-") {
      joined.push(arg);
      continue;
    }
    const [, no, name = "", assigned] = /^--(no-)?([^=]+)(=)?/.exec(arg) ?? [];
    const option = Object.hasOwn(table, name) ? table[name] : undefined;
    if (option?.negated && no !== undefined && assigned === undefined) {
      joined.push(arg);
    } else if (option === undefined || no !== undefined) {
      refuseUnknown(table, arg);
    } else if (option.negated) {
      throw new UsageError(`--${name} is on by itself; accepted is --no-${name}`);
    } else if (option.placeholder === undefined) {
      if (assigned !== undefined) throw new UsageError(`--${name} takes no value`);
      joined.push(`--${name}=`);
    } else if (assigned !== undefined) {
      joined.push(arg);
    } else {
      const value = args[++i];
      if (value === undefined || /^--[a-z]/.test(value)) {
        throw new UsageError(`--${name} lacks its value: --${name} ${option.placeholder}`);
      }
      joined.push(`--${name}=${value}`);
    }
  }
  return joined;
}

function readOption(name: string, option: Option<unknown>, texts: readonly string[]): unknown {
  try {
    return option.read(texts);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new UsageError(`--${name}: ${error.message}`);
  }
}

function refuseUnknown(table: OptionTable, arg: string): never {
  const written = arg.split("=", 1)[0]!;
  const known = Object.entries(table)
    .map(([name, { negated }]) => negated ? `--no-${name}` : `--${name}`);
  const nearest = suggest(written, [...known, "--help"]);
  throw new UsageError(
    `${written} is not an option of this command` +
      (nearest === undefined ? "" : `; did you mean ${nearest}?`),
  );
}

/** The part of `@std/cli` that this project uses, declared because the npm build ships no types. */

/** What {@linkcode parseArgs} is told about the options. */
export interface ParseOptions {
  /** Stop at the first argument that is no option and leave the rest in `_`. */
  stopEarly?: boolean;
  /** Options that take no value. */
  boolean?: readonly string[];
  /** Options whose value stays a string. */
  string?: readonly string[];
  /** Options that may be given more than once; their values become a list. */
  collect?: readonly string[];
  /** Boolean options that `--no-NAME` sets to false. */
  negatable?: readonly string[];
  /** Short names. */
  alias?: Record<string, string | readonly string[]>;
  /** Values of options that are not given. */
  default?: Record<string, unknown>;
  /** Called for each option that is not declared; returning `false` leaves it out. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}
/** The options by name, and in `_` the arguments that are none. */
export interface Args {
  [name: string]: unknown;
  _: (string | number)[];
}
export function parseArgs(args: readonly string[], options?: ParseOptions): Args;

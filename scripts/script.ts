/**
 * What the scripts of this folder have in common.
 *
 * @module
 */

/** A failure that the caller can put right. The message says all they need to know. */
export class ScriptError extends Error {
  override name = "ScriptError";
}

/**
 * Runs a script to its end. A {@linkcode ScriptError} is told in one message with exit code 1; any
 * other error is a fault of the script and keeps its trace.
 *
 * @param name What the message begins with.
 */
export async function runScript(name: string, main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    console.error(`${name}: ${error.message}`);
    Deno.exit(1);
  }
}

/** Refuses what `parseArgs` does not know; its `unknown` option. */
export function refuseUnknown(arg: string): never {
  throw new ScriptError(`'${arg}' is not an option of this command; see --help`);
}

/** The text of a program's output without what Deno adds for its own developers. */
export function readable(output: Uint8Array): string {
  return new TextDecoder().decode(output).replace(/\n*Stack backtrace:[^]*$/, "").trim();
}

/** Whether a path leads to a file that this script can see. */
export function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false; // absent or out of reach: for the caller there is no such file
  }
}

/** Bytes as MiB with one digit after the point. */
export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/**
 * Splits a command line into its words, as a shell does with blanks and quotes; no other character
 * has a meaning.
 *
 * @throws {ScriptError} If it is empty or a quote is not closed.
 */
export function splitCommand(line: string): string[] {
  const words = [...line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) => word);
  if (words.length === 0) throw new ScriptError("a command may not be empty");
  const rest = line.replace(/"[^"]*"|'[^']*'/g, "");
  if (/["']/.test(rest)) throw new ScriptError(`'${line}' has a quote that is not closed`);
  return words.map((word) => word.replace(/"([^"]*)"|'([^']*)'/g, "$1$2"));
}

/**
 * Reads a whole number from an option.
 *
 * @throws {ScriptError} If it is none or not within the limits, which may both be reached.
 */
export function parseWhole(option: string, value: unknown, min: number, max: number): number {
  const number = Number(value);
  if (!/^\d+$/.test(String(value)) || number < min || number > max) {
    throw new ScriptError(`--${option}: '${value}' is not a whole number from ${min} to ${max}`);
  }
  return number;
}

/**
 * Runs programs for a limited time, and reads and removes files that may not be there.
 *
 * @module
 */
import { PROJECT_ROOT } from "../module_graph.ts";

/** How a program is run. */
export interface RunOptions {
  readonly args: readonly string[];
  /** Beside what is in the environment. */
  readonly env?: Record<string, string>;
  /** After which it is ended, in milliseconds. */
  readonly timeoutMs: number;
}

/**
 * Runs a program in the project's folder; what it prints is shown.
 *
 * @returns What was wrong, or `undefined` when it ended well.
 */
export async function run(
  program: string,
  { args, env = {}, timeoutMs }: RunOptions,
): Promise<string | undefined> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const { code } = await new Deno.Command(program, {
      args: [...args],
      env,
      cwd: PROJECT_ROOT,
      stdin: "null",
      stdout: "inherit",
      stderr: "inherit",
      signal,
    }).output();
    if (signal.aborted) return `not within ${timeoutMs / 1000} s`;
    return code === 0 ? undefined : `exit code ${code}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return `${program} is not installed`;
    throw error;
  }
}

async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** The text of a file, or `undefined` if there is none. */
export function readIfThere(path: string): Promise<string | undefined> {
  return ifThere(Deno.readTextFile(path));
}

/** Removes a file, or a folder with all that is in it, if there is one. */
export async function removeIfThere(path: string): Promise<void> {
  await ifThere(Deno.remove(path, { recursive: true }));
}

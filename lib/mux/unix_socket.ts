/**
 * The files of Unix sockets, which the runtime leaves behind.
 *
 * @module
 */
import { describeError } from "../common/errors.ts";
import { getLogger } from "../observe/logger.ts";

const log = getLogger("listener");

/**
 * Removes the file of a socket on which nobody listens any more, so that a new listener can take its
 * place. A socket in use, and a file that is no socket, are left alone: listening fails then.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  try {
    if (!(await Deno.lstat(path)).isSocket) return;
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) removeSocket(path);
    else if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Removes the file of a socket, if that is possible. */
export function removeSocket(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    // Somebody else was faster; or the folder is not ours, and then the next listener will say so.
    if (error instanceof Deno.errors.NotFound) return;
    log.warning("the file of a socket cannot be removed", { path, error: describeError(error) });
  }
}

/**
 * The files of Unix sockets. The runtime takes them away when a listener is closed, but a process that
 * was killed leaves its own behind.
 *
 * @module
 */

/**
 * Removes the file of a socket on which nobody listens any more, so that a new listener can take its
 * place. A socket in use, and a file that is no socket, are left alone: listening fails then.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  try {
    if (!(await Deno.lstat(path)).isSocket) return;
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) await Deno.remove(path);
    else if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

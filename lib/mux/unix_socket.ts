/**
 * The files of Unix sockets. The runtime takes away what it has bound when a listener is closed, but a process
 * that was killed leaves its own behind.
 *
 * @module
 */
import { stableId } from "../common/stable_id.ts";

/** `sun_path` of unix(7) has 108 bytes, the closing NUL included. */
const MAX_PATH = 107;

let bound = 0;

/**
 * Binds a socket under another name in the same folder and then gives it its own, on Linux. The runtime, which
 * removes the file that it has bound, then leaves this one alone: it stays when another process goes on to
 * listen on the socket.
 *
 * @returns What listens, and the name that it was bound with: another one, unless that is too long.
 * @throws {Deno.errors.AddrInUse} When there is a file of this name.
 */
export function bindBeside<T>(
  path: string,
  binder: { unix(path: string): T; close(value: T): void },
): { readonly value: T; readonly name: string } {
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  const name = `${folder}.${stableId("lb", `${Deno.pid} ${++bound} ${Date.now()}`)}`;
  const tooLong = new TextEncoder().encode(name).length > MAX_PATH;
  if (tooLong || Deno.build.os !== "linux" || exists(path)) {
    return { value: binder.unix(path), name: path };
  }
  const value = binder.unix(name);
  try {
    Deno.renameSync(name, path);
  } catch (error) {
    binder.close(value);
    throw error;
  }
  return { value, name };
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

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

/**
 * A file with the id of the process that serves, which changes with every handover.
 *
 * @module
 */

/**
 * Writes the file of this process, in place of that of the process before. Whoever reads it sees one of both.
 *
 * @throws {Deno.errors.NotFound} When there is no such folder, and what else writing throws.
 */
export function writePidFile(path: string): void {
  const fresh = `${path}.${Deno.pid}`;
  Deno.writeTextFileSync(fresh, `${Deno.pid}\n`);
  Deno.renameSync(fresh, path);
}

/** Removes the file, unless it is that of another process by now. */
export function removePidFile(path: string): void {
  try {
    if (Deno.readTextFileSync(path) === `${Deno.pid}\n`) Deno.removeSync(path);
  } catch (error) {
    // Somebody has removed it before.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

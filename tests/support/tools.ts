/**
 * Programs of others that conformance tests run where they are found.
 *
 * @module
 */

/** Where `scripts/conformance.ts` puts them. */
export const TOOLS = new URL("../../.cache/bin/", import.meta.url);

function isFile(path: string | URL): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    // Not there, or not to be looked at: either way it cannot be run.
    return false;
  }
}

/** The path of a program in the cache folder or on `PATH`, or `undefined`. */
export function findTool(name: string): string | undefined {
  const cached = new URL(name, TOOLS);
  if (isFile(cached)) return cached.pathname;
  return (Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder !== "")
    .map((folder) => `${folder}/${name}`).find(isFile);
}

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

/** A test that runs programs of others: where one is missing it is left out, and its name says so. */
export function testWithTools<Name extends string>(
  names: readonly Name[],
  what: string,
  fn: (tools: Record<Name, string>, t: Deno.TestContext) => Promise<void>,
): void {
  const found = names.map((name) => [name, findTool(name)] as const);
  const missing = found.filter(([, path]) => path === undefined).map(([name]) => name);
  const ignore = missing.length > 0;
  const name = ignore
    ? `${what} (left out: ${missing.join(", ")} not installed, run \`deno task conformance\`)`
    : what;
  const tools = Object.fromEntries(found) as Record<Name, string>;
  Deno.test({ name, ignore, fn: (t) => fn(tools, t) });
}

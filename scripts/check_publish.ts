/**
 * Checks what would be published to JSR: that the package is accepted, and that it holds the library
 * and the texts about it, and nothing else.
 *
 * ```sh
 * deno run -A scripts/check_publish.ts
 * ```
 *
 * @module
 */
import { pathToFileURL } from "node:url";
import { PROJECT_ROOT, readModuleGraph } from "./module_graph.ts";
import { readable, runScript, ScriptError } from "./script.ts";

/** Files of the package. */
const ALLOWED_FILES = ["mod.ts", "deno.json", "README.md", "LICENSE", "CHANGELOG.md"];
/** Folders of the package. */
const ALLOWED_FOLDERS = ["lib/", "proto/"];
/** Files that the package must have besides the modules of the library. */
const REQUIRED_FILES = ["mod.ts", "deno.json", "README.md", "LICENSE"];

/**
 * Reads the list of files that `deno publish --dry-run` prints.
 *
 * @param output All that it printed.
 * @param rootUrl The `file:` URL of the project, with a slash at its end.
 * @returns Paths relative to the project, in the order of the output.
 */
export function parsePublished(output: string, rootUrl: string): string[] {
  return [...output.matchAll(/^\s+(file:\S+) \([\d.]+\w+\)$/gm)]
    .map(([, url]) => url!)
    .map((url) => url.startsWith(rootUrl) ? decodeURIComponent(url.slice(rootUrl.length)) : url);
}

/**
 * Finds what is wrong with the content of the package.
 *
 * @param files Files that would be published.
 * @param modules Modules that the library imports.
 * @returns One line for each fault; empty if there is none.
 */
export function findFaults(files: readonly string[], modules: readonly string[]): string[] {
  const unwanted = files.filter((file) =>
    !ALLOWED_FILES.includes(file) && !ALLOWED_FOLDERS.some((folder) => file.startsWith(folder))
  );
  const missing = new Set([...REQUIRED_FILES, ...modules].filter((file) => !files.includes(file)));
  return [
    ...unwanted.map((file) => `${file} would be published, but is no part of the library`),
    ...[...missing].sort().map((file) => `${file} would not be published, but is needed`),
  ];
}

async function main(): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["publish", "--dry-run", "--allow-dirty"],
    cwd: PROJECT_ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const output = `${readable(stdout)}\n${readable(stderr)}`;
  if (!success) throw new ScriptError(`JSR would refuse the package\n${output.trim()}`);
  const files = parsePublished(output, pathToFileURL(`${PROJECT_ROOT}/`).href);
  const { modules } = await readModuleGraph("mod.ts");
  const faults = findFaults(files, [...modules.keys()]);
  if (faults.length > 0) throw new ScriptError(faults.join("\n"));
  console.log(`${files.length} files would be published`);
}

if (import.meta.main) await runScript("publish", main);

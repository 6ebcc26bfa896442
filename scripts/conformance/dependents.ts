/**
 * Finds the tests that depend on a file.
 *
 * @module
 */
import { PROJECT_ROOT } from "../module_graph.ts";

/** Static imports and re-exports of a file beside it; all imports of the project are of this form. */
const IMPORT = /\bfrom "(\.[^"]+)"|^import "(\.[^"]+)"/gm;

async function listFiles(folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${PROJECT_ROOT}/${folder}`)) {
    const path = `${folder}/${name}`;
    if (isDirectory) files.push(...await listFiles(path));
    else if (name.endsWith(".ts")) files.push(path);
  }
  return files;
}

async function readImports(file: string): Promise<string[]> {
  const text = await Deno.readTextFile(`${PROJECT_ROOT}/${file}`);
  return [...text.matchAll(IMPORT)].map(([, from, bare]) =>
    new URL(from ?? bare!, `file:///${file}`).pathname.slice(1)
  );
}

/**
 * The test files of a folder that import a file, directly or through others of the folder; sorted.
 *
 * @param folder The folder, relative to the project.
 * @param target The file, relative to the project.
 */
export async function findDependents(folder: string, target: string): Promise<string[]> {
  const importers = new Map<string, string[]>();
  for (const file of await listFiles(folder)) {
    for (const imported of await readImports(file)) {
      importers.set(imported, [...importers.get(imported) ?? [], file]);
    }
  }
  const found = new Set([target]);
  for (const file of found) for (const importer of importers.get(file) ?? []) found.add(importer);
  found.delete(target);
  return [...found].filter((file) => file.endsWith("_test.ts")).sort();
}

/**
 * The module graph of a file of this project, read from `deno info --json`.
 *
 * @module
 */
import { fileURLToPath, pathToFileURL } from "node:url";

/** One import statement of a module. */
export interface ModuleImport {
  /** The imported file relative to the project, or the full specifier of anything else. */
  target: string;
  /** The `name@version` of the npm package that the import leads to. */
  npmPackage?: string;
  /** Only types are imported, so nothing is loaded at run time. */
  typeOnly: boolean;
}

/** An npm package that the lock file resolved. */
export interface NpmPackage {
  /** The `name@version` of the packages that it depends on. */
  dependencies: readonly string[];
  /** The folder of the package in Deno's cache. */
  localPath: string;
}

/** The modules that a root file leads to. */
export interface ModuleGraph {
  /** The root file, relative to the project. */
  root: string;
  /** Imports by file, relative to the project, with `/` as separator on every system. */
  modules: ReadonlyMap<string, readonly ModuleImport[]>;
  /** Every npm package of the lock file by `name@version`, used or not. */
  npmPackages: ReadonlyMap<string, NpmPackage>;
}

/** The folder of the project, without a separator at its end. */
export const PROJECT_ROOT = Deno.realPathSync(fileURLToPath(new URL("..", import.meta.url)));

/** What `deno info --json` says of one side of an import. */
interface InfoEdge {
  specifier?: string;
}

/** The part of the output of `deno info --json` that is read here. */
export interface InfoJson {
  roots: string[];
  modules: {
    specifier: string;
    dependencies?: { code?: InfoEdge; type?: InfoEdge }[];
    npmPackage?: string;
  }[];
  redirects: Record<string, string>;
  npmPackages: Record<string, NpmPackage>;
}

/**
 * Turns the output of `deno info --json` into a graph.
 *
 * @param info The parsed output.
 * @param rootUrl The `file:` URL of the project, with a slash at its end.
 */
export function parseInfo(info: InfoJson, rootUrl: string): ModuleGraph {
  const resolve = (specifier: string): string => {
    const target = info.redirects[specifier] ?? specifier;
    return target.startsWith(rootUrl) ? decodeURIComponent(target.slice(rootUrl.length)) : target;
  };
  const packages = new Map(info.modules.map((m) => [m.specifier, m.npmPackage]));
  const toImport = (specifier: string, typeOnly: boolean): ModuleImport => {
    const target = resolve(specifier);
    const npmPackage = packages.get(target);
    return { target, typeOnly, ...(npmPackage === undefined ? {} : { npmPackage }) };
  };
  const modules = new Map<string, ModuleImport[]>();
  for (const module of info.modules) {
    if (!module.specifier.startsWith(rootUrl)) continue;
    const imports: ModuleImport[] = [];
    for (const { code, type } of module.dependencies ?? []) {
      if (code?.specifier) imports.push(toImport(code.specifier, false));
      if (type?.specifier && type.specifier !== code?.specifier) {
        imports.push(toImport(type.specifier, true));
      }
    }
    modules.set(resolve(module.specifier), imports);
  }
  return {
    root: resolve(info.roots[0] ?? ""),
    modules,
    npmPackages: new Map(Object.entries(info.npmPackages)),
  };
}

/**
 * Reads the module graph of a file of the project.
 *
 * @param file Path of the file relative to the project.
 * @throws {Error} If Deno cannot build the graph, with its message.
 */
export async function readModuleGraph(file: string): Promise<ModuleGraph> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", file],
    cwd: PROJECT_ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) {
    throw new Error(`deno info --json ${file} failed: ${new TextDecoder().decode(stderr).trim()}`);
  }
  const info: InfoJson = JSON.parse(new TextDecoder().decode(stdout));
  return parseInfo(info, pathToFileURL(`${PROJECT_ROOT}/`).href);
}

/** The project files that are loaded at run time, sorted: those that the root reaches without `import type`. */
export function runtimeModules(graph: ModuleGraph): string[] {
  const seen = new Set<string>();
  const pending = [graph.root];
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    const imports = graph.modules.get(file);
    if (imports === undefined || seen.has(file)) continue;
    seen.add(file);
    for (const { target, typeOnly } of imports) if (!typeOnly) pending.push(target);
  }
  return [...seen].sort();
}

/**
 * The npm packages that are needed at run time, sorted, with all that they depend on.
 *
 * @returns Keys of `npmPackages`: `name@version`, followed by `_` and its peers where it has some.
 */
export function runtimeNpmPackages(graph: ModuleGraph): string[] {
  const seen = new Set<string>();
  const pending: string[] = [];
  for (const file of runtimeModules(graph)) {
    for (const { npmPackage, typeOnly } of graph.modules.get(file) ?? []) {
      if (npmPackage !== undefined && !typeOnly) pending.push(npmPackage);
    }
  }
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    pending.push(...graph.npmPackages.get(name)?.dependencies ?? []);
  }
  return [...seen].sort();
}

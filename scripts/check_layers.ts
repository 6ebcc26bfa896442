/**
 * Checks that imports go one way only: a file uses its own layer or a lower one, and no two files
 * import each other, not even through others. Imports of types count too.
 *
 * ```sh
 * deno run -A scripts/check_layers.ts
 * ```
 *
 * @module
 */
import { PROJECT_ROOT, readModuleGraph } from "./module_graph.ts";

/** Imports by file: paths relative to the project, packages left out. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

interface Layer {
  name: string;
  /** A file, or a folder when it ends with a slash. The longest match of all layers decides. */
  paths: readonly string[];
}

/** From the outermost to the innermost. A file may import from its own line or from lines below it. */
const LAYERS: readonly Layer[] = [
  { name: "cli", paths: ["main.ts", "lib/cli/"] },
  { name: "mod", paths: ["mod.ts"] },
  { name: "load_balancer", paths: ["lib/load_balancer.ts", "lib/load_balancer/"] },
  { name: "control", paths: ["lib/control/"] },
  { name: "grpc", paths: ["lib/grpc/"] },
  { name: "http/l4, http/l7", paths: ["lib/http/l4/", "lib/http/l7/"] },
  { name: "mux, backend", paths: ["lib/mux/", "lib/backend/"] },
  { name: "route, strategy", paths: ["lib/route/", "lib/strategy/"] },
  { name: "codecs", paths: ["lib/http/"] },
  { name: "observe", paths: ["lib/observe/"] },
  { name: "common", paths: ["lib/common/"] },
  // Declarations of the standard library: below all others, so that every layer may use them.
  { name: "std", paths: ["lib/std/"] },
];

/** The index of a file's layer in {@linkcode LAYERS}, -1 if it belongs to none. */
function layerOf(file: string): number {
  let best = -1;
  let length = 0;
  for (const [index, { paths }] of LAYERS.entries()) {
    for (const path of paths) {
      const matches = path.endsWith("/") ? file.startsWith(path) : file === path;
      if (matches && path.length > length) [best, length] = [index, path.length];
    }
  }
  return best;
}

/**
 * Finds what breaks the order of the layers.
 *
 * @param graph Imports by file. Files that only appear as targets are checked as targets.
 * @returns One line per violation, sorted; empty if there is none.
 */
export function findViolations(graph: ImportGraph): string[] {
  const violations = new Set<string>();
  for (const [file, imports] of graph) {
    const from = layerOf(file);
    if (from < 0) {
      if (file.startsWith("lib/")) {
        violations.add(`${file}: belongs to no layer; add it to LAYERS in scripts/check_layers.ts`);
      }
      continue;
    }
    for (const target of imports) {
      const to = layerOf(target);
      const fromName = LAYERS[from]!.name;
      if (to < 0) {
        violations.add(`${file} imports ${target}: ${fromName} may not use a file of no layer`);
      } else if (to < from) {
        violations.add(`${file} imports ${target}: ${fromName} may not use ${LAYERS[to]!.name}`);
      }
    }
  }
  for (const cycle of findCycles(graph)) violations.add(`import cycle: ${cycle.join(" -> ")}`);
  return [...violations].sort();
}

/**
 * Finds import cycles, so many that every file that is in one appears.
 *
 * @returns Each cycle as the shortest path from a file back to itself.
 */
function findCycles(graph: ImportGraph): string[][] {
  const cycles: string[][] = [];
  const reported = new Set<string>();
  for (const start of [...graph.keys()].sort()) {
    if (reported.has(start)) continue;
    const cycle = shortestCycle(graph, start);
    if (cycle === undefined) continue;
    for (const file of cycle) reported.add(file);
    cycles.push(cycle);
  }
  return cycles;
}

/** The shortest path of imports from a file back to itself, found breadth first. */
function shortestCycle(graph: ImportGraph, start: string): string[] | undefined {
  const cameFrom = new Map<string, string>();
  const pending = [start];
  for (let i = 0; i < pending.length; i++) {
    const file = pending[i]!;
    for (const target of graph.get(file) ?? []) {
      if (target === start) {
        const path = [start];
        for (let at: string | undefined = file; at !== undefined; at = cameFrom.get(at)) {
          path.unshift(at);
        }
        return path;
      }
      if (cameFrom.has(target)) continue;
      cameFrom.set(target, file);
      pending.push(target);
    }
  }
  return undefined;
}

/** Every TypeScript file below a folder, relative to the project, sorted. */
function listSources(folder: string): string[] {
  const files: string[] = [];
  for (const entry of Deno.readDirSync(`${PROJECT_ROOT}/${folder}`)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) files.push(...listSources(path));
    else if (entry.name.endsWith(".ts")) files.push(path);
  }
  return files.sort();
}

/** Whether an import leads to a file, of the project or not, and not to a package or a module of the runtime. */
const isFile = (target: string): boolean => !/^(npm|jsr|node|https?|data):/.test(target);

/** The imports of the program, of the library and of every file below `lib`, reached by them or not. */
async function readProjectGraph(): Promise<ImportGraph> {
  const graph = new Map<string, readonly string[]>();
  for (const file of ["main.ts", "mod.ts", ...listSources("lib")]) {
    if (graph.has(file)) continue;
    for (const [module, imports] of (await readModuleGraph(file)).modules) {
      graph.set(module, imports.map(({ target }) => target).filter(isFile));
    }
  }
  return graph;
}

if (import.meta.main) {
  const graph = await readProjectGraph();
  const violations = findViolations(graph);
  for (const violation of violations) console.error(violation);
  if (violations.length > 0) {
    console.error(`\n${violations.length} violation(s) of the order of the layers`);
    Deno.exit(1);
  }
  console.log(`${graph.size} files keep the order of the layers`);
}

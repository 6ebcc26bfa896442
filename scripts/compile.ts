/**
 * Makes executables of the program: `deno compile` for the systems that Deno supports, or one file
 * that carries Deno itself (`--portable`).
 *
 * ```sh
 * deno task compile                                  # for this system, dist/lb
 * deno task compile --target all                     # for every system, dist/lb-TARGET
 * deno task compile --portable                       # for this system, dist/lb-portable
 * ```
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import { parseArgs } from "@std/cli";
import { readEmbedded } from "./embedded.ts";
import { PROJECT_ROOT, readModuleGraph, runtimeNpmPackages } from "./module_graph.ts";
import { buildPortable } from "./portable.ts";
import { isFile, mebibytes, readable, refuseUnknown, runScript, ScriptError } from "./script.ts";

/** Every system that `deno compile` makes executables for. */
export const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
  "aarch64-pc-windows-msvc",
] as const;

/** A system that `deno compile` makes executables for. */
export type Target = typeof TARGETS[number];

/** Settings of {@linkcode compileTarget}. */
export interface CompileOptions {
  target: Target;
  /** Path of the executable; for Windows it must end in `.exe`. */
  output: string;
  /**
   * Path of the runtime without tools, `denort`, of Deno's own version and for the target. Without it
   * Deno fetches the one it needs.
   */
  denort?: string;
}

/** Folders of npm packages that no program loads. */
const UNUSED_FOLDERS = new Set([
  "test",
  "tests",
  "__tests__",
  "example",
  "examples",
  "bench",
  "benchmark",
  "benchmarks",
]);

/**
 * The folders of the needed npm packages that stay out of the executable.
 *
 * They are not only dead weight: a package that the metrics need carries lists of 100,000 numbers as
 * test data, and Deno 2.9 overflows its stack when it parses them as code (denoland/deno#36746).
 */
async function unusedFolders(): Promise<string[]> {
  const graph = await readModuleGraph("main.ts");
  const found: string[] = [];
  const visit = (folder: string): void => {
    for (const entry of Deno.readDirSync(folder)) {
      if (!entry.isDirectory) continue;
      const path = `${folder}/${entry.name}`;
      if (UNUSED_FOLDERS.has(entry.name)) found.push(path);
      else visit(path);
    }
  };
  for (const id of runtimeNpmPackages(graph)) visit(graph.npmPackages.get(id)!.localPath);
  return found;
}

/** Whether the program has protocol definitions to carry. */
function hasProtoFiles(): boolean {
  try {
    return [...Deno.readDirSync(`${PROJECT_ROOT}/proto`)].length > 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Compiles the program for one system.
 *
 * @throws {ScriptError} If the runtime is not to be had or the program cannot be compiled.
 */
export async function compileTarget({ target, output, denort }: CompileOptions): Promise<void> {
  if (denort !== undefined && !isFile(denort)) {
    throw new ScriptError(`DENORT_BIN: no file at '${denort}'`);
  }
  // Deno leaves half an executable behind when it fails: in a folder of its own.
  const folder = await Deno.makeTempDir({ dir: dirname(output), prefix: ".compile-" });
  try {
    const made = `${folder}/${basename(output)}`;
    await runCompile({ target, output: made, ...(denort === undefined ? {} : { denort }) });
    await Deno.rename(made, output);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function runCompile({ target, output, denort }: CompileOptions): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "compile",
      "--allow-all",
      `--target=${target}`,
      `--output=${output}`,
      "--app-name=lb",
      // A node_modules folder would be embedded as a whole; the packages come from Deno's cache.
      "--node-modules-dir=none",
      "--exclude-unused-npm",
      ...(await unusedFolders()).map((folder) => `--exclude=${folder}`),
      ...(hasProtoFiles() ? ["--include=proto"] : []),
      "main.ts",
    ],
    cwd: PROJECT_ROOT,
    env: { NO_COLOR: "1", ...(denort === undefined ? {} : { DENORT_BIN: denort }) },
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  const message = readable(stderr);
  if (denort === undefined && message.includes("Setting up base binary")) {
    throw new ScriptError(
      `Deno could not fetch its runtime for ${target}. Set DENORT_BIN to the path of a 'denort' of ` +
        `Deno ${Deno.version.deno} for ${target}, or use --portable, which needs no download.`,
    );
  }
  if (denort !== undefined && message.includes("Writing binary bytes")) {
    throw new ScriptError(`DENORT_BIN: '${denort}' is not a denort for ${target}`);
  }
  throw new ScriptError(`deno compile failed for ${target}\n${message}`);
}

/**
 * Starts an executable of this system to see that it is the program.
 *
 * With the full `deno` in the place of `denort` the right files are embedded, but nothing reads them.
 */
async function checkRuns(path: string): Promise<void> {
  const { success, stderr } = await new Deno.Command(path, {
    args: ["version"],
    env: { NO_COLOR: "1" },
    stdout: "null",
  }).output();
  if (success) return;
  await Deno.remove(path);
  throw new ScriptError(
    `the executable does not answer 'version', so it was removed. DENORT_BIN must name a 'denort' of ` +
      `Deno ${Deno.version.deno} for this system, not 'deno' itself.\n${readable(stderr)}`,
  );
}

const USAGE = `Makes executables of the program.

usage: deno task compile [--target T] [--output-dir DIR] [--portable]

  --target T         host (default), all, or one of
                     ${TARGETS.join("\n                     ")}
  --output-dir DIR   where the executables go (default: dist)
  --portable         one file for this system that carries Deno itself: needs no download, starts
                     with sh, and unpacks itself once into the user's cache folder
  --help             show this text

environment:
  DENORT_BIN         path of a denort of Deno ${Deno.version.deno} for the target`;

/** The systems that `--target` asks for. */
function parseTargets(value: string): readonly Target[] {
  if (value === "all") return TARGETS;
  const name = value === "host" ? Deno.build.target : value;
  const target = TARGETS.find((target) => target === name);
  if (target === undefined) {
    throw new ScriptError(
      `--target: '${name}' is none of host, all, ${TARGETS.join(", ")}`,
    );
  }
  return [target];
}

async function main(): Promise<void> {
  const args = parseArgs(Deno.args, {
    boolean: ["portable", "help"],
    string: ["target", "output-dir"],
    default: { target: "host", "output-dir": `${PROJECT_ROOT}/dist` },
    unknown: refuseUnknown,
  });
  if (args.help) return console.log(USAGE);
  const folder = resolve(String(args["output-dir"]));
  await Deno.mkdir(folder, { recursive: true });
  if (args.portable) {
    const output = `${folder}/lb-portable`;
    const { size } = await buildPortable({ output });
    console.log(`${output}: ${mebibytes(size)}`);
    return;
  }
  const targets = parseTargets(String(args.target));
  const denortBin = Deno.env.get("DENORT_BIN");
  const denort = denortBin ? resolve(denortBin) : undefined;
  if (denort !== undefined && targets.length > 1) {
    throw new ScriptError("DENORT_BIN is for one target; unset it or name the target");
  }
  for (const target of targets) {
    const isHost = target === Deno.build.target;
    const suffix = target.includes("windows") ? ".exe" : "";
    const output = `${folder}/lb${isHost ? "" : `-${target}`}${suffix}`;
    await compileTarget({ target, output, ...(denort === undefined ? {} : { denort }) });
    if (isHost) await checkRuns(output);
    const { files } = await readEmbedded(output);
    const { size } = await Deno.stat(output);
    console.log(`${output}: ${mebibytes(size)}, ${files.length} files inside`);
  }
}

if (import.meta.main) await runScript("compile", main);

/**
 * Installs programs with Go into `.cache/bin`.
 *
 * @module
 */
import { PROJECT_ROOT } from "../module_graph.ts";
import { isFile } from "../script.ts";
import { readIfThere, removeIfThere, run } from "./run.ts";

const BIN = `${PROJECT_ROOT}/.cache/bin`;

/** How long one build may take, downloads included, in milliseconds. */
const BUILD_MS = 5 * 60_000;

/** The module whose `go.mod` and `go.sum` fix the versions of all programs, so that they share packages. */
const MODULE = `${PROJECT_ROOT}/tests/support/go`;

/** Programs of others: the tools of that module. */
const TOOLS: Readonly<Record<string, string>> = {
  grpcurl: "github.com/fullstorydev/grpcurl/cmd/grpcurl",
  h2spec: "github.com/summerwind/h2spec/cmd/h2spec",
  interop_server: "google.golang.org/grpc/interop/server",
  interop_client: "google.golang.org/grpc/interop/client",
};

/** Programs of the project's own. */
const PEERS: Readonly<Record<string, string>> = {
  grpc_backend: "./grpc_backend",
  grpc_client: "./grpc_client",
};

/** Symbols and paths would only make the files larger. */
const FLAGS = ["-trimpath", "-ldflags=-s -w"];
/** Without cgo no C compiler is needed. */
const ENV = { CGO_ENABLED: "0" };

/**
 * Makes a program anew if what it is made of has changed.
 *
 * @param from What it is made of, kept beside the program; without it, Go looks for changes.
 * @returns What was wrong, if anything.
 */
async function build(name: string, path: string, from?: string): Promise<string | undefined> {
  const program = `${BIN}/${name}`;
  const mark = `${program}.from`;
  if (from !== undefined && isFile(program) && await readIfThere(mark) === from) return undefined;
  const failure = await run("go", {
    args: ["build", "-C", MODULE, "-mod=readonly", ...FLAGS, "-o", program, path],
    env: ENV,
    timeoutMs: BUILD_MS,
  });
  if (failure !== undefined) {
    // An old one would be tested with as if it were the new one.
    await removeIfThere(program);
    return `${name}: ${failure}`;
  }
  if (from !== undefined) await Deno.writeTextFile(mark, from);
  return undefined;
}

/**
 * Installs all of them that are not there yet, one after the other: Go uses all processors for each.
 *
 * @returns What was left out, and why.
 */
export async function installGoPrograms(): Promise<string[]> {
  await Deno.mkdir(BIN, { recursive: true });
  const fixed = await Deno.readTextFile(`${MODULE}/go.mod`);
  const leftOut: (string | undefined)[] = [];
  for (const [name, path] of Object.entries(TOOLS)) leftOut.push(await build(name, path, fixed));
  for (const [name, path] of Object.entries(PEERS)) leftOut.push(await build(name, path));
  return leftOut.filter((line) => line !== undefined);
}

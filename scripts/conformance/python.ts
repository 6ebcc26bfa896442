/**
 * Installs packages for Python into `.cache/python`.
 *
 * @module
 */
import { dirname } from "node:path";
import { PROJECT_ROOT } from "../module_graph.ts";
import { isFile } from "../script.ts";
import { readIfThere, removeIfThere, run } from "./run.ts";

const FOLDER = `${PROJECT_ROOT}/.cache/python`;
/** Python that finds the packages, for the tests to run. */
const PROGRAM = `${PROJECT_ROOT}/.cache/bin/python_grpcio`;
const REQUIREMENTS = `${PROJECT_ROOT}/tests/support/python/requirements.txt`;

/** The packages lie beside its folder; compiled files would change them. */
const WRAPPER = `#!/bin/sh
export PYTHONPATH="$(dirname "$0")/../python" PYTHONDONTWRITEBYTECODE=1
exec python3 "$@"
`;

/** How long it may take, downloads included, in milliseconds. */
const INSTALL_MS = 3 * 60_000;

/** The version of the interpreter, or `undefined` where there is none. */
async function pythonVersion(): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command("python3", { args: ["--version"] }).output();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Installs what `requirements.txt` names, if it is not there yet. Nothing is compiled: where there is no
 * wheel for the machine, the packages are left out.
 *
 * @returns What was left out, and why.
 */
export async function installPythonPackages(): Promise<string[]> {
  const version = await pythonVersion();
  if (version === undefined) return ["Python packages: python3 is not installed"];
  // Wheels are for one version of Python, so another one gets others.
  const wanted = `${version}\n${await Deno.readTextFile(REQUIREMENTS)}`;
  const mark = `${FOLDER}/installed.txt`;
  if (isFile(PROGRAM) && await readIfThere(mark) === wanted) return [];
  await removeIfThere(PROGRAM);
  await removeIfThere(FOLDER);
  const failure = await run("python3", {
    args: [
      ...["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"],
      ...["--root-user-action=ignore", "--no-deps", "--only-binary=:all:"],
      ...["--target", FOLDER, "--requirement", REQUIREMENTS],
    ],
    timeoutMs: INSTALL_MS,
  });
  if (failure !== undefined) return [`Python packages: pip: ${failure}`];
  await Deno.mkdir(dirname(PROGRAM), { recursive: true });
  await Deno.writeTextFile(PROGRAM, WRAPPER, { mode: 0o755 });
  await Deno.writeTextFile(mark, wanted);
  return [];
}

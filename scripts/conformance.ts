/**
 * Installs programs of others at fixed versions into `.cache` and runs the conformance tests with them.
 * What cannot be installed is said, and the tests that need it are left out.
 *
 * ```sh
 * deno task conformance
 * deno task conformance --tools-only
 * ```
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { findDependents } from "./conformance/dependents.ts";
import { installGoPrograms } from "./conformance/go.ts";
import { installPythonPackages } from "./conformance/python.ts";
import { run } from "./conformance/run.ts";
import { refuseUnknown, runScript, ScriptError } from "./script.ts";

const HELP = `usage: deno task conformance [options]

  --tools-only   run only the tests that run programs of others; \`deno task test\` has the rest
  --no-install   take what is installed
  -h, --help     show this text`;

/** How long all tests may take, in milliseconds. */
const TESTS_MS = 10 * 60_000;

async function main(): Promise<void> {
  const args = parseArgs(Deno.args, {
    boolean: ["tools-only", "install", "help"],
    negatable: ["install"],
    default: { install: true },
    alias: { h: "help" },
    unknown: refuseUnknown,
  });
  if (args.help) return console.log(HELP);
  if (args.install) {
    // One waits for the network while the other needs the processor.
    const leftOut = await Promise.all([installGoPrograms(), installPythonPackages()]);
    for (const line of leftOut.flat()) console.error(`left out: ${line}`);
  }
  const foreign = await findDependents("tests", "tests/support/tools.ts");
  const elsewhere = foreign.filter((file) => !file.startsWith("tests/conformance/"));
  const failure = await run(Deno.execPath(), {
    args: ["test", "-A", ...(args["tools-only"] ? foreign : ["tests/conformance", ...elsewhere])],
    timeoutMs: TESTS_MS,
  });
  if (failure !== undefined) throw new ScriptError(`the tests: ${failure}`);
}

if (import.meta.main) await runScript("conformance", main);

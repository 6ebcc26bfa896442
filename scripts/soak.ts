/**
 * Puts balancers under a mixed load with faults in it for a long time and looks whether connections, descriptors and
 * memory end where they began.
 *
 * ```sh
 * deno task soak
 * deno task soak --minutes 2 --rate 100
 * ```
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { endOnSignal, Processes } from "./bench/process.ts";
import { mebibytes, parseWhole, refuseUnknown, runScript, ScriptError } from "./script.ts";
import { judgeSoak, renderSoak } from "./soak/report.ts";
import { runSoak } from "./soak/run.ts";

const USAGE = `Looks whether a mixed load with faults leaves anything behind.

usage: deno task soak [options]

  --minutes N        how long the load lasts, a fraction too (default: 30)
  --rate N           requests, calls and the like per second (default: 200)
  --interval SECONDS from one look to the next (default: 5)
  --verbose          print each look
  --json FILE        also write the report as JSON
  --help             show this text

HTTP, gRPC and WebSockets through mux, HTTP through http-l4 and gRPC through grpc-l4; one in twenty goes wrong,
at the client or at the backend. The exit code is 1 when anything came out otherwise than promised, when
connections or descriptors do not return to where they began, or when memory grew in the second half.`;

/** Looks that a line is fitted through at least; half of all are. */
const MIN_SAMPLES = 6;

async function main(): Promise<void> {
  const args = parseArgs(Deno.args, {
    boolean: ["help", "verbose"],
    string: ["minutes", "rate", "interval", "json"],
    default: { minutes: "30", rate: "200", interval: "5" },
    unknown: refuseUnknown,
  });
  if (args.help) return console.log(USAGE);
  if (Deno.build.os !== "linux") throw new ScriptError("needs /proc, which only Linux has");
  const minutes = Number(args.minutes);
  if (!/^\d+(\.\d+)?$/.test(String(args.minutes)) || minutes <= 0) {
    throw new ScriptError(`--minutes: '${args.minutes}' is not a number above 0`);
  }
  const seconds = Math.round(minutes * 60);
  const interval = Math.min(
    parseWhole("interval", args.interval, 1, 3600),
    seconds / (2 * MIN_SAMPLES),
  );
  const folder = await Deno.makeTempDir({ prefix: "lb-soak-" });
  const processes = new Processes(folder);
  let cleaning: Promise<void> | undefined;
  const cleanUp = (): Promise<void> =>
    cleaning ??= processes.stopAll().then(() => Deno.remove(folder, { recursive: true }));
  const release = endOnSignal(cleanUp);
  try {
    const report = await runSoak({
      seconds,
      rate: parseWhole("rate", args.rate, 20, 10_000),
      interval,
      processes,
      folder,
      onSample: (name, { at, descriptors, connections, upstream, resident, heap }) => {
        if (!args.verbose) return;
        console.log(
          `${at.toFixed(0).padStart(6)} s  ${
            name.padEnd(8)
          } ${connections} connections, ${upstream} to backends, ` +
            `${descriptors} descriptors, ${mebibytes(resident)} resident, ${mebibytes(heap)} heap`,
        );
      },
    });
    console.log(renderSoak(report));
    if (args.json !== undefined) {
      await Deno.writeTextFile(String(args.json), JSON.stringify(report, null, 2) + "\n");
    }
    const wrong = judgeSoak(report);
    if (wrong.length > 0) throw new ScriptError(wrong.join("\n"));
  } finally {
    await cleanUp();
    await release();
  }
}

if (import.meta.main) await runScript("soak", main);

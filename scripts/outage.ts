/**
 * Puts balancers under a constant load, takes backends away from them, or restarts them, or changes their
 * configuration, and counts what comes of every request.
 *
 * ```sh
 * deno task outage                                   # one backend of three killed every 10 s, for 5 minutes
 * deno task outage --mode total --minutes 1          # all of them
 * deno task outage --mode restart --minutes 1        # the balancers themselves, by SIGUSR2
 * deno task outage --mode churn --minutes 1          # 1,000 changes of the configuration
 * ```
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { endOnSignal, Processes } from "./bench/process.ts";
import { MODE_HELP, MODES } from "./outage/disturb.ts";
import { judgeReport, MAX_ATTEMPTS_RATIO, renderReport } from "./outage/report.ts";
import { BACKENDS, runOutage } from "./outage/run.ts";
import { parseWhole, refuseUnknown, runScript, ScriptError } from "./script.ts";

const USAGE = `Counts what comes of every request while backends or balancers go and come.

usage: deno task outage [options]

  --mode MODE        what is done (default: kill)
${MODES.map((mode) => `                       ${mode.padEnd(8)} ${MODE_HELP[mode]}`).join("\n")}
  --minutes N        how long the load lasts, a fraction too (default: 5)
  --rate N           requests per second, and as many calls (default: 2000)
  --posts N          POSTs per second beside them, which may not be sent twice (default: 50)
  --every SECONDS    from one kill or restart to the next (default: 10)
  --down SECONDS     how long a killed backend is away (default: 3)
  --changes N        changes of the configuration of each balancer (default: 1000)
  --own-clients      make the load here, also where h2load and ghz are installed
  --json FILE        also write the report as JSON
  --help             show this text

${BACKENDS} backends, http-l7 and grpc-l7 with their defaults. The load comes from h2load and ghz where they are on the
PATH or in .cache/bin, else from clients of this project:
  go build -C tests/support/ghz -o $PWD/.cache/bin/ghz github.com/bojand/ghz/cmd/ghz
The exit code is 1 when a request failed that may be retried, when any failed while only the configuration or
the process of a balancer changed, or when there were more than ${MAX_ATTEMPTS_RATIO} attempts a request.`;

/** Reads a number of minutes or seconds. */
function parseTime(option: string, value: unknown, max: number): number {
  const number = Number(value);
  if (!/^\d+(\.\d+)?$/.test(String(value)) || number <= 0 || number > max) {
    throw new ScriptError(`--${option}: '${value}' is not a number above 0 up to ${max}`);
  }
  return number;
}

async function main(): Promise<void> {
  const args = parseArgs(Deno.args, {
    boolean: ["help", "own-clients"],
    string: ["mode", "minutes", "rate", "posts", "every", "down", "changes", "json"],
    default: {
      mode: "kill",
      minutes: "5",
      rate: "2000",
      posts: "50",
      every: "10",
      down: "3",
      changes: "1000",
    },
    unknown: refuseUnknown,
  });
  if (args.help) return console.log(USAGE);
  if (Deno.build.os !== "linux") throw new ScriptError("needs /proc, which only Linux has");
  const mode = MODES.find((mode) => mode === args.mode);
  if (mode === undefined) {
    throw new ScriptError(`--mode: '${args.mode}' is none of ${MODES.join(", ")}`);
  }
  const seconds = Math.max(Math.round(parseTime("minutes", args.minutes, 24 * 60) * 60), 4);
  const folder = await Deno.makeTempDir({ prefix: "lb-outage-" });
  const processes = new Processes(folder);
  let cleaning: Promise<void> | undefined;
  const cleanUp = (): Promise<void> =>
    cleaning ??= processes.stopAll().then(() => Deno.remove(folder, { recursive: true }));
  const release = endOnSignal(cleanUp);
  try {
    const report = await runOutage({
      mode,
      seconds,
      rate: parseWhole("rate", args.rate, 1, 100_000),
      posts: parseWhole("posts", args.posts, 1, 100_000),
      every: parseTime("every", args.every, 3600),
      down: parseTime("down", args.down, 3600),
      changes: parseWhole("changes", args.changes, 1, 1_000_000),
      outside: !args["own-clients"],
      processes,
      folder,
    });
    console.log(renderReport(report));
    if (args.json !== undefined) {
      await Deno.writeTextFile(String(args.json), JSON.stringify(report, null, 2) + "\n");
    }
    const wrong = judgeReport(report);
    if (wrong.length > 0) throw new ScriptError(wrong.join("\n"));
  } finally {
    await cleanUp();
    await release();
  }
}

if (import.meta.main) await runScript("outage", main);

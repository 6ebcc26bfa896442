/**
 * Compares lb with other proxies on the same work.
 *
 * Every round visits every proxy in turn, so that a change of the machine's speed meets all of them
 * alike; the first round only warms up. The proxies share one CPU, the backends and the load generator
 * another, and the CPU time per request is that of the proxy's processes, so that a slow load
 * generator does not hide it.
 *
 * ```sh
 * deno task bench --scenario http-l7
 * deno task bench --scenario all --markdown
 * deno task bench --baseline "deno run -A ../before/main.ts"     # the code before and after a change
 * ```
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { measure, type Sample } from "./bench/load.ts";
import {
  LOAD_CPU,
  readVersions,
  startBackends,
  startGrpcBackends,
  startLb,
  startPeers,
} from "./bench/peers.ts";
import { endOnSignal, findProgram, Processes } from "./bench/process.ts";
import type { Proxy, Setup } from "./bench/peers.ts";
import {
  compare,
  renderMarkdown,
  renderText,
  type Report,
  type ScenarioReport,
  summarize,
} from "./bench/report.ts";
import { pickScenarios, type Scenario, SCENARIOS } from "./bench/scenario.ts";
import { PROJECT_ROOT } from "./module_graph.ts";
import { parseWhole, refuseUnknown, runScript, ScriptError, splitCommand } from "./script.ts";

const USAGE = `Compares lb with nginx, HAProxy and Caddy, where they are installed.

usage: deno task bench [options]

  --scenario A,B     ${SCENARIOS.map(({ name }) => name).join(", ")} or all
                     (default: http-l7)
  --rounds N         rounds that count; one more warms up (default: 5)
  --seconds N        seconds of load for each proxy in each round (default: 4)
  --lb CMD           the command that starts lb (default: this checkout with this Deno)
  --baseline CMD     another build of lb to compare with
  --json FILE        also write the result as JSON
  --markdown         print tables for a README
  --help             show this text

Needs nginx (for the backends) and wrk; for gRPC nghttpd and h2load.`;

/** What a run of the comparison is asked for. */
interface Options {
  scenarios: readonly Scenario[];
  rounds: number;
  seconds: number;
  /** Builds of lb by name; the one called `lb` is compared with all others. */
  builds: readonly { name: string; command: readonly string[] }[];
}

/** Checks that a proxy answers as the backend does, so that no error page is measured. */
async function checkAnswer({ name, port }: Proxy, scenario: Scenario): Promise<void> {
  const { path, bodyBytes, streams } = scenario;
  // h2load counts what is not 2xx, and `fetch` speaks HTTP/2 without TLS only on demand.
  if (streams !== undefined) return;
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  const { byteLength } = await response.arrayBuffer();
  if (response.status !== 200 || byteLength !== bodyBytes) {
    throw new ScriptError(
      `${name} answers ${path} with status ${response.status} and ${byteLength} bytes ` +
        `instead of 200 and ${bodyBytes}`,
    );
  }
}

async function runScenario(setup: Setup, options: Options): Promise<ScenarioReport> {
  const { processes, scenario, backends } = setup;
  const { proxies, skipped } = await startPeers(setup);
  for (const build of options.builds) proxies.push(await startLb(setup, build));
  for (const proxy of proxies) await checkAnswer(proxy, scenario);

  const targets = [
    { name: "direct", port: backends[0]! },
    ...proxies.map(({ name, port, child }) => ({ name, port, pid: child.pid })),
  ];
  const series = targets.map((target) => ({ ...target, samples: [] as Sample[] }));
  for (let round = 0; round <= options.rounds; round++) {
    for (const target of series) {
      const sample = await measure(processes, target, {
        scenario,
        seconds: options.seconds,
        cpu: LOAD_CPU,
      });
      if (round > 0) target.samples.push(sample);
    }
    console.error(`${scenario.name}: ${round === 0 ? "warm-up" : `round ${round}`} done`);
  }
  for (const { child } of proxies) await child.stop();
  const lb = series.find(({ name }) => name === "lb")!;
  const others = series.filter(({ name }) => name !== "lb" && name !== "direct");
  return {
    scenario,
    rows: series.map(summarize),
    ratios: others.map((other) => compare(lb, other)),
    skipped,
  };
}

/** The model of the CPU as the kernel names it. */
function cpuModel(): string {
  try {
    const info = Deno.readTextFileSync("/proc/cpuinfo");
    return /^model name\s*:\s*(.+)$/m.exec(info)?.[1] ?? Deno.build.arch;
  } catch {
    return Deno.build.arch; // a system without /proc
  }
}

async function runAll(options: Options): Promise<Report> {
  const folder = await Deno.makeTempDir({ prefix: "lb-bench-" });
  const processes = new Processes(folder);
  let cleaning: Promise<void> | undefined;
  const cleanUp = (): Promise<void> =>
    cleaning ??= processes.stopAll().then(() => Deno.remove(folder, { recursive: true }));
  const release = endOnSignal(cleanUp);
  try {
    // nginx, when root starts it, reads the files as another user
    await Deno.chmod(folder, 0o755);
    const grpc = options.scenarios.some(({ streams }) => streams !== undefined);
    const http = options.scenarios.some(({ streams }) => streams === undefined);
    const httpBackends = http ? await startBackends(processes, folder) : [];
    const grpcBackends = grpc ? await startGrpcBackends(processes, folder) : [];
    const scenarios: ScenarioReport[] = [];
    for (const scenario of options.scenarios) {
      const own = `${folder}/${scenario.name}`;
      await Deno.mkdir(own);
      const backends = scenario.streams === undefined ? httpBackends : grpcBackends;
      scenarios.push(await runScenario({ processes, folder: own, scenario, backends }, options));
    }
    return {
      machine: {
        cpu: cpuModel(),
        cores: navigator.hardwareConcurrency,
        system: `${Deno.build.os} ${Deno.osRelease()}`,
        versions: await readVersions(),
        pinned: processes.canPin,
      },
      rounds: options.rounds,
      seconds: options.seconds,
      scenarios,
    };
  } finally {
    await cleanUp();
    await release();
  }
}

/** Refuses to begin where a backend or a load generator is missing. */
function checkPrograms(scenarios: readonly Scenario[]): void {
  const grpc = scenarios.some(({ streams }) => streams !== undefined);
  const http = scenarios.some(({ streams }) => streams === undefined);
  const needed = [...(http ? ["nginx", "wrk"] : []), ...(grpc ? ["nghttpd", "h2load"] : [])];
  const missing = needed.filter((program) => findProgram(program) === undefined);
  if (missing.length === 0) return;
  throw new ScriptError(
    `${missing.join(" and ")} not installed. Install them with ` +
      `'apt-get install nginx wrk nghttp2-server nghttp2-client' on Debian ` +
      `or 'brew install nginx wrk nghttp2' on macOS.`,
  );
}

async function main(): Promise<void> {
  const args = parseArgs(Deno.args, {
    boolean: ["markdown", "help"],
    string: ["scenario", "rounds", "seconds", "lb", "baseline", "json"],
    default: { scenario: "http-l7", rounds: "5", seconds: "4" },
    unknown: refuseUnknown,
  });
  if (args.help) return console.log(USAGE);
  const scenarios = pickScenarios(String(args.scenario));
  checkPrograms(scenarios);
  const lb = args.lb === undefined
    ? [Deno.execPath(), "run", "-A", `${PROJECT_ROOT}/main.ts`]
    : splitCommand(String(args.lb));
  const baseline = args.baseline === undefined
    ? []
    : [{ name: "baseline", command: splitCommand(String(args.baseline)) }];
  const report = await runAll({
    scenarios,
    rounds: parseWhole("rounds", args.rounds, 1, 1000),
    seconds: parseWhole("seconds", args.seconds, 1, 3600),
    builds: [...baseline, { name: "lb", command: lb }],
  });
  console.log(
    args.markdown ? renderMarkdown(report) : report.scenarios.map(renderText).join("\n\n"),
  );
  if (args.json !== undefined) {
    await Deno.writeTextFile(String(args.json), JSON.stringify(report, null, 2) + "\n");
  }
}

if (import.meta.main) await runScript("bench", main);

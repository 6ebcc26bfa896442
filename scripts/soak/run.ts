/**
 * Runs a soak: starts balancers and backends, loads them, looks at them, and lets them come to rest.
 *
 * @module
 */
import type { Processes } from "../bench/process.ts";
import { Backend, Balancer, type BalancerOptions } from "../load/fleet.ts";
import type { Counts } from "../load/tally.ts";
import { PROJECT_ROOT } from "../module_graph.ts";
import { makeLines, runLines } from "./loads.ts";
import { PROBE_VARIABLE } from "./probe.ts";
import { type Growth, growthOf, type Sample, takeSample, type Watched } from "./sample.ts";

/** How a soak is made. */
export interface SoakOptions {
  readonly seconds: number;
  /** Things that are done each second, of all kinds. */
  readonly rate: number;
  /** Seconds between two looks. */
  readonly interval: number;
  readonly processes: Processes;
  /** An empty folder. */
  readonly folder: string;
  /** Told of each look. */
  readonly onSample?: (balancer: string, sample: Sample) => void;
}

/** What became of one balancer. */
export interface BalancerReport {
  readonly name: string;
  /** Before the load, and when it has come to rest behind it. */
  readonly before: Sample;
  readonly after: Sample;
  readonly growths: readonly Growth[];
  readonly samples: readonly Sample[];
  /** Faults of its own that it has logged. */
  readonly complaints: readonly string[];
}

/** What became of all. */
export interface SoakReport {
  readonly seconds: number;
  readonly lines: readonly { readonly name: string; readonly counts: Counts }[];
  readonly balancers: readonly BalancerReport[];
}

/** Short, so that connections that are not used any more are not waited for long. */
const IDLE = "2s";
const COMMON = ["--tunnel-idle-timeout", "30s", "--half-closed-timeout", IDLE];
/** Backends that answer well, and behind them one whose HTTP goes wrong. */
const BACKENDS = 2;
/** Seconds of load before the first look, so that everything that is opened once is open. */
const WARM_UP = 2;
/** How long everything may take to come to rest, in milliseconds. */
const REST_MS = 15_000;
const POLL_MS = 250;
/** A line of the log at the level `error`, or the last words of the runtime. */
const COMPLAINT = /^\S+ error |panicked|^error: /;

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function startBalancers(
  { processes, folder }: SoakOptions,
  backends: readonly Backend[],
): Promise<Watched[]> {
  const http = backends.map(({ httpPort }) => `http://127.0.0.1:${httpPort}`);
  const grpc = backends.map(({ grpcPort }) => `127.0.0.1:${grpcPort}`);
  const faulty = `http://127.0.0.1:${backends[0]!.faultPort}`;
  const all = (option: string, values: readonly string[]) => values.flatMap((one) => [option, one]);
  const start = async (command: string, args: readonly string[]): Promise<Watched> => {
    const probe = `${folder}/${command}.probe`;
    const options: BalancerOptions = {
      command,
      folder,
      args: [...COMMON, ...args],
      preload: `${PROJECT_ROOT}/scripts/soak/probe.ts`,
      env: { [PROBE_VARIABLE]: probe },
    };
    return { balancer: await Balancer.start(processes, options), probe };
  };
  return [
    await start("mux", [
      ...all("--http-backend", http),
      ...all("--grpc-backend", grpc),
      ...["--route", `path=/fault -> ${faulty}`, "--fallback"],
      ...["--response-timeout", "5s", "--upstream-idle-timeout", IDLE],
    ]),
    await start("http-l4", all("--backend", http)),
    await start("grpc-l4", all("--backend", grpc)),
  ];
}

/** Waits until a balancer has come to rest; the last look at it, whether it has or not. */
async function comeToRest(
  watched: Watched,
  at: number,
  rests: (sample: Sample) => boolean,
): Promise<Sample> {
  const deadline = performance.now() + REST_MS;
  for (;;) {
    const sample = await takeSample(watched, at);
    if (rests(sample) || performance.now() > deadline) return sample;
    await wait(POLL_MS);
  }
}

/** Whether nothing is open that was not open before. */
export function isAtRest(now: Sample, before: Sample): boolean {
  return now.connections <= before.connections && now.upstream <= before.upstream &&
    now.descriptors <= before.descriptors;
}

/** Runs it to its end. */
export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const { seconds, rate, interval, processes, onSample } = options;
  const names = Array.from({ length: BACKENDS }, (_, i) => `${i}`);
  const backends = await Promise.all(names.map((name) => Backend.start(processes, name, true)));
  const watched = await startBalancers(options, backends);
  try {
    const [mux, httpL4, grpcL4] = watched.map(({ balancer }) => balancer.port) as [
      number,
      number,
      number,
    ];
    const lines = makeLines({ mux, httpL4, grpcL4 });
    const close = () => Promise.all(lines.map((line) => line.close?.()));
    await runLines(lines, { rate, signal: AbortSignal.timeout(WARM_UP * 1000) });
    await close();
    const before = await Promise.all(
      watched.map((one) =>
        comeToRest(one, 0, ({ connections, upstream }) => connections + upstream === 0)
      ),
    );

    const start = performance.now();
    const stop = new AbortController();
    const load = runLines(lines, { rate, signal: stop.signal });
    const samples: Sample[][] = watched.map(() => []);
    for (let at = interval; at <= seconds; at += interval) {
      await wait(start + at * 1000 - performance.now());
      for (const [i, one] of watched.entries()) {
        const sample = await takeSample(one, (performance.now() - start) / 1000);
        samples[i]!.push(sample);
        onSample?.(one.balancer.name, sample);
      }
    }
    stop.abort();
    const tallies = await load;
    await close();
    const after = await Promise.all(
      watched.map((one, i) =>
        comeToRest(one, (performance.now() - start) / 1000, (now) => isAtRest(now, before[i]!))
      ),
    );
    return {
      seconds,
      lines: [...tallies].map(([name, tally]) => ({ name, counts: tally.counts })),
      balancers: watched.map(({ balancer }, i) => ({
        name: balancer.name,
        before: before[i]!,
        after: after[i]!,
        growths: (["heap", "external", "resident", "descriptors"] as const)
          .map((kind) => growthOf(kind, samples[i]!)),
        samples: samples[i]!,
        complaints: balancer.log.split("\n").filter((line) => COMPLAINT.test(line)),
      })),
    };
  } finally {
    await Promise.all(watched.map(({ balancer }) => balancer.stop()));
  }
}

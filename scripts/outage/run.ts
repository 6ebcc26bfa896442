/**
 * Runs balancers and backends under load while they are disturbed, and counts what comes of every request.
 *
 * @module
 */
import type { Processes } from "../bench/process.ts";
import { Backend, Balancer, sumOf } from "../load/fleet.ts";
import { disturb, type Disturbance, type Mode, type World } from "./disturb.ts";
import { type Load, loadGrpc, loadHttp, type LoadOptions, loadPosts } from "./outside.ts";
import type { Part, Report, Upstream } from "./report.ts";

/** What an outage is made of. */
export interface OutageOptions extends Disturbance {
  readonly mode: Mode;
  /** Requests per second, and calls per second. */
  readonly rate: number;
  /** POSTs per second beside them. */
  readonly posts: number;
  /** Whether programs of others make the load where they are installed. */
  readonly outside: boolean;
  readonly processes: Processes;
  /** An empty folder. */
  readonly folder: string;
}

/** Backends that serve. */
export const BACKENDS = 3;
/** The share of them that may be ejected at a time: the balancer's default. */
const MAX_EJECTED = 0.5;
/** Milliseconds between two looks at how many are ejected. */
const LOOK_MS = 250;

/** Looks at the backends of a balancer now and then. */
class EjectionWatch {
  readonly #balancer: Balancer;
  #most = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(balancer: Balancer) {
    this.#balancer = balancer;
    this.#again();
  }

  #again(): void {
    this.#timer = setTimeout(() => this.#looking = this.#look(), LOOK_MS);
  }

  async #look(): Promise<void> {
    const metrics = await this.#balancer.metrics();
    let ejected = 0;
    for (const [sample, value] of metrics) {
      if (/^lb_backend_health\{.*state="ejected"/.test(sample)) ejected += value;
    }
    this.#most = Math.max(this.#most, ejected);
    if (!this.#stopped) this.#again();
  }

  async stop(): Promise<number> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#looking;
    return this.#most;
  }
}

async function startWorld({ processes, folder }: OutageOptions): Promise<World> {
  const names = Array.from({ length: BACKENDS + 1 }, (_, i) => `${i}`);
  const backends = await Promise.all(names.map((name) => Backend.start(processes, name)));
  const serving = backends.slice(0, BACKENDS);
  const start = (command: string, addresses: readonly string[]) =>
    Balancer.start(processes, {
      command,
      folder,
      args: ["--fallback", ...addresses.flatMap((addr) => ["--backend", addr])],
    });
  return {
    backends,
    http: await start("http-l7", serving.map(({ httpPort }) => `http://127.0.0.1:${httpPort}`)),
    grpc: await start("grpc-l7", serving.map(({ grpcPort }) => `127.0.0.1:${grpcPort}`)),
  };
}

async function partOf(name: string, { generator, counts }: Load): Promise<Part> {
  return { name, generator, counts: await counts };
}

async function upstreamOf(
  balancer: Balancer,
  { requests, watch }: { readonly requests: number; readonly watch: EjectionWatch },
): Promise<Upstream> {
  const mostEjected = await watch.stop();
  const metrics = await balancer.metrics();
  return {
    balancer: balancer.name,
    requests,
    attempts: sumOf(metrics, "lb_upstream_attempts_total"),
    retries: sumOf(metrics, "lb_upstream_retries_total"),
    ejections: sumOf(metrics, "lb_backend_ejections_total"),
    mostEjected,
    ceiling: Math.floor(BACKENDS * MAX_EJECTED),
  };
}

/** Runs it to its end. */
export async function runOutage(options: OutageOptions): Promise<Report> {
  const { mode, rate, posts, seconds } = options;
  const world = await startWorld(options);
  const { http, grpc } = world;
  try {
    // Counters end with their process, or with their backend.
    const counted = mode !== "restart" && mode !== "churn";
    const watches = counted ? [http, grpc].map((one) => new EjectionWatch(one)) : [];
    const load = (port: number, rate: number): LoadOptions => ({ ...options, port, rate });
    // h2load opens no connection again that was closed in order, as they are in a restart.
    const outside = options.outside && mode !== "restart";
    const loads = [
      partOf("HTTP GET", loadHttp({ ...load(http.port, rate), outside })),
      partOf("HTTP POST", loadPosts(load(http.port, posts))),
      partOf("gRPC unary", loadGrpc(load(grpc.port, rate))),
    ];
    const [disturbance, ...parts] = await Promise.all([disturb(mode, world, options), ...loads]);
    const requests = parts.map(({ counts }) => counts.requests);
    const upstreams = counted
      ? [
        await upstreamOf(http, { requests: requests[0]! + requests[1]!, watch: watches[0]! }),
        await upstreamOf(grpc, { requests: requests[2]!, watch: watches[1]! }),
      ]
      : [];
    return { mode, seconds, disturbance, parts, upstreams };
  } finally {
    await Promise.all([http.stop(), grpc.stop()]);
  }
}

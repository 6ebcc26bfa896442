/**
 * The gRPC balancer at layer 7 over memory pairs, with backends and a client on our own engine and a clock
 * that stands still.
 *
 * @module
 */
import type { Connect } from "../../lib/backend/connector.ts";
import type { PoolOptions } from "../../lib/backend/h1_pool.ts";
import type { RequestLimitOptions } from "../../lib/backend/limits.ts";
import type { RecoveryOptions } from "../../lib/backend/recovery.ts";
import { Registry } from "../../lib/backend/registry.ts";
import { formatAddress } from "../../lib/common/address.ts";
import type { Duplex } from "../../lib/common/duplex.ts";
import { ProxyError } from "../../lib/common/errors.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { GrpcConnection } from "../../lib/grpc/l7/connection.ts";
import type { GrpcContext } from "../../lib/grpc/l7/context.ts";
import type { H2Options } from "../../lib/http/h2/options.ts";
import { Planner, type Rates } from "../../lib/http/l7/plan.ts";
import { type ListenerMetrics, Metrics } from "../../lib/observe/metrics.ts";
import type { Route } from "../../lib/route/route.ts";
import type { StrategyName } from "../../lib/strategy/registry.ts";
import { FakeClock, settle } from "./fake_clock.ts";
import { makeRecovery } from "./recovery.ts";
import { type Exchange, H2Backend, type H2BackendOptions, H2Client } from "./h2_peer.ts";

/** How a test wants its balancer. */
export interface GrpcL7Options extends H2BackendOptions {
  readonly backends?: readonly string[];
  /** Backends that are there without being in the default pool. */
  readonly others?: readonly string[];
  readonly routes?: readonly Route[];
  readonly strategy?: StrategyName;
  readonly connections?: Partial<PoolOptions>;
  readonly context?: Partial<GrpcContext>;
  /** Limits of the calls of each backend. */
  readonly requests?: RequestLimitOptions;
  /** How many calls are taken. */
  readonly rates?: Rates;
  /** How calls are sent again. */
  readonly recovery?: RecoveryOptions;
  /** What its connections to backends grant and ask. */
  readonly upstream?: Partial<H2Options>;
}

/** A balancer in memory. */
export class GrpcL7Scene implements AsyncDisposable {
  readonly time: FakeClock = new FakeClock();
  readonly registry: Registry;
  readonly listener: ListenerMetrics = new Metrics().listener("test");
  /** Backends by host. */
  readonly backends: Map<string, H2Backend> = new Map();
  /** Hosts that nobody answers at. */
  readonly down: Set<string> = new Set();
  /** What keeps this host from connecting to any. */
  prevented: ProxyError | undefined;
  client!: H2Client;
  /** The balancer's connection to the client. */
  server!: GrpcConnection;
  #served: Promise<void> | undefined;

  static async open(options: GrpcL7Options = {}): Promise<GrpcL7Scene> {
    const scene = new GrpcL7Scene(options);
    const [ours, theirs] = makeMemoryPair();
    const recovery = options.context?.recovery ??
      makeRecovery(scene.time.clock, "grpc", options.recovery);
    scene.server = new GrpcConnection(theirs, {
      services: undefined,
      planner: new Planner(scene.registry, recovery.rules, options.rates),
      recovery,
      clock: scene.time.clock,
      h2: {},
      forwarded: "off",
      isTrusted: () => false,
      maxAttempts: 3,
      metrics: scene.listener,
      accessLog: undefined,
      ...options.context,
    });
    scene.#served = scene.server.serve();
    scene.client = new H2Client(ours, { clock: scene.time.clock });
    await scene.client.ready;
    return scene;
  }

  private constructor(options: GrpcL7Options) {
    const { clock } = this.time;
    this.registry = new Registry({
      strategy: options.strategy ?? "round-robin",
      scheme: "grpc",
      fallback: false,
      requests: options.requests ?? {},
      connections: {
        maxConnections: 8,
        maxWaiting: 8,
        waitTimeout: 2_000,
        idleTimeout: 30_000,
        connectTimeout: 1_000,
        ...options.connections,
        h2: options.upstream ?? {},
      },
      clock,
      connect: this.#connect,
    });
    for (const addr of options.backends ?? ["a:80"]) {
      this.backends.set(addr, new H2Backend({ ...options, clock }));
      this.registry.addBackend({ addr });
    }
    for (const addr of options.others ?? []) {
      this.backends.set(addr, new H2Backend({ ...options, clock }));
    }
    for (const route of options.routes ?? []) this.registry.addRoute(route);
  }

  readonly #connect: Connect = (address): Promise<Duplex> => {
    const host = formatAddress(address).replace(/^\w+:\/\//, "");
    if (this.prevented !== undefined) return Promise.reject(this.prevented);
    const backend = this.backends.get(host);
    if (backend === undefined || this.down.has(host)) {
      return Promise.reject(
        new ProxyError("connect_failed", "upstream", `${host} is down`, { retry: "safe" }),
      );
    }
    const [ours, theirs] = makeMemoryPair();
    backend.serve(theirs);
    return Promise.resolve(ours);
  };

  /** The backend at a host. */
  backend(host = "a:80"): H2Backend {
    return this.backends.get(host)!;
  }

  /** Waits until an exchange has ended; no time passes. */
  async end(exchange: Exchange): Promise<Exchange> {
    for (let i = 0; i < 200 && !exchange.ended; i++) await settle();
    return exchange;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    for (const backend of this.backends.values()) await backend[Symbol.asyncDispose]();
    await this.#served;
    await settle();
  }
}

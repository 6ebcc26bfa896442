/**
 * The layer 7 balancer over memory pairs, with scripted backends and a clock that stands still.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { LiveBackend } from "../../lib/backend/backend.ts";
import type { PoolOptions } from "../../lib/backend/h1_pool.ts";
import type { RequestLimitOptions } from "../../lib/backend/limits.ts";
import type { RecoveryOptions } from "../../lib/backend/recovery.ts";
import { Registry } from "../../lib/backend/registry.ts";
import type { PeerAddress } from "../../lib/common/duplex.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { DEFAULT_HEAD_LIMITS } from "../../lib/http/h1/limits.ts";
import { RequestHead } from "../../lib/http/h1/request.ts";
import { ResponseHead } from "../../lib/http/h1/response.ts";
import { HttpConnection } from "../../lib/http/l7/connection.ts";
import {
  DEFAULT_HTTP_TIMEOUTS,
  type HttpContext,
  type HttpTimeouts,
} from "../../lib/http/l7/context.ts";
import { Planner } from "../../lib/http/l7/plan.ts";
import { AccessLog } from "../../lib/observe/access_log.ts";
import {
  type ListenerMetrics,
  Metrics,
  type RequestStats,
  type UpstreamStats,
} from "../../lib/observe/metrics.ts";
import type { Route } from "../../lib/route/route.ts";
import type { StrategyName } from "../../lib/strategy/registry.ts";
import { FakeClock, settle } from "./fake_clock.ts";
import { type Faults, FaultyDuplex } from "./faulty_duplex.ts";
import { type Message, Peer } from "./http_text.ts";
import { makeRecovery } from "./recovery.ts";
import {
  type BackendConnection,
  type ScriptedBackend,
  ScriptedBackends,
} from "./scripted_backend.ts";

/** How a test wants its balancer; each part has a default. */
export interface L7Options {
  readonly backends?: readonly string[];
  readonly routes?: readonly Route[];
  readonly strategy?: StrategyName;
  readonly fallback?: boolean;
  readonly timeouts?: Partial<HttpTimeouts>;
  readonly connections?: Partial<PoolOptions>;
  /** Limits of the requests of each backend. */
  readonly requests?: RequestLimitOptions;
  readonly context?: Partial<HttpContext>;
  /** How requests are sent again. */
  readonly recovery?: RecoveryOptions;
  /** Whether exchanges are logged; {@linkcode L7.records} has the lines. */
  readonly log?: boolean;
  /** How the sockets of clients behave. */
  readonly faults?: Faults;
}

/** The backend that there is unless a test names others. */
export const A = "http://a:80";
/** A second backend. */
export const B = "http://b:80";

const CLIENT: PeerAddress = { hostname: "192.0.2.1", port: 50_000 };
const LISTENER: PeerAddress = { hostname: "198.51.100.1", port: 8080 };

/** A client of the balancer. */
export class Client extends Peer {
  /** The balancer's end. */
  readonly proxySide: FaultyDuplex;
  /** The balancer's connection. */
  readonly server: HttpConnection;
  /** Whether the balancer is done with it. */
  finished = false;

  /** Made by {@linkcode L7.connect}. */
  constructor(context: HttpContext, faults: Faults, peer: PeerAddress) {
    const [ours, theirs] = makeMemoryPair(peer, LISTENER);
    super(ours);
    this.proxySide = new FaultyDuplex(theirs, faults);
    this.server = new HttpConnection(this.proxySide, context, {
      request: new RequestHead(context.limits),
      response: new ResponseHead(context.limits),
      planner: new Planner(context.registry, context.recovery.rules, context.rates),
    });
    void this.server.serve().then(() => this.finished = true);
  }

  /** Breaks the connection. */
  reset(): void {
    this.proxySide.reset();
  }

  /** Sends a request and reads its answer. */
  async ask(request: string): Promise<Message> {
    const sent = this.send(request);
    const response = await this.response(request.startsWith("HEAD "));
    await sent;
    return response;
  }
}

/** A balancer in memory. */
export class L7 {
  readonly time: FakeClock = new FakeClock();
  readonly backends: ScriptedBackends = new ScriptedBackends();
  readonly registry: Registry;
  readonly metrics: Metrics = new Metrics();
  readonly listener: ListenerMetrics = this.metrics.listener("test");
  readonly context: HttpContext;
  readonly #clients: Client[] = [];
  readonly #seen = new Set<LiveBackend>();
  readonly #lines: string[] = [];
  readonly #faults: Faults;

  /** Makes a balancer. */
  constructor(options: L7Options = {}) {
    const { clock } = this.time;
    this.#faults = options.faults ?? {};
    this.registry = new Registry({
      strategy: options.strategy ?? "round-robin",
      scheme: "http",
      fallback: options.fallback ?? false,
      requests: options.requests ?? {},
      connections: {
        maxConnections: 8,
        maxWaiting: 8,
        waitTimeout: 2_000,
        idleTimeout: 30_000,
        connectTimeout: 1_000,
        ...options.connections,
      },
      clock,
      connect: this.backends.connect,
    });
    this.registry.watcher = {
      onBackendRemoved: (id) => this.metrics.forgetBackend(id),
      onRouteRemoved: (id) => this.metrics.forgetRoute(id),
    };
    for (const addr of options.backends ?? [A]) this.registry.addBackend({ addr });
    for (const route of options.routes ?? []) this.registry.addRoute(route);
    this.#note();
    const lines = this.#lines;
    const decoder = new TextDecoder();
    this.context = {
      registry: this.registry,
      clock,
      timeouts: { ...DEFAULT_HTTP_TIMEOUTS, ...options.timeouts },
      limits: DEFAULT_HEAD_LIMITS,
      forwarded: "x-forwarded",
      isTrusted: () => false,
      via: undefined,
      maxAttempts: 3,
      recovery: makeRecovery(clock, "http", options.recovery),
      local: undefined,
      metrics: this.listener,
      accessLog: options.log !== true ? undefined : new AccessLog({
        format: "json",
        sink: {
          write: (bytes) => {
            lines.push(...decoder.decode(bytes).split("\n").filter((line) => line !== ""));
            return Promise.resolve();
          },
          close: () => Promise.resolve(),
        },
      }),
      ...options.context,
    };
  }

  /** A backend's script. */
  at(addr: string = A): ScriptedBackend {
    return this.backends.at(addr);
  }

  /** The next connection that the balancer opens to a backend. */
  accept(addr: string = A): Promise<BackendConnection> {
    return this.at(addr).accept();
  }

  /** What the registry holds of a backend. */
  live(addr: string = A): LiveBackend {
    this.#note();
    for (const live of this.#seen) if (live.addr === addr) return live;
    throw new Error(`there is no backend ${addr}`);
  }

  /** What the metrics say of a backend. */
  upstream(addr: string = A): UpstreamStats {
    return this.listener.upstream(this.live(addr).id);
  }

  /** What the metrics say of requests. */
  requests(addr: string = A, route = "-"): RequestStats {
    return this.listener.requests(route, this.live(addr).id);
  }

  /** A new client. */
  connect(peer: PeerAddress = CLIENT): Client {
    const client = new Client(this.context, this.#faults, peer);
    this.#clients.push(client);
    return client;
  }

  /** The records of the access log. */
  async records(): Promise<Record<string, unknown>[]> {
    await settle();
    await this.context.accessLog!.flush();
    return this.#lines.map((line) => JSON.parse(line));
  }

  #note(): void {
    for (const live of this.registry.backends) this.#seen.add(live);
  }

  /** Fails unless no lease, connection or deadline is left behind. Ends the clients that are left. */
  async assertSettled(): Promise<void> {
    for (const client of this.#clients) client.close();
    await settle();
    this.#note();
    const open = new Map<ScriptedBackend, number>();
    for (const backend of this.backends.all) {
      open.set(backend, backend.connections.filter(({ closedByProxy }) => !closedByProxy).length);
    }
    let idle = 0;
    for (const live of this.#seen) {
      assertEquals(live.inFlight, 0, `leases on ${live.addr}`);
      assertEquals(live.http.active, 0, `busy connections to ${live.addr}`);
      idle += live.http.idle;
    }
    const total = [...open.values()].reduce((sum, count) => sum + count, 0);
    assertEquals(total, idle, "connections that are open and not idle in a pool");
    for (const [id, stats] of this.listener.upstreamSeries()) {
      assertEquals(stats.active, 0, `active connections by the metrics of ${id}`);
    }
    assertEquals(this.listener.refusals.get("internal"), undefined, "failures of the proxy itself");
    for (const [i, client] of this.#clients.entries()) {
      assert(client.finished, `the connection of client ${i} is still served`);
      assert(client.proxySide.closed, `the connection of client ${i} is not closed`);
    }
    assertEquals(this.time.clock.size, idle, "deadlines that are watched beside idle connections");
    for (const live of this.#seen) live.http.closeIdle();
    for (const backend of this.backends.all) {
      for (const connection of backend.connections) assert(connection.closedByProxy);
    }
    assertEquals(this.time.clock.size, 0, "deadlines that are watched");
    await this.context.accessLog?.close();
  }
}

/** A test of the layer 7 balancer that must leave nothing behind. */
export function testL7(
  name: string,
  options: L7Options,
  run: (lb: L7) => Promise<void>,
): void {
  Deno.test(name, async () => {
    const lb = new L7(options);
    await run(lb);
    await lb.assertSettled();
  });
}

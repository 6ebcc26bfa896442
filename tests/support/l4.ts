/**
 * The layer 4 balancer over memory pairs, with scripted backends and a clock that stands still.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { RecoveryOptions } from "../../lib/backend/recovery.ts";
import { Registry } from "../../lib/backend/registry.ts";
import type { Duplex } from "../../lib/common/duplex.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { StreamConnection } from "../../lib/http/l4/connection.ts";
import type { StreamContext, StreamTimeouts } from "../../lib/http/l4/context.ts";
import type { Served } from "../../lib/mux/listener.ts";
import { AccessLog } from "../../lib/observe/access_log.ts";
import { type ListenerMetrics, Metrics, type UpstreamStats } from "../../lib/observe/metrics.ts";
import type { StrategyName } from "../../lib/strategy/registry.ts";
import { makeRecovery } from "./recovery.ts";
import { FakeClock, settle } from "./fake_clock.ts";
import { type Faults, FaultyDuplex } from "./faulty_duplex.ts";
import { Peer } from "./http_text.ts";
import {
  type BackendConnection,
  type ScriptedBackend,
  ScriptedBackends,
} from "./scripted_backend.ts";

/** How a test wants its balancer; each part has a default. */
export interface L4Options {
  readonly backends?: readonly string[];
  readonly timeouts?: StreamTimeouts;
  readonly maxAttempts?: number;
  readonly strategy?: StrategyName;
  /** How many backends may be tried in all. */
  readonly recovery?: RecoveryOptions;
  /** Serves management connections; without it the balancer relays any protocol. */
  readonly management?: (duplex: Duplex) => Served;
  /** How the sockets of clients behave. */
  readonly faults?: Faults;
}

/** The backend that there is unless a test names others. */
export const A = "tcp://a:80";
/** A second backend. */
export const B = "tcp://b:80";

/** A client of the balancer. */
export class StreamClient extends Peer {
  /** The balancer's end. */
  readonly proxySide: FaultyDuplex;
  /** The balancer's connection. */
  readonly server: StreamConnection;
  /** Whether the balancer is done with it. */
  finished = false;

  /** Made by {@linkcode L4.connect}. */
  constructor(context: StreamContext, faults: Faults, hostname: string) {
    const [ours, theirs] = makeMemoryPair({ hostname, port: 50_000 });
    super(ours);
    this.proxySide = new FaultyDuplex(theirs, faults);
    this.server = new StreamConnection(this.proxySide, context);
    void this.server.serve().then(() => this.finished = true);
  }
}

/** A balancer in memory. */
export class L4 {
  readonly time: FakeClock = new FakeClock();
  readonly backends: ScriptedBackends = new ScriptedBackends();
  readonly registry: Registry;
  readonly metrics: ListenerMetrics = new Metrics().listener("test");
  readonly context: StreamContext;
  readonly #clients: StreamClient[] = [];
  readonly #lines: string[] = [];
  readonly #accessLog: AccessLog;
  readonly #faults: Faults;

  /** Makes a balancer. */
  constructor(options: L4Options) {
    const { clock } = this.time;
    this.#faults = options.faults ?? {};
    this.registry = new Registry({
      strategy: options.strategy ?? "round-robin",
      scheme: "tcp",
      fallback: false,
      connections: {
        maxConnections: 1,
        maxWaiting: 0,
        waitTimeout: 1_000,
        idleTimeout: 1_000,
        connectTimeout: 1_000,
      },
      clock,
      connect: this.backends.connect,
    });
    for (const addr of options.backends ?? [A]) this.registry.addBackend({ addr });
    const decoder = new TextDecoder();
    this.#accessLog = new AccessLog({
      format: "json",
      sink: {
        write: (bytes) => {
          this.#lines.push(...decoder.decode(bytes).split("\n").filter((line) => line !== ""));
          return Promise.resolve();
        },
        close: () => Promise.resolve(),
      },
    });
    this.context = {
      pool: this.registry.pool,
      connect: this.backends.connect,
      connectTimeout: 1_000,
      caCerts: undefined,
      maxAttempts: options.maxAttempts ?? 3,
      recovery: makeRecovery(clock, "http", options.recovery),
      hashed: options.strategy === "consistent-hash",
      clock,
      timeouts: options.timeouts ?? { firstByte: 1_000, idle: 5_000, halfClosed: 2_000 },
      metrics: this.metrics,
      accessLog: this.#accessLog,
      management: options.management,
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

  /** What the metrics say of a backend. */
  upstream(addr: string = A): UpstreamStats {
    for (const live of this.registry.backends) {
      if (live.addr === addr) return this.metrics.upstream(live.id);
    }
    throw new Error(`there is no backend ${addr}`);
  }

  /** A new client. */
  connect(hostname = "192.0.2.1"): StreamClient {
    const client = new StreamClient(this.context, this.#faults, hostname);
    this.#clients.push(client);
    return client;
  }

  /** The records of the access log. */
  async records(): Promise<Record<string, unknown>[]> {
    await settle();
    await this.#accessLog.flush();
    return this.#lines.map((line) => JSON.parse(line));
  }

  /** Fails unless no lease, connection or deadline is left behind. Ends the connections that are left. */
  async assertSettled(): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const backend of this.backends.all) {
      for (const connection of backend.connections) connection.close();
    }
    await settle();
    for (const live of this.registry.backends) {
      assertEquals(live.inFlight, 0, `leases on ${live.addr}`);
    }
    for (const [id, stats] of this.metrics.upstreamSeries()) {
      assertEquals(stats.active, 0, `active connections by the metrics of ${id}`);
    }
    for (const [i, client] of this.#clients.entries()) {
      assert(client.finished, `the connection of client ${i} is still served`);
      assert(client.proxySide.closed, `the connection of client ${i} is not closed`);
    }
    for (const backend of this.backends.all) {
      for (const connection of backend.connections) assert(connection.closedByProxy);
    }
    assertEquals(this.time.clock.size, 0, "deadlines that are watched");
    await this.#accessLog.close();
  }
}

/** A test of the layer 4 balancer that must leave nothing behind. */
export function testL4(
  name: string,
  options: L4Options,
  run: (lb: L4) => Promise<void>,
): void {
  Deno.test(name, async () => {
    const lb = new L4(options);
    await run(lb);
    await lb.assertSettled();
  });
}

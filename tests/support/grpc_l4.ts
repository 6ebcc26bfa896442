/**
 * The gRPC balancer at layer 4 over memory pairs, with backends, own services and a client on our own engine and
 * a clock that stands still.
 *
 * @module
 */
import type { Connect } from "../../lib/backend/connector.ts";
import { Registry } from "../../lib/backend/registry.ts";
import { formatAddress } from "../../lib/common/address.ts";
import type { Duplex, PeerAddress } from "../../lib/common/duplex.ts";
import { ProxyError } from "../../lib/common/errors.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { TunnelConnection } from "../../lib/grpc/l4/connection.ts";
import type { TunnelContext } from "../../lib/grpc/l4/context.ts";
import type { GrpcContext, OwnServices } from "../../lib/grpc/l7/context.ts";
import { latin1 } from "../../lib/http/h1/chars.ts";
import { H2Connection, type H2Options } from "../../lib/http/h2/connection.ts";
import { putInteger } from "../../lib/http/h2/hpack/integer.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { Planner } from "../../lib/http/l7/plan.ts";
import { type ListenerMetrics, Metrics } from "../../lib/observe/metrics.ts";
import { makeRecovery } from "./recovery.ts";
import { FakeClock, settle } from "./fake_clock.ts";
import {
  type Exchange,
  type Fields,
  H2Backend,
  type H2BackendOptions,
  H2Client,
} from "./h2_peer.ts";

/** How a test wants its balancer. */
export interface GrpcL4Options extends H2BackendOptions {
  readonly backends?: readonly string[];
  readonly calls?: Partial<GrpcContext>;
  readonly upstream?: Partial<H2Options>;
  readonly client?: Partial<H2Options>;
  /** How many connections each backend may have; any number unless given. */
  readonly maxConnections?: number;
  /** How many clients may wait for one; 8 unless given. */
  readonly maxWaiting?: number;
  /** Whether the client goes on with its dynamic table whatever the backend says, as h2spec does. */
  readonly keepsTable?: boolean;
}

/** The own services of a test: what begins with this is answered by {@linkcode GrpcL4Scene.own}. */
export const OWN_PREFIX = "/own.";

/** A balancer in memory. */
export class GrpcL4Scene implements AsyncDisposable, OwnServices {
  readonly time: FakeClock = new FakeClock();
  readonly registry: Registry;
  readonly listener: ListenerMetrics = new Metrics().listener("test");
  /** Backends by host. */
  readonly backends: Map<string, H2Backend> = new Map();
  /** Hosts that nobody answers at. */
  readonly down: Set<string> = new Set();
  /** What keeps this host from connecting to any. */
  prevented: ProxyError | undefined;
  /** What connecting to a backend waits for. */
  gate: Promise<void> | undefined;
  /** What answers the own services. */
  readonly own: H2Backend;
  client!: H2Client;
  /** The balancer's connection to the client. */
  server!: TunnelConnection;
  /** Whether the balancer is done with the client. */
  finished = false;
  readonly #local: H2Connection;
  readonly #options: GrpcL4Options;
  #served: Promise<void> | undefined;

  static async open(options: GrpcL4Options = {}): Promise<GrpcL4Scene> {
    const scene = new GrpcL4Scene(options);
    const socket = scene.connect();
    const ours = options.keepsTable ? new DeafDuplex(socket) : socket;
    scene.client = new H2Client(ours, {
      clock: scene.time.clock,
      ...(options.client === undefined ? {} : { h2: options.client }),
    });
    await scene.client.ready;
    return scene;
  }

  constructor(options: GrpcL4Options) {
    const { clock } = this.time;
    this.#options = options;
    this.registry = new Registry({
      strategy: "round-robin",
      scheme: "grpc",
      fallback: false,
      connections: {
        maxConnections: 8,
        maxWaiting: options.maxWaiting ?? 8,
        waitTimeout: 2_000,
        idleTimeout: 30_000,
        connectTimeout: 1_000,
      },
      clock,
      connect: this.#connect,
      ...(options.maxConnections === undefined
        ? {}
        : { requests: { maxRequests: options.maxConnections } }),
    });
    for (const addr of options.backends ?? ["a:80"]) {
      this.backends.set(addr, new H2Backend({ ...options, clock }));
      this.registry.addBackend({ addr });
    }
    this.own = new H2Backend({ ...options, clock });
    const [ours, theirs] = makeMemoryPair();
    this.own.serve(theirs);
    this.#local = new H2Connection({
      role: "client",
      duplex: ours,
      clock,
      handler: {},
    });
    void this.#local.run();
  }

  /** A client's end of a connection to the balancer; the first one is that of {@linkcode open}. */
  connect(): Duplex {
    const [ours, theirs] = makeMemoryPair({ hostname: "192.0.2.1", port: 50_000 });
    this.server = new TunnelConnection(theirs, this.context);
    this.#served = this.server.serve().then(() => void (this.finished = true));
    return ours;
  }

  /** What connections share. */
  get context(): TunnelContext {
    const { clock } = this.time;
    const recovery = makeRecovery(clock, "grpc");
    return {
      calls: {
        services: this,
        planner: new Planner(this.registry, recovery.rules),
        recovery,
        clock,
        h2: {},
        forwarded: "off",
        isTrusted: () => false,
        maxAttempts: 3,
        metrics: this.listener,
        accessLog: undefined,
        ...this.#options.calls,
      },
      pool: this.registry.pool,
      connect: this.#connect,
      connectTimeout: 1_000,
      caCerts: undefined,
      h2: this.#options.upstream ?? {},
      onBackends: (listener) => this.registry.onChange(listener),
    };
  }

  claims(path: string): boolean {
    return path.startsWith(OWN_PREFIX);
  }

  take(): H2Connection | undefined {
    return this.#local.available ? this.#local : undefined;
  }

  acquire(): Promise<H2Connection> {
    return Promise.resolve(this.#local);
  }

  readonly #connect: Connect = async (address): Promise<Duplex> => {
    await this.gate;
    const host = formatAddress(address).replace(/^\w+:\/\//, "");
    if (this.prevented !== undefined) throw this.prevented;
    const backend = this.backends.get(host);
    if (backend === undefined || this.down.has(host)) {
      throw new ProxyError("connect_failed", "upstream", `${host} is down`, { retry: "safe" });
    }
    const [ours, theirs] = makeMemoryPair();
    backend.serve(theirs);
    return ours;
  };

  /** Lets connecting to backends wait until what is returned is called. */
  shut(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gate = promise;
    return resolve;
  }

  /** The backend at a host. */
  backend(host = "a:80"): H2Backend {
    return this.backends.get(host)!;
  }

  /** Connections or calls that the balancer counts at its backends. */
  get inFlight(): number {
    return [...this.registry.backends].reduce((sum, { inFlight }) => sum + inFlight, 0);
  }

  /** Waits until something is so; no time passes. */
  async until(condition: () => boolean, what: string): Promise<void> {
    for (let i = 0; i < 2000 && !condition(); i++) await settle();
    if (!condition()) throw new Error(`not in any number of turns: ${what}`);
  }

  /** Waits until exchanges have ended; no time passes. */
  async end(...exchanges: readonly Exchange[]): Promise<void> {
    await this.until(
      () => exchanges.every(({ ended }) => ended),
      `the end of ${exchanges.filter(({ ended }) => !ended).length} exchanges`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client?.[Symbol.asyncDispose]();
    for (const backend of this.backends.values()) await backend[Symbol.asyncDispose]();
    await this.#served;
    this.#local.abort();
    await this.own[Symbol.asyncDispose]();
    await settle();
  }
}

const FRAME_HEADER_SIZE = 9;
const SETTINGS = 4;
const ENTRY_SIZE = 6;
/** An identifier of SETTINGS that means nothing. */
const UNKNOWN = 0x7f;

/** A socket whose reader never hears of SETTINGS_HEADER_TABLE_SIZE. */
class DeafDuplex implements Duplex {
  readonly remote: PeerAddress;
  readonly local: PeerAddress;
  readonly #duplex: Duplex;
  /** Bytes of the present frame that have passed, its length, and its type. */
  #at = 0;
  #length = 0;
  #type = 0;

  constructor(duplex: Duplex) {
    this.#duplex = duplex;
    this.remote = duplex.remote;
    this.local = duplex.local;
  }

  async read(into: Uint8Array): Promise<number | null> {
    const count = await this.#duplex.read(into);
    for (let i = 0; i < (count ?? 0); i++) this.#pass(into, i);
    return count;
  }

  #pass(bytes: Uint8Array, i: number): void {
    const at = this.#at++;
    if (at < 3) this.#length = at === 0 ? bytes[i]! : this.#length * 256 + bytes[i]!;
    if (at === 3) this.#type = bytes[i]!;
    const second = (at - FRAME_HEADER_SIZE) % ENTRY_SIZE === 1;
    if (this.#type === SETTINGS && second && bytes[i] === Setting.HeaderTableSize) {
      bytes[i] = UNKNOWN;
    }
    if (at >= FRAME_HEADER_SIZE - 1 && this.#at === FRAME_HEADER_SIZE + this.#length) this.#at = 0;
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#duplex.write(bytes);
  }

  closeWrite(): Promise<void> {
    return this.#duplex.closeWrite();
  }

  close(): void {
    this.#duplex.close();
  }
}

const ENTRY_OVERHEAD = 32;
const TABLE_SIZE = 4096;
const STATIC_ENTRIES = 61;
const STRING = { mask: 0x7f, pattern: 0 };

/** An encoder that puts every field into its dynamic table and refers to what is there (RFC 7541). */
export class TableEncoder {
  readonly #entries: [string, string][] = [];
  #size = 0;

  /** Encodes a block. */
  encode(fields: Fields): Uint8Array {
    const out = new Uint8Array(16_384);
    let at = 0;
    const string = (text: string) => {
      at = putInteger(out, at, text.length, STRING);
      out.set(latin1(text), at);
      at += text.length;
    };
    for (const [name, value] of fields) {
      const known = this.#entries.findIndex(([n, v]) => n === name && v === value);
      if (known >= 0) {
        at = putInteger(out, at, STATIC_ENTRIES + 1 + known, { mask: 0x7f, pattern: 0x80 });
        continue;
      }
      out[at++] = 0x40;
      string(name);
      string(value);
      this.#add(name, value);
    }
    return out.slice(0, at);
  }

  #add(name: string, value: string): void {
    this.#entries.unshift([name, value]);
    this.#size += name.length + value.length + ENTRY_OVERHEAD;
    while (this.#size > TABLE_SIZE) {
      const [oldName, oldValue] = this.#entries.pop()!;
      this.#size -= oldName.length + oldValue.length + ENTRY_OVERHEAD;
    }
  }
}

/**
 * The composition root: the only file that knows every part. It puts listeners, proxies, registry,
 * management and metrics together as the balancers that users make.
 *
 * @module
 */
import type { Backend } from "./backend/backend.ts";
import { connect } from "./backend/connector.ts";
import type { PoolOptions } from "./backend/h1_pool.ts";
import { Registry } from "./backend/registry.ts";
import { parseListenAddress, type Scheme } from "./common/address.ts";
import { Clock } from "./common/clock.ts";
import { descriptorLimit } from "./common/descriptors.ts";
import type { Duplex } from "./common/duplex.ts";
import { makeNetworkFilter } from "./common/networks.ts";
import { AccessPolicy } from "./control/access.ts";
import { ManagementApi } from "./control/http_api.ts";
import { type BackendInfo, Management, type RouteInfo } from "./control/management.ts";
import type { ForwardedMode } from "./http/forwarded.ts";
import { DEFAULT_HEAD_LIMITS, type HeadLimits } from "./http/h1/limits.ts";
import { RequestHead } from "./http/h1/request.ts";
import { ResponseHead } from "./http/h1/response.ts";
import { StreamConnection } from "./http/l4/connection.ts";
import { DEFAULT_STREAM_TIMEOUTS, type StreamContext } from "./http/l4/context.ts";
import { HttpConnection } from "./http/l7/connection.ts";
import { DEFAULT_HTTP_TIMEOUTS, type HttpContext, type LocalHandler } from "./http/l7/context.ts";
import type { Scratch } from "./http/l7/downstream.ts";
import { makeFetchHandler } from "./http/l7/fetch.ts";
import { Planner } from "./http/l7/plan.ts";
import { encodeError } from "./http/problem.ts";
import { Listener, type Served } from "./mux/listener.ts";
import type { AccessLog } from "./observe/access_log.ts";
import { type ListenerMetrics, Metrics } from "./observe/metrics.ts";
import type { Route } from "./route/route.ts";
import type { StrategyName } from "./strategy/registry.ts";

/** How long things may take, in milliseconds; what is left out has its default. */
export interface Timeouts {
  /** Opening a connection to a backend, TLS included; then another backend is tried. Default 5,000. */
  readonly connect?: number;
  /** From the first byte of a request to the end of its head; then 408. Default 10,000. */
  readonly requestHead?: number;
  /** How long a client connection may wait for its next request. Default 60,000. */
  readonly idle?: number;
  /** How long either side may neither send nor take a byte of a body. Default 60,000. */
  readonly bodyStall?: number;
  /** From the end of the request to the head of the response; then 504. Default 60,000. */
  readonly response?: number;
  /** How long a backend may take to send `100 Continue` before the body is sent anyway. Default 1,000. */
  readonly expectContinue?: number;
  /** How long a tunnel, or a connection at layer 4, may be silent. Default 3,600,000. */
  readonly tunnelIdle?: number;
  /** How long an unused connection to a backend stays open. Default 30,000. */
  readonly upstreamIdle?: number;
  /** How long a request may wait for a free connection to its backend; then 503. Default 5,000. */
  readonly poolWait?: number;
  /** How long `shutdown()` waits for what is under way. Default 30,000. */
  readonly shutdown?: number;
}

/** How much is taken; what is left out has its default. */
export interface Limits extends Partial<HeadLimits> {
  /**
   * Connections per listener; above that the answer is 503. The default follows the limit of
   * descriptors: three quarters of it at layer 7, 45 of 100 at layer 4, where each connection needs two.
   */
  readonly maxConnections?: number;
  /** Connections to one backend at a time. Default 1,024. */
  readonly maxUpstreamConnections?: number;
  /** Requests that may wait for a connection to one backend. Default 1,024. */
  readonly maxWaiting?: number;
  /** Attempts per request or connection, the first included. Default 8. */
  readonly maxAttempts?: number;
}

/** Who may call the management API, and where it is answered. */
export interface ManagementOptions {
  /** Answer `/lb/…` on the listeners of the balancer. Default `true`; the admin listener always does. */
  readonly onListeners?: boolean;
  /** Networks whose callers need no token, e.g. `10.0.0.0/8`; loopback needs none anyway. */
  readonly allow?: readonly string[];
  /** The bearer token that lets anybody in; at least 16 visible ASCII characters. */
  readonly token?: string;
  /** The port of a caller that registers itself without naming one. Default 80. */
  readonly defaultPort?: number;
}

/** What every balancer takes. */
export interface LoadBalancerOptions {
  /** Backends of the default pool. */
  readonly backends?: readonly (Backend | string)[];
  /** How a backend is picked. Default `round-robin`, which heeds weights when they differ. */
  readonly strategy?: StrategyName;
  /** The name in logs and metrics. Default: the kind of balancer. */
  readonly name?: string;
  /** How long things may take. */
  readonly timeouts?: Timeouts;
  /** How much is taken. */
  readonly limits?: Limits;
  /** Who may call the management API. */
  readonly management?: ManagementOptions;
  /** Certificates in PEM that backends with `https` may have beside those of well-known authorities. */
  readonly caCerts?: readonly string[];
  /** Where exchanges are logged; nowhere unless given. */
  readonly accessLog?: AccessLog;
  /** Counters to share with other balancers; own ones unless given. */
  readonly metrics?: Metrics;
}

/** What a balancer at HTTP layer 7 takes beside that. */
export interface HttpL7Options extends LoadBalancerOptions {
  /** Routes, the same as by {@linkcode HttpL7.addRoute}. */
  readonly routes?: readonly Route[];
  /**
   * Spread requests that match no route over the default pool even when there are routes. Default
   * `false`: a route that demands a secret header must not be bypassed by leaving the header out.
   */
  readonly fallback?: boolean;
  /** Which forwarding fields backends get. Default `x-forwarded`. */
  readonly forwarded?: ForwardedMode;
  /** Networks of proxies in front whose forwarding fields are believed and extended, e.g. `10.0.0.0/8`. */
  readonly trustedProxies?: readonly string[];
  /** The name to give in `Via` (RFC 9110, section 7.6.3); none is written unless given. */
  readonly via?: string;
}

/** What {@linkcode HttpL7.start} and its kin take. */
export interface StartOptions {
  /** Shuts the server down when it is aborted. */
  readonly signal?: AbortSignal;
}

/** A running listener. */
export interface Server {
  /** Where it listens, with the port that the system chose. */
  readonly addr: Deno.Addr;
  /** Resolves when the listener has ended and nothing is under way any more. */
  readonly finished: Promise<void>;
  /**
   * Accepts no more, lets what is under way finish for at most the shutdown timeout, then cuts it.
   * Resolves with `finished`.
   */
  shutdown(): Promise<void>;
}

const DEFAULT_POOL: PoolOptions = {
  maxConnections: 1024,
  maxWaiting: 1024,
  waitTimeout: 5_000,
  idleTimeout: 30_000,
  connectTimeout: 5_000,
};
const DEFAULT_SHUTDOWN = 30_000;
const DEFAULT_MAX_ATTEMPTS = 8;

/** What differs between the kinds of balancers. */
interface Kind {
  readonly name: string;
  readonly layer: "l4" | "l7";
  readonly scheme: Scheme;
  /** The share of the descriptor limit that client connections may take. */
  readonly descriptorShare: number;
}

/** What all balancers have: backends, management, metrics and listeners. */
abstract class LoadBalancer {
  /** The name in logs and metrics. */
  readonly name: string;
  /** The counters. */
  readonly metrics: Metrics;
  /** The use cases of the management API, for calls from inside the process. */
  readonly management: Management;
  /** Answers management requests, for an admin listener of one's own. */
  readonly managementApi: ManagementApi;
  /** Backends and routes. */
  protected readonly registry: Registry;
  /** All deadlines. */
  protected readonly clock: Clock = new Clock();
  /** The options as given. */
  protected readonly options: LoadBalancerOptions;
  readonly #kind: Kind;
  readonly #servers = new Set<ListenerServer>();

  /** Made by a subclass. */
  protected constructor(kind: Kind, options: LoadBalancerOptions, fallback: boolean) {
    const { timeouts = {}, limits = {}, management = {} } = options;
    this.#kind = kind;
    this.options = options;
    this.name = options.name ?? kind.name;
    this.metrics = options.metrics ?? new Metrics();
    this.registry = new Registry({
      strategy: options.strategy ?? "round-robin",
      scheme: kind.scheme,
      fallback,
      clock: this.clock,
      connect,
      connections: {
        maxConnections: limits.maxUpstreamConnections ?? DEFAULT_POOL.maxConnections,
        maxWaiting: limits.maxWaiting ?? DEFAULT_POOL.maxWaiting,
        waitTimeout: timeouts.poolWait ?? DEFAULT_POOL.waitTimeout,
        idleTimeout: timeouts.upstreamIdle ?? DEFAULT_POOL.idleTimeout,
        connectTimeout: timeouts.connect ?? DEFAULT_POOL.connectTimeout,
        ...(options.caCerts === undefined ? {} : { caCerts: options.caCerts }),
      },
    });
    this.registry.watcher = {
      onBackendRemoved: (id) => this.metrics.forgetBackend(id),
      onRouteRemoved: (id) => this.metrics.forgetRoute(id),
    };
    this.management = new Management(this.registry, {
      layer: kind.layer,
      defaultPort: management.defaultPort ?? 80,
    });
    this.managementApi = new ManagementApi(
      this.management,
      new AccessPolicy({
        ...(management.allow === undefined ? {} : { allow: management.allow }),
        ...(management.token === undefined ? {} : { token: management.token }),
      }),
    );
    for (const backend of options.backends ?? []) this.addBackend(backend);
  }

  /**
   * Puts a backend into the default pool, or sets its weight there. The same address has the same id.
   *
   * @returns Its id.
   * @throws {TypeError} When the address or the weight is not valid.
   */
  addBackend(backend: Backend | string): string {
    return this.registry.addBackend(typeof backend === "string" ? { addr: backend } : backend)
      .value.id;
  }

  /** Takes a backend, by id or address, out of everything; it finishes what it has. */
  removeBackend(id: string): void {
    this.management.removeBackend(id);
  }

  /** Picks a backend, by id or address, no more; resolves when it has finished what it had. */
  drainBackend(id: string): Promise<void> {
    this.management.drain(id);
    return this.management.backend(id).whenIdle();
  }

  /** All backends as they are now. */
  backends(): BackendInfo[] {
    return this.management.listBackends();
  }

  /**
   * Listens on an address: `:port`, `host:port`, `[::1]:port` or `unix:/path`; port 0 lets the system
   * choose.
   *
   * @throws {TypeError} When the address is not valid.
   * @throws {Deno.errors.AddrInUse} When it is taken.
   */
  // deno-lint-ignore require-await -- what is thrown must reject
  async start(address: string, options: StartOptions = {}): Promise<Server> {
    options.signal?.throwIfAborted();
    const { limits = {}, timeouts = {} } = this.options;
    const metrics = this.metrics.listener(this.name);
    const listener = new Listener({
      address: parseListenAddress(address),
      maxConnections: limits.maxConnections ??
        Math.max(16, Math.floor(descriptorLimit() * this.#kind.descriptorShare)),
      accept: this.acceptor(metrics),
      metrics,
      ...this.busyAnswer(),
    });
    const server = new ListenerServer(listener, timeouts.shutdown ?? DEFAULT_SHUTDOWN);
    this.#servers.add(server);
    const onAbort = () => void server.shutdown();
    options.signal?.addEventListener("abort", onAbort);
    void server.finished.then(() => {
      options.signal?.removeEventListener("abort", onAbort);
      this.#servers.delete(server);
      if (this.#servers.size === 0) this.#closeIdle();
    });
    return server;
  }

  /** Shuts all listeners down and closes what is pooled. */
  async close(): Promise<void> {
    await Promise.all([...this.#servers].map((server) => server.shutdown()));
    this.#closeIdle();
  }

  #closeIdle(): void {
    for (const backend of this.registry.backends) backend.http.closeIdle();
  }

  /** What serves the connections of a listener. */
  protected abstract acceptor(metrics: ListenerMetrics): (duplex: Duplex) => Served;

  /** What a connection above the limit is told. */
  protected busyAnswer(): { busy?: Uint8Array } {
    return { busy: encodeError("too_many_connections", { noBody: false, close: true }) };
  }

  /** The handler for management requests on the listeners, unless they are not answered there. */
  protected get local(): LocalHandler | undefined {
    return this.options.management?.onListeners === false ? undefined : this.managementApi;
  }

  /** The times that an HTTP connection keeps. */
  protected httpContext(metrics: ListenerMetrics, options: HttpL7Options): HttpContext {
    const { timeouts = {}, limits = {} } = options;
    return {
      registry: this.registry,
      clock: this.clock,
      timeouts: {
        requestHead: timeouts.requestHead ?? DEFAULT_HTTP_TIMEOUTS.requestHead,
        idle: timeouts.idle ?? DEFAULT_HTTP_TIMEOUTS.idle,
        bodyStall: timeouts.bodyStall ?? DEFAULT_HTTP_TIMEOUTS.bodyStall,
        response: timeouts.response ?? DEFAULT_HTTP_TIMEOUTS.response,
        tunnelIdle: timeouts.tunnelIdle ?? DEFAULT_HTTP_TIMEOUTS.tunnelIdle,
        expectContinue: timeouts.expectContinue ?? DEFAULT_HTTP_TIMEOUTS.expectContinue,
      },
      limits: {
        maxRequestLine: limits.maxRequestLine ?? DEFAULT_HEAD_LIMITS.maxRequestLine,
        maxFieldLine: limits.maxFieldLine ?? DEFAULT_HEAD_LIMITS.maxFieldLine,
        maxHead: limits.maxHead ?? DEFAULT_HEAD_LIMITS.maxHead,
        maxFields: limits.maxFields ?? DEFAULT_HEAD_LIMITS.maxFields,
      },
      forwarded: options.forwarded ?? "x-forwarded",
      isTrusted: makeNetworkFilter(options.trustedProxies ?? []),
      via: options.via,
      maxAttempts: limits.maxAttempts ?? DEFAULT_MAX_ATTEMPTS,
      local: this.local,
      metrics,
      accessLog: options.accessLog,
    };
  }

  /** What a connection at layer 4 keeps to. */
  protected streamContext(
    metrics: ListenerMetrics,
    management: StreamContext["management"],
  ): StreamContext {
    const { timeouts = {}, limits = {}, caCerts, accessLog } = this.options;
    return {
      pool: this.registry.pool,
      connect,
      connectTimeout: timeouts.connect ?? DEFAULT_POOL.connectTimeout,
      caCerts,
      maxAttempts: limits.maxAttempts ?? DEFAULT_MAX_ATTEMPTS,
      clock: this.clock,
      timeouts: {
        firstByte: timeouts.requestHead ?? DEFAULT_STREAM_TIMEOUTS.firstByte,
        idle: timeouts.tunnelIdle ?? DEFAULT_STREAM_TIMEOUTS.idle,
      },
      metrics,
      accessLog,
      management,
    };
  }
}

class ListenerServer implements Server {
  readonly #listener: Listener;
  readonly #grace: number;
  readonly #finished = Promise.withResolvers<void>();
  readonly addr: Deno.Addr;
  #shutdown: Promise<void> | undefined;

  constructor(listener: Listener, grace: number) {
    this.#listener = listener;
    this.#grace = grace;
    this.addr = listener.addr;
  }

  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  shutdown(): Promise<void> {
    return this.#shutdown ??= this.#listener.shutdown(this.#grace)
      .then(this.#finished.resolve, this.#finished.reject)
      .then(() => this.finished);
  }
}

/** Makes what the connections of one HTTP listener parse into and plan with. */
function makeScratch(context: HttpContext): Scratch {
  return {
    request: new RequestHead(context.limits),
    response: new ResponseHead(context.limits),
    planner: new Planner(context.registry),
  };
}

/**
 * Balances HTTP per request: every request goes to the backend that its route, or the strategy of the
 * default pool, picks.
 *
 * @example
 * ```ts
 * import { HttpL7, RouteBuilder } from "@atlastore/lb";
 *
 * const lb = new HttpL7({ backends: ["http://localhost:8081", "http://localhost:8082"] });
 * lb.addRoute(new RouteBuilder().path("/api").target("http://localhost:8081").build());
 * const server = await lb.start("127.0.0.1:0");
 * await server.shutdown();
 * ```
 */
export class HttpL7 extends LoadBalancer {
  readonly #options: HttpL7Options;
  /**
   * A handler for `Deno.serve`: the same routes, strategies and pools inside a server of one's own. It
   * is bound, so it can be passed as it stands. Upgrades are answered 501: use {@linkcode HttpL7.start} for them.
   */
  readonly fetch: (request: Request, info?: Deno.ServeHandlerInfo) => Promise<Response>;

  /**
   * Makes a balancer; {@linkcode HttpL7.start} makes it listen.
   *
   * @throws {TypeError} When an address, a weight, a route, a network or the token is not valid.
   */
  constructor(options: HttpL7Options = {}) {
    super(
      { name: "http-l7", layer: "l7", scheme: "http", descriptorShare: 0.75 },
      options,
      options.fallback ?? false,
    );
    this.#options = options;
    for (const route of options.routes ?? []) this.addRoute(route);
    this.fetch = makeFetchHandler(
      this.httpContext(this.metrics.listener(`${this.name}-fetch`), options),
      makeScratch,
    );
  }

  /**
   * Adds a route. The same conditions and filters are the same route, to which the targets are added.
   *
   * @returns Its id.
   * @throws {TypeError} When the rule is malformed; the message says what is accepted.
   */
  addRoute(route: Route): string {
    return this.registry.addRoute(route).value.id;
  }

  /** Removes a route by its id; requests under way finish. */
  removeRoute(id: string): void {
    this.management.removeRoute(id);
  }

  /** All routes as they are now. */
  routes(): RouteInfo[] {
    return this.management.listRoutes();
  }

  protected override acceptor(metrics: ListenerMetrics): (duplex: Duplex) => Served {
    const context = this.httpContext(metrics, this.#options);
    const scratch = makeScratch(context);
    return (duplex) => new HttpConnection(duplex, context, scratch);
  }
}

/**
 * Balances HTTP per connection: each connection goes to one backend, byte for byte, and only requests to
 * the management API are answered here.
 */
export class HttpL4 extends LoadBalancer {
  /**
   * Makes a balancer; {@linkcode HttpL4.start} makes it listen.
   *
   * @throws {TypeError} When an address, a weight, a network or the token is not valid.
   */
  constructor(options: LoadBalancerOptions = {}) {
    super(
      { name: "http-l4", layer: "l4", scheme: "http", descriptorShare: 0.45 },
      options,
      false,
    );
  }

  protected override acceptor(metrics: ListenerMetrics): (duplex: Duplex) => Served {
    const http: HttpContext = {
      ...this.httpContext(metrics, this.options),
      closeAfterFirst: true,
    };
    const scratch = makeScratch(http);
    const context = this.streamContext(
      metrics,
      this.local === undefined ? undefined : (duplex) => new HttpConnection(duplex, http, scratch),
    );
    return (duplex) => new StreamConnection(duplex, context);
  }
}

/** Balances any TCP protocol per connection, TLS passed through included; nothing is looked at. */
export class TcpL4 extends LoadBalancer {
  /**
   * Makes a balancer; {@linkcode TcpL4.start} makes it listen.
   *
   * @throws {TypeError} When an address or a weight is not valid.
   */
  constructor(options: LoadBalancerOptions = {}) {
    super({ name: "tcp-l4", layer: "l4", scheme: "tcp", descriptorShare: 0.45 }, options, false);
  }

  protected override acceptor(metrics: ListenerMetrics): (duplex: Duplex) => Served {
    const context = this.streamContext(metrics, undefined);
    return (duplex) => new StreamConnection(duplex, context);
  }

  protected override busyAnswer(): { busy?: Uint8Array } {
    return {};
  }
}

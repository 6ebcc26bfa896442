/**
 * The composition root: puts listeners, proxies, registry, management and metrics together as the
 * balancers that users make.
 *
 * @module
 */
import type { Backend } from "./backend/backend.ts";
import { parseListenAddress } from "./common/address.ts";
import { descriptorLimit } from "./common/descriptors.ts";
import type { ManagementApi } from "./control/http_api.ts";
import type { Management } from "./control/management.ts";
import type { BackendInfo, RouteInfo } from "./control/model.ts";
import { GrpcConnection } from "./grpc/l7/connection.ts";
import { StreamConnection } from "./http/l4/connection.ts";
import { HttpConnection } from "./http/l7/connection.ts";
import type { HttpContext } from "./http/l7/context.ts";
import { makeFetchHandler } from "./http/l7/fetch.ts";
import { encodeError } from "./http/problem.ts";
import { type Acceptor, Core, makeManagementScratch, makeScratch } from "./load_balancer/core.ts";
import {
  DEFAULT_SHUTDOWN,
  type HttpL7Options,
  type LoadBalancerOptions,
  type Server,
  type StartOptions,
} from "./load_balancer/options.ts";
import { Listener } from "./mux/listener.ts";
import { SniffedConnection } from "./mux/sniffed_connection.ts";
import { removeStaleSocket } from "./mux/unix_socket.ts";
import type { Metrics } from "./observe/metrics.ts";
import type { Route } from "./route/route.ts";

/** Client connections that a listener takes however low the limit of descriptors is. */
const MIN_CONNECTIONS = 16;
/** Descriptors that the process itself needs: the runtime's own, listeners, logs, modules. */
const RESERVED_DESCRIPTORS = 64;

/** What all balancers have: backends, management, metrics and listeners. */
export abstract class LoadBalancer {
  /** The name in logs and metrics. */
  readonly name: string;
  /** The counters. */
  readonly metrics: Metrics;
  /** The use cases of the management API, for calls from inside the process. */
  readonly management: Management;
  /** Answers management requests, for an admin listener of one's own. */
  readonly managementApi: ManagementApi;
  readonly #core: Core;
  readonly #acceptor: Acceptor;
  readonly #servers = new Set<ListenerServer>();

  /** Called by the kinds of balancers only. */
  protected constructor(core: Core, acceptor: Acceptor) {
    this.#core = core;
    this.#acceptor = acceptor;
    this.name = core.name;
    this.metrics = core.metrics;
    this.management = core.management;
    this.managementApi = core.managementApi;
  }

  /**
   * Puts a backend into the default pool, or sets its weight there. The same address has the same id.
   *
   * @returns Its id.
   * @throws {TypeError} When the address or the weight is not valid.
   */
  addBackend(backend: Backend | string): string {
    const { registry } = this.#core;
    return registry.addBackend(typeof backend === "string" ? { addr: backend } : backend).value.id;
  }

  /**
   * Takes a backend, by id or address, out of everything; it finishes what it has.
   *
   * @throws {ManagementError} When there is no such backend.
   */
  removeBackend(id: string): void {
    this.management.removeBackend(id);
  }

  /**
   * Picks a backend, by id or address, no more; resolves when it has finished what it had.
   *
   * @throws {ManagementError} When there is no such backend.
   */
  drainBackend(id: string): Promise<void> {
    this.management.drain(id);
    return this.management.whenIdle(id);
  }

  /** All backends as they are now. */
  backends(): BackendInfo[] {
    return this.management.listBackends();
  }

  /**
   * Listens on an address: `:port`, `host:port`, `[::1]:port` or `unix:/path`; port 0 lets the system
   * choose. May be called for several addresses.
   *
   * @throws {TypeError} When the address is not valid.
   * @throws {Deno.errors.AddrInUse} When it is taken.
   */
  async start(address: string, options: StartOptions = {}): Promise<Server> {
    const { signal } = options;
    const { kind, options: { limits = {}, timeouts = {} } } = this.#core;
    const metrics = this.metrics.listener(this.name);
    const where = parseListenAddress(address);
    if (where.transport === "unix") await removeStaleSocket(where.path);
    signal?.throwIfAborted();
    const listener = new Listener({
      address: where,
      maxConnections: limits.maxConnections ??
        Math.max(
          MIN_CONNECTIONS,
          Math.floor((descriptorLimit() - RESERVED_DESCRIPTORS) * kind.descriptorShare),
        ),
      accept: this.#acceptor(metrics),
      metrics,
      ...(kind.busy === undefined ? {} : { busy: kind.busy }),
    });
    const onAbort = () => void server.shutdown();
    const server = new ListenerServer(
      listener,
      timeouts.shutdown ?? DEFAULT_SHUTDOWN,
      async () => {
        signal?.removeEventListener("abort", onAbort);
        this.#servers.delete(server);
        if (this.#servers.size === 0) await this.#core.close();
      },
    );
    this.#servers.add(server);
    signal?.addEventListener("abort", onAbort);
    return server;
  }

  /** Shuts all listeners down and closes what is pooled. */
  async close(): Promise<void> {
    await Promise.all([...this.#servers].map((server) => server.shutdown()));
    await this.#core.close();
  }
}

class ListenerServer implements Server {
  readonly #listener: Listener;
  readonly #grace: number;
  readonly #onEnd: () => Promise<void>;
  readonly #finished = Promise.withResolvers<void>();
  readonly addr: Deno.Addr;
  #shutdown: Promise<void> | undefined;

  constructor(listener: Listener, grace: number, onEnd: () => Promise<void>) {
    this.#listener = listener;
    this.#grace = grace;
    this.#onEnd = onEnd;
    this.addr = listener.addr;
  }

  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  shutdown(): Promise<void> {
    return this.#shutdown ??= this.#listener.shutdown(this.#grace)
      .then(this.#onEnd)
      .then(this.#finished.resolve, this.#finished.reject)
      .then(() => this.finished);
  }
}

/** What clients above the limit of connections are told where they are known to speak HTTP. */
const BUSY = encodeError("too_many_connections", { noBody: false, close: true });

/** What balancers at layer 7 have beside that: routes. */
export abstract class RoutingBalancer extends LoadBalancer {
  readonly #core: Core;

  /** Called by the kinds of balancers only. */
  protected constructor(core: Core, acceptor: Acceptor, routes: readonly Route[] = []) {
    super(core, acceptor);
    this.#core = core;
    for (const route of routes) this.addRoute(route);
  }

  /**
   * Adds a route. The same conditions and filters are the same route, to which the targets are added.
   *
   * @returns Its id.
   * @throws {TypeError} When the rule is malformed; the message says what is accepted.
   */
  addRoute(route: Route): string {
    return this.#core.registry.addRoute(route).value.id;
  }

  /**
   * Removes a route by its id; requests under way finish.
   *
   * @throws {ManagementError} When there is no such route.
   */
  removeRoute(id: string): void {
    this.management.removeRoute(id);
  }

  /** All routes as they are now. */
  routes(): RouteInfo[] {
    return this.management.listRoutes();
  }
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
export class HttpL7 extends RoutingBalancer {
  /**
   * A handler for `Deno.serve`: the same routes, strategies and pools inside a server of one's own. It
   * is bound, so it can be passed as it stands. Upgrades are answered 501: use {@linkcode HttpL7.start}
   * for them.
   */
  readonly fetch: (request: Request, info?: Deno.ServeHandlerInfo) => Promise<Response>;

  /**
   * Makes a balancer; {@linkcode HttpL7.start} makes it listen.
   *
   * @throws {TypeError} When an address, a weight, a route, a network or the token is not valid.
   */
  constructor(options: HttpL7Options = {}) {
    const core = new Core(
      { name: "http-l7", layer: "l7", scheme: "http", descriptorShare: 0.75, busy: BUSY },
      options,
      options.fallback,
    );
    super(core, (metrics) => {
      const context = core.httpContext(metrics, options);
      const scratch = makeScratch(context);
      return (duplex) => new HttpConnection(duplex, context, scratch);
    }, options.routes);
    this.fetch = makeFetchHandler(
      core.httpContext(this.metrics.listener(`${this.name}-fetch`), options),
      makeScratch,
    );
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
    const core = new Core(
      { name: "http-l4", layer: "l4", scheme: "http", descriptorShare: 0.45, busy: BUSY },
      options,
    );
    super(core, (metrics) => {
      const http: HttpContext = { ...core.httpContext(metrics), closeAfterFirst: true };
      const scratch = makeManagementScratch(http);
      const context = core.streamContext(
        metrics,
        core.local && ((duplex) => new HttpConnection(duplex, http, scratch)),
      );
      return (duplex) => new StreamConnection(duplex, context);
    });
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
    const core = new Core(
      { name: "tcp-l4", layer: "l4", scheme: "tcp", descriptorShare: 0.45, busy: undefined },
      options,
    );
    super(core, (metrics) => {
      const context = core.streamContext(metrics, undefined);
      return (duplex) => new StreamConnection(duplex, context);
    });
  }
}

/**
 * What serves the connections of a gRPC listener: HTTP/2 with prior knowledge, and on the same port the
 * management API over HTTP/1.1.
 */
function grpcAcceptor(core: Core, options: HttpL7Options): Acceptor {
  return (metrics) => {
    const grpc = core.grpcContext(metrics, options);
    const http: HttpContext = { ...core.httpContext(metrics, options), closeAfterFirst: true };
    const scratch = makeManagementScratch(http);
    return (duplex) =>
      new SniffedConnection(duplex, {
        clock: core.clock,
        timeout: http.timeouts.requestHead,
        h2: (duplex) => new GrpcConnection(duplex, grpc),
        http1: (duplex) => new HttpConnection(duplex, http, scratch),
      });
  };
}

/**
 * Balances gRPC per call: every call goes to the backend that its service, method and metadata, or the
 * strategy of the default pool, pick. Clients speak HTTP/2 with prior knowledge (h2c).
 *
 * @example
 * ```ts
 * import { GrpcL7, RouteBuilder } from "@atlastore/lb";
 *
 * const lb = new GrpcL7({ backends: ["localhost:50051", "localhost:50052"] });
 * lb.addRoute(new RouteBuilder().service("myapp.UserService").target("localhost:50051").build());
 * const server = await lb.start("127.0.0.1:0");
 * await server.shutdown();
 * ```
 */
export class GrpcL7 extends RoutingBalancer {
  /**
   * Makes a balancer; {@linkcode GrpcL7.start} makes it listen.
   *
   * @throws {TypeError} When an address, a weight, a route, a network or the token is not valid.
   */
  constructor(options: HttpL7Options = {}) {
    const core = new Core(
      { name: "grpc-l7", layer: "l7", scheme: "grpc", descriptorShare: 0.75, busy: undefined },
      options,
      options.fallback,
    );
    super(core, grpcAcceptor(core, options), options.routes);
  }
}

/** Balances gRPC per connection: all calls of one client connection go to one backend. */
export class GrpcL4 extends LoadBalancer {
  /**
   * Makes a balancer; {@linkcode GrpcL4.start} makes it listen.
   *
   * @throws {TypeError} When an address, a weight, a network or the token is not valid.
   */
  constructor(options: LoadBalancerOptions = {}) {
    const core = new Core(
      { name: "grpc-l4", layer: "l4", scheme: "grpc", descriptorShare: 0.75, busy: undefined },
      options,
    );
    super(core, grpcAcceptor(core, options));
  }
}

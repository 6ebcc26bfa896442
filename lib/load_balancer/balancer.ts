/**
 * What all balancers have in common.
 *
 * @module
 */
import type { Backend } from "../backend/backend.ts";
import { type Address, parseListenAddress } from "../common/address.ts";
import { descriptorLimit } from "../common/descriptors.ts";
import type { ManagementApi } from "../control/http_api.ts";
import type { Management } from "../control/management.ts";
import type { BackendInfo, RouteInfo } from "../control/model.ts";
import { Listener } from "../mux/listener.ts";
import { removeStaleSocket } from "../mux/unix_socket.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Route } from "../route/route.ts";
import type { Acceptor, Composition } from "./core.ts";
import { DEFAULT_SHUTDOWN, type Server, type StartOptions } from "./options.ts";

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
  readonly #core: Composition;
  readonly #acceptor: Acceptor;
  readonly #servers = new Set<ListenerServer>();

  /** Called by the kinds of balancers only. */
  protected constructor(core: Composition, acceptor: Acceptor) {
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
    return this.#core.addBackend(typeof backend === "string" ? { addr: backend } : backend);
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
    const where = parseListenAddress(address);
    if (where.transport === "unix") await removeStaleSocket(where.path);
    signal?.throwIfAborted();
    await this.#core.start();
    try {
      signal?.throwIfAborted();
      return this.#listen(where, signal);
    } catch (error) {
      await this.#core.stop();
      throw error;
    }
  }

  #listen(where: Address, signal: AbortSignal | undefined): Server {
    const { kind, options: { limits = {}, timeouts = {} } } = this.#core;
    const metrics = this.metrics.listener(this.name);
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
        await this.#core.stop();
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

/** What balancers at layer 7 have beside that: routes. */
export abstract class RoutingBalancer extends LoadBalancer {
  readonly #core: Composition;

  /** Called by the kinds of balancers only. */
  protected constructor(core: Composition, acceptor: Acceptor, routes: readonly Route[] = []) {
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
    return this.#core.addRoute(route);
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

/**
 * What all balancers have in common.
 *
 * @module
 */
import type { Backend } from "../backend/backend.ts";
import { type ListenAddress, parseListenAddress } from "../common/address.ts";
import { descriptorLimit } from "../common/descriptors.ts";
import type { ManagementApi } from "../control/http_api.ts";
import type { Management } from "../control/management.ts";
import type { BackendInfo, RouteInfo } from "../control/model.ts";
import type { ServingPhase } from "../control/readiness.ts";
import type { RunTimeChanges } from "../control/run_time_changes.ts";
import { ClientLimits } from "../mux/client_limits.ts";
import { Listener } from "../mux/listener.ts";
import { removeStaleSocket } from "../mux/unix_socket.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Route } from "../route/route.ts";
import type { Acceptor, Composition } from "./composition.ts";
import {
  DEFAULT_SHUTDOWN,
  type Server,
  type ShutdownOptions,
  type StartOptions,
} from "./options.ts";

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
  /** How many connections each client may have to all listeners. */
  readonly #clients: ClientLimits | undefined;
  readonly #servers = new Set<ListenerServer>();

  /** Called by the kinds of balancers only. */
  protected constructor(core: Composition, acceptor: Acceptor) {
    this.#core = core;
    this.#acceptor = acceptor;
    this.name = core.name;
    this.metrics = core.metrics;
    this.management = core.management;
    this.managementApi = core.managementApi;
    core.onExhausted = () => this.#makeRoom();
    const maxConnections = core.options.limits?.maxConnectionsPerClient ?? Infinity;
    if (maxConnections !== Infinity) {
      this.#clients = new ClientLimits({ maxConnections, isExempt: core.isTrusted });
    }
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

  /** How far it is, by its listeners. */
  get phase(): ServingPhase {
    if (this.#servers.size === 0) return "stopped";
    for (const { phase } of this.#servers) if (phase === "serving") return "serving";
    return "leaving";
  }

  /** All backends as they are now. */
  backends(): BackendInfo[] {
    return this.management.listBackends();
  }

  /**
   * Listens on an address: `:port`, `host:port`, `[::1]:port` or `unix:/path`; port 0 lets the system
   * choose. `fd:N` is a listening socket that the process has inherited (Linux, with the permissions for FFI
   * and for `/proc`). May be called for several addresses.
   *
   * @throws {TypeError} When the address is not valid.
   * @throws {Deno.errors.AddrInUse} When it is taken.
   * @throws {SocketError} When an inherited socket cannot be listened on.
   */
  async start(address: string, options: StartOptions = {}): Promise<Server> {
    const { signal } = options;
    const where = parseListenAddress(address);
    if (where.transport === "unix") await removeStaleSocket(where.path);
    signal?.throwIfAborted();
    await this.#core.start();
    try {
      signal?.throwIfAborted();
      return this.#listen(where, options);
    } catch (error) {
      await this.#core.stop();
      throw error;
    }
  }

  #listen(where: ListenAddress, { signal, file }: StartOptions): Server {
    const { kind, options: { limits = {}, timeouts = {} } } = this.#core;
    const metrics = this.metrics.listener(this.name);
    const listener = new Listener({
      address: where,
      file,
      maxConnections: limits.maxConnections ??
        Math.max(
          MIN_CONNECTIONS,
          Math.floor((descriptorLimit() - RESERVED_DESCRIPTORS) * kind.descriptorShare),
        ),
      clients: this.#clients,
      onExhausted: () => this.#makeRoom(),
      accept: this.#acceptor(metrics),
      metrics,
      ...(kind.busy === undefined ? {} : { busy: kind.busy }),
    });
    const onAbort = () => void server.shutdown();
    const server = new ListenerServer(listener, {
      grace: timeouts.shutdown ?? DEFAULT_SHUTDOWN,
      onPhase: () => this.#onPhase(),
      onEnd: async () => {
        signal?.removeEventListener("abort", onAbort);
        this.#servers.delete(server);
        await this.#core.stop();
        if (this.#servers.size === 0) await this.#core.close();
      },
    });
    this.#servers.add(server);
    this.#core.setLeaving(false);
    signal?.addEventListener("abort", onAbort);
    return server;
  }

  /** There are too few descriptors: those of idle connections, on either side, are given back. */
  #makeRoom(): void {
    this.#core.shedIdle();
    for (const server of this.#servers) server.makeRoom();
  }

  /** While one listener stays, so do its health and the streams of the own services. */
  #onPhase(): void {
    const phases = [...this.#servers].map(({ phase }) => phase);
    if (!phases.includes("serving")) this.#core.setLeaving(true);
    if (phases.every((phase) => phase === "ending")) this.#core.endStreams();
  }

  /**
   * Makes the changes that `management.collectChanges()` has given in the process whose place this one takes.
   *
   * @throws {TypeError} When one cannot be made.
   */
  applyChanges(changes: RunTimeChanges): void {
    this.#core.applyChanges(changes);
  }

  /**
   * What is known of the backends now: what checks say, who is ejected and for how long, latencies, limits, and what is
   * used of the budget of retries and of rates. Something that JSON can hold, for a process that takes the place of
   * this one; what it looks like is its own business.
   */
  collectKnowledge(): unknown {
    return this.#core.collectKnowledge();
  }

  /**
   * Goes on with what `collectKnowledge()` has given in the process whose place this one takes. To be called after
   * `applyChanges` and before the first `start`. What cannot be understood, or is of backends that are not there, is
   * ignored.
   */
  applyKnowledge(knowledge: unknown): void {
    this.#core.applyKnowledge(knowledge);
  }

  /** Shuts all listeners down and closes what is pooled. */
  async close(options?: ShutdownOptions): Promise<void> {
    await Promise.all([...this.#servers].map((server) => server.shutdown(options)));
    await this.#core.close();
  }
}

/**
 * How far a listener is.
 *
 * - `serving`: nobody wants it to end.
 * - `leaving`: everything is served as before, but nobody should send anything new here.
 * - `ending`: it accepts no more.
 */
type ServerPhase = "serving" | "leaving" | "ending";

interface ServerParts {
  /** How long connections may go on at the end, in milliseconds. */
  readonly grace: number;
  /** Told when the phase has changed. */
  readonly onPhase: () => void;
  /** Called when nothing is under way any more. */
  readonly onEnd: () => Promise<void>;
}

class ListenerServer implements Server {
  readonly #listener: Listener;
  readonly #parts: ServerParts;
  readonly #finished = Promise.withResolvers<void>();
  readonly addr: Deno.Addr;
  phase: ServerPhase = "serving";
  #shutdown: Promise<void> | undefined;

  constructor(listener: Listener, parts: ServerParts) {
    this.#listener = listener;
    this.#parts = parts;
    this.addr = listener.addr;
  }

  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  share(): number {
    return this.#listener.share();
  }

  makeRoom(): void {
    this.#listener.makeRoom();
  }

  shutdown(options: ShutdownOptions = {}): Promise<void> {
    return this.#shutdown ??= this.#end(options)
      .then(this.#finished.resolve, this.#finished.reject)
      .then(() => this.finished);
  }

  #enter(phase: ServerPhase): void {
    this.phase = phase;
    this.#parts.onPhase();
  }

  async #end({ delay = 0, idle = 0, passedOn = false }: ShutdownOptions): Promise<void> {
    const { grace, onEnd } = this.#parts;
    this.#enter("leaving");
    if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
    this.#enter("ending");
    await this.#listener.shutdown({ grace, idle, passedOn });
    await onEnd();
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

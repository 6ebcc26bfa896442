/**
 * The configuration that the data plane reads: backends, the default pool and routes.
 *
 * Every change is one synchronous call that touches only what it names. A request reads what it
 * needs in one go before it awaits anything, so it sees a change as a whole or not at all.
 *
 * @module
 */
import { type Address, parseAddress, type Scheme } from "../common/address.ts";
import { isDnsName } from "../common/dns_name.ts";
import { stableId } from "../common/stable_id.ts";
import type { RequestView } from "../http/message.ts";
import { routeKey } from "../route/key.ts";
import type { Route } from "../route/route.ts";
import { type RouteHit, RouteTable } from "../route/table.ts";
import { validateRoute } from "../route/validate.ts";
import { Admission } from "./admission.ts";
import type { Backend, LiveBackend } from "./backend.ts";
import { DiscoveredRoutes } from "./discovered_routes.ts";
import { Names } from "./discovery/names.ts";
import { limitsRequests, RequestLimit } from "./limits.ts";
import type { LiveRoute } from "./live_route.ts";
import { backendId, makeBackend } from "./make_backend.ts";
import { Pool, type PoolRules } from "./pool.ts";
import type { Added, RegistryOptions, RegistryWatcher } from "./registry_options.ts";
import { checkWeight } from "./weight.ts";

export type { LiveRoute } from "./live_route.ts";
export type { Added, RegistryOptions, RegistryWatcher } from "./registry_options.ts";
export { MAX_WEIGHT } from "./weight.ts";

/** Backends, the default pool and routes. */
export class Registry {
  readonly #options: RegistryOptions;
  /** How all pools pick. */
  readonly #rules: PoolRules;
  readonly #admission: Admission | undefined;
  readonly #backends = new Map<string, LiveBackend>();
  readonly #routes = new Map<string, LiveRoute>();
  readonly #table = new RouteTable<LiveRoute>();
  readonly #discovered: DiscoveredRoutes;
  /** Where requests go that no route claims. */
  readonly pool: Pool;
  /** Names whose addresses are backends. */
  readonly names: Names;
  /** Told of removals. */
  watcher: RegistryWatcher | undefined;
  readonly #listeners = new Set<() => void>();
  #changeDue = false;

  /** Makes an empty registry. */
  constructor(options: RegistryOptions) {
    this.#options = options;
    const { requests, clock, connections } = options;
    if (requests !== undefined && limitsRequests(requests)) {
      // Bad options are refused here, not when the first backend comes.
      new RequestLimit(requests);
      this.#admission = new Admission(clock, connections);
    }
    this.#rules = { ...options, admission: this.#admission };
    this.pool = new Pool("default", this.#rules);
    this.#discovered = new DiscoveredRoutes({
      rules: this.#rules,
      written: () => this.#routes.values(),
      onRouteRemoved: (id) => this.watcher?.onRouteRemoved(id),
    });
    this.names = new Names({
      scheme: options.scheme,
      ensure: (addr, serverName) => this.#ensure(addr, serverName),
      activate: (backend) => this.#activate(backend),
      drain: (backend) => this.drain(backend),
      release: (backend) => this.#release(backend),
      checkDiscovery: (discovers) => this.#checkDiscovery(discovers),
      setDiscovery: (backend, discovers) => this.setDiscovery(backend, discovers),
      onLeft: ({ name }) => this.#removeIfEmpty(name),
      onChange: () => this.#changed(),
    });
  }

  /**
   * Calls `listener` after every change, once for all changes of one turn. It must not throw.
   *
   * @returns Ends it.
   */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #changed(): void {
    if (this.#changeDue || this.#listeners.size === 0) return;
    this.#changeDue = true;
    queueMicrotask(() => {
      this.#changeDue = false;
      for (const listener of [...this.#listeners]) listener();
    });
  }

  /** All backends, those of routes and draining ones included. */
  get backends(): Iterable<LiveBackend> {
    return this.#backends.values();
  }

  /** All routes that were written or registered, in the order in which they were added. */
  get routes(): Iterable<LiveRoute> {
    return this.#routes.values();
  }

  /** How many requests wait for a backend that has room. */
  get waiting(): number {
    return this.#admission?.waiting ?? 0;
  }

  /** How many of them there are. */
  get routeCount(): number {
    return this.#routes.size;
  }

  /** The routes that follow from what services backends were found to have. */
  get discovered(): Pick<
    DiscoveredRoutes,
    "active" | "backends" | "routes" | "size" | "get" | "unlisted"
  > {
    return this.#discovered;
  }

  /** A backend by its id. */
  backend(id: string): LiveBackend | undefined {
    return this.#backends.get(id);
  }

  /** The protocol of addresses that name none. */
  get scheme(): Scheme {
    return this.#options.scheme;
  }

  /** The id that a rule, as `validateRoute` returns it, has here; its targets have no part in it. */
  routeId(rule: Route): string {
    return stableId("r", `${this.scheme} ${routeKey(rule)}`);
  }

  /** A route by its id, whether it was written or discovered. */
  route(id: string): LiveRoute | undefined {
    return this.#routes.get(id) ?? this.#discovered.get(id);
  }

  /** The written route that claims a request. */
  match(view: RequestView): RouteHit<LiveRoute> | undefined {
    return this.#table.match(view);
  }

  /**
   * Whether requests that no route claims go to the default pool: always while there are no routes;
   * afterwards only if that was asked for, or a route that demands a secret header could be bypassed
   * by leaving the header out.
   */
  get spreads(): boolean {
    return this.#routes.size === 0 || this.#options.fallback;
  }

  /**
   * Where a request goes that no written route claims: to the backends that have its service or may have it, or
   * over the default pool. `undefined`: it is refused.
   */
  unclaimed(view: RequestView): LiveRoute | Pool | undefined {
    const discovered = this.#discovered;
    if (!discovered.active) return this.spreads ? this.pool : undefined;
    const found = discovered.find(view);
    // Of a service that nobody lists, one backend may be as good as another.
    const unknown = found === undefined || found === discovered.unlisted;
    return unknown && this.#options.fallback ? this.pool : found;
  }

  /** Whether services of backends can be discovered. */
  get discovers(): boolean {
    return (this.#options.discovery ?? "never") !== "never";
  }

  /**
   * Says whether the services of a backend are to be discovered.
   *
   * @throws {TypeError} When this cannot be done here.
   */
  setDiscovery(live: LiveBackend, discovers: boolean): void {
    this.#checkDiscovery(discovers);
    if (live.discovers === discovers) return;
    live.discovers = discovers;
    this.#sync(live);
    this.#changed();
  }

  #checkDiscovery(discovers: boolean | undefined): void {
    if (discovers !== true || this.discovers) return;
    throw new TypeError(
      "discoverServices true: this balancer does not see which service is called; accepted is true on a " +
        "gRPC balancer at layer 7",
    );
  }

  /** Sets the services of a backend that is to be discovered; others are left alone. */
  setServices(live: LiveBackend, services: ReadonlySet<string>): void {
    if (this.#discovered.set(live, services, this.#weightOf(live))) this.#changed();
  }

  /** The services that a backend was found to have; `undefined` while they are not known. */
  servicesOf(live: LiveBackend): ReadonlySet<string> | undefined {
    return this.#discovered.servicesOf(live);
  }

  /** Whether the services of a backend are to be discovered. */
  isDiscovered(live: LiveBackend): boolean {
    return this.discovers && live.state === "active" &&
      (live.discovers ??
        (this.#options.discovery === "always" && this.pool.get(live) !== undefined));
  }

  #sync(live: LiveBackend): void {
    if (!this.discovers) return;
    this.#discovered.sync(live, {
      discovers: this.isDiscovered(live),
      // As without discovery: once there are routes, what matches none is not spread.
      spreads: live.state === "active" && this.#routes.size === 0 &&
        this.pool.get(live) !== undefined,
      weight: this.#weightOf(live),
    });
  }

  /** The share of a backend among those that have a service: that in the default pool, or else in a route. */
  #weightOf(live: LiveBackend): number {
    const member = this.pool.get(live);
    if (member !== undefined) return member.configured;
    for (const { name } of live.pools) {
      const weight = this.#routes.get(name)?.pool.get(live)?.configured;
      if (weight !== undefined) return weight;
    }
    return 1;
  }

  /** The first route ends the spreading of requests, and the last one that goes begins it again. */
  #syncAll(): void {
    if (!this.discovers) return;
    for (const live of this.#backends.values()) this.#sync(live);
  }

  /**
   * Puts a backend into the default pool, or sets its weight there; one that is draining becomes
   * active again.
   *
   * @throws {TypeError} When the address or the weight is not valid.
   */
  addBackend(backend: Backend): Added<LiveBackend> {
    const weight = checkWeight(backend.weight ?? 1);
    const { discoverServices } = backend;
    this.#checkDiscovery(discoverServices);
    const live = this.#ensure(backend.addr);
    const created = this.pool.get(live) === undefined;
    if (created || backend.weight !== undefined) this.pool.set(live, weight, false);
    if (discoverServices !== undefined) live.discovers = discoverServices;
    this.#activate(live);
    this.#changed();
    return { value: live, created };
  }

  /** A backend has lost one of those that name it, and leaves if that was the last one. */
  #release(live: LiveBackend): void {
    if (!this.#isNamed(live)) return this.removeBackend(live);
    this.#sync(live);
    this.#changed();
  }

  #ensure(addr: string, serverName?: string): LiveBackend {
    const address = this.#parse(addr, serverName);
    const id = backendId(this.scheme, address);
    let live = this.#backends.get(id);
    if (live === undefined) {
      const created = live = makeBackend(id, address, {
        options: this.#options,
        admission: this.#admission,
      });
      live.health.onChange(() => {
        this.#refresh(created);
        this.#changed();
      });
      this.#backends.set(id, live);
      this.watcher?.onBackendAdded?.(live);
    }
    return live;
  }

  #parse(addr: string, serverName: string | undefined): Address {
    const address = parseAddress(addr);
    if (address.transport === "unix") return address;
    return {
      ...address,
      ...(address.scheme === "" ? { scheme: this.#options.scheme } : {}),
      ...(serverName === undefined ? {} : { serverName }),
    };
  }

  /** Whether the default pool or a written route has it. */
  #isNamed(live: LiveBackend): boolean {
    for (const pool of live.pools) {
      if (pool === this.pool || this.#routes.has(pool.name)) return true;
    }
    return false;
  }

  #activate(live: LiveBackend): void {
    if (live.state !== "active") {
      live.state = "active";
      this.#refresh(live);
    }
    this.#sync(live);
  }

  #refresh(live: LiveBackend): void {
    for (const pool of live.pools) pool.refresh();
  }

  /** The ids of the routes that a backend is a target of. */
  routesOf(live: LiveBackend): string[] {
    return [...live.pools]
      .filter((pool) => pool !== this.pool && pool !== this.#discovered.unlisted)
      .map((pool) => pool.name);
  }

  /**
   * Sets the weight of a backend wherever it is a member.
   *
   * @throws {TypeError} When the weight is not valid.
   */
  setWeight(live: LiveBackend, weight: number): void {
    checkWeight(weight);
    for (const pool of live.pools) pool.set(live, weight);
    this.#changed();
  }

  /** Picks a backend no more; it finishes what it has. */
  drain(live: LiveBackend): void {
    if (live.state !== "active") return;
    live.state = "draining";
    live.closeIdle();
    this.#sync(live);
    this.#refresh(live);
    this.#changed();
  }

  /** Takes a backend out of everything; it finishes what it has. */
  removeBackend(live: LiveBackend): void {
    if (!this.#backends.delete(live.id)) return;
    live.state = "removed";
    live.closeIdle();
    this.names.forget(live);
    this.#sync(live);
    for (const pool of [...live.pools]) {
      pool.delete(live);
      this.#removeIfEmpty(pool.name);
    }
    this.watcher?.onBackendRemoved(live.id, live);
    this.#changed();
  }

  /** A route that backends have asked for leaves with the last of them. */
  #removeIfEmpty(id: string): void {
    const route = this.#routes.get(id);
    if (!route?.registered || route.pool.size > 0 || route.pool.names.size > 0) return;
    this.removeRoute(route.id);
  }

  /**
   * Adds a rule. A rule with the same conditions and filters is the same route: its targets are added
   * to those it has.
   *
   * @param registered Whether it leaves with its last target.
   * @throws {TypeError} When the rule is malformed.
   */
  addRoute(rule: Route, registered = false): Added<LiveRoute> {
    const route = validateRoute(rule);
    const id = this.routeId(route);
    const known = this.#routes.get(id);
    const live = known ?? {
      id,
      route,
      pool: new Pool(id, this.#rules),
      registered,
      discovered: false,
    };
    let created = known === undefined;
    live.registered &&= registered;
    for (const { addr, weight } of route.targets) {
      created = this.#addTarget(live.pool, addr, weight) || created;
    }
    if (known === undefined) {
      this.#routes.set(id, live);
      this.#table.add(id, route, live);
      this.#discovered.addWritten(id, route);
      if (this.#routes.size === 1) this.#syncAll();
    }
    this.#changed();
    return { value: live, created };
  }

  /** Puts an address or a name into the pool of a route. Says whether it was not there. */
  #addTarget(pool: Pool, addr: string, weight: number): boolean {
    if (isDnsName(addr)) return this.names.add(addr, pool, { weight }).created;
    const backend = this.#ensure(addr);
    const member = pool.get(backend);
    if (member?.configured !== weight || member.followed) pool.set(backend, weight, false);
    this.#activate(backend);
    return member === undefined;
  }

  /**
   * Removes a written route; backends that nothing else names leave with it, whatever services they were found
   * to have. Says whether it was there.
   */
  removeRoute(id: string): boolean {
    const live = this.#routes.get(id);
    if (live === undefined) return false;
    this.#routes.delete(id);
    this.#table.remove(id);
    this.#discovered.removeWritten(id);
    this.watcher?.onRouteRemoved(id);
    this.#changed();
    for (const name of this.names.of(live.pool)) this.names.leave(name, live.pool);
    for (const { backend } of [...live.pool.members]) {
      live.pool.delete(backend);
      if (!this.#isNamed(backend)) this.removeBackend(backend);
    }
    if (this.#routes.size === 0) this.#syncAll();
    return true;
  }
}

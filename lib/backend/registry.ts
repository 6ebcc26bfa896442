/**
 * The configuration that the data plane reads: backends, the default pool and routes.
 *
 * Every change is one synchronous call that touches only what it names. A request reads what it
 * needs in one go before it awaits anything, so it sees a change as a whole or not at all.
 *
 * @module
 */
import { type Address, formatAddress, parseAddress, type Scheme } from "../common/address.ts";
import type { Clock } from "../common/clock.ts";
import { stableId } from "../common/stable_id.ts";
import type { RequestView } from "../http/message.ts";
import { routeKey } from "../route/key.ts";
import type { Route } from "../route/route.ts";
import { type RouteHit, RouteTable } from "../route/table.ts";
import { validateRoute } from "../route/validate.ts";
import type { StrategyName } from "../strategy/registry.ts";
import { type Backend, LiveBackend } from "./backend.ts";
import type { Connect } from "./connector.ts";
import { H1Pool, type PoolOptions } from "./h1_pool.ts";
import { H2Pool } from "./h2_pool.ts";
import { Pool } from "./pool.ts";

/** The most that a weight may be; nginx and the Gateway API have the same order of magnitude. */
export const MAX_WEIGHT = 65535;

/** A route with what belongs to it at run time. */
export interface LiveRoute {
  /** Stable name, made from the conditions and filters: the same rule has the same id after a restart. */
  readonly id: string;
  /** The rule; its targets are those it was made with, the pool holds those of now. */
  readonly route: Route;
  /** Its targets. */
  readonly pool: Pool;
  /**
   * Whether only backends have asked for it at run time, so that it leaves with its last target; a rule
   * that is given otherwise, before or after that, stays.
   */
  registered: boolean;
}

/** How a registry is made. */
export interface RegistryOptions {
  /** How backends are picked. */
  readonly strategy: StrategyName;
  /** The protocol of addresses that name none. */
  readonly scheme: Scheme;
  /** Spread requests that match no route over the default pool even when there are routes. */
  readonly fallback: boolean;
  /** Limits and times of the connections to each backend. */
  readonly connections: PoolOptions;
  /** Watches those times. */
  readonly clock: Clock;
  /** Opens connections. */
  readonly connect: Connect;
}

/** Told of what is gone for good, so that series and caches can be dropped. */
export interface RegistryWatcher {
  /** A backend was removed. */
  onBackendRemoved(id: string): void;
  /** A route was removed. */
  onRouteRemoved(id: string): void;
}

/** What adding answers. */
export interface Added<T> {
  /** What is there now. */
  readonly value: T;
  /** `false` when the same thing was there already. */
  readonly created: boolean;
}

/** Backends, the default pool and routes. */
export class Registry {
  readonly #options: RegistryOptions;
  readonly #backends = new Map<string, LiveBackend>();
  readonly #routes = new Map<string, LiveRoute>();
  readonly #table = new RouteTable<LiveRoute>();
  /** Where requests go that no route claims. */
  readonly pool: Pool;
  /** Told of removals. */
  watcher: RegistryWatcher | undefined;
  readonly #listeners = new Set<() => void>();
  #changeDue = false;

  /** Makes an empty registry. */
  constructor(options: RegistryOptions) {
    this.#options = options;
    this.pool = new Pool("default", options.strategy);
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

  /** All routes, in the order in which they were added. */
  get routes(): Iterable<LiveRoute> {
    return this.#routes.values();
  }

  /** How many routes there are. */
  get routeCount(): number {
    return this.#routes.size;
  }

  /** A backend by its id. */
  backend(id: string): LiveBackend | undefined {
    return this.#backends.get(id);
  }

  /** A route by its id. */
  route(id: string): LiveRoute | undefined {
    return this.#routes.get(id);
  }

  /** The route that claims a request. */
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
   * Puts a backend into the default pool, or sets its weight there; one that is draining becomes
   * active again.
   *
   * @throws {TypeError} When the address or the weight is not valid.
   */
  addBackend(backend: Backend): Added<LiveBackend> {
    const weight = checkWeight(backend.weight ?? 1);
    const live = this.#ensure(backend.addr);
    const created = this.pool.get(live) === undefined;
    if (created || backend.weight !== undefined) this.pool.set(live, weight);
    this.#activate(live);
    this.#changed();
    return { value: live, created };
  }

  #ensure(addr: string): LiveBackend {
    const address = this.#parse(addr);
    const text = formatAddress(address);
    const id = stableId("b", text);
    let live = this.#backends.get(id);
    if (live === undefined) {
      const { clock, connect, connections } = this.#options;
      const parts = { address, addr: text, clock, connect };
      live = new LiveBackend(id, address, {
        http: new H1Pool(parts, connections),
        h2: new H2Pool(parts, connections),
      });
      this.#backends.set(id, live);
    }
    return live;
  }

  #parse(addr: string): Address {
    const address = parseAddress(addr);
    return address.transport === "tcp" && address.scheme === ""
      ? { ...address, scheme: this.#options.scheme }
      : address;
  }

  #activate(live: LiveBackend): void {
    if (live.state === "active") return;
    live.state = "active";
    this.#refresh(live);
  }

  #refresh(live: LiveBackend): void {
    for (const pool of live.pools) pool.refresh();
  }

  /** The ids of the routes that a backend is a target of. */
  routesOf(live: LiveBackend): string[] {
    return [...live.pools].filter((pool) => pool !== this.pool).map((pool) => pool.name);
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
    this.#refresh(live);
    this.#changed();
  }

  /** Takes a backend out of everything; it finishes what it has. */
  removeBackend(live: LiveBackend): void {
    if (!this.#backends.delete(live.id)) return;
    live.state = "removed";
    live.closeIdle();
    for (const pool of [...live.pools]) {
      pool.delete(live);
      const route = this.#routes.get(pool.name);
      if (route?.registered && pool.size === 0) this.removeRoute(route.id);
    }
    this.watcher?.onBackendRemoved(live.id);
    this.#changed();
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
    const id = stableId("r", routeKey(route));
    const known = this.#routes.get(id);
    const live = known ?? {
      id,
      route,
      pool: new Pool(id, this.#options.strategy),
      registered,
    };
    let created = known === undefined;
    live.registered &&= registered;
    for (const target of route.targets) {
      const backend = this.#ensure(target.addr);
      const member = live.pool.get(backend);
      if (member?.weight !== target.weight) {
        created ||= member === undefined;
        live.pool.set(backend, target.weight);
      }
      this.#activate(backend);
    }
    if (known === undefined) {
      this.#routes.set(id, live);
      this.#table.add(id, route, live);
    }
    this.#changed();
    return { value: live, created };
  }

  /** Removes a route; backends that nothing else names leave with it. Says whether it was there. */
  removeRoute(id: string): boolean {
    const live = this.#routes.get(id);
    if (live === undefined) return false;
    this.#routes.delete(id);
    this.#table.remove(id);
    this.watcher?.onRouteRemoved(id);
    this.#changed();
    for (const { backend } of [...live.pool.members]) {
      live.pool.delete(backend);
      if (backend.pools.size === 0) this.removeBackend(backend);
    }
    return true;
  }
}

function checkWeight(weight: number): number {
  if (!Number.isInteger(weight) || weight < 0 || weight > MAX_WEIGHT) {
    throw new TypeError(`weight ${weight}: an integer from 0 to ${MAX_WEIGHT} is accepted`);
  }
  return weight;
}

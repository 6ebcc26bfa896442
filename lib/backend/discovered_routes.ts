/**
 * Routes that nobody has written: to services that backends were found to have.
 *
 * What is written comes first. A request that a written route matches never gets here, and what a written
 * route names by path, service or method and refuses for its other conditions is not given away here either:
 * a route that demands a secret header must not be bypassed by leaving the header out.
 *
 * @module
 */
import { stableId } from "../common/stable_id.ts";
import type { RequestView } from "../http/message.ts";
import { getLogger } from "../observe/logger.ts";
import { routeKey } from "../route/key.ts";
import type { Route, RouteMatch } from "../route/route.ts";
import { RouteTable } from "../route/table.ts";
import type { LiveBackend } from "./backend.ts";
import type { LiveRoute } from "./live_route.ts";
import { Pool, type PoolRules } from "./pool.ts";

/** What {@linkcode DiscoveredRoutes} are made of. */
export interface DiscoveredRoutesOptions {
  /** How the backends of a service are picked. */
  readonly rules: PoolRules;
  /** The routes that were written. */
  readonly written: () => Iterable<LiveRoute>;
  /** Told of routes that have left. */
  readonly onRouteRemoved: (id: string) => void;
}

/** What a backend is to these routes. */
export interface Standing {
  /** Whether its services are to be discovered. */
  readonly discovers: boolean;
  /** Whether it may have what nobody is known to serve, though its services are not to be discovered. */
  readonly spreads: boolean;
  /** Its share. */
  readonly weight: number;
}

/** Services that every server may have for itself; to route them would mean one server of many. */
const INFRASTRUCTURE = /^(?:grpc\.(?:reflection|health|channelz)\..+|lb\.LoadBalancer)$/;

const log = getLogger("discovery");

/** Whether a service is one of reflection, health, channelz or management, which are never discovered. */
export function isInfrastructure(service: string): boolean {
  return INFRASTRUCTURE.test(service);
}

/** One route for each service, with the backends that have it. */
export class DiscoveredRoutes {
  readonly #options: DiscoveredRoutesOptions;
  readonly #byService = new Map<string, LiveRoute>();
  readonly #byId = new Map<string, LiveRoute>();
  /** Backends whose services are to be discovered, with those that are known; `undefined`: none is yet. */
  readonly #known = new Map<LiveBackend, ReadonlySet<string> | undefined>();
  /** What written routes name, whatever else they ask for; made when it is needed first. */
  #named: RouteTable<undefined> | undefined;
  /** The backends whose services are not known, which may therefore have any. */
  readonly unlisted: Pool;

  /** No backend is known. */
  constructor(options: DiscoveredRoutesOptions) {
    this.#options = options;
    this.unlisted = new Pool("unlisted", options.rules);
  }

  /** Whether there is a backend whose services are to be discovered. */
  get active(): boolean {
    return this.#known.size > 0;
  }

  /** The backends whose services are to be discovered. */
  get backends(): Iterable<LiveBackend> {
    return this.#known.keys();
  }

  /** The routes, in the order in which their services were found. */
  get routes(): Iterable<LiveRoute> {
    return this.#byId.values();
  }

  /** How many routes there are. */
  get size(): number {
    return this.#byId.size;
  }

  /** A route by its id. */
  get(id: string): LiveRoute | undefined {
    return this.#byId.get(id);
  }

  /** The services of a backend; `undefined` while they are not known. */
  servicesOf(backend: LiveBackend): ReadonlySet<string> | undefined {
    return this.#known.get(backend);
  }

  /**
   * Where a request goes that no written route matches: to those that have its service, else to those whose
   * services are not known.
   */
  find(view: RequestView): LiveRoute | Pool | undefined {
    if (this.#writtenNames().match(view) !== undefined) return undefined;
    const service = view.grpc ? serviceOf(view.path) : undefined;
    if (service !== undefined) {
      const live = this.#byService.get(service);
      if (live !== undefined) return live;
      if (isInfrastructure(service)) return undefined;
    }
    return this.unlisted.size > 0 ? this.unlisted : undefined;
  }

  #writtenNames(): RouteTable<undefined> {
    let table = this.#named;
    if (table === undefined) {
      table = this.#named = new RouteTable();
      for (const { id, route } of this.#options.written()) this.addWritten(id, route);
    }
    return table;
  }

  /** Takes note of a route that was written. */
  addWritten(id: string, { match }: Route): void {
    const name = nameOf(match);
    if (name !== undefined) this.#named?.add(id, { match: name, targets: [] }, undefined);
  }

  /** Takes note that a written route is gone. */
  removeWritten(id: string): void {
    this.#named?.remove(id);
  }

  /** Takes note of how a backend stands now. */
  sync(backend: LiveBackend, { discovers, spreads, weight }: Standing): void {
    if (!discovers) this.#forget(backend);
    else if (!this.#known.has(backend)) this.#known.set(backend, undefined);
    const services = this.#known.get(backend);
    for (const service of services ?? []) this.#byService.get(service)!.pool.set(backend, weight);
    if (discovers ? services === undefined : spreads) this.unlisted.set(backend, weight);
    else this.unlisted.delete(backend);
  }

  #forget(backend: LiveBackend): void {
    for (const service of this.#known.get(backend) ?? []) this.#leave(service, backend);
    this.#known.delete(backend);
  }

  /**
   * Sets the services of a backend that is to be discovered; what is under way is not disturbed.
   *
   * @returns Whether anything has changed.
   */
  set(backend: LiveBackend, services: ReadonlySet<string>, weight: number): boolean {
    if (!this.#known.has(backend)) return false;
    const before = this.#known.get(backend);
    this.#known.set(backend, services);
    this.unlisted.delete(backend);
    for (const service of before ?? []) if (!services.has(service)) this.#leave(service, backend);
    for (const service of services) {
      if (!before?.has(service)) this.#enter(service, backend, weight);
    }
    return before === undefined || before.size !== services.size ||
      before.symmetricDifference(services).size > 0;
  }

  #enter(service: string, backend: LiveBackend, weight: number): void {
    let live = this.#byService.get(service);
    if (live === undefined) {
      const route: Route = { match: { services: [service] }, targets: [] };
      // A route that somebody writes for the same service is another one and has another id.
      const id = stableId("r", `discovered ${routeKey(route)}`);
      const pool = new Pool(id, this.#options.rules);
      live = { id, route, pool, registered: false, discovered: true };
      this.#byService.set(service, live);
      this.#byId.set(id, live);
    }
    live.pool.set(backend, weight);
    log.info("a service was discovered", { service, backend: backend.addr, route: live.id });
  }

  #leave(service: string, backend: LiveBackend): void {
    const { id, pool } = this.#byService.get(service)!;
    pool.delete(backend);
    if (pool.size === 0) {
      this.#byService.delete(service);
      this.#byId.delete(id);
      this.#options.onRouteRemoved(id);
    }
    log.info("a service has left", { service, backend: backend.addr, route: id });
  }
}

/** What a route names, without its other conditions; `undefined` when it has none of either. */
function nameOf(match: RouteMatch): RouteMatch | undefined {
  const { paths, services, methods, fullMethods, ...others } = match;
  const name = Object.entries({ paths, services, methods, fullMethods })
    .filter(([, values]) => values !== undefined);
  return name.length === 0 || Object.keys(others).length === 0
    ? undefined
    : Object.fromEntries(name);
}

/** The service in `/package.Service/Method`. */
function serviceOf(path: string): string | undefined {
  const end = path.indexOf("/", 1);
  return end < 0 ? undefined : path.slice(1, end);
}

/**
 * What management has changed since the process began, for the process that takes its place: that one is
 * configured as this one was, and has only the changes to make.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import type { LiveRoute, Registry } from "../backend/registry.ts";
import type { Scheme } from "../common/address.ts";
import type { Route, RouteTarget } from "../route/route.ts";
import { validateRoute } from "../route/validate.ts";
import { findAddress } from "./registries.ts";

/** The changes of one balancer; plain data. */
export interface RunTimeChanges {
  /** Those of each of its registries. */
  readonly registries: readonly RegistryChanges[];
}

/** What became of one registry, as far as management has touched it. */
export interface RegistryChanges {
  /** Which registry. */
  readonly scheme: Scheme;
  /** Addresses of backends that are gone. */
  readonly removedBackends: readonly string[];
  /** Rules that are gone. */
  readonly removedRoutes: readonly Route[];
  /** Rules that are there, with their targets. */
  readonly routes: readonly { readonly rule: Route; readonly registered: boolean }[];
  /** Backends that are there. */
  readonly backends: readonly BackendChange[];
}

/** A backend as it is at the end. */
export interface BackendChange {
  /** Its address. */
  readonly addr: string;
  /** Its weight in the default pool, unless it is only the target of routes. */
  readonly weight?: number;
  /** Whether it is drained. */
  readonly draining: boolean;
  /** Whether its services are to be discovered, if somebody has said so. */
  readonly discovers?: boolean;
  /** Whether it leaves with whoever holds it. */
  readonly held: boolean;
}

/** Something that was touched: as it was then, whether it was there only since, and by which change last. */
interface Entry<T> {
  readonly value: T;
  readonly added: boolean;
  readonly at: number;
}

/** What was touched in one registry, by id. What it is now is looked up at the end. */
interface Touched {
  readonly backends: Map<string, Entry<string>>;
  readonly routes: Map<string, Entry<Route>>;
  /** When there are so many, those that have come and gone are forgotten. */
  limit: number;
}

/** How many entries are kept without a look at what may be forgotten. */
const MIN_LIMIT = 256;

/** Remembers what management has touched. */
export class ChangeJournal {
  readonly #touched = new Map<Registry, Touched>();
  #count = 0;

  /** How many changes there have been. */
  get count(): number {
    return this.#count;
  }

  #of(registry: Registry): Touched {
    let touched = this.#touched.get(registry);
    if (touched === undefined) {
      touched = { backends: new Map(), routes: new Map(), limit: MIN_LIMIT };
      this.#touched.set(registry, touched);
    } else if (touched.backends.size + touched.routes.size > touched.limit) {
      sweep(registry, touched);
    }
    return touched;
  }

  /**
   * A backend, or its place in the routes that it is a target of, is about to change or has changed.
   *
   * @param added Whether it is there only since this change.
   */
  touchBackend(registry: Registry, backend: LiveBackend, added = false): void {
    const at = ++this.#count;
    note(this.#of(registry).backends, backend.id, { value: backend.addr, added, at });
    for (const id of registry.routesOf(backend)) {
      const route = registry.route(id);
      if (route !== undefined && !route.discovered) this.touchRoute(registry, route);
    }
  }

  /** The same for a route. */
  touchRoute(registry: Registry, route: LiveRoute, added = false): void {
    const at = ++this.#count;
    note(this.#of(registry).routes, route.id, { value: describeRule(route), added, at });
  }

  /**
   * What all that was touched is now.
   *
   * @param held The ids of backends that leave with whoever holds them.
   * @param since Only what was touched by changes after the first so many.
   */
  collect(held: ReadonlySet<string>, since = 0): RunTimeChanges {
    return {
      registries: Array.from(this.#touched, ([registry, touched]) => {
        const backends = new Map([...touched.backends].filter(([, { at }]) => at > since));
        const routes = new Map([...touched.routes].filter(([, { at }]) => at > since));
        const known = [...backends.keys()].map((id) => registry.backend(id));
        return {
          scheme: registry.scheme,
          removedBackends: [...backends].filter(([id]) => registry.backend(id) === undefined)
            .map(([, { value }]) => value),
          removedRoutes: [...routes].filter(([id]) => registry.route(id) === undefined)
            .map(([, { value }]) => value),
          routes: [...routes.keys()].flatMap((id) => {
            const route = registry.route(id);
            return route === undefined
              ? []
              : { rule: describeRule(route), registered: route.registered };
          }),
          backends: known.filter((backend) => backend !== undefined)
            .map((backend) => describeBackend(registry, backend, held)),
        };
      }),
    };
  }
}

function note<T>(entries: Map<string, Entry<T>>, id: string, entry: Entry<T>): void {
  entries.set(id, { ...entry, added: entries.get(id)?.added ?? entry.added });
}

/** What has come and gone since the process began is no change. */
function sweep(registry: Registry, touched: Touched): void {
  const { backends, routes } = touched;
  for (const [id, { added }] of backends) {
    if (added && registry.backend(id) === undefined) backends.delete(id);
  }
  for (const [id, { added }] of routes) {
    if (added && registry.route(id) === undefined) routes.delete(id);
  }
  touched.limit = Math.max(MIN_LIMIT, 2 * (backends.size + routes.size));
}

function describeRule({ route, pool }: LiveRoute): Route {
  const targets = Array.from(
    pool.members,
    ({ backend, configured: weight }): RouteTarget => ({ addr: backend.addr, weight }),
  );
  return { ...route, targets: targets.length === 0 ? route.targets : targets };
}

function describeBackend(
  registry: Registry,
  backend: LiveBackend,
  held: ReadonlySet<string>,
): BackendChange {
  const member = registry.pool.get(backend);
  return {
    addr: backend.addr,
    ...(member === undefined ? {} : { weight: member.configured }),
    draining: backend.state === "draining",
    ...(backend.discovers === undefined ? {} : { discovers: backend.discovers }),
    held: held.has(backend.id),
  };
}

/**
 * Makes the changes of the process before.
 *
 * @returns The ids of the backends that leave with whoever holds them.
 * @throws {TypeError} When one cannot be made.
 */
export function applyChanges(
  { registries: changes }: RunTimeChanges,
  registries: readonly Registry[],
  journal: ChangeJournal,
): string[] {
  return changes.flatMap((change) => {
    const registry = registries.find(({ scheme }) => scheme === change.scheme);
    if (registry === undefined) {
      throw new TypeError(`nothing here balances ${change.scheme}, for which there are changes`);
    }
    return applyTo(registry, change, journal);
  });
}

function applyTo(registry: Registry, change: RegistryChanges, journal: ChangeJournal): string[] {
  for (const rule of change.removedRoutes) {
    const route = registry.route(registry.routeId(validateRoute(withWeights(rule))));
    if (route === undefined) continue;
    journal.touchRoute(registry, route);
    registry.removeRoute(route.id);
  }
  for (const addr of change.removedBackends) {
    const backend = findAddress(registry, addr);
    if (backend === undefined) continue;
    journal.touchBackend(registry, backend);
    registry.removeBackend(backend);
  }
  for (const { rule, registered } of change.routes) {
    const known = registry.route(registry.routeId(validateRoute(withWeights(rule))));
    const { value: route } = registry.addRoute(withWeights(rule), registered);
    for (const { addr, weight } of rule.targets) {
      if (weight === 0) route.pool.set(findAddress(registry, addr)!, 0);
    }
    journal.touchRoute(registry, route, known === undefined);
  }
  // Drained at last: whoever is added becomes active.
  for (const { addr, weight } of change.backends) {
    if (weight === undefined) continue;
    const { value, created } = registry.addBackend({ addr, weight });
    journal.touchBackend(registry, value, created && value.pools.size === 1);
  }
  return change.backends.flatMap(({ addr, draining, discovers, held }) => {
    const backend = findAddress(registry, addr);
    if (backend === undefined) return [];
    if (discovers !== undefined) registry.setDiscovery(backend, discovers);
    if (draining) registry.drain(backend);
    journal.touchBackend(registry, backend);
    return held ? [backend.id] : [];
  });
}

/** A rule must lead somewhere, so a weight of 0 cannot be part of it; its target can have it. */
function withWeights(rule: Route): Route {
  return {
    ...rule,
    targets: rule.targets.map(({ addr, weight }) => ({ addr, weight: weight || 1 })),
  };
}

/**
 * What management has changed since the process began, for the process that takes its place: that one is
 * configured as this one was, and has only the changes to make.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import type { FollowedName } from "../backend/discovery/names.ts";
import type { LiveRoute, Registry } from "../backend/registry.ts";
import type { Scheme } from "../common/address.ts";
import { isDnsName } from "../common/dns_name.ts";
import type { Route } from "../route/route.ts";
import { validateRoute } from "../route/validate.ts";
import { findAddress, findName } from "./registries.ts";
import { currentRule } from "./rules.ts";

/** The changes of one balancer; plain data. */
export interface RunTimeChanges {
  /** Those of each of its registries. */
  readonly registries: readonly RegistryChanges[];
}

/** What became of one registry, as far as management has touched it. */
export interface RegistryChanges {
  /** Which registry. */
  readonly scheme: Scheme;
  /** Addresses of backends that are gone, or their ids where an address alone does not say which. */
  readonly removedBackends: readonly string[];
  /** Names that are gone; none from a process that knew of none. */
  readonly removedNames?: readonly string[];
  /** Rules that are gone. */
  readonly removedRoutes: readonly Route[];
  /** Rules that are there, with their targets. */
  readonly routes: readonly { readonly rule: Route; readonly registered: boolean }[];
  /** Backends that are there. */
  readonly backends: readonly BackendChange[];
  /** Names that are there. */
  readonly names?: readonly NameChange[];
  /** What all names stand for, touched or not, so that nothing has to be asked first. */
  readonly addresses?: readonly KnownAddresses[];
}

/** A name as it is at the end. */
export interface NameChange
  extends Pick<BackendChange, "weight" | "draining" | "discovers" | "held"> {
  /** The name. */
  readonly name: string;
}

/** The last good answer to a name. */
export interface KnownAddresses {
  /** The name. */
  readonly name: string;
  /** Its addresses with their weights. */
  readonly found: readonly (readonly [addr: string, weight: number])[];
}

/** A backend as it is at the end. */
export interface BackendChange {
  /** Its address. */
  readonly addr: string;
  /** Its id, when it is there only because a name stands for it: it is not to stay for any other reason. */
  readonly followed?: string;
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
  readonly names: Map<string, Entry<string>>;
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
      touched = { backends: new Map(), routes: new Map(), names: new Map(), limit: MIN_LIMIT };
      this.#touched.set(registry, touched);
    } else if (sizeOf(touched) > touched.limit) {
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
    const { id, addr, address } = backend;
    const named = address.transport === "tcp" && address.serverName !== undefined;
    note(this.#of(registry).backends, id, { value: named ? id : addr, added, at });
    for (const id of registry.routesOf(backend)) {
      const route = registry.route(id);
      if (route !== undefined && !route.discovered) this.touchRoute(registry, route);
    }
  }

  /** The same for a name. */
  touchName(registry: Registry, name: FollowedName, added = false): void {
    const at = ++this.#count;
    note(this.#of(registry).names, name.id, { value: name.text, added, at });
    for (const pool of name.pools) {
      const route = registry.route(pool.name);
      if (route !== undefined) this.touchRoute(registry, route);
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
   * @param registries All that are managed.
   * @param held The ids of backends that leave with whoever holds them.
   * @param since Only what was touched by changes after the first so many.
   */
  collect(
    registries: readonly Registry[],
    held: ReadonlySet<string>,
    since = 0,
  ): RunTimeChanges {
    const all = registries.flatMap((registry) => {
      const touched = this.#touched.get(registry);
      const addresses = since > 0 ? [] : Array.from(registry.names, describeAddresses);
      if (touched === undefined && addresses.length === 0) return [];
      return { ...describeTouched(registry, touched ?? UNTOUCHED, { held, since }), addresses };
    });
    return { registries: all };
  }
}

const UNTOUCHED: Touched = {
  backends: new Map(),
  routes: new Map(),
  names: new Map(),
  limit: MIN_LIMIT,
};

function describeTouched(
  registry: Registry,
  touched: Touched,
  { held, since }: { readonly held: ReadonlySet<string>; readonly since: number },
): RegistryChanges {
  const later = <T>(entries: ReadonlyMap<string, Entry<T>>) =>
    [...entries].filter(([, { at }]) => at > since);
  const backends = later(touched.backends);
  const routes = later(touched.routes);
  const names = later(touched.names);
  return {
    scheme: registry.scheme,
    removedBackends: backends.filter(([id]) => registry.backend(id) === undefined)
      .map(([, { value }]) => value),
    removedNames: names.filter(([id]) => registry.names.find(id) === undefined)
      .map(([, { value }]) => value),
    removedRoutes: routes.filter(([id]) => registry.route(id) === undefined)
      .map(([, { value }]) => value),
    routes: routes.flatMap(([id]) => {
      const route = registry.route(id);
      return route === undefined ? [] : { rule: describeRule(route), registered: route.registered };
    }),
    backends: backends.flatMap(([id]) => {
      const backend = registry.backend(id);
      return backend === undefined ? [] : describeBackend(registry, backend, held);
    }),
    names: names.flatMap(([id]) => {
      const name = registry.names.find(id);
      return name === undefined ? [] : describeName(registry, name, held);
    }),
  };
}

function note<T>(entries: Map<string, Entry<T>>, id: string, entry: Entry<T>): void {
  entries.set(id, { ...entry, added: entries.get(id)?.added ?? entry.added });
}

function sizeOf({ backends, routes, names }: Touched): number {
  return backends.size + routes.size + names.size;
}

/** What has come and gone since the process began is no change. */
function sweep(registry: Registry, touched: Touched): void {
  const { backends, routes, names } = touched;
  for (const [id, { added }] of backends) {
    if (added && registry.backend(id) === undefined) backends.delete(id);
  }
  for (const [id, { added }] of routes) {
    if (added && registry.route(id) === undefined) routes.delete(id);
  }
  for (const [id, { added }] of names) {
    if (added && registry.names.find(id) === undefined) names.delete(id);
  }
  touched.limit = Math.max(MIN_LIMIT, 2 * sizeOf(touched));
}

/** A rule must lead somewhere: what has lost all its targets has those it was made with, which are then removed. */
function describeRule(live: LiveRoute): Route {
  const rule = currentRule(live);
  return rule.targets.length === 0 ? live.route : rule;
}

function describeAddresses({ text, found }: FollowedName): KnownAddresses {
  return { name: text, found: [...found] };
}

function describeName(
  registry: Registry,
  name: FollowedName,
  held: ReadonlySet<string>,
): NameChange {
  const weight = registry.pool.names.get(name.text);
  return {
    name: name.text,
    ...(weight === undefined ? {} : { weight }),
    draining: name.state === "draining",
    ...(name.discovers === undefined ? {} : { discovers: name.discovers }),
    held: held.has(name.id),
  };
}

function describeBackend(
  registry: Registry,
  backend: LiveBackend,
  held: ReadonlySet<string>,
): BackendChange {
  const member = registry.pool.get(backend);
  const given = [...backend.pools].some((pool) => isGiven(registry, pool.name, backend));
  return {
    addr: backend.addr,
    ...(given ? {} : { followed: backend.id }),
    ...(member === undefined ? {} : { weight: member.configured }),
    draining: backend.state === "draining",
    ...(backend.discovers === undefined ? {} : { discovers: backend.discovers }),
    held: held.has(backend.id),
  };
}

/** Whether a pool has a backend by its address, and not only because a name stands for it. */
function isGiven(registry: Registry, pool: string, backend: LiveBackend): boolean {
  const found = pool === registry.pool.name ? registry.pool : registry.route(pool)?.pool;
  return found?.get(backend)?.followed === false;
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
  for (const { rule, registered } of change.routes) {
    const known = registry.route(registry.routeId(validateRoute(withWeights(rule))));
    const { value: route } = registry.addRoute(withWeights(rule), registered);
    for (const { addr, weight } of rule.targets) {
      if (weight > 0) continue;
      if (isDnsName(addr)) registry.names.add(addr, route.pool, { weight });
      else route.pool.set(findAddress(registry, addr)!, weight);
    }
    journal.touchRoute(registry, route, known === undefined);
  }
  const held = applyNames(registry, change, journal);
  for (const addr of change.removedBackends) {
    const backend = registry.backend(addr) ?? findAddress(registry, addr);
    if (backend === undefined) continue;
    journal.touchBackend(registry, backend);
    registry.removeBackend(backend);
  }
  // Drained at last: whoever is added becomes active.
  for (const { addr, weight, followed } of change.backends) {
    if (weight === undefined) continue;
    if (followed === undefined) {
      const { value, created } = registry.addBackend({ addr, weight });
      journal.touchBackend(registry, value, created && value.pools.size === 1);
      continue;
    }
    const backend = registry.backend(followed);
    if (backend !== undefined && registry.pool.get(backend) !== undefined) {
      registry.pool.set(backend, weight);
    }
  }
  return change.backends.flatMap(({ addr, draining, discovers, held, followed }) => {
    const backend = followed === undefined
      ? findAddress(registry, addr)
      : registry.backend(followed);
    if (backend === undefined) return [];
    if (discovers !== undefined) registry.setDiscovery(backend, discovers);
    if (draining) registry.drain(backend);
    journal.touchBackend(registry, backend);
    return held ? [backend.id] : [];
  }).concat(held);
}

/** @returns The ids of the names that leave with whoever holds them. */
function applyNames(
  registry: Registry,
  { names = [], addresses = [], removedNames = [] }: RegistryChanges,
  journal: ChangeJournal,
): string[] {
  const held: string[] = [];
  for (const change of names) {
    const { name: text, weight, draining, discovers: discoverServices } = change;
    const known = findName(registry, text);
    // In routes it is already.
    const [pool] = weight === undefined ? known?.pools ?? [] : [registry.pool];
    if (pool === undefined) continue;
    const { value: name } = registry.names.add(text, pool, { weight, discoverServices });
    if (draining) registry.names.drain(name);
    journal.touchName(registry, name, known === undefined);
    if (change.held) held.push(name.id);
  }
  for (const { name, found } of addresses) findName(registry, name)?.resume(found);
  for (const text of removedNames) {
    const name = findName(registry, text);
    if (name === undefined) continue;
    journal.touchName(registry, name);
    registry.names.remove(name);
  }
  return held;
}

/** A rule must lead somewhere, so a weight of 0 cannot be part of it; its target can have it. */
function withWeights(rule: Route): Route {
  return {
    ...rule,
    targets: rule.targets.map(({ addr, weight }) => ({ addr, weight: weight || 1 })),
  };
}

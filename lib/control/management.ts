/**
 * The use cases of management: what `POST /lb/add`, `lb.LoadBalancer` and their kin do, whichever of them
 * is asked. Every call is one synchronous step, so two callers never see half of each other's change.
 *
 * @module
 */

import type { LiveBackend } from "../backend/backend.ts";
import type { Pool } from "../backend/pool.ts";
import { type LiveRoute, MAX_WEIGHT, Registry } from "../backend/registry.ts";
import { formatAddress, formatHostPort, parseAddress } from "../common/address.ts";
import { getLogger } from "../observe/logger.ts";
import type { Route, RouteMatch, RouteTarget } from "../route/route.ts";
import { formatRule } from "../route/rule_text.ts";
import { validateRoute } from "../route/validate.ts";
import { parseConditions } from "./conditions.ts";
import { HeldBackends } from "./held_backends.ts";
import { checkField, ManagementError } from "./management_error.ts";
import type {
  AddL4Request,
  AddL7Request,
  AddResult,
  BackendInfo,
  Caller,
  HealthInfo,
  ReflectionInfo,
  RouteInfo,
  TargetInfo,
} from "./model.ts";
import type { Protocol } from "./protocol.ts";
import { findAddress, Registries } from "./registries.ts";
import { applyChanges, ChangeJournal, type RunTimeChanges } from "./run_time_changes.ts";

export type { Conditions, ValuesByName } from "./conditions.ts";
export { ManagementError, type ManagementErrorCode } from "./management_error.ts";
export type {
  AddL4Request,
  AddL7Request,
  AddResult,
  BackendInfo,
  Caller,
  RouteInfo,
  TargetInfo,
} from "./model.ts";

/** What {@linkcode Management} is told. */
export interface ManagementSettings {
  /** At layer 4 a backend has no conditions, at layer 7 it may. */
  readonly layer: "l4" | "l7";
  /** The port of a caller that registers itself without naming one. */
  readonly defaultPort: number;
  /** Which of two protocols is meant where neither a scheme nor a condition says it; unless given, that is refused. */
  readonly prefers?: Protocol;
  /** What is known of the backends by their reflection. */
  readonly reflection?: ReflectionInfo;
  /** What is known of the health of services. */
  readonly health?: HealthInfo;
  /** What was changed, shared by all that manage the same balancer. */
  readonly journal?: ChangeJournal;
  /** Backends that are in for as long as somebody holds them; shared in the same way. */
  readonly held?: HeldBackends;
}

/** What a backend is added with. */
type Settings = Pick<AddL7Request, "weight" | "discover_services">;

const log = getLogger("management");

/** Changes and lists the backends and routes of one balancer. */
export class Management {
  readonly #registries: Registries;
  readonly #defaultPort: number;
  readonly #journal: ChangeJournal;
  readonly #held: HeldBackends;
  /** What is known of the backends by their reflection, at a balancer that asks for it. */
  readonly reflection: ReflectionInfo | undefined;
  /** What is known of the health of services, at a balancer that has gRPC services. */
  readonly health: HealthInfo | undefined;
  /** At which layer the balancer works. */
  readonly layer: "l4" | "l7";

  /** Manages what is in a registry, or in those of two protocols. */
  constructor(registries: Registry | readonly Registry[], settings: ManagementSettings) {
    const all = registries instanceof Registry ? [registries] : registries;
    this.#registries = new Registries(all, settings.prefers);
    this.#defaultPort = settings.defaultPort;
    this.#journal = settings.journal ?? new ChangeJournal();
    this.#held = settings.held ?? new HeldBackends();
    this.reflection = settings.reflection;
    this.health = settings.health;
    this.layer = settings.layer;
  }

  /**
   * Refuses what a balancer at layer 4 cannot do.
   *
   * @throws {ManagementError} `failed_precondition` at layer 4.
   */
  requireL7(): void {
    if (this.layer === "l7") return;
    throw new ManagementError(
      "failed_precondition",
      "this balancer works at layer 4 and looks at no request, so a backend can have no " +
        "conditions; accepted are addr, port and weight",
    );
  }

  /**
   * Adds a backend to the default pool, at either layer: the one at `addr`, or else the caller itself.
   *
   * @throws {ManagementError} `invalid_argument` when a value is not valid.
   */
  addL4(request: AddL4Request, caller?: Caller): AddResult {
    const { addr, port, weight } = request;
    if (addr !== undefined && port !== undefined) {
      throw new ManagementError(
        "invalid_argument",
        `${port} is given beside the address ${JSON.stringify(addr)}; accepted is one of them`,
        "port",
      );
    }
    checkWeight(weight);
    return addr === undefined
      ? this.#addToPool("addr", this.#addressOf(caller, port), request, caller)
      : this.#addToPool("addr", checkAddress("addr", addr), request, caller);
  }

  #addressOf(caller: Caller | undefined, port = this.#defaultPort): string {
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      throw new ManagementError(
        "invalid_argument",
        `${port} is no port; accepted is an integer from 1 to 65535`,
        "port",
      );
    }
    const hostname = caller?.hostname;
    if (hostname === undefined || hostname === "unix") {
      throw new ManagementError(
        "invalid_argument",
        "it is missing, and the caller has no IP address to register; accepted is host:port",
        "addr",
      );
    }
    return checkAddress("addr", formatHostPort(hostname, port));
  }

  /**
   * Adds a backend at layer 7: as a target of the route that its conditions make, or to the default pool
   * when it has none.
   *
   * @throws {ManagementError} `failed_precondition` at layer 4, `invalid_argument` when a value is not valid.
   */
  addL7(request: AddL7Request, caller?: Caller): AddResult {
    this.requireL7();
    const { backend_addr, weight, discover_services: _, ...conditions } = request;
    checkWeight(weight);
    const addr = checkAddress("backend_addr", backend_addr);
    const match = parseConditions(conditions);
    return match === undefined
      ? this.#addToPool("backend_addr", addr, request, caller)
      : this.#addToRoute(match, addr, request, caller);
  }

  #place(field: string, addr: string, match: RouteMatch = {}): Registry {
    return checkField(
      field,
      () => this.#registries.place({ match, targets: [{ addr, weight: 1 }] }),
    );
  }

  #addToPool(
    field: string,
    addr: string,
    { weight, discover_services }: Settings,
    caller: Caller | undefined,
  ): AddResult {
    const registry = this.#place(field, addr);
    checkDiscovery(registry, discover_services);
    const { value, created } = registry.addBackend({
      addr,
      ...(weight === undefined ? {} : { weight }),
      ...(discover_services === undefined ? {} : { discoverServices: discover_services }),
    });
    this.#journal.touchBackend(registry, value, created && value.pools.size === 1);
    this.#logAdded(value, registry.pool, created, caller);
    return { id: value.id, addr: value.addr, created };
  }

  #addToRoute(
    match: RouteMatch,
    addr: string,
    { weight, discover_services }: Settings,
    caller: Caller | undefined,
  ): AddResult {
    const registry = this.#place("backend_addr", addr, match);
    checkDiscovery(registry, discover_services);
    const make = (weight: number) =>
      checkField(undefined, () => validateRoute({ match, targets: [{ addr, weight }] }));
    const known = registry.route(registry.routeId(make(1)));
    const target = findAddress(registry, addr);
    // Backends that register again and again must not undo the weight that somebody has set.
    const current = target && known?.pool.get(target)?.configured;
    const wanted = weight ?? current ?? 1;
    // A rule must lead somewhere, so a weight of 0 cannot be part of it; the target can have it.
    const { value, created } = registry.addRoute(make(wanted || 1), true);
    const backend = findAddress(registry, addr)!;
    if (wanted === 0) value.pool.set(backend, 0);
    if (discover_services !== undefined) registry.setDiscovery(backend, discover_services);
    this.#journal.touchRoute(registry, value, known === undefined);
    this.#journal.touchBackend(registry, backend, target === undefined);
    this.#logAdded(backend, value.pool, created, caller);
    return { id: backend.id, addr: backend.addr, created, route_id: value.id };
  }

  #logAdded(
    backend: LiveBackend,
    pool: Pool,
    created: boolean,
    caller: Caller | undefined,
  ): void {
    log.info(created ? "a backend was added" : "a backend was added again", {
      id: backend.id,
      addr: backend.addr,
      pool: pool.name,
      weight: pool.get(backend)?.configured,
      by: nameOf(caller),
    });
  }

  /**
   * Takes a backend out of everything; it finishes what it has. Routes that were made for it at run time
   * leave with their last target.
   *
   * @param id The id or the address.
   * @returns What it was at the end.
   * @throws {ManagementError} `not_found`
   */
  removeBackend(id: string, caller?: Caller): BackendInfo {
    const backend = this.#backend(id);
    const info = this.#describeBackend(backend);
    const registry = this.#registries.of(backend);
    this.#journal.touchBackend(registry, backend);
    registry.removeBackend(backend);
    log.info("a backend was removed", {
      id: backend.id,
      addr: backend.addr,
      in_flight: info.in_flight,
      by: nameOf(caller),
    });
    return { ...info, state: backend.state };
  }

  /** Removes a backend that nobody holds any more, unless somebody has removed it before. */
  removeHeld(id: string, caller?: Caller): void {
    try {
      this.removeBackend(id, caller);
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error;
    }
  }

  /**
   * Removes a route; requests under way finish. Backends that nothing else names leave with it.
   *
   * @returns What it was at the end.
   * @throws {ManagementError} `not_found`, or `failed_precondition` when it was discovered.
   */
  removeRoute(id: string, caller?: Caller): RouteInfo {
    const info = this.route(id);
    if (info.origin === "discovered") {
      throw new ManagementError(
        "failed_precondition",
        `the route ${id} was discovered and leaves when none of its backends lists the service any more; ` +
          "accepted is to remove or drain its backends, or to add them again with discover_services false",
      );
    }
    const { registry, route } = this.#registries.route(id)!;
    this.#journal.touchRoute(registry, route);
    registry.removeRoute(id);
    log.info("a route was removed", { id, rule: info.rule, by: nameOf(caller) });
    return info;
  }

  /**
   * Picks a backend no more; it finishes what it has. Adding it again makes it active again.
   *
   * @param id The id or the address.
   * @throws {ManagementError} `not_found`
   */
  drain(id: string, caller?: Caller): BackendInfo {
    const backend = this.#backend(id);
    const registry = this.#registries.of(backend);
    this.#journal.touchBackend(registry, backend);
    registry.drain(backend);
    log.info("a backend drains", {
      id: backend.id,
      addr: backend.addr,
      in_flight: backend.inFlight,
      by: nameOf(caller),
    });
    return this.#describeBackend(backend);
  }

  /**
   * Sets the weight of a backend in the default pool and in every route that it is a target of.
   *
   * @param id The id or the address.
   * @param weight An integer from 0 to 65535; 0 takes it out while another one has more.
   * @throws {ManagementError} `not_found`, or `invalid_argument` when the weight is not valid.
   */
  setWeight(id: string, weight: number, caller?: Caller): BackendInfo {
    const backend = this.#backend(id);
    checkWeight(weight);
    const registry = this.#registries.of(backend);
    this.#journal.touchBackend(registry, backend);
    registry.setWeight(backend, weight);
    log.info("the weight of a backend was set", {
      id: backend.id,
      addr: backend.addr,
      weight,
      by: nameOf(caller),
    });
    return this.#describeBackend(backend);
  }

  /** How many changes the calls have made. */
  get changeCount(): number {
    return this.#journal.count;
  }

  /**
   * What all calls together have changed, for the process that takes the place of this one.
   *
   * @param since Leaves out what was not touched after the first so many changes; see {@linkcode changeCount}.
   */
  collectChanges(since?: number): RunTimeChanges {
    return this.#journal.collect(new Set(this.#held.ids()), since);
  }

  /**
   * Makes the changes that the process before has collected.
   *
   * @returns The ids of backends that were in for as long as somebody held them.
   * @throws {TypeError} When one cannot be made.
   */
  applyChanges(changes: RunTimeChanges): string[] {
    return applyChanges(changes, this.#registries.all, this.#journal);
  }

  /**
   * Calls `listener` after every change, whoever makes it; it must not throw.
   *
   * @returns Ends it.
   */
  onChange(listener: () => void): () => void {
    const ends = this.#registries.all.map((registry) => registry.onChange(listener));
    return () => ends.forEach((end) => end());
  }

  /** How many routes there are. */
  get routeCount(): number {
    return this.#registries.all.reduce(
      (sum, { routeCount, discovered }) => sum + routeCount + discovered.size,
      0,
    );
  }

  /**
   * Resolves when a backend, by its id or its address, has nothing in flight.
   *
   * @throws {ManagementError} `not_found`
   */
  whenIdle(id: string): Promise<void> {
    return this.#backend(id).whenIdle();
  }

  #backend(id: string): LiveBackend {
    const backend = this.#registries.find(id);
    if (backend !== undefined) return backend;
    throw new ManagementError(
      "not_found",
      `no backend has the id or the address ${JSON.stringify(id)}`,
    );
  }

  /** All backends as they are now. */
  listBackends(): BackendInfo[] {
    return this.#registries.all.flatMap(({ backends }) =>
      Array.from(backends, (backend) => this.#describeBackend(backend))
    );
  }

  /** How many requests each backend may have in flight now, where that is limited. */
  requestLimits(): { readonly id: string; readonly limit: number }[] {
    return this.#registries.all.flatMap(({ backends }) =>
      Array.from(backends).flatMap(({ id, limit, now }) =>
        limit === undefined ? [] : { id, limit: limit.limit(now) }
      )
    );
  }

  /** How many requests wait because all backends that may have them are at that limit. */
  get waiting(): number {
    return this.#registries.all.reduce((sum, { waiting }) => sum + waiting, 0);
  }

  /**
   * A backend as it is now.
   *
   * @param id The id or the address.
   * @throws {ManagementError} `not_found`
   */
  describeBackend(id: string): BackendInfo {
    return this.#describeBackend(this.#backend(id));
  }

  #describeBackend(backend: LiveBackend): BackendInfo {
    const registry = this.#registries.of(backend);
    const member = registry.pool.get(backend);
    const services = registry.servicesOf(backend);
    const { health } = backend;
    return {
      id: backend.id,
      addr: backend.addr,
      state: backend.state,
      weight: member?.configured ?? null,
      in_flight: backend.inFlight,
      pool: member !== undefined,
      routes: registry.routesOf(backend),
      connections: {
        idle: backend.http.idle + backend.h2.idle,
        active: backend.http.active + backend.h2.active,
      },
      health: {
        state: health.state.type,
        ...(health.state.type === "healthy" ? {} : { reason: health.state.reason }),
        ejections: health.ejections,
      },
      ...(registry.isDiscovered(backend)
        ? {
          discovery: {
            state: services === undefined ? "pending" : "known",
            services: services?.size ?? 0,
          },
        }
        : {}),
    };
  }

  /** All routes as they are now, in the order in which they were added; those that were discovered come last. */
  listRoutes(): RouteInfo[] {
    return this.#registries.all.flatMap(({ routes, discovered }) =>
      [...routes, ...discovered.routes].map(describeRoute)
    );
  }

  /**
   * A route as it is now.
   *
   * @throws {ManagementError} `not_found`
   */
  route(id: string): RouteInfo {
    const found = this.#registries.route(id);
    if (found !== undefined) return describeRoute(found.route);
    throw new ManagementError("not_found", `no route has the id ${JSON.stringify(id)}`);
  }
}

function describeRoute(live: LiveRoute): RouteInfo {
  const targets = Array.from(live.pool.members, ({ backend, configured: weight }): TargetInfo => ({
    id: backend.id,
    addr: backend.addr,
    weight,
    state: backend.state,
  }));
  const current: readonly RouteTarget[] = targets.map(({ addr, weight }) => ({ addr, weight }));
  const route: Route = { ...live.route, targets: current };
  return {
    id: live.id,
    rule: formatRule(route),
    match: route.match,
    targets,
    registered: live.registered,
    origin: live.discovered ? "discovered" : live.registered ? "registered" : "written",
  };
}

function checkAddress(field: string, addr: string): string {
  return checkField(field, () => formatAddress(parseAddress(addr)));
}

function checkWeight(weight: number | undefined): void {
  if (weight === undefined) return;
  if (!Number.isInteger(weight) || weight < 0 || weight > MAX_WEIGHT) {
    throw new ManagementError(
      "invalid_argument",
      `${weight} is no weight; accepted is an integer from 0 to ${MAX_WEIGHT}`,
      "weight",
    );
  }
}

function checkDiscovery({ discovers }: Registry, wanted: boolean | undefined): void {
  if (wanted !== true || discovers) return;
  throw new ManagementError(
    "failed_precondition",
    "true is not possible here: which service is called is seen by a gRPC balancer at layer 7 only",
    "discover_services",
  );
}

/** How the log calls whoever made a change. */
function nameOf(caller: Caller | undefined): string {
  return caller?.hostname ?? "this process";
}

/**
 * The use cases of management: what `POST /lb/add`, `lb.LoadBalancer` and their kin do, whichever of them
 * is asked. Every call is one synchronous step, so two callers never see half of each other's change.
 *
 * @module
 */

import { LiveBackend } from "../backend/backend.ts";
import type { FollowedName } from "../backend/discovery/names.ts";
import { type BackendCounts, canServe, countBackends } from "../backend/readiness.ts";
import { Registry } from "../backend/registry.ts";
import { getLogger } from "../observe/logger.ts";
import { type Addition, Additions } from "./additions.ts";
import { parseConditions } from "./conditions.ts";
import { describeBackend, describeName, describeRoute } from "./descriptions.ts";
import { HeldBackends } from "./held_backends.ts";
import { ManagementError } from "./management_error.ts";
import {
  type AddL4Request,
  type AddL7Request,
  type AddResult,
  type BackendInfo,
  type Caller,
  type HealthInfo,
  nameOf,
  type PoolInfo,
  type ReflectionInfo,
  type RouteInfo,
} from "./model.ts";
import type { Protocol } from "./protocol.ts";
import { Registries } from "./registries.ts";
import { applyChanges, ChangeJournal, type RunTimeChanges } from "./run_time_changes.ts";
import { checkAddress, checkWeight, ownAddress } from "./value_checks.ts";

export type { Conditions, ValuesByName } from "./conditions.ts";
export { ManagementError, type ManagementErrorCode } from "./management_error.ts";
export type {
  AddL4Request,
  AddL7Request,
  AddResult,
  BackendInfo,
  Caller,
  PoolInfo,
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

const log = getLogger("management");

/** Changes and lists the backends and routes of one balancer. */
export class Management {
  readonly #registries: Registries;
  readonly #additions: Additions;
  readonly #journal: ChangeJournal;
  readonly #defaultPort: number;
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
    this.#journal = settings.journal ?? new ChangeJournal();
    this.#additions = new Additions(this.#registries, this.#journal);
    this.#defaultPort = settings.defaultPort;
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
    return this.#additions.toPool({
      field: "addr",
      addr: addr === undefined
        ? ownAddress(caller, port ?? this.#defaultPort)
        : checkAddress("addr", addr),
      settings: request,
      caller,
    });
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
    const addition: Addition = { field: "backend_addr", addr, settings: request, caller };
    return match === undefined
      ? this.#additions.toPool(addition)
      : this.#additions.toRoute(match, addition);
  }

  /**
   * Takes a backend, or all addresses of a name, out of everything; it finishes what it has. Routes that were made
   * for it at run time leave with their last target.
   *
   * @param id The id, the address or the name.
   * @returns What it was at the end.
   * @throws {ManagementError} `not_found`
   */
  removeBackend(id: string, caller?: Caller): BackendInfo {
    const found = this.#find(id);
    const info = this.#describe(found);
    const registry = this.#touch(found);
    if (found instanceof LiveBackend) registry.removeBackend(found);
    else registry.names.remove(found);
    const { addr, in_flight } = info;
    log.info("a backend was removed", { id: found.id, addr, in_flight, by: nameOf(caller) });
    return { ...info, state: "removed" };
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
   * Picks a backend, or all addresses of a name, those included that it gets later, no more; it finishes what it
   * has. Adding it again makes it active again.
   *
   * @param id The id, the address or the name.
   * @throws {ManagementError} `not_found`
   */
  drain(id: string, caller?: Caller): BackendInfo {
    const found = this.#find(id);
    const registry = this.#touch(found);
    if (found instanceof LiveBackend) registry.drain(found);
    else registry.names.drain(found);
    const info = this.#describe(found);
    const { addr, in_flight } = info;
    log.info("a backend drains", { id: found.id, addr, in_flight, by: nameOf(caller) });
    return info;
  }

  /**
   * Sets the weight of a backend, or of each address of a name, in the default pool and in every route that it is a
   * target of.
   *
   * @param id The id, the address or the name.
   * @param weight An integer from 0 to 65535; 0 takes it out while another one has more.
   * @throws {ManagementError} `not_found`, or `invalid_argument` when the weight is not valid.
   */
  setWeight(id: string, weight: number, caller?: Caller): BackendInfo {
    const found = this.#find(id);
    checkWeight(weight);
    const registry = this.#touch(found);
    if (found instanceof LiveBackend) registry.setWeight(found, weight);
    else registry.names.setWeight(found, weight);
    const info = this.#describe(found);
    log.info("the weight of a backend was set", {
      id: found.id,
      addr: info.addr,
      weight,
      by: nameOf(caller),
    });
    return info;
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
    return this.#journal.collect(this.#registries.all, new Set(this.#held.ids()), since);
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

  /** Whether there is a healthy backend that requests are sent to. */
  get canServe(): boolean {
    return this.#registries.all.some(canServe);
  }

  /** How many backends there are, by state and health. */
  get backendCounts(): BackendCounts {
    return countBackends(this.#registries.all.flatMap(({ backends }) => [...backends]));
  }

  /** How many routes there are. */
  get routeCount(): number {
    return this.#registries.all.reduce(
      (sum, { routeCount, discovered }) => sum + routeCount + discovered.size,
      0,
    );
  }

  /**
   * Resolves when a backend, by its id or its address, has nothing in flight, or none of those of a name.
   *
   * @throws {ManagementError} `not_found`
   */
  async whenIdle(id: string): Promise<void> {
    const found = this.#find(id);
    const backends = found instanceof LiveBackend ? [found] : found.backends;
    await Promise.all(backends.map((backend) => backend.whenIdle()));
  }

  #find(id: string): LiveBackend | FollowedName {
    const found = this.#registries.find(id);
    if (found !== undefined) return found;
    throw new ManagementError(
      "not_found",
      `no backend has the id or the address ${JSON.stringify(id)}`,
    );
  }

  /** Notes that something is about to change; where it is. */
  #touch(found: LiveBackend | FollowedName): Registry {
    const registry = this.#registries.of(found);
    if (found instanceof LiveBackend) this.#journal.touchBackend(registry, found);
    else this.#journal.touchName(registry, found);
    return registry;
  }

  /** All backends as they are now. */
  listBackends(): BackendInfo[] {
    return this.#registries.all.flatMap((registry) =>
      Array.from(registry.backends, (backend) => describeBackend(registry, backend))
    );
  }

  /** All names as they are now; their addresses are among the backends. */
  listNames(): BackendInfo[] {
    return this.#registries.all.flatMap((registry) =>
      Array.from(registry.names, (name) => describeName(registry, name))
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
   * A backend, or a name, as it is now.
   *
   * @param id The id, the address or the name.
   * @throws {ManagementError} `not_found`
   */
  describeBackend(id: string): BackendInfo {
    return this.#describe(this.#find(id));
  }

  #describe(found: LiveBackend | FollowedName): BackendInfo {
    const registry = this.#registries.of(found);
    return found instanceof LiveBackend
      ? describeBackend(registry, found)
      : describeName(registry, found);
  }

  /** The pools that requests may come to. */
  listPools(): PoolInfo[] {
    return this.#registries.all.flatMap(({ pool, routes, discovered, scheme: protocol }) => {
      const pools = [pool, ...Array.from([...routes, ...discovered.routes], ({ pool }) => pool)];
      if (discovered.active) pools.push(discovered.unlisted);
      return pools.map(({ name, panics }): PoolInfo => ({ pool: name, protocol, panics }));
    });
  }

  /** All routes as they are now, in the order in which they were added; those that were discovered come last. */
  listRoutes(): RouteInfo[] {
    return this.#registries.all.flatMap((registry) =>
      [...registry.routes, ...registry.discovered.routes]
        .map((route) => describeRoute(registry, route))
    );
  }

  /**
   * A route as it is now.
   *
   * @throws {ManagementError} `not_found`
   */
  route(id: string): RouteInfo {
    const found = this.#registries.route(id);
    if (found !== undefined) return describeRoute(found.registry, found.route);
    throw new ManagementError("not_found", `no route has the id ${JSON.stringify(id)}`);
  }
}

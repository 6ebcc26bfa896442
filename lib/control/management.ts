/**
 * The use cases of management: what `POST /lb/add`, `lb.LoadBalancer` and their kin do, whichever of them
 * is asked. Every call is one synchronous step, so two callers never see half of each other's change.
 *
 * @module
 */

import type { LiveBackend } from "../backend/backend.ts";
import type { Pool } from "../backend/pool.ts";
import { type LiveRoute, MAX_WEIGHT, type Registry } from "../backend/registry.ts";
import { type Address, formatAddress, formatHostPort, parseAddress } from "../common/address.ts";
import { stableId } from "../common/stable_id.ts";
import { getLogger } from "../observe/logger.ts";
import { routeKey } from "../route/key.ts";
import type { Route, RouteMatch, RouteTarget } from "../route/route.ts";
import { formatRule } from "../route/rule_text.ts";
import { validateRoute } from "../route/validate.ts";
import { parseConditions } from "./conditions.ts";
import { checkField, ManagementError } from "./management_error.ts";
import type {
  AddL4Request,
  AddL7Request,
  AddResult,
  BackendInfo,
  Caller,
  RouteInfo,
  TargetInfo,
} from "./model.ts";

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
}

const log = getLogger("management");

/** Changes and lists the backends and routes of one balancer. */
export class Management {
  readonly #registry: Registry;
  readonly #defaultPort: number;
  /** At which layer the balancer works. */
  readonly layer: "l4" | "l7";

  /** Manages what is in `registry`. */
  constructor(registry: Registry, settings: ManagementSettings) {
    this.#registry = registry;
    this.#defaultPort = settings.defaultPort;
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
      ? this.#addToPool(this.#addressOf(caller, port), weight, caller)
      : this.#addToPool(checkAddress("addr", addr), weight, caller);
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
    const { backend_addr, weight, ...conditions } = request;
    checkWeight(weight);
    const addr = checkAddress("backend_addr", backend_addr);
    const match = parseConditions(conditions);
    return match === undefined
      ? this.#addToPool(addr, weight, caller)
      : this.#addToRoute(match, addr, weight, caller);
  }

  #addToPool(addr: string, weight: number | undefined, caller: Caller | undefined): AddResult {
    const { value, created } = this.#registry.addBackend({
      addr,
      ...(weight === undefined ? {} : { weight }),
    });
    this.#logAdded(value, this.#registry.pool, created, caller);
    return { id: value.id, addr: value.addr, created };
  }

  #addToRoute(
    match: RouteMatch,
    addr: string,
    weight: number | undefined,
    caller: Caller | undefined,
  ): AddResult {
    const make = (weight: number) =>
      checkField(undefined, () => validateRoute({ match, targets: [{ addr, weight }] }));
    const known = this.#registry.route(stableId("r", routeKey(make(1))));
    const target = this.#find(addr);
    // Backends that register again and again must not undo the weight that somebody has set.
    const current = target && known?.pool.get(target)?.weight;
    const wanted = weight ?? current ?? 1;
    // A rule must lead somewhere, so a weight of 0 cannot be part of it; the target can have it.
    const { value, created } = this.#registry.addRoute(make(wanted || 1), true);
    const backend = this.#backend(addr);
    if (wanted === 0) value.pool.set(backend, 0);
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
      weight: pool.get(backend)?.weight,
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
    this.#registry.removeBackend(backend);
    log.info("a backend was removed", {
      id: backend.id,
      addr: backend.addr,
      in_flight: info.in_flight,
      by: nameOf(caller),
    });
    return { ...info, state: backend.state };
  }

  /**
   * Removes a route; requests under way finish. Backends that nothing else names leave with it.
   *
   * @returns What it was at the end.
   * @throws {ManagementError} `not_found`
   */
  removeRoute(id: string, caller?: Caller): RouteInfo {
    const info = this.route(id);
    this.#registry.removeRoute(id);
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
    this.#registry.drain(backend);
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
    this.#registry.setWeight(backend, weight);
    log.info("the weight of a backend was set", {
      id: backend.id,
      addr: backend.addr,
      weight,
      by: nameOf(caller),
    });
    return this.#describeBackend(backend);
  }

  /**
   * Calls `listener` after every change, whoever makes it; it must not throw.
   *
   * @returns Ends it.
   */
  onChange(listener: () => void): () => void {
    return this.#registry.onChange(listener);
  }

  /** How many routes there are. */
  get routeCount(): number {
    return this.#registry.routeCount;
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
    const backend = this.#find(id);
    if (backend !== undefined) return backend;
    throw new ManagementError(
      "not_found",
      `no backend has the id or the address ${JSON.stringify(id)}`,
    );
  }

  #find(id: string): LiveBackend | undefined {
    const known = this.#registry.backend(id);
    if (known !== undefined) return known;
    let address: Address;
    try {
      address = parseAddress(id);
    } catch (error) {
      // An id that is not known is rarely an address too.
      if (error instanceof TypeError) return undefined;
      throw error;
    }
    for (const backend of this.#registry.backends) {
      if (isMeant(address, backend.address)) return backend;
    }
    return undefined;
  }

  /** All backends as they are now. */
  listBackends(): BackendInfo[] {
    return Array.from(this.#registry.backends, (backend) => this.#describeBackend(backend));
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
    const member = this.#registry.pool.get(backend);
    return {
      id: backend.id,
      addr: backend.addr,
      state: backend.state,
      weight: member?.weight ?? null,
      in_flight: backend.inFlight,
      pool: member !== undefined,
      routes: this.#registry.routesOf(backend),
      connections: { idle: backend.http.idle, active: backend.http.active },
    };
  }

  /** All routes as they are now, in the order in which they were added. */
  listRoutes(): RouteInfo[] {
    return Array.from(this.#registry.routes, describeRoute);
  }

  /**
   * A route as it is now.
   *
   * @throws {ManagementError} `not_found`
   */
  route(id: string): RouteInfo {
    const route = this.#registry.route(id);
    if (route !== undefined) return describeRoute(route);
    throw new ManagementError("not_found", `no route has the id ${JSON.stringify(id)}`);
  }
}

function describeRoute(live: LiveRoute): RouteInfo {
  const targets = Array.from(live.pool.members, ({ backend, weight }): TargetInfo => ({
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
  };
}

/**
 * Whether an address as somebody wrote it means this one. Without a scheme it is the one that the registry
 * gives to such addresses, which is never one with TLS.
 */
function isMeant(written: Address, address: Address): boolean {
  if (written.transport === "unix" || address.transport === "unix") {
    return formatAddress(written) === formatAddress(address);
  }
  return written.host === address.host && written.port === address.port &&
    (written.scheme === ""
      ? address.scheme !== "https" && address.scheme !== "grpcs"
      : written.scheme === address.scheme);
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

/** How the log calls whoever made a change. */
function nameOf(caller: Caller | undefined): string {
  return caller?.hostname ?? "this process";
}

/**
 * How a backend comes in at run time: to the default pool, or to the route that its conditions make.
 *
 * @module
 */

import type { Pool } from "../backend/pool.ts";
import type { Registry } from "../backend/registry.ts";
import { isDnsName } from "../common/dns_name.ts";
import { getLogger } from "../observe/logger.ts";
import type { RouteMatch } from "../route/route.ts";
import { validateRoute } from "../route/validate.ts";
import { checkField } from "./management_error.ts";
import { type AddL7Request, type AddResult, type Caller, nameOf } from "./model.ts";
import { findAddress, type Registries } from "./registries.ts";
import type { ChangeJournal } from "./run_time_changes.ts";
import { checkDiscovery } from "./value_checks.ts";

const log = getLogger("management");

/** A backend that is to be added. */
export interface Addition {
  /** The field of the call that has its address. */
  readonly field: string;
  /** The address, or the name of some, in its normal form. */
  readonly addr: string;
  /** What it is added with. */
  readonly settings: Pick<AddL7Request, "weight" | "discover_services">;
  /** Whoever adds it. */
  readonly caller: Caller | undefined;
}

/** A name that is to be added, and what is known of it already. */
interface Naming extends Omit<Addition, "field"> {
  /** Whether it is in no pool yet. */
  readonly isNew: boolean;
  /** Whether it is not in this one. */
  readonly created: boolean;
}

/** Adds backends to the registries of one balancer. */
export class Additions {
  readonly #registries: Registries;
  readonly #journal: ChangeJournal;

  /** Notes in a journal what it adds. */
  constructor(registries: Registries, journal: ChangeJournal) {
    this.#registries = registries;
    this.#journal = journal;
  }

  /**
   * Adds a backend to the default pool.
   *
   * @throws {ManagementError} `invalid_argument` or `failed_precondition`.
   */
  toPool({ field, addr, settings, caller }: Addition): AddResult {
    const { weight, discover_services } = settings;
    const registry = this.#place(field, addr);
    checkDiscovery(registry, discover_services);
    if (isDnsName(addr)) {
      return this.#enterName(registry, registry.pool, {
        addr,
        settings,
        caller,
        isNew: registry.names.find(addr) === undefined,
        created: !registry.pool.names.has(addr),
      });
    }
    const { value, created } = registry.addBackend({
      addr,
      ...(weight === undefined ? {} : { weight }),
      ...(discover_services === undefined ? {} : { discoverServices: discover_services }),
    });
    this.#journal.touchBackend(registry, value, created && value.pools.size === 1);
    const current = registry.pool.get(value)?.configured;
    logAdded(value, { pool: registry.pool, weight: current, created, caller });
    return { id: value.id, addr: value.addr, created };
  }

  /** @param pool A pool that may have it already. */
  #enterName(registry: Registry, pool: Pool, naming: Naming): AddResult {
    const { addr, settings: { weight, discover_services }, caller, isNew, created } = naming;
    const { value } = registry.names.add(addr, pool, {
      weight,
      discoverServices: discover_services,
    });
    this.#journal.touchName(registry, value, isNew);
    const { id } = value;
    logAdded({ id, addr }, { pool, weight: pool.names.get(addr), created, caller });
    return { id, addr, created };
  }

  /**
   * Adds a backend as a target of the route that its conditions make.
   *
   * @throws {ManagementError} `invalid_argument` or `failed_precondition`.
   */
  toRoute(match: RouteMatch, { field, addr, settings, caller }: Addition): AddResult {
    const { weight, discover_services } = settings;
    const registry = this.#place(field, addr, match);
    checkDiscovery(registry, discover_services);
    const make = (weight: number) =>
      checkField(undefined, () => validateRoute({ match, targets: [{ addr, weight }] }));
    const known = registry.route(registry.routeId(make(1)));
    if (isDnsName(addr)) {
      const current = known?.pool.names.get(addr);
      const isNew = registry.names.find(addr) === undefined;
      const wanted = weight ?? current ?? 1;
      const { value } = registry.addRoute(make(wanted || 1), true);
      this.#journal.touchRoute(registry, value, known === undefined);
      const added = this.#enterName(registry, value.pool, {
        addr,
        settings: { ...settings, weight: wanted },
        caller,
        isNew,
        created: current === undefined,
      });
      return { ...added, route_id: value.id };
    }
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
    const { configured } = value.pool.get(backend)!;
    logAdded(backend, { pool: value.pool, weight: configured, created, caller });
    return { id: backend.id, addr: backend.addr, created, route_id: value.id };
  }

  #place(field: string, addr: string, match: RouteMatch = {}): Registry {
    return checkField(
      field,
      () => this.#registries.place({ match, targets: [{ addr, weight: 1 }] }),
    );
  }
}

interface AddedTo {
  readonly pool: Pool;
  readonly weight: number | undefined;
  readonly created: boolean;
  readonly caller: Caller | undefined;
}

function logAdded(
  { id, addr }: { readonly id: string; readonly addr: string },
  { pool, weight, created, caller }: AddedTo,
): void {
  log.info(created ? "a backend was added" : "a backend was added again", {
    id,
    addr,
    pool: pool.name,
    weight,
    by: nameOf(caller),
  });
}

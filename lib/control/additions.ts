/**
 * How a backend comes in at run time: to the default pool, or to the route that its conditions make.
 *
 * @module
 */

import type { LiveBackend } from "../backend/backend.ts";
import type { Pool } from "../backend/pool.ts";
import type { Registry } from "../backend/registry.ts";
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
  /** The address in its normal form. */
  readonly addr: string;
  /** What it is added with. */
  readonly settings: Pick<AddL7Request, "weight" | "discover_services">;
  /** Whoever adds it. */
  readonly caller: Caller | undefined;
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
    const { value, created } = registry.addBackend({
      addr,
      ...(weight === undefined ? {} : { weight }),
      ...(discover_services === undefined ? {} : { discoverServices: discover_services }),
    });
    this.#journal.touchBackend(registry, value, created && value.pools.size === 1);
    logAdded(value, registry.pool, created, caller);
    return { id: value.id, addr: value.addr, created };
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
    logAdded(backend, value.pool, created, caller);
    return { id: backend.id, addr: backend.addr, created, route_id: value.id };
  }

  #place(field: string, addr: string, match: RouteMatch = {}): Registry {
    return checkField(
      field,
      () => this.#registries.place({ match, targets: [{ addr, weight: 1 }] }),
    );
  }
}

function logAdded(
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

/**
 * Backends and routes as management describes them.
 *
 * @module
 */

import type { LiveBackend } from "../backend/backend.ts";
import type { LiveRoute, Registry } from "../backend/registry.ts";
import type { Route, RouteTarget } from "../route/route.ts";
import { formatRule } from "../route/rule_text.ts";
import type { BackendInfo, RouteInfo, TargetInfo } from "./model.ts";

/** A backend of a registry as it is now. */
export function describeBackend(registry: Registry, backend: LiveBackend): BackendInfo {
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

/** A route as it is now. */
export function describeRoute(live: LiveRoute): RouteInfo {
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

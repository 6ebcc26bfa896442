/**
 * Backends and routes as management describes them.
 *
 * @module
 */

import type { LiveBackend } from "../backend/backend.ts";
import type { FollowedName } from "../backend/discovery/names.ts";
import type { LiveRoute, Registry } from "../backend/registry.ts";
import { formatRule } from "../route/rule_text.ts";
import type { BackendInfo, RouteInfo, TargetInfo } from "./model.ts";
import { currentRule } from "./rules.ts";

/** A backend of a registry as it is now. */
export function describeBackend(registry: Registry, backend: LiveBackend): BackendInfo {
  const member = registry.pool.get(backend);
  const services = registry.servicesOf(backend);
  const { health } = backend;
  const names = registry.names.withBackend(backend);
  return {
    id: backend.id,
    addr: backend.addr,
    ...(names.length === 0 ? {} : { names: names.map(({ text }) => text) }),
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
      ...(health.state.type === "ejected"
        ? { seconds_left: Math.max(Math.ceil((health.state.until - backend.now) / 1000), 0) }
        : {}),
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

/** A name as it is now; the numbers are the sums of those of its addresses. */
export function describeName(registry: Registry, name: FollowedName): BackendInfo {
  const backends = name.backends.map((backend) => describeBackend(registry, backend));
  const sum = (read: (info: BackendInfo) => number) =>
    backends.reduce((sum, info) => sum + read(info), 0);
  const weight = registry.pool.names.get(name.text);
  const { state, reason } = healthOf(backends);
  return {
    id: name.id,
    addr: name.text,
    addresses: backends.map(({ addr }) => addr),
    state: name.state,
    weight: weight ?? null,
    in_flight: sum(({ in_flight }) => in_flight),
    pool: weight !== undefined,
    routes: Array.from(name.pools, ({ name }) => name).filter((id) => id !== registry.pool.name),
    connections: {
      idle: sum(({ connections }) => connections.idle),
      active: sum(({ connections }) => connections.active),
    },
    health: {
      state,
      ...(reason === undefined ? {} : { reason }),
      ejections: sum(({ health }) => health.ejections),
    },
  };
}

/** As good as the best of them. */
function healthOf(backends: readonly BackendInfo[]): Omit<BackendInfo["health"], "ejections"> {
  const [first] = backends;
  if (first === undefined) return { state: "failing", reason: "no address is known yet" };
  return (backends.find(({ health }) => health.state === "healthy") ?? first).health;
}

/** A route of a registry as it is now. */
export function describeRoute(registry: Registry, live: LiveRoute): RouteInfo {
  const names = registry.names.of(live.pool);
  const targets = Array.from(live.pool.members, ({ backend, configured, followed }): TargetInfo => {
    const name = followed ? names.find((name) => name.has(backend)) : undefined;
    return {
      id: backend.id,
      addr: backend.addr,
      ...(name === undefined ? {} : { name: name.text }),
      weight: configured,
      state: backend.state,
    };
  });
  const route = currentRule(live);
  return {
    id: live.id,
    rule: formatRule(route),
    match: route.match,
    targets,
    registered: live.registered,
    origin: live.discovered ? "discovered" : live.registered ? "registered" : "written",
  };
}

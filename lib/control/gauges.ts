/**
 * Gauges: what the metrics say of backends and routes as they are now.
 *
 * @module
 */

import type { GaugeFamily } from "../observe/prometheus.ts";
import type { Management } from "./management.ts";
import type { BackendInfo } from "./model.ts";

/** See {@linkcode BackendInfo.health}. */
const HEALTH_STATES: readonly BackendInfo["health"]["state"][] = [
  "healthy",
  "failing",
  "ejected",
  "unreachable",
];

/** The gauges of one balancer. */
export function describeGauges(management: Management): GaugeFamily[] {
  const backends = management.listBackends();
  const states = Object.entries(countStates(backends));
  return [
    {
      name: "lb_backends",
      help: "Backends by state.",
      samples: states.map(([state, value]) => ({ labels: { state }, value })),
    },
    {
      name: "lb_backend_info",
      help: "Always 1; the labels tell the address of each backend.",
      samples: backends.map(({ id, addr }) => ({ labels: { backend: id, addr }, value: 1 })),
    },
    {
      name: "lb_backend_in_flight",
      help: "Requests, or connections at layer 4, that a backend serves now.",
      samples: backends.map(({ id, in_flight }) => ({
        labels: { backend: id },
        value: in_flight,
      })),
    },
    {
      name: "lb_backend_healthy",
      help:
        "1 when a backend is fit to be picked, 0 when its checks fail, it is ejected or unreachable.",
      samples: backends.map(({ id, health }) => ({
        labels: { backend: id },
        value: health.state === "healthy" ? 1 : 0,
      })),
    },
    {
      name: "lb_backend_health",
      help: "1 for the state that the health of a backend is in, 0 for the others.",
      samples: backends.flatMap(({ id, health }) =>
        HEALTH_STATES.map((state) => ({
          labels: { backend: id, state },
          value: health.state === state ? 1 : 0,
        }))
      ),
    },
    {
      name: "lb_backend_ejections_total",
      help: "How often a backend was ejected.",
      type: "counter",
      samples: backends.map(({ id, health }) => ({
        labels: { backend: id },
        value: health.ejections,
      })),
    },
    {
      name: "lb_pool_panic",
      help: "1 when so few backends of a pool are healthy that all are picked.",
      samples: management.listPools().map(({ pool, protocol, panics }) => ({
        labels: { pool, protocol },
        value: panics ? 1 : 0,
      })),
    },
    {
      name: "lb_backend_request_limit",
      help: "Requests, or connections at layer 4, that a backend may have now.",
      samples: management.requestLimits().map(({ id, limit }) => ({
        labels: { backend: id },
        value: limit,
      })),
    },
    {
      name: "lb_requests_waiting",
      help: "Requests that wait because all backends that may have them are at their limit.",
      samples: [{ value: management.waiting }],
    },
    { name: "lb_routes", help: "Routes.", samples: [{ value: management.routeCount }] },
    ...describeReflection(management, backends),
  ];
}

function describeReflection(
  { reflection }: Management,
  backends: readonly BackendInfo[],
): GaugeFamily[] {
  if (reflection === undefined) return [];
  return [
    {
      name: "lb_discovered_services",
      help: "Services that a backend was found to have.",
      samples: backends.flatMap(({ id, discovery }) =>
        discovery === undefined ? [] : { labels: { backend: id }, value: discovery.services }
      ),
    },
    {
      name: "lb_discovery_failures_total",
      help: "How often a backend could not be asked for its services.",
      type: "counter",
      samples: Array.from(
        reflection.failures(),
        ([backend, value]) => ({ labels: { backend }, value }),
      ),
    },
    {
      name: "lb_reflection_conflicts",
      help: "Files that backends define differently in their reflection.",
      samples: [{ value: reflection.conflicts().length }],
    },
  ];
}

/** How many backends are in the states that they can be listed in. */
export function countStates(backends: Iterable<BackendInfo>): { active: number; draining: number } {
  let active = 0;
  let draining = 0;
  for (const { state } of backends) {
    if (state === "active") active++;
    else if (state === "draining") draining++;
  }
  return { active, draining };
}

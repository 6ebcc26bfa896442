/**
 * What `/readyz` says: whether requests should be sent to a balancer.
 *
 * @module
 */
import type { BackendCounts } from "../backend/readiness.ts";
import type { Management } from "./management.ts";

/**
 * How far a balancer is.
 *
 * - `stopped`: it has no listener.
 * - `serving`: a listener accepts connections, and nobody wants it to end.
 * - `leaving`: all listeners are about to end.
 */
export type ServingPhase = "stopped" | "serving" | "leaving";

/** Whether requests should be sent to a balancer. */
export interface Readiness {
  /** The answer. */
  readonly status: "ready" | "not ready";
  /** Why not, for people; absent when it is ready. */
  readonly reason?: string;
  /** How many backends there are. */
  readonly backends: BackendCounts;
  /** How many routes there are. */
  readonly routes: number;
}

/** Why nothing should be sent to a balancer in that phase; `undefined` when there is no reason. */
export function describePhase(phase: ServingPhase): string | undefined {
  switch (phase) {
    case "stopped":
      return "no listener is open";
    case "leaving":
      return "the balancer is shutting down";
    case "serving":
      return undefined;
  }
}

/** Looks at listeners and backends together. */
export function assessReadiness(management: Management, phase: ServingPhase): Readiness {
  const { backendCounts: backends, routeCount: routes } = management;
  const reason = describePhase(phase) ?? describeLack(management, backends);
  return reason === undefined
    ? { status: "ready", backends, routes }
    : { status: "not ready", reason, backends, routes };
}

function describeLack(management: Management, backends: BackendCounts): string | undefined {
  if (management.canServe) return undefined;
  if (backends.active === 0) return "no backend is active";
  if (backends.healthy === 0) return "no backend is healthy";
  return "no healthy backend has a share of what is routed";
}

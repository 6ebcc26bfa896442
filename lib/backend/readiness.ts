/**
 * Whether requests can be sent to a backend that is well.
 *
 * The panic threshold has no part in it. Above it nothing is different; below it requests go to backends that are
 * known not to be well, because that is better than refusing them. Whoever asks whether a balancer is ready wants to
 * know whether another one would serve better, and is told the truth. Neither have limits a part in it: a balancer
 * that is at its limit and called itself unready would leave its load to the others, one after the other.
 *
 * @module
 */
import type { LiveBackend } from "./backend.ts";
import type { Member, Pool } from "./pool.ts";
import type { Registry } from "./registry.ts";

/** How many backends there are. */
export interface BackendCounts {
  /** Those that are neither draining nor removed. */
  readonly active: number;
  /** Those of the active ones that are fit to be picked. */
  readonly healthy: number;
  /** Those of the active ones whose checks fail. */
  readonly failing: number;
  /** Those of the active ones that are ejected. */
  readonly ejected: number;
  /** Those of the active ones that cannot be reached. */
  readonly unreachable: number;
  /** Those that finish what they have. */
  readonly draining: number;
}

const isUnfit = ({ backend }: Member) => !backend.health.usable;

/** The pools that requests can come to. */
function* reachable({ pool, spreads, routes, discovered }: Registry): Generator<Pool> {
  for (const route of routes) yield route.pool;
  if (spreads) yield pool;
  if (!discovered.active) return;
  for (const route of discovered.routes) yield route.pool;
  yield discovered.unlisted;
}

/**
 * Whether there is a healthy backend that some request would be sent to: it has a share of a route, or of the default
 * pool where requests can come there. Where there is no backend at all, a route that redirects is enough.
 */
export function canServe(registry: Registry): boolean {
  for (const pool of reachable(registry)) if (pool.serves(isUnfit)) return true;
  const [any] = registry.backends;
  if (any !== undefined) return false;
  for (const { route } of registry.routes) if (route.redirect !== undefined) return true;
  return false;
}

/** Counts backends. */
export function countBackends(backends: Iterable<LiveBackend>): BackendCounts {
  const counts = { active: 0, healthy: 0, failing: 0, ejected: 0, unreachable: 0, draining: 0 };
  for (const { state, health } of backends) {
    if (state === "removed") continue;
    counts[state]++;
    if (state === "active") counts[health.state.type]++;
  }
  return counts;
}

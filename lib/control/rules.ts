/**
 * Rules of routes as they are now.
 *
 * @module
 */
import type { LiveRoute } from "../backend/registry.ts";
import type { Route, RouteTarget } from "../route/route.ts";

/** The rule that makes a route as it is: the addresses and names that it was given, with the weights of now. */
export function currentRule({ route, pool }: LiveRoute): Route {
  const targets: RouteTarget[] = [];
  for (const { backend, configured: weight, followed } of pool.members) {
    if (!followed) targets.push({ addr: backend.addr, weight });
  }
  for (const [addr, weight] of pool.names) targets.push({ addr, weight });
  return { ...route, targets };
}

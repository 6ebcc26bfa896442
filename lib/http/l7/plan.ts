/**
 * The first phase of an exchange: what is to be done with a request. One synchronous step, so that
 * a request sees the configuration as it is at one moment.
 *
 * @module
 */
import type { Pool } from "../../backend/pool.ts";
import type { LiveRoute, Registry } from "../../backend/registry.ts";
import type { RouteHit } from "../../route/table.ts";
import { redirectLocation, rewritePath } from "../../route/rewrite.ts";
import { compileChanges, type CompiledChanges } from "../field_changes.ts";
import type { RequestView } from "../message.ts";

/** A request that goes to a backend. */
export interface ProxyPlan {
  readonly type: "proxy";
  /** Which backends may have it. */
  readonly pool: Pool;
  /** The route's id, or `-` for the default pool. */
  readonly route: string;
  /** Path and query, when they are not those of the request. */
  readonly target: string | undefined;
  /** Changes of the request's fields. */
  readonly requestChanges: CompiledChanges | undefined;
  /** Changes of the response's fields. */
  readonly responseChanges: CompiledChanges | undefined;
}

/** What is to be done. */
export type Plan =
  | ProxyPlan
  | {
    readonly type: "redirect";
    readonly route: string;
    readonly status: number;
    readonly location: string;
  }
  | { readonly type: "no_route" };

/** The route of requests that no route claims, in the log and the metrics. */
export const NO_ROUTE = "-";

const REFUSED: Plan = { type: "no_route" };

/** What planning sees of a request. */
export interface PlanView extends RequestView {
  /** Host and port as the client named them. */
  readonly authority: string;
}

/** The part of a route's plan that is the same for every request. */
interface Prepared {
  readonly plan: ProxyPlan;
  readonly rewrites: boolean;
}

/** Plans exchanges against one registry. */
export class Planner {
  readonly #registry: Registry;
  readonly #spread: ProxyPlan;
  readonly #prepared = new WeakMap<LiveRoute, Prepared>();

  /** Plans against `registry`. */
  constructor(registry: Registry) {
    this.#registry = registry;
    this.#spread = {
      type: "proxy",
      pool: registry.pool,
      route: NO_ROUTE,
      target: undefined,
      requestChanges: undefined,
      responseChanges: undefined,
    };
  }

  /**
   * What is to be done with a request.
   *
   * @param scheme How the request reached us, for the location of a redirect.
   */
  plan(view: PlanView, scheme: "http" | "https"): Plan {
    const registry = this.#registry;
    const hit = registry.routeCount === 0 ? undefined : registry.match(view);
    if (hit === undefined) return registry.spreads ? this.#spread : REFUSED;
    const live = hit.value;
    const { redirect } = live.route;
    if (redirect !== undefined) {
      const location = redirectLocation(redirect, {
        scheme,
        host: view.authority,
        path: view.path,
        query: view.query,
      });
      return { type: "redirect", route: live.id, status: redirect.status, location };
    }
    const { plan, rewrites } = this.#prepare(live);
    return rewrites ? { ...plan, target: rewriteTarget(hit, view) } : plan;
  }

  #prepare(live: LiveRoute): Prepared {
    let prepared = this.#prepared.get(live);
    if (prepared === undefined) {
      prepared = {
        plan: {
          type: "proxy",
          pool: live.pool,
          route: live.id,
          target: undefined,
          requestChanges: compileChanges(live.route.requestHeaders),
          responseChanges: compileChanges(live.route.responseHeaders),
        },
        rewrites: live.route.rewrite !== undefined,
      };
      this.#prepared.set(live, prepared);
    }
    return prepared;
  }
}

function rewriteTarget(hit: RouteHit<LiveRoute>, view: RequestView): string {
  const path = rewritePath(hit.route, view.path, hit.matchedPrefix);
  return view.query === "" ? path : `${path}?${view.query}`;
}

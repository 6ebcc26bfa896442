/**
 * The first phase of an exchange: what is to be done with a request. One synchronous step, so that
 * a request sees the configuration as it is at one moment.
 *
 * @module
 */
import { Pool } from "../../backend/pool.ts";
import { adaptRules, type RetryRules } from "../../backend/recovery.ts";
import type { LiveRoute, Registry } from "../../backend/registry.ts";
import type { RouteMatch } from "../../route/route.ts";
import type { RouteHit } from "../../route/table.ts";
import { redirectLocation, rewritePath } from "../../route/rewrite.ts";
import { compileChanges, type CompiledChanges } from "../field_changes.ts";
import type { RequestView } from "../message.ts";
import { normalizePath } from "../path.ts";
import { rateOfRoute, type RequestRate } from "./rate_limit.ts";

/** A request that goes to a backend. */
export interface ProxyPlan {
  readonly type: "proxy";
  /** Which backends may have it. */
  readonly pool: Pool;
  /** The route's id, or `-` for the default pool. */
  readonly route: string;
  /** The conditions of the route, if it is one. */
  readonly match?: RouteMatch;
  /** Path and query, when they are not those of the request. */
  readonly target: string | undefined;
  /** Changes of the request's fields. */
  readonly requestChanges: CompiledChanges | undefined;
  /** Changes of the response's fields. */
  readonly responseChanges: CompiledChanges | undefined;
  /** How it is sent again. */
  readonly retries: RetryRules;
  /** How many such requests are taken, if that is limited. */
  readonly rate: RequestRate | undefined;
}

/** What is to be done, and whether it is done for so many requests only. */
export type Plan =
  | ProxyPlan
  | {
    readonly type: "redirect";
    readonly route: string;
    readonly status: number;
    readonly location: string;
    readonly rate: RequestRate | undefined;
  }
  | { readonly type: "no_route"; readonly rate: RequestRate | undefined }
  /** The path has dot segments, so no route can be trusted to mean what the backend will serve. */
  | { readonly type: "bad_path"; readonly rate: RequestRate | undefined };

/** The route of requests that no route claims, in the log and the metrics. */
export const NO_ROUTE = "-";

/** How many requests are taken. */
export interface Rates {
  /** Of those whose route does not say. */
  readonly rate: RequestRate | undefined;
  /** Whether a peer is a proxy that says who the client is. */
  readonly isTrusted: (address: string) => boolean;
}

const NO_RATES: Rates = { rate: undefined, isTrusted: () => false };

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
  readonly #retries: RetryRules;
  readonly #rates: Rates;
  readonly #spread: ProxyPlan;
  readonly #refused: Plan;
  readonly #badPath: Plan;
  readonly #prepared = new WeakMap<LiveRoute, Prepared>();
  /** To the backends whose services are not known; there is one such pool in a registry. */
  #unlisted: ProxyPlan | undefined;

  /**
   * Plans against `registry`.
   *
   * @param retries How requests are sent again whose route does not say.
   * @param rates How many requests are taken; any number unless given, or their route says.
   */
  constructor(registry: Registry, retries: RetryRules, rates: Rates = NO_RATES) {
    const { rate } = rates;
    this.#registry = registry;
    this.#retries = retries;
    this.#rates = rates;
    this.#refused = { type: "no_route", rate };
    this.#badPath = { type: "bad_path", rate };
    this.#spread = {
      type: "proxy",
      pool: registry.pool,
      route: NO_ROUTE,
      target: undefined,
      requestChanges: undefined,
      responseChanges: undefined,
      retries,
      rate,
    };
  }

  /**
   * What is to be done with a request.
   *
   * @param scheme How the request reached us, for the location of a redirect.
   */
  plan(view: PlanView, scheme: "http" | "https"): Plan {
    const registry = this.#registry;
    if (registry.routeCount === 0 && !registry.discovered.active) return this.#spread;
    const path = normalizePath(view.path);
    if (path === undefined) return this.#badPath;
    if (path !== view.path) view = new NormalizedView(view, path);
    const hit = registry.match(view);
    if (hit === undefined) return this.#planUnclaimed(view);
    const live = hit.value;
    const { redirect } = live.route;
    if (redirect !== undefined) {
      const location = redirectLocation(redirect, {
        scheme,
        host: view.authority,
        path: view.path,
        query: view.query,
      });
      const { rate } = this.#prepare(live).plan;
      return { type: "redirect", route: live.id, status: redirect.status, location, rate };
    }
    const { plan, rewrites } = this.#prepare(live);
    return rewrites ? { ...plan, target: rewriteTarget(hit, view) } : plan;
  }

  #planUnclaimed(view: PlanView): Plan {
    const registry = this.#registry;
    const found = registry.unclaimed(view);
    if (found === undefined) return this.#refused;
    if (!(found instanceof Pool)) return this.#prepare(found).plan;
    if (found === registry.pool) return this.#spread;
    return this.#unlisted ??= { ...this.#spread, pool: found };
  }

  #prepare(live: LiveRoute): Prepared {
    let prepared = this.#prepared.get(live);
    if (prepared === undefined) {
      prepared = {
        plan: {
          type: "proxy",
          pool: live.pool,
          route: live.id,
          match: live.route.match,
          target: undefined,
          requestChanges: compileChanges(live.route.requestHeaders),
          responseChanges: compileChanges(live.route.responseHeaders),
          retries: adaptRules(this.#retries, live.route.retry, live.route.hedge),
          rate: rateOfRoute(live, this.#rates.isTrusted) ?? this.#rates.rate,
        },
        rewrites: live.route.rewrite !== undefined,
      };
      this.#prepared.set(live, prepared);
    }
    return prepared;
  }
}

/** A request as routes see it when its path is spelt in an odd way; what is forwarded stays as it is. */
class NormalizedView implements PlanView {
  readonly #view: PlanView;
  readonly path: string;

  constructor(view: PlanView, path: string) {
    this.#view = view;
    this.path = path;
  }

  get method(): string {
    return this.#view.method;
  }

  get query(): string {
    return this.#view.query;
  }

  get host(): string {
    return this.#view.host;
  }

  get authority(): string {
    return this.#view.authority;
  }

  get grpc(): boolean {
    return this.#view.grpc;
  }

  header(name: string): string | undefined {
    return this.#view.header(name);
  }
}

function rewriteTarget(hit: RouteHit<LiveRoute>, view: RequestView): string {
  const path = rewritePath(hit.route, view.path, hit.matchedPrefix);
  return view.query === "" ? path : `${path}?${view.query}`;
}

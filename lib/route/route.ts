/**
 * A route as plain data: conditions, targets and what is changed on the way. It can be cloned,
 * stored and sent as JSON; {@linkcode RouteBuilder} makes one, the route table compiles it.
 *
 * @module
 */

import type { RateLimitRule } from "./rate_limit.ts";
import type { HedgeRule, RetryRule } from "./retry.ts";

/** A condition on the path of the target. Patterns are matched on the raw bytes that are forwarded. */
export type PathMatch =
  /**
   * A prefix on segment borders or a pattern. `/api` matches `/api` and `/api/x`, not `/apix`. A
   * segment `:name` stands for any one segment that is not empty: `/users/:id` matches `/users/7`, not
   * `/users/7/posts`. `/*` at the end opens a pattern for the rest, which may be empty: `/users/:id/*`
   * matches both. A slash at the end, here or in the request, makes no difference.
   */
  | { readonly type: "prefix"; readonly value: string }
  /** The whole path; `:name` and `*` are literal here. */
  | { readonly type: "exact"; readonly value: string }
  /** A regular expression that must match the whole path: ECMAScript, `v` flag, or `u` if only that accepts it. */
  | { readonly type: "regex"; readonly value: string };

/** A condition on a header field, a query parameter or a gRPC metadata key. */
export type ValueMatch =
  | { readonly name: string; readonly type: "exact"; readonly value: string }
  /** The name is there, whatever its value. */
  | { readonly name: string; readonly type: "present" }
  /** A regular expression that must match the whole value: ECMAScript, `v` flag, or `u` if only that accepts it. */
  | { readonly name: string; readonly type: "regex"; readonly value: string };

/**
 * The conditions of a route. Conditions of different kinds are ANDed, values within a kind ORed; each
 * header, parameter or metadata name is a kind of its own, so two names must both match, while two
 * values for one name are alternatives. No condition at all matches every request.
 */
export interface RouteMatch {
  /** Host names without port: exact, or `*.example.com` for one or more labels in front. */
  readonly hosts?: readonly string[];
  /** Conditions on the path. */
  readonly paths?: readonly PathMatch[];
  /** HTTP methods, case-sensitive. */
  readonly httpMethods?: readonly string[];
  /** Conditions on header fields; names without case. */
  readonly headers?: readonly ValueMatch[];
  /** Conditions on the decoded query parameters; names and values are case-sensitive. */
  readonly params?: readonly ValueMatch[];
  /** gRPC services with their package, e.g. `myapp.UserService`. */
  readonly services?: readonly string[];
  /** gRPC methods without service, e.g. `Login`. */
  readonly methods?: readonly string[];
  /** gRPC methods with their service, e.g. `/myapp.UserService/Login`. */
  readonly fullMethods?: readonly string[];
  /** Conditions on gRPC metadata; keys without case. With any of these four, only gRPC requests match. */
  readonly grpcHeaders?: readonly ValueMatch[];
}

/** Where matching requests go. */
export interface RouteTarget {
  /** The address of a backend, normalised, or a name such as `dns:app.internal:8080`, all whose addresses are meant. */
  readonly addr: string;
  /** Its share, or that of each address of a name, among the targets of the route, an integer from 0 to 65535; 0 takes it out. */
  readonly weight: number;
}

/** Field changes, applied in this order: remove, set, add. Names without case. */
export interface FieldChanges {
  /** Names to remove. */
  readonly remove?: readonly string[];
  /** Fields that replace all of the same name. */
  readonly set?: readonly (readonly [name: string, value: string])[];
  /** Fields that are added beside those of the same name. */
  readonly add?: readonly (readonly [name: string, value: string])[];
}

/** How the path of the target is changed before it is forwarded; the query stays. */
export type PathRewrite =
  /** The matched prefix is replaced; `""` strips it. All path conditions must then be literal prefixes. */
  | { readonly type: "prefix"; readonly value: string }
  /** The whole path is replaced. */
  | { readonly type: "full"; readonly value: string };

/** An answer that sends the client elsewhere instead of to a backend. */
export interface Redirect {
  /** 301, 302, 303, 307 or 308. */
  readonly status: 301 | 302 | 303 | 307 | 308;
  /** Scheme of the location; as the request came unless given. */
  readonly scheme?: "http" | "https";
  /** Host, with port if not the default one, of the location; as in the request unless given. */
  readonly host?: string;
  /** Path of the location; as in the request unless given. The query is kept. */
  readonly path?: string;
}

/** A rule that sends matching requests to a target. */
export interface Route {
  /** The conditions. */
  readonly match: RouteMatch;
  /** Where to; empty only with a redirect. */
  readonly targets: readonly RouteTarget[];
  /** Change of the path. */
  readonly rewrite?: PathRewrite;
  /** Changes of the request's fields. */
  readonly requestHeaders?: FieldChanges;
  /** Changes of the response's fields. */
  readonly responseHeaders?: FieldChanges;
  /** Answered instead of proxied. */
  readonly redirect?: Redirect;
  /** How requests are sent again, where it differs from what the balancer does. */
  readonly retry?: RetryRule;
  /** Requests get a second try on another backend when the first one takes long. */
  readonly hedge?: HedgeRule;
  /** How many requests may come, where it differs from what the balancer takes. */
  readonly rateLimit?: RateLimitRule;
}

/**
 * The path that a backend gets, and the location that a client is sent to.
 *
 * @module
 */

import type { Redirect, Route } from "./route.ts";

/** The parts of the request that a location is made of. */
export interface RedirectRequest {
  /** How the request came. */
  readonly scheme: "http" | "https";
  /** Host as the client named it, with its port if it gave one; empty if it named none. */
  readonly host: string;
  /** The raw path. */
  readonly path: string;
  /** The raw query without its `?`. */
  readonly query: string;
}

/**
 * The path to forward. Where the route rewrites, the result begins with exactly one slash, so that
 * no backend takes a path such as `//evil.example/` for a host (RFC 3986, section 4.2).
 *
 * @param route The route that matched; without a rewrite the path stays as it came.
 * @param path The raw path of the request. What is no path, such as `*`, has no prefix and stays.
 * @param matchedPrefix The literal prefix that matched, as the route table reports it.
 */
export function rewritePath(
  route: Route,
  path: string,
  matchedPrefix: string | undefined,
): string {
  const { rewrite } = route;
  if (rewrite === undefined) return path;
  if (rewrite.type === "full") return rewrite.value;
  if (matchedPrefix === undefined || !path.startsWith("/")) return path;
  const rest = matchedPrefix === "/" ? path : path.slice(matchedPrefix.length);
  return rootedPath(rewrite.value + rest);
}

/**
 * The value of Location. The query of the request is kept. If neither the redirect nor the request
 * names a host, the location is a path alone.
 *
 * If the scheme changes and no host is given, the port of the request is left out, for the other
 * scheme is not served there.
 */
export function redirectLocation(redirect: Redirect, request: RedirectRequest): string {
  const scheme = redirect.scheme ?? request.scheme;
  const host = redirect.host ??
    (scheme === request.scheme ? request.host : request.host.replace(/:\d*$/, ""));
  const path = rootedPath(redirect.path ?? request.path);
  const query = request.query === "" ? "" : `?${request.query}`;
  return host === "" ? path + query : `${scheme}://${host}${path}${query}`;
}

/** The path with one slash in front; browsers read a backslash there as a slash. */
function rootedPath(path: string): string {
  return `/${path.replace(/^[/\\]+/, "")}`;
}

/**
 * The route table: which route a request takes.
 *
 * Of the routes that match, the one with the most specific conditions wins, whatever the order in
 * which they were added. As in the Kubernetes Gateway API, these are compared in turn:
 *
 * 1. the host: an exact name, then the longest wildcard, then none;
 * 2. the path: exact, then by the length of the literal beginning, so that the longest prefix wins.
 *    The literal beginning of a pattern or an expression ends at its first named segment or
 *    operator; an expression comes after the other forms of the same length, and `/` and routes
 *    without a path come last. Patterns that begin alike are compared segment by segment: a literal
 *    one, then a named one, then the end, then an open end;
 * 3. gRPC conditions, then a condition on the HTTP method;
 * 4. the number of header and metadata names asked for, then that of parameter names;
 * 5. the age: the oldest wins.
 *
 * gRPC conditions count as paths: a full method, or a service and a method, is an exact path, a service
 * a prefix, a method alone the pattern `/:service/Method`. With conditions on the path beside them,
 * what both say of each segment counts; an expression then only narrows the gRPC condition.
 *
 * @module
 */

import type { RequestView } from "../http/message.ts";
import type { Found, Placement } from "./bucket.ts";
import { compileChecks, type CompiledPath, compilePaths } from "./compile.ts";
import { Lookup } from "./lookup.ts";
import { PathIndex } from "./path_index.ts";
import type { Route } from "./route.ts";

/** A route in the table. */
export interface RouteEntry<T> {
  /** The id under which the route was added. */
  readonly id: string;
  /** The route. */
  readonly route: Route;
  /** What was added with it. */
  readonly value: T;
}

/** The route that a request takes. The object is the one that the table holds, not a copy. */
export interface RouteHit<T> extends RouteEntry<T> {
  /** Which of the route's literal prefixes matched, without a slash at the end except for `/`. */
  readonly matchedPrefix: string | undefined;
}

/** A route and where it stands in the indexes. */
interface Stored<T> {
  readonly entry: RouteEntry<T>;
  readonly hosts: readonly (string | undefined)[];
  readonly paths: readonly CompiledPath[];
  readonly placements: readonly Placement[];
}

/**
 * Routes, indexed so that a lookup does not get slower with the number of those that cannot match: by
 * host, by path and by the values of headers, parameters and methods.
 *
 * @typeParam T What each route leads to, e.g. a pool of backends.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { RouteBuilder } from "./builder.ts";
 * import { RouteTable } from "./table.ts";
 *
 * const table = new RouteTable<string>();
 * table.add("1", new RouteBuilder().path("/api").target("http://localhost:8081").build(), "api");
 * const request = {
 *   method: "GET",
 *   path: "/api/users",
 *   query: "",
 *   host: "localhost",
 *   grpc: false,
 *   header: () => undefined,
 * };
 * assertEquals(table.match(request)?.value, "api");
 * ```
 */
export class RouteTable<T> {
  readonly #stored = new Map<string, Stored<T>>();
  readonly #hosts = new Map<string, PathIndex<RouteHit<T>>>();
  /** By what follows the `*` of a wildcard, e.g. `.example.com`. */
  readonly #wildcards = new Map<string, PathIndex<RouteHit<T>>>();
  readonly #anyHost = new PathIndex<RouteHit<T>>();
  readonly #lookup = new Lookup();
  #age = 0;

  /** Number of routes. */
  get size(): number {
    return this.#stored.size;
  }

  /**
   * Adds a route; requests see it at once.
   *
   * @param id Names the route in the table.
   * @param route The route as `validateRoute` returns it; others may match less than they say.
   * @param value What the route leads to.
   * @throws {TypeError} if the id is taken, or a condition is malformed. The table is then unchanged.
   */
  add(id: string, route: Route, value: T): void {
    if (this.#stored.has(id)) {
      throw new TypeError(`route id ${JSON.stringify(id)} is taken; remove that route first`);
    }
    const { checks, rank } = compileChecks(route.match);
    const paths = compilePaths(route.match);
    const hosts = route.match.hosts ?? [undefined];
    const age = this.#age++;
    const placements: Placement[] = [];
    for (const { condition, regex, prefix: matchedPrefix } of paths) {
      const entry: RouteHit<T> = { id, route, value, matchedPrefix };
      const all = regex === undefined ? checks : [...checks, { kind: "path" as const, regex }];
      for (const host of hosts) {
        this.#open(host).open(condition).add({ entry, rank, age }, all, placements);
      }
    }
    this.#stored.set(id, { entry: { id, route, value }, hosts, paths, placements });
  }

  /** Removes a route; `false` if there is none with this id. */
  remove(id: string): boolean {
    const stored = this.#stored.get(id);
    if (stored === undefined) return false;
    this.#stored.delete(id);
    for (const placement of stored.placements) placement.remove();
    for (const host of stored.hosts) this.#prune(host, stored.paths);
    return true;
  }

  /** The route with this id. */
  get(id: string): RouteEntry<T> | undefined {
    return this.#stored.get(id)?.entry;
  }

  /** The route that a request takes; `undefined` if none matches. Nothing of the request is kept. */
  match(view: RequestView): RouteHit<T> | undefined {
    if (this.#stored.size === 0) return undefined;
    const lookup = this.#lookup;
    lookup.begin(view);
    const named = this.#hosts.size > 0 || this.#wildcards.size > 0;
    const found = (named ? this.#matchHost(view.host, lookup) : undefined) ??
      this.#anyHost.match(lookup);
    lookup.end();
    return found?.entry;
  }

  #matchHost(host: string, lookup: Lookup): Found<RouteHit<T>> | undefined {
    // A dot at the end names the root and with it the same host (RFC 1034, section 3.1).
    if (host.endsWith(".")) host = host.slice(0, -1);
    const found = this.#hosts.size > 0 ? this.#hosts.get(host)?.match(lookup) : undefined;
    if (found !== undefined || this.#wildcards.size === 0) return found;
    for (let dot = host.indexOf(".", 1); dot > 0; dot = host.indexOf(".", dot + 1)) {
      const found = this.#wildcards.get(host.slice(dot))?.match(lookup);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #open(host: string | undefined): PathIndex<RouteHit<T>> {
    if (host === undefined) return this.#anyHost;
    const [hosts, key] = this.#place(host);
    let index = hosts.get(key);
    if (index === undefined) hosts.set(key, index = new PathIndex());
    return index;
  }

  #prune(host: string | undefined, paths: readonly CompiledPath[]): void {
    const index = this.#open(host);
    for (const path of paths) index.prune(path);
    if (host === undefined || !index.empty) return;
    const [hosts, key] = this.#place(host);
    hosts.delete(key);
  }

  /** The map and the key under which the routes of a host stand. */
  #place(host: string): [hosts: Map<string, PathIndex<RouteHit<T>>>, key: string] {
    return host.startsWith("*.") ? [this.#wildcards, host.slice(1)] : [this.#hosts, host];
  }
}

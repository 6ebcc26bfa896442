/**
 * What the route table must find, said as plainly as possible: every route is tried against the request,
 * and those that match are ranked by the written rules. It shares no code with the table.
 *
 * @module
 */

import type { RequestView } from "../../lib/http/message.ts";
import type { PathMatch, Route, RouteMatch, ValueMatch } from "../../lib/route/route.ts";

/** What the reference finds. */
export interface ReferenceHit {
  readonly id: string;
  readonly matchedPrefix: string | undefined;
}

/** How well a route fits one request: compared number by number, the higher comes first. */
type Rank = readonly number[];

interface Fit {
  readonly rank: Rank;
  readonly prefix: string | undefined;
}

/** How a condition speaks of each segment of one request path. */
interface PathFit {
  readonly exact: boolean;
  /** For each segment: 2 if it is given, 1 if any will do, 0 if it lies behind the condition. */
  readonly kinds: readonly number[];
  readonly whole: boolean;
  /** Length of the literal beginning, if the condition is an expression. */
  readonly regexLength?: number;
  readonly prefix?: string;
}

/** Routes in the order in which they were added. */
export class ReferenceMatcher {
  readonly #routes: { id: string; route: Route; age: number }[] = [];
  readonly #literals: ReadonlyMap<string, string>;
  #age = 0;

  /** `literals` says for each expression with what everything that it matches begins. */
  constructor(literals: ReadonlyMap<string, string>) {
    this.#literals = literals;
  }

  add(id: string, route: Route): void {
    this.#routes.push({ id, route, age: this.#age++ });
  }

  remove(id: string): void {
    this.#routes.splice(this.#routes.findIndex((other) => other.id === id), 1);
  }

  match(view: RequestView): ReferenceHit | undefined {
    const hits = this.#routes.flatMap(({ id, route, age }) => {
      const fits = this.#fits(route.match, view);
      return fits.map(({ rank, prefix }) => ({ id, prefix, rank: [...rank, -age] }));
    });
    hits.sort((a, b) =>
      compareRanks(b.rank, a.rank) || (b.prefix?.length ?? 0) - (a.prefix?.length ?? 0)
    );
    const best = hits[0];
    return best && { id: best.id, matchedPrefix: best.prefix };
  }

  #fits(match: RouteMatch, view: RequestView): Fit[] {
    const metadata = groupsOf(match.grpcHeaders);
    const headers = groupsOf(match.headers);
    const params = groupsOf(match.params);
    const grpc = metadata.length > 0 || match.services !== undefined ||
      match.methods !== undefined || match.fullMethods !== undefined;
    if (grpc && !view.grpc) return [];
    if (match.httpMethods !== undefined && !match.httpMethods.includes(view.method)) return [];
    const query = new URLSearchParams(view.query);
    for (const group of [...headers, ...metadata]) {
      const value = view.header(group[0]!.name);
      if (value === undefined || !group.some((one) => meetsValue(one, value))) return [];
    }
    for (const group of params) {
      const values = query.getAll(group[0]!.name);
      if (!values.some((value) => group.some((one) => meetsValue(one, value)))) return [];
    }
    const rest = [
      grpc ? 1 : 0,
      match.httpMethods === undefined ? 0 : 1,
      headers.length + metadata.length,
      params.length,
    ];
    return hostRanks(match, view).flatMap((hostRank) =>
      this.#pathFits(match, view).map((path) => ({
        rank: [...hostRank, ...pathRank(path, view.path), ...rest],
        prefix: path.prefix,
      }))
    );
  }

  #pathFits(match: RouteMatch, view: RequestView): PathFit[] {
    const methods = methodFits(match, view.path);
    const paths = match.paths?.flatMap((path) => this.#pathFit(path, view.path) ?? []);
    const any: PathFit = { exact: false, whole: false, kinds: segmentsOf(view.path).map(() => 0) };
    if (paths === undefined) return methods ?? [any];
    if (methods === undefined) return paths;
    return paths.flatMap((path) =>
      methods.map((method): PathFit => ({
        exact: path.exact || method.exact,
        whole: path.whole || method.whole,
        kinds: method.kinds.map((kind, i) => Math.max(kind, path.kinds[i] ?? 0)),
        ...(path.prefix !== undefined && { prefix: path.prefix }),
      }))
    );
  }

  #pathFit(condition: PathMatch, path: string): PathFit | undefined {
    const segments = segmentsOf(path);
    const unknown = segments.map(() => 0);
    if (condition.type === "exact") {
      return condition.value === path ? { exact: true, whole: true, kinds: unknown } : undefined;
    }
    if (condition.type === "regex") {
      if (!new RegExp(`^(?:${condition.value})$`, "u").test(path)) return undefined;
      const literal = this.#literals.get(condition.value);
      if (literal === undefined) throw new TypeError(`no literal given for ${condition.value}`);
      return {
        exact: false,
        whole: false,
        kinds: unknown,
        regexLength: Math.max(literal.length, 1),
      };
    }
    const wanted = condition.value === "/" ? [] : condition.value.slice(1).split("/");
    const star = wanted.at(-1) === "*";
    if (star) wanted.pop();
    const named = wanted.some((segment) => segment.startsWith(":"));
    const whole = named && !star;
    if (wanted.length > 0 && !path.startsWith("/")) return undefined;
    if (whole ? segments.length !== wanted.length : segments.length < wanted.length) {
      return undefined;
    }
    const kinds = segments.map((segment, i) => {
      const want = wanted[i];
      if (want === undefined) return 0;
      if (want.startsWith(":")) return segment === "" ? -1 : 1;
      return want === segment ? 2 : -1;
    });
    if (kinds.includes(-1)) return undefined;
    return { exact: false, whole, kinds, ...(!named && { prefix: `/${wanted.join("/")}` }) };
  }
}

/** How the gRPC conditions fit a path; `undefined` if there are none on the path. */
function methodFits(match: RouteMatch, path: string): PathFit[] | undefined {
  const { services, methods, fullMethods } = match;
  if (services === undefined && methods === undefined && fullMethods === undefined) {
    return undefined;
  }
  const segments = segmentsOf(path);
  const [service = "", method = ""] = path.startsWith("/") ? segments : [];
  const kinds = segments.map(() => 0);
  if (services !== undefined && !services.includes(service)) return [];
  if (methods !== undefined && !methods.includes(method)) return [];
  if (fullMethods !== undefined && !fullMethods.includes(path)) return [];
  if (methods !== undefined && segments.length !== 2) return [];
  if (fullMethods !== undefined) return [{ exact: true, whole: true, kinds }];
  if (services !== undefined && methods !== undefined) {
    return path === `/${service}/${method}` ? [{ exact: true, whole: true, kinds }] : [];
  }
  if (services !== undefined) {
    return [{ exact: false, whole: false, kinds: kinds.with(0, 2) }];
  }
  return service === "" ? [] : [{ exact: false, whole: true, kinds: [1, 2] }];
}

/** The segments of a path; an empty one at the end counts for nothing. */
function segmentsOf(path: string): string[] {
  const segments = path.replace(/^\//, "").split("/");
  if (segments.at(-1) === "") segments.pop();
  return segments;
}

function hostRanks(match: RouteMatch, view: RequestView): Rank[] {
  if (match.hosts === undefined) return [[0, 0]];
  const host = view.host.replace(/\.$/, "");
  return match.hosts.flatMap((wanted) => {
    if (wanted === host) return [[2, 0]];
    const suffix = wanted.slice(1);
    const below = wanted.startsWith("*.") && host.endsWith(suffix) && host.length > suffix.length;
    return below ? [[1, wanted.length]] : [];
  });
}

function pathRank(fit: PathFit, path: string): Rank {
  // So many numbers that paths of all tests have room.
  const kinds = Array.from({ length: 8 }, (_, i) => fit.kinds[i] ?? 0);
  if (fit.exact) return [1, 0, 0, ...kinds.map(() => 0), 0];
  if (fit.regexLength !== undefined) return [0, fit.regexLength, 0, ...kinds.map(() => 0), 0];
  const segments = segmentsOf(path);
  let length = 0;
  let i = 0;
  for (; fit.kinds[i] === 2; i++) length += 1 + segments[i]!.length;
  if (fit.kinds[i] === 1) length++;
  return [0, length, 1, ...kinds, fit.whole ? 1 : 0];
}

function groupsOf(matches: readonly ValueMatch[] | undefined): ValueMatch[][] {
  const names = new Set(matches?.map((match) => match.name));
  return [...names].map((name) => matches!.filter((match) => match.name === name));
}

function meetsValue(match: ValueMatch, value: string): boolean {
  switch (match.type) {
    case "present":
      return true;
    case "exact":
      return match.value === value;
    case "regex":
      return new RegExp(`^(?:${match.value})$`, "u").test(value);
  }
}

function compareRanks(a: Rank, b: Rank): number {
  const i = a.findIndex((number, i) => number !== b[i]);
  return i < 0 ? 0 : a[i]! - b[i]!;
}

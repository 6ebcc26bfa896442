/**
 * From the conditions of a route to what the route table is made of: paths to index by, checks that
 * remain, and a rank.
 *
 * gRPC conditions become paths: a full method is an exact path, a service is the prefix `/service`, a
 * method alone is the pattern `/:service/Method`. Where a route has conditions on the path as well,
 * each pair becomes the path that meets both.
 *
 * @module
 */

import { compileRegex, literalBeginning, parsePathPattern } from "./pattern.ts";
import type { RouteMatch, ValueMatch } from "./route.ts";

/** One path to index by. */
export type PathCondition =
  /** The whole path. */
  | { readonly type: "exact"; readonly value: string }
  /** Segments, `undefined` for any one that is not empty; when open, more may follow. */
  | {
    readonly type: "pattern";
    readonly segments: readonly (string | undefined)[];
    readonly open: boolean;
  }
  /** An expression, and the text with which all that it matches begins. */
  | {
    readonly type: "regex";
    readonly source: string;
    readonly regex: RegExp;
    readonly literal: string;
  };

/** One of the paths of a route. */
export interface CompiledPath {
  /** Where it stands in the index. */
  readonly condition: PathCondition;
  /** What the path must match besides. */
  readonly regex?: RegExp;
  /** The literal prefix condition it comes from, without a slash at the end except for `/`. */
  readonly prefix?: string;
}

/** A condition that is checked when the path matches. */
export type Check =
  /** The request is gRPC. */
  | { readonly kind: "grpc" }
  /** The path matches. */
  | { readonly kind: "path"; readonly regex: RegExp }
  /** The method is one of these. */
  | { readonly kind: "method"; readonly values: readonly string[] }
  /** The value, or one of the values, meets one of these. */
  | {
    readonly kind: "header" | "param";
    readonly name: string;
    readonly values: readonly string[];
    readonly regexes: readonly RegExp[];
    /** Whether any value will do. */
    readonly present: boolean;
  };

/** The conditions of a route besides host and path. */
export interface CompiledChecks {
  /** All of these must hold. */
  readonly checks: readonly Check[];
  /** The higher, the more specific: gRPC, then HTTP method, then number of headers, then of params. */
  readonly rank: number;
}

/** Room for a count in a rank; lists are shorter than half of it. */
const RANK_STEP = 1024;

/** At most how many paths {@linkcode compilePaths} makes of these conditions. */
export function countPaths(match: RouteMatch): number {
  const paths = match.paths?.length ?? 1;
  const methods = match.fullMethods?.length ??
    (match.services?.length ?? 1) * (match.methods?.length ?? 1);
  return paths * methods;
}

/**
 * The paths under which a route stands in the index; none if the conditions contradict each other.
 *
 * @throws {TypeError} if a condition is malformed.
 */
export function compilePaths(match: RouteMatch): CompiledPath[] {
  const methods = compileMethods(match);
  const paths = match.paths?.map(compilePath);
  // Longest first: where two prefixes of one route end up as the same path, the first is reported.
  paths?.sort((a, b) => (b.prefix?.length ?? 0) - (a.prefix?.length ?? 0));
  if (paths === undefined) {
    return (methods ?? [ANY_PATH]).map((condition) => ({ condition }));
  }
  if (methods === undefined) return paths;
  return paths.flatMap((path) => methods.flatMap((method) => intersect(path, method) ?? []));
}

/** The conditions of a route besides host and path. */
export function compileChecks(match: RouteMatch): CompiledChecks {
  const headers = groupByName("header", match.headers);
  const metadata = groupByName("header", match.grpcHeaders);
  const params = groupByName("param", match.params);
  const checks: Check[] = [];
  const grpc = metadata.length > 0 || match.services !== undefined || match.methods !== undefined ||
    match.fullMethods !== undefined;
  if (match.httpMethods !== undefined) checks.push({ kind: "method", values: match.httpMethods });
  checks.push(...headers, ...metadata, ...params);
  // Last, for it costs most and most often holds where the path has matched.
  if (grpc) checks.push({ kind: "grpc" });
  const flags = (grpc ? 2 : 0) + (match.httpMethods === undefined ? 0 : 1);
  const rank = (flags * RANK_STEP + headers.length + metadata.length) * RANK_STEP + params.length;
  return { checks, rank };
}

const ANY_PATH: PathCondition = { type: "pattern", segments: [], open: true };

function compilePath(path: NonNullable<RouteMatch["paths"]>[number]): CompiledPath {
  switch (path.type) {
    case "exact":
      return { condition: path };
    case "regex": {
      const { value: source } = path;
      const regex = compileRegex(source);
      return {
        condition: { type: "regex", source, regex, literal: literalBeginning(source, regex) },
      };
    }
    case "prefix": {
      const { segments, open } = parsePathPattern(path.value);
      const condition: PathCondition = { type: "pattern", segments, open };
      return segments.includes(undefined)
        ? { condition }
        : { condition, prefix: `/${segments.join("/")}` };
    }
  }
}

function compileMethods(match: RouteMatch): PathCondition[] | undefined {
  const { services, methods, fullMethods } = match;
  if (fullMethods !== undefined) {
    return fullMethods.filter((fullMethod) => {
      const [, service = "", method = ""] = fullMethod.split("/");
      return (services?.includes(service) ?? true) && (methods?.includes(method) ?? true);
    }).map((value) => ({ type: "exact", value }));
  }
  if (services !== undefined && methods !== undefined) {
    return services.flatMap((service) =>
      methods.map((method): PathCondition => ({ type: "exact", value: `/${service}/${method}` }))
    );
  }
  return services?.map((service) => ({ type: "pattern", segments: [service], open: true })) ??
    methods?.map((method) => ({ type: "pattern", segments: [undefined, method], open: false }));
}

/** The path that meets both conditions; `undefined` if there is none. */
function intersect(path: CompiledPath, method: PathCondition): CompiledPath | undefined {
  const meets = intersectConditions(path.condition, method);
  if (meets === undefined) return undefined;
  return {
    condition: meets,
    ...(path.condition.type === "regex" && meets.type !== "exact" &&
      { regex: path.condition.regex }),
    ...(path.prefix !== undefined && { prefix: path.prefix }),
  };
}

function intersectConditions(a: PathCondition, b: PathCondition): PathCondition | undefined {
  if (a.type === "exact") return covers(b, a.value) ? a : undefined;
  if (b.type === "exact") return covers(a, b.value) ? b : undefined;
  // Only the path can be an expression; it is then checked beside the gRPC condition.
  if (a.type === "regex" || b.type === "regex") return b;

  const segments: (string | undefined)[] = [];
  const length = Math.max(a.segments.length, b.segments.length);
  for (let i = 0; i < length; i++) {
    const inA = i < a.segments.length;
    const inB = i < b.segments.length;
    if ((!inA && !a.open) || (!inB && !b.open)) return undefined;
    const [one, other] = [inA ? a.segments[i] : undefined, inB ? b.segments[i] : undefined];
    if (one !== undefined && other !== undefined && one !== other) return undefined;
    segments.push(one ?? other);
  }
  return { type: "pattern", segments, open: a.open && b.open };
}

/** Whether a path meets a condition. */
function covers(condition: PathCondition, path: string): boolean {
  switch (condition.type) {
    case "exact":
      return condition.value === path;
    case "regex":
      return condition.regex.test(path);
    case "pattern": {
      if (condition.segments.length === 0) return true;
      if (!path.startsWith("/")) return false;
      const parts = path.slice(1).split("/");
      const given = parts.at(-1) === "" && parts.length === condition.segments.length + 1
        ? parts.slice(0, -1)
        : parts;
      return (condition.open
        ? given.length >= condition.segments.length
        : given.length === condition.segments.length) &&
        condition.segments.every((segment, i) =>
          segment === undefined ? given[i] !== "" : given[i] === segment
        );
    }
  }
}

function groupByName(
  kind: "header" | "param",
  matches: readonly ValueMatch[] | undefined,
): Check[] {
  const groups = Map.groupBy(matches ?? [], (match) => match.name);
  return [...groups].map(([name, alternatives]): Check => ({
    kind,
    name,
    values: alternatives.flatMap((match) => match.type === "exact" ? [match.value] : []),
    regexes: alternatives.flatMap((match) =>
      match.type === "regex" ? [compileRegex(match.value)] : []
    ),
    present: alternatives.some((match) => match.type === "present"),
  }));
}

/**
 * Random routes and requests over so small an alphabet that they often meet.
 *
 * @module
 */

import fc from "fast-check";
import type { RequestView } from "../../lib/http/message.ts";
import type { PathMatch, RouteMatch, ValueMatch } from "../../lib/route/route.ts";
import { requestView } from "./request_view.ts";

/** Expressions for paths, and with what everything that each matches begins. */
export const PATH_REGEXES: ReadonlyMap<string, string> = new Map([
  [".*", ""],
  ["/.*", "/"],
  ["/a.*", "/a"],
  ["/a/[ab].*", "/a/"],
  ["/a/b(?:/.*)?", "/a/b"],
  ["/(?:a|b)/.*", "/"],
  ["/a|/b", ""],
  ["/a/b/?", "/a/b"],
  ["/a/[^/]+", "/a/"],
  [String.raw`\/b\/c+`, "/b/c"],
]);

const segment = fc.constantFrom("a", "b", "c", "ab");
const patternSegment = fc.constantFrom("a", "b", "c", "ab", ":x", ":y");

const prefix = fc.tuple(fc.array(patternSegment, { maxLength: 3 }), fc.boolean()).map(
  ([segments, star]) => `/${[...segments, ...(star ? ["*"] : [])].join("/")}`,
);

const pathMatch: fc.Arbitrary<PathMatch> = fc.oneof(
  { weight: 4, arbitrary: prefix.map((value): PathMatch => ({ type: "prefix", value })) },
  {
    weight: 1,
    arbitrary: fc.array(segment, { maxLength: 3 }).map((segments): PathMatch => ({
      type: "exact",
      value: `/${segments.join("/")}`,
    })),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(...PATH_REGEXES.keys()).map((value): PathMatch => ({
      type: "regex",
      value,
    })),
  },
);

function valueMatch(...names: string[]): fc.Arbitrary<ValueMatch> {
  const name = fc.constantFrom(...names);
  return fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        name,
        type: fc.constant("exact" as const),
        value: fc.constantFrom("1", "2", "3", ""),
      }),
    },
    { weight: 1, arbitrary: fc.record({ name, type: fc.constant("present" as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        name,
        type: fc.constant("regex" as const),
        value: fc.constantFrom("[12]", "1|3", ".+"),
      }),
    },
  );
}

/** A list of values, there in `percent` of all cases. */
function some<V>(
  percent: number,
  value: fc.Arbitrary<V>,
  maxLength = 2,
): fc.Arbitrary<V[] | undefined> {
  return fc.oneof(
    { weight: percent, arbitrary: fc.array(value, { minLength: 1, maxLength }) },
    { weight: 100 - percent, arbitrary: fc.constant(undefined) },
  );
}

/** Conditions of a route, which may contradict each other. */
export const routeMatch: fc.Arbitrary<RouteMatch> = fc.record({
  hosts: some(12, fc.constantFrom("h.t", "g.h.t", "*.t", "*.h.t")),
  paths: some(75, pathMatch, 3),
  httpMethods: some(12, fc.constantFrom("GET", "POST", "PUT")),
  headers: some(40, valueMatch("h1", "h2", "h3"), 3),
  params: some(25, valueMatch("p1", "p2")),
  services: some(12, fc.constantFrom("a", "b")),
  methods: some(12, fc.constantFrom("b", "c")),
  fullMethods: some(12, fc.constantFrom("/a/b", "/a/c", "/b/b")),
  grpcHeaders: some(12, valueMatch("h1", "m1")),
}).map(withoutUndefined);

/** Conditions of routes that all stand on one path, so that the index below it is put to work. */
export const crowdedMatch: fc.Arbitrary<RouteMatch> = fc.record({
  paths: fc.constant<PathMatch[]>([{ type: "prefix", value: "/a" }]),
  httpMethods: some(20, fc.constantFrom("GET", "POST", "PUT")),
  headers: some(70, valueMatch("h1", "h2", "h3"), 4),
  params: some(50, valueMatch("p1", "p2"), 3),
  grpcHeaders: some(12, valueMatch("h1", "m1")),
}).map(withoutUndefined);

function withoutUndefined(match: Partial<Record<keyof RouteMatch, unknown>>): RouteMatch {
  return Object.fromEntries(Object.entries(match).filter(([, value]) => value !== undefined));
}

const value = fc.constantFrom("1", "2", "3", "4", "");

/** A request that some of these routes may take. */
export const request: fc.Arbitrary<RequestView> = fc.record({
  method: fc.constantFrom("GET", "POST", "PUT", "PATCH"),
  path: fc.oneof(
    {
      weight: 12,
      arbitrary: fc.array(fc.oneof({ weight: 9, arbitrary: segment }, fc.constantFrom("d", "")), {
        maxLength: 4,
      }).map((segments) => `/${segments.join("/")}`),
    },
    { weight: 1, arbitrary: fc.constantFrom("*", "") },
  ),
  query: fc.array(
    fc.tuple(fc.constantFrom("p1", "p2", "%701", "q"), value).map((pair) => pair.join("=")),
    { maxLength: 3 },
  ).map((pairs) => pairs.join("&")),
  host: fc.constantFrom("", "t", "h.t", "g.h.t", "x.t", "x.y.h.t", "h.t."),
  grpc: fc.boolean(),
  headers: fc.dictionary(fc.constantFrom("h1", "h2", "h3", "m1"), value, { maxKeys: 4 }),
}).map(requestView);

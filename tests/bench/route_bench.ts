/**
 * What it costs to find the route of a request, and how little that depends on the number of routes.
 *
 * Each lookup takes the next of 256 requests that are spread over the table, so that neither the branch
 * predictor nor the cache sees the same one again and again. What still grows with the table is the
 * memory of these 256 routes, no longer beside one another. Texts are made as a codec makes them, but
 * keep their hash from lookup to lookup, which spares some 20 to 40 ns for exact paths, hosts and values.
 */

import type { RequestView } from "../../lib/http/message.ts";
import type { RouteMatch } from "../../lib/route/route.ts";
import { RouteTable } from "../../lib/route/table.ts";
import { validateRoute } from "../../lib/route/validate.ts";
import { type RequestParts, requestView } from "../support/request_view.ts";

const SIZES = [10, 100, 1_000, 10_000];
const REQUESTS = 256;
const TARGETS = [{ addr: "localhost:8081", weight: 1 }];

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The text as one piece of memory; a template would leave it as a tree of its parts. */
function flat(text: string): string {
  return decoder.decode(encoder.encode(text));
}

/** The request with texts in one piece. */
function request(parts: RequestParts): RequestView {
  const { path = "/", query = "", host = "", headers = {} } = parts;
  return requestView({
    ...parts,
    path: flat(path),
    query: flat(query),
    host: flat(host),
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [flat(name), flat(value)]),
    ),
  });
}

/** A kind of table, and the request that its route `i` takes or a miss beside it. */
interface Scenario {
  readonly name: string;
  readonly match: (i: number) => RouteMatch;
  readonly request: (i: number) => RequestParts;
}

const prefix = (value: string): RouteMatch => ({ paths: [{ type: "prefix", value }] });

const SCENARIOS: readonly Scenario[] = [
  {
    name: "path prefix",
    match: (i) => prefix(`/api/service-${i}`),
    request: (i) => ({ path: `/api/service-${i}/users/42` }),
  },
  {
    name: "path prefix, miss",
    match: (i) => prefix(`/api/service-${i}`),
    request: (i) => ({ path: `/api/other-${i}/users/42` }),
  },
  {
    name: "exact path",
    match: (i) => ({ paths: [{ type: "exact", value: `/api/service-${i}` }] }),
    request: (i) => ({ path: `/api/service-${i}` }),
  },
  {
    name: "path pattern",
    match: (i) => prefix(`/users/:id/kind-${i}`),
    request: (i) => ({ path: `/users/42/kind-${i}` }),
  },
  {
    name: "one path, distinct header values",
    match: (i) => ({
      ...prefix("/api"),
      headers: [{ name: "x-tenant", type: "exact", value: `tenant-${i}` }],
    }),
    request: (i) => ({ path: "/api/users", headers: { "x-tenant": `tenant-${i}` } }),
  },
  {
    name: "one path, distinct header values, miss",
    match: (i) => ({
      ...prefix("/api"),
      headers: [{ name: "x-tenant", type: "exact", value: `tenant-${i}` }],
    }),
    request: (i) => ({ path: "/api/users", headers: { "x-tenant": `other-${i}` } }),
  },
  {
    name: "one path, distinct parameter values",
    match: (i) => ({
      ...prefix("/api"),
      params: [{ name: "tenant", type: "exact", value: `tenant-${i}` }],
    }),
    request: (i) => ({ path: "/api/users", query: `page=3&tenant=tenant-${i}` }),
  },
  {
    name: "distinct hosts",
    match: (i) => ({ ...prefix("/api"), hosts: [`host-${i}.example.com`] }),
    request: (i) => ({ path: "/api/users", host: `host-${i}.example.com` }),
  },
  {
    name: "wildcard hosts",
    match: (i) => ({ ...prefix("/api"), hosts: [`*.zone-${i}.example.com`] }),
    request: (i) => ({ path: "/api/users", host: `www.zone-${i}.example.com` }),
  },
  {
    name: "gRPC full method",
    match: (i) => ({ fullMethods: [`/pkg.v1.Service${i}/Call`] }),
    request: (i) => ({ method: "POST", path: `/pkg.v1.Service${i}/Call`, grpc: true }),
  },
];

/** A table of `size` routes of one kind. */
function fill(size: number, match: Scenario["match"]): RouteTable<number> {
  const table = new RouteTable<number>();
  for (let i = 0; i < size; i++) {
    const route = validateRoute({ match: match(i), targets: TARGETS });
    // As from a file or the network, so that its texts are in one piece.
    table.add(String(i), JSON.parse(JSON.stringify(route)), i);
  }
  return table;
}

Deno.bench(
  "empty table",
  { group: "empty" },
  (() => {
    const table = new RouteTable<number>();
    const request = requestView({ path: "/api/users/42" });
    return () => {
      table.match(request);
    };
  })(),
);

for (const { name, match, request: parts } of SCENARIOS) {
  for (const size of SIZES) {
    const table = fill(size, match);
    const requests = Array.from({ length: REQUESTS }, (_, i) => request(parts((i * 7919) % size)));
    let next = 0;
    Deno.bench(`${name}: ${size} routes`, { group: name, baseline: size === SIZES[0] }, () => {
      table.match(requests[next++ % REQUESTS]!);
    });
  }
}

for (const size of SIZES) {
  const routes = Array.from(
    { length: size },
    (_, i) => validateRoute({ match: SCENARIOS[0]!.match(i), targets: TARGETS }),
  );
  const table = fill(size, SCENARIOS[0]!.match);
  let next = 0;
  Deno.bench(
    `remove and add one of ${size}`,
    { group: "change", baseline: size === SIZES[0] },
    () => {
      const i = next++ % size;
      table.remove(String(i));
      table.add(String(i), routes[i]!, i);
    },
  );
}

const spare = Array.from(
  { length: 10_000 },
  (_, i) => validateRoute({ match: SCENARIOS[0]!.match(i), targets: TARGETS }),
);
Deno.bench("add 10000 routes one by one", { group: "fill" }, () => {
  const table = new RouteTable<number>();
  for (let i = 0; i < spare.length; i++) table.add(String(i), spare[i]!, i);
});

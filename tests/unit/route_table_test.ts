import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { RequestView } from "../../lib/http/message.ts";
import type { Placement } from "../../lib/route/bucket.ts";
import { compileChecks, compilePaths } from "../../lib/route/compile.ts";
import { PathIndex } from "../../lib/route/path_index.ts";
import type { RouteMatch } from "../../lib/route/route.ts";
import { parseRule } from "../../lib/route/rule_text.ts";
import { RouteTable } from "../../lib/route/table.ts";
import { type RequestParts, requestView } from "../support/request_view.ts";
import { crowdedMatch, routeMatch } from "../support/route_arbitrary.ts";

/** A table of rules without targets; the id of each is the rule. */
function tableOf(...rules: string[]): RouteTable<number> {
  const table = new RouteTable<number>();
  for (const [i, rule] of rules.entries()) table.add(rule, parseRule(`${rule} -> a:1`), i);
  return table;
}

/** The rule that a request takes. */
function taken(table: RouteTable<number>, request: RequestParts): string | undefined {
  return table.match(requestView(request))?.id;
}

/** Asserts which of the rules each path takes, in whatever order the rules are added. */
function assertPaths(rules: string[], expected: Record<string, string | undefined>): void {
  for (const table of [tableOf(...rules), tableOf(...rules.toReversed())]) {
    for (const [path, rule] of Object.entries(expected)) {
      assertEquals(taken(table, { path }), rule, path);
    }
  }
}

Deno.test("an empty table matches nothing", () => {
  assertEquals(new RouteTable().match(requestView()), undefined);
});

Deno.test("a prefix matches on segment borders", () => {
  assertPaths(["path=/api"], {
    "/api": "path=/api",
    "/api/": "path=/api",
    "/api/x/y": "path=/api",
    "/apix": undefined,
    "/ap": undefined,
    "/API": undefined,
    "/": undefined,
    "/x/api": undefined,
    "*": undefined,
  });
});

Deno.test("a named segment stands for one segment, an asterisk for the rest", () => {
  assertPaths(["path=/users/:id"], {
    "/users/7": "path=/users/:id",
    "/users/7/": "path=/users/:id",
    "/users/7/posts": undefined,
    "/users/": undefined,
    "/users": undefined,
  });
  assertPaths(["path=/users/:id/*"], {
    "/users/7": "path=/users/:id/*",
    "/users/7/posts/8": "path=/users/:id/*",
    "/users": undefined,
  });
  assertPaths(["path=/static/*"], {
    "/static": "path=/static/*",
    "/static/": "path=/static/*",
    "/static/a/b": "path=/static/*",
    "/statics": undefined,
  });
});

Deno.test("an exact path matches as it is written, patterns included", () => {
  assertPaths(["path-exact=/a/:b", "path-exact=*"], {
    "/a/:b": "path-exact=/a/:b",
    "/a/x": undefined,
    "/a/:b/": undefined,
    "*": "path-exact=*",
  });
});

Deno.test("a route without a path condition matches every path, the asterisk included", () => {
  for (const rule of ["host=h", "path=/ host=h", "path=/* host=h"]) {
    for (const path of ["/", "/a/b", "*", ""]) {
      assertEquals(taken(tableOf(rule), { path, host: "h" }), rule);
    }
  }
});

Deno.test("the most specific path wins: exact, longest literal beginning, literal before named", () => {
  const rules = [
    "path-exact=/a/b",
    "path=/a/b",
    "path=/a/:x",
    "path=/a/:x/c",
    "path=/a/:x/:y",
    "path=/a/:x/*",
    "path=/a",
    "path=/:x/b",
    "path=/",
  ];
  assertPaths(rules, {
    "/a/b": "path-exact=/a/b",
    "/a/b/": "path=/a/b",
    "/a/b/c": "path=/a/b",
    "/a/x": "path=/a/:x",
    "/a/x/c": "path=/a/:x/c",
    "/a/x/d": "path=/a/:x/:y",
    "/a/x/d/e": "path=/a/:x/*",
    "/a": "path=/a",
    "/b/b": "path=/:x/b",
    "/b/c": "path=/",
  });
});

Deno.test("an expression ranks by its literal beginning, after other forms of the same length", () => {
  const rules = [
    "path=/api",
    "path-regex=/api/v[12](?:/.*)?",
    "path=/api/v2",
    "path-regex=/api.*",
    "path=/api/:x",
    "path-regex=/api/[^/]+",
    "path-regex=.*[.]php",
    "path=/",
  ];
  assertPaths(rules, {
    "/api/v1/x": "path-regex=/api/v[12](?:/.*)?",
    "/api/v2/x": "path=/api/v2",
    "/api/x": "path=/api/:x",
    "/api/x/y": "path=/api",
    "/apix": "path-regex=/api.*",
    "/web/a.php": "path-regex=.*[.]php",
    "/web/a.html": "path=/",
  });
});

Deno.test("a host goes before a path: exact, longest wildcard, none", () => {
  const table = tableOf(
    "path-exact=/a",
    "host=*.example.com path=/",
    "host=*.b.example.com path=/",
    "host=a.b.example.com path=/x",
    "host=other.example path=/a",
  );
  const cases: readonly [host: string, path: string, rule: string | undefined][] = [
    ["a.b.example.com", "/x", "host=a.b.example.com path=/x"],
    ["a.b.example.com", "/a", "host=*.b.example.com path=/"],
    ["c.a.b.example.com", "/a", "host=*.b.example.com path=/"],
    ["b.example.com", "/a", "host=*.example.com path=/"],
    ["example.com", "/a", "path-exact=/a"],
    ["xexample.com", "/a", "path-exact=/a"],
    ["xexample.com", "/b", undefined],
    ["", "/a", "path-exact=/a"],
    ["a.b.example.com.", "/x", "host=a.b.example.com path=/x"],
  ];
  for (const [host, path, rule] of cases) {
    assertEquals(taken(table, { host, path }), rule, host + path);
  }
});

Deno.test("a more specific path that fails on its header gives way to a less specific one", () => {
  const table = tableOf(
    "path-exact=/a/b header=x:1",
    "path=/a/b header=x:2",
    "path=/a/:x header=x:3",
    "path=/a",
  );
  const x = (x: string) => taken(table, { path: "/a/b", headers: { x } });
  assertEquals(x("1"), "path-exact=/a/b header=x:1");
  assertEquals(x("2"), "path=/a/b header=x:2");
  assertEquals(x("3"), "path=/a/:x header=x:3");
  assertEquals(x("4"), "path=/a");
});

Deno.test("conditions of different kinds must all hold, values of one kind are alternatives", () => {
  const rule = "path=/a path=/b http-method=GET http-method=PUT header=x:1 header=x:2 header=y " +
    "param=p:1 param~=p:[34] param=q";
  const table = tableOf(rule);
  const base = { path: "/b/c", method: "PUT", headers: { x: "2", y: "" }, query: "p=9&p=4&q" };
  assertEquals(taken(table, base), rule);
  for (
    const change of [
      { path: "/c" },
      { method: "POST" },
      { method: "put" },
      { headers: { x: "3", y: "" } },
      { headers: { x: "2" } },
      { headers: { y: "" } },
      { query: "p=9&q" },
      { query: "p=1" },
      { query: "P=1&q" },
    ]
  ) {
    assertEquals(taken(table, { ...base, ...change }), undefined, JSON.stringify(change));
  }
});

Deno.test("params are compared after decoding", () => {
  const rule = 'param=q:"a b&c" param="k=1":\u00e9';
  assertEquals(taken(tableOf(rule), { query: "q=a+b%26c&k%3D1=%C3%A9" }), rule);
  assertEquals(taken(tableOf(rule), { query: "q=a%20b%26c&k%3d1=%c3%a9" }), rule);
  assertEquals(taken(tableOf(rule), { query: "q=a+b&c&k=1=%C3%A9" }), undefined);
});

Deno.test("on one path, a method goes before headers, and more headers before more params", () => {
  const rules = [
    "path=/a http-method=GET",
    "path=/a header=x:1 header=y:1",
    "path=/a header=x:1 param=p:1 param=q:1",
    "path=/a header=x:1 param=p:1",
    "path=/a header=x:1 header=x:2",
    "path=/a param=p:1 param=q:1",
    "path=/a",
  ];
  const all = { path: "/a", method: "GET", headers: { x: "1", y: "1" }, query: "p=1&q=1" };
  for (const table of [tableOf(...rules), tableOf(...rules.toReversed())]) {
    for (const rule of rules) {
      assertEquals(taken(table, all), rule);
      table.remove(rule);
    }
    assertEquals(taken(table, all), undefined);
  }
});

Deno.test("between equals the oldest wins, until it is removed", () => {
  const table = tableOf("path=/a header=x:1", "path=/a header=y:1", "path=/a header~=x:1");
  const request = { path: "/a", headers: { x: "1", y: "1" } };
  assertEquals(taken(table, request), "path=/a header=x:1");
  table.remove("path=/a header=x:1");
  assertEquals(taken(table, request), "path=/a header=y:1");
  table.add("path=/a header=x:1", parseRule("path=/a header=x:1 -> a:1"), 0);
  assertEquals(taken(table, request), "path=/a header=y:1");
});

Deno.test("gRPC conditions match gRPC requests alone", () => {
  for (const rule of ["service=p.S", "method=M", "full-method=p.S/M", "grpc-header=x:1"]) {
    const request = { path: "/p.S/M", headers: { x: "1" } };
    assertEquals(taken(tableOf(rule), { ...request, grpc: true }), rule);
    assertEquals(taken(tableOf(rule), { ...request, grpc: false }), undefined);
  }
});

Deno.test("the most specific gRPC condition wins: full method, service, method, then most metadata", () => {
  const rules = [
    "full-method=p.S/M grpc-header=x:1",
    "full-method=p.S/M",
    "service=p.S grpc-header=x:1",
    "service=p.S",
    "method=M grpc-header=x:1",
    "method=M",
    "grpc-header=x:1 grpc-header=y:1",
    "grpc-header=x:1",
    "path=/",
  ];
  const request = { path: "/p.S/M", grpc: true, headers: { x: "1", y: "1" } };
  for (const table of [tableOf(...rules), tableOf(...rules.toReversed())]) {
    for (const rule of rules) {
      assertEquals(taken(table, request), rule);
      table.remove(rule);
    }
  }
});

Deno.test("services and methods together mean each of these services with each of these methods", () => {
  const rule = "service=p.S service=p.T method=M method=N";
  const table = tableOf("service=p.S", rule);
  const path = (path: string) => taken(table, { path, grpc: true });
  assertEquals(path("/p.S/M"), rule);
  assertEquals(path("/p.T/N"), rule);
  assertEquals(path("/p.S/O"), "service=p.S");
  assertEquals(path("/p.T/O"), undefined);
  assertEquals(path("/p.T/N/x"), undefined);
});

Deno.test("a route with gRPC and path conditions needs both and reports its prefix", () => {
  const rule = "service=p.S path=/p.S/M path=/ path-regex=/p[.]S/N.*";
  const table = tableOf(rule, "path=/p.S");
  const hit = (path: string, grpc = true) => table.match(requestView({ path, grpc }));
  assertEquals(hit("/p.S/M")?.id, rule);
  assertEquals(hit("/p.S/M")?.matchedPrefix, "/p.S/M");
  assertEquals(hit("/p.S/O")?.id, rule);
  assertEquals(hit("/p.S/O")?.matchedPrefix, "/");
  assertEquals(hit("/p.T/M")?.id, undefined);
  assertEquals(hit("/p.S/M", false)?.id, "path=/p.S");

  const only = "service=p.S path-regex=/p[.]S/N.*";
  assertEquals(taken(tableOf(only), { path: "/p.S/Nn", grpc: true }), only);
  assertEquals(taken(tableOf(only), { path: "/p.S/M", grpc: true }), undefined);
});

Deno.test("a hit says which literal prefix matched", () => {
  const table = tableOf("path=/a path=/a/b/* path=/c/:x path-exact=/a/b/c/d");
  const prefix = (path: string) => table.match(requestView({ path }))?.matchedPrefix;
  assertEquals(prefix("/a/x"), "/a");
  assertEquals(prefix("/a/b"), "/a/b");
  assertEquals(prefix("/a/b/c"), "/a/b");
  assertEquals(prefix("/c/d"), undefined);
  assertEquals(prefix("/a/b/c/d"), undefined);
  assertEquals(tableOf("path=/").match(requestView({ path: "/x" }))?.matchedPrefix, "/");
  assertEquals(tableOf("host=h").match(requestView({ host: "h" }))?.matchedPrefix, undefined);
});

Deno.test("a hit is the stored object, with the route and the value that were added", () => {
  const table = new RouteTable<{ pool: string }>();
  const route = parseRule("path=/a -> a:1");
  const value = { pool: "a" };
  table.add("one", route, value);
  const hit = table.match(requestView({ path: "/a" }));
  assert(hit !== undefined && hit.route === route && hit.value === value);
  assert(table.match(requestView({ path: "/a/b" })) === hit);
  assertEquals(table.get("one"), { id: "one", route, value });
  assertEquals(table.get("two"), undefined);
});

Deno.test("an id is taken until its route is removed", () => {
  const table = tableOf("path=/a");
  assertThrows(() => table.add("path=/a", parseRule("-> a:1"), 1), TypeError, '"path=/a" is taken');
  assertEquals(table.remove("path=/b"), false);
  assertEquals(table.remove("path=/a"), true);
  assertEquals(table.remove("path=/a"), false);
  assertEquals(table.size, 0);
});

Deno.test("a route that cannot be compiled leaves the table as it was", () => {
  const table = tableOf("path=/a");
  const route = { match: { paths: [{ type: "regex", value: "(" }] }, targets: [] } as const;
  assertThrows(() => table.add("bad", route, 1), TypeError, "Unterminated group");
  assertEquals(table.size, 1);
  assertEquals(table.get("bad"), undefined);
  assertEquals(taken(table, { path: "/a" }), "path=/a");
});

Deno.test("a request that throws leaves nothing behind for the next one", () => {
  const table = tableOf("param=p:1 header=x:1", "header=x:2");
  const broken: RequestView = {
    ...requestView({ query: "p=1" }),
    header: () => {
      throw new RangeError("broken");
    },
  };
  assertThrows(() => table.match(broken), RangeError, "broken");
  assertEquals(taken(table, { query: "p=2", headers: { x: "1" } }), undefined);
  assertEquals(taken(table, { query: "p=1", headers: { x: "1" } }), "param=p:1 header=x:1");
});

/** How often a lookup asks the request for its host, a header or its query. */
function countQuestions(table: RouteTable<number>, parts: RequestParts): number {
  let questions = 0;
  const view = requestView(parts);
  table.match({
    method: view.method,
    path: view.path,
    grpc: view.grpc,
    get host() {
      questions++;
      return view.host;
    },
    get query() {
      questions++;
      return view.query;
    },
    header: (name) => {
      questions++;
      return view.header(name);
    },
  });
  return questions;
}

Deno.test("a lookup asks no more of a request when there are more routes beside the one it takes", () => {
  const kinds: readonly [rule: (i: number) => string, request: (i: number) => RequestParts][] = [
    [(i) => `path=/a/${i} header=x:1`, (i) => ({ path: `/a/${i}`, headers: { x: "1" } })],
    [(i) => `path-exact=/a/${i} param=x:1`, (i) => ({ path: `/a/${i}`, query: "x=1" })],
    [(i) => `host=h${i}.t header=x:1`, (i) => ({ host: `h${i}.t`, headers: { x: "1" } })],
    [(i) => `path=/a header=x:${i}`, (i) => ({ path: "/a", headers: { x: String(i) } })],
    [(i) => `path=/a param=x:${i}`, (i) => ({ path: "/a", query: `x=${i}` })],
    [
      // The header that all share must not be what they are indexed by.
      (i) => `path=/a header=env:prod header=tenant:${i} param=v:1`,
      (i) => ({ path: "/a", query: "v=1", headers: { env: "prod", tenant: String(i) } }),
    ],
    [
      (i) => `path=/a header=a:${i % 40} header=b:${i >> 3}`,
      (i) => ({ path: "/a", headers: { a: String(i % 40), b: String(i >> 3) } }),
    ],
  ];
  for (const [rule, request] of kinds) {
    const rules = Array.from({ length: 2000 }, (_, i) => rule(i));
    const large = tableOf(...rules);
    const questions = [0, 7, 1000, 1999].map((i) => {
      assertEquals(taken(large, request(i)), rule(i));
      return countQuestions(large, request(i));
    });
    // Each name once, or again where another name was asked for in between.
    assertLessOrEqual(Math.max(...questions), 8, `${rule(0)}: ${questions}`);
    assertLessOrEqual(countQuestions(large, { path: "/other", host: "other" }), 1, rule(0));
  }
});

Deno.test("a query and headers are not looked at unless a route on the path asks for them", () => {
  const table = tableOf("path=/a param=p:1", "path=/b header=x:1", "path=/c");
  assertEquals(countQuestions(table, { path: "/c", query: "p=1", headers: { x: "1" } }), 0);
});

Deno.test("a lookup no longer asks for what only removed routes wanted to know", () => {
  const rules = ["h", "x.h", "*.h", "*.x.h"].map((host) => `host=${host}`);
  for (let i = 0; i < 20; i++) {
    rules.push(`path=/a header=x:${i}`, `path=/a header~=y:${i}`, `path=/a param=p:${i}`);
  }
  const table = tableOf("path=/a", ...rules);
  const request = { path: "/a", host: "y.x.t", headers: { x: "1", y: "1" }, query: "p=1" };
  assertLessOrEqual(3, countQuestions(table, request));
  for (const rule of rules) table.remove(rule);
  assertEquals(countQuestions(table, request), 0);
  assertEquals(taken(table, request), "path=/a");
});

Deno.test("a path index from which all routes are taken again is empty", () => {
  const distinct = fc.nat({ max: 20 }).map((i): RouteMatch => ({
    paths: [{ type: "prefix", value: `/${i}/x` }],
  }));
  const match = fc.oneof(routeMatch, crowdedMatch, distinct);
  const matches = fc.array(match, { maxLength: 40, size: "max" });
  fc.assert(
    fc.property(matches, (matches) => {
      const index = new PathIndex<number>();
      const placements: Placement[] = [];
      for (const [i, match] of matches.entries()) {
        const { checks, rank } = compileChecks(match);
        for (const { condition } of compilePaths(match)) {
          index.open(condition).add({ entry: i, rank, age: i }, checks, placements);
        }
      }
      assertEquals(index.empty, placements.length === 0);
      for (const placement of placements) placement.remove();
      for (const match of matches) for (const path of compilePaths(match)) index.prune(path);
      assertEquals(index.empty, true);
    }),
    { seed: 20261122, numRuns: 300 },
  );
});

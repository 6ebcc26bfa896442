import { assertEquals, assertMatch } from "@std/assert";
import fc from "fast-check";
import { redirectLocation, rewritePath } from "../../lib/route/rewrite.ts";
import { parseRule } from "../../lib/route/rule_text.ts";

const rule = (text: string) => parseRule(`${text} -> localhost:80`);

Deno.test("a path stays as it came without a rewrite", () => {
  assertEquals(rewritePath(rule("path=/api"), "//api", "/api"), "//api");
  assertEquals(rewritePath(rule(""), "*", undefined), "*");
});

Deno.test("a stripped or replaced prefix leaves a path with one slash in front", () => {
  // As the table of HTTPPathModifier in the Kubernetes Gateway API has it.
  const cases: readonly [change: string, prefix: string, path: string, result: string][] = [
    ["strip-prefix", "/api", "/api", "/"],
    ["strip-prefix", "/api", "/api/", "/"],
    ["strip-prefix", "/api", "/api/x/y", "/x/y"],
    ["strip-prefix", "/api", "/api//evil.example/x", "/evil.example/x"],
    ["strip-prefix", "/api", "/api/\\evil.example/x", "/evil.example/x"],
    ["strip-prefix", "/", "/x", "/x"],
    ["strip-prefix", "/", "//x", "/x"],
    ["rewrite-prefix=/v2", "/api", "/api", "/v2"],
    ["rewrite-prefix=/v2", "/api", "/api/", "/v2/"],
    ["rewrite-prefix=/v2", "/api", "/api/x", "/v2/x"],
    ["rewrite-prefix=/v2/", "/api", "/api/x", "/v2/x"],
    ["rewrite-prefix=/v2", "/", "/", "/v2/"],
    ["rewrite-prefix=/v2", "/", "/x", "/v2/x"],
    ["rewrite-prefix=/", "/api", "/api/x", "/x"],
  ];
  for (const [change, prefix, path, result] of cases) {
    const route = rule(`path=${prefix} ${change}`);
    assertEquals(rewritePath(route, path, prefix), result, `${change} on ${path}`);
  }
});

Deno.test("the asterisk of OPTIONS has no prefix to replace", () => {
  assertEquals(rewritePath(rule("path=/ rewrite-prefix=/v2"), "*", "/"), "*");
});

Deno.test("a full rewrite replaces whatever path came", () => {
  const route = rule("path-regex=/.* rewrite-path=/fixed");
  assertEquals(rewritePath(route, "/a/b", undefined), "/fixed");
});

Deno.test("no rewritten path begins like a host", () => {
  const tail = fc.string({ unit: fc.constantFrom("/", "\\", "a", ".", "%2f") });
  const change = fc.constantFrom("strip-prefix", "rewrite-prefix=/v2", "rewrite-prefix=/");
  fc.assert(
    fc.property(change, fc.constantFrom("/", "/api"), tail, (change, prefix, tail) => {
      const path = prefix === "/" ? `/${tail}` : `${prefix}/${tail}`;
      const result = rewritePath(rule(`path=${prefix} ${change}`), path, prefix);
      assertMatch(result, /^\/(?![/\\])/);
    }),
    { seed: 20261122, numRuns: 500 },
  );
});

Deno.test("a location takes from the request what the redirect does not say", () => {
  const request = { scheme: "http", host: "a.example:8080", path: "/x", query: "q=1" } as const;
  const cases: readonly [redirect: string, location: string][] = [
    ["308:https://b.example/new", "https://b.example/new?q=1"],
    ["308:https://b.example:8443", "https://b.example:8443/x?q=1"],
    ["301:https:", "https://a.example/x?q=1"],
    ["301:http:", "http://a.example:8080/x?q=1"],
    ["302:/login", "http://a.example:8080/login?q=1"],
    ["307://b.example", "http://b.example/x?q=1"],
    ["303:https:/new", "https://a.example/new?q=1"],
  ];
  for (const [text, location] of cases) {
    const { redirect } = parseRule(`redirect=${text}`);
    assertEquals(redirectLocation(redirect!, request), location, text);
  }
});

Deno.test("a location never names a host that neither the request nor the redirect names", () => {
  const { redirect } = parseRule("redirect=301:https:");
  const request = { scheme: "http", host: "", path: "//evil.example/x", query: "" } as const;
  assertEquals(redirectLocation(redirect!, request), "/evil.example/x");
  assertEquals(
    redirectLocation(redirect!, { ...request, path: "/\\evil.example" }),
    "/evil.example",
  );
  assertEquals(
    redirectLocation(redirect!, { ...request, host: "[::1]:80" }),
    "https://[::1]/evil.example/x",
  );
});

import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { RouteBuilder } from "../../lib/route/builder.ts";
import type { Route } from "../../lib/route/route.ts";
import { formatRule, parseRule } from "../../lib/route/rule_text.ts";
import { validateRoute } from "../../lib/route/validate.ts";
import { routeMatch } from "../support/route_arbitrary.ts";

Deno.test("a rule says what the builder says", () => {
  assertEquals(
    parseRule("path=/api header=X-Version:v2 -> http://localhost:8081"),
    new RouteBuilder().path("/api").header("X-Version", "v2").target("http://localhost:8081")
      .build(),
  );
  assertEquals(
    parseRule(
      "host=*.example.com http-method=GET path=/a path-exact=/b path-regex=/c\\d header=X " +
        "header~=Y:[ab] param=p:1 param=q param~=r:x+ rewrite-path=/z set-request-header=A:b:c " +
        "add-request-header=B: remove-request-header=C set-response-header=D:1 " +
        "add-response-header=E:2 remove-response-header=F -> a:1 weight=9, b:2,c:3  weight=0",
    ),
    new RouteBuilder().host("*.example.com").httpMethod("GET").path("/a").pathExact("/b")
      .pathRegex("/c\\d").headerPresent("X").header("Y", /[ab]/).param("p", "1").paramPresent("q")
      .param("r", /x+/).rewritePath("/z").setRequestHeader("A", "b:c").addRequestHeader("B", "")
      .removeRequestHeader("C").setResponseHeader("D", "1").addResponseHeader("E", "2")
      .removeResponseHeader("F").target("a:1", { weight: 9 }).target("b:2")
      .target("c:3", { weight: 0 }).build(),
  );
  assertEquals(
    parseRule("service=p.S method=M full-method=p.S/M grpc-header=a:1 grpc-header~=b:c -> a:1"),
    new RouteBuilder().service("p.S").method("M").fullMethod("/p.S/M").grpcHeader("a", "1")
      .grpcHeader("b", /c/).target("a:1").build(),
  );
});

Deno.test("a rule without conditions matches everything", () => {
  assertEquals(parseRule(" ->\tlocalhost:80 "), new RouteBuilder().target("localhost:80").build());
});

Deno.test("quotes take white space and separators into a value", () => {
  const { match, targets } = parseRule(
    String
      .raw`header=X:"a b" param="n:m":"=\"\\\d" path="/q" path-regex=/a->b -> "unix:/a,b" weight="2"`,
  );
  assertEquals(match.headers, [{ name: "x", type: "exact", value: "a b" }]);
  assertEquals(match.params, [{ name: "n:m", type: "exact", value: String.raw`="\\d` }]);
  assertEquals(match.paths?.map((path) => path.value), ["/q", "/a->b"]);
  assertEquals(targets, [{ addr: "unix:/a,b", weight: 2 }]);
});

Deno.test("a redirect names any part of the location", () => {
  const cases: readonly [text: string, redirect: NonNullable<Route["redirect"]>][] = [
    ["308:https://example.com/a", {
      status: 308,
      scheme: "https",
      host: "example.com",
      path: "/a",
    }],
    ["301:HTTPS:", { status: 301, scheme: "https" }],
    ["302://a:81", { status: 302, host: "a:81" }],
    ["303:/login", { status: 303, path: "/login" }],
    ["307:http:/x", { status: 307, scheme: "http", path: "/x" }],
  ];
  for (const [text, redirect] of cases) {
    assertEquals(parseRule(`path=/old redirect=${text}`).redirect, redirect);
  }
});

Deno.test("a rule that cannot be read is refused with the piece that is wrong", () => {
  const cases: readonly [rule: string, ...parts: string[]][] = [
    ["", 'rule "" leads nowhere', '"-> ADDRESS" or redirect='],
    ["path=/a", "leads nowhere"],
    [
      "pth=/a -> a:1",
      '"pth=/a" has no known key',
      "path-regex",
      "add-response-header",
      "-> ADDRESS",
    ],
    ["localhost:80", '"localhost:80" has no known key'],
    ["path=/a weight=1 -> a:1", '"weight=1" has no known key'],
    ["path -> a:1", '"path"', "accepted is path=VALUE"],
    ["header~=X -> a:1", '"header~=X"', "header~=NAME:REGEX"],
    ["set-request-header=X -> a:1", '"set-request-header=X"', "set-request-header=NAME:VALUE"],
    ["strip-prefix=/a -> a:1", '"strip-prefix=/a"', "accepted is strip-prefix"],
    ['header=X:"a -> a:1', String.raw`"\"a -> a:1" has no closing quote`],
    ["path=/a ->", "lacks an address"],
    ["path=/a -> a:1,", "lacks an address"],
    ["path=/a -> , a:1", "lacks an address"],
    ["-> a:1 b:2", '"b:2" behind the target "a:1"', "weight=N"],
    ["-> a:1 weight=x", '"weight=x" behind the target "a:1"'],
    ["-> a:1 weight=1 weight=2", '"weight=2" behind the target "a:1"'],
    ["-> a:1 strip-prefix", '"strip-prefix" behind the target'],
    ["-> a:1 -> b:1", '"->" behind the target "a:1"'],
    ["-> a:1 weight=65536", "65536", "an integer 0..65535"],
    ["path=a -> a:1", 'path "a"'],
    ["path=/a strip-prefix rewrite-path=/b -> a:1", "already rewritten"],
    ["redirect=301:/a redirect=302:/b", "a redirect already"],
    ["redirect=/a", 'redirect "/a"', "STATUS:[SCHEME:][//HOST][/PATH]"],
    ["redirect=301:example.com", 'redirect "301:example.com"', "cannot be read"],
    ["redirect=301://", 'redirect host ""'],
    ["redirect=301:/a -> a:1", "a redirect and also the target"],
  ];
  for (const [rule, ...parts] of cases) {
    const { message } = assertThrows(() => parseRule(rule), TypeError);
    for (const part of parts) assertEquals(message.includes(part), true, `${rule}: ${message}`);
  }
});

Deno.test("every rule that is written reads as the same route", () => {
  const text = fc.string({
    unit: fc.constantFrom("a", "B", " ", "\t", '"', "\\", ":", "=", ",", "->", "~", "'", "\u00e9"),
    minLength: 1,
  });
  const value = fc.string({ unit: fc.constantFrom("a", " ", '"', "\\", ":", "=", ",", "->") });
  const name = fc.constantFrom("x-a", "x-b", "x~", "x'");
  const changes = fc.record({
    remove: fc.array(name, { maxLength: 2 }),
    set: fc.uniqueArray(fc.tuple(name, value), { maxLength: 2, selector: ([name]) => name }),
    add: fc.array(fc.tuple(name, value), { maxLength: 3 }),
  });
  const forwarded = fc.record({
    targets: fc.uniqueArray(
      fc.record({
        addr: fc.constantFrom("a:1", "http://b:80", "[::1]:2", 'unix:/a,"b'),
        weight: fc.integer({ min: 1, max: 65535 }),
      }),
      { minLength: 1, maxLength: 3, selector: (target) => target.addr },
    ),
    requestHeaders: changes,
    rewrite: fc.constant({ type: "full" as const, value: '/n"ew' }),
  }, { requiredKeys: ["targets"] });
  const redirected = fc.record({
    targets: fc.constant([]),
    redirect: fc.record({
      status: fc.constantFrom(301 as const, 302 as const, 308 as const),
      scheme: fc.constantFrom("http" as const, "https" as const),
      host: fc.constantFrom("a.example", "[::1]:81"),
      path: fc.constantFrom("/", "/a/b", '/"'),
    }, { requiredKeys: ["status", "scheme"] }),
  });
  const params = fc.array(fc.record({ name: text, type: fc.constant("exact" as const), value }), {
    maxLength: 2,
  });
  fc.assert(
    fc.property(
      routeMatch,
      params,
      fc.oneof(forwarded, redirected),
      fc.option(changes, { nil: undefined }),
      (match, params, rest, responseHeaders) => {
        let route: Route;
        try {
          route = validateRoute({
            match: { ...match, params: [...(match.params ?? []), ...params] },
            ...rest,
            ...(responseHeaders && { responseHeaders }),
          });
        } catch (error) {
          // Conditions that contradict each other make no route.
          assertEquals((error as Error).message.includes("can never match"), true, String(error));
          return;
        }
        assertEquals(parseRule(formatRule(route)), route);
      },
    ),
    { seed: 20261122, numRuns: 1000 },
  );
});

Deno.test("a prefix rewrite is written in the shorter of its forms", () => {
  for (const change of ["strip-prefix", "rewrite-prefix=/b", "rewrite-path=/c"]) {
    const rule = `path=/a ${change} -> localhost:80`;
    assertEquals(formatRule(parseRule(rule)), rule);
  }
});

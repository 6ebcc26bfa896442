import { assertEquals, assertThrows } from "@std/assert";
import { RouteBuilder } from "../../lib/route/builder.ts";
import type { Route, RouteMatch } from "../../lib/route/route.ts";
import { MAX_VALUES, validateRoute } from "../../lib/route/validate.ts";

const TARGET = { addr: "localhost:8081", weight: 1 };

/** A builder that lacks nothing but what a test gives it. */
const builder = () => new RouteBuilder().target("localhost:8081");

function assertBuildFails(route: RouteBuilder, ...parts: string[]): void {
  const { message } = assertThrows(() => route.build(), TypeError);
  for (const part of parts) assertEquals(message.includes(part), true, message);
}

Deno.test("a route holds what the builder was told, in normal form", () => {
  const route = new RouteBuilder()
    .host("Example.com")
    .path("/api/")
    .pathExact("/health")
    .pathRegex(/\/v\d+/)
    .httpMethod("GET")
    .header("X-Version", "v2")
    .header("X-Trace", /[0-9a-f]+/i)
    .headerPresent("X-Id")
    .param("Page", "1")
    .param("q", /a.*/)
    .paramPresent("debug")
    .target("HTTP://A.example", { weight: 9 })
    .target("b.example:81")
    .rewritePath("/x")
    .setRequestHeader("Host", "Inner.example")
    .addRequestHeader("X-From", " lb ")
    .removeRequestHeader("Cookie")
    .setResponseHeader("Server", "lb")
    .addResponseHeader("X-Via", "1")
    .removeResponseHeader("X-Powered-By")
    .build();
  assertEquals<Route>(route, {
    match: {
      hosts: ["example.com"],
      paths: [
        { type: "prefix", value: "/api" },
        { type: "exact", value: "/health" },
        { type: "regex", value: "\\/v\\d+" },
      ],
      httpMethods: ["GET"],
      headers: [
        { name: "x-version", type: "exact", value: "v2" },
        { name: "x-trace", type: "regex", value: "(?i:[0-9a-f]+)" },
        { name: "x-id", type: "present" },
      ],
      params: [
        { name: "Page", type: "exact", value: "1" },
        { name: "q", type: "regex", value: "a.*" },
        { name: "debug", type: "present" },
      ],
    },
    targets: [{ addr: "http://a.example:80", weight: 9 }, { addr: "b.example:81", weight: 1 }],
    rewrite: { type: "full", value: "/x" },
    requestHeaders: {
      remove: ["cookie"],
      set: [["host", "inner.example"]],
      add: [["x-from", "lb"]],
    },
    responseHeaders: { remove: ["x-powered-by"], set: [["server", "lb"]], add: [["x-via", "1"]] },
  });
});

Deno.test("gRPC conditions are held by their full names", () => {
  const route = builder()
    .service("pkg.Users")
    .method("Login")
    .fullMethod("pkg.Users/Login")
    .grpcHeader("X-Tenant", "a")
    .grpcHeader("x-user", /u\d/)
    .grpcHeader("X-Token", { present: true })
    .build();
  assertEquals<RouteMatch>(route.match, {
    services: ["pkg.Users"],
    methods: ["Login"],
    fullMethods: ["/pkg.Users/Login"],
    grpcHeaders: [
      { name: "x-tenant", type: "exact", value: "a" },
      { name: "x-user", type: "regex", value: "u\\d" },
      { name: "x-token", type: "present" },
    ],
  });
});

Deno.test("a route does not change when its builder goes on", () => {
  const going = builder().path("/a");
  const first = going.build();
  going.path("/b").target("localhost:1");
  assertEquals(first, { match: { paths: [{ type: "prefix", value: "/a" }] }, targets: [TARGET] });
  assertEquals(going.build().targets.length, 2);
});

Deno.test("a condition that is repeated is held once", () => {
  const { match } = builder().path("/a").path("/a/").headerPresent("X").headerPresent("x").build();
  assertEquals(match, {
    paths: [{ type: "prefix", value: "/a" }],
    headers: [{ name: "x", type: "present" }],
  });
});

Deno.test("a redirect needs no target", () => {
  const route = new RouteBuilder().redirect({ status: 308, scheme: "https", host: "A.example" })
    .build();
  assertEquals(route, {
    match: {},
    targets: [],
    redirect: { status: 308, scheme: "https", host: "a.example" },
  });
});

Deno.test("the last word on the path of the target counts", () => {
  const going = builder().path("/a").rewritePath("/x").rewritePrefix("/y/");
  assertEquals(going.build().rewrite, { type: "prefix", value: "/y" });
  assertEquals(going.stripPrefix().build().rewrite, { type: "prefix", value: "" });
});

Deno.test("a route that leads nowhere is refused", () => {
  assertBuildFails(new RouteBuilder().path("/a"), "neither a target nor a redirect");
});

Deno.test("a redirect beside anything that only a forwarded request needs is refused", () => {
  const redirect = { status: 301, path: "/new" } as const;
  assertBuildFails(builder().redirect(redirect), 'a redirect and also the target "localhost:8081"');
  const alone = () => new RouteBuilder().path("/a").redirect(redirect);
  assertBuildFails(alone().stripPrefix(), "also a path rewrite");
  assertBuildFails(alone().setRequestHeader("a", "b"), "also changes of request fields");
  assertEquals(alone().setResponseHeader("a", "b").build().redirect, redirect);
});

Deno.test("a redirect that leads back to itself or is none is refused", () => {
  const redirect = (redirect: unknown) =>
    new RouteBuilder().redirect(redirect as NonNullable<Route["redirect"]>);
  assertBuildFails(redirect({ status: 301 }), "leads back to itself", "a scheme, a host or a path");
  assertBuildFails(redirect({ status: 200, path: "/" }), "200", "301, 302, 303, 307, 308");
  assertBuildFails(redirect({ status: 301, scheme: "ftp" }), '"ftp"', "http, https");
  assertBuildFails(redirect({ status: 301, host: "*.a" }), '"*.a"', "names no single host");
  assertBuildFails(redirect({ status: 301, path: "//evil.example" }), "begins like a host");
});

Deno.test("malformed conditions are refused with their value", () => {
  assertBuildFails(builder().path("api"), 'path "api"', 'does not begin with "/"', "accepted is");
  assertBuildFails(builder().path("/a*b"), 'path "/a*b"');
  assertBuildFails(builder().pathExact("api"), 'exact path "api"');
  assertBuildFails(builder().pathRegex("("), 'regex "("', "Unterminated group");
  assertBuildFails(builder().host("a:80"), 'host "a:80"', "it has a port");
  assertBuildFails(builder().httpMethod("get"), 'HTTP method "get"', '"GET" here');
  assertBuildFails(builder().header("a b", "c"), 'header name "a b"');
  assertBuildFails(builder().header("a", "b\r\nc"), "header value", "CR, LF or NUL");
  assertBuildFails(builder().header("a", /\_/), 'regex "\\\\_"', "Invalid escape");
  assertBuildFails(builder().param("", "c"), 'param name ""');
  assertBuildFails(builder().service("/a.B"), 'gRPC service "/a.B"');
  assertBuildFails(builder().method("a.B/C"), 'gRPC method "a.B/C"');
  assertBuildFails(builder().fullMethod("a.B"), 'gRPC full method "a.B"', "/pkg.v1.Users/Login");
  assertBuildFails(builder().grpcHeader("a:", "b"), 'gRPC header name "a:"');
});

Deno.test("conditions that no request can meet are refused", () => {
  const reason = "can never match";
  assertBuildFails(builder().service("a.B").fullMethod("a.C/D"), reason);
  assertBuildFails(builder().method("D").fullMethod("a.C/E"), reason);
  assertBuildFails(builder().path("/web").service("a.B"), reason);
  assertBuildFails(builder().pathExact("/a.B/X").service("a.B").method("Y"), reason);
  assertBuildFails(builder().pathRegex("/web/.*").fullMethod("a.B/C"), reason);
  assertBuildFails(builder().path("/:x/:y/:z").method("Y"), reason);
  builder().path("/web").path("/").service("a.B").build();
});

Deno.test("the targets are refused if their addresses or weights are wrong", () => {
  const weight = (weight: number) => new RouteBuilder().target("a:1", { weight });
  assertBuildFails(new RouteBuilder().target("a"), '"a"', "the port is missing");
  assertBuildFails(weight(-1), 'weight of "a:1" -1', "an integer 0..65535");
  assertBuildFails(weight(65536), "65536", "an integer 0..65535");
  assertBuildFails(weight(1.5), "1.5", "an integer 0..65535");
  assertBuildFails(weight(NaN), "an integer 0..65535");
  assertBuildFails(weight(0), "no target is left", "above 0");
  assertBuildFails(weight(0).target("b:1", { weight: 0 }), "no target is left");
  assertEquals(weight(0).target("b:1", { weight: 65535 }).build().targets.length, 2);
  assertEquals(weight(-0).target("b:1").build().targets[0], { addr: "a:1", weight: 0 });
  assertBuildFails(
    new RouteBuilder().target("http://a").target("HTTP://A:80", { weight: 2 }),
    '"http://a:80"',
    "it is there twice",
  );
});

Deno.test("fields that frame a message or belong to a connection cannot be changed", () => {
  const names = [
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Upgrade",
    "Proxy-Connection",
  ];
  for (const name of names) {
    const parts = [JSON.stringify(name), "the proxy writes it itself"];
    assertBuildFails(builder().setRequestHeader(name, "x"), "request", ...parts);
    assertBuildFails(builder().addRequestHeader(name, "x"), "request", ...parts);
    assertBuildFails(builder().removeRequestHeader(name), "request", ...parts);
    assertBuildFails(builder().setResponseHeader(name, "x"), "response", ...parts);
    assertBuildFails(builder().addResponseHeader(name, "x"), "response", ...parts);
    assertBuildFails(builder().removeResponseHeader(name), "response", ...parts);
  }
});

Deno.test("Host can be set on requests and nothing else", () => {
  const accepted = "accepted is setting it on requests";
  assertEquals(builder().setRequestHeader("Host", "A:80").build().requestHeaders, {
    set: [["host", "a:80"]],
  });
  assertBuildFails(builder().setRequestHeader("Host", "a/b"), '"a/b"', "is no host label");
  assertBuildFails(builder().addRequestHeader("Host", "a"), "exactly one", accepted);
  assertBuildFails(builder().removeRequestHeader("Host"), "cannot be removed", accepted);
  assertBuildFails(builder().setResponseHeader("host", "a"), "a response has none", accepted);
});

Deno.test("a field cannot be set to two values, or to one that would end it", () => {
  assertBuildFails(
    builder().setRequestHeader("A", "1").setRequestHeader("a", "1"),
    'request header to set "a"',
    "set twice",
  );
  for (const value of ["a\r\nb: c", "a\n", "a\r", "a\0"]) {
    assertBuildFails(builder().setRequestHeader("A", value), "CR, LF or NUL");
    assertBuildFails(builder().addResponseHeader("A", value), "CR, LF or NUL");
  }
});

Deno.test("a prefix is rewritten only where every path condition is a literal prefix", () => {
  assertBuildFails(builder().stripPrefix(), "no path condition", "literal prefix");
  assertBuildFails(builder().path("/a/:b").stripPrefix(), '"/a/:b"', "literal prefix");
  assertBuildFails(
    builder().path("/a").pathExact("/b").rewritePrefix("/c"),
    'exact path condition "/b"',
  );
  assertBuildFails(
    builder().path("/a").pathRegex("/b.*").stripPrefix(),
    'regex path condition "/b.*"',
  );
  assertBuildFails(builder().path("/a").rewritePrefix("b"), 'prefix rewrite "b"');
  assertEquals(builder().path("/a/*").stripPrefix().build().rewrite, { type: "prefix", value: "" });
});

Deno.test("a route that would fill the table by itself is refused", () => {
  const many = builder();
  for (let i = 0; i <= MAX_VALUES; i++) many.host(`h${i}.example`);
  assertBuildFails(many, "hosts", `${MAX_VALUES + 1} values`, `at most ${MAX_VALUES}`);
  const wide = builder();
  for (let i = 0; i < 100; i++) wide.host(`h${i}.example`).path(`/p${i}`);
  assertBuildFails(wide, "10000 combinations", "at most 4096");
});

Deno.test("a route that comes as JSON is checked like any other", () => {
  const json = JSON.stringify({
    match: { headers: [{ name: "X-A", type: "exact", value: "1" }], hosts: [] },
    targets: [{ addr: "LOCALHOST:80" }],
  });
  assertEquals(validateRoute(JSON.parse(json)), {
    match: { headers: [{ name: "x-a", type: "exact", value: "1" }] },
    targets: [{ addr: "localhost:80", weight: 1 }],
  });

  const cases: readonly [route: unknown, ...parts: string[]][] = [
    [null, "route null", "it is no object"],
    [{ match: [], targets: [TARGET] }, "match []", "it is no object"],
    [{ match: {}, target: [TARGET] }, 'route "target"', "there is no such key"],
    [{ match: { header: [] }, targets: [TARGET] }, 'match "header"', "headers, params"],
    [{ match: { paths: "/a" }, targets: [TARGET] }, 'paths "/a"', "it is no list"],
    [{ match: { paths: ["/a"] }, targets: [TARGET] }, 'path condition "/a"', "it is no object"],
    [
      { match: { paths: [{ type: "glob", value: "/a" }] }, targets: [TARGET] },
      'type of the path condition "glob"',
      "prefix, exact, regex",
    ],
    [
      { match: { headers: [{ name: "a", type: "exact" }] }, targets: [TARGET] },
      "header value undefined",
      "it is no text",
    ],
    [
      { match: { headers: [{ name: "a", type: "present", value: "x" }] }, targets: [TARGET] },
      'header condition of type "present" "value"',
      "there is no such key",
    ],
    [
      { match: { params: [{ name: 1, type: "present" }] }, targets: [TARGET] },
      "param name 1",
    ],
    [
      { match: { params: [{ name: "a", type: "regexp", value: "x" }] }, targets: [TARGET] },
      'type of the param condition "regexp"',
    ],
    [{ match: {}, targets: [{ addr: 80 }] }, "target 80", "it is no text"],
    [{ match: {}, targets: [{ ...TARGET, weight: "1" }] }, 'weight of "localhost:8081" "1"'],
    [
      { match: {}, targets: [TARGET], rewrite: { type: "x", value: "" } },
      "type of the path rewrite",
    ],
    [
      { match: {}, targets: [TARGET], requestHeaders: { set: { a: "b" } } },
      'set {"a":"b"}',
      "it is no list",
    ],
    [
      { match: {}, targets: [TARGET], requestHeaders: { set: ["ab"] } },
      'request header to set "ab"',
      "it is no pair",
    ],
  ];
  for (const [route, ...parts] of cases) {
    const { message } = assertThrows(() => validateRoute(route as Route), TypeError);
    for (const part of parts) assertEquals(message.includes(part), true, message);
  }
});

Deno.test("checking a checked route changes nothing", () => {
  const route = builder().path("/a/").header("X", " 1 ").stripPrefix().addRequestHeader("B", "c")
    .build();
  assertEquals(validateRoute(route), route);
  assertEquals(validateRoute(JSON.parse(JSON.stringify(route))), route);
});

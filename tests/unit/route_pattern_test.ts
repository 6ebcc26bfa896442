import { assertEquals, assertThrows } from "@std/assert";
import {
  compileRegex,
  formatRegex,
  literalBeginning,
  MAX_PATH,
  MAX_REGEX,
  parseAuthority,
  parseExactPath,
  parseFieldName,
  parseFieldValue,
  parseFullMethod,
  parseHostPattern,
  parseHttpMethod,
  parseMethodName,
  parseNewPath,
  parsePathPattern,
  parseServiceName,
} from "../../lib/route/pattern.ts";

/** Asserts that each value is refused with a message that shows it and has `reason` in it. */
function assertRefused<V>(
  parse: (value: V) => unknown,
  cases: readonly [V, reason: string][],
): void {
  for (const [value, reason] of cases) {
    const error = assertThrows(() => parse(value), TypeError, reason);
    if (typeof value === "string" && value.length < 50) {
      assertEquals(error.message.includes(JSON.stringify(value)), true, error.message);
    }
    assertEquals(error.message.includes("; accepted is "), true, error.message);
  }
}

Deno.test("a path without named segments is an open prefix, with or without /* at the end", () => {
  assertEquals(parsePathPattern("/"), { text: "/", segments: [], open: true });
  assertEquals(parsePathPattern("/*"), { text: "/*", segments: [], open: true });
  assertEquals(parsePathPattern("/api"), { text: "/api", segments: ["api"], open: true });
  assertEquals(parsePathPattern("/api/"), { text: "/api", segments: ["api"], open: true });
  assertEquals(parsePathPattern("/s/*"), { text: "/s/*", segments: ["s"], open: true });
});

Deno.test("a path with a named segment is the whole path unless /* opens it", () => {
  const segments = ["users", undefined];
  assertEquals(parsePathPattern("/users/:id"), { text: "/users/:id", segments, open: false });
  assertEquals(parsePathPattern("/users/:id/"), { text: "/users/:id", segments, open: false });
  assertEquals(parsePathPattern("/users/:id/*"), { text: "/users/:id/*", segments, open: true });
  assertEquals(parsePathPattern("/v1/a:b").segments, ["v1", "a:b"]);
});

Deno.test("a malformed path pattern is refused with the reason", () => {
  assertRefused(parsePathPattern, [
    ["", 'does not begin with "/"'],
    ["api", 'does not begin with "/"'],
    ["/a//b", "empty segment"],
    ["//", "empty segment"],
    ["/a/../b", "dot segment"],
    ["/a/.", "dot segment"],
    ["/a*", '"*" must be the whole last segment'],
    ["/*/a", '"*" must be the whole last segment'],
    ["/:", 'is no named segment such as ":id"'],
    ["/:1", 'is no named segment such as ":id"'],
    ["/a?b=c", "write it as %XX"],
    ["/a#b", "write it as %XX"],
    ["/a b", "write it as %XX"],
    ["/\u00e9", "write it as %XX"],
    [`/${"a".repeat(MAX_PATH)}`, `it has ${MAX_PATH + 1} characters`],
    [undefined as unknown as string, "it is no text"],
  ]);
});

Deno.test("an exact path is any path as it is sent, or an asterisk", () => {
  for (const path of ["/", "/a//b/../:c/*", "*", `/${"a".repeat(MAX_PATH - 1)}`]) {
    assertEquals(parseExactPath(path), path);
  }
  assertRefused(parseExactPath, [["a", 'begin with "/"'], ["**", 'begin with "/"'], ["/ ", "%XX"]]);
});

Deno.test("a new path never begins like a host", () => {
  const parse = (path: string) => parseNewPath("path", path);
  assertEquals(parse("/v2//x"), "/v2//x");
  assertRefused(parse, [
    ["//evil.example", "begins like a host"],
    ["/\\evil.example", "begins like a host"],
    ["v2", 'begin with "/"'],
    ["/v2?x=1", "%XX"],
  ]);
});

Deno.test("a host condition gets its normal form", () => {
  assertEquals(parseHostPattern("Example.COM"), "example.com");
  assertEquals(parseHostPattern("example.com."), "example.com");
  assertEquals(parseHostPattern("*.Example.com"), "*.example.com");
  assertEquals(parseHostPattern("my_service"), "my_service");
  assertEquals(parseHostPattern("192.0.2.1"), "192.0.2.1");
  assertEquals(parseHostPattern("[0:0::1]"), "[::1]");
});

Deno.test("a malformed host condition is refused with the reason", () => {
  assertRefused(parseHostPattern, [
    ["", "is no host label"],
    ["*", '"*" must be the whole first label'],
    ["*.", '"*" must be the whole first label'],
    ["a.*.com", '"*" must be the whole first label'],
    ["*a.com", '"*" must be the whole first label'],
    ["example.com:80", "it has a port"],
    ["::1", "it has a port"],
    ["[::1]:80", "no IPv6 address"],
    ["[1.2.3.4]", "no IPv6 address"],
    ["a..b", "is no host label"],
    ["-a.com", "is no host label"],
    ["a b.com", "is no host label"],
    ["http://a", "is no host label"],
    ["m\u00fcnchen.de", "xn--"],
    [`${"a".repeat(64)}.com`, "is no host label"],
    ["a.".repeat(127) + "com", "it has 257 characters"],
    [7 as unknown as string, "it is no text"],
  ]);
});

Deno.test("an authority is one host with an optional port", () => {
  const parse = (text: string) => parseAuthority("host", text);
  assertEquals(parse("Example.com"), "example.com");
  assertEquals(parse("example.com:0443"), "example.com:443");
  assertEquals(parse("[::1]:80"), "[::1]:80");
  assertRefused(parse, [
    ["*.example.com", "names no single host"],
    ["example.com:0", "not 1 to 65535"],
    ["example.com:65536", "not 1 to 65535"],
  ]);
  assertThrows(() => parse("a:b:80"), TypeError, "is no host label");
  assertThrows(() => parse("a\nb"), TypeError, "is no host label");
});

Deno.test("a field name is a token and loses its case", () => {
  const parse = (text: string) => parseFieldName("header name", text);
  assertEquals(parse("X-Version"), "x-version");
  assertRefused(parse, [["", "no field name"], [":path", "no field name"], [
    "a b",
    "no field name",
  ]]);
});

Deno.test("a field value is ASCII without control characters, white space around it is cut", () => {
  const parse = (text: string) => parseFieldValue("header value", text);
  assertEquals(parse(" \ta b\tc "), "a b\tc");
  assertEquals(parse(""), "");
  assertRefused(parse, [
    ["a\r\nX: y", "CR, LF or NUL"],
    ["a\n", "CR, LF or NUL"],
    ["a\0", "CR, LF or NUL"],
    ["a\x1b", "cannot have"],
    ["\u00e9", "cannot have"],
  ]);
});

Deno.test("an HTTP method keeps its case, and one that is surely meant otherwise is refused", () => {
  assertEquals(parseHttpMethod("GET"), "GET");
  assertEquals(parseHttpMethod("Purge"), "Purge");
  assertRefused(parseHttpMethod, [
    ["get", "methods are case-sensitive"],
    ["Post", "methods are case-sensitive"],
    ["", "it is no token"],
    ["A B", "it is no token"],
  ]);
});

Deno.test("gRPC names are those of Protocol Buffers", () => {
  assertEquals(parseServiceName("pkg.v1.Users"), "pkg.v1.Users");
  assertEquals(parseMethodName("Login"), "Login");
  assertEquals(parseFullMethod("/pkg.Users/Login"), "/pkg.Users/Login");
  assertEquals(parseFullMethod("pkg.Users/Login"), "/pkg.Users/Login");
  assertRefused(parseServiceName, [
    ["", "no full service name"],
    ["/pkg.Users", "no full service name"],
    ["pkg.Users/Login", "no full service name"],
    ["pkg..Users", "no full service name"],
  ]);
  assertRefused(parseMethodName, [["a.B", "no method name"], ["A/b", "no method name"]]);
  assertRefused(parseFullMethod, [
    ["pkg.Users", "no service and method"],
    ["/a/b/c", "no service and method"],
    ["//a/b", "no service and method"],
    ["a/", "no service and method"],
  ]);
});

Deno.test("a regular expression must match the whole value", () => {
  const regex = compileRegex("a|bc");
  assertEquals(["a", "bc", "ac", "abc", "xa", "bcx"].map((text) => regex.test(text)), [
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
});

Deno.test("a slash or a hyphen in a class needs no backslash", () => {
  assertEquals(compileRegex("/users/[^/]+").test("/users/7"), true);
  assertEquals(compileRegex("/users/[^/]+").test("/users/7/x"), false);
  assertEquals(compileRegex("[a-z-]+").test("a-b"), true);
  assertEquals(compileRegex("[[a-z]--[aeiou]]").test("a"), false);
});

Deno.test("a regular expression that does not compile, is empty or too long is refused", () => {
  assertEquals(compileRegex("a".repeat(MAX_REGEX)).test("a".repeat(MAX_REGEX)), true);
  assertRefused(compileRegex, [
    ["", "it is empty"],
    ["a".repeat(MAX_REGEX + 1), `it has ${MAX_REGEX + 1} bytes`],
    ["\u20ac".repeat(342), "it has 1026 bytes"],
    ["(", "Unterminated group"],
    ["a)|(b", "Unmatched ')'"],
    ["[z-a]", "Range out of order"],
    ["a\\", "\\ at end of pattern"],
  ]);
});

Deno.test("the flags of a RegExp that change what matches are kept", () => {
  assertEquals(formatRegex(/v\d/), "v\\d");
  assertEquals(formatRegex(/v\d/gv), "v\\d");
  assertEquals(compileRegex(formatRegex(/v\d/i)).test("V2"), true);
  assertEquals(compileRegex(formatRegex(/a.b/s)).test("a\nb"), true);
  assertEquals(compileRegex(formatRegex(/a|b/i)).test("B"), true);
});

Deno.test("the literal beginning of an expression ends at its first operator", () => {
  const cases: readonly [source: string, literal: string][] = [
    ["/api/users", "/api/users"],
    ["^/api/v[12]", "/api/v"],
    [String.raw`\/api\/v1\.0`, "/api/v1.0"],
    ["/api/.*", "/api/"],
    ["/apis?", "/api"],
    ["/a+b", "/a"],
    ["/ab*", "/a"],
    ["/ab{0}", "/a"],
    ["/ab{0,2}", "/a"],
    [String.raw`/a\d`, "/a"],
    [String.raw`/a\u{62}`, "/a"],
    ["/a(b|c)", "/a"],
    ["/a|/b", ""],
    ["(?:/a)", ""],
    ["(?i:/a)", ""],
    [String.raw`/a[\|]`, "/a"],
    [String.raw`/a[[\(]]|/b`, ""],
    ["/a[^/]+/b", "/a"],
    ["/a[[]|/b", ""],
    ["/a[(]|/b", ""],
    ["/\u00e9", "/"],
    ["$", ""],
  ];
  for (const [source, literal] of cases) {
    assertEquals(literalBeginning(source, compileRegex(source)), literal, source);
  }
});

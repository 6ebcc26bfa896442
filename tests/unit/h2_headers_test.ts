/** Field sections as requests, responses and trailers: RFC 9113, sections 8.1 to 8.3, and its abuses. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Decoder } from "../../lib/http/h2/hpack/decoder.ts";
import { hostEnd, isAuthority, sameAuthority } from "../../lib/http/authority.ts";
import { checkTrailers } from "../../lib/http/h2/headers.ts";
import { H2RequestHead, type HeadVerdict } from "../../lib/http/h2/request_head.ts";
import { H2ResponseHead } from "../../lib/http/h2/response_head.ts";
import { TextCache } from "../../lib/http/h2/text_cache.ts";
import { bytesOf, encodePairs, listOf, type Pair } from "../support/hpack.ts";

const METHOD: Pair = [":method", "GET"];
const SCHEME: Pair = [":scheme", "https"];
const PATH: Pair = [":path", "/"];
const AUTHORITY: Pair = [":authority", "a.example"];
const REQUEST: readonly Pair[] = [METHOD, SCHEME, PATH, AUTHORITY];

/** The fields of a good request with one pseudo-field changed, or left out. */
function withPseudo(name: string, value?: string): Pair[] {
  return REQUEST.filter(([other]) => other !== name)
    .concat(value === undefined ? [] : [[name, value]]);
}

/** Interprets fields as a request. */
function request(
  fields: readonly Pair[],
  { endStream = false, huffman = false } = {},
): { head: H2RequestHead; verdict: HeadVerdict } {
  const head = new H2RequestHead();
  const block = encodePairs(fields, huffman);
  head.fields.append(block, 0, block.length);
  assertEquals(new Decoder().decode(head.fields), "ok");
  return { head, verdict: head.interpret(endStream) };
}

interface RequestCase {
  readonly name: string;
  readonly fields: readonly Pair[];
  readonly verdict: HeadVerdict;
  /** The code of the error. */
  readonly error?: string;
  readonly endStream?: boolean;
}

const ok = (name: string, fields: readonly Pair[], endStream = false): RequestCase => ({
  name,
  fields,
  verdict: "ok",
  endStream,
});
const malformed = (
  name: string,
  fields: readonly Pair[],
  error = "bad_field",
  endStream = false,
): RequestCase => ({ name, fields, verdict: "malformed", error, endStream });
const refused = (name: string, fields: readonly Pair[], error: string): RequestCase => ({
  name,
  fields,
  verdict: "refused",
  error,
});
const plus = (...fields: Pair[]): Pair[] => [...REQUEST, ...fields];

const REQUESTS: readonly RequestCase[] = [
  ok("a request", REQUEST),
  ok("pseudo-fields in any order", REQUEST.toReversed()),
  ok("a request over http", withPseudo(":scheme", "http")),
  malformed("D1: a value with CR", plus(["a", "b\rc"])),
  malformed("D1: a value with LF", plus(["a", "b\nc"])),
  malformed("D1: a value with NUL", plus(["a", "b\0c"])),
  malformed("D1: a value with CRLF at its end", plus(["a", "b\r\n"])),
  malformed("D2: a name with CRLF", plus(["a\r\nb", "c"])),
  malformed("D2: a name with a space", plus(["a b", "c"])),
  malformed("D2: a name with a colon", plus(["a:b", "c"])),
  malformed("D2: a name in upper case", plus(["Accept", "c"])),
  malformed("D2: a name above ASCII", plus(["a\xe9", "c"])),
  malformed("D2: a name with a parenthesis", plus(["a(b", "c"])),
  malformed("D3: a value with a leading space", plus(["a", " b"])),
  malformed("D3: a value with a trailing tab", plus(["a", "b\t"])),
  ok("bytes above ASCII in a value", plus(["a", "b\xe9"])),
  ok("an empty value", plus(["a", ""])),
  malformed("D4: an empty name", plus(["", "b"])),
  malformed("D5: a path with a space", withPseudo(":path", "/ HTTP/1.1"), "bad_target"),
  malformed("D5: a path with a tab at its end", withPseudo(":path", "/\t")),
  malformed("D6: a path with CRLF", withPseudo(":path", "/a\r\nb: c")),
  malformed(
    "D7: a method with a space",
    withPseudo(":method", "GET /x HTTP/1.1"),
    "bad_request_line",
  ),
  malformed("D7: a scheme that is a URI", withPseudo(":scheme", "http://evil/?"), "bad_target"),
  malformed("another scheme", withPseudo(":scheme", "ftp"), "bad_target"),
  malformed("a scheme in upper case", withPseudo(":scheme", "HTTPS"), "bad_target"),
  refused("D8: host that differs from :authority", plus(["host", "b.example"]), "bad_host"),
  refused("D8: host with another port", plus(["host", "a.example:8443"]), "bad_host"),
  refused("D8: host that is the beginning of :authority", plus(["host", "a.exampl"]), "bad_host"),
  refused("D8: host that is no authority", plus(["host", "a.example/"]), "bad_host"),
  ok("D8: host equal to :authority", plus(["host", "a.example"])),
  ok("D8: host equal but for case and the default port", plus(["host", "A.Example:443"])),
  refused(
    "D8: host with the default port of another scheme",
    plus(["host", "a.example:80"]),
    "bad_host",
  ),
  refused("D9: two host fields", plus(["host", "a.example"], ["host", "a.example"]), "bad_host"),
  refused("D9: neither :authority nor host", withPseudo(":authority"), "bad_host"),
  ok("D9: host without :authority", [...withPseudo(":authority"), ["host", "a.example:1"]]),
  refused("an empty :authority", withPseudo(":authority", ""), "bad_host"),
  refused("D10: user information in :authority", withPseudo(":authority", "u@a"), "bad_host"),
  refused(
    "D10: user information in host",
    [...withPseudo(":authority"), ["host", "u@a"]],
    "bad_host",
  ),
  refused("a port above 65535", withPseudo(":authority", "a:65536"), "bad_host"),
  ...["transfer-encoding", "connection", "upgrade", "keep-alive", "proxy-connection"].map((name) =>
    malformed(`D11: ${name}`, plus([name, "x"]))
  ),
  malformed("D12: te: gzip", plus(["te", "gzip"])),
  malformed("D12: te: trailers, gzip", plus(["te", "trailers, gzip"])),
  malformed("D12: two te, one of them gzip", plus(["te", "trailers"], ["te", "gzip"])),
  malformed("D12: an empty te", plus(["te", ""])),
  ok("D12: te: trailers", plus(["te", "trailers"])),
  malformed(
    "D13: content-length: 5 and the end of the stream",
    plus(["content-length", "5"]),
    "bad_framing",
    true,
  ),
  ok("D13: content-length: 0 and the end of the stream", plus(["content-length", "0"]), true),
  malformed("D14: content-length: +5", plus(["content-length", "+5"]), "bad_framing"),
  malformed("D14: content-length: 5, 5", plus(["content-length", "5, 5"]), "bad_framing"),
  malformed(
    "D14: two content-length",
    plus(["content-length", "5"], ["content-length", "5"]),
    "bad_framing",
  ),
  malformed("D14: an empty content-length", plus(["content-length", ""]), "bad_framing"),
  malformed("D14: content-length: 0x5", plus(["content-length", "0x5"]), "bad_framing"),
  refused(
    "a content-length of 2^53",
    plus(["content-length", "9007199254740992"]),
    "body_too_large",
  ),
  ok("a content-length of 2^53 - 1", plus(["content-length", "9007199254740991"])),
  ...REQUEST.map((pseudo) => malformed(`D15: two ${pseudo[0]}`, [...REQUEST, pseudo])),
  malformed("D15: no :method", withPseudo(":method"), "bad_request_line"),
  malformed("D15: no :scheme", withPseudo(":scheme"), "bad_target"),
  malformed("D15: no :path", withPseudo(":path"), "bad_target"),
  malformed("D15: an empty :method", withPseudo(":method", ""), "bad_request_line"),
  malformed("D15: an empty :scheme", withPseudo(":scheme", ""), "bad_target"),
  malformed("D15: an empty :path", withPseudo(":path", ""), "bad_target"),
  malformed("D15: an unknown pseudo-field", plus([":protocol", "websocket"])),
  malformed("D15: :status", plus([":status", "200"])),
  malformed("D15: a pseudo-field behind others", [METHOD, SCHEME, PATH, ["a", "b"], AUTHORITY]),
  malformed("D15: a pseudo-field name in upper case", [[":Method", "GET"], ...REQUEST.slice(1)]),
  malformed("an empty list", [], "bad_request_line"),
  refused("D16: a path without slash", withPseudo(":path", "foo"), "bad_target"),
  refused("D16: a path with a fragment", withPseudo(":path", "/a#b"), "bad_target"),
  refused("an absolute URI as path", withPseudo(":path", "http://b/"), "bad_target"),
  refused("a path above ASCII", withPseudo(":path", "/\xff"), "bad_target"),
  refused("* with GET", withPseudo(":path", "*"), "bad_target"),
  ok("* with OPTIONS", [[":method", "OPTIONS"], SCHEME, [":path", "*"], AUTHORITY]),
  refused(
    "** with OPTIONS",
    [[":method", "OPTIONS"], SCHEME, [":path", "**"], AUTHORITY],
    "bad_target",
  ),
  refused("D17: CONNECT without path", [[":method", "CONNECT"], AUTHORITY], "method_not_allowed"),
  refused("D17: CONNECT with path", withPseudo(":method", "CONNECT"), "method_not_allowed"),
  refused("TRACE", withPseudo(":method", "TRACE"), "method_not_allowed"),
  ok("a method in lower case, which is another one", withPseudo(":method", "connect")),
  refused("a method of 33 bytes", withPseudo(":method", "M".repeat(33)), "method_not_implemented"),
  ok("a method of 32 bytes", withPseudo(":method", "M".repeat(32))),
  ok("D19: cookie crumbs", plus(["cookie", "a=1"], ["cookie", "b=2"])),
];

for (const { name, fields, verdict, error, endStream = false } of REQUESTS) {
  Deno.test(`a request with ${name} is ${verdict}`, () => {
    for (const huffman of [false, true]) {
      const seen = request(fields, { endStream, huffman });
      assertEquals(seen.verdict, verdict, seen.head.detail);
      if (error !== undefined) assertEquals(seen.head.error, error);
    }
  });
}

Deno.test("a request shows its parts as routing sees them", () => {
  const { head, verdict } = request([
    [":method", "POST"],
    [":scheme", "http"],
    [":path", "/pkg.Service/Call?a=1&b?=2"],
    [":authority", "API.example:8080"],
    ["content-type", "application/grpc+proto"],
    ["te", "trailers"],
    ["content-length", "12"],
    ["x-tag", "one"],
    ["accept", "text/html"],
    ["x-tag", "two"],
    ["cookie", "a=1"],
    ["cookie", "b=2"],
  ]);
  assertEquals(verdict, "ok");
  assertEquals(
    {
      method: head.method,
      path: head.path,
      query: head.query,
      target: head.target,
      host: head.host,
      authority: head.authority,
      grpc: head.grpc,
      secure: head.secure,
      trailers: head.trailers,
      contentLength: head.contentLength,
      pseudoCount: head.pseudoCount,
      hasAuthority: head.hasAuthority,
    },
    {
      method: "POST",
      path: "/pkg.Service/Call",
      query: "a=1&b?=2",
      target: "/pkg.Service/Call?a=1&b?=2",
      host: "api.example",
      authority: "API.example:8080",
      grpc: true,
      secure: false,
      trailers: true,
      contentLength: 12,
      pseudoCount: 4,
      hasAuthority: true,
    },
  );
  assertEquals(head.header("x-tag"), "one, two");
  assertEquals(head.header("accept"), "text/html");
  assertEquals(head.header("cookie"), "a=1; b=2");
  assertEquals(head.header("host"), "API.example:8080");
  assertEquals(head.header(":path"), undefined);
  assertEquals(head.header("x-ta"), undefined);
  assertEquals(head.header("x-tags"), undefined);
  assertEquals(head.header("via"), undefined);
});

Deno.test("a head that is used again forgets the request before", () => {
  const head = new H2RequestHead();
  const read = (fields: readonly Pair[]) => {
    const block = encodePairs(fields);
    head.fields.reset();
    head.fields.append(block, 0, block.length);
    new Decoder().decode(head.fields);
    return head.interpret(false);
  };
  const first = plus(["te", "trailers"], ["content-length", "3"], [
    "content-type",
    "application/grpc",
  ]);
  assertEquals(read([...first, ["host", "a.example"]]), "ok");
  assertEquals([head.method, head.path, head.host, head.query], ["GET", "/", "a.example", ""]);
  assertEquals(read([[":method", "PUT"], SCHEME, [":path", "/x?y"], ["host", "b:1"]]), "ok");
  assertEquals([head.method, head.path, head.host, head.query], ["PUT", "/x", "b", "y"]);
  assertEquals(
    [head.grpc, head.trailers, head.contentLength, head.hasAuthority, head.pseudoCount],
    [false, false, -1, false, 3],
  );
  assertEquals(head.header("host"), "b:1");
});

Deno.test("application/grpc and its kin are told from other content types", () => {
  for (
    const [type, grpc] of [
      ["application/grpc", true],
      ["Application/gRPC", true],
      ["application/grpc+proto", true],
      ["application/grpc;charset=x", true],
      ["application/grpc ; a", true],
      ["application/grpc-web", false],
      ["application/grp", false],
      ["application/json", false],
      ["", false],
    ] as const
  ) {
    assertEquals(request(plus(["content-type", type])).head.grpc, grpc, type);
    assertEquals(response([["content-type", type]]).head.grpc, grpc, type);
  }
  const two = request(plus(["content-type", "text/html"], ["content-type", "application/grpc"]));
  assertEquals(two.head.grpc, false);
});

/** Interprets fields behind `:status: 200`, or what is given instead. */
function response(
  fields: readonly Pair[],
  { status = "200", endStream = false, noBody = false } = {},
): { head: H2ResponseHead; verdict: "ok" | "malformed" } {
  const head = new H2ResponseHead();
  const block = encodePairs([[":status", status], ...fields]);
  head.fields.append(block, 0, block.length);
  assertEquals(new Decoder().decode(head.fields), "ok");
  return { head, verdict: head.interpret(endStream, noBody) };
}

interface ResponseCase {
  readonly name: string;
  readonly fields?: readonly Pair[];
  readonly status?: string;
  readonly endStream?: boolean;
  readonly noBody?: boolean;
  readonly verdict: "ok" | "malformed";
}

const LENGTH: readonly Pair[] = [["content-length", "5"]];
const RESPONSES: readonly ResponseCase[] = [
  { name: "a body", fields: LENGTH, verdict: "ok" },
  { name: "trailers only", fields: [["grpc-status", "0"]], endStream: true, verdict: "ok" },
  ...["99", "20", "2000", "+20", "2 0", "", "099", "600", "101"].map((status) => ({
    name: `status ${JSON.stringify(status)}`,
    status,
    verdict: "malformed" as const,
  })),
  ...["100", "103", "204", "304", "418", "599"].map((status) => ({
    name: `status ${status}`,
    status,
    verdict: "ok" as const,
  })),
  { name: "two :status", fields: [[":status", "200"]], verdict: "malformed" },
  { name: ":path", fields: [[":path", "/"]], verdict: "malformed" },
  { name: "an unknown pseudo-field", fields: [[":reason", "OK"]], verdict: "malformed" },
  { name: "a value with LF", fields: [["a", "b\nc"]], verdict: "malformed" },
  { name: "a name in upper case", fields: [["A", "b"]], verdict: "malformed" },
  { name: "transfer-encoding", fields: [["transfer-encoding", "chunked"]], verdict: "malformed" },
  { name: "connection", fields: [["connection", "close"]], verdict: "malformed" },
  { name: "te", fields: [["te", "trailers"]], verdict: "malformed" },
  {
    name: "an interim status that ends the stream",
    status: "103",
    endStream: true,
    verdict: "malformed",
  },
  { name: "content-length without a body", fields: LENGTH, endStream: true, verdict: "malformed" },
  { name: "content-length to HEAD", fields: LENGTH, endStream: true, noBody: true, verdict: "ok" },
  {
    name: "content-length with 304",
    fields: LENGTH,
    status: "304",
    endStream: true,
    verdict: "ok",
  },
  {
    name: "content-length: 0 without a body",
    fields: [["content-length", "0"]],
    endStream: true,
    verdict: "ok",
  },
  { name: "two content-length", fields: [...LENGTH, ...LENGTH], verdict: "malformed" },
  { name: "content-length: -5", fields: [["content-length", "-5"]], verdict: "malformed" },
  {
    name: "content-length of 2^64",
    fields: [["content-length", "18446744073709551616"]],
    verdict: "malformed",
  },
];

for (const { name, fields = [], verdict, ...options } of RESPONSES) {
  Deno.test(`a response with ${name} is ${verdict}`, () => {
    const seen = response(fields, options);
    assertEquals(seen.verdict, verdict, seen.head.detail);
  });
}

Deno.test("a response must begin with :status", () => {
  for (const fields of [[], [["a", "b"], [":status", "200"]]] as Pair[][]) {
    const head = new H2ResponseHead();
    const block = encodePairs(fields);
    head.fields.append(block, 0, block.length);
    new Decoder().decode(head.fields);
    assertEquals(head.interpret(false, false), "malformed");
  }
});

Deno.test("a response shows its status and length", () => {
  const { head } = response(LENGTH, { status: "503" });
  assertEquals([head.status, head.interim, head.contentLength], [503, false, 5]);
  assertEquals(response([], { status: "103" }).head.interim, true);
  assertEquals(response([]).head.contentLength, -1);
});

Deno.test("D15: trailers have no pseudo-fields and nothing that frames or routes the message", () => {
  const check = (fields: readonly Pair[]) => {
    const list = listOf(encodePairs(fields));
    new Decoder().decode(list);
    return checkTrailers(list);
  };
  assertEquals(check([]), undefined);
  assertEquals(
    check([["grpc-status", "0"], ["grpc-message", "a%20b"], ["x-bin", "q6s"]]),
    undefined,
  );
  for (
    const name of [
      ":status",
      ":path",
      "content-length",
      "host",
      "transfer-encoding",
      "te",
      "connection",
    ]
  ) {
    assertEquals(check([["grpc-status", "0"], [name, "1"]]), `${name} in trailers`);
  }
  assertEquals(check([["Grpc-Status", "0"]]), 'field name "Grpc-Status"');
  assertEquals(check([["grpc-status", "0\r\n"]]), "value of grpc-status");
  assertEquals(check([["", "0"]]), 'field name ""');
});

Deno.test("a long name is cut in what the log shows of it", () => {
  assertEquals(request(plus(["A".repeat(5000), "b"])).head.detail.length, 64 + 13);
  assertEquals(request(plus(["a".repeat(5000), "b\n"])).head.detail.length, 64 + 9);
});

const AUTHORITIES: readonly (readonly [string, boolean, string?])[] = [
  ["a", true, "a"],
  ["a-b_c.d", true, "a-b_c.d"],
  ["a:", true, "a"],
  ["a:0", true, "a"],
  ["a:65535", true, "a"],
  ["a:65536", false],
  ["a:99999999999999999999", false],
  ["a:8x", false],
  ["a:80:80", false],
  ["", false],
  [":80", false],
  ["127.0.0.1:80", true, "127.0.0.1"],
  ["127", true, "127"],
  ["[::1]", true, "[::1]"],
  ["[::1]:80", true, "[::1]"],
  ["[::ffff:1.2.3.4]", true, "[::ffff:1.2.3.4]"],
  ["[::1", false],
  ["[]", false],
  ["[]:80", false],
  ["[::1]80", false],
  ["[::g]", false],
  ["u@a", false],
  ["a/b", false],
  ["a b", false],
  ["a,b", false],
  ["a%20", false],
  ["\xe9", false],
];

for (const [text, valid, host] of AUTHORITIES) {
  Deno.test(`${JSON.stringify(text)} is ${valid ? "an" : "no"} authority`, () => {
    const bytes = bytesOf("..", text, "..");
    const end = bytes.length - 2;
    assertEquals(isAuthority(bytes, 2, end), valid);
    if (valid) {
      assertEquals(String.fromCharCode(...bytes.subarray(2, hostEnd(bytes, 2, end))), host);
    }
  });
}

Deno.test("authorities are compared without case and without the default port of the scheme", () => {
  const same = (one: string, other: string, https: boolean) =>
    sameAuthority(
      bytesOf(one, other),
      { start: 0, end: one.length },
      { start: one.length, end: one.length + other.length },
      https,
    );
  assertEquals(same("a", "A", true), true);
  assertEquals(same("a", "a:443", true), true);
  assertEquals(same("a:", "a:443", true), true);
  assertEquals(same("a:0443", "a", true), true);
  assertEquals(same("a", "a:443", false), false);
  assertEquals(same("a:80", "a", false), true);
  assertEquals(same("[::1]:80", "[::1]", false), true);
  assertEquals(same("a:8080", "a:8080", false), true);
  assertEquals(same("a:8080", "a:8081", false), false);
  assertEquals(same("a", "b", false), false);
  assertEquals(same("a_b", "a\x7fb", false), false);
});

Deno.test("the text cache gives back the text of the bytes, whatever it gave before", () => {
  const cache = new TextCache();
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.uint8Array({ maxLength: 3 }), fc.uint8Array({ maxLength: 80 })), {
        maxLength: 20,
      }),
      (texts) => {
        for (const bytes of [...texts, ...texts]) {
          const all = bytesOf("x", bytes, "y");
          assertEquals(cache.get(all, 1, all.length - 1), String.fromCharCode(...bytes));
        }
      },
    ),
    { seed: 9113, numRuns: 1000 },
  );
});

import { assert, assertEquals, assertMatch } from "@std/assert";
import { type ChangeSource, compileChanges } from "../../lib/http/field_changes.ts";
import type { ForwardedMode } from "../../lib/http/forwarded.ts";
import { encodeRequestHead, type RequestEncoding } from "../../lib/http/h1/encode_request.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { parseRequest } from "../support/h1_parse.ts";
import { textOf } from "../support/http_text.ts";

interface Options extends Partial<RequestEncoding> {
  readonly mode?: ForwardedMode;
  readonly trusted?: boolean;
  readonly change?: ChangeSource;
}

/** A head as it is forwarded. Unless told otherwise nothing is said of the client. */
function encode(head: readonly string[], options: Options = {}): string[] {
  const text = head.join("\r\n") + "\r\n\r\n";
  const parsed = parseRequest(text);
  assertEquals(parsed.end, text.length, parsed.head.detail);
  const out = new ByteWriter(new Uint8Array(64));
  encodeRequestHead(parsed.head, out, {
    forwarding: {
      mode: options.mode ?? "off",
      client: { address: "192.0.2.1", scheme: "http" },
      trusted: options.trusted ?? false,
      authority: "listener.example:8080",
    },
    requestId: "new-id",
    target: undefined,
    changes: compileChanges(options.change),
    via: undefined,
    ...options,
  });
  const lines = textOf(out.written).split("\r\n");
  assertEquals(lines.splice(-2), ["", ""], "the head ends with an empty line");
  return lines;
}

const ID = "X-Request-Id: new-id";

Deno.test("a request that nobody has named yet gets a name of its own, each another", () => {
  const name = () =>
    encode(["GET / HTTP/1.1", "Host: a"], { requestId: undefined })
      .find((line) => line.startsWith("X-Request-Id: "))!;
  const names = Array.from({ length: 20 }, name);
  for (const line of names) assertMatch(line, /^X-Request-Id: [0-9a-f]{32}$/);
  assertEquals(new Set(names).size, names.length);
  const dropped = encode(["GET / HTTP/1.1", "Host: a"], {
    requestId: undefined,
    change: { remove: ["X-Request-ID"] },
  });
  assertEquals(dropped, ["GET / HTTP/1.1", "Host: a"], "unless a route takes it away");
});

Deno.test("a head is written anew: 1.1, Host first, fields in their order", () => {
  const lines = encode(["GET /a?b HTTP/1.1", "Accept: */*", "hOST: A.example:80", "X-b:c", "D:"]);
  assertEquals(lines, [
    "GET /a?b HTTP/1.1",
    "Host: A.example:80",
    "Accept: */*",
    "X-b: c",
    "D: ",
    ID,
  ]);
});

Deno.test("what is not ASCII in a value goes through byte for byte", () => {
  const lines = encode(["GET / HTTP/1.1", "Host: a", "X: \xff\x80 caf\xc3\xa9"]);
  assertEquals(lines[2], "X: \xff\x80 caf\xc3\xa9");
});

Deno.test("HTTP/1.0 is forwarded as 1.1, with the host that the client reached", () => {
  assertEquals(encode(["GET / HTTP/1.0", "X: y"]), [
    "GET / HTTP/1.1",
    "Host: listener.example:8080",
    "X: y",
    ID,
  ]);
  assertEquals(encode(["GET / HTTP/1.0", "Host: a"])[1], "Host: a");
});

Deno.test("an absolute target is forwarded as a path, its host as Host (RFC 9112, 3.2.2)", () => {
  const lines = (target: string) => encode([`GET ${target} HTTP/1.1`, "Host: other"]).slice(0, 2);
  assertEquals(lines("http://a:81/p?q"), ["GET /p?q HTTP/1.1", "Host: a:81"]);
  assertEquals(lines("http://a"), ["GET / HTTP/1.1", "Host: a"]);
  assertEquals(lines("http://a?q"), ["GET /?q HTTP/1.1", "Host: a"]);
  assertEquals(encode(["OPTIONS http://a HTTP/1.1", "Host: b"])[0], "OPTIONS * HTTP/1.1");
});

Deno.test("a rewritten target takes the place of the one that came", () => {
  const options = { target: "/new?x=1" };
  assertEquals(encode(["GET /old?y HTTP/1.1", "Host: a"], options)[0], "GET /new?x=1 HTTP/1.1");
  assertEquals(encode(["GET http://a HTTP/1.1", "Host: a"], options)[0], "GET /new?x=1 HTTP/1.1");
});

Deno.test("fields of the hop and those that Connection names end here (RFC 9110, 7.6.1)", () => {
  const lines = encode([
    "GET / HTTP/1.1",
    "Host: a",
    "Connection: close, X-Hop, Keep-Alive",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "TE: gzip",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAAQAAP__",
    "x-hop: 1",
    "X-Hop: 2",
    "X-Hops: 3",
  ]);
  assertEquals(lines, ["GET / HTTP/1.1", "Host: a", "X-Hops: 3", ID]);
});

Deno.test("the length is written once, as plain digits", () => {
  const lines = encode(["POST / HTTP/1.1", "Content-Length: 0007", "Host: a"]);
  assertEquals(lines, ["POST / HTTP/1.1", "Host: a", ID, "Content-Length: 7"]);
  const none = encode(["POST / HTTP/1.1", "Content-Length: 0", "Host: a"]);
  assertEquals(none.at(-1), "Content-Length: 0");
});

Deno.test("a chunked body is announced in our own words", () => {
  const lines = encode(["POST / HTTP/1.1", "Transfer-Encoding: \tCHUNKED", "Host: a", "X: y"]);
  assertEquals(lines.slice(2), ["X: y", ID, "Transfer-Encoding: chunked"]);
});

Deno.test("Expect is passed on where it counts and dropped where it does not", () => {
  const has = (...head: string[]) => encode(head).includes("Expect: 100-continue");
  const expect = "Expect: 100-Continue";
  assert(has("PUT / HTTP/1.1", "Host: a", expect, "Content-Length: 1"));
  assert(!has("PUT / HTTP/1.1", "Host: a", expect));
  assert(!has("PUT / HTTP/1.0", "Host: a", expect, "Content-Length: 1"));
});

Deno.test("an upgrade is offered to the backend, with no other connection option", () => {
  const head = ["GET / HTTP/1.1", "Host: a", "Connection: keep-alive, Upgrade", "TE: trailers"];
  const lines = encode([...head, "Upgrade: websocket", "Sec-WebSocket-Key: x"]);
  assertEquals(lines.slice(2), [
    "Sec-WebSocket-Key: x",
    ID,
    "Connection: upgrade",
    "Upgrade: websocket",
  ]);
});

Deno.test("TE: trailers goes on to the backend, other codings do not (RFC 9110, 10.1.4)", () => {
  const te = (value: string) => encode(["GET / HTTP/1.1", "Host: a", `TE: ${value}`]).slice(3);
  assertEquals(te("trailers"), ["Connection: TE", "TE: trailers"]);
  assertEquals(te("gzip;q=0.5 , Trailers"), ["Connection: TE", "TE: trailers"]);
  assertEquals(te("gzip"), []);
  assertEquals(te("trailers2"), []);
});

Deno.test("a request id is made only where there is none", () => {
  assertEquals(encode(["GET / HTTP/1.1", "Host: a", "x-request-id: mine"]).slice(2), [
    "x-request-id: mine",
  ]);
  assertEquals(encode(["GET / HTTP/1.1", "Host: a"]).slice(2), [ID]);
});

Deno.test("Via names us and the version that the request came in (RFC 9110, 7.6.3)", () => {
  const options = { via: "lb" };
  const lines = encode(["GET / HTTP/1.1", "Host: a", "Via: 1.0 p"], options);
  assertEquals(lines.slice(2), ["Via: 1.0 p", ID, "Via: 1.1 lb"]);
  assertEquals(encode(["GET / HTTP/1.0"], options).at(-1), "Via: 1.0 lb");
});

Deno.test("Max-Forwards of OPTIONS counts down by one at each hop (RFC 9110, 7.6.2)", () => {
  const hops = (method: string, value: string) =>
    encode([`${method} / HTTP/1.1`, "Host: a", `Max-Forwards: ${value}`])
      .filter((line) => line.startsWith("Max-Forwards"));
  assertEquals(hops("OPTIONS", "7"), ["Max-Forwards: 6"]);
  assertEquals(hops("OPTIONS", "1"), ["Max-Forwards: 0"]);
  // For other methods the field may be ignored, and what is no number has no meaning.
  assertEquals(hops("GET", "7"), ["Max-Forwards: 7"]);
  assertEquals(hops("OPTIONS", "x"), ["Max-Forwards: x"]);
});

Deno.test("changes drop, replace and add fields", () => {
  const lines = encode(
    ["GET / HTTP/1.1", "Host: a", "X-Gone: 1", "X-Set: 1", "x-set: 2", "X-Add: 1", "Y: z"],
    {
      change: {
        remove: ["x-gone"],
        set: [["x-set", "new"], ["x-fresh", "f"]],
        add: [["x-add", "2"]],
      },
    },
  );
  assertEquals(lines, [
    "GET / HTTP/1.1",
    "Host: a",
    "X-Add: 1",
    "Y: z",
    ID,
    "x-set: new",
    "x-fresh: f",
    "x-add: 2",
  ]);
});

Deno.test("a changed host is the only one", () => {
  const change = { set: [["host", "b.example"]] } as const;
  const lines = encode(["GET / HTTP/1.1", "Host: a"], { change });
  assertEquals(lines, ["GET / HTTP/1.1", "Host: b.example", ID]);
  assertEquals(encode(["GET / HTTP/1.0"], { change })[1], "Host: b.example");
});

Deno.test("a field that a route sets stands there once, even one that we would write", () => {
  const own = ["X-Request-Id", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"];
  for (const name of [...own, "Forwarded", "Via"]) {
    const lines = encode(["GET / HTTP/1.1", "Host: a", `${name}: theirs`], {
      mode: "both",
      via: "lb",
      change: { set: [[name.toLowerCase(), "ours"]] },
    });
    const values = lines.filter((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`));
    assertEquals(values, [`${name.toLowerCase()}: ours`], name);
  }
});

Deno.test("a field that a route removes is gone, even one that we would write", () => {
  const own = ["x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
  for (const name of [...own, "forwarded", "via"]) {
    const lines = encode(["GET / HTTP/1.1", "Host: a", `${name}: theirs`], {
      mode: "both",
      via: "lb",
      change: { remove: [name] },
    });
    assertEquals(lines.filter((line) => line.toLowerCase().startsWith(`${name}:`)), [], name);
  }
});

Deno.test("a head that is larger than the buffer grows it", () => {
  const fields = Array.from({ length: 90 }, (_, i) => `X-${i}: ${"y".repeat(i * 3)}`);
  assertEquals(encode(["GET / HTTP/1.1", "Host: a", ...fields]), [
    "GET / HTTP/1.1",
    "Host: a",
    ...fields,
    ID,
  ]);
});

Deno.test("lines in our own form and others may follow each other in any order", () => {
  // Runs of plain lines are copied in one piece; what breaks a run must not be copied with it.
  const kinds = ["A: b", "C:d", "E:\t f ", "Connection: g", "G: h", "Upgrade: x", "I: ", "J:"];
  const shown = new Map([["C:d", "C: d"], ["E:\t f ", "E: f"], ["J:", "J: "]]);
  const hops = ["Connection: g", "G: h", "Upgrade: x"];
  for (let rotation = 0; rotation < kinds.length; rotation++) {
    const order = [...kinds.slice(rotation), ...kinds.slice(0, rotation)];
    const expected = order.filter((line) => !hops.includes(line))
      .map((line) => shown.get(line) ?? line);
    const lines = encode(["GET / HTTP/1.1", "Host: a", ...order]);
    assertEquals(lines, ["GET / HTTP/1.1", "Host: a", ...expected, ID]);
  }
});

import { assert, assertEquals } from "@std/assert";
import { type ChangeSource, compileChanges } from "../../lib/http/field_changes.ts";
import {
  encodeInterim,
  encodeResponseHead,
  type ResponseEncoding,
} from "../../lib/http/h1/encode_response.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { parseResponse } from "../support/h1_parse.ts";
import { textOf } from "../support/http_text.ts";

interface Options extends Partial<ResponseEncoding> {
  readonly change?: ChangeSource;
  readonly noBody?: boolean;
}

function lines(out: ByteWriter): string[] {
  const lines = textOf(out.written).split("\r\n");
  assertEquals(lines.splice(-2), ["", ""], "the head ends with an empty line");
  return lines;
}

/** A head as it is passed on; its body is framed by its length unless told otherwise. */
function encode(head: readonly string[], options: Options = {}): string[] {
  const text = head.join("\r\n") + "\r\n\r\n";
  const parsed = parseResponse(text, options.noBody);
  assertEquals(parsed.end, text.length, parsed.head.detail);
  const out = new ByteWriter(new Uint8Array(64));
  encodeResponseHead(parsed.head, out, {
    body: "length",
    connection: undefined,
    changes: compileChanges(options.change),
    ...options,
  });
  return lines(out);
}

function interim(...head: string[]): string[] {
  const out = new ByteWriter(new Uint8Array(64));
  encodeInterim(parseResponse(head.join("\r\n") + "\r\n\r\n").head, out);
  return lines(out);
}

Deno.test("a head is written anew: our version, their code and reason, fields in order", () => {
  assertEquals(
    encode(["HTTP/1.0 404 Nothing \xe9 here", "Content-Type:text/html", "Content-Length: 3"]),
    ["HTTP/1.1 404 Nothing \xe9 here", "Content-Type: text/html", "Content-Length: 3"],
  );
  assertEquals(encode(["HTTP/1.1 200", "Content-Length: 1"])[0], "HTTP/1.1 200 ");
});

Deno.test("fields of the hop and those that Connection names end here (RFC 9110, 7.6.1)", () => {
  const head = ["HTTP/1.1 200 OK", "Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5"];
  const more = ["Proxy-Connection: x", "TE: x", "Upgrade: h2c", "X: y", "Content-Length: 1"];
  assertEquals(encode([...head, ...more]), ["HTTP/1.1 200 OK", "X: y", "Content-Length: 1"]);
});

Deno.test("the framing is told in our own words", () => {
  const last = (body: ResponseEncoding["body"], ...head: string[]) =>
    encode(["HTTP/1.1 200 OK", "X: y", ...head], { body }).slice(2);
  assertEquals(last("length", "Content-Length: 007"), ["Content-Length: 7"]);
  assertEquals(last("chunked", "Transfer-Encoding: chunked"), ["Transfer-Encoding: chunked"]);
  assertEquals(last("chunked"), ["Transfer-Encoding: chunked"]);
  assertEquals(last("close", "Transfer-Encoding: chunked"), []);
  // Both fields: the length says nothing, and together they could be read in two ways.
  const both = ["Transfer-Encoding: chunked", "Content-Length: 5"];
  assertEquals(last("chunked", ...both), ["Transfer-Encoding: chunked"]);
  assertEquals(last("close", ...both), []);
});

Deno.test("a head without a body keeps its length where it may have one (RFC 9110, 8.6)", () => {
  const length = (status: number, noBody: boolean) =>
    encode([`HTTP/1.1 ${status} x`, "Content-Length: 42"], { body: "none", noBody }).slice(1);
  assertEquals(length(200, true), ["Content-Length: 42"]);
  assertEquals(length(304, false), ["Content-Length: 42"]);
  assertEquals(length(204, false), []);
  const chunked = ["HTTP/1.1 200 x", "Transfer-Encoding: chunked", "Content-Length: 4"];
  assertEquals(encode(chunked, { body: "none", noBody: true }), ["HTTP/1.1 200 x"]);
  const zero = encode(["HTTP/1.1 200 x", "Content-Length: 0"], { body: "none" });
  assertEquals(zero, ["HTTP/1.1 200 x", "Content-Length: 0"]);
});

Deno.test("Connection says what the client cannot know from its version", () => {
  const head = ["HTTP/1.1 200 OK", "Connection: keep-alive", "Content-Length: 1"];
  assertEquals(encode(head, { connection: "close" }).at(-1), "Connection: close");
  assertEquals(encode(head, { connection: "keep-alive" }).at(-1), "Connection: keep-alive");
  assertEquals(encode(head).at(-1), "Content-Length: 1");
});

Deno.test("changes drop, replace and add fields", () => {
  const head = ["HTTP/1.1 200 OK", "Server: x", "X-Set: 1", "X-SET: 2", "Set-Cookie: a"];
  const change: ChangeSource = {
    remove: ["server"],
    set: [["x-set", "new"]],
    add: [["set-cookie", "b"]],
  };
  assertEquals(encode([...head, "Content-Length: 1"], { change }), [
    "HTTP/1.1 200 OK",
    "Set-Cookie: a",
    "x-set: new",
    "set-cookie: b",
    "Content-Length: 1",
  ]);
});

Deno.test("an interim response goes on without framing (RFC 9110, 8.6)", () => {
  assertEquals(interim("HTTP/1.1 100 Continue"), ["HTTP/1.1 100 Continue"]);
  assertEquals(
    interim("HTTP/1.1 103 Early Hints", "Link: </a>", "Content-Length: 5", "Connection: x", "X: y"),
    ["HTTP/1.1 103 Early Hints", "Link: </a>"],
  );
});

Deno.test("a 101 says which protocol follows, and nothing else of its connection", () => {
  const lines = interim(
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Accept: x",
    "Keep-Alive: timeout=5",
  );
  assertEquals(lines, [
    "HTTP/1.1 101 Switching Protocols",
    "Sec-WebSocket-Accept: x",
    "Connection: upgrade",
    "Upgrade: websocket",
  ]);
});

Deno.test("a head behind a large buffer of other bytes is written whole", () => {
  const fields = Array.from({ length: 90 }, (_, i) => `X-${i}: ${"y".repeat(i * 3)}`);
  const encoded = encode(["HTTP/1.1 200 OK", ...fields, "Content-Length: 1"]);
  assertEquals(encoded, ["HTTP/1.1 200 OK", ...fields, "Content-Length: 1"]);
});

Deno.test("the writer appends at its place and grows without losing a byte", () => {
  const out = new ByteWriter(new Uint8Array(4));
  const source = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff);
  let expected: number[] = [];
  const code = (text: string) => [...text].map((character) => character.charCodeAt(0));
  for (const length of [0, 1, 3, 47, 48, 49, 120, 300]) {
    out.range(source, source.length - length, source.length);
    out.bytes(source.subarray(0, length));
    out.text("\xe9x".repeat(length));
    out.number(length);
    out.line();
    expected = expected.concat(
      [...source.subarray(source.length - length), ...source.subarray(0, length)],
      code("\xe9x".repeat(length) + length + "\r\n"),
    );
    assertEquals([...out.written], expected);
  }
  assert(out.buffer.length >= out.at);
});

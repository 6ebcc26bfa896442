import { assert, assertEquals, assertMatch, assertNotMatch } from "@std/assert";
import type { ErrorCode } from "../../lib/common/errors.ts";
import { answerTo, encodeError, encodeResponse, problemBody } from "../../lib/http/problem.ts";
import { bytesOf, type Message, Peer, textOf } from "../support/http_text.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";

/** Every code, with the status that a client sees: a table that the compiler keeps complete. */
const STATUSES: Record<ErrorCode, number> = {
  bad_request_line: 400,
  bad_target: 400,
  bad_version: 505,
  bad_field: 400,
  bad_host: 400,
  bad_framing: 400,
  bad_chunk: 400,
  bad_expect: 417,
  bad_timeout: 400,
  unsupported_coding: 501,
  method_not_allowed: 405,
  method_not_implemented: 501,
  line_too_long: 414,
  head_too_large: 431,
  body_too_large: 413,
  request_timeout: 408,
  body_timeout: 408,
  too_many_connections: 503,
  too_many_from_client: 503,
  rate_limited: 429,
  client_closed: 400,
  client_stalled: 408,
  no_route: 404,
  upgrade_unsupported: 501,
  no_backend: 503,
  pool_exhausted: 503,
  overloaded: 503,
  connect_refused: 502,
  connect_timeout: 504,
  connect_failed: 502,
  tls_failed: 502,
  upstream_closed: 502,
  upstream_reset: 502,
  upstream_timeout: 504,
  upstream_stalled: 504,
  deadline_exceeded: 504,
  upstream_protocol: 502,
  local_exhausted: 503,
  shutdown: 503,
  internal: 500,
};
const CODES = Object.keys(STATUSES) as ErrorCode[];

/** Reads bytes as a client would. */
async function read(
  bytes: Uint8Array,
  noBody = false,
): Promise<{ message: Message; rest: string }> {
  const [ours, theirs] = makeMemoryPair();
  const writer = new Peer(theirs);
  void writer.send(textOf(bytes)).then(() => writer.close());
  const client = new Peer(ours);
  const message = await client.response(noBody);
  return { message, rest: await client.rest() };
}

Deno.test("every error has an answer with its status and a sentence for people", () => {
  for (const code of CODES) {
    const { status, detail } = answerTo(code);
    assertEquals(status, STATUSES[code], code);
    assertMatch(detail, /^[A-Z].*\.$/, code);
  }
});

Deno.test("where trying again makes sense, it says when", () => {
  const again = CODES.filter((code) => answerTo(code).retryAfter !== undefined);
  assertEquals(again.sort(), CODES.filter((code) => [429, 503].includes(STATUSES[code])).sort());
  for (const code of again) assert(answerTo(code).retryAfter! >= 1);
});

Deno.test("a problem document says status, title, detail and code (RFC 9457)", () => {
  for (const code of CODES) {
    const document = JSON.parse(problemBody(code));
    assertEquals(Object.keys(document), ["type", "title", "status", "detail", "code"]);
    assertEquals(document.type, "about:blank");
    assertEquals(document.status, STATUSES[code]);
    assertEquals(document.detail, answerTo(code).detail);
    assertEquals(document.code, code);
    assertMatch(document.title, /^[A-Z][A-Za-z ]+$/, code);
  }
});

Deno.test("the answer to an error is a whole response, and for HEAD the same without its body", async () => {
  for (const code of CODES) {
    const { message, rest } = await read(encodeError(code, { noBody: false, close: true }));
    assertEquals([message.status, rest], [STATUSES[code], ""]);
    assertEquals(message.get("content-type"), "application/problem+json");
    assertEquals(message.body, problemBody(code));
    assertEquals(message.get("connection"), "close");
    assertEquals(
      message.get("retry-after") !== undefined,
      [429, 503].includes(STATUSES[code]),
      code,
    );
    // RFC 9110, section 15.5.6: "The origin server MUST generate an Allow header field in a 405".
    assertEquals(message.get("allow") !== undefined, STATUSES[code] === 405, code);
    const head = await read(encodeError(code, { noBody: true, close: false }), true);
    assertEquals([head.message.body, head.rest], ["", ""]);
    assertEquals(head.message.get("content-length"), String(problemBody(code).length));
    assertEquals(head.message.get("connection"), undefined);
  }
});

Deno.test("where more is known of when to try again, that is said, in whole seconds", async () => {
  for (const [wait, seconds] of [[0.5, "1"], [1000, "1"], [1001, "2"], [90_000, "90"]] as const) {
    const { message } = await read(
      encodeError("rate_limited", { noBody: true, close: false, wait }),
      true,
    );
    assertEquals(message.get("retry-after"), seconds, `${wait} ms`);
  }
});

Deno.test("nothing in an answer comes from the request or from a cause", () => {
  // The answers are made of the code alone; that they name no host, path or system is checked here.
  for (const code of CODES) {
    const text = textOf(encodeError(code, { noBody: false, close: true }));
    assertNotMatch(text, /os error|localhost|127\.0|\/work|at .*:\d+|Error:/i, code);
  }
});

Deno.test("a response of our own is framed by its length and dated (RFC 9110, 6.6.1)", async () => {
  const before = Math.floor(Date.now() / 1000) * 1000;
  const bytes = encodeResponse({
    status: 200,
    fields: [["X-One", "1"], ["X-Two", "caf\xe9"]],
    body: bytesOf("a body"),
    noBody: false,
    close: false,
  });
  const { message, rest } = await read(bytes);
  assertEquals(message.start, "HTTP/1.1 200 OK");
  assertEquals([message.body, rest], ["a body", ""]);
  assertEquals([message.get("x-one"), message.get("x-two")], ["1", "caf\xe9"]);
  const date = message.get("date")!;
  assertMatch(date, /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
  assert(Date.parse(date) >= before && Date.parse(date) <= Date.now());
});

Deno.test("204 and 304 have no length, an empty body has length 0 (RFC 9110, 8.6)", async () => {
  for (const status of [200, 204, 304, 404]) {
    const body = new Uint8Array(0);
    const bytes = encodeResponse({ status, fields: [], body, noBody: false, close: true });
    const { message, rest } = await read(bytes);
    const expected = status === 204 || status === 304 ? undefined : "0";
    assertEquals([message.get("content-length"), rest], [expected, ""]);
  }
});

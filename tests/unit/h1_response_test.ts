import { assert, assertEquals } from "@std/assert";
import { REFUSED } from "../../lib/http/h1/fields.ts";
import { ResponseHead } from "../../lib/http/h1/response.ts";
import { fieldsOf, framingText, parseResponse, responseHead } from "../support/h1_parse.ts";
import { readResponse } from "../support/h1_reference.ts";
import { REFUSED_RESPONSES, RESPONSES } from "../support/h1_samples.ts";
import { bytesOf, textOf } from "../support/http_text.ts";

/** A head that must be accepted. */
function accepted(text: string, noBody = false): ResponseHead {
  const { end, head } = parseResponse(text, noBody);
  assertEquals(end, text.length, `${JSON.stringify(text)}: ${head.detail}`);
  return head;
}

Deno.test("valid response heads are accepted and mean what the grammar says", () => {
  for (const text of RESPONSES) {
    for (const noBody of [false, true]) {
      const head = accepted(text, noBody);
      const expected = readResponse(text, noBody);
      assert(expected !== undefined, text);
      assertEquals(head.status, expected.status);
      assertEquals(head.minor, expected.minor);
      assertEquals(framingText(head.framing), expected.framing, text);
      const reason = head.fields.buffer.subarray(head.reasonStart, head.reasonEnd);
      assertEquals(textOf(reason), expected.reason);
      const fields = fieldsOf(head.fields).map(([name, value]) => [name.toLowerCase(), value]);
      assertEquals(fields, expected.fields.map((field) => [...field]));
    }
  }
});

Deno.test("response heads that are malformed or ambiguous are refused, and the log learns why", () => {
  for (const text of REFUSED_RESPONSES) {
    const { end, head } = parseResponse(text);
    assertEquals(end, REFUSED, JSON.stringify(text));
    assert(head.detail !== "");
    assertEquals(readResponse(text, false), undefined, JSON.stringify(text));
  }
});

Deno.test("the space behind the status code may be missing, as many servers leave it out", () => {
  const reason = (line: string) => {
    const head = accepted(`${line}\r\nContent-Length: 0\r\n\r\n`);
    return textOf(head.fields.buffer.subarray(head.reasonStart, head.reasonEnd));
  };
  assertEquals(reason("HTTP/1.1 200"), "");
  assertEquals(reason("HTTP/1.1 200 "), "");
  assertEquals(reason("HTTP/1.1 200 Fine, thanks"), "Fine, thanks");
});

Deno.test("status codes go from 100 to 599 (RFC 9110, 15)", () => {
  for (const status of [100, 199, 200, 299, 404, 500, 599]) {
    assertEquals(accepted(`HTTP/1.1 ${status} x\r\n\r\n`).status, status);
  }
  for (const status of ["000", "099", "600", "999"]) {
    assertEquals(parseResponse(`HTTP/1.1 ${status} x\r\n\r\n`).end, REFUSED, status);
  }
});

Deno.test("bodies are framed in the order of RFC 9112, 6.3", () => {
  const framing = (status: number, noBody: boolean, ...lines: string[]) =>
    framingText(
      accepted([`HTTP/1.1 ${status} x`, ...lines].join("\r\n") + "\r\n\r\n", noBody).framing,
    );
  const length = "Content-Length: 7";
  const chunked = "Transfer-Encoding: chunked";
  // 1. HEAD, 1xx, 204 and 304 have no body, whatever the fields say.
  for (const line of [length, chunked]) {
    assertEquals(framing(200, true, line), "none");
    for (const status of [100, 103, 204, 304]) assertEquals(framing(status, false, line), "none");
  }
  // 3. Transfer-Encoding counts before Content-Length.
  assertEquals(framing(200, false, chunked, length), "chunked");
  assertEquals(framing(200, false, chunked), "chunked");
  // 6. A length, 0 being no body at all. 8. Otherwise the body ends with the connection.
  assertEquals(framing(200, false, length), "7");
  assertEquals(framing(404, false, "Content-Length: 0"), "none");
  assertEquals(framing(200, false), "close");
  assertEquals(framing(205, false, "Content-Length: 0"), "none");
});

Deno.test("an invalid Content-Length is refused even where no body follows", () => {
  for (const status of [200, 204, 304]) {
    const text = `HTTP/1.1 ${status} x\r\nContent-Length: 1x\r\n\r\n`;
    assertEquals(parseResponse(text, true).end, REFUSED);
  }
  const unclear = responseHead("Content-Length: 1", "Content-Length: 1");
  assertEquals(parseResponse(unclear, true).end, REFUSED);
  assertEquals(parseResponse(responseHead("Transfer-Encoding: x"), true).end, REFUSED);
});

Deno.test("the connection is used again only when nothing speaks against it", () => {
  const keep = (text: string) => accepted(text).keepAlive;
  const length = "Content-Length: 1";
  assertEquals(keep(responseHead(length)), true);
  assertEquals(keep(responseHead(length, "Connection: close")), false);
  assertEquals(keep(responseHead(length, "Connection: x, Close")), false);
  assertEquals(keep("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"), false);
  const old = "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n";
  assertEquals(keep(old), true);
  // The body ends with the connection.
  assertEquals(keep(responseHead()), false);
  // RFC 9112, section 6.1: after both fields, and after chunked in 1.0, it must be closed.
  assertEquals(keep(responseHead("Transfer-Encoding: chunked")), true);
  assertEquals(keep(responseHead("Transfer-Encoding: chunked", length)), false);
  const ten = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
  assertEquals(keep(ten), false);
});

Deno.test("an upgrade needs Connection and Upgrade (RFC 9110, 7.8)", () => {
  const upgrade = (...lines: string[]) =>
    accepted(["HTTP/1.1 101 x", ...lines].join("\r\n") + "\r\n\r\n").upgrade;
  assertEquals(upgrade("Connection: Upgrade", "Upgrade: websocket"), true);
  assertEquals(upgrade("Connection: Upgrade"), false);
  assertEquals(upgrade("Upgrade: websocket"), false);
});

Deno.test("one head object is used for one response after the other and keeps nothing", () => {
  const head = new ResponseHead();
  const parse = (text: string) => head.parse(bytesOf(text), 0, text.length, false);
  const first = "HTTP/1.0 404 No\r\nConnection: close, X\r\nX: y\r\nContent-Length: 3\r\n\r\n";
  assertEquals(parse(first), first.length);
  assertEquals(head.nominated, ["x"]);
  const second = responseHead("Transfer-Encoding: chunked");
  assertEquals(parse(second), second.length);
  assertEquals([head.status, head.minor, head.keepAlive, head.nominated], [200, 1, true, []]);
  assertEquals(framingText(head.framing), "chunked");
  assertEquals(fieldsOf(head.fields), [["Transfer-Encoding", "chunked"]]);
});

Deno.test("a head is found anywhere in its buffer", () => {
  const text = responseHead("Content-Length: 2");
  const bytes = bytesOf("HTTP/1.1 100 Continue\r\n\r\n" + text + "ab");
  const head = new ResponseHead();
  const first = head.parse(bytes, 0, bytes.length, false);
  assertEquals(head.status, 100);
  assertEquals(head.parse(bytes, first, bytes.length, false), first + text.length);
  assertEquals([head.status, framingText(head.framing)], [200, "2"]);
});

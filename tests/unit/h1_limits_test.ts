import { assertEquals } from "@std/assert";
import { ChunkedDecoder } from "../../lib/http/h1/chunked.ts";
import { INCOMPLETE, REFUSED } from "../../lib/http/h1/fields.ts";
import { DEFAULT_HEAD_LIMITS, type HeadLimits } from "../../lib/http/h1/limits.ts";
import { parseRequest, parseResponse } from "../support/h1_parse.ts";
import { bytesOf } from "../support/http_text.ts";

// Each limit: what is exactly as large is taken, what is one larger is not.

const LIMITS: HeadLimits = { maxRequestLine: 100, maxFieldLine: 200, maxHead: 1000, maxFields: 10 };

/** `ok`, `more`, or the code of the refusal. */
function request(text: string, limits = LIMITS): string {
  const { end, head } = parseRequest(text, limits);
  return end === REFUSED ? head.error : end === INCOMPLETE ? "more" : "ok";
}

function response(text: string, limits = LIMITS): string {
  const { end, head } = parseResponse(text, false, limits);
  return end === REFUSED ? head.detail : end === INCOMPLETE ? "more" : "ok";
}

/** A line of exactly `length` bytes without its end. */
function line(before: string, length: number, after = ""): string {
  return before + "x".repeat(length - before.length - after.length) + after;
}

Deno.test("the request line may be as long as its limit and no longer", () => {
  const head = (length: number) => `${line("GET /", length, " HTTP/1.1")}\r\nHost: a\r\n\r\n`;
  assertEquals(request(head(100)), "ok");
  assertEquals(request(head(101)), "line_too_long");
  assertEquals(request(head(8192), DEFAULT_HEAD_LIMITS), "ok");
  assertEquals(request(head(8193), DEFAULT_HEAD_LIMITS), "line_too_long");
});

Deno.test("a request line without an end is refused as soon as it is too long", () => {
  assertEquals(request(line("GET /", 91)), "more");
  assertEquals(request(line("GET /", 93)), "line_too_long");
  assertEquals(request(line("GET /", 5000)), "line_too_long");
});

Deno.test("the status line may be as long as its limit and no longer", () => {
  const head = (length: number) => `${line("HTTP/1.1 200 ", length)}\r\n\r\n`;
  assertEquals(response(head(100)), "ok");
  assertEquals(response(head(101)), "status line too long");
});

Deno.test("a method may have 32 bytes and no more", () => {
  const head = (length: number) => `${"M".repeat(length)} / HTTP/1.1\r\nHost: a\r\n\r\n`;
  assertEquals(request(head(32)), "ok");
  assertEquals(request(head(33)), "method_not_implemented");
  assertEquals(request("M".repeat(90)), "method_not_implemented");
});

Deno.test("a field line may be as long as its limit and no longer", () => {
  const head = (field: string) => `GET / HTTP/1.1\r\nHost: a\r\n${field}\r\n\r\n`;
  for (const before of ["X: ", "X:      "]) {
    assertEquals(request(head(line(before, 200))), "ok");
    assertEquals(request(head(line(before, 201))), "head_too_large");
  }
  assertEquals(request(head(line("", 200, ":"))), "ok");
  assertEquals(request(head(line("", 201, ":"))), "head_too_large");
  assertEquals(request(head(line("X: y", 200, "  ").replaceAll("x", " "))), "ok");
  assertEquals(request(head(line("X: y", 201, "  ").replaceAll("x", " "))), "head_too_large");
  assertEquals(response(`HTTP/1.1 200 OK\r\n${line("X: ", 200)}\r\n\r\n`), "ok");
  assertEquals(response(`HTTP/1.1 200 OK\r\n${line("X: ", 201)}\r\n\r\n`), "field line");
});

Deno.test("a head may be as long as its limit and no longer, wherever its lines end", () => {
  for (let last = 1; last < 40; last++) {
    const head = (length: number) => {
      const start = "GET / HTTP/1.1\r\nHost: a\r\n";
      const end = `\r\n${line("Y:", last + 2)}\r\n\r\n`;
      const middle = Array.from({ length: 6 }, () => line("X:", 140)).join("\r\n") + "\r\n";
      const rest = length - start.length - middle.length - end.length;
      return start + middle + line("Z:", rest) + end;
    };
    assertEquals(head(1000).length, 1000);
    assertEquals(request(head(1000)), "ok", `last line ${last}`);
    assertEquals(request(head(1001)), "head_too_large", `last line ${last}`);
    // Empty lines in front are no part of the head.
    assertEquals(request("\r\n\r\n" + head(1000)), "ok");
    assertEquals(request("\r\n\r\n" + head(1001)), "head_too_large");
    // Before it has ended, too, a head that is too long is refused; one byte more is looked at.
    assertEquals(request(head(1003).slice(0, 1001)), "head_too_large");
  }
});

Deno.test("the head of a response has the same limit", () => {
  const head = (length: number) => {
    const lines = Array.from({ length: 6 }, () => line("X:", 140)).join("\r\n");
    const rest = length - 17 - lines.length - 2 - 4;
    return `HTTP/1.1 200 OK\r\n${lines}\r\n${line("Z:", rest)}\r\n\r\n`;
  };
  assertEquals(head(1000).length, 1000);
  assertEquals(response(head(1000)), "ok");
  assertEquals(response(head(1001)), "field line");
});

Deno.test("there may be as many fields as the limit says and no more", () => {
  const head = (count: number) =>
    `GET / HTTP/1.1\r\nHost: a\r\n${"X: y\r\n".repeat(count - 1)}\r\n`;
  assertEquals(request(head(10)), "ok");
  assertEquals(request(head(11)), "head_too_large");
  assertEquals(request(head(100), DEFAULT_HEAD_LIMITS), "ok");
  assertEquals(request(head(101), DEFAULT_HEAD_LIMITS), "head_too_large");
});

Deno.test("a port goes up to 65535", () => {
  const head = (port: string) => `GET / HTTP/1.1\r\nHost: a:${port}\r\n\r\n`;
  assertEquals(request(head("65535")), "ok");
  assertEquals(request(head("65536")), "bad_host");
  assertEquals(request(head("0".repeat(50) + "80")), "ok");
});

/** `done`, `more`, or the code of the refusal. */
function chunked(body: string): string {
  const decoder = new ChunkedDecoder();
  const bytes = bytesOf(body);
  for (let at = 0; at < bytes.length && !decoder.done && !decoder.refused;) {
    at = decoder.next(bytes, at, bytes.length);
  }
  return decoder.refused ? decoder.error : decoder.done ? "done" : "more";
}

Deno.test("a chunk size may have 16 digits and reach the largest safe integer (RFC 9112, 7.1)", () => {
  assertEquals(chunked(`${"0".repeat(15)}1\r\nx\r\n0\r\n\r\n`), "done");
  assertEquals(chunked(`${"0".repeat(16)}1\r\nx\r\n0\r\n\r\n`), "bad_chunk");
  assertEquals(chunked(`${"0".repeat(16)}\r\n\r\n`), "done");
  assertEquals(chunked(`${"0".repeat(17)}\r\n\r\n`), "bad_chunk");
  assertEquals(chunked("1fffffffffffff\r\nx"), "more");
  assertEquals(chunked("20000000000000\r\nx"), "body_too_large");
});

Deno.test("a body may have 16 KiB of chunk extensions, counted over all chunks (RFC 9112, 7.1.1)", () => {
  const body = (chunks: number, each: number, last: number) =>
    `1;${"e".repeat(each)}\r\nx\r\n`.repeat(chunks) + `0;${"e".repeat(last)}\r\n\r\n`;
  assertEquals(chunked(body(0, 0, 16_384)), "done");
  assertEquals(chunked(body(0, 0, 16_385)), "bad_chunk");
  assertEquals(chunked(body(16, 1000, 384)), "done");
  assertEquals(chunked(body(16, 1000, 385)), "bad_chunk");
});

Deno.test("a trailer section may have 16 KiB and 100 fields", () => {
  const section = (length: number) => `0\r\n${line("X: ", length - 4)}\r\n\r\n`;
  // The limit of one field line is 16 KiB, too, so that of the section is met first.
  assertEquals(chunked(section(16_384)), "done");
  assertEquals(chunked(section(16_385)), "head_too_large");
  assertEquals(chunked(`0\r\n${"X: y\r\n".repeat(100)}\r\n`), "done");
  assertEquals(chunked(`0\r\n${"X: y\r\n".repeat(101)}\r\n`), "head_too_large");
});

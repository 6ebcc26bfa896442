import { assert, assertEquals } from "@std/assert";
import {
  ChunkedDecoder,
  encodeChunkSize,
  LAST_CHUNK,
  MAX_CHUNK_SIZE_LINE,
} from "../../lib/http/h1/chunked.ts";
import { readChunked } from "../support/h1_reference.ts";
import { CHUNKED, REFUSED_CHUNKED } from "../support/h1_samples.ts";
import { bytesOf, textOf } from "../support/http_text.ts";

/** Decodes a body that is there as a whole. */
function decode(body: string): { decoder: ChunkedDecoder; content: string; end: number } {
  const decoder = new ChunkedDecoder();
  const bytes = bytesOf(body);
  let content = "";
  let at = 0;
  while (at < bytes.length && !decoder.done && !decoder.refused) {
    at = decoder.next(bytes, at, bytes.length);
    content += textOf(bytes.subarray(decoder.dataStart, decoder.dataEnd));
  }
  return { decoder, content, end: at };
}

Deno.test("valid chunked bodies give their content and their trailers", () => {
  for (const [body, content, trailers] of CHUNKED) {
    const result = decode(body);
    assert(result.decoder.done, JSON.stringify(body));
    assertEquals(result.content, content);
    assertEquals(result.end, body.length);
    assertEquals(textOf(result.decoder.trailers), trailers);
    assertEquals(readChunked(body), { content, trailers, end: body.length });
  }
});

Deno.test("malformed chunked bodies are refused", () => {
  for (const body of REFUSED_CHUNKED) {
    assert(decode(body).decoder.refused, JSON.stringify(body));
    assertEquals(readChunked(body), undefined, JSON.stringify(body));
  }
});

Deno.test("what follows the body is left alone", () => {
  for (const [body] of CHUNKED) {
    const { decoder, end } = decode(body + "GET / HTTP/1.1\r\n");
    assert(decoder.done);
    assertEquals(end, body.length);
  }
});

Deno.test("a decoder that is done or has refused consumes nothing more", () => {
  const next = bytesOf("5\r\nhello\r\n");
  for (const body of ["0\r\n\r\n", "x"]) {
    const { decoder } = decode(body);
    assertEquals(decoder.next(next, 2, next.length), 2);
    assertEquals(decoder.dataStart, decoder.dataEnd);
  }
});

Deno.test("a refusal says in which way the body is malformed", () => {
  const code = (body: string) => decode(body).decoder.error;
  assertEquals(code("x"), "bad_chunk");
  assertEquals(code("0\r\nX : y\r\n\r\n"), "bad_field");
  assertEquals(code("ffffffffffffffff\r\n"), "body_too_large");
  assertEquals(code("0\r\n" + "X: y\r\n".repeat(200)), "head_too_large");
});

Deno.test("trailers that frame, route, authenticate or describe are dropped (RFC 9110, 6.5.1)", () => {
  const names = [
    "Transfer-Encoding",
    "Content-Length",
    "Host",
    "Connection",
    "TE",
    "Trailer",
    "Expect",
    "Max-Forwards",
    "Cache-Control",
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Set-Cookie",
    "Cookie",
    "Content-Type",
    "Content-Encoding",
    "Content-Range",
    "X-Forwarded-For",
    "Forwarded",
    "Via",
  ];
  for (const name of names) {
    const { decoder } = decode(`0\r\nGrpc-Status: 0\r\n${name}: x\r\nX-Sum: 1\r\n\r\n`);
    assert(decoder.done, name);
    assertEquals(textOf(decoder.trailers), "Grpc-Status: 0\r\nX-Sum: 1\r\n", name);
  }
});

Deno.test("trailers keep their bytes and lose odd white space", () => {
  const { decoder } = decode("0\r\nX:\t \xe9\xff \r\n\r\n");
  assertEquals(textOf(decoder.trailers), "X: \xe9\xff\r\n");
});

Deno.test("a chunk size is written in hexadecimal digits without zeros in front", () => {
  const cases: readonly (readonly [size: number, line: string])[] = [
    [1, "1"],
    [9, "9"],
    [10, "a"],
    [15, "f"],
    [16, "10"],
    [255, "ff"],
    [4096, "1000"],
    [65535, "ffff"],
    [65536, "10000"],
    [2 ** 31, "80000000"],
    [2 ** 32 + 11, "10000000b"],
    [Number.MAX_SAFE_INTEGER, "1fffffffffffff"],
  ];
  for (const [size, digits] of cases) {
    const out = new Uint8Array(MAX_CHUNK_SIZE_LINE + 3).fill(0x2e);
    const end = encodeChunkSize(size, out, 3);
    assertEquals(textOf(out.subarray(0, end)), `...${digits}\r\n`);
    assert(end - 3 <= MAX_CHUNK_SIZE_LINE);
    assert(out.subarray(end).every((byte) => byte === 0x2e), "nothing is written behind the line");
  }
  assertEquals(textOf(LAST_CHUNK), "0\r\n");
});

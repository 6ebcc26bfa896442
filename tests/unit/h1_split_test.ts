import { assert, assertEquals } from "@std/assert";
import { ChunkedDecoder } from "../../lib/http/h1/chunked.ts";
import { INCOMPLETE, REFUSED } from "../../lib/http/h1/fields.ts";
import { DEFAULT_HEAD_LIMITS } from "../../lib/http/h1/limits.ts";
import { RequestHead } from "../../lib/http/h1/request.ts";
import { ResponseHead } from "../../lib/http/h1/response.ts";
import { fieldsOf, framingText } from "../support/h1_parse.ts";
import {
  CHUNKED,
  REFUSED_CHUNKED,
  REFUSED_REQUESTS,
  REFUSED_RESPONSES,
  REQUESTS,
  RESPONSES,
} from "../support/h1_samples.ts";
import { bytesOf, textOf } from "../support/http_text.ts";

// Bytes arrive in pieces. What a parser says of a message must not depend on where they are cut, or an
// attacker could choose.

/** What a parser says of `bytes[0..end)`: the index behind the head, or why there is none, and the rest. */
type Parse = (bytes: Uint8Array, end: number) => readonly unknown[];

const parseRequest: Parse = (bytes, end) => {
  const head = new RequestHead();
  const next = head.parse(bytes, 0, end);
  if (next === INCOMPLETE) return [next];
  if (next === REFUSED) return [next, head.error, head.detail];
  return [next, head.method, head.target, head.authority, head.minor, head.keepAlive] //
    .concat([head.upgrade, head.expectContinue, framingText(head.framing)])
    .concat(head.nominated, fieldsOf(head.fields).flat());
};

const parseResponse = (noBody: boolean): Parse => (bytes, end) => {
  const head = new ResponseHead();
  const next = head.parse(bytes, 0, end, noBody);
  if (next === INCOMPLETE) return [next];
  if (next === REFUSED) return [next, head.detail];
  return [next, head.status, head.minor, head.keepAlive, head.upgrade, framingText(head.framing)]
    .concat(textOf(bytes.subarray(head.reasonStart, head.reasonEnd)))
    .concat(head.nominated, fieldsOf(head.fields).flat());
};

function assertSplits(text: string, parse: Parse): void {
  const bytes = bytesOf(text);
  const whole = parse(bytes, bytes.length);
  const [next] = whole;
  let settled: readonly unknown[] | undefined;
  for (let end = 0; end <= bytes.length; end++) {
    const verdict = parse(bytes, end);
    const where = `the first ${end} bytes of ${JSON.stringify(text)}`;
    if (settled !== undefined) assertEquals(verdict, settled, where);
    else if (verdict[0] !== INCOMPLETE) {
      settled = verdict;
      assertEquals(verdict, whole, where);
      if (next !== REFUSED) assertEquals(end, next, `${where}: accepted at the last byte`);
    }
    // What lies behind the end may be anything: it is not there yet.
    for (const filler of [0x0d, 0x0a, 0x20, 0x3a, 0x41, 0]) {
      const padded = new Uint8Array(bytes.length + 16).fill(filler);
      padded.set(bytes.subarray(0, end));
      assertEquals(parse(padded, end), verdict, `${where}, with bytes behind them`);
    }
  }
}

Deno.test("a request head is judged alike at whatever byte it is cut", () => {
  for (const text of REQUESTS) assertSplits(text + "GET /", parseRequest);
  for (const [text] of REFUSED_REQUESTS) assertSplits(text, parseRequest);
});

Deno.test("a response head is judged alike at whatever byte it is cut", () => {
  for (const text of RESPONSES) {
    assertSplits(text + "body", parseResponse(false));
    assertSplits(text, parseResponse(true));
  }
  for (const text of REFUSED_RESPONSES) assertSplits(text, parseResponse(false));
});

Deno.test("a head near a limit is judged alike at whatever byte it is cut", () => {
  // Every border of every limit, a few bytes to each side.
  const limits = { ...DEFAULT_HEAD_LIMITS, maxRequestLine: 24, maxFieldLine: 16, maxHead: 52 };
  const parse: Parse = (bytes, end) => {
    const head = new RequestHead({ ...limits, maxFields: 3 });
    const next = head.parse(bytes, 0, end);
    return next === REFUSED ? [next, head.error] : [next];
  };
  const respond: Parse = (bytes, end) => {
    const head = new ResponseHead({ ...limits, maxFields: 3 });
    return [head.parse(bytes, 0, end, false)];
  };
  for (let extra = 0; extra < 16; extra++) {
    const x = "x".repeat(extra);
    const lines = ["Host: a", `X: ${x}`, "Y: yyyyyyy"].join("\r\n");
    assertSplits(`GET /${x} HTTP/1.1\r\nHost: a\r\n\r\n`, parse);
    assertSplits(`GET /xxxx HTTP/1.1\r\n${lines}\r\n\r\n`, parse);
    assertSplits(`GET /xxxx HTTP/1.1\r\nHost: a\r\n${x}: y\r\nX: y\r\n\r\n`, parse);
    assertSplits(`GET / HTTP/1.1\r\nHost: a\r\n${`X:${x}\r\n`.repeat(4)}\r\n`, parse);
    assertSplits(`HTTP/1.1 200 ${x}\r\nX: y\r\n\r\n`, respond);
    assertSplits(`HTTP/1.1 200 OK\r\n${lines}\r\n\r\n`, respond);
  }
});

/** What a decoder makes of a body that comes in the given pieces. */
function decode(pieces: readonly Uint8Array[]): readonly unknown[] {
  const decoder = new ChunkedDecoder();
  let content = "";
  let consumed = 0;
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length && !decoder.done && !decoder.refused) {
      const next = decoder.next(piece, at, piece.length);
      assert(
        next >= at && next <= piece.length,
        `${next} lies outside of ${at} to ${piece.length}`,
      );
      assert(next > at || decoder.refused, "the decoder stands still");
      assert(
        decoder.dataStart >= at && decoder.dataEnd <= next,
        "data outside of what was consumed",
      );
      content += textOf(piece.subarray(decoder.dataStart, decoder.dataEnd));
      at = next;
    }
    consumed += at;
  }
  if (decoder.refused) return ["refused", decoder.error, content];
  return decoder.done
    ? ["done", consumed, content, textOf(decoder.trailers)]
    : ["more", consumed, content];
}

Deno.test("a chunked body is judged alike at whatever bytes it is cut", () => {
  const bodies = [
    ...CHUNKED.map(([body]) => body + "GET / HTTP/1.1\r\n"),
    ...REFUSED_CHUNKED,
  ];
  for (const body of bodies) {
    const bytes = bytesOf(body);
    const whole = decode([bytes]);
    for (let first = 0; first <= bytes.length; first++) {
      for (let second = first; second <= bytes.length; second++) {
        const pieces = [
          bytes.subarray(0, first),
          bytes.subarray(first, second),
          bytes.subarray(second),
        ];
        assertEquals(
          decode(pieces),
          whole,
          `${JSON.stringify(body)} cut at ${first} and ${second}`,
        );
      }
    }
    assertEquals(decode(Array.from(bytes, (byte) => Uint8Array.of(byte))), whole, body);
  }
});

Deno.test("a chunked body that has not ended is neither done nor refused", () => {
  for (const [body] of CHUNKED) {
    const bytes = bytesOf(body);
    assertEquals(decode([bytes])[0], "done", JSON.stringify(body));
    for (let end = 0; end < bytes.length; end++) {
      assertEquals(decode([bytes.subarray(0, end)])[0], "more", `${end} bytes of ${body}`);
    }
  }
});

import { assert, assertEquals } from "@std/assert";
import { encodeRequestHead } from "../../lib/http/h1/encode_request.ts";
import { encodeResponseHead } from "../../lib/http/h1/encode_response.ts";
import { ChunkedDecoder } from "../../lib/http/h1/chunked.ts";
import { INCOMPLETE, REFUSED } from "../../lib/http/h1/fields.ts";
import { RequestHead } from "../../lib/http/h1/request.ts";
import { ResponseHead } from "../../lib/http/h1/response.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { framingText } from "../support/h1_parse.ts";
import { type Field, readChunked, readRequest, readResponse } from "../support/h1_reference.ts";
import { CHUNKED, REQUESTS, RESPONSES } from "../support/h1_samples.ts";
import { bytesOf, textOf } from "../support/http_text.ts";
import { cut, mutate, Random } from "../support/prng.ts";

// Valid messages with a few bytes changed, thousands of them, the same in every run. What a parser takes
// is compared with the grammar, and what is made of it is parsed again.

const SEED = 20261122;
const ROUNDS = 12_000;

/** Bytes at chance places of a buffer, with other bytes in front and behind. */
function place(bytes: Uint8Array, random: Random): { buffer: Uint8Array; start: number } {
  const start = random.below(40);
  const buffer = Uint8Array.from({ length: start + bytes.length + 40 }, () => random.below(256));
  buffer.set(bytes, start);
  return { buffer, start };
}

/** Fails if the verdict on a part of the bytes speaks against that on the whole. */
function assertPrefixes(
  length: number,
  whole: number,
  parse: (end: number) => number,
  random: Random,
): void {
  for (let tries = 0; tries < 4; tries++) {
    const end = random.below(length + 1);
    const verdict = parse(end);
    if (verdict === INCOMPLETE) continue;
    assertEquals(verdict, whole, `${end} bytes of ${length}`);
  }
}

/** The head without the lines that we write anew. */
function otherLines(text: string, own: RegExp): Field[] {
  return text.slice(0, -4).split("\r\n").slice(1)
    .filter((line) => !own.test(line))
    .map((line): Field => {
      const colon = line.indexOf(": ");
      return [line.slice(0, colon), line.slice(colon + 2)];
    });
}

const OWN_REQUEST_LINES =
  /^(?:Host: |X-Request-Id: our-own-id$|Max-Forwards: |Expect: 100-continue$|Connection: |Upgrade: |TE: trailers$|Transfer-Encoding: chunked$|Content-Length: \d+$)/i;
const OWN_RESPONSE_LINES = /^(?:Transfer-Encoding: chunked$|Content-Length: \d+$)/i;

/** Fails if a head holds a byte that ends a line where no line ends. */
function assertPlain(text: string): void {
  assert(text.endsWith("\r\n\r\n"));
  assert(!/[\r\n\0]/.test(text.replaceAll("\r\n", "")), JSON.stringify(text));
  assertEquals(text.indexOf("\r\n\r\n"), text.length - 4, JSON.stringify(text));
}

Deno.test("a mutated request head is taken exactly if the grammar takes it, and keeps its meaning", () => {
  const random = new Random(SEED);
  const samples = REQUESTS.map(bytesOf);
  let taken = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = mutate(random.pick(samples), random);
    const text = textOf(bytes);
    const shown = JSON.stringify(text);
    const { buffer, start } = place(bytes, random);
    const head = new RequestHead();
    const end = head.parse(buffer, start, start + bytes.length);
    const expected = readRequest(text);
    assertEquals(end >= 0, expected !== undefined, `${shown}: ${head.error} ${head.detail}`);
    const parse = (length: number) => new RequestHead().parse(buffer, start, start + length);
    assertPrefixes(bytes.length, end, parse, random);
    if (expected === undefined) continue;
    taken++;
    assertEquals(end - start, expected.end, shown);
    const out = new ByteWriter(new Uint8Array(random.below(200)));
    encodeRequestHead(head, out, {
      forwarding: {
        mode: "off",
        trusted: false,
        client: { address: "192.0.2.1", scheme: "http" },
        authority: "listener:80",
      },
      requestId: "our-own-id",
      target: undefined,
      changes: undefined,
      via: undefined,
    });
    const again = textOf(out.written);
    assertPlain(again);
    const meaning = readRequest(again);
    assert(meaning !== undefined, `${shown} became ${JSON.stringify(again)}`);
    assertEquals(meaning.method, expected.method, shown);
    assertEquals(meaning.target, expected.target, shown);
    assertEquals(meaning.framing, expected.framing, shown);
    assertEquals(meaning.authority, expected.authority || "listener:80", shown);
    assertEquals(new RequestHead().parse(out.buffer, 0, out.at), out.at, shown);
    // A field like those that we write ourselves is told apart by nothing, so it is left out on both sides.
    const kept = expected.endToEnd.filter(([name, value]) =>
      !OWN_REQUEST_LINES.test(`${name}: ${value}`)
    );
    assertEquals(otherLines(again, OWN_REQUEST_LINES), kept, shown);
  }
  assert(taken > ROUNDS / 10 && taken < ROUNDS / 1.1, `${taken} of ${ROUNDS} were taken`);
});

Deno.test("a mutated response head is taken exactly if the grammar takes it, and keeps its meaning", () => {
  const random = new Random(SEED + 1);
  const samples = RESPONSES.map(bytesOf);
  let taken = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = mutate(random.pick(samples), random);
    const text = textOf(bytes);
    const shown = JSON.stringify(text);
    const noBody = random.next() < 0.2;
    const { buffer, start } = place(bytes, random);
    const head = new ResponseHead();
    const end = head.parse(buffer, start, start + bytes.length, noBody);
    const expected = readResponse(text, noBody);
    assertEquals(end >= 0, expected !== undefined, `${shown}: ${head.detail}`);
    const parse = (length: number) =>
      new ResponseHead().parse(buffer, start, start + length, noBody);
    assertPrefixes(bytes.length, end, parse, random);
    if (expected === undefined) continue;
    taken++;
    assertEquals(end - start, expected.end, shown);
    assertEquals(framingText(head.framing), expected.framing, shown);
    const out = new ByteWriter(new Uint8Array(random.below(200)));
    const { type } = head.framing;
    encodeResponseHead(head, out, { body: type, connection: undefined, changes: undefined });
    const again = textOf(out.written);
    assertPlain(again);
    const meaning = readResponse(again, noBody);
    assert(meaning !== undefined, `${shown} became ${JSON.stringify(again)}`);
    assertEquals(meaning.status, expected.status, shown);
    assertEquals(meaning.framing, expected.framing, shown);
    const kept = expected.endToEnd.filter(([name, value]) =>
      !OWN_RESPONSE_LINES.test(`${name}: ${value}`)
    );
    assertEquals(otherLines(again, OWN_RESPONSE_LINES), kept, shown);
  }
  assert(taken > ROUNDS / 10 && taken < ROUNDS / 1.1, `${taken} of ${ROUNDS} were taken`);
});

/** Decodes pieces, each in a buffer of its own with other bytes behind it. */
function decode(pieces: readonly Uint8Array[], random: Random) {
  const decoder = new ChunkedDecoder();
  let content = "";
  let end = 0;
  for (const piece of pieces) {
    const { buffer, start } = place(piece, random);
    const limit = start + piece.length;
    let at = start;
    while (at < limit && !decoder.done && !decoder.refused) {
      const next = decoder.next(buffer, at, limit);
      assert(next <= limit && (next > at || decoder.refused));
      content += textOf(buffer.subarray(decoder.dataStart, decoder.dataEnd));
      at = next;
    }
    end += at - start;
  }
  return { decoder, content, end };
}

Deno.test("a mutated chunked body is taken exactly if the grammar takes it, however it is cut", () => {
  const random = new Random(SEED + 2);
  const samples = CHUNKED.map(([body]) => bytesOf(body + "GET / HTTP/1.1\r\n"));
  let taken = 0;
  for (let round = 0; round < ROUNDS / 2; round++) {
    const bytes = mutate(random.pick(samples), random);
    const text = textOf(bytes);
    const shown = JSON.stringify(text);
    const whole = decode([bytes], random);
    const expected = readChunked(text);
    assertEquals(whole.decoder.done, expected !== undefined, shown);
    const pieces = decode(cut(bytes, random, 1 + random.below(12)), random);
    assertEquals(pieces.decoder.done, whole.decoder.done, shown);
    assertEquals(pieces.decoder.refused, whole.decoder.refused, shown);
    assertEquals(pieces.content, whole.content, shown);
    if (whole.decoder.refused) assertEquals(pieces.decoder.error, whole.decoder.error, shown);
    if (expected === undefined) continue;
    taken++;
    const trailers = textOf(whole.decoder.trailers);
    assertEquals({ content: whole.content, trailers, end: whole.end }, expected, shown);
    assertEquals(pieces.end, whole.end, shown);
    if (trailers !== "") assertPlain(trailers + "\r\n");
  }
  assert(taken > ROUNDS / 20 && taken < ROUNDS / 2.2, `${taken} of ${ROUNDS / 2} were taken`);
});

Deno.test("bytes by chance are never taken for a head, and never make a parser throw", () => {
  const random = new Random(SEED + 3);
  for (let round = 0; round < 3000; round++) {
    const bytes = Uint8Array.from({ length: random.below(200) }, () => random.below(256));
    const request = new RequestHead().parse(bytes, 0, bytes.length);
    const response = new ResponseHead().parse(bytes, 0, bytes.length, false);
    assert(request === INCOMPLETE || request === REFUSED);
    assert(response === INCOMPLETE || response === REFUSED);
  }
});

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { ChunkedDecoder, encodeChunkSize } from "../../lib/http/h1/chunked.ts";
import { encodeRequestHead } from "../../lib/http/h1/encode_request.ts";
import { encodeResponseHead } from "../../lib/http/h1/encode_response.ts";
import type { RequestHead } from "../../lib/http/h1/request.ts";
import { ResponseHead } from "../../lib/http/h1/response.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { fieldsOf, framingText, parseRequest, parseResponse } from "../support/h1_parse.ts";
import { bytesOf, textOf } from "../support/http_text.ts";

const SEED = 20261122;
const RUNS = { seed: SEED, numRuns: 500 };

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => String.fromCharCode(from + i));
const ALPHANUMERIC = [...range(0x30, 0x39), ...range(0x41, 0x5a), ...range(0x61, 0x7a)];
const string = (characters: readonly string[], minLength: number, maxLength: number) =>
  fc.array(fc.constantFrom(...characters), { minLength, maxLength, size: "max" })
    .map((list) => list.join(""));

const method = string([...ALPHANUMERIC, ..."!#$%&'*+-.^_`|~"], 1, 32)
  .filter((text) => text !== "CONNECT" && text !== "TRACE");
const target = string([...range(0x21, 0x22), ...range(0x24, 0x7e)], 0, 60).map((text) =>
  `/${text}`
);
const host = fc.oneof(
  string([...ALPHANUMERIC, "-", ".", "_"], 1, 20),
  string([..."0123456789abcdefABCDEF:"], 2, 20).map((text) => `[${text}]`),
);
const authority = fc.tuple(host, fc.option(fc.nat(65535)))
  .map(([host, port]) => port === null ? host : `${host}:${port}`);

// Names that mean something to the proxy begin with no X and hold no z.
const fieldName = string([...ALPHANUMERIC, ..."!#$%&'*+-.^_`|~"], 0, 20).map((text) => `Xz${text}`);
const visible = [...range(0x21, 0x7e), ...range(0x80, 0xff)];
const fieldValue = fc.oneof(
  fc.constant(""),
  fc.tuple(
    string(visible, 1, 1),
    string([...visible, " ", "\t"], 0, 40),
    string(visible, 1, 1),
  ).map((parts) => parts.join("")),
);
const space = string([" ", "\t"], 0, 3);
const field = fc.record({ name: fieldName, value: fieldValue, before: space, after: space });
const fields = fc.array(field, { maxLength: 30, size: "max" });
const framing = fc.oneof(
  fc.constant("none"),
  fc.constant("chunked"),
  fc.maxSafeNat().map(String),
);

type Parts = {
  readonly fields: readonly {
    readonly name: string;
    readonly value: string;
    readonly before: string;
    readonly after: string;
  }[];
  readonly framing: string;
};

function fieldLines({ fields, framing }: Parts): string {
  let text = "";
  for (const { name, value, before, after } of fields) {
    text += `${name}:${before}${value}${after}\r\n`;
  }
  if (framing === "chunked") text += "Transfer-Encoding: chunked\r\n";
  else if (framing !== "none" && framing !== "close") text += `Content-Length: ${framing}\r\n`;
  return text;
}

Deno.test("any valid request head is parsed to what it was made of", () => {
  fc.assert(
    fc.property(fc.record({ method, target, authority, fields, framing }), (request) => {
      const text =
        `${request.method} ${request.target} HTTP/1.1\r\nHost: ${request.authority}\r\n` +
        `${fieldLines(request)}\r\n`;
      const { end, head } = parseRequest(text);
      assertEquals(end, text.length, `${head.error} ${head.detail}`);
      assertEquals(head.method, request.method);
      assertEquals(head.target, request.target);
      assertEquals(head.path + (request.target.includes("?") ? "?" : "") + head.query, head.target);
      assertEquals(head.authority, request.authority);
      assertEquals(framingText(head.framing), request.framing);
      const expected = request.fields.map(({ name, value }) => [name, value]);
      assertEquals(fieldsOf(head.fields).slice(1, 1 + expected.length), expected);
      for (const { name } of request.fields) {
        const values = request.fields.filter((other) =>
          other.name.toLowerCase() === name.toLowerCase()
        ).map(({ value }) => value);
        assertEquals(head.header(name.toLowerCase()), values.join(", "));
      }
    }),
    RUNS,
  );
});

Deno.test("what is written of a request is parsed to the same request, and written alike again", () => {
  const encode = (head: RequestHead): string => {
    const out = new ByteWriter(new Uint8Array(16));
    encodeRequestHead(head, out, {
      forwarding: {
        mode: "off",
        trusted: false,
        client: { address: "192.0.2.1", scheme: "http" },
        authority: "listener:80",
      },
      requestId: "id",
      target: undefined,
      changes: undefined,
      via: undefined,
    });
    return textOf(out.written);
  };
  fc.assert(
    fc.property(fc.record({ method, target, authority, fields, framing }), (request) => {
      const text = `${request.method} ${request.target} HTTP/1.1\r\n${fieldLines(request)}` +
        `Host: ${request.authority}\r\n\r\n`;
      const once = encode(parseRequest(text).head);
      const { end, head } = parseRequest(once);
      assertEquals(end, once.length, `${head.error} ${head.detail}`);
      assertEquals(
        [head.method, head.target, head.authority, framingText(head.framing)],
        [request.method, request.target, request.authority, request.framing],
      );
      const expected = request.fields.map(({ name, value }) => [name, value]);
      assertEquals(fieldsOf(head.fields).slice(1, 1 + expected.length), expected);
      assertEquals(encode(head), once);
    }),
    RUNS,
  );
});

const response = fc.record({
  status: fc.integer({ min: 200, max: 599 }).filter((status) => status !== 204 && status !== 304),
  reason: string([...visible, " ", "\t"], 0, 30),
  fields,
  framing: fc.oneof(framing, fc.constant("close")).filter((type) =>
    type !== "none" && type !== "0"
  ),
});

Deno.test("any valid response head is parsed to what it was made of, and written to the same again", () => {
  fc.assert(
    fc.property(response, (response) => {
      const text = `HTTP/1.1 ${response.status} ${response.reason}\r\n${fieldLines(response)}\r\n`;
      const first = parseResponse(text);
      assertEquals(first.end, text.length, first.head.detail);
      assertEquals(first.head.status, response.status);
      assertEquals(framingText(first.head.framing), response.framing);
      const out = new ByteWriter(new Uint8Array(16));
      encodeResponseHead(first.head, out, {
        body: first.head.framing.type,
        connection: undefined,
        changes: undefined,
      });
      const written = textOf(out.written);
      assert(written.startsWith(`HTTP/1.1 ${response.status} ${response.reason}\r\n`));
      const head = new ResponseHead();
      assertEquals(head.parse(out.buffer, 0, out.at, false), out.at, head.detail);
      assertEquals(framingText(head.framing), response.framing);
      const expected = response.fields.map(({ name, value }) => [name, value]);
      assertEquals(fieldsOf(head.fields).slice(0, expected.length), expected);
    }),
    RUNS,
  );
});

const chunk = fc.record({
  data: string(range(0, 255), 1, 40),
  zeros: fc.nat(3),
  upper: fc.boolean(),
  extension: fc.constantFrom("", ";a", ";a=b", ';a="b;c"', ";a;b\t"),
});
const trailer = fc.record({ name: fieldName, value: fieldValue });
const body = fc.record({
  chunks: fc.array(chunk, { maxLength: 12, size: "max" }),
  trailers: fc.array(trailer, { maxLength: 5 }),
  cuts: fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 50, size: "max" }),
});

Deno.test("any valid chunked body gives its content and trailers, wherever it is cut", () => {
  fc.assert(
    fc.property(body, ({ chunks, trailers, cuts }) => {
      let text = "";
      for (const { data, zeros, upper, extension } of chunks) {
        const size = data.length.toString(16);
        text += `${"0".repeat(zeros)}${
          upper ? size.toUpperCase() : size
        }${extension}\r\n${data}\r\n`;
      }
      const section = trailers.map(({ name, value }) => `${name}: ${value}\r\n`).join("");
      const bytes = bytesOf(`${text}0\r\n${section}\r\n`);
      const decoder = new ChunkedDecoder();
      let content = "";
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const limit = Math.min(at + cuts[i % cuts.length]!, bytes.length);
        while (at < limit) {
          at = decoder.next(bytes, at, limit);
          content += textOf(bytes.subarray(decoder.dataStart, decoder.dataEnd));
          assert(!decoder.refused);
        }
      }
      assert(decoder.done);
      assertEquals(content, chunks.map(({ data }) => data).join(""));
      assertEquals(textOf(decoder.trailers), section);
    }),
    RUNS,
  );
});

Deno.test("any chunk size that is written is read again", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (size) => {
      const out = new Uint8Array(16);
      const end = encodeChunkSize(size, out, 0);
      assertEquals(textOf(out.subarray(0, end)), `${size.toString(16)}\r\n`);
      const decoder = new ChunkedDecoder();
      assertEquals(decoder.next(out, 0, end), end);
      assert(!decoder.refused);
    }),
    RUNS,
  );
});

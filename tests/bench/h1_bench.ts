/**
 * What the HTTP/1.1 codec costs: parsing and writing heads, taking chunked bodies apart, and what its
 * comments claim about small copies and searches.
 */

import { ChunkedDecoder } from "../../lib/http/h1/chunked.ts";
import { encodeRequestHead, type RequestEncoding } from "../../lib/http/h1/encode_request.ts";
import { encodeResponseHead } from "../../lib/http/h1/encode_response.ts";
import { TOKEN } from "../../lib/http/h1/chars.ts";
import { RequestHead } from "../../lib/http/h1/request.ts";
import { ResponseHead } from "../../lib/http/h1/response.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { bytesOf } from "../support/http_text.ts";

const head = (...lines: string[]) => bytesOf(lines.join("\r\n") + "\r\n\r\n");

const REQUESTS: Readonly<Record<string, Uint8Array>> = {
  small: head("GET / HTTP/1.1", "Host: localhost:8080"),
  browser: head(
    "GET /api/v1/users/42/orders?limit=20&offset=40&sort=created HTTP/1.1",
    "Host: www.example.com",
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="129", "Not=A?Brand";v="8"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
      "Chrome/129.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-User: ?1",
    "Sec-Fetch-Dest: document",
    "Referer: https://www.example.com/orders",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes",
  ),
  large: head(
    "GET /report HTTP/1.1",
    "Host: www.example.com",
    ...Array.from({ length: 60 }, (_, i) => `X-Field-${i}: ${"value ".repeat(10)}${i}`),
    `Cookie: ${"name=0123456789abcdef; ".repeat(150)}`,
  ),
};

const RESPONSE = head(
  "HTTP/1.1 200 OK",
  "Server: nginx/1.22.1",
  "Date: Sun, 22 Nov 2026 08:49:37 GMT",
  "Content-Type: application/json; charset=utf-8",
  "Content-Length: 1234",
  "Connection: keep-alive",
  'ETag: W/"4d2-18c5f0a7c80"',
  "Cache-Control: private, max-age=0, must-revalidate",
  "Vary: Accept-Encoding",
);

const request = new RequestHead();
for (const [name, bytes] of Object.entries(REQUESTS)) {
  Deno.bench(`request head, ${name} (${bytes.length} bytes)`, { group: "parse" }, () => {
    request.parse(bytes, 0, bytes.length);
  });
}
const response = new ResponseHead();
Deno.bench(`response head (${RESPONSE.length} bytes)`, { group: "parse" }, () => {
  response.parse(RESPONSE, 0, RESPONSE.length, false);
});

const encoding: RequestEncoding = {
  forwarding: {
    mode: "x-forwarded",
    trusted: false,
    client: { address: "192.0.2.1", scheme: "http" },
    authority: "192.0.2.2:8080",
  },
  requestId: "0123456789abcdef0123456789abcdef",
  target: undefined,
  changes: undefined,
  via: undefined,
};
const out = new ByteWriter(new Uint8Array(16 * 1024));
for (const [name, bytes] of Object.entries(REQUESTS)) {
  const parsed = new RequestHead();
  parsed.parse(bytes, 0, bytes.length);
  Deno.bench(`request head, ${name}`, { group: "encode" }, () => {
    out.at = 0;
    encodeRequestHead(parsed, out, encoding);
  });
}
const parsed = new ResponseHead();
parsed.parse(RESPONSE, 0, RESPONSE.length, false);
Deno.bench("response head", { group: "encode" }, () => {
  out.at = 0;
  encodeResponseHead(parsed, out, { body: "length", connection: undefined, changes: undefined });
});

/** 64 KiB of content in chunks of one size. */
function chunkedBody(size: number): Uint8Array {
  const chunk = `${size.toString(16)}\r\n${"x".repeat(size)}\r\n`;
  return bytesOf(chunk.repeat((64 * 1024) / size) + "0\r\n\r\n");
}

for (const size of [64, 1024, 16 * 1024]) {
  const body = chunkedBody(size);
  Deno.bench(`64 KiB in chunks of ${size}`, { group: "chunked" }, () => {
    const decoder = new ChunkedDecoder();
    for (let at = 0; at < body.length;) at = decoder.next(body, at, body.length);
  });
}

// `ByteWriter.range` copies what is short in a loop: where the two lines cross is `LOOP_BELOW`.
const from = bytesOf("x".repeat(1024));
const to = new Uint8Array(1024);
for (const length of [8, 16, 32, 48, 64, 96, 128]) {
  const group = `copy ${length} bytes`;
  let start = 0;
  Deno.bench(`${group}, loop`, { group, baseline: true }, () => {
    start = (start + 7) & 511;
    for (let i = 0; i < length; i++) to[start + i] = from[start + i]!;
  });
  Deno.bench(`${group}, subarray and set`, { group }, () => {
    start = (start + 7) & 511;
    to.set(from.subarray(start, start + length), start);
  });
}

// The end of a field name: a loop over a table of classes judges each byte on its way, `indexOf` finds the
// colon and has judged nothing.
const names = bytesOf("Accept-Encoding: gzip\r\n".repeat(20));
for (
  const [kind, find] of [
    ["loop over a table", (at: number) => {
      let i = at;
      while (TOKEN[names[i]!] === 1) i++;
      return i;
    }],
    ["indexOf", (at: number) => names.indexOf(0x3a, at)],
  ] as const
) {
  let line = 0;
  // Kept, or the compiler could leave the search out.
  let found = 0;
  Deno.bench(`end of a field name, ${kind}`, {
    group: "search",
    baseline: kind !== "indexOf",
  }, () => {
    line = (line + 1) % 20;
    found = Math.max(found, find(line * 23));
  });
}

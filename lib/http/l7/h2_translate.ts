/**
 * Requests of HTTP/2 as HTTP/1.1 writes them, and responses the other way: RFC 9113, section 8. Pure.
 *
 * Only what the rules of HTTP/2 have found well-formed comes here, and what is written is parsed and judged
 * once more by the rules of HTTP/1.1 before a backend sees any of it.
 *
 * @module
 */
import { ascii } from "../h1/chars.ts";
import { LAST_CHUNK } from "../h1/chunked.ts";
import { flags } from "../h1/encode_request.ts";
import { FieldTable, Known } from "../h1/fields.ts";
import type { HeadLimits } from "../h1/limits.ts";
import type { ResponseHead } from "../h1/response.ts";
import { ByteWriter } from "../h1/writer.ts";
import { Encoder } from "../h2/hpack/encoder.ts";
import { FIELD_STRIDE, type FieldList } from "../h2/hpack/field_list.ts";
import { knownNameId, NAME_COUNT, nameFlags } from "../h2/hpack/names.ts";
import type { H2RequestHead } from "../h2/request_head.ts";

const SP = ascii(" ");
const VERSION_AND_HOST = ascii(" HTTP/1.1\r\nhost: ");
const CONTENT_LENGTH = ascii("content-length: ");
const CHUNKED = ascii("transfer-encoding: chunked\r\n");
const COOKIE_NAME = ascii("cookie: ");
const BETWEEN_CRUMBS = ascii("; ");
const COLON = ascii(": ");

const COOKIE = knownNameId("cookie");
/** Fields of a request that are written anew. */
const WRITTEN_ANEW: Uint8Array = nameFlags("host", "content-length", "cookie");
const NOTHING_ANEW = new Uint8Array(NAME_COUNT);

/** Whether the body of a request goes on in chunks: nobody said how long it is. */
export function isChunked(head: H2RequestHead, endStream: boolean): boolean {
  return !endStream && head.contentLength < 0;
}

/**
 * The head of a request that was found `ok`. Without a length the body is chunked. `:scheme` has no place in it;
 * what backends are told of the scheme is that of the connection.
 *
 * @param endStream Whether there is no body.
 */
export function encodeH1Request(head: H2RequestHead, endStream: boolean): Uint8Array {
  const { fields, pseudoCount } = head;
  const { bytes } = fields;
  const out = new ByteWriter(new Uint8Array(fields.size));
  out.range(bytes, head.methodStart, head.methodEnd);
  out.bytes(SP);
  out.range(bytes, head.targetStart, head.targetEnd);
  out.bytes(VERSION_AND_HOST);
  out.range(bytes, head.authorityStart, head.authorityEnd);
  out.line();
  encodeFields(fields, out, pseudoCount, WRITTEN_ANEW);
  encodeCookies(fields, out);
  if (head.contentLength >= 0) {
    out.bytes(CONTENT_LENGTH);
    out.number(head.contentLength);
    out.line();
  } else if (!endStream) out.bytes(CHUNKED);
  out.line();
  return out.written;
}

function encodeFields(list: FieldList, out: ByteWriter, from: number, skip: Uint8Array): void {
  const { bytes, offsets, names, count } = list;
  for (let i = from; i < count; i++) {
    if (skip[names[i]!] === 1) continue;
    const slot = i * FIELD_STRIDE;
    out.range(bytes, offsets[slot]!, offsets[slot + 1]!);
    out.bytes(COLON);
    out.range(bytes, offsets[slot + 2]!, offsets[slot + 3]!);
    out.line();
  }
}

// RFC 9113, section 8.2.3: crumbs "MUST be concatenated into a single octet string using the two-octet
// delimiter of 0x3b, 0x20".
function encodeCookies(list: FieldList, out: ByteWriter): void {
  let index = list.find(COOKIE);
  if (index < 0) return;
  out.bytes(COOKIE_NAME);
  for (;;) {
    out.range(list.bytes, list.valueStart(index), list.valueEnd(index));
    index = list.find(COOKIE, index + 1);
    if (index < 0) break;
    out.bytes(BETWEEN_CRUMBS);
  }
  out.line();
}

/** The end of a chunked body with the trailers that came behind it. */
export function encodeBodyEnd(trailers: FieldList): Uint8Array {
  const out = new ByteWriter(new Uint8Array(trailers.size + 8));
  out.bytes(LAST_CHUNK);
  encodeFields(trailers, out, 0, NOTHING_ANEW);
  out.line();
  return out.written;
}

// It writes blocks that mean the same on every connection; the connection adds what its peer waits for.
const encoder = new Encoder();
/** What blocks are put together in; they are framed before the next one begins. */
const scratch = new ByteWriter(new Uint8Array(4096));

/**
 * Fields of a response that must not be in HTTP/2 (RFC 9113, section 8.2.2); TE is for requests. The engine's
 * own HTTP/1.1 side has removed those of the backend, and those that its Connection named, and added its own.
 */
const CONNECTION_SPECIFIC: Uint8Array = flags(
  Known.Connection,
  Known.KeepAlive,
  Known.ProxyConnection,
  Known.TransferEncoding,
  Known.Upgrade,
  Known.Te,
);

/** The block of a response head; valid until the next block is encoded. */
export function encodeH2Response(head: ResponseHead): Uint8Array {
  scratch.at = 0;
  encoder.status(scratch, head.status);
  encodeTable(head.fields, CONNECTION_SPECIFIC);
  return scratch.written;
}

/**
 * The block of the trailers that stand in `lines`, each ended by CRLF; `undefined` when they are malformed. Valid
 * until the next block is encoded.
 */
export function encodeH2Trailers(lines: Uint8Array, limits: HeadLimits): Uint8Array | undefined {
  const section = new ByteWriter(new Uint8Array(lines.length + 2));
  section.bytes(lines);
  section.line();
  const table = new FieldTable(limits);
  table.reset(section.buffer, 0);
  if (table.parse(0, section.at) < 0) return undefined;
  scratch.at = 0;
  encodeTable(table, CONNECTION_SPECIFIC);
  return scratch.written;
}

function encodeTable(table: FieldTable, skip: Uint8Array): void {
  const { buffer, base, offsets, known, count } = table;
  for (let i = 0; i < count; i++) {
    if (skip[known[i]!] === 1) continue;
    encoder.anyField(scratch, buffer, offsets, { slot: i * 4, base, neverIndexed: false });
  }
}

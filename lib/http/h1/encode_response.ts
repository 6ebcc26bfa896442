/**
 * Writes the head of a forwarded response anew from its parsed form.
 *
 * @module
 */
import type { CompiledChanges } from "../field_changes.ts";
import { ascii } from "./chars.ts";
import { copyFields, flags, mayWrite, writeField } from "./encode_request.ts";
import { Known } from "./fields.ts";
import { parseContentLength } from "./framing.ts";
import type { ResponseHead } from "./response.ts";
import type { ByteWriter } from "./writer.ts";

/** How the body is framed towards the client, and what the connection does afterwards. */
export interface ResponseEncoding {
  /** `chunked`, a length, `none` (the head says nothing), or `close`: it ends with the connection. */
  readonly body: "chunked" | "length" | "none" | "close";
  /** What Connection says: nothing is said where the client's version has that as its default. */
  readonly connection: "close" | "keep-alive" | undefined;
  /** Changes that the route asks for. */
  readonly changes: CompiledChanges | undefined;
  /** Tells what Date says where the backend says none; without it there is no Date then. */
  readonly date?: () => string;
}

const STATUS = ascii("HTTP/1.1 ");
const CHUNKED = ascii("Transfer-Encoding: chunked\r\n");
const CLOSE = ascii("Connection: close\r\n");
const KEEP_ALIVE = ascii("Connection: keep-alive\r\n");

/** Known fields that are never copied: they end at this hop, or are written anew. */
const NEVER_COPIED: Uint8Array = flags(
  Known.Connection,
  Known.ContentLength,
  Known.TransferEncoding,
  Known.Upgrade,
  Known.KeepAlive,
  Known.ProxyConnection,
  Known.Te,
);

/** Appends the head to `out`, with the empty line. */
export function encodeResponseHead(
  head: ResponseHead,
  out: ByteWriter,
  encoding: ResponseEncoding,
): void {
  const { fields } = head;
  const { changes } = encoding;
  writeStatusLine(head, out);
  copyFields(fields, out, NEVER_COPIED, head.nominated, changes);
  // RFC 9110, section 6.6.1: a recipient with a clock must append Date to what it forwards without one.
  if (encoding.date !== undefined && fields.has(Known.Date) === 0 && mayWrite("Date", changes)) {
    writeField(out, "Date", encoding.date());
  }
  if (changes !== undefined) {
    for (const [name, value] of changes.write) writeField(out, name, value);
  }
  if (encoding.body === "chunked") out.bytes(CHUNKED);
  else if (encoding.body !== "close") writeLength(head, out);
  if (encoding.connection === "close") out.bytes(CLOSE);
  else if (encoding.connection === "keep-alive") out.bytes(KEEP_ALIVE);
  out.line();
}

/** Appends an interim response (1xx), or the 101 that opens a tunnel, with the empty line. */
export function encodeInterim(head: ResponseHead, out: ByteWriter): void {
  writeStatusLine(head, out);
  copyFields(head.fields, out, NEVER_COPIED, head.nominated, undefined);
  if (head.status === 101) {
    out.text("Connection: upgrade\r\n");
    writeField(out, "Upgrade", head.fields.joined(Known.Upgrade)!);
  }
  out.line();
}

// RFC 9110, section 2.5: an intermediary sends its own version.
function writeStatusLine(head: ResponseHead, out: ByteWriter): void {
  out.bytes(STATUS);
  out.number(head.status);
  out.text(" ");
  out.range(head.fields.buffer, head.reasonStart, head.reasonEnd);
  out.line();
}

// RFC 9110, section 8.6: "A server MUST NOT send a Content-Length header field in any response with
// a status code of 1xx (Informational) or 204 (No Content)."
function writeLength(head: ResponseHead, out: ByteWriter): void {
  const { fields, status } = head;
  if (fields.has(Known.ContentLength) === 0 || status === 204 || status < 200) return;
  // Both fields: Transfer-Encoding counted, so the length says nothing.
  if (fields.has(Known.TransferEncoding) > 0) return;
  out.text("Content-Length: ");
  out.number(parseContentLength(fields, fields.find(Known.ContentLength))!);
  out.line();
}

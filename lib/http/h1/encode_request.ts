/**
 * Writes the head of a forwarded request anew from its parsed form.
 *
 * @module
 */
import { nextRequestId } from "../../common/request_id.ts";
import type { CompiledChanges } from "../field_changes.ts";
import { forwardedElement, type Forwarding } from "../forwarded.ts";
import { ascii } from "./chars.ts";
import { type FieldTable, Known } from "./fields.ts";
import type { RequestHead } from "./request.ts";
import type { ByteWriter } from "./writer.ts";

/** What changes on the way to the backend. */
export interface RequestEncoding {
  /** What the backend is told of the client. */
  readonly forwarding: Forwarding;
  /** `X-Request-Id` for a request that has none; a new one is made for it unless given. */
  readonly requestId: string | undefined;
  /** Path and query, when they are not those of the request. */
  readonly target: string | undefined;
  /** Changes that the route asks for. */
  readonly changes: CompiledChanges | undefined;
  /** The name that we are known by in Via, or `undefined` to leave it out. */
  readonly via: string | undefined;
  /** The version that Via gives, when the request was received by another one than its head says. */
  readonly received?: string | undefined;
}

const HTTP11 = ascii(" HTTP/1.1\r\nHost: ");
const CHUNKED = ascii("Transfer-Encoding: chunked\r\n");
const CONTENT_LENGTH = ascii("Content-Length: ");
const CONNECTION_UPGRADE = ascii("Connection: upgrade\r\nUpgrade: ");
const TE_TRAILERS = ascii("Connection: TE\r\nTE: trailers\r\n");
const HOST = "host";
const REQUEST_ID = "x-request-id";

/** Known fields that are never copied: they end at this hop, or are written anew. */
const NEVER_COPIED: Uint8Array = flags(
  Known.Host,
  Known.Connection,
  Known.ContentLength,
  Known.TransferEncoding,
  Known.Expect,
  Known.Upgrade,
  Known.KeepAlive,
  Known.ProxyConnection,
  Known.Te,
  Known.Http2Settings,
  Known.LookAlike,
);
/** The same with the forwarding fields, unless they are passed on as they are. */
const NEVER_COPIED_FORWARDING: Uint8Array = NEVER_COPIED.slice();
for (
  const id of [Known.XForwardedFor, Known.XForwardedProto, Known.XForwardedHost, Known.Forwarded]
) NEVER_COPIED_FORWARDING[id] = 1;

/** A table with 1 at the given known fields. */
export function flags(...ids: number[]): Uint8Array {
  const table = new Uint8Array(Object.keys(Known).length);
  for (const id of ids) table[id] = 1;
  return table;
}

/** Appends the head to `out`, with the empty line. */
export function encodeRequestHead(
  head: RequestHead,
  out: ByteWriter,
  encoding: RequestEncoding,
): void {
  const { fields, framing } = head;
  const { buffer } = fields;
  const { changes, forwarding } = encoding;
  out.range(buffer, head.methodStart, head.methodEnd + 1);
  if (encoding.target === undefined) {
    out.text(head.targetPrefix);
    out.range(buffer, head.targetStart, head.targetEnd);
  } else out.text(encoding.target);
  out.bytes(HTTP11);
  const host = changes?.write.find(([name]) => name.toLowerCase() === HOST);
  if (host !== undefined) out.text(host[1]);
  else if (head.authorityStart === head.authorityEnd) out.text(forwarding.authority);
  else out.range(buffer, head.authorityStart, head.authorityEnd);
  out.line();
  let skip = forwarding.mode === "off" ? NEVER_COPIED : NEVER_COPIED_FORWARDING;
  const hops = fields.has(Known.MaxForwards) > 0 ? remainingHops(head) : undefined;
  if (hops !== undefined) {
    skip = skip.slice();
    skip[Known.MaxForwards] = 1;
  }
  copyFields(fields, out, skip, head.nominated, changes);
  if (hops !== undefined) writeOwn(out, "Max-Forwards", hops, changes);
  if (forwarding.mode !== "off") encodeForwarded(head, out, forwarding, changes);
  // A field of ours is not lost because the client names it in Connection.
  if (fields.has(Known.XRequestId) === 0 || head.nominated.includes(REQUEST_ID)) {
    writeRequestId(out, encoding.requestId, changes);
  }
  if (encoding.via !== undefined) {
    const version = encoding.received ?? `1.${head.minor}`;
    writeOwn(out, "Via", `${version} ${encoding.via}`, changes);
  }
  if (changes !== undefined) {
    for (const [name, value] of changes.write) {
      if (name.toLowerCase() !== HOST) writeField(out, name, value);
    }
  }
  if (head.expectContinue) writeField(out, "Expect", "100-continue");
  if (head.upgrade) {
    out.bytes(CONNECTION_UPGRADE);
    out.text(fields.joined(Known.Upgrade)!);
    out.line();
  } else if (fields.has(Known.Te) > 0 && acceptsTrailers(fields.joined(Known.Te)!)) {
    out.bytes(TE_TRAILERS);
  }
  if (framing.type === "chunked") out.bytes(CHUNKED);
  else if (framing.type === "length") {
    out.bytes(CONTENT_LENGTH);
    out.number(framing.length);
    out.line();
  }
  out.line();
}

function writeRequestId(
  out: ByteWriter,
  id: string | undefined,
  changes: CompiledChanges | undefined,
): void {
  if (!mayWrite("X-Request-Id", changes)) return;
  out.text("X-Request-Id: ");
  if (id === undefined) out.bytes(nextRequestId());
  else out.text(id);
  out.line();
}

/**
 * What Max-Forwards says to the next hop, if it counts: RFC 9110, section 7.6.2: an intermediary that passes
 * OPTIONS on must lower it by one.
 */
function remainingHops(head: RequestHead): string | undefined {
  const value = head.fields.joined(Known.MaxForwards)!;
  if (head.method !== "OPTIONS" || !/^\d{1,15}$/.test(value)) return undefined;
  return String(Math.max(Number(value) - 1, 0));
}

// RFC 9110, section 10.1.4; a coding that we do not decode ourselves must not be promised.
function acceptsTrailers(te: string): boolean {
  return te.split(",").some((part) => /^[ \t]*trailers[ \t]*$/i.test(part));
}

/** Appends one field line. */
export function writeField(out: ByteWriter, name: string, value: string): void {
  out.text(name);
  out.text(": ");
  out.text(value);
  out.line();
}

/** Appends a field of our own, unless the route has the last word on it. */
function writeOwn(
  out: ByteWriter,
  name: string,
  value: string,
  changes: CompiledChanges | undefined,
): void {
  if (mayWrite(name, changes)) writeField(out, name, value);
}

/** Whether a field of our own is written: what the route removes or sets is not. */
export function mayWrite(name: string, changes: CompiledChanges | undefined): boolean {
  return changes === undefined || !changes.drop.has(name.toLowerCase());
}

/**
 * Appends the fields that are not skipped, nominated or dropped. Lines that are already in the form
 * that we would write (`name: value` CRLF) lie side by side more often than not, and such a run is
 * copied in one piece.
 */
export function copyFields(
  fields: FieldTable,
  out: ByteWriter,
  skip: Uint8Array,
  nominated: readonly string[],
  changes: CompiledChanges | undefined,
): void {
  const { buffer, base, offsets, known, count } = fields;
  const byName = nominated.length > 0 || changes !== undefined;
  let runStart = 0, runEnd = 0;
  for (let i = 0; i < count; i++) {
    if (skip[known[i]!] === 1) continue;
    if (byName) {
      const name = fields.name(i).toLowerCase();
      if (nominated.includes(name) || changes?.drop.has(name)) continue;
    }
    const slot = i * 4;
    const name = base + offsets[slot]!;
    const nameEnd = base + offsets[slot + 1]!;
    const value = base + offsets[slot + 2]!;
    const valueEnd = base + offsets[slot + 3]!;
    const plain = value - nameEnd === 2 && buffer[nameEnd + 1] === 0x20 &&
      buffer[valueEnd] === 0x0d;
    if (plain && name === runEnd) {
      runEnd = valueEnd + 2;
      continue;
    }
    if (runEnd > runStart) out.range(buffer, runStart, runEnd);
    if (plain) {
      runStart = name;
      runEnd = valueEnd + 2;
      continue;
    }
    runStart = runEnd = 0;
    out.range(buffer, name, nameEnd);
    out.text(": ");
    out.range(buffer, value, valueEnd);
    out.line();
  }
  if (runEnd > runStart) out.range(buffer, runStart, runEnd);
}

function encodeForwarded(
  head: RequestHead,
  out: ByteWriter,
  forwarding: Forwarding,
  changes: CompiledChanges | undefined,
): void {
  const { fields } = head;
  const { client, mode, trusted } = forwarding;
  if (mode !== "forwarded") {
    if (mayWrite("X-Forwarded-For", changes)) {
      const before = trusted ? fields.joined(Known.XForwardedFor) : undefined;
      out.text("X-Forwarded-For: ");
      if (before !== undefined) out.text(`${before}, `);
      out.text(client.address);
      out.line();
    }
    const proto = trusted ? fields.joined(Known.XForwardedProto) : undefined;
    writeOwn(out, "X-Forwarded-Proto", proto ?? client.scheme, changes);
    const host = trusted ? fields.joined(Known.XForwardedHost) : undefined;
    if (host !== undefined) writeOwn(out, "X-Forwarded-Host", host, changes);
    else if (head.authorityStart < head.authorityEnd && mayWrite("X-Forwarded-Host", changes)) {
      out.text("X-Forwarded-Host: ");
      out.range(fields.buffer, head.authorityStart, head.authorityEnd);
      out.line();
    }
  }
  const before = trusted ? fields.joined(Known.Forwarded) : undefined;
  if (mode === "x-forwarded" && before === undefined) return;
  const element = forwardedElement(client, head.authority);
  writeOwn(out, "Forwarded", before === undefined ? element : `${before}, ${element}`, changes);
}

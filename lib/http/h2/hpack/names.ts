/**
 * Field names that are told apart by a number: all of the static table and those that a proxy reads
 * or writes itself.
 *
 * @module
 */
import { ascii } from "../../h1/chars.ts";

/** Known names in the order of their numbers, which begin at 1. */
const NAMES = [
  // RFC 7541, appendix A, each once; the pseudo-fields come first.
  ":authority",
  ":method",
  ":path",
  ":scheme",
  ":status",
  "accept-charset",
  "accept-encoding",
  "accept-language",
  "accept-ranges",
  "accept",
  "access-control-allow-origin",
  "age",
  "allow",
  "authorization",
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-range",
  "content-type",
  "cookie",
  "date",
  "etag",
  "expect",
  "expires",
  "from",
  "host",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "last-modified",
  "link",
  "location",
  "max-forwards",
  "proxy-authenticate",
  "proxy-authorization",
  "range",
  "referer",
  "refresh",
  "retry-after",
  "server",
  "set-cookie",
  "strict-transport-security",
  "transfer-encoding",
  "user-agent",
  "vary",
  "via",
  "www-authenticate",
  // Not in the static table.
  "connection",
  "keep-alive",
  "proxy-connection",
  "upgrade",
  "te",
  "http2-settings",
  "trailer",
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-request-id",
  "grpc-timeout",
  "grpc-encoding",
  "grpc-accept-encoding",
  "grpc-status",
  "grpc-message",
] as const;

/** The number of a name that is not known. */
export const OTHER_NAME = 0;
/** Numbers from 1 to this are pseudo-fields (RFC 9113, section 8.3). */
export const LAST_PSEUDO = 5;
/** How many numbers there are, that of unknown names included: the size of tables by number. */
export const NAME_COUNT: number = NAMES.length + 1;

/** A name that has a number. */
export type KnownName = (typeof NAMES)[number];

const IDS: ReadonlyMap<string, number> = new Map(NAMES.map((name, index) => [name, index + 1]));

/** The number of a name in lower case, or {@linkcode OTHER_NAME}. */
export function nameId(name: string): number {
  return IDS.get(name) ?? OTHER_NAME;
}

/** The number of a name that is known to have one. */
export function knownNameId(name: KnownName): number {
  return IDS.get(name)!;
}

/** The name with this number; not for {@linkcode OTHER_NAME}. */
export function nameOf(id: number): string {
  return NAMES[id - 1]!;
}

/** A table with 1 at the numbers of the given names. */
export function nameFlags(...names: KnownName[]): Uint8Array {
  const table = new Uint8Array(NAME_COUNT);
  for (const name of names) table[knownNameId(name)] = 1;
  return table;
}

/** The bytes of all known names, one behind the other. */
export const NAME_TEXT: Uint8Array = ascii(NAMES.join(""));
/** Where each name begins in {@linkcode NAME_TEXT}, by number. */
export const NAME_START: Int32Array = new Int32Array(NAME_COUNT);
/** The index behind each name in {@linkcode NAME_TEXT}, by number. */
export const NAME_END: Int32Array = new Int32Array(NAME_COUNT);

/** Hash table of names: the first number of each bucket, and the next one of the same bucket. */
const BUCKETS = new Uint8Array(256);
const NEXT = new Uint8Array(NAME_COUNT);

function bucketOf(bytes: Uint8Array, start: number, end: number): number {
  // The length, the last byte and one from the middle tell nearly all known names apart.
  const length = end - start;
  return (length * 31 + bytes[end - 1]! * 7 + bytes[start + (length >> 1)]!) & 0xff;
}

let offset = 0;
for (const [index, name] of NAMES.entries()) {
  const id = index + 1;
  NAME_START[id] = offset;
  offset = NAME_END[id] = offset + name.length;
  const bucket = bucketOf(NAME_TEXT, NAME_START[id], offset);
  NEXT[id] = BUCKETS[bucket]!;
  BUCKETS[bucket] = id;
}

/** The number of the name `bytes[start..end)`, byte for byte, or {@linkcode OTHER_NAME}. */
export function identifyName(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length === 0) return OTHER_NAME;
  next: for (let id = BUCKETS[bucketOf(bytes, start, end)]!; id !== 0; id = NEXT[id]!) {
    const from = NAME_START[id]!;
    if (NAME_END[id]! - from !== length) continue;
    for (let i = 0; i < length; i++) {
      if (NAME_TEXT[from + i] !== bytes[start + i]) continue next;
    }
    return id;
  }
  return OTHER_NAME;
}

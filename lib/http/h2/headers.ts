/**
 * Rules for decoded field sections that requests, responses and trailers share: RFC 9113, section 8.2.
 *
 * @module
 */
import { ascii } from "../h1/chars.ts";
import { FieldFlag, type FieldList } from "./hpack/field_list.ts";
import { type KnownName, knownNameId, LAST_PSEUDO, NAME_COUNT, OTHER_NAME } from "./hpack/names.ts";

/** What a field name asks of the interpreter of a field section. */
export const Rule = {
  /** Nothing. */
  None: 0,
  /** The field must not be there (RFC 9113, section 8.2.2). */
  ConnectionSpecific: 1,
  /** `te`, which may only say `trailers`, in a request. */
  Te: 2,
  /** `content-length`, once, and only digits. */
  ContentLength: 3,
  /** `host`. */
  Host: 4,
  /** `content-type`. */
  ContentType: 5,
} as const;

/** The rule for each name, by its number. */
export const RULES: Uint8Array = new Uint8Array(NAME_COUNT);
const RULED: readonly (readonly [KnownName, number])[] = [
  ["connection", Rule.ConnectionSpecific],
  ["keep-alive", Rule.ConnectionSpecific],
  ["proxy-connection", Rule.ConnectionSpecific],
  ["transfer-encoding", Rule.ConnectionSpecific],
  ["upgrade", Rule.ConnectionSpecific],
  ["te", Rule.Te],
  ["content-length", Rule.ContentLength],
  ["host", Rule.Host],
  ["content-type", Rule.ContentType],
];
for (const [name, rule] of RULED) RULES[knownNameId(name)] = rule;

/** Characters of a name that the log shows. */
const MAX_SHOWN = 64;
const UNFIT = FieldFlag.BadName | FieldFlag.BadValue;

/**
 * What is wrong with the bytes of names or values of a list (RFC 9113, section 8.2.1), for the log, or
 * `undefined`.
 */
export function findBadField(list: FieldList): string | undefined {
  if ((list.allFlags & UNFIT) === 0) return undefined;
  let i = 0;
  while ((list.flags[i]! & UNFIT) === 0) i++;
  const name = list.name(i).slice(0, MAX_SHOWN);
  return (list.flags[i]! & FieldFlag.BadName) !== 0
    ? `field name ${JSON.stringify(name)}`
    : `value of ${name}`;
}

/** Whether the number is that of a pseudo-field. */
export function isPseudo(id: number): boolean {
  return id !== OTHER_NAME && id <= LAST_PSEUDO;
}

/**
 * The value of Content-Length: `1*DIGIT` and nothing else (RFC 9110, section 8.6). `Infinity` when it is too
 * large to count exactly, -1 when it is malformed.
 */
export function parseContentLength(list: FieldList, index: number): number {
  const { bytes } = list;
  const start = list.valueStart(index);
  const end = list.valueEnd(index);
  if (start === end) return -1;
  let length = 0;
  for (let i = start; i < end; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return length > Number.MAX_SAFE_INTEGER ? Infinity : length;
}

/** Whether `text`, which is in lower case, stands at `bytes[at]`, without case. */
export function startsWith(bytes: Uint8Array, at: number, text: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) {
    const byte = bytes[at + i]!;
    if (byte !== text[i] && (byte < 0x41 || byte > 0x5a || (byte | 0x20) !== text[i])) return false;
  }
  return true;
}

const GRPC = ascii("application/grpc");
/** What may follow `application/grpc` in a content type: the end, a subtype, or a parameter. */
const AFTER_GRPC: ReadonlySet<number> = new Set(ascii("+; \t"));

/** Whether the value of the field at `index` is `application/grpc` or one of its kin. */
export function isGrpcType(list: FieldList, index: number): boolean {
  const start = list.valueStart(index);
  const next = start + GRPC.length;
  const end = list.valueEnd(index);
  if (next > end || !startsWith(list.bytes, start, GRPC)) return false;
  return next === end || AFTER_GRPC.has(list.bytes[next]!);
}

/** The same for a value as text. */
export function isGrpcTypeText(value: string): boolean {
  return /^application\/grpc(?:$|[+; \t])/i.test(value);
}

/**
 * Judges a trailer section: no pseudo-fields (RFC 9113, section 8.1), none of the connection, and none
 * that frame or route the message (RFC 9110, section 6.5.1 lets no trailer be merged that does).
 *
 * @returns What is wrong, for the log, or `undefined`. Trailers that are wrong make the message malformed:
 * a stream error, PROTOCOL_ERROR.
 */
export function checkTrailers(list: FieldList): string | undefined {
  const bad = findBadField(list);
  if (bad !== undefined) return bad;
  for (let i = 0; i < list.count; i++) {
    const id = list.names[i]!;
    const rule = RULES[id]!;
    if (isPseudo(id) || (rule !== Rule.None && rule !== Rule.ContentType)) {
      return `${list.name(i)} in trailers`;
    }
  }
  return undefined;
}

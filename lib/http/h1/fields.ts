/**
 * The field section of an HTTP/1.1 head: found once, kept as offsets, never copied.
 *
 * @module
 */
import type { ErrorCode } from "../../common/errors.ts";
import { ascii, COLON, CR, decodeLatin1, FIELD_VALUE, HTAB, LF, SP, TOKEN } from "./chars.ts";
import type { HeadLimits } from "./limits.ts";

/**
 * The fields that the proxy itself reads or writes. 0 is any other. A look-alike has `_` where one of them
 * has `-`: to gateways in the manner of CGI, which name both `HTTP_X_FORWARDED_FOR`, it is that field.
 */
export const Known = {
  Other: 0,
  Host: 1,
  Connection: 2,
  ContentLength: 3,
  TransferEncoding: 4,
  Expect: 5,
  Upgrade: 6,
  KeepAlive: 7,
  ProxyConnection: 8,
  Te: 9,
  Http2Settings: 10,
  XForwardedFor: 11,
  XForwardedProto: 12,
  XForwardedHost: 13,
  Forwarded: 14,
  XRequestId: 15,
  Via: 16,
  MaxForwards: 17,
  Trailer: 18,
  Date: 19,
  LookAlike: 20,
} as const;

const KNOWN_NAMES: readonly (readonly [string, number])[] = [
  ["host", Known.Host],
  ["connection", Known.Connection],
  ["content-length", Known.ContentLength],
  ["transfer-encoding", Known.TransferEncoding],
  ["expect", Known.Expect],
  ["upgrade", Known.Upgrade],
  ["keep-alive", Known.KeepAlive],
  ["proxy-connection", Known.ProxyConnection],
  ["te", Known.Te],
  ["http2-settings", Known.Http2Settings],
  ["x-forwarded-for", Known.XForwardedFor],
  ["x-forwarded-proto", Known.XForwardedProto],
  ["x-forwarded-host", Known.XForwardedHost],
  ["forwarded", Known.Forwarded],
  ["x-request-id", Known.XRequestId],
  ["via", Known.Via],
  ["max-forwards", Known.MaxForwards],
  ["trailer", Known.Trailer],
  ["date", Known.Date],
];

const KINDS = Object.keys(Known).length;
const UNDERSCORE = 0x5f;
const DASH = 0x2d;
const LONGEST_KNOWN = Math.max(...KNOWN_NAMES.map(([name]) => name.length));
/** Known names by length, so that most names are told apart by their length alone. */
const BY_LENGTH: readonly (readonly { readonly id: number; readonly bytes: Uint8Array }[])[] = Array
  .from(
    { length: LONGEST_KNOWN + 1 },
    (_, length) =>
      KNOWN_NAMES.filter(([name]) => name.length === length)
        .map(([name, id]) => ({ id, bytes: ascii(name) })),
  );

/** Whether `buffer[start..start + name.length)` is `name`, which is in lower case, without case. */
export function equalsName(buffer: Uint8Array, start: number, name: Uint8Array): boolean {
  for (let i = 0; i < name.length; i++) {
    const byte = buffer[start + i]!;
    // Only letters have a case; `|0x20` alone would take `@` for a backtick.
    const lower = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (lower !== name[i]) return false;
  }
  return true;
}

function identify(buffer: Uint8Array, start: number, end: number): number {
  const candidates = BY_LENGTH[end - start];
  if (candidates === undefined) return Known.Other;
  next: for (const { id, bytes } of candidates) {
    let found: number = id;
    for (let i = 0; i < bytes.length; i++) {
      const byte = buffer[start + i]!;
      const lower = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
      if (lower === bytes[i]) continue;
      if (byte !== UNDERSCORE || bytes[i] !== DASH) continue next;
      found = Known.LookAlike;
    }
    return found;
  }
  return Known.Other;
}

/** What {@linkcode FieldTable.parse} answers when the section is not complete. */
export const INCOMPLETE = -1;
/** What {@linkcode FieldTable.parse} answers when the section is refused; `error` says why. */
export const REFUSED = -2;

/**
 * The fields of one head as offsets from the start of the head. It is valid until the next parse
 * and only while the bytes of the head stay where they are.
 */
export class FieldTable {
  readonly #limits: HeadLimits;
  /** Four offsets a field: name start, name end, value start, value end; optional white space excluded. */
  readonly offsets: Int32Array;
  /** Which known field each is. */
  readonly known: Uint8Array;
  /** How many there are. */
  count = 0;
  /** The bytes that the head lies in. */
  buffer: Uint8Array = new Uint8Array(0);
  /** Where in `buffer` the head begins. */
  base = 0;
  /** Why the last parse refused. */
  error: ErrorCode = "bad_field";
  /** Index of the last field of each known kind plus one; 0 when there is none. */
  readonly lastOf: Uint16Array = new Uint16Array(KINDS);
  /** How many fields of each known kind there are. */
  readonly countOf: Uint16Array = new Uint16Array(KINDS);

  /** Makes an empty table for heads within `limits`. */
  constructor(limits: HeadLimits) {
    this.#limits = limits;
    this.offsets = new Int32Array(limits.maxFields * 4);
    this.known = new Uint8Array(limits.maxFields);
  }

  /** Forgets the fields; the next {@linkcode parse} begins a head at `base`. */
  reset(buffer: Uint8Array, base: number): void {
    this.buffer = buffer;
    this.base = base;
    this.count = 0;
    this.lastOf.fill(0);
    this.countOf.fill(0);
  }

  /**
   * Parses field lines and the empty line behind them (RFC 9112, section 5) from `buffer[at..end)`.
   * Bytes are judged from left to right, so the verdict does not depend on how they arrive.
   *
   * @returns The index behind the empty line, {@linkcode INCOMPLETE} or {@linkcode REFUSED}.
   */
  parse(at: number, end: number): number {
    const { buffer, base, offsets } = this;
    const { maxFieldLine, maxHead, maxFields } = this.#limits;
    // What lies behind the longest head is never looked at.
    const stop = Math.min(end, base + maxHead);
    let i = at;
    for (;;) {
      const line = i;
      const limit = Math.min(stop, line + maxFieldLine + 1);
      if (i < stop && buffer[i] === CR) {
        if (i + 1 >= stop) return this.#short(i + 1, end);
        return buffer[i + 1] === LF ? i + 2 : this.#refuse("bad_field");
      }
      // RFC 9112, section 5.1: "No whitespace is allowed between the field name and colon."
      while (i < limit && TOKEN[buffer[i]!] === 1) i++;
      if (i >= limit) return this.#short(i, end);
      // An empty name, a fold (section 5.2), a space before the colon or a line without colon.
      if (i === line || buffer[i] !== COLON) return this.#refuse("bad_field");
      const nameEnd = i++;
      while (i < limit && (buffer[i] === SP || buffer[i] === HTAB)) i++;
      const valueStart = i;
      while (i < limit && FIELD_VALUE[buffer[i]!] === 1) i++;
      if (i >= limit) return this.#short(i, end);
      let valueEnd = i;
      // RFC 9112, section 2.2: a bare CR or LF is invalid; LF alone does not end a line here.
      if (buffer[i] !== CR) return this.#refuse("bad_field");
      if (i + 1 >= stop) return this.#short(i + 1, end);
      if (buffer[i + 1] !== LF) return this.#refuse("bad_field");
      i += 2;
      while (
        valueEnd > valueStart && (buffer[valueEnd - 1] === SP || buffer[valueEnd - 1] === HTAB)
      ) valueEnd--;
      const index = this.count;
      if (index === maxFields) return this.#refuse("head_too_large");
      const id = identify(buffer, line, nameEnd);
      const slot = index * 4;
      offsets[slot] = line - base;
      offsets[slot + 1] = nameEnd - base;
      offsets[slot + 2] = valueStart - base;
      offsets[slot + 3] = valueEnd - base;
      this.known[index] = id;
      this.count = index + 1;
      if (id !== Known.Other) {
        this.lastOf[id] = index + 1;
        this.countOf[id]!++;
      }
    }
  }

  #refuse(error: ErrorCode): number {
    this.error = error;
    return REFUSED;
  }

  /** The bytes end at `i`, or a limit does. */
  #short(i: number, end: number): number {
    return i === end ? INCOMPLETE : this.#refuse("head_too_large");
  }

  /** The index of the only (or last) field of a known kind, or -1. */
  find(id: number): number {
    return this.lastOf[id]! - 1;
  }

  /** How many fields of a known kind there are. */
  has(id: number): number {
    return this.countOf[id]!;
  }

  /** The value of the field at `index`. */
  value(index: number): string {
    const slot = index * 4;
    return decodeLatin1(
      this.buffer,
      this.base + this.offsets[slot + 2]!,
      this.base + this.offsets[slot + 3]!,
    );
  }

  /** The name of the field at `index`, as it was sent. */
  name(index: number): string {
    const slot = index * 4;
    return decodeLatin1(
      this.buffer,
      this.base + this.offsets[slot]!,
      this.base + this.offsets[slot + 1]!,
    );
  }

  /** Whether the field at `index` has this name, given in lower case. */
  isNamed(index: number, name: Uint8Array): boolean {
    const slot = index * 4;
    const start = this.offsets[slot]!;
    return this.offsets[slot + 1]! - start === name.length &&
      equalsName(this.buffer, this.base + start, name);
  }

  /** Whether the value of the field at `index` is `text`, which is in lower case, without case. */
  isValue(index: number, text: Uint8Array): boolean {
    const slot = index * 4;
    const start = this.offsets[slot + 2]!;
    return this.offsets[slot + 3]! - start === text.length &&
      equalsName(this.buffer, this.base + start, text);
  }

  /** All values of a known kind joined by `, ` (RFC 9110, section 5.3), or `undefined`. */
  joined(id: number): string | undefined {
    const last = this.find(id);
    if (last < 0) return undefined;
    if (this.countOf[id] === 1) return this.value(last);
    const values: string[] = [];
    for (let i = 0; i <= last; i++) if (this.known[i] === id) values.push(this.value(i));
    return values.join(", ");
  }

  /** All values of the fields with this name, given in lower case, joined by `, `, or `undefined`. */
  get(name: Uint8Array): string | undefined {
    let text: string | undefined;
    for (let i = 0; i < this.count; i++) {
      if (!this.isNamed(i, name)) continue;
      text = text === undefined ? this.value(i) : `${text}, ${this.value(i)}`;
    }
    return text;
  }
}

/**
 * The authority of a request, the same in both HTTP versions: RFC 3986, section 3.2, as far as names of
 * real hosts go.
 *
 * @module
 */
import { COLON, HEX, HOST } from "./h1/chars.ts";

const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const DOT = 0x2e;
const DIGIT_0 = 0x30;
const MAX_PORT = 65_535;

/**
 * Whether the bytes are a host that can exist, with an optional port up to 65535: a name of letters,
 * digits, `-`, `.` and `_`, or an IP literal in brackets. No user information (RFC 9110, section 4.2.4;
 * RFC 9113, section 8.3.1: ":authority" "MUST NOT include the deprecated userinfo subcomponent").
 */
export function isAuthority(bytes: Uint8Array, start: number, end: number): boolean {
  let i = start;
  if (i < end && bytes[i] === OPEN_BRACKET) {
    for (i++; i < end && bytes[i] !== CLOSE_BRACKET; i++) {
      const byte = bytes[i]!;
      if (HEX[byte]! > 15 && byte !== COLON && byte !== DOT) return false;
    }
    if (i >= end || i < start + 3) return false;
    i++;
  } else {
    while (i < end && HOST[bytes[i]!] === 1) i++;
    if (i === start) return false;
  }
  if (i === end) return true;
  if (bytes[i] !== COLON) return false;
  let port = 0;
  for (i++; i < end; i++) {
    const digit = bytes[i]! - DIGIT_0;
    if (digit < 0 || digit > 9) return false;
    port = port * 10 + digit;
    if (port > MAX_PORT) return false;
  }
  return true;
}

/** The index behind the host of a valid authority: its end, or that of what stands before the port. */
export function hostEnd(bytes: Uint8Array, start: number, end: number): number {
  let i = end;
  while (i > start && bytes[i - 1]! - DIGIT_0 <= 9 && bytes[i - 1]! >= DIGIT_0) i--;
  return i > start && bytes[i - 1] === COLON ? i - 1 : end;
}

/** The index behind an authority without a port that is empty or the scheme's default. */
function normalEnd(bytes: Uint8Array, start: number, end: number, https: boolean): number {
  const host = hostEnd(bytes, start, end);
  let port = 0;
  for (let i = host + 1; i < end; i++) port = port * 10 + bytes[i]! - DIGIT_0;
  return end - host <= 1 || port === (https ? 443 : 80) ? host : end;
}

/**
 * Whether two valid authorities name the same: without case, and with the default port of the scheme left
 * out (RFC 9113, section 8.3.1 demands "scheme-based normalization", RFC 3986, section 6.2.3).
 */
export function sameAuthority(
  bytes: Uint8Array,
  one: { readonly start: number; readonly end: number },
  other: { readonly start: number; readonly end: number },
  https: boolean,
): boolean {
  const length = normalEnd(bytes, one.start, one.end, https) - one.start;
  if (normalEnd(bytes, other.start, other.end, https) - other.start !== length) return false;
  for (let i = 0; i < length; i++) {
    if (lower(bytes[one.start + i]!) !== lower(bytes[other.start + i]!)) return false;
  }
  return true;
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
}

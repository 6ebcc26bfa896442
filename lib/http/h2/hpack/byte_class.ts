/**
 * Which bytes may stand in names and values of HTTP/2 fields, as one table for both, so that one pass
 * over a string judges it.
 *
 * @module
 */
import { FIELD_VALUE, TOKEN } from "../../h1/chars.ts";

/** The byte may not stand in a field name. */
export const NOT_IN_NAME = 1;
/** The byte may not stand in a field value. */
export const NOT_IN_VALUE = 2;

/**
 * What each byte may not be part of. Names are tokens (RFC 9110, section 5.1) without upper case
 * (RFC 9113, section 8.2.1: "A field name MUST NOT contain characters in the ranges 0x00-0x20,
 * 0x41-0x5a, or 0x7f-0xff"); values have no control bytes but HTAB, as in HTTP/1.1.
 */
export const BYTE_CLASS: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  const upper = byte >= 0x41 && byte <= 0x5a;
  return (TOKEN[byte] === 1 && !upper ? 0 : NOT_IN_NAME) |
    (FIELD_VALUE[byte] === 1 ? 0 : NOT_IN_VALUE);
});

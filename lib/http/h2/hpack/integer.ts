/**
 * Integers with a prefix: RFC 7541, section 5.1.
 *
 * @module
 */

/** What {@linkcode IntegerReader.read} answers when the integer is cut off or beyond the limits. */
export const BAD_INTEGER: number = -1;

/**
 * Octets that may follow the prefix. Four hold 28 bits, more than any length or index that can be
 * valid here; RFC 7541, section 5.1: "Integer encodings that exceed implementation limits -- in value
 * or octet length -- MUST be treated as decoding errors."
 */
const MAX_CONTINUATION = 4;

/** Reads integers; where the last one ended is kept, so that no pair needs to be made. */
export class IntegerReader {
  /** The index behind the integer that was read last. */
  next = 0;

  /**
   * Reads the integer whose prefix is in `bytes[at]`. `mask` has the bits of the prefix set: 31 for
   * one of five bits. At most {@linkcode MAX_CONTINUATION} octets may follow, so values stay below
   * 2^28 + 255.
   *
   * @returns The value, or {@linkcode BAD_INTEGER}.
   */
  read(bytes: Uint8Array, at: number, end: number, mask: number): number {
    let value = bytes[at]! & mask;
    let i = at + 1;
    if (value === mask) {
      let shift = 0;
      for (;;) {
        if (i >= end || shift === MAX_CONTINUATION * 7) return BAD_INTEGER;
        const byte = bytes[i++]!;
        value += (byte & 0x7f) << shift;
        if (byte < 0x80) break;
        shift += 7;
      }
    }
    this.next = i;
    return value;
  }
}

/**
 * Writes an integer behind the bits of `pattern`, whose prefix bits are zero. The buffer must have
 * room for six octets.
 *
 * @returns The index behind it.
 */
export function putInteger(
  bytes: Uint8Array,
  at: number,
  value: number,
  { mask, pattern }: { readonly mask: number; readonly pattern: number },
): number {
  if (value < mask) {
    bytes[at] = pattern | value;
    return at + 1;
  }
  bytes[at++] = pattern | mask;
  let rest = value - mask;
  while (rest >= 0x80) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at] = rest;
  return at + 1;
}

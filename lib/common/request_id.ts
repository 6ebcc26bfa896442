/**
 * Names for requests that came without one.
 *
 * @module
 */

const decoder = new TextDecoder();

/** 16 digits for the process, then 16 of a counter. */
const digits = new TextEncoder().encode(
  [...crypto.getRandomValues(new Uint8Array(8))]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("") + "0".repeat(16),
);
const COUNTER = 16;
const [ZERO, NINE, A, F] = [0x30, 0x39, 0x61, 0x66];

/**
 * 32 hexadecimal digits as ASCII: 64 random bits for the process, then a counter. Unique across machines
 * and cheap; not a secret. The bytes are valid until the next call.
 */
export function nextRequestId(): Uint8Array {
  for (let i = digits.length - 1; i >= COUNTER; i--) {
    const digit = digits[i]!;
    if (digit !== F) {
      digits[i] = digit === NINE ? A : digit + 1;
      break;
    }
    digits[i] = ZERO;
  }
  return digits;
}

/** The same as text. */
export function makeRequestId(): string {
  return decoder.decode(nextRequestId());
}

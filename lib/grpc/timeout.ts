/**
 * The value of `grpc-timeout` (grpc/doc/PROTOCOL-HTTP2.md, Timeout): a positive number of at most eight
 * digits and a unit.
 *
 * @module
 */

/** Digits that the value may have. */
const MAX_DIGITS = 8;
const MAX_VALUE = 10 ** MAX_DIGITS - 1;

/** Milliseconds of each unit, the finest first. */
const UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ["n", 1e-6],
  ["u", 1e-3],
  ["m", 1],
  ["S", 1000],
  ["M", 60_000],
  ["H", 3_600_000],
];
/** Milliseconds by the code of the unit; 0 for what is none. */
const UNIT_MS = new Float64Array(128);
for (const [unit, ms] of UNITS) UNIT_MS[unit.charCodeAt(0)] = ms;

/**
 * The timeout in milliseconds, which need not be whole; `undefined` when it is malformed. Zero is taken, as
 * by the servers of grpc-go: such a call has no time at all.
 */
export function parseTimeout(bytes: Uint8Array, start: number, end: number): number | undefined {
  const digits = end - start - 1;
  if (digits < 1 || digits > MAX_DIGITS) return undefined;
  let value = 0;
  for (let i = start; i < end - 1; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  const ms = UNIT_MS[bytes[end - 1]! & 0x7f]!;
  return ms === 0 || bytes[end - 1]! > 0x7f ? undefined : value * ms;
}

/**
 * A timeout in the finest unit from microseconds up that holds it, rounded down: nobody is given time that is
 * not there.
 *
 * @param ms Milliseconds, not negative.
 */
export function encodeTimeout(ms: number): string {
  for (const [unit, length] of UNITS.slice(1)) {
    const value = Math.floor(ms / length);
    if (value <= MAX_VALUE) return `${value}${unit}`;
  }
  return `${MAX_VALUE}H`;
}

/**
 * Names for requests that came without one.
 *
 * @module
 */

const process = [...crypto.getRandomValues(new Uint8Array(8))]
  .map((byte) => byte.toString(16).padStart(2, "0")).join("");
let count = 0;

/**
 * 32 hexadecimal digits: 64 random bits for the process, then a counter. Unique across machines and cheap;
 * not a secret.
 */
export function makeRequestId(): string {
  return process + (++count).toString(16).padStart(16, "0");
}

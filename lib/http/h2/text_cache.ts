/**
 * Turns bytes into text, and short ones that come again and again into the same string.
 *
 * @module
 */
import { decodeLatin1 } from "../h1/chars.ts";

/** Longer texts are rarely the same twice and are not kept. */
const MAX_LENGTH = 64;
/** Texts that are kept, a power of two; with their strings some 50 KiB. */
const SLOTS = 512;

/**
 * Keeps the last text of each hash value. For paths and hosts, which route tables look up: making a string
 * costs 150 ns and its first lookup as much again, finding it here half of one of them
 * (`tests/bench/hpack_bench.ts`). Whatever peers send, it stays within its slots.
 */
export class TextCache {
  readonly #slots: string[] = new Array(SLOTS).fill("");

  /** The text of `bytes[start..end)`, one character for each byte (ISO 8859-1). */
  get(bytes: Uint8Array, start: number, end: number): string {
    const length = end - start;
    if (length > MAX_LENGTH) return decodeLatin1(bytes, start, end);
    let hash = length;
    for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
    const slot = (hash ^ hash >>> 15) & (SLOTS - 1);
    const known = this.#slots[slot]!;
    if (known.length === length) {
      let i = 0;
      while (i < length && known.charCodeAt(i) === bytes[start + i]) i++;
      if (i === length) return known;
    }
    return this.#slots[slot] = decodeLatin1(bytes, start, end);
  }
}

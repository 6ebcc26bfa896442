/**
 * Copies of short runs of bytes, many of which share one allocation.
 *
 * @module
 */

/** Bytes of one chunk. A copy keeps its whole chunk in memory, so this is what a short copy can cost at most. */
const CHUNK = 4 * 1024;
/** Longer runs get memory of their own. */
const MAX_SHARED = 512;
/** Below this, a loop beats making a view of what is copied. */
const LOOP_BELOW = 48;

/**
 * Makes copies that are written once and read for a while. A typed array of its own costs 0.3 to 1.5 µs however short it
 * is, most of it for memory outside of the heap and for freeing that again; a place in a chunk costs a tenth
 * (`tests/bench/slab_bench.ts`). Places are never used twice, so a copy may be kept for as long as it is needed.
 */
export class Slab {
  #chunk = new Uint8Array(0);
  #at = 0;

  /** A copy of `bytes[start..end)`; it must not be written to. */
  copy(bytes: Uint8Array, start: number, end: number): Uint8Array {
    const length = end - start;
    if (length > MAX_SHARED) return bytes.slice(start, end);
    if (this.#at + length > this.#chunk.length) {
      this.#chunk = new Uint8Array(CHUNK);
      this.#at = 0;
    }
    const chunk = this.#chunk;
    const at = this.#at;
    this.#at = at + length;
    if (length < LOOP_BELOW) { for (let i = 0; i < length; i++) chunk[at + i] = bytes[start + i]!; }
    else chunk.set(bytes.subarray(start, end), at);
    return chunk.subarray(at, at + length);
  }
}

/** The slab for what requests of all connections are kept in. */
export const requestSlab = new Slab();

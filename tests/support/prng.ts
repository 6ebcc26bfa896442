/**
 * Chance that is the same in every run.
 *
 * @module
 */

/** Numbers that follow from a seed (mulberry32). */
export class Random {
  #state: number;

  /** The same seed gives the same numbers. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number from 0 up to but not 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** A whole number from 0 up to but not `below`. */
  below(below: number): number {
    return Math.floor(this.next() * below);
  }

  /** One of the items. */
  pick<T>(items: ArrayLike<T>): T {
    return items[this.below(items.length)]!;
  }
}

/** Bytes that mean something to a parser of HTTP/1.1, and their neighbours. */
const TELLING: readonly number[] = [
  ...'\r\n\0 \t:,;/?#=@[]"\\0159aAfF\x0b\x0c\x1f\x7f\x80\x85\xa0\xff',
].map((character) => character.charCodeAt(0));

/** A copy of the bytes with one to three small changes: flipped, inserted, removed or repeated. */
export function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  let result = [...bytes];
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const at = random.below(result.length + 1);
    const length = 1 + random.below(random.next() < 0.2 ? 24 : 2);
    const piece = result.slice(at, at + length);
    switch (random.below(6)) {
      case 0:
        if (at < result.length) result[at] = result[at]! ^ (1 << random.below(8));
        break;
      case 1:
        if (at < result.length) result[at] = random.pick(TELLING);
        break;
      case 2:
        result.splice(at, 0, random.pick(TELLING));
        break;
      case 3:
        result.splice(at, length);
        break;
      case 4:
        result.splice(at, 0, ...piece);
        break;
      case 5:
        // Moved elsewhere: fields change places, lines are cut in half.
        result.splice(random.below(result.length + 1), 0, ...piece);
        break;
    }
    if (result.length > 4096) result = result.slice(0, 4096);
  }
  return Uint8Array.from(result);
}

/** The bytes cut into pieces at chance borders. */
export function cut(bytes: Uint8Array, random: Random, longest: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = 1 + random.below(longest);
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

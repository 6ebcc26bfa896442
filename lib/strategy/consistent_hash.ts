/**
 * The same key to the same candidate, as far as candidates and their load allow.
 *
 * @module
 */

import { hashText, mix32 } from "./hash.ts";
import { Random, type RandomOptions } from "./random.ts";
import { hasWeight, shareOf } from "./share.ts";
import type { Candidate, Strategy } from "./strategy.ts";

/** What {@linkcode ConsistentHash} may be told. */
export interface ConsistentHashOptions extends RandomOptions {
  /**
   * How much more than its share of all requests in flight a candidate may have before a key goes to the next
   * one on the ring; at least 1, `Infinity` for no bound. Default 1.25.
   */
  readonly loadFactor?: number;
}

/** Points on the ring of a candidate of weight 1, as many as nginx gives (`hash … consistent`). */
const POINTS = 160;
/** All points at most; heavier rings get fewer points for each weight. */
const MAX_POINTS = 1 << 17;
/** The distance of the golden ratio, which spreads the seeds of one candidate's points. */
const STEP = 0x9e3779b9;
/** A point is kept as `hash * PLACE + index`: a number of 52 bits, so that points sort as numbers. */
const PLACE = 2 ** 20;

/**
 * Picks by a key: candidates have points on a ring of 2³² places, as many as their weight says, and a key goes to
 * the next point. When a candidate leaves, only its own keys move; when one comes, only keys that become its
 * own. A candidate that has more than its share in flight passes a key on to the next (V. Mirrokni et al.,
 * "Consistent Hashing with Bounded Loads", 2016). Without a key the pick is left to chance.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * const strategy = new ConsistentHash([{ addr: "a:80" }, { addr: "b:80" }, { addr: "c:80" }]);
 * const key = 2005895916; // what `hashText("user-1")` says
 * assertEquals(strategy.next(undefined, key), strategy.next(undefined, key));
 * ```
 */
export class ConsistentHash<C extends Candidate = Candidate> implements Strategy<C> {
  readonly #loadFactor: number;
  readonly #chance: Random<C>;
  #candidates: readonly C[];
  /** The shares that the ring was made of; none while it must be made anew. */
  #shares: number[] = [];
  #total = 0;
  #ring = new Float64Array(0);

  /**
   * Takes the candidates.
   *
   * @throws {TypeError} When the load factor is below 1.
   */
  constructor(candidates: readonly C[], options: ConsistentHashOptions = {}) {
    const { loadFactor = 1.25, random } = options;
    if (!(loadFactor >= 1)) {
      throw new TypeError(`loadFactor ${loadFactor}: a number of at least 1 is accepted`);
    }
    this.#loadFactor = loadFactor;
    this.#candidates = [...candidates];
    this.#chance = new Random(candidates, random === undefined ? {} : { random });
  }

  /** The candidate of a key that is not skipped and not overloaded. */
  next(skip?: (candidate: C) => boolean, key?: number): C | undefined {
    if (key === undefined) return this.#chance.next(skip);
    this.#refresh();
    const ring = this.#ring;
    let at = this.#find(key);
    const seen = new Set<number>();
    let full: C | undefined;
    const inFlight = this.#loadFactor === Infinity ? 0 : this.#inFlight();
    for (let turn = 0; turn < ring.length && seen.size < this.#candidates.length; turn++) {
      const index = ring[at]! % PLACE;
      at = at + 1 === ring.length ? 0 : at + 1;
      if (seen.has(index)) continue;
      seen.add(index);
      const candidate = this.#candidates[index]!;
      if (skip?.(candidate)) continue;
      const room = this.#loadFactor * (inFlight + 1) * this.#shares[index]! / this.#total;
      if ((candidate.inFlight ?? 0) < Math.ceil(room)) return candidate;
      full ??= candidate;
    }
    // The bounds hold for all together; those that are left may all be full.
    return full;
  }

  /** Replaces the candidates. */
  update(candidates: readonly C[]): void {
    this.#candidates = [...candidates];
    this.#chance.update(candidates);
    this.#shares = [];
  }

  #inFlight(): number {
    let sum = 0;
    for (const candidate of this.#candidates) sum += candidate.inFlight ?? 0;
    return sum;
  }

  /** The place on the ring of the first point at or behind a key. */
  #find(key: number): number {
    const ring = this.#ring;
    const wanted = (key >>> 0) * PLACE;
    let low = 0;
    let high = ring.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ring[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return low === ring.length ? 0 : low;
  }

  /** Makes the ring anew if candidates or weights have changed. */
  #refresh(): void {
    const candidates = this.#candidates;
    const weighted = candidates.some(hasWeight);
    const old = this.#shares;
    let changed = old.length !== candidates.length;
    for (let index = 0; !changed && index < candidates.length; index++) {
      changed = old[index] !== shareOf(candidates[index]!, weighted);
    }
    if (!changed) return;
    this.#shares = candidates.map((candidate) => shareOf(candidate, weighted));
    this.#total = this.#shares.reduce((sum, share) => sum + share, 0);
    // Halved until it fits, so that the points of a candidate stay where they are while weights change a little.
    let points = POINTS;
    while (points * this.#total > MAX_POINTS) points /= 2;
    const ring: number[] = [];
    for (const [index, { addr }] of candidates.entries()) {
      const share = this.#shares[index]!;
      const count = share === 0 ? 0 : Math.max(Math.round(points * share), 1);
      const seed = hashText(addr);
      for (let point = 0; point < count; point++) {
        ring.push(mix32(seed + Math.imul(point, STEP)) * PLACE + index);
      }
    }
    this.#ring = Float64Array.from(ring).sort();
  }
}

/**
 * By chance, in proportion to the weights.
 *
 * @module
 */

import { hasWeight, shareOf } from "./share.ts";
import type { Candidate, Strategy } from "./strategy.ts";

/** What {@linkcode Random} may be told. */
export interface RandomOptions {
  /** Draws a number from 0 up to but not 1; `Math.random` unless given. */
  readonly random?: () => number;
}

/** Quick draws before all candidates are looked at. Even weights need one draw. */
const MAX_DRAWS = 8;

/**
 * Picks any candidate, each with a chance in proportion to its weight.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * const backends = [{ addr: "a:80", weight: 3 }, { addr: "b:80" }];
 * const strategy = new Random(backends, { random: () => 0.6 });
 * assertEquals(strategy.next()?.addr, "b:80");
 * ```
 */
export class Random<C extends Candidate = Candidate> implements Strategy<C> {
  readonly #random: () => number;
  #candidates: readonly C[] = [];
  /** No share is known to be larger. */
  #maxShare = 0;

  /** Takes the candidates and, for tests, the source of chance. */
  constructor(candidates: readonly C[], options: RandomOptions = {}) {
    this.#random = options.random ?? Math.random;
    this.update(candidates);
  }

  /** Any candidate that is not skipped. */
  next(skip?: (candidate: C) => boolean): C | undefined {
    const candidates = this.#candidates;
    const weighted = candidates.some(hasWeight);
    for (let draw = 0; draw < MAX_DRAWS; draw++) {
      // Rejection sampling: the whole part of one number proposes, the fraction accepts.
      const point = this.#random() * candidates.length;
      const index = Math.floor(point);
      const candidate = candidates[index];
      if (candidate === undefined) continue;
      const share = shareOf(candidate, weighted);
      if (share > this.#maxShare) this.#maxShare = share;
      if ((point - index) * this.#maxShare < share && !skip?.(candidate)) return candidate;
    }
    return this.#sample(weighted, skip);
  }

  /** Replaces the candidates. */
  update(candidates: readonly C[]): void {
    this.#candidates = [...candidates];
    this.#maxShare = candidates.reduce(
      (max, candidate) => Math.max(max, shareOf(candidate, true)),
      0,
    );
  }

  /** Weighted reservoir sampling with a reservoir of one: exact, in one pass over all candidates. */
  #sample(weighted: boolean, skip: ((candidate: C) => boolean) | undefined): C | undefined {
    let picked: C | undefined;
    let total = 0;
    for (const candidate of this.#candidates) {
      const share = shareOf(candidate, weighted);
      if (share === 0 || skip?.(candidate)) continue;
      total += share;
      if (this.#random() * total < share) picked = candidate;
    }
    return picked;
  }
}

/**
 * In turn, heavier ones more often.
 *
 * @module
 */

import { hasWeight, shareOf } from "./share.ts";
import type { Candidate, Strategy } from "./strategy.ts";

/**
 * Picks each candidate as often as its weight says, spread as evenly as the weights allow: the smooth
 * weighted round robin of nginx (`ngx_http_upstream_round_robin.c`). Of any `n` picks in a row, `n` the sum
 * of the weights, each candidate gets exactly its weight while nobody is skipped or changed.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * const strategy = new WeightedRoundRobin([{ addr: "a", weight: 2 }, { addr: "b" }]);
 * const picks = [1, 2, 3].map(() => strategy.next()?.addr);
 * assertEquals(picks, ["a", "b", "a"]);
 * ```
 */
export class WeightedRoundRobin<C extends Candidate = Candidate> implements Strategy<C> {
  #candidates: readonly C[];
  /** What each candidate is owed, at the same index. */
  #credits: number[];
  /** The sum of all shares that the credits stand for. */
  #total = 0;

  /** Begins with the heaviest candidate, the first of these if there are several. */
  constructor(candidates: readonly C[]) {
    this.#candidates = [...candidates];
    this.#credits = candidates.map(() => 0);
  }

  /** The next candidate in turn; those that are skipped keep what they are owed. */
  next(skip?: (candidate: C) => boolean): C | undefined {
    const candidates = this.#candidates;
    const weighted = candidates.some(hasWeight);
    this.#rescale(weighted);
    const credits = this.#credits;

    let best = -1;
    let total = 0;
    for (let index = 0; index < candidates.length; index++) {
      const candidate = candidates[index]!;
      const share = shareOf(candidate, weighted);
      if (share === 0 || skip?.(candidate)) continue;
      credits[index]! += share;
      total += share;
      if (best < 0 || credits[index]! > credits[best]!) best = index;
    }
    if (best >= 0) credits[best]! -= total;
    return candidates[best];
  }

  /** Replaces the candidates; those that stay keep what they are owed. */
  update(candidates: readonly C[]): void {
    const owed = new Map(
      this.#candidates.map((candidate, index) => [candidate, this.#credits[index]!]),
    );
    this.#candidates = [...candidates];
    this.#credits = candidates.map((candidate) => owed.get(candidate) ?? 0);
  }

  /**
   * Brings the credits to the present sum of weights. 30 000 is little to be owed beside a candidate of
   * weight 60 000; when that one has left, it would keep all others waiting for 30 000 picks.
   */
  #rescale(weighted: boolean): void {
    let total = 0;
    for (let index = 0; index < this.#candidates.length; index++) {
      total += shareOf(this.#candidates[index]!, weighted);
    }
    if (total === this.#total) return;
    const scale = this.#total === 0 ? 1 : total / this.#total;
    this.#credits = this.#credits.map((credit) => credit * scale);
    this.#total = total;
  }
}

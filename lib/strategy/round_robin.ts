/**
 * One after the other.
 *
 * @module
 */

import { resumeAt } from "./rotation.ts";
import { hasWeight, shareOf } from "./share.ts";
import type { Candidate, Strategy } from "./strategy.ts";

/**
 * Picks its candidates in turn, in the order in which they were given. Weights do not count, except
 * that 0 takes a candidate out while another has more.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * const strategy = new RoundRobin([{ addr: "a:80" }, { addr: "b:80" }]);
 * assertEquals(strategy.next()?.addr, "a:80");
 * assertEquals(strategy.next()?.addr, "b:80");
 * assertEquals(strategy.next()?.addr, "a:80");
 * ```
 */
export class RoundRobin<C extends Candidate = Candidate> implements Strategy<C> {
  #candidates: readonly C[];
  /** Where the next turn begins. */
  #start = 0;

  /** Begins with the first candidate. */
  constructor(candidates: readonly C[]) {
    this.#candidates = [...candidates];
  }

  /** The next candidate in turn; those that are skipped lose their turn. */
  next(skip?: (candidate: C) => boolean): C | undefined {
    const candidates = this.#candidates;
    const weighted = candidates.some(hasWeight);
    for (let turn = 0; turn < candidates.length; turn++) {
      const index = (this.#start + turn) % candidates.length;
      const candidate = candidates[index]!;
      if (shareOf(candidate, weighted) === 0 || skip?.(candidate)) continue;
      this.#start = (index + 1) % candidates.length;
      return candidate;
    }
    return undefined;
  }

  /** Replaces the candidates; it stays the turn of the one whose turn it is, or of the next that stays. */
  update(candidates: readonly C[]): void {
    this.#start = resumeAt(candidates, this.#candidates, this.#start);
    this.#candidates = [...candidates];
  }
}

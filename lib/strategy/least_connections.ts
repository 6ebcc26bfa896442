/**
 * The one that has least to do.
 *
 * @module
 */

import { LoadCounts } from "./load_counts.ts";
import { resumeAt } from "./rotation.ts";
import { hasWeight, shareOf } from "./share.ts";
import type { Candidate, Strategy } from "./strategy.ts";

/**
 * Picks the candidate with the fewest requests in flight relative to its weight; those with equally
 * few take turns.
 *
 * Candidates that have `inFlight` are counted by whoever sets it. For those that have not, the strategy
 * counts itself: each pick adds one until {@linkcode LeastConnections.release} takes it back.
 *
 * @example Alone, with candidates that count nothing
 * ```ts
 * import { assertEquals, assertExists } from "@std/assert";
 *
 * const strategy = new LeastConnections([{ addr: "a:80" }, { addr: "b:80" }]);
 * const first = strategy.next(); // a
 * strategy.next(); // b
 * assertExists(first);
 * strategy.release(first); // the work on a is done, that on b goes on
 * assertEquals(strategy.next(), first);
 * ```
 */
export class LeastConnections<C extends Candidate = Candidate> implements Strategy<C> {
  #candidates: readonly C[];
  /** Where the search begins, so that those with equal load take turns. */
  #start = 0;
  readonly #counts = new LoadCounts<C>();

  /** Begins with the first candidate. */
  constructor(candidates: readonly C[]) {
    this.#candidates = [...candidates];
  }

  /** The least loaded candidate that is not skipped. */
  next(skip?: (candidate: C) => boolean): C | undefined {
    const candidates = this.#candidates;
    const weighted = candidates.some(hasWeight);
    let best = -1;
    let bestLoad = Infinity;
    for (let turn = 0; turn < candidates.length; turn++) {
      const index = (this.#start + turn) % candidates.length;
      const candidate = candidates[index]!;
      const share = shareOf(candidate, weighted);
      if (share === 0 || skip?.(candidate)) continue;
      const load = this.#counts.inFlight(candidate) / share;
      if (load < bestLoad) {
        best = index;
        bestLoad = load;
      }
    }
    const picked = candidates[best];
    if (picked === undefined) return undefined;
    this.#start = (best + 1) % candidates.length;
    this.#counts.add(picked);
    return picked;
  }

  /**
   * Says that the work of one pick of `candidate` is done; to be called once per pick. Does nothing for a
   * candidate that has `inFlight`, or of which no pick is left.
   */
  release(candidate: C): void {
    this.#counts.release(candidate);
  }

  /** Replaces the candidates; the counts of those that stay or come back are kept. */
  update(candidates: readonly C[]): void {
    this.#start = resumeAt(candidates, this.#candidates, this.#start);
    this.#candidates = [...candidates];
  }
}

/**
 * The less loaded of two that chance proposes.
 *
 * @module
 */

import { LoadCounts } from "./load_counts.ts";
import { Random, type RandomOptions } from "./random.ts";
import type { Candidate, Strategy } from "./strategy.ts";

/**
 * Draws two different candidates, each with a chance in proportion to its weight, and picks the one with fewer
 * requests in flight relative to its weight. Nearly as even as {@linkcode LeastConnections}, but several
 * balancers in front of the same backends do not all pick the same idle one at the same time (M. Mitzenmacher,
 * "The Power of Two Choices in Randomized Load Balancing", 2001).
 *
 * Candidates that have no `inFlight` are counted by the strategy itself, until
 * {@linkcode PowerOfTwo.release} takes a pick back.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * const strategy = new PowerOfTwo([{ addr: "a:80", inFlight: 3 }, { addr: "b:80", inFlight: 1 }]);
 * assertEquals(strategy.next()?.addr, "b:80");
 * ```
 */
export class PowerOfTwo<C extends Candidate = Candidate> implements Strategy<C> {
  readonly #draw: Random<C>;
  readonly #counts = new LoadCounts<C>();

  /** Takes the candidates and, for tests, the source of chance. */
  constructor(candidates: readonly C[], options: RandomOptions = {}) {
    this.#draw = new Random(candidates, options);
  }

  /** The less loaded of two that are not skipped; the only one if there are not two. */
  next(skip?: (candidate: C) => boolean): C | undefined {
    const one = this.#draw.next(skip);
    if (one === undefined) return undefined;
    const two = this.#draw.next((candidate) => candidate === one || skip?.(candidate) === true);
    const counts = this.#counts;
    const picked = two !== undefined && counts.loadOf(two) < counts.loadOf(one) ? two : one;
    counts.add(picked);
    return picked;
  }

  /** Says that the work of one pick of `candidate` is done, as {@linkcode LeastConnections.release}. */
  release(candidate: C): void {
    this.#counts.release(candidate);
  }

  /** Replaces the candidates. */
  update(candidates: readonly C[]): void {
    this.#draw.update(candidates);
  }
}

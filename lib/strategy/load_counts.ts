/**
 * How much candidates have to do, for strategies that compare it.
 *
 * @module
 */

import type { Candidate } from "./strategy.ts";

/** Counts the picks of candidates of which nobody else counts what is in flight. */
export class LoadCounts<C extends Candidate> {
  /** They outlive an update: who is removed and comes back may still be at work. */
  readonly #picks = new WeakMap<C, number>();

  /** Requests in flight: the candidate's own number, or else the picks that were not released. */
  inFlight(candidate: C): number {
    return candidate.inFlight ?? this.#picks.get(candidate) ?? 0;
  }

  /** The same relative to the weight; one of weight 0 is compared as one of weight 1. */
  loadOf(candidate: C): number {
    return this.inFlight(candidate) / (candidate.weight || 1);
  }

  /** Notes a pick; does nothing for a candidate that has `inFlight`. */
  add(candidate: C): void {
    if (candidate.inFlight === undefined) {
      this.#picks.set(candidate, (this.#picks.get(candidate) ?? 0) + 1);
    }
  }

  /** Takes a pick back; does nothing if none is left. */
  release(candidate: C): void {
    const picks = this.#picks.get(candidate) ?? 0;
    if (picks > 0) this.#picks.set(candidate, picks - 1);
  }
}

/**
 * What a balancing strategy is: it holds candidates and names the next one.
 *
 * @module
 */

/** What a strategy may know of a backend. The numbers are read at each pick and may change between picks. */
export interface Candidate {
  /** The address, for people and logs. */
  readonly addr: string;
  /** Share relative to the others, 1 unless given; 0 is never picked while another has more. */
  readonly weight?: number;
  /** Requests (or connections) that the backend serves now, counted by whoever holds the leases. */
  readonly inFlight?: number;
  /**
   * How long it takes to answer, in milliseconds, by the measure of whoever sets it; 0 while nothing is known,
   * `Infinity` while it wants to be left alone.
   */
  readonly latency?: number;
}

/** Picks one of its candidates; the same object is used by the data plane and alone. */
export interface Strategy<C extends Candidate = Candidate> {
  /**
   * The next candidate, or `undefined` when there is none that `skip` lets through.
   *
   * @param skip Says which candidates are out of the question this time (already tried, full).
   * @param key What requests have in common that are to meet the same candidate, as a number from 0 to 2³²−1;
   * only strategies that hash look at it.
   */
  next(skip?: (candidate: C) => boolean, key?: number): C | undefined;
  /** Replaces the candidates and keeps what is known of those that stay. */
  update(candidates: readonly C[]): void;
}

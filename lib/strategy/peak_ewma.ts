/**
 * The quicker of two that chance proposes.
 *
 * @module
 */

import { LoadCounts } from "./load_counts.ts";
import { PeakLatency, type PeakLatencyOptions } from "./peak_latency.ts";
import { Random } from "./random.ts";
import type { Candidate, Strategy } from "./strategy.ts";

/** What {@linkcode PeakEwma} may be told. */
export interface PeakEwmaOptions extends PeakLatencyOptions {
  /** Draws a number from 0 up to but not 1; `Math.random` unless given. */
  readonly random?: () => number;
  /** A monotonic time in milliseconds; `performance.now` unless given. */
  readonly now?: () => number;
}

/** What one request in flight costs, in milliseconds, at a candidate of which no latency is known. */
const UNKNOWN_LATENCY = 1;

/**
 * Draws two different candidates, each with a chance in proportion to its weight, and picks the one whose latency
 * times what it has in flight is lower: the load metric of Finagle's `P2C PeakEwma`.
 *
 * Candidates that have `latency` are measured by whoever sets it; for others the strategy is told by
 * {@linkcode PeakEwma.observe} and {@linkcode PeakEwma.punish}. One that asked to be left alone is picked only
 * when all have.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = [{ addr: "a:80" }, { addr: "b:80" }];
 * const strategy = new PeakEwma([a, b]);
 * strategy.observe(a, 80);
 * strategy.observe(b, 5);
 * assertEquals(strategy.next(), b);
 * ```
 */
export class PeakEwma<C extends Candidate = Candidate> implements Strategy<C> {
  readonly #options: PeakEwmaOptions;
  readonly #now: () => number;
  readonly #draw: Random<C>;
  readonly #counts = new LoadCounts<C>();
  readonly #latencies = new WeakMap<C, PeakLatency>();

  /** Takes the candidates; nothing is known of their latency. */
  constructor(candidates: readonly C[], options: PeakEwmaOptions = {}) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    const { random } = options;
    this.#draw = new Random(candidates, random === undefined ? {} : { random });
  }

  /** The better of two that are not skipped. */
  next(skip?: (candidate: C) => boolean): C | undefined {
    const first = this.#draw.next(skip);
    if (first === undefined) return undefined;
    const now = this.#now();
    let picked = first;
    let cost = this.#cost(first, now);
    const compare = (candidate: C | undefined) => {
      const other = candidate === undefined ? Infinity : this.#cost(candidate, now);
      if (other < cost) [picked, cost] = [candidate!, other];
      return cost < Infinity;
    };
    const without = (...others: C[]) => (candidate: C) =>
      others.includes(candidate) || skip?.(candidate) === true;
    const second = this.#draw.next(without(first));
    if (!compare(second) && second !== undefined) {
      // Both want to be left alone: any other is better, if there is one.
      const isPaused = (candidate: C) => this.#cost(candidate, now) === Infinity;
      compare(this.#draw.next((candidate) => isPaused(candidate) || skip?.(candidate) === true));
    }
    this.#counts.add(picked);
    return picked;
  }

  #cost(candidate: C, now: number): number {
    const latency = candidate.latency ?? this.#latencies.get(candidate)?.read(now) ?? 0;
    const inFlight = this.#counts.inFlight(candidate);
    // Of nobody knows how quick it is: it gets its first request at once, and then no flood.
    if (latency === 0) return inFlight * UNKNOWN_LATENCY / (candidate.weight || 1);
    return latency * (inFlight + 1) / (candidate.weight || 1);
  }

  #latencyOf(candidate: C): PeakLatency {
    let latency = this.#latencies.get(candidate);
    if (latency === undefined) {
      latency = new PeakLatency(this.#options);
      this.#latencies.set(candidate, latency);
    }
    return latency;
  }

  /** Says that a pick was answered after `latency` milliseconds. */
  observe(candidate: C, latency: number): void {
    this.#counts.release(candidate);
    this.#latencyOf(candidate).observe(latency, this.#now());
  }

  /**
   * Says that a pick failed after `latency` milliseconds, or that the candidate has too much to do (HTTP 429 or 503,
   * gRPC UNAVAILABLE).
   *
   * @param retryAfter How many milliseconds it wants to be left alone; at most a minute counts.
   */
  punish(candidate: C, latency: number, retryAfter?: number): void {
    this.#counts.release(candidate);
    this.#latencyOf(candidate).punish(latency, this.#now(), retryAfter);
  }

  /** Replaces the candidates; what is known of those that stay or come back is kept. */
  update(candidates: readonly C[]): void {
    this.#draw.update(candidates);
  }
}

/**
 * An estimate of latency that believes bad news at once and good news slowly.
 *
 * @module
 */

/** How an estimate is kept. Times are in milliseconds. */
export interface PeakLatencyOptions {
  /** How long news counts: after this time a peak weighs 1/e of what it did. Default 10,000. */
  readonly decay?: number;
  /** What a failure counts at least, so that failing fast attracts nothing. Default 1,000. */
  readonly penalty?: number;
}

/** An estimate as plain data; times are durations in milliseconds. */
export interface LatencyState {
  /** As it was last set. */
  readonly average: number;
  /** How long ago that was. */
  readonly age: number;
  /** How long it still wants to be left alone. */
  readonly pause: number;
}

/** However often it fails, no latency counts more than this many milliseconds. */
const MAX_LATENCY = 60_000;

/**
 * The moving average of Finagle's `PeakEwma`: a latency above the average replaces it, one below draws it down
 * by its age, and silence draws it towards 0, so that who was slow is tried again.
 */
export class PeakLatency {
  readonly #decay: number;
  readonly #penalty: number;
  #average = 0;
  #at = 0;
  #pausedUntil = 0;

  /** Knows nothing yet. */
  constructor(options: PeakLatencyOptions = {}) {
    this.#decay = options.decay ?? 10_000;
    this.#penalty = options.penalty ?? 1_000;
  }

  /** The estimate at the time `now`; 0 while nothing is known, `Infinity` while it wants to be left alone. */
  read(now: number): number {
    if (now < this.#pausedUntil) return Infinity;
    return this.#average * this.#remains(now);
  }

  /** The estimate for another process that goes on with it; `undefined` while nothing is known. */
  collect(now: number): LatencyState | undefined {
    if (this.#at === 0) return undefined;
    return {
      average: this.#average,
      age: Math.max(now - this.#at, 0),
      pause: Math.max(this.#pausedUntil - now, 0),
    };
  }

  /** Goes on with the estimate of another process. */
  resume({ average, age, pause }: LatencyState, now: number): void {
    this.#average = Math.min(average, MAX_LATENCY);
    this.#at = now - age;
    this.#pausedUntil = now + Math.min(pause, MAX_LATENCY);
  }

  /** Takes note of an answer after `latency`. */
  observe(latency: number, now: number): void {
    const old = this.#average;
    const remains = this.#remains(now);
    this.#average = latency > old * remains
      ? Math.min(latency, MAX_LATENCY)
      : old * remains + latency * (1 - remains);
    this.#at = now;
  }

  /**
   * Takes note of a failure after `latency`, or of an answer that says that it has too much to do. Each one in a row
   * counts twice the one before.
   *
   * @param retryAfter How long it wants to be left alone.
   */
  punish(latency: number, now: number, retryAfter = 0): void {
    this.observe(Math.max(latency, this.#penalty, 2 * this.#average * this.#remains(now)), now);
    this.#pausedUntil = Math.max(this.#pausedUntil, now + Math.min(retryAfter, MAX_LATENCY));
  }

  #remains(now: number): number {
    return Math.exp(-Math.max(now - this.#at, 0) / this.#decay);
  }
}

/**
 * A limit of concurrency that finds itself.
 *
 * @module
 */

/** How an {@linkcode AdaptiveLimit} is made. */
export interface AdaptiveLimitOptions {
  /** Where it begins once the base latency is known. Default 20. */
  readonly initial?: number;
  /** It never falls below this, and the base latency is measured with as much. Default 4. */
  readonly min?: number;
  /** It never rises above this. Default 1,000. */
  readonly max?: number;
  /** How many times the base latency requests may take before the limit falls, at least 1. Default 1.5. */
  readonly tolerance?: number;
  /** From one measurement of the base latency to the next, in milliseconds. Default 60,000. */
  readonly probeInterval?: number;
}

/** Answers that the base latency is the average of. */
const PROBE_SAMPLES = 25;
/** Answers that a change of the limit is made from. */
const SAMPLES = 20;
/** How much of a change is made at once. */
const SMOOTHING = 0.2;
/** Below this part of the limit in use, latency says nothing about the limit. */
const USED = 0.5;

/**
 * Compares the latency of now with that of a backend that has little to do. While they are nearly the same, the
 * limit grows by its square root, a queue that a backend can bear; when requests take longer, it falls in
 * proportion. From time to time the limit falls to its least for a few requests, to measure again: a backend that
 * is always full would otherwise look as if it had always been that slow. Envoy's gradient controller does the same.
 * Times are in milliseconds.
 */
export class AdaptiveLimit {
  readonly #min: number;
  readonly #max: number;
  readonly #tolerance: number;
  readonly #probeInterval: number;
  #limit: number;
  /** Latency with little to do. */
  #base = 0;
  /** When it is measured next; meanwhile the limit is its least. */
  #probeAt = 0;
  #probing = true;
  #sum = 0;
  #count = 0;
  #most = 0;

  /**
   * Begins by measuring.
   *
   * @throws {TypeError} When an option is out of its range.
   */
  constructor(options: AdaptiveLimitOptions = {}) {
    const { initial = 20, min = 4, max = 1000, tolerance = 1.5, probeInterval = 60_000 } = options;
    if (!(min >= 1 && min <= initial && initial <= max && max < Infinity)) {
      throw new TypeError(
        `adaptive limit min ${min}, initial ${initial}, max ${max}: 1 <= min <= initial <= max is accepted`,
      );
    }
    if (!(tolerance >= 1 && tolerance < Infinity)) {
      throw new TypeError(`adaptive limit tolerance ${tolerance}: a number from 1 is accepted`);
    }
    if (!(probeInterval > 0)) {
      throw new TypeError(
        `adaptive limit probeInterval ${probeInterval}: milliseconds above 0 are accepted`,
      );
    }
    this.#min = min;
    this.#max = max;
    this.#tolerance = tolerance;
    this.#probeInterval = probeInterval;
    this.#limit = initial;
  }

  /** How many requests may be in flight at the time `now`; an integer. */
  limit(now: number): number {
    return now >= this.#probeAt ? this.#min : Math.floor(this.#limit);
  }

  /** Notes an answer after `latency` that had `inFlight` requests beside it, itself included. */
  observe(latency: number, inFlight: number, now: number): void {
    const probing = now >= this.#probeAt;
    if (probing !== this.#probing) {
      this.#probing = probing;
      this.#forget();
    }
    // What was sent before the measurement began had more beside it.
    if (probing && inFlight > this.#min) return;
    this.#sum += latency;
    this.#count++;
    this.#most = Math.max(this.#most, inFlight);
    if (this.#count < (probing ? PROBE_SAMPLES : SAMPLES)) return;
    const present = this.#sum / this.#count;
    const used = this.#most >= this.#limit * USED;
    this.#forget();
    if (probing) {
      this.#base = present;
      this.#probeAt = now + this.#probeInterval;
    } else if (used && present > 0) {
      const gradient = Math.max(0.5, Math.min(1, this.#tolerance * this.#base / present));
      this.#move(this.#limit * gradient + Math.sqrt(this.#limit));
    }
  }

  /** Notes that a request was not answered in time, or was refused for overload. */
  drop(): void {
    this.#move(this.#limit * 0.5);
  }

  #forget(): void {
    this.#sum = this.#count = this.#most = 0;
  }

  #move(to: number): void {
    const next = this.#limit * (1 - SMOOTHING) + to * SMOOTHING;
    this.#limit = Math.max(this.#min, Math.min(this.#max, next));
  }
}

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
  /** From one measurement of the base latency to the next, in milliseconds, a tenth more or less. Default 60,000. */
  readonly probeInterval?: number;
}

/** What an {@linkcode AdaptiveLimit} asks. */
export interface AdaptiveLimitParts {
  /**
   * Whether it may measure at a time: the others of a pool bear what one that measures does not take, so they should not do so
   * at the same time. Always unless given.
   */
  readonly mayMeasure?: (now: number) => boolean;
  /** Chance from 0 up to but not 1; `Math.random` unless given. */
  readonly random?: () => number;
}

/** A limit as plain data; times are in milliseconds. */
export interface AdaptiveLimitState {
  /** The limit. */
  readonly limit: number;
  /** The latency with little to do. */
  readonly base: number;
  /** In how long that is measured next. */
  readonly probe: number;
}

/** Answers that the base latency is the average of. */
const PROBE_SAMPLES = 25;
/** Answers that a change of the limit is made from. */
const SAMPLES = 20;
/** How much of a change is made at once. */
const SMOOTHING = 0.2;
/** Below this part of the limit in use, latency says nothing about the limit. */
const USED = 0.5;
/** The part of the interval by which measurements are moved, so that those of many do not all meet. */
const JITTER = 0.1;
/** How long one that must not measure yet waits until it asks again, in milliseconds. */
const PATIENCE_MS = 100;
/** How long a measurement takes at most, in milliseconds, so that one that gets no requests holds up no others. */
const MAX_MEASUREMENT_MS = 10_000;
/** Answers that a measurement that took so long must have, to be worth something. */
const FEW_SAMPLES = 5;

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
  readonly #random: () => number;
  /** See {@linkcode AdaptiveLimitParts.mayMeasure}. */
  mayMeasure: (now: number) => boolean;
  #limit: number;
  /** Latency with little to do; 0 while it is not known. */
  #base = 0;
  /** When it is measured next, or since when that goes on. */
  #probeAt = 0;
  /** Whether it is being measured; meanwhile the limit is its least. */
  #probing = false;
  #sum = 0;
  #count = 0;
  #most = 0;

  /**
   * Begins by measuring, if it may.
   *
   * @throws {TypeError} When an option is out of its range.
   */
  constructor(options: AdaptiveLimitOptions = {}, parts: AdaptiveLimitParts = {}) {
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
    this.mayMeasure = parts.mayMeasure ?? (() => true);
    this.#random = parts.random ?? Math.random;
  }

  /** How many requests may be in flight at the time `now`; an integer. */
  limit(now: number): number {
    return this.measures(now) ? this.#min : Math.floor(this.#limit);
  }

  /** Whether it measures at the time `now`; a measurement that is due begins, if it may. */
  measures(now: number): boolean {
    if (now < this.#probeAt) return false;
    if (this.#probing) return this.stillMeasures(now);
    this.#probing = this.mayMeasure(now);
    this.#probeAt = this.#probing ? now : now + PATIENCE_MS;
    if (this.#probing) this.#forget();
    return this.#probing;
  }

  /** Whether a measurement goes on at the time `now`; none begins, and one that takes too long ends. */
  stillMeasures(now: number): boolean {
    if (this.#probing && now - this.#probeAt >= MAX_MEASUREMENT_MS) this.#measured(now);
    return this.#probing;
  }

  /** Ends a measurement with what has come of it. */
  #measured(now: number): void {
    if (this.#count >= FEW_SAMPLES) this.#base = this.#sum / this.#count;
    this.#probing = false;
    this.#probeAt = now + this.#probeInterval * (1 + JITTER * (2 * this.#random() - 1));
    this.#forget();
  }

  /** The limit for another process that goes on with it; `undefined` while the base latency is not known. */
  collect(now: number): AdaptiveLimitState | undefined {
    if (this.#base === 0) return undefined;
    return { limit: this.#limit, base: this.#base, probe: Math.max(this.#probeAt - now, 0) };
  }

  /** Goes on with the limit of another process, within the bounds of this one. */
  resume({ limit, base, probe }: AdaptiveLimitState, now: number): void {
    if (base === 0) return;
    this.#limit = Math.max(this.#min, Math.min(this.#max, limit));
    this.#base = base;
    this.#probeAt = now + Math.min(probe, this.#probeInterval * (1 + JITTER));
    this.#probing = false;
    this.#forget();
  }

  /** Notes an answer after `latency` that had `inFlight` requests beside it, itself included. */
  observe(latency: number, inFlight: number, now: number): void {
    const probing = this.measures(now);
    // What was sent before the measurement began had more beside it.
    if (probing && inFlight > this.#min) return;
    this.#sum += latency;
    this.#count++;
    this.#most = Math.max(this.#most, inFlight);
    if (this.#count < (probing ? PROBE_SAMPLES : SAMPLES)) return;
    if (probing) return this.#measured(now);
    const present = this.#sum / this.#count;
    const used = this.#most >= this.#limit * USED;
    this.#forget();
    if (used && present > 0 && this.#base > 0) {
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

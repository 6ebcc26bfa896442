/**
 * Token buckets by key, in bounded memory.
 *
 * @module
 */

/** How a {@linkcode RateLimiter} is made. */
export interface RateLimiterOptions {
  /** Tokens per second for each key, above 0. */
  readonly rate: number;
  /** Tokens that a key may save up, at least 1. Default: those of one second, at least 1. */
  readonly burst?: number;
  /** Keys that are remembered. Above that the one that was seen first is forgotten. Default 100,000. */
  readonly maxKeys?: number;
}

/** Entries that are looked at for ones that say nothing any more when a new one comes. */
const SWEEP = 2;

/**
 * Limits each key to a rate, by the generic cell rate algorithm (ITU-T I.371): of a bucket only the time is kept at
 * which it will be full, so one whose time has passed need not be kept at all. Keys come from clients; what they
 * can make us remember is bounded, and forgetting lets a key through rather than block it.
 */
export class RateLimiter {
  readonly #cost: number;
  readonly #tolerance: number;
  readonly #maxKeys: number;
  /** When the bucket of each key will be full, in milliseconds; the order is that of insertion. */
  readonly #full = new Map<string, number>();

  /**
   * All buckets are full.
   *
   * @throws {TypeError} When an option is out of its range.
   */
  constructor({ rate, burst = Math.max(rate, 1), maxKeys = 100_000 }: RateLimiterOptions) {
    if (!(rate > 0 && Number.isFinite(rate))) {
      throw new TypeError(`rate ${rate}: a number of tokens per second above 0 is accepted`);
    }
    if (!(burst >= 1 && Number.isFinite(burst))) {
      throw new TypeError(`burst ${burst}: a number of tokens of at least 1 is accepted`);
    }
    if (!Number.isInteger(maxKeys) || maxKeys < 1) {
      throw new TypeError(`maxKeys ${maxKeys}: an integer of at least 1 is accepted`);
    }
    this.#cost = 1000 / rate;
    this.#tolerance = this.#cost * (burst - 1);
    this.#maxKeys = maxKeys;
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#full.size;
  }

  /**
   * Takes a token of a key.
   *
   * @param now In milliseconds; never goes back.
   * @returns 0 when there was one, or else in how many milliseconds there will be one.
   */
  take(key: string, now: number): number {
    const known = this.#full.get(key);
    const full = known === undefined || known < now ? now : known;
    const wait = full - now - this.#tolerance;
    if (wait > 0) return wait;
    if (known === undefined) this.#makeRoom(now);
    this.#full.set(key, full + this.#cost);
    return 0;
  }

  /**
   * Keys whose buckets are not full, and in how many milliseconds they will be; those that were seen last.
   *
   * @param most How many at most.
   */
  collect(now: number, most: number): [key: string, left: number][] {
    const used = [...this.#full].filter(([, full]) => full > now);
    return used.slice(-most).map(([key, full]) => [key, full - now]);
  }

  /** Takes tokens out of buckets that another limiter had; none is emptier than it could be here. */
  resume(buckets: Iterable<readonly [key: string, left: number]>, now: number): void {
    for (const [key, left] of buckets) {
      if (left <= 0 || this.#full.has(key)) continue;
      this.#makeRoom(now);
      this.#full.set(key, now + Math.min(left, this.#tolerance + this.#cost));
    }
  }

  #makeRoom(now: number): void {
    let looked = 0;
    for (const [key, full] of this.#full) {
      if (full <= now || this.#full.size >= this.#maxKeys) this.#full.delete(key);
      if (++looked >= SWEEP) break;
    }
  }
}

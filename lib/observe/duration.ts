/**
 * Durations by bucket, as every histogram of durations has them.
 *
 * @module
 */

/**
 * Upper bounds of the duration histogram in seconds, each inclusive. Fine below 10 ms, where a proxy
 * lives, and up to a minute, where a timeout does. One bucket more takes what is longer.
 */
export const DURATION_BOUNDS: readonly number[] = Object.freeze([
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
  60,
]);

/** The hot path reads the bounds from a typed array, which needs no bounds of its own checked. */
const BOUNDS = Float64Array.from(DURATION_BOUNDS);

/** What a histogram of durations in the text format is made of. */
export interface DurationHistogram {
  /**
   * How many by duration, not cumulative: index i holds those above bound i - 1 and up to bound i of
   * {@linkcode DURATION_BOUNDS}, the last one those above all bounds.
   */
  readonly buckets: Float64Array;
  /** Seconds, over all. */
  readonly sum: number;
  /** How many. */
  readonly count: number;
}

/** Empty buckets. */
export function makeBuckets(): Float64Array {
  return new Float64Array(BOUNDS.length + 1);
}

/** The index of the bucket for a duration in seconds. */
export function bucketOf(seconds: number): number {
  // A scan from the small end beats a bisection here: most requests end in one of the first buckets.
  let bucket = 0;
  while (bucket < BOUNDS.length && seconds > BOUNDS[bucket]!) bucket++;
  return bucket;
}

/**
 * How the weights of candidates are read, the same for every strategy.
 *
 * @module
 */

import type { Candidate } from "./strategy.ts";

/** Whether a candidate has a weight above 0. What is not a number counts as 0. */
export function hasWeight(candidate: Candidate): boolean {
  return (candidate.weight ?? 1) > 0;
}

/**
 * The share of a candidate; one whose share is 0 must not be picked.
 *
 * Weights count only if `weighted`, that is if any candidate has one, whether or not it may be picked
 * now: who is taken out by weight 0 must not come back because the others are full. If all have 0, they
 * share alike.
 */
export function shareOf(candidate: Candidate, weighted: boolean): number {
  if (!weighted) return 1;
  return hasWeight(candidate) ? candidate.weight ?? 1 : 0;
}

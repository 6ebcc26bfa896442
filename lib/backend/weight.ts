/**
 * The weight of a backend: its share in a pool.
 *
 * @module
 */

/** The most that a weight may be; nginx and the Gateway API have the same order of magnitude. */
export const MAX_WEIGHT = 65535;

/**
 * A weight that is one.
 *
 * @throws {TypeError} When it is not.
 */
export function checkWeight(weight: number): number {
  if (!Number.isInteger(weight) || weight < 0 || weight > MAX_WEIGHT) {
    throw new TypeError(`weight ${weight}: an integer from 0 to ${MAX_WEIGHT} is accepted`);
  }
  return weight;
}

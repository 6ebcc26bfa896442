/**
 * The strategies by the names that configuration and command line use.
 *
 * @module
 */

import { ConsistentHash } from "./consistent_hash.ts";
import { LeastConnections } from "./least_connections.ts";
import { PeakEwma } from "./peak_ewma.ts";
import { PowerOfTwo } from "./power_of_two.ts";
import { Random } from "./random.ts";
import { RoundRobin } from "./round_robin.ts";
import type { Candidate, Strategy } from "./strategy.ts";
import { WeightedRoundRobin } from "./weighted_round_robin.ts";

/** The name of a strategy. */
export type StrategyName =
  | "round-robin"
  | "random"
  | "least-connections"
  | "weighted-round-robin"
  | "power-of-two"
  | "peak-ewma"
  | "consistent-hash";

/** A class of strategies. */
export type StrategyClass = new <C extends Candidate>(candidates: readonly C[]) => Strategy<C>;

/** The classes by name. */
export const strategies: Readonly<Record<StrategyName, StrategyClass>> = {
  "round-robin": RoundRobin,
  "random": Random,
  "least-connections": LeastConnections,
  "weighted-round-robin": WeightedRoundRobin,
  "power-of-two": PowerOfTwo,
  "peak-ewma": PeakEwma,
  "consistent-hash": ConsistentHash,
};

/**
 * Makes the strategy of that name.
 *
 * @throws {TypeError} if there is none, with the names that there are.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * const strategy = createStrategy("round-robin", [{ addr: "a:80" }]);
 * assertEquals(strategy.next()?.addr, "a:80");
 * ```
 */
export function createStrategy<C extends Candidate>(
  name: string,
  candidates: readonly C[],
): Strategy<C> {
  if (!isStrategyName(name)) {
    const known = Object.keys(strategies).join(", ");
    throw new TypeError(
      `strategy ${JSON.stringify(name)} is not known; accepted is one of ${known}`,
    );
  }
  return new strategies[name](candidates);
}

/** Whether a strategy has that name. */
export function isStrategyName(name: string): name is StrategyName {
  return Object.hasOwn(strategies, name);
}

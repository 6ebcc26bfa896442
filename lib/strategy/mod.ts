/**
 * Balancing strategies, for the balancer and for use alone.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * const backends = [{ addr: "a:80", weight: 2 }, { addr: "b:80" }];
 * const strategy = new WeightedRoundRobin(backends);
 * assertEquals(strategy.next(), backends[0]);
 * ```
 *
 * @module
 */

export { ConsistentHash, type ConsistentHashOptions } from "./consistent_hash.ts";
export { hashText } from "./hash.ts";
export { LeastConnections } from "./least_connections.ts";
export { PeakEwma, type PeakEwmaOptions } from "./peak_ewma.ts";
export { PeakLatency, type PeakLatencyOptions } from "./peak_latency.ts";
export { PowerOfTwo } from "./power_of_two.ts";
export { Random, type RandomOptions } from "./random.ts";
export {
  createStrategy,
  isStrategyName,
  strategies,
  type StrategyClass,
  type StrategyName,
} from "./registry.ts";
export { RoundRobin } from "./round_robin.ts";
export type { Candidate, Strategy } from "./strategy.ts";
export { WeightedRoundRobin } from "./weighted_round_robin.ts";

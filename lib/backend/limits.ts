/**
 * How many requests a backend may have in flight: a number that is given, one that is found from latency, or the
 * smaller of both.
 *
 * @module
 */
import {
  AdaptiveLimit,
  type AdaptiveLimitOptions,
  type AdaptiveLimitState,
} from "./adaptive_limit.ts";
import type { Outcome } from "./outcome.ts";

/** How the requests of each backend are limited; not at all unless one of both is given. */
export interface RequestLimitOptions {
  /** The most requests in flight, or connections at layer 4; an integer of at least 1. */
  readonly maxRequests?: number;
  /** Finds a limit from how long answers take. */
  readonly adaptive?: AdaptiveLimitOptions;
}

/**
 * Failures that mean that a backend had too much to do: it did not answer in time, or said so. Others, such as
 * a refused connection, are quick or late for reasons that say nothing about its load.
 */
const OVERLOADED: ReadonlySet<string> = new Set([
  "upstream_timeout",
  "upstream_stalled",
  "status_429",
  "status_503",
  "status_504",
  // RESOURCE_EXHAUSTED and UNAVAILABLE.
  "grpc_8",
  "grpc_14",
]);

/** The limit of one backend. */
export class RequestLimit {
  readonly #max: number;
  readonly #adaptive: AdaptiveLimit | undefined;

  /**
   * Begins with nothing in flight.
   *
   * @throws {TypeError} When an option is out of its range.
   */
  constructor({ maxRequests = Infinity, adaptive }: RequestLimitOptions) {
    if (maxRequests !== Infinity && !(Number.isInteger(maxRequests) && maxRequests >= 1)) {
      throw new TypeError(`maxRequests ${maxRequests}: an integer of at least 1 is accepted`);
    }
    this.#max = maxRequests;
    if (adaptive !== undefined) this.#adaptive = new AdaptiveLimit(adaptive);
  }

  /** Asked whether the limit may be measured; see {@linkcode AdaptiveLimitParts.mayMeasure}. */
  set mayMeasure(ask: (now: number) => boolean) {
    if (this.#adaptive !== undefined) this.#adaptive.mayMeasure = ask;
  }

  /** Whether the limit is being measured at the time `now`. */
  measures(now: number): boolean {
    return this.#adaptive?.stillMeasures(now) ?? false;
  }

  /** How many requests may be in flight at the time `now`, in milliseconds. */
  limit(now: number): number {
    return this.#adaptive === undefined
      ? this.#max
      : Math.min(this.#max, this.#adaptive.limit(now));
  }

  /** What was found from latency, for another process that goes on with it. */
  collect(now: number): AdaptiveLimitState | undefined {
    return this.#adaptive?.collect(now);
  }

  /** Goes on with what another process has found. */
  resume(state: AdaptiveLimitState, now: number): void {
    this.#adaptive?.resume(state, now);
  }

  /**
   * Notes what came of an attempt.
   *
   * @param latency Until its answer began, in milliseconds.
   * @param inFlight Requests that the backend had beside it, itself included.
   */
  observe(outcome: Outcome, latency: number, inFlight: number, now: number): void {
    const adaptive = this.#adaptive;
    if (adaptive === undefined) return;
    if (outcome.type === "answered") adaptive.observe(latency, inFlight, now);
    else if (outcome.type !== "expired" && OVERLOADED.has(outcome.reason)) adaptive.drop();
  }
}

/** Whether requests are limited at all. */
export function limitsRequests({ maxRequests, adaptive }: RequestLimitOptions): boolean {
  return (maxRequests !== undefined && maxRequests !== Infinity) || adaptive !== undefined;
}

/**
 * What came of requests and calls.
 *
 * @module
 */
import type { ErrorCode } from "../../lib/common/errors.ts";
import { answerTo } from "../../lib/http/problem.ts";

/** What came of one of them. */
export type Outcome =
  | { readonly type: "answered" }
  | {
    readonly type: "failed";
    /** Why, for people; equal failures have equal reasons. */
    readonly reason: string;
    /** Whether it might have been sent to a backend (again), so that it must not have failed. */
    readonly retriable: boolean;
  };

/** All is well. */
export const ANSWERED: Outcome = { type: "answered" };

/** Failures before anything of a request has gone to a backend: whatever the method, it may be sent to another. */
const NOT_SENT: ReadonlySet<string> = new Set<ErrorCode>([
  "no_backend",
  "pool_exhausted",
  "connect_refused",
  "connect_timeout",
  "connect_failed",
  "tls_failed",
]);

/** The same by what clients of gRPC are told. */
const NOT_SENT_DETAILS: ReadonlySet<string> = new Set(
  [...NOT_SENT].map((code) => answerTo(code as ErrorCode).detail),
);

/** Whether a request that failed with this code has not gone to any backend. */
export function isUnsent(code: string): boolean {
  return NOT_SENT.has(code);
}

/** The same for a call by its `grpc-message`. */
export function isUnsentCall(message: string): boolean {
  return NOT_SENT_DETAILS.has(message);
}

/** How many failures had the same reason. */
export interface Failures {
  readonly reason: string;
  readonly retriable: boolean;
  count: number;
}

/** The times that shares of all answers keep, in milliseconds. */
export interface Latency {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Counts of all that was begun. */
export interface Counts {
  /** Requests or calls. */
  readonly requests: number;
  readonly answered: number;
  /** Failures that may be retried; none must be left. */
  readonly retriable: number;
  /** Failures of what may not be sent twice. */
  readonly final: number;
  readonly failures: readonly Failures[];
  readonly latency: Latency;
}

/** The times that shares keep; 0 where there are none. */
export function percentiles(milliseconds: readonly number[]): Latency {
  const sorted = Float64Array.from(milliseconds).sort();
  const at = (share: number) => sorted[Math.max(Math.ceil(share * sorted.length) - 1, 0)] ?? 0;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1) };
}

/** Counts. */
export class Tally {
  readonly #latencies: number[] = [];
  readonly #failures = new Map<string, Failures>();
  #answered = 0;

  /** Notes what came of one request. `ms` counts from the moment at which it was due. */
  note(outcome: Outcome, ms: number): void {
    this.#latencies.push(ms);
    if (outcome.type === "answered") this.#answered++;
    else this.fail(outcome.reason, outcome.retriable, 1);
  }

  /** Notes failures whose times are not known. */
  fail(reason: string, retriable: boolean, count: number): void {
    const key = `${retriable} ${reason}`;
    const failures = this.#failures.get(key);
    if (failures === undefined) this.#failures.set(key, { reason, retriable, count });
    else failures.count += count;
  }

  /** Answers so far. */
  get answered(): number {
    return this.#answered;
  }

  /** All so far. */
  get counts(): Counts {
    const failures = [...this.#failures.values()];
    const sum = (retriable: boolean) =>
      failures.filter((one) => one.retriable === retriable)
        .reduce((count, one) => count + one.count, 0);
    return {
      requests: this.#answered + sum(true) + sum(false),
      answered: this.#answered,
      retriable: sum(true),
      final: sum(false),
      failures,
      latency: percentiles(this.#latencies),
    };
  }
}

/**
 * What came of an attempt, as far as it says something about the backend.
 *
 * @module
 */

/** What came of an attempt. What is the client's or our own fault is none. */
export type Outcome =
  | { readonly type: "answered" }
  | {
    readonly type: "failed";
    /** A stable token: an error code, `status_503`, `grpc_14`. */
    readonly reason: string;
    /** How long the backend wants to be left alone, in milliseconds (`Retry-After`, `grpc-retry-pushback-ms`). */
    readonly retryAfter?: number;
  }
  /** It has answered that it has too much to do (429): it should get less, but it does not fail. */
  | { readonly type: "busy"; readonly reason: string; readonly retryAfter?: number }
  /**
   * The time that the client has given was over first. How long that is, is the client's choice, so it says no more
   * than that an answer takes longer.
   */
  | { readonly type: "expired" };

/** The backend has answered. */
export const ANSWERED: Outcome = { type: "answered" };

/** The client would not wait any longer. */
export const EXPIRED: Outcome = { type: "expired" };

/** Failures in which no connection could be opened. */
const UNREACHED: ReadonlySet<string> = new Set([
  "connect_refused",
  "connect_timeout",
  "connect_failed",
  "tls_failed",
]);

/** Whether an outcome is that no connection could be opened. */
export function isUnreached(outcome: Outcome): boolean {
  return outcome.type === "failed" && UNREACHED.has(outcome.reason);
}

/** Told what came of the attempts on a backend. Must not throw. */
export type OutcomeListener = (outcome: Outcome, latency: number) => void;

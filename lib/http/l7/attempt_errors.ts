/**
 * Why an attempt failed, as errors.
 *
 * @module
 */
import { isLocal } from "../../backend/connector.ts";
import type { UpstreamConnection } from "../../backend/h1_pool.ts";
import { failedBy } from "../../backend/recovery.ts";
import { type ErrorCode, ProxyError, type Retry } from "../../common/errors.ts";
import type { RetryCondition } from "../../route/retry.ts";
import type { AnswerSource, Tally } from "./attempt_parts.ts";
import type { TransferEnd } from "./body_transfer.ts";

/** The error of a failed client connection, which it notes in the tally. */
export function clientGone(tally: Tally, cause: unknown): ProxyError {
  tally.gone = true;
  // A client over HTTP/2 may have been given up by its connection.
  if (cause instanceof ProxyError && cause.side === "downstream") return cause;
  return new ProxyError("client_closed", "downstream", "the client's connection failed", { cause });
}

/** The error of a backend whose answer is not HTTP. */
export function protocolError(what: string): ProxyError {
  return new ProxyError(
    "upstream_protocol",
    "upstream",
    `the backend is not speaking HTTP: ${what}`,
  );
}

/** What is known of an attempt that got no answer. */
export interface NoAnswer {
  /** What has happened to the client. */
  readonly tally: Tally;
  /** How the sending of the request's body ended, if it has. */
  readonly uploadEnd: TransferEnd | undefined;
  /** Why we gave up waiting, if we did. */
  readonly expired: ErrorCode | undefined;
  /** Whether there may be time for another attempt then. */
  readonly early: boolean;
  /** Whether interim responses came. */
  readonly interim: boolean;
}

/** Why there is no answer on a connection whose reading has ended. */
export function noAnswer(
  upstream: UpstreamConnection,
  { tally, uploadEnd, expired, early, interim }: NoAnswer,
): ProxyError {
  if (uploadEnd?.type === "malformed") {
    return new ProxyError(uploadEnd.code, "downstream", "the chunked body is malformed");
  }
  if (tally.gone || uploadEnd?.type === "source") {
    const cause = uploadEnd?.type === "source" ? uploadEnd.cause : undefined;
    return new ProxyError("client_closed", "downstream", "the client ended early", { cause });
  }
  const { ended, available } = upstream.reader;
  const untouched = !interim && available === 0;
  if (expired !== undefined) {
    const side = expired === "body_timeout" ? "downstream" : "upstream";
    return new ProxyError(expired, side, "gave up waiting", {
      retry: early && untouched ? "if-idempotent" : "never",
    });
  }
  const retry: Retry = !untouched ? "never" : upstream.reused ? "if-reused" : "if-idempotent";
  return ended?.type === "error"
    ? new ProxyError("upstream_reset", "upstream", "the backend's connection failed", {
      retry,
      cause: ended.error,
    })
    : new ProxyError("upstream_closed", "upstream", "the backend closed without an answer", {
      retry,
    });
}

/**
 * Why a response could not be passed on to its end.
 *
 * @param expired Why we gave up waiting, if we did.
 */
export function cutShort(
  end: TransferEnd,
  tally: Tally,
  expired: ErrorCode | undefined,
): ProxyError {
  // We closed both connections, so both have failed.
  if (expired === "upstream_stalled") {
    return new ProxyError(expired, "upstream", "the response stalled");
  }
  if (expired === "client_stalled") {
    tally.gone = true;
    return new ProxyError(expired, "downstream", "the client takes nothing of its answer");
  }
  if (end.type === "sink" || tally.gone) {
    return clientGone(tally, end.type === "sink" ? end.cause : undefined);
  }
  if (end.type === "malformed") return protocolError("its chunked body is malformed");
  const cause = end.type === "source" ? end.cause : undefined;
  return new ProxyError(
    cause === undefined ? "upstream_closed" : "upstream_reset",
    "upstream",
    "the backend ended inside the response",
    { cause },
  );
}

/** The answer has a status for which the request is sent again; nothing of it was passed on. */
export class UnwantedAnswer extends Error {
  override readonly name = "UnwantedAnswer";

  /** Names the status. */
  constructor(status: number) {
    super(`the backend answered ${status}`);
  }
}

/** Another attempt has answered. Nobody is told. */
export const CANCELLED: Error = new Error("another attempt has answered");

/** Counts what has failed an attempt, and tells the backend's lease where it speaks against the backend. */
export function blame(error: ProxyError, { lease, stats }: AnswerSource): void {
  if (error.side === "upstream" || isLocal(error)) stats.failed(error.code);
  if (error.side !== "upstream") return;
  // That a connection was closed while idle says nothing, and that it has enough of us is no failure.
  const blames = error.retry !== "if-reused" && error.code !== "pool_exhausted";
  if (blames) lease.report(failedBy(error.code));
}

/** Under which condition a request is sent again that got no answer. */
export function afterWhat(code: ErrorCode): RetryCondition {
  return code === "upstream_timeout" ? "timeout" : "reset";
}

/** All backends were tried and none took a connection: as a whole, the service is not available. */
export function exhausted(last: ProxyError): ProxyError {
  return last.code === "connect_refused" || last.code === "connect_failed"
    ? new ProxyError("no_backend", "upstream", "no backend can be reached", { cause: last })
    : last;
}

/**
 * What it means that a try of a call failed.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import type { RetryRules } from "../../backend/recovery.ts";
import { describeError, type ErrorCode, ProxyError } from "../../common/errors.ts";
import { H2Code } from "../../http/h2/errors.ts";
import type { StreamReset } from "../../http/h2/stream.ts";
import { getLogger } from "../../observe/logger.ts";
import { SampledLog } from "../../observe/sampled_log.ts";
import type { RetryCondition } from "../../route/retry.ts";
import { GrpcStatus } from "../status.ts";
import type { CallDeadline } from "./deadline.ts";
import type { Failure } from "./retries.ts";

const unreached = new SampledLog(getLogger("grpc"), {
  message: "a backend was not reached",
  by: ["code", "backend"],
});

/** What it means that a stream was reset. */
export function codeOf({ connectionLost, stalled, broken }: StreamReset): ErrorCode {
  if (stalled) return "upstream_stalled";
  if (broken) return "upstream_protocol";
  return connectionLost ? "upstream_closed" : "upstream_reset";
}

/** And what may follow before an answer has begun. */
export function failureOf({ code, unprocessed }: StreamReset): Failure {
  return {
    after: unprocessed ? "refused" : "reset",
    // A stream above the last one of GOAWAY came too late for its connection, not for its backend.
    again: unprocessed && code !== H2Code.RefusedStream,
  };
}

/**
 * After what a call may be tried again that was refused with a status. When a try has a time of its own, and that
 * of the call is not over, it was the time of the try.
 */
export function afterStatus(
  code: GrpcStatus,
  { perTryTimeout }: RetryRules,
  deadline: CallDeadline | undefined,
): RetryCondition {
  const expired = code === GrpcStatus.DeadlineExceeded && perTryTimeout < Infinity &&
    deadline?.isDue !== true;
  return expired ? "timeout" : code;
}

/** Whether an error says something against the backend: our own limits and the end of all time do not. */
export function blames(
  code: ErrorCode,
  failure: Failure | undefined,
  deadline: CallDeadline | undefined,
): boolean {
  return code !== "pool_exhausted" && code !== "local_exhausted" && code !== "internal" &&
    failure?.again !== true && deadline?.isDue !== true;
}

/** What it means that there is no connection to a backend, which is `undefined` for the own services. */
export function asUnreached(error: unknown, backend: LiveBackend | undefined): ProxyError {
  const known = error instanceof ProxyError
    ? error
    : new ProxyError("internal", "internal", "a call failed", { cause: error });
  unreached.warning({
    code: known.code,
    backend: backend?.addr ?? "",
    error: describeError(known),
  });
  return known;
}

/**
 * What the head of an answer says: of the backend that gave it, and of the connections on either side.
 *
 * @module
 */
import { ascii } from "../h1/chars.ts";
import type { ResponseHead } from "../h1/response.ts";
import { parseRetryAfter } from "../retry_after.ts";
import { UnwantedAnswer } from "./attempt_errors.ts";
import type { AnswerSource, AttemptParts } from "./attempt_parts.ts";

const RETRY_AFTER = ascii("retry-after");

/**
 * Says what an answer, whose status may speak against its backend, says of it.
 *
 * @throws {UnwantedAnswer} When the request is sent to another one instead.
 */
export function judgeAnswer(
  { status, fields }: ResponseHead,
  parts: AttemptParts,
  { lease, stats }: AnswerSource,
): void {
  const outcome = parts.connection.context.recovery.judgeStatus(
    status,
    () => parseRetryAfter(fields.get(RETRY_AFTER), Date.now()),
  );
  lease.report(outcome);
  // Nobody is to stay where this is the answer.
  if (outcome.type !== "answered") parts.responseChanges = parts.plan.responseChanges;
  const unwanted = parts.replaces(status);
  if (unwanted || outcome.type === "failed") stats.failed(`status_${status}`);
  if (unwanted) throw new UnwantedAnswer(status);
}

/** How the body of an answer is framed for the client. */
export function frameFor(
  http10: boolean,
  { framing }: ResponseHead,
): "length" | "none" | "close" | "chunked" {
  if (framing.type === "length" || framing.type === "none") return framing.type;
  return http10 ? "close" : "chunked";
}

/**
 * How long the backend says that it keeps an idle connection, in milliseconds. `Keep-Alive: timeout=N`
 * is no standard, but common; a second less keeps us out of the race with its close.
 */
export function keepAliveTime(value: string | undefined): number {
  const seconds = value === undefined ? undefined : /\btimeout=(\d{1,6})/.exec(value)?.[1];
  return seconds === undefined ? Infinity : Math.max(Number(seconds) * 1000 - 1000, 0);
}

/**
 * What an answer says of the backend that gave it.
 *
 * @module
 */
import { ANSWERED, type Outcome } from "../../backend/outcome.ts";
import type { Recovery } from "../../backend/recovery.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import type { H2ResponseHead } from "../../http/h2/response_head.ts";
import { parseRetryAfter } from "../../http/retry_after.ts";
import { GrpcStatus } from "../status.ts";
import { readPushback } from "./pushback.ts";

/**
 * What the status of a call says.
 *
 * @param fields Where it stands, if it stands anywhere.
 */
export function judgeCode(
  recovery: Recovery,
  code: GrpcStatus,
  fields: FieldList | undefined,
): Outcome {
  if (code === GrpcStatus.Ok) return ANSWERED;
  return recovery.judgeCode(code, () => {
    const pushback = fields && readPushback(fields);
    return pushback !== undefined && pushback >= 0 ? pushback : undefined;
  });
}

/** What an answer says that is none to a call. */
export function judgeHead(recovery: Recovery, { status, fields }: H2ResponseHead): Outcome {
  const readRetryAfter = () => parseRetryAfter(fields.get("retry-after"), Date.now());
  return recovery.judgeStatus(status, readRetryAfter);
}

/**
 * What the tries of a call need of it, and what they tell it.
 *
 * @module
 */
import type { ErrorCode } from "../../common/errors.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import type { StreamReset } from "../../http/h2/stream.ts";
import type { ProxyPlan } from "../../http/l7/plan.ts";
import type { CallRecord } from "./call_record.ts";
import type { GrpcContext } from "./context.ts";
import type { CallDeadline } from "./deadline.ts";
import type { RequestBody } from "./request_body.ts";

/** A call that is tried. What ends it is told once; nothing of it may throw. */
export interface AttemptedCall {
  /** What it shares with the others of its listener. */
  readonly context: GrpcContext;
  /** What is seen of it. */
  readonly record: CallRecord;
  /** What is sent behind its head. */
  readonly body: RequestBody;
  /** When it must have ended, if the client said so. */
  readonly deadline: CallDeadline | undefined;
  /** Whether it has ended. */
  readonly finished: boolean;
  /** Sends a head, an interim one or trailers on to the client. */
  relayFields(fields: FieldList, changes: ProxyPlan["responseChanges"], endStream: boolean): void;
  /** Sends content on to the client; the count of bytes that went at once. */
  relayData(bytes: Uint8Array, start: number, end: number, endStream: boolean): number;
  /** The answer is complete: what is still to come of the request is not wanted. */
  endRequest(): void;
  /** Ends with an error of ours, before an answer has begun. */
  answer(code: ErrorCode): void;
  /** Ends because the backend's stream was reset, which is told as `error`. */
  reset(reset: StreamReset, error: ErrorCode): void;
  /** Ends because the deadline has passed. */
  expire(): void;
  /** Ends with the status that the client of a gRPC call has got. */
  finish(status: number): void;
}

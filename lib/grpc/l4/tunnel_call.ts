/**
 * One call of a tunnel: how far both sides are, and what is recorded of it.
 *
 * @module
 */
import type { CallRecord } from "../l7/call_record.ts";
import type { CallDeadline } from "../l7/deadline.ts";

/** One call. Its stream has the same identifier on both sides. */
export class TunnelCall {
  /** The stream. */
  readonly id: number;
  /** What is seen of it. */
  readonly record: CallRecord;
  /** Bytes that the client lets the backend send on it; may be negative (RFC 9113, section 6.9.2). */
  toClient: number;
  /** Bytes that the backend lets the client send on it; the same. */
  toBackend: number;
  /** Whether the client has ended its side. */
  clientEnded = false;
  /** Whether a final head of the answer has passed. */
  headed = false;
  /** How many interim heads the backend has sent. */
  interim = 0;
  /** Content bytes that are still to come by Content-Length, from either side; -1 when nobody said. */
  clientExpected = -1;
  backendExpected = -1;
  /** Whether the answer has no body whatever its head says (HEAD). */
  readonly noBody: boolean;
  /** The client's deadline, if it gave one. */
  timer: CallDeadline | undefined;

  /** A call that begins now, with the windows that streams begin with. */
  constructor(id: number, record: CallRecord, toClient: number, toBackend: number) {
    this.id = id;
    this.record = record;
    this.toClient = toClient;
    this.toBackend = toBackend;
    this.noBody = record.method === "HEAD";
  }
}

/**
 * The deadline of one call: grpc/doc/PROTOCOL-HTTP2.md, Timeout.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import { knownNameId } from "../../http/h2/hpack/names.ts";
import { parseTimeout } from "../timeout.ts";

const GRPC_TIMEOUT = knownNameId("grpc-timeout");

/**
 * How much later than the backend and the client we end a call, in milliseconds: theirs is the better answer,
 * and it has a way to go. The clock adds one to two of its ticks.
 */
const GRACE_MS = 100;
/** Time spent on a call, in milliseconds, from which on it is taken off what the backend is given. */
const WORTH_TELLING_MS = 1;
/**
 * A client that resets a call so shortly before its deadline, in milliseconds, does so because of it: the
 * timeout in the head is rounded, and its clock began to run a little earlier than ours.
 */
const SLACK_MS = 20;

/**
 * What a head says of the deadline.
 *
 * - `none`.
 * - `malformed`: no timeout, or more than one. grpc-go answers INTERNAL ("malformed grpc-timeout"), and so do we.
 * - `timeout`: so many milliseconds from now, said by the field at `index`.
 */
export type TimeoutField =
  | { readonly type: "none" }
  | { readonly type: "malformed" }
  | { readonly type: "timeout"; readonly ms: number; readonly index: number };

const NONE: TimeoutField = { type: "none" };
const MALFORMED: TimeoutField = { type: "malformed" };

/** Reads `grpc-timeout` of a request's fields. */
export function readTimeout(fields: FieldList): TimeoutField {
  const index = fields.find(GRPC_TIMEOUT);
  if (index < 0) return NONE;
  const ms = parseTimeout(fields.bytes, fields.valueStart(index), fields.valueEnd(index));
  if (ms === undefined || fields.find(GRPC_TIMEOUT, index + 1) >= 0) return MALFORMED;
  return { type: "timeout", ms, index };
}

/** The deadline of a call that is under way. */
export class CallDeadline implements Timed {
  deadline = Infinity;
  watchedAt = -1;
  /** Called once, when the deadline has passed and nobody else has ended the call. Must not throw. */
  readonly onDeadline: () => void;
  readonly #clock: Clock;
  readonly #started: number;
  readonly #ends: number;

  /**
   * Begins to watch.
   *
   * @param timeout Milliseconds from `started`, a time of the clock, which is now.
   */
  constructor(
    clock: Clock,
    { started, timeout, onExpired }: {
      readonly started: number;
      readonly timeout: number;
      readonly onExpired: () => void;
    },
  ) {
    this.#clock = clock;
    this.#started = started;
    this.#ends = started + timeout;
    this.onDeadline = onExpired;
    clock.watch(this);
    clock.arm(this, timeout + GRACE_MS);
  }

  /** Milliseconds since the call came. */
  get spent(): number {
    return this.#clock.now() - this.#started;
  }

  /** Milliseconds until the deadline, below 0 behind it; no grace. */
  get left(): number {
    return this.#ends - this.#clock.now();
  }

  /** Whether the backend would have no time at all. */
  get isOver(): boolean {
    return this.spent >= WORTH_TELLING_MS && this.left <= 0;
  }

  /**
   * Milliseconds that the backend is told it has; Infinity when what the client has said still holds.
   *
   * @param perTry What one try may take, in milliseconds.
   */
  toTell(perTry = Infinity): number {
    const time = this.spent >= WORTH_TELLING_MS ? Math.max(this.left, 0) : Infinity;
    return perTry < time && perTry < this.left ? perTry : time;
  }

  /** Whether a client that ends the call now does so because of the deadline. */
  get isDue(): boolean {
    return this.left <= SLACK_MS;
  }

  /** Ends watching. */
  stop(): void {
    this.#clock.unwatch(this);
  }
}

/**
 * Ends streams that cannot go on because the peer does not open a window: what is held for them is bounded, but without
 * this only by memory and not by time. Flow control is for slow receivers, so only one that has taken nothing is
 * ended. A stream for which nothing is held is never looked at.
 *
 * @module
 */
import type { Timed } from "../../common/clock.ts";
import type { Closing } from "./closing.ts";
import { H2Code } from "./errors.ts";
import type { Link } from "./link.ts";
import type { BlockedWatcher } from "./send_flow.ts";
import type { Streams } from "./streams.ts";

/** What is looked at, and ended. */
export interface StallsParts {
  /** What the parts of the connection share. */
  readonly link: Link;
  /** What may stall. */
  readonly streams: Streams;
  /** Ends a connection that is stuck as a whole. */
  readonly closing: Closing;
}

/** Looks at the streams that wait, as seldom as the limit allows, and at nothing while none waits. */
export class Stalls implements Timed, BlockedWatcher {
  deadline = Infinity;
  readonly #parts: StallsParts;
  readonly #limit: number;

  /** Made by the connection, where there is a limit; in milliseconds. */
  constructor(parts: StallsParts, limit: number) {
    this.#parts = parts;
    this.#limit = limit;
  }

  onBlocked(): void {
    if (this.deadline < Infinity) return;
    const { clock } = this.#parts.link;
    clock.watch(this);
    clock.arm(this, this.#limit);
  }

  /** The connection has ended. */
  end(): void {
    this.#parts.link.clock.unwatch(this);
  }

  onDeadline(): void {
    const { link, streams, closing } = this.#parts;
    const { sending } = streams;
    let next = Infinity;
    let stuck = false;
    for (const stream of sending.waiting) {
      const left = sending.patience(stream, this.#limit);
      if (left > 0) next = Math.min(next, left);
      else {
        stuck ||= stream.sendWindow > 0;
        streams.stall(stream, link.role === "server" ? H2Code.EnhanceYourCalm : H2Code.Cancel);
      }
    }
    // Another connection is all that can help the streams to come. Those that have nothing to send go on.
    if (stuck) closing.drain("window_stall", "window_stall");
    // What is in flight gets less as the peer takes it, so the time that is left may too.
    if (next < Infinity) link.clock.arm(this, Math.min(next, this.#limit));
    else link.clock.unwatch(this);
  }
}

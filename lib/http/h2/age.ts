/**
 * How old a connection gets (gRFC A9): clients that keep theirs for days would never notice that there are more
 * balancers or backends, or that a name has other addresses.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import type { CloseReason } from "../../observe/close_reason.ts";
import type { H2Options } from "./options.ts";

/** The share of the age that is added or taken away at random (gRFC A9). */
const JITTER = 0.1;

/** A connection, as far as its age matters. Nothing of it may throw. */
export interface Aged {
  /** Takes no more streams and ends with the last one; `debug` says why, as debug data of GOAWAY. */
  drain(reason: CloseReason, debug: string): void;
  /** Ends without a word; streams that are still open are lost. */
  cut(reason: CloseReason, detail: string): void;
}

/** Drains a connection when it is old enough, and cuts it when its streams have had their grace. */
export class Age implements Timed {
  deadline = Infinity;
  readonly #aged: Aged;
  readonly #clock: Clock;
  readonly #options: Pick<H2Options, "maxAge" | "maxAgeGrace">;
  #reached = false;

  /** Made with the connection. */
  constructor(aged: Aged, clock: Clock, options: Pick<H2Options, "maxAge" | "maxAgeGrace">) {
    this.#aged = aged;
    this.#clock = clock;
    this.#options = options;
  }

  /** The connection begins. */
  begin(): void {
    this.#clock.watch(this);
    this.#clock.arm(this, this.#options.maxAge * (1 + JITTER * (2 * Math.random() - 1)));
  }

  /** The connection has ended. */
  end(): void {
    this.#clock.unwatch(this);
  }

  onDeadline(): void {
    if (this.#reached) {
      return this.#aged.cut(
        "max_connection_age_grace",
        "streams went on beyond the grace of an old connection",
      );
    }
    this.#reached = true;
    this.#clock.arm(this, this.#options.maxAgeGrace);
    this.#aged.drain("max_connection_age", "max_age");
  }
}

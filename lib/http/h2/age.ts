/**
 * How old a connection gets (gRFC A9): clients that keep theirs for days would never notice that there are more
 * balancers, or that a name has other addresses.
 *
 * @module
 */
import type { Timed } from "../../common/clock.ts";
import type { Closing } from "./closing.ts";
import type { Link } from "./link.ts";

/** The share of the age that is added or taken away at random (gRFC A9). */
const JITTER = 0.1;

/** Drains a connection when it is old enough, and cuts it when its streams have had their grace. */
export class Age implements Timed {
  deadline = Infinity;
  readonly #link: Link;
  readonly #closing: Closing;
  #reached = false;

  /** Made by the connection. */
  constructor(link: Link, closing: Closing) {
    this.#link = link;
    this.#closing = closing;
  }

  /** The connection begins. */
  begin(): void {
    const { clock, options } = this.#link;
    clock.watch(this);
    clock.arm(this, options.maxAge * (1 + JITTER * (2 * Math.random() - 1)));
  }

  /** The connection has ended. */
  end(): void {
    this.#link.clock.unwatch(this);
  }

  onDeadline(): void {
    if (this.#reached) {
      return this.#closing.cut("streams went on beyond the grace of an old connection");
    }
    this.#reached = true;
    const { clock, options } = this.#link;
    clock.arm(this, options.maxAgeGrace);
    this.#closing.drain("max_age");
  }
}

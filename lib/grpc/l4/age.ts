/**
 * How old the connection of a tunnel's client gets (gRFC A9): one that is kept for days would never be balanced
 * anew.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import type { H2Options } from "../../http/h2/options.ts";
import type { Tunnel } from "./tunnel.ts";

/** The share of the age that is added or taken away at random (gRFC A9). */
const JITTER = 0.1;

/** Drains a tunnel when it is old enough, and cuts it when its calls have had their grace. */
export class Age implements Timed {
  deadline = Infinity;
  readonly #tunnel: Tunnel;
  readonly #clock: Clock;
  readonly #options: H2Options;
  #reached = false;

  /** Begins to watch. */
  constructor(tunnel: Tunnel, clock: Clock, options: H2Options) {
    this.#tunnel = tunnel;
    this.#clock = clock;
    this.#options = options;
    clock.watch(this);
    clock.arm(this, options.maxAge * (1 + JITTER * (2 * Math.random() - 1)));
  }

  /** Ends watching. */
  end(): void {
    this.#clock.unwatch(this);
  }

  onDeadline(): void {
    if (this.#reached) {
      return this.#tunnel.cut("streams went on beyond the grace of an old connection");
    }
    this.#reached = true;
    this.#clock.arm(this, this.#options.maxAgeGrace);
    this.#tunnel.drain("max_age");
  }
}

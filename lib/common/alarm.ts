/**
 * One wait that ends with a call.
 *
 * @module
 */
import type { Clock, Timed } from "./clock.ts";

/** Calls once when its time has come, unless it is stopped before. */
export class Alarm implements Timed {
  deadline = Infinity;
  readonly #clock: Clock;
  readonly #onDue: () => void;

  /**
   * Begins to wait.
   *
   * @param delay Milliseconds.
   * @param onDue Must not throw.
   */
  constructor(clock: Clock, delay: number, onDue: () => void) {
    this.#clock = clock;
    this.#onDue = onDue;
    clock.watch(this);
    clock.arm(this, delay);
  }

  onDeadline(): void {
    this.#clock.unwatch(this);
    this.#onDue();
  }

  /** Waits no more. */
  stop(): void {
    this.#clock.unwatch(this);
  }
}

/**
 * Time that passes only when a test says so.
 *
 * @module
 */
import { Clock } from "../../lib/common/clock.ts";

/** Milliseconds between two looks of the clock at its deadlines. */
export const RESOLUTION = 100;

/** A {@linkcode Clock} whose time stands still until it is moved. */
export class FakeClock {
  #now = 1_000_000;
  /** The clock. */
  readonly clock: Clock = new Clock({ resolution: RESOLUTION, now: () => this.#now });

  /** Lets everything happen that needs no time, then time pass, and then what follows from that. */
  async advance(ms: number): Promise<void> {
    await settle();
    this.#now += ms;
    this.clock.tick();
    await settle();
  }

  /** Lets as much time pass as a deadline armed now for `delay` milliseconds needs to be met. */
  async expire(delay: number): Promise<void> {
    await this.advance(delay + RESOLUTION);
  }
}

/** Resolves once everything that promises alone bring about has come about. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

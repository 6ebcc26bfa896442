/**
 * Takes care that pools notice how the share of those that come back grows.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import type { LiveBackend } from "../backend.ts";

/** Steps in which pools are told, over the time of the start. */
const STEPS = 10;

/** Follows the backends of one registry that are on their way to their whole share. */
export class SlowStart implements Timed {
  readonly #clock: Clock;
  readonly #step: number;
  readonly #warming = new Set<LiveBackend>();
  deadline = Infinity;

  /** @param duration How long it takes, in milliseconds. */
  constructor(clock: Clock, duration: number) {
    this.#clock = clock;
    this.#step = duration / STEPS;
  }

  /** A backend has just come back. */
  add(backend: LiveBackend): void {
    this.#warming.add(backend);
    this.#clock.watch(this);
    if (this.deadline === Infinity) this.#clock.arm(this, this.#step);
  }

  onDeadline(): void {
    for (const backend of this.#warming) {
      for (const pool of backend.pools) pool.refresh();
      if (backend.health.share === 1 || backend.state === "removed") this.#warming.delete(backend);
    }
    if (this.#warming.size > 0) this.#clock.arm(this, this.#step);
    else this.close();
  }

  /** Follows nobody any more. */
  close(): void {
    this.#warming.clear();
    this.#clock.disarm(this);
    this.#clock.unwatch(this);
  }
}

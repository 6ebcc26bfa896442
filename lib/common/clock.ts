/**
 * One coarse clock for all deadlines of the data plane: no timer per request or connection.
 *
 * @module
 */

/** Something with at most one deadline at a time. */
export interface Timed {
  /** When {@linkcode Timed.onDeadline} is due, in milliseconds of the clock; `Infinity` for never. */
  deadline: number;
  /** Called once when the deadline has passed; it may arm the next one. Must not throw. */
  onDeadline(): void;
}

/** How a {@linkcode Clock} is made. */
export interface ClockOptions {
  /** Milliseconds between two looks at the deadlines; default 100. */
  resolution?: number;
  /** A monotonic time in milliseconds; default `performance.now`, which a change of the wall clock does not move. */
  now?: () => number;
}

/**
 * Watches deadlines with one interval timer, which runs only while something is watched. Arming is
 * two stores and a comparison; the watched set is walked only when the earliest deadline may have
 * passed. A deadline fires at most one resolution late; it counts from the last tick or call of `now`.
 */
export class Clock {
  readonly #resolution: number;
  readonly #now: () => number;
  readonly #watched = new Set<Timed>();
  #earliest = Infinity;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** The time of the last tick (or of the last start), in milliseconds: at most one resolution old. */
  time: number;

  constructor(options: ClockOptions = {}) {
    this.#resolution = options.resolution ?? 100;
    this.#now = options.now ?? (() => performance.now());
    this.time = this.#now();
  }

  /** The exact time in milliseconds, for durations; deadlines that are armed next count from it. */
  now(): number {
    return this.time = this.#now();
  }

  /** How many are watched. */
  get size(): number {
    return this.#watched.size;
  }

  /** Begins to watch. */
  watch(timed: Timed): void {
    this.#watched.add(timed);
    if (timed.deadline < this.#earliest) this.#earliest = timed.deadline;
    if (this.#timer === undefined) {
      this.time = this.#now();
      this.#timer = setInterval(() => this.tick(), this.#resolution);
      // Deadlines alone must not keep a process alive; the sockets they belong to do.
      Deno.unrefTimer(this.#timer);
    }
  }

  /** Ends watching. */
  unwatch(timed: Timed): void {
    this.#watched.delete(timed);
    if (this.#watched.size === 0 && this.#timer !== undefined) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#earliest = Infinity;
    }
  }

  /** Sets the deadline of something that is watched to `delay` milliseconds from now. */
  arm(timed: Timed, delay: number): void {
    // `time` may be one resolution old; adding that much means never firing early.
    const at = this.time + delay + this.#resolution;
    timed.deadline = at;
    if (at < this.#earliest) this.#earliest = at;
  }

  /** Takes the deadline away. */
  disarm(timed: Timed): void {
    timed.deadline = Infinity;
  }

  /** Looks at the deadlines now. The timer calls it; tests with their own time call it too. */
  tick(): void {
    const now = this.time = this.#now();
    if (now < this.#earliest) return;
    this.#earliest = Infinity;
    for (const timed of this.#watched) {
      if (timed.deadline <= now) {
        timed.deadline = Infinity;
        timed.onDeadline();
      }
      if (timed.deadline < this.#earliest) this.#earliest = timed.deadline;
    }
  }
}

/**
 * One coarse clock for all deadlines of the data plane: no timer per request or connection.
 *
 * @module
 */

/** Something with at most one deadline at a time. */
export interface Timed {
  /** When {@linkcode Timed.onDeadline} is due, in milliseconds of the clock; `Infinity` for never. */
  deadline: number;
  /** Where the clock that watches it has it; nobody else's business. */
  watchedAt?: number;
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
 * Calls of {@linkcode Clock.now} that share a reading while it is held: six calls of gRPC, which take less than 0.1 ms,
 * a fifth of the finest bucket of our histograms.
 */
const SHARED = 32;

/**
 * Watches deadlines with one interval timer, which runs only while something is watched. Arming is
 * two stores and a comparison; the watched set is walked only when the earliest deadline may have
 * passed. A deadline fires at most one resolution late; it counts from the last tick or call of `now`.
 *
 * What is watched stands in an array and knows its place, for calls come and go by the ten thousand. V8 links each table
 * that a `Set` has discarded to the next one, so once one has reached the old generation, all that was ever watched
 * survives every minor collection (`tests/bench/h2_churn_bench.ts`).
 */
export class Clock {
  readonly #resolution: number;
  readonly #now: () => number;
  /** Holes only during a walk. */
  readonly #watched: (Timed | undefined)[] = [];
  #size = 0;
  #walking = false;
  #earliest = Infinity;
  /** Whether readings are shared, and for how many more calls of {@linkcode now} the last one is good. */
  #held = false;
  #left = 0;
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
    if (this.#held) {
      if (--this.#left >= 0) return this.time;
      this.#left = SHARED;
    }
    return this.time = this.#now();
  }

  /**
   * Lets calls of {@linkcode now} share readings until {@linkcode release}, which must follow in the same turn: asking
   * costs 0.1 µs, and what handles many small pieces of work at once asks six times for each of them.
   */
  hold(): void {
    this.#held = true;
    this.#left = 0;
  }

  /** Ends what {@linkcode hold} began. */
  release(): void {
    this.#held = false;
  }

  /** How many are watched. */
  get size(): number {
    return this.#size;
  }

  #watches(timed: Timed): boolean {
    const { watchedAt } = timed;
    return watchedAt !== undefined && this.#watched[watchedAt] === timed;
  }

  /** Begins to watch what no other clock watches. */
  watch(timed: Timed): void {
    if (!this.#watches(timed)) {
      timed.watchedAt = this.#watched.length;
      this.#watched.push(timed);
      this.#size++;
    }
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
    if (!this.#watches(timed)) return;
    this.#size--;
    this.#take(timed.watchedAt!);
    if (this.#size === 0 && this.#timer !== undefined) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#earliest = Infinity;
    }
  }

  #take(at: number): void {
    const watched = this.#watched;
    if (this.#walking) {
      watched[at] = undefined;
      return;
    }
    const last = watched.pop()!;
    if (at === watched.length) return;
    watched[at] = last;
    last.watchedAt = at;
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
    this.#walking = true;
    const watched = this.#watched;
    let holes = false;
    for (let i = 0; i < watched.length; i++) {
      const timed = watched[i];
      if (timed !== undefined && timed.deadline <= now) {
        timed.deadline = Infinity;
        timed.onDeadline();
      }
      if (watched[i] === undefined) holes = true;
      else if (timed!.deadline < this.#earliest) this.#earliest = timed!.deadline;
    }
    this.#walking = false;
    if (holes) this.#close();
  }

  #close(): void {
    const watched = this.#watched;
    let count = 0;
    for (const timed of watched) {
      if (timed === undefined) continue;
      timed.watchedAt = count;
      watched[count++] = timed;
    }
    watched.length = count;
  }
}

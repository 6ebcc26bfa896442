/**
 * Whether a backend is fit to be picked, as active checks and passive ejection have it.
 *
 * @module
 */

/**
 * What is thought of a backend. Backends are healthy until proved otherwise.
 *
 * - `healthy`: nothing speaks against it.
 * - `failing`: its active checks fail.
 * - `ejected`: too many requests to it have failed; it is tried again at `until`.
 * - `unreachable`: no connection to it could be opened when that was last tried.
 */
export type HealthState =
  | { readonly type: "healthy" }
  | { readonly type: "failing"; readonly reason: string }
  | { readonly type: "ejected"; readonly reason: string; readonly until: number }
  | { readonly type: "unreachable"; readonly reason: string };

/**
 * Told of each change, with what it was before; both are the same when a backend that is unfit for another reason is
 * lost or reached. Must not throw.
 */
export type HealthListener = (now: HealthState, before: HealthState) => void;

const HEALTHY: HealthState = { type: "healthy" };
/** Steps from the first share to the whole one. What depends on weights is made anew at each. */
const STEPS = 10;

/** The health of one backend. Times are in milliseconds of the clock. */
export class BackendHealth {
  readonly #now: () => number;
  readonly #slowStart: number;
  readonly #listeners = new Set<HealthListener>();
  #failing: Extract<HealthState, { type: "failing" }> | undefined;
  #ejected: Extract<HealthState, { type: "ejected" }> | undefined;
  /** Whether its ejection ends with the next connection. */
  #untilReached = false;
  #unreachable: Extract<HealthState, { type: "unreachable" }> | undefined;
  #state: HealthState = HEALTHY;
  #warmSince = -Infinity;
  /** How often it was ejected. */
  ejections = 0;

  /**
   * Healthy, with its whole share.
   *
   * @param options `slowStart` is how long it takes to its whole share after it came back; 0, at once, unless given.
   */
  constructor(options: { readonly now: () => number; readonly slowStart?: number }) {
    this.#now = options.now;
    this.#slowStart = options.slowStart ?? 0;
  }

  /** What is thought of it; failing checks count more than ejection, and that more than that it cannot be reached. */
  get state(): HealthState {
    return this.#state;
  }

  /** When its ejection ends; `undefined` when it is not ejected. Checks that fail do not end it. */
  get ejectedUntil(): number | undefined {
    return this.#ejected?.until;
  }

  /** Whether its ejection ends earlier with a connection that can be opened. */
  get ejectedUntilReached(): boolean {
    return this.#ejected !== undefined && this.#untilReached;
  }

  /** Whether nothing speaks against it. */
  get usable(): boolean {
    return this.#state === HEALTHY;
  }

  /** Whether neither checks nor ejection speak against it. */
  get sound(): boolean {
    return this.#failing === undefined && this.#ejected === undefined;
  }

  /** Whether the last connection that was to be opened to it was. */
  get reachable(): boolean {
    return this.#unreachable === undefined;
  }

  /**
   * The part of its weight that it gets, above 0 up to 1: less than 1 only for a while after it came back. It grows
   * in ten even steps.
   */
  get share(): number {
    if (this.#slowStart === 0) return 1;
    const part = (this.#now() - this.#warmSince) / this.#slowStart;
    return part >= 1 ? 1 : Math.max(Math.floor(part * STEPS), 1) / STEPS;
  }

  /** Calls `listener` after each change of the state; the result ends it. */
  onChange(listener: HealthListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Its checks fail. */
  fail(reason: string): void {
    this.#failing = { type: "failing", reason };
    this.#settle();
  }

  /** Its checks succeed. */
  pass(): void {
    this.#failing = undefined;
    this.#settle();
  }

  /**
   * It is not to be picked before `until`.
   *
   * @param untilReached Whether only connections have failed, so that one that succeeds ends it earlier.
   */
  eject(reason: string, until: number, untilReached = false): void {
    this.ejections++;
    this.#ejected = { type: "ejected", reason, until };
    this.#untilReached = untilReached;
    this.#settle();
  }

  /** No connection to it could be opened. */
  lose(reason: string): void {
    if (this.#unreachable?.reason === reason) return;
    const known = !this.reachable;
    this.#unreachable = { type: "unreachable", reason };
    this.#settle(!known);
  }

  /** A connection to it was opened. */
  reach(): void {
    if (this.reachable) return;
    this.#unreachable = undefined;
    if (this.#untilReached) this.#ejected = undefined;
    this.#settle(true);
  }

  /** It may be picked again. */
  readmit(): void {
    this.#ejected = undefined;
    this.#settle();
  }

  /**
   * It has just come, or come back, and begins with a small share.
   *
   * @param ago How long that is ago, in milliseconds. Default 0.
   */
  warmUp(ago = 0): void {
    this.#warmSince = this.#now() - ago;
  }

  /** How long ago that was, in milliseconds, while it has not its whole share. */
  get warming(): number | undefined {
    return this.share === 1 ? undefined : this.#now() - this.#warmSince;
  }

  /** @param tells Whether something has changed, even if the state has not. */
  #settle(tells = false): void {
    const before = this.#state;
    const now = this.#failing ?? this.#ejected ?? this.#unreachable ?? HEALTHY;
    if (now === before && !tells) return;
    this.#state = now;
    if (now === HEALTHY) this.warmUp();
    for (const listener of [...this.#listeners]) listener(now, before);
  }
}

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
 */
export type HealthState =
  | { readonly type: "healthy" }
  | { readonly type: "failing"; readonly reason: string }
  | { readonly type: "ejected"; readonly reason: string; readonly until: number };

/** Told of each change, with what it was before. Must not throw. */
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

  /** What is thought of it; failing checks count more than ejection. */
  get state(): HealthState {
    return this.#state;
  }

  /** When its ejection ends; `undefined` when it is not ejected. Checks that fail do not end it. */
  get ejectedUntil(): number | undefined {
    return this.#ejected?.until;
  }

  /** Whether it is fit to be picked. */
  get usable(): boolean {
    return this.#state === HEALTHY;
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

  /** It is not to be picked before `until`. */
  eject(reason: string, until: number): void {
    this.ejections++;
    this.#ejected = { type: "ejected", reason, until };
    this.#settle();
  }

  /** It may be picked again. */
  readmit(): void {
    this.#ejected = undefined;
    this.#settle();
  }

  /** It has just come, or come back, and begins with a small share. */
  warmUp(): void {
    this.#warmSince = this.#now();
  }

  #settle(): void {
    const before = this.#state;
    const now = this.#failing ?? this.#ejected ?? HEALTHY;
    if (now === before) return;
    this.#state = now;
    if (now === HEALTHY) this.warmUp();
    for (const listener of [...this.#listeners]) listener(now, before);
  }
}

/**
 * How many retries there may be, so that they do not make an outage worse.
 *
 * @module
 */

/** How large a {@linkcode RetryBudget} is. */
export interface RetryBudgetOptions {
  /** Retries for each request of the last ten seconds, from 0. Default 0.1. */
  readonly share?: number;
  /** Retries per second that are allowed however few requests there are, from 0. Default 10. */
  readonly floor?: number;
}

/** The defaults of {@linkcode RetryBudgetOptions}. */
export const DEFAULT_RETRY_BUDGET: Required<RetryBudgetOptions> = { share: 0.1, floor: 10 };

/** What is used of a budget: counts of the last ten seconds, the present one first. */
export interface RetryBudgetState {
  /** Requests. */
  readonly requests: readonly number[];
  /** Their retries. */
  readonly retries: readonly number[];
}

/** Seconds that are looked back. */
const WINDOW = 10;

/**
 * Counts requests and retries of the last ten seconds, second by second. Without a budget each request of an outage
 * is sent as often as there are attempts, just when the backends need it least (A. Brooker, "Timeouts, retries,
 * and backoff with jitter"; Finagle's `RetryBudget` has the same two parameters).
 */
export class RetryBudget {
  readonly #share: number;
  readonly #floor: number;
  readonly #requests = new Uint32Array(WINDOW);
  readonly #retries = new Uint32Array(WINDOW);
  #second = 0;
  #requestSum = 0;
  #retrySum = 0;

  /**
   * Makes a budget of which nothing is used.
   *
   * @throws {TypeError} When an option is out of its range.
   */
  constructor(options: RetryBudgetOptions = {}) {
    const { share = DEFAULT_RETRY_BUDGET.share, floor = DEFAULT_RETRY_BUDGET.floor } = options;
    for (const [name, value] of Object.entries({ share, floor })) {
      if (!(value >= 0 && Number.isFinite(value))) {
        throw new TypeError(`retry budget ${name} ${value}: a number from 0 is accepted`);
      }
    }
    this.#share = share;
    this.#floor = floor;
  }

  /** Counts a request, not its retries. `now` is in milliseconds, from 0, and never goes back. */
  request(now: number): void {
    this.#advance(now);
    this.#requests[this.#slot]!++;
    this.#requestSum++;
  }

  /** Whether a retry is left. */
  has(now: number): boolean {
    this.#advance(now);
    return this.#retrySum + 1 <= this.#requestSum * this.#share + this.#floor * WINDOW;
  }

  /** Takes one retry out of the budget; `false` when nothing is left, and the retry must not be made. */
  take(now: number): boolean {
    if (!this.has(now)) return false;
    this.#retries[this.#slot]!++;
    this.#retrySum++;
    return true;
  }

  /** What is used, for another process that goes on with it; `undefined` when nothing is. */
  collect(now: number): RetryBudgetState | undefined {
    this.#advance(now);
    if (this.#requestSum === 0 && this.#retrySum === 0) return undefined;
    const latestFirst = (counts: Uint32Array) =>
      Array.from({ length: WINDOW }, (_, ago) => counts[this.#slotOf(ago)]!);
    return { requests: latestFirst(this.#requests), retries: latestFirst(this.#retries) };
  }

  /**
   * Counts what another process has counted as well.
   *
   * @param elapsed How long ago it was collected, in milliseconds.
   */
  resume({ requests, retries }: RetryBudgetState, now: number, elapsed: number): void {
    this.#advance(now);
    const seconds = Math.floor(elapsed / 1000);
    for (let ago = seconds; ago < WINDOW; ago++) {
      const slot = this.#slotOf(ago);
      const [more = 0, again = 0] = [requests[ago - seconds], retries[ago - seconds]];
      this.#requests[slot]! += more;
      this.#retries[slot]! += again;
      this.#requestSum += more;
      this.#retrySum += again;
    }
  }

  get #slot(): number {
    return this.#slotOf(0);
  }

  #slotOf(ago: number): number {
    return (((this.#second - ago) % WINDOW) + WINDOW) % WINDOW;
  }

  #advance(now: number): void {
    const second = Math.floor(now / 1000);
    if (second <= this.#second) return;
    // Each second that has passed takes the place of the one ten seconds before it.
    for (let next = Math.max(this.#second, second - WINDOW) + 1; next <= second; next++) {
      const slot = next % WINDOW;
      this.#requestSum -= this.#requests[slot]!;
      this.#retrySum -= this.#retries[slot]!;
      this.#requests[slot] = this.#retries[slot] = 0;
    }
    this.#second = second;
  }
}

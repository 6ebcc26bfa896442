/**
 * How slowly a client may send a body.
 *
 * @module
 */
import type { Clock } from "../../common/clock.ts";

/** How slowly bodies may come. */
export interface BodyRateOptions {
  /** Bytes per second, above 0. */
  readonly rate: number;
  /** How long a body may take beside that, in milliseconds. */
  readonly grace: number;
}

/**
 * Watches one body as mod_reqtimeout of Apache does: each `rate` bytes give a second more. A client that sends a byte
 * a minute makes progress all the time, so a limit of silence alone never ends it. Only what the client is waited
 * for counts, not what its backend takes.
 */
export class BodyRate {
  readonly #options: BodyRateOptions;
  readonly #clock: Clock;
  /** Until when the client was waited for the last time. */
  #at: number;
  /** Milliseconds that the client has been waited for. */
  #spent = 0;

  /** Begins to wait for the client. */
  constructor(options: BodyRateOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#at = clock.now();
  }

  /**
   * Says that the body has gone on.
   *
   * @param waited Whether it was the client that was waited for since the last time.
   * @param bytes How much of the body has come in all.
   * @returns How long the client may be waited for now, in milliseconds; not above 0 when it is too slow.
   */
  next(waited: boolean, bytes: number): number {
    const now = this.#clock.now();
    if (waited) this.#spent += now - this.#at;
    this.#at = now;
    const { rate, grace } = this.#options;
    return grace + bytes * 1000 / rate - this.#spent;
  }
}

/**
 * Checks how slowly bodies may come.
 *
 * @throws {TypeError} When it is out of its range.
 */
export function checkBodyRate({ rate, grace }: BodyRateOptions): BodyRateOptions {
  if (!(rate > 0 && rate < Infinity)) {
    throw new TypeError(`minBodyRate ${rate}: a number of bytes per second above 0 is accepted`);
  }
  if (!(grace >= 0 && grace < Infinity)) {
    throw new TypeError(`bodyGrace ${grace}: milliseconds from 0 are accepted`);
  }
  return { rate, grace };
}

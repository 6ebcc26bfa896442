/**
 * The log of callers that management has refused.
 *
 * @module
 */
import { getLogger } from "../observe/logger.ts";

/** Refusals are logged once in so many milliseconds, with their count. */
const COMPLAINT_MS = 1000;

const log = getLogger("management");

/** Anybody who reaches a listener can be refused, so this must not fill the log. */
export class RefusalLog {
  /** Refusals that the log has not been told of. */
  #refusals = 0;
  #complained = -Infinity;

  /** Takes note of a refusal. */
  add(refusal: { readonly reason: string; readonly method: string; readonly by: string }): void {
    const now = performance.now();
    this.#refusals++;
    if (now - this.#complained < COMPLAINT_MS) return;
    log.warning("callers of management were refused", { count: this.#refusals, ...refusal });
    this.#complained = now;
    this.#refusals = 0;
  }
}

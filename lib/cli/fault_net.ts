/**
 * Keeps the program serving when something of its own fails where nobody waits for it.
 *
 * @module
 */
import { describeError } from "../common/errors.ts";
import { getLogger } from "../observe/logger.ts";
import type { Metrics } from "../observe/metrics.ts";

const log = getLogger("cli");

/**
 * Catches, for as long as it lives, what would otherwise end the process: promises that are rejected
 * with nobody waiting, and errors thrown in callbacks. Each is logged with its stack and counted in
 * {@linkcode Metrics.internalErrors}. Peers cannot bring this about on purpose: what they do wrong is a
 * refusal or a failed exchange, and ends there.
 *
 * It belongs to the program. The library leaves these events to the application that uses it.
 */
export class FaultNet implements Disposable {
  readonly #metrics: Metrics;

  /** Begins to catch. */
  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    globalThis.addEventListener("unhandledrejection", this.#onRejection);
    globalThis.addEventListener("error", this.#onError);
  }

  readonly #onRejection = (event: PromiseRejectionEvent): void => {
    event.preventDefault();
    this.#note("a promise was rejected and nobody was waiting for it", event.reason);
  };

  readonly #onError = (event: ErrorEvent): void => {
    event.preventDefault();
    this.#note("an error was thrown and nobody caught it", event.error);
  };

  #note(message: string, error: unknown): void {
    this.#metrics.internalErrors++;
    log.error(message, {
      error: describeError(error),
      stack: error instanceof Error ? error.stack ?? "" : "",
    });
  }

  /** Leaves these events to the runtime again. */
  [Symbol.dispose](): void {
    globalThis.removeEventListener("unhandledrejection", this.#onRejection);
    globalThis.removeEventListener("error", this.#onError);
  }
}

/**
 * The signals that end a program, or make it open its files again.
 *
 * @module
 */

import { EXIT } from "./command.ts";

/** SIGTERM does not exist on Windows. */
const END_SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT", "SIGBREAK"]
  : ["SIGINT", "SIGTERM"];

/**
 * Takes the signals that ask for the end: the first one is for the program to follow in order, a second
 * one ends the process at once, with exit code 1.
 */
export class EndSignals implements Disposable {
  /** Resolves with the first one. */
  readonly asked: Promise<Deno.Signal>;
  readonly #listeners: [signal: Deno.Signal, listener: () => void][];

  /**
   * Begins to listen.
   *
   * @param onHangup What to do at SIGHUP; without it the signal ends the process, as the system has it.
   */
  constructor(onHangup?: () => void) {
    const { promise, resolve } = Promise.withResolvers<Deno.Signal>();
    this.asked = promise;
    let asked = false;
    this.#listeners = END_SIGNALS.map((signal) => [
      signal,
      () => {
        if (asked) Deno.exit(EXIT.failure);
        asked = true;
        resolve(signal);
      },
    ]);
    if (onHangup !== undefined && Deno.build.os !== "windows") {
      this.#listeners.push(["SIGHUP", onHangup]);
    }
    for (const [signal, listener] of this.#listeners) Deno.addSignalListener(signal, listener);
  }

  /** Leaves the signals to the system again. */
  [Symbol.dispose](): void {
    for (const [signal, listener] of this.#listeners) Deno.removeSignalListener(signal, listener);
  }
}

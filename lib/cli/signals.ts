/**
 * The signals that end a program, make it hand over, or make it open its files again.
 *
 * @module
 */

import { EXIT } from "./command.ts";

/** SIGTERM does not exist on Windows. */
const END_SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT", "SIGBREAK"]
  : ["SIGINT", "SIGTERM"];

/** What other signals are for. */
export interface SignalActions {
  /** What to do at SIGHUP; without it the signal ends the process, as the system has it. */
  readonly onHangup?: (() => void) | undefined;
  /** What to do at SIGUSR2; the same. */
  readonly onHandover?: (() => void) | undefined;
}

/**
 * Takes the signals that ask for the end: the first one is for the program to follow in order, a second
 * one ends the process at once, with exit code 1.
 */
export class EndSignals implements Disposable {
  /** Resolves with the first one. */
  readonly asked: Promise<Deno.Signal>;
  readonly #listeners: [signal: Deno.Signal, listener: () => void][];
  #ending = false;

  /** Begins to listen. */
  constructor({ onHangup, onHandover }: SignalActions = {}) {
    const { promise, resolve } = Promise.withResolvers<Deno.Signal>();
    this.asked = promise;
    this.#listeners = END_SIGNALS.map((signal) => [
      signal,
      () => {
        if (this.#ending) Deno.exit(EXIT.failure);
        this.#ending = true;
        resolve(signal);
      },
    ]);
    if (Deno.build.os !== "windows") {
      if (onHangup !== undefined) this.#listeners.push(["SIGHUP", onHangup]);
      if (onHandover !== undefined) this.#listeners.push(["SIGUSR2", onHandover]);
    }
    for (const [signal, listener] of this.#listeners) Deno.addSignalListener(signal, listener);
  }

  /** The program ends by itself: the first signal from now on is the second one. */
  expectEnd(): void {
    this.#ending = true;
  }

  /** Leaves the signals to the system again. */
  [Symbol.dispose](): void {
    for (const [signal, listener] of this.#listeners) Deno.removeSignalListener(signal, listener);
  }
}

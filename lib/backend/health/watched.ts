/**
 * A backend that says how it is on a stream of its own.
 *
 * @module
 */
import type { Timed } from "../../common/clock.ts";
import { getLogger } from "../../observe/logger.ts";
import type { LiveBackend } from "../backend.ts";
import { Checked, type Checker, type CheckerParts, jitter } from "./checked.ts";
import type { Probe, Watch, WatchEnd } from "./probe.ts";

/** What a {@linkcode Watched} is made of. */
export interface WatchedParts extends CheckerParts {
  /** Opens a stream. */
  readonly watch: Watch;
  /** Asks a backend that has no such streams. */
  readonly probe: Probe;
}

const log = getLogger("health");

/**
 * Keeps a stream open. One that breaks is a failed check, and the next is opened after the interval of checks that
 * fail: who cannot be listened to is as good as unknown.
 */
export class Watched implements Checker, Timed {
  readonly #backend: LiveBackend;
  readonly #parts: WatchedParts;
  #stream: { readonly abort: AbortController; readonly end: Promise<void> } | undefined;
  /** Asks in its place while the backend has no such streams. */
  #asked: Checked | undefined;
  #told = false;
  #closed = false;
  deadline = Infinity;

  /** Opens the first stream at once. */
  constructor(backend: LiveBackend, parts: WatchedParts) {
    this.#backend = backend;
    this.#parts = parts;
    parts.clock.watch(this);
    this.#open();
  }

  #open(): void {
    const { watch, clock, settings, random, verdict } = this.#parts;
    const abort = new AbortController();
    const opened = clock.now();
    const end = watch(this.#backend, {
      timeout: settings.timeout,
      // What the backend says itself holds, good or bad: only answers that contradict it are in a hurry.
      silence: () => jitter(verdict.disputed ? settings.downInterval : settings.interval, random),
      signal: abort.signal,
      onStatus: (reason) => verdict.decide(reason),
      onCheck: (reason) => verdict.count(reason),
    }).then((end) => this.#onEnd(end, opened));
    this.#stream = { abort, end };
  }

  onDeadline(): void {
    this.#open();
  }

  #onEnd(end: WatchEnd, opened: number): void {
    this.#stream = undefined;
    if (this.#closed) return;
    switch (end.type) {
      case "left":
        return this.#openLater(opened);
      case "broken":
        this.#parts.verdict.count(end.reason);
        return this.#openLater();
      case "unimplemented":
        return this.#ask();
      case "prevented":
        return this.#openLater();
    }
  }

  /** @param since When the last one was opened, if it is not the end that counts. */
  #openLater(since?: number): void {
    const { clock, random, settings: { downInterval } } = this.#parts;
    const now = clock.now();
    const wait = jitter(downInterval, random) + (since ?? now) - now;
    if (wait > 0) clock.arm(this, wait);
    else this.#open();
  }

  /** Until a check fails: who comes back then may have been replaced by one that has streams. */
  #ask(): void {
    if (!this.#told) {
      this.#told = true;
      log.info("a backend cannot be watched; it is asked instead", { backend: this.#backend.addr });
    }
    this.#asked = new Checked(this.#backend, {
      ...this.#parts,
      onFailed: () => {
        void this.#asked?.close();
        this.#asked = undefined;
        this.#openLater();
      },
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#parts.clock.unwatch(this);
    this.#stream?.abort.abort();
    await Promise.all([this.#stream?.end, this.#asked?.close()]);
  }
}

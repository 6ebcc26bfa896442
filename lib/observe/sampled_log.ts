/**
 * Messages of the log that may come once for every request: while they do, one a second for each kind is enough.
 *
 * @module
 */
import type { LogFields } from "./log_format.ts";
import { beforeFlush, type Logger } from "./logger.ts";
import { Sampler } from "./sampler.ts";

/** How long messages of one kind are counted together, in milliseconds. */
const WINDOW_MS = 1000;
/** How many kinds are told apart within that time. */
const MAX_KINDS = 256;

/** What is said. */
export interface SampledMessage {
  /** The fixed sentence. */
  readonly message: string;
  /** The fields by which kinds are told apart. */
  readonly by: readonly string[];
}

/**
 * A warning of which the first of each kind is written, and a second later how many more there were. To be made once
 * for each message, not for each connection.
 */
export class SampledLog {
  readonly #log: Logger;
  readonly #message: string;
  readonly #by: readonly string[];
  readonly #sampler = new Sampler<LogFields>({ window: WINDOW_MS, maxKinds: MAX_KINDS });
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Nothing has been said yet. */
  constructor(log: Logger, { message, by }: SampledMessage) {
    this.#log = log;
    this.#message = message;
    this.#by = by;
    beforeFlush(() => this.#tell(Infinity));
  }

  /** Writes the message, or counts it. */
  warning(fields: LogFields): void {
    if (!this.#log.isEnabled("warning")) return;
    const now = performance.now();
    this.#tell(now);
    const kind = JSON.stringify(this.#by.map((name) => fields[name] ?? null));
    if (this.#sampler.admit(kind, { event: fields, now })) {
      this.#log.warning(this.#message, fields);
    } else if (this.#timer === undefined) this.#wait();
  }

  #wait(): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#tell(performance.now());
      if (this.#sampler.size > 0) this.#wait();
    }, WINDOW_MS);
    Deno.unrefTimer(this.#timer);
  }

  #tell(now: number): void {
    for (const { first, count } of this.#sampler.take(now)) {
      const shared = first === undefined
        ? {}
        : Object.fromEntries(this.#by.map((name) => [name, first[name]]));
      this.#log.warning(`${this.#message} (more of the same)`, {
        ...shared,
        more: count,
        seconds: WINDOW_MS / 1000,
      });
    }
    if (this.#sampler.size > 0 || this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

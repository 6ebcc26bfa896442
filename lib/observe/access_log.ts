/**
 * The access log: takes records on the hot path, formats and writes them later, in batches. It never
 * makes an exchange wait and never fails one: a sink that is too slow or broken costs log lines only.
 *
 * @module
 */

import { describeError } from "../common/errors.ts";
import { type AccessRecord, formatCombined, formatJson } from "./access_format.ts";
import type { ByteSink } from "./byte_sink.ts";
import { getLogger } from "./logger.ts";

export {
  type AccessRecord,
  formatCombined,
  formatJson,
  type GrpcAccessRecord,
} from "./access_format.ts";
export { type ByteSink, FileSink, fileSink, stdoutSink } from "./byte_sink.ts";

/** What {@linkcode AccessLog} needs. */
export interface AccessLogOptions {
  /** `json` for one object per line, `combined` for Apache's format. */
  readonly format: "json" | "combined";
  /** Where the lines go. The log calls it one write at a time and closes it at the end. */
  readonly sink: ByteSink;
  /** Most bytes that wait for the sink, 8 MiB unless given; records on top are dropped. */
  readonly maxQueued?: number;
  /**
   * A clock in milliseconds that never goes back, for the limit on complaints; `performance.now`
   * unless given.
   */
  readonly now?: () => number;
}

const DEFAULT_MAX_QUEUED = 8 * 1024 * 1024;
/** Records wait this long for others to be written with. */
const FLUSH_MS = 50;
/** This many bytes are written without waiting for more. */
const BATCH_BYTES = 64 * 1024;
/** What a line takes beside its long fields: keys, numbers, addresses. */
const LINE_OVERHEAD = 384;
const COMPLAINT_MS = 60_000;

const log = getLogger("access_log");

/** Says yes at most once in {@linkcode COMPLAINT_MS}. */
class Limit {
  readonly #now: () => number;
  #last = -Infinity;

  constructor(now: () => number) {
    this.#now = now;
  }

  allows(): boolean {
    const now = this.#now();
    if (now - this.#last < COMPLAINT_MS) return false;
    this.#last = now;
    return true;
  }
}

/** Writes records to a sink in the background. */
export class AccessLog {
  readonly #format: (record: AccessRecord) => string;
  readonly #sink: ByteSink;
  readonly #maxQueued: number;
  readonly #encoder = new TextEncoder();
  readonly #overflowLimit: Limit;
  readonly #failureLimit: Limit;
  /** Records that are not formatted yet, and their estimated size. */
  #fresh: AccessRecord[] = [];
  #freshBytes = 0;
  /** Formatted bytes that the sink has not taken yet. */
  #encodedBytes = 0;
  #written: Promise<void> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #urgent = false;
  #closed: Promise<void> | undefined;
  #dropped = 0;

  /** Makes a log that owns the sink. */
  constructor(options: AccessLogOptions) {
    this.#format = options.format === "json" ? formatJson : formatCombined;
    this.#sink = options.sink;
    this.#maxQueued = options.maxQueued ?? DEFAULT_MAX_QUEUED;
    const now = options.now ?? (() => performance.now());
    this.#overflowLimit = new Limit(now);
    this.#failureLimit = new Limit(now);
  }

  /** Records that were not written: too many at a time, a failing sink, or after the end. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes a record, which must not change any more. Never throws and never waits. */
  write(record: AccessRecord): void {
    const bytes = LINE_OVERHEAD + record.target.length + record.userAgent.length +
      record.referer.length + record.host.length + (record.grpc?.message.length ?? 0);
    if (
      this.#closed !== undefined ||
      this.#freshBytes + this.#encodedBytes + bytes > this.#maxQueued
    ) {
      this.#dropped++;
      if (this.#closed === undefined && this.#overflowLimit.allows()) {
        log.warning("access log records are dropped, because the sink is too slow", {
          dropped: this.#dropped,
          max_queued_bytes: this.#maxQueued,
        });
      }
      return;
    }
    this.#fresh.push(record);
    this.#freshBytes += bytes;
    if (this.#freshBytes < BATCH_BYTES) {
      if (this.#timer === undefined) this.#arm(FLUSH_MS);
    } else if (!this.#urgent) {
      // Not at once: this is the turn of an exchange.
      this.#disarm();
      this.#arm(0);
      this.#urgent = true;
    }
  }

  /** Resolves once every record taken so far is written or dropped. Never rejects. */
  flush(): Promise<void> {
    this.#disarm();
    if (this.#fresh.length > 0) {
      // Formatted now even if the sink is busy: records keep the whole head of their request alive,
      // which may be far larger than their line.
      const { bytes, count } = this.#encodeFresh();
      this.#written = this.#written.then(() => this.#hand(bytes, count));
    }
    return this.#written;
  }

  /**
   * Writes what is left, then closes the sink. Records that come later are dropped. It waits for the
   * sink however long that takes; race it against a deadline where one is needed. Never rejects.
   */
  close(): Promise<void> {
    if (this.#closed === undefined) {
      this.#closed = this.flush().then(() => this.#sink.close()).catch((error) => {
        log.warning("the access log could not be closed", { error: describeError(error) });
      });
    }
    return this.#closed;
  }

  #encodeFresh(): { bytes: Uint8Array; count: number } {
    let text = "";
    let count = 0;
    for (const record of this.#fresh) {
      try {
        text += `${this.#format(record)}\n`;
        count++;
      } catch (error) {
        this.#fail("an access log record could not be formatted", error, 1);
      }
    }
    const bytes = this.#encoder.encode(text);
    this.#fresh = [];
    this.#freshBytes = 0;
    this.#encodedBytes += bytes.length;
    return { bytes, count };
  }

  async #hand(bytes: Uint8Array, count: number): Promise<void> {
    try {
      await this.#sink.write(bytes);
    } catch (error) {
      this.#fail("the access log could not be written", error, count);
    } finally {
      this.#encodedBytes -= bytes.length;
    }
  }

  #fail(message: string, error: unknown, count: number): void {
    this.#dropped += count;
    if (this.#failureLimit.allows()) {
      log.warning(message, { error: describeError(error), dropped: this.#dropped });
    }
  }

  #arm(delay: number): void {
    const timer = setTimeout(() => void this.flush(), delay);
    // A log that nobody closed must not keep the process alive.
    Deno.unrefTimer(timer);
    this.#timer = timer;
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#urgent = false;
  }
}

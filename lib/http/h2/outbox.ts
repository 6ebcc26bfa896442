/**
 * What a connection has to say: frames are gathered and what one turn of the event loop frames leaves in
 * one write.
 *
 * @module
 */
import type { Duplex } from "../../common/duplex.ts";
import { ByteWriter } from "../h1/writer.ts";

/** Bytes of the two buffers while little is sent. */
const SMALL_BUFFER = 4 * 1024;
/** Bytes that wait to be written before streams are made to wait in their own queues. */
const HIGH_WATER = 256 * 1024;

/** Told how writing goes on. Nothing of it may throw. */
export interface OutboxWatcher {
  /** A write begins, or goes on behind a part that was taken. */
  onWriteBegun(): void;
  /** It has ended; what is framed now leaves in the next one. */
  onWritten(): void;
}

/** The frames that wait, and the write that is under way: one at a time. */
export class Outbox {
  /** Where frames are put; call {@linkcode schedule} behind it. It changes with every write. */
  writer: ByteWriter = new ByteWriter(new Uint8Array(SMALL_BUFFER));
  /** All bytes written. */
  bytesWritten = 0;
  readonly #duplex: Duplex;
  readonly #watcher: OutboxWatcher;
  #spare: Uint8Array = new Uint8Array(SMALL_BUFFER);
  /** What of the write under way has not been taken; `undefined` while there is none. */
  #leaving: Uint8Array | undefined;
  #flushDue = false;
  #waiting: (() => void) | undefined;

  /** Makes an empty outbox. */
  constructor(duplex: Duplex, watcher: OutboxWatcher) {
    this.#duplex = duplex;
    this.#watcher = watcher;
  }

  /** Whether a write is under way. */
  get writing(): boolean {
    return this.#leaving !== undefined;
  }

  /** Whether so much waits that content must wait elsewhere. */
  get full(): boolean {
    return this.writer.at > HIGH_WATER;
  }

  /** Lets what is framed leave at the end of this turn, or behind the write that is under way. */
  schedule(): void {
    if (this.#flushDue || this.#leaving !== undefined) return;
    this.#flushDue = true;
    queueMicrotask(this.#onTurnEnd);
  }

  readonly #onTurnEnd = (): void => {
    this.#flushDue = false;
    this.flush();
  };

  /** Lets what is framed leave now, unless a write is under way. */
  flush(): void {
    const out = this.writer;
    if (this.#leaving !== undefined || out.at === 0) return;
    const bytes = this.#leaving = out.written;
    this.writer = new ByteWriter(this.#spare);
    this.#spare = out.buffer;
    this.#watcher.onWriteBegun();
    this.#duplex.write(bytes).then(this.#onTaken, this.#onFailed);
  }

  readonly #onTaken = (count: number): void => {
    this.bytesWritten += count;
    const bytes = this.#leaving!;
    if (count < bytes.length) {
      const rest = this.#leaving = bytes.subarray(count);
      this.#watcher.onWriteBegun();
      this.#duplex.write(rest).then(this.#onTaken, this.#onFailed);
      return;
    }
    this.#leaving = undefined;
    if (this.#spare.length > HIGH_WATER) this.#spare = new Uint8Array(SMALL_BUFFER);
    this.#watcher.onWritten();
    this.flush();
    this.#waiting?.();
  };

  readonly #onFailed = (): void => {
    // The reader sees the same failure and ends the connection.
    this.#leaving = undefined;
    this.#duplex.close();
    this.#waiting?.();
  };

  /** Resolves when all that was framed has been written, or nothing more can be. */
  async finish(): Promise<void> {
    this.flush();
    while (this.#leaving !== undefined) {
      await new Promise<void>((resolve) => this.#waiting = resolve);
    }
  }
}

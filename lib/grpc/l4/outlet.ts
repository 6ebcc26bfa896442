/**
 * The writing half of one side of a tunnel. Whole frames only, from two sources: runs of frames as they were
 * read from the other side, and frames of our own.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import type { Duplex } from "../../common/duplex.ts";
import { ByteWriter } from "../../http/h1/writer.ts";

/** Bytes of each buffer for frames of our own while there are few. */
const SMALL_BUFFER = 256;
/** A buffer that has grown larger than this is not kept. */
const KEEP_BUFFER = 16 * 1024;
/** Bytes that wait before the answers of own services must wait elsewhere. */
const HIGH_WATER = 256 * 1024;

/** What an {@linkcode Outlet} is made of. */
export interface OutletParts {
  /** What is written to; closed when a write fails or takes too long, which its reader sees. */
  readonly duplex: Duplex;
  /** For the deadline. */
  readonly clock: Clock;
  /** How long a write may take, in milliseconds. */
  readonly timeout: number;
  /** Called when a write has ended. Must not throw. */
  readonly onWritten: () => void;
}

/**
 * Sends frames in the order in which they are given. A run that finds nothing waiting is written from the
 * buffer that it was read into; else it is copied behind what waits.
 */
export class Outlet implements Timed {
  deadline = Infinity;
  /** All bytes written. */
  bytesWritten = 0;
  /** Whether a write has taken too long. */
  expired = false;
  /** Where frames of our own are put; call {@linkcode schedule} behind it. It changes with every write. */
  writer: ByteWriter = new ByteWriter(new Uint8Array(SMALL_BUFFER));
  readonly #parts: OutletParts;
  #spare: Uint8Array = new Uint8Array(SMALL_BUFFER);
  /** What of the write under way has not been taken; `undefined` while there is none. */
  #leaving: Uint8Array | undefined;
  #flushDue = false;
  /** Resolves when what waits now has been written. */
  #next: PromiseWithResolvers<void> | undefined;
  #failed = false;

  /** Makes an outlet with nothing to say. */
  constructor(parts: OutletParts) {
    this.#parts = parts;
    parts.clock.watch(this);
  }

  /** Whether a write is under way. */
  get writing(): boolean {
    return this.#leaving !== undefined;
  }

  /** Whether so much waits that content of our own must wait elsewhere. */
  get full(): boolean {
    return this.writer.at > HIGH_WATER;
  }

  /**
   * Sends the frames `bytes[start..end)` behind what waits. The bytes must stay as they are until the
   * promise resolves, which it does when the socket has taken them, or can take nothing any more.
   */
  forward(bytes: Uint8Array, start: number, end: number): Promise<void> {
    if (this.#leaving === undefined && this.writer.at === 0 && !this.#failed) {
      return this.#send(bytes.subarray(start, end));
    }
    this.writer.range(bytes, start, end);
    return this.flushed();
  }

  /** Sends what waits; resolves when it has been written. */
  flushed(): Promise<void> {
    if (this.#leaving === undefined) return this.#flush();
    return (this.#next ??= Promise.withResolvers()).promise;
  }

  /** Lets what waits leave at the end of this turn, or behind the write that is under way. */
  schedule(): void {
    if (this.#flushDue || this.#leaving !== undefined) return;
    this.#flushDue = true;
    queueMicrotask(this.#onTurnEnd);
  }

  readonly #onTurnEnd = (): void => {
    this.#flushDue = false;
    if (this.#leaving === undefined) void this.#flush();
  };

  #flush(): Promise<void> {
    const next = this.#next;
    this.#next = undefined;
    const out = this.writer;
    if (this.#failed) out.at = 0;
    if (out.at === 0) {
      next?.resolve();
      return DONE;
    }
    const bytes = out.written;
    this.writer = new ByteWriter(this.#spare);
    this.#spare = out.buffer.length > KEEP_BUFFER ? new Uint8Array(SMALL_BUFFER) : out.buffer;
    const sent = this.#send(bytes);
    if (next !== undefined) void sent.then(next.resolve);
    return sent;
  }

  #send(bytes: Uint8Array): Promise<void> {
    const { duplex, clock, timeout } = this.#parts;
    this.#leaving = bytes;
    clock.arm(this, timeout);
    return duplex.write(bytes).then(this.#onTaken, this.#onFailed);
  }

  readonly #onTaken = (count: number): Promise<void> | undefined => {
    this.bytesWritten += count;
    const bytes = this.#leaving!;
    if (count < bytes.length) return this.#send(bytes.subarray(count));
    this.#onEnded();
    return undefined;
  };

  readonly #onFailed = (): void => {
    // The reader sees the same failure and ends the tunnel.
    this.#failed = true;
    this.#parts.duplex.close();
    this.#onEnded();
  };

  #onEnded(): void {
    this.#leaving = undefined;
    this.#parts.clock.disarm(this);
    this.#parts.onWritten();
    if (this.writer.at > 0 || this.#next !== undefined) void this.#flush();
  }

  onDeadline(): void {
    this.expired = true;
    this.#parts.duplex.close();
  }

  /** Resolves when all that was given has been written, or nothing more can be. */
  async finish(): Promise<void> {
    while (this.#leaving !== undefined || this.writer.at > 0) await this.flushed();
  }

  /** Takes nothing any more, and no longer looks at the clock. */
  end(): void {
    this.#failed = true;
    this.#parts.clock.unwatch(this);
  }
}

const DONE: Promise<void> = Promise.resolve();

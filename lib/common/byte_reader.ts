/**
 * The reading half of a {@linkcode Duplex} with a buffer, one read at a time, and reading ahead.
 *
 * @module
 */
import type { Duplex } from "./duplex.ts";
import { bodyBuffers } from "./buffer_pool.ts";

/** How the reading ended. */
export type ReadEnd =
  /** The peer closed its side in order. */
  | { readonly type: "eof" }
  /** The read failed: a reset, or the socket was closed under it. */
  | { readonly type: "error"; readonly error: unknown };

/** Told when a read settles that nobody waits for. */
export interface ReadWatcher {
  /** Bytes came, or the end; look at the reader. Must not throw. */
  onReadSettled(reader: ByteReader): void;
}

const EOF: ReadEnd = { type: "eof" };
const NO_MORE: Promise<boolean> = Promise.resolve(false);

/**
 * Bytes `buffer[start..end)` have been read and not consumed. At most one read is pending; it owns
 * the part of the buffer behind `end`. Reads never reject: how it ended stands in `ended`.
 */
export class ByteReader {
  readonly #duplex: Duplex;
  readonly #idleSize: number;
  readonly #keepsIdle: boolean;
  /** The small buffer while a larger one is used, if it is kept. */
  #idleBuffer: Uint8Array | undefined;
  #pending: Promise<boolean> | undefined;
  /** The storage. */
  buffer: Uint8Array;
  /** Index of the first byte that is not consumed. */
  start = 0;
  /** Index behind the last byte that was read. */
  end = 0;
  /** How the reading ended, if it has. */
  ended: ReadEnd | undefined;
  /** All bytes read so far. */
  bytesRead = 0;
  /** Told when a pending read settles. */
  watcher: ReadWatcher | undefined;

  /**
   * @param duplex What is read from.
   * @param idleSize Bytes of the buffer while nothing big is moved.
   * @param keepsIdle Whether that buffer is kept while a larger one is used, for connections that go to and fro: making
   * one costs 0.4 to 2 µs. Whoever keeps views of `buffer` must not look at them once more has been read. Default false.
   */
  constructor(duplex: Duplex, idleSize: number, keepsIdle = false) {
    this.#duplex = duplex;
    this.#idleSize = idleSize;
    this.#keepsIdle = keepsIdle;
    this.buffer = new Uint8Array(idleSize);
  }

  /** Bytes that are there and not consumed. */
  get available(): number {
    return this.end - this.start;
  }

  /** Whether a read is pending. */
  get reading(): boolean {
    return this.#pending !== undefined;
  }

  /**
   * Reads more behind what is there and resolves to whether bytes came; `false` means that the
   * reading has ended. The pending read is joined if there is one. The buffer must not be full.
   */
  fill(): Promise<boolean> {
    if (this.#pending !== undefined) return this.#pending;
    if (this.ended !== undefined) return NO_MORE;
    if (this.start === this.end) this.start = this.end = 0;
    else if (this.end === this.buffer.length) {
      this.buffer.copyWithin(0, this.start, this.end);
      this.end -= this.start;
      this.start = 0;
    }
    // Callbacks instead of an async function: an idle connection holds this for as long as it lives,
    // and a suspended function takes 250 bytes more.
    return this.#pending = this.#duplex
      .read(this.end === 0 ? this.buffer : this.buffer.subarray(this.end))
      .then(this.#onRead, this.#onError);
  }

  readonly #onRead = (count: number | null): boolean => {
    if (count === null || count === 0) return this.#settle(EOF);
    this.end += count;
    this.bytesRead += count;
    this.#pending = undefined;
    this.watcher?.onReadSettled(this);
    return true;
  };

  readonly #onError = (error: unknown): boolean => this.#settle({ type: "error", error });

  #settle(ended: ReadEnd): boolean {
    this.ended = ended;
    this.#pending = undefined;
    this.watcher?.onReadSettled(this);
    return false;
  }

  /** Whether {@linkcode fill} needs a larger buffer first: see {@linkcode grow}. */
  get full(): boolean {
    return this.end - this.start === this.buffer.length;
  }

  /** Makes room for at least `size` bytes in one piece; no read may be pending. */
  grow(size: number): void {
    if (this.buffer.length >= size) return;
    this.#move(size === bodyBuffers.size ? bodyBuffers.acquire() : new Uint8Array(size));
  }

  /**
   * Goes back to the small buffer if what is left fits into it and no read is pending, so that an
   * idle connection holds little.
   */
  shrink(): void {
    if (this.buffer.length === this.#idleSize || this.#pending !== undefined) return;
    if (this.available > this.#idleSize) return;
    this.#move(this.#idleBuffer ?? new Uint8Array(this.#idleSize));
    this.#idleBuffer = undefined;
  }

  /** Gives the storage back for good; no read may be pending. */
  dispose(): void {
    if (this.#pending !== undefined) return;
    bodyBuffers.release(this.buffer);
    this.buffer = EMPTY;
    this.#idleBuffer = undefined;
    this.start = this.end = 0;
  }

  #move(to: Uint8Array): void {
    if (this.#pending !== undefined) throw new Error("the buffer belongs to a pending read");
    const { buffer, start, end } = this;
    if (start !== end) to.set(buffer.subarray(start, end));
    this.start = 0;
    this.end = end - start;
    this.buffer = to;
    if (this.#keepsIdle && buffer.length === this.#idleSize) this.#idleBuffer = buffer;
    else bodyBuffers.release(buffer);
  }
}

const EMPTY = new Uint8Array(0);

/**
 * Buffers that are lent for the time of one use, so that busy connections do not allocate and idle
 * ones hold nothing.
 *
 * @module
 */

/** Lends buffers of one size. A buffer has one owner at a time; its content is whatever it was. */
export class BufferPool {
  readonly #free: Uint8Array[] = [];
  readonly #keep: number;
  /** The size of each buffer in bytes. */
  readonly size: number;

  /**
   * @param size Bytes of each buffer.
   * @param keep How many unused buffers are kept; what comes back above that is left to the garbage collector.
   */
  constructor(size: number, keep: number) {
    this.size = size;
    this.#keep = keep;
  }

  /** Lends a buffer. */
  acquire(): Uint8Array {
    return this.#free.pop() ?? new Uint8Array(this.size);
  }

  /** Takes a buffer back; it must come from {@linkcode acquire} and have no pending read or write. */
  release(buffer: Uint8Array): void {
    if (buffer.length === this.size && this.#free.length < this.#keep) this.#free.push(buffer);
  }
}

/** 64 KiB: what a connection reads into while it moves a body. */
export const bodyBuffers = new BufferPool(64 * 1024, 64);
/** 16 KiB: heads, and small bodies behind them, on their way out. */
export const headBuffers = new BufferPool(16 * 1024, 256);

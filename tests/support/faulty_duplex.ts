/**
 * A socket in memory that can be slow, break, and tell what was done to it.
 *
 * @module
 */
import type { Duplex, PeerAddress } from "../../lib/common/duplex.ts";

/** How a {@linkcode FaultyDuplex} behaves. */
export interface Faults {
  /** The most bytes that one read gives. */
  readonly maxRead?: number;
  /** The most bytes that one write takes. */
  readonly maxWrite?: number;
}

/** One end of a memory pair, as the code under test holds it. */
export class FaultyDuplex implements Duplex {
  readonly #inner: Duplex;
  readonly #faults: Faults;
  #failure: Error | undefined;
  readonly #pending = new Set<(error: Error) => void>();
  /** How often it was read from. */
  reads = 0;
  /** Whether it was closed. */
  closed = false;
  /** Whether it was told that nothing more will be written. */
  ended = false;
  /** Whether the peer takes what the transport has, as far as that can tell. */
  taking = false;

  /** Wraps an end. */
  constructor(inner: Duplex, faults: Faults = {}) {
    this.#inner = inner;
    this.#faults = faults;
  }

  get remote(): PeerAddress {
    return this.#inner.remote;
  }

  get local(): PeerAddress {
    return this.#inner.local;
  }

  read(into: Uint8Array): Promise<number | null> {
    const { maxRead } = this.#faults;
    this.reads++;
    return this.#guard(() =>
      this.#inner.read(maxRead === undefined ? into : into.subarray(0, maxRead))
    );
  }

  write(bytes: Uint8Array): Promise<number> {
    const { maxWrite } = this.#faults;
    return this.#guard(() =>
      this.#inner.write(maxWrite === undefined ? bytes : bytes.subarray(0, maxWrite))
    );
  }

  isTaking(): boolean {
    return this.taking;
  }

  #guard<T>(action: () => Promise<T>): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#pending.add(reject);
      action().then(resolve, reject).finally(() => this.#pending.delete(reject));
    });
  }

  closeWrite(): Promise<void> {
    this.ended = true;
    return this.#failure === undefined ? this.#inner.closeWrite() : Promise.reject(this.#failure);
  }

  close(): void {
    this.closed = true;
    this.#inner.close();
  }

  /** Acts as if the peer had reset the connection: what is pending fails, and all that follows. */
  reset(): void {
    this.#failure = new Deno.errors.ConnectionReset("connection reset by peer (os error 104)");
    for (const reject of this.#pending) reject(this.#failure);
    this.#inner.close();
  }
}

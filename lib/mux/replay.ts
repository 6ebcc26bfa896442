/**
 * Gives bytes that were read to look at them to whoever takes the connection over.
 *
 * @module
 */
import type { Duplex, PeerAddress } from "../common/duplex.ts";

/** A {@linkcode Duplex} whose first reads return bytes that were read before. */
export class ReplayDuplex implements Duplex {
  readonly #duplex: Duplex;
  #first: Uint8Array;

  /** `first` is returned before anything that `duplex` reads. */
  constructor(duplex: Duplex, first: Uint8Array) {
    this.#duplex = duplex;
    this.#first = first;
  }

  get remote(): PeerAddress {
    return this.#duplex.remote;
  }

  get local(): PeerAddress {
    return this.#duplex.local;
  }

  read(into: Uint8Array): Promise<number | null> {
    const count = Math.min(into.length, this.#first.length);
    if (count === 0) return this.#duplex.read(into);
    into.set(this.#first.subarray(0, count));
    this.#first = this.#first.subarray(count);
    return Promise.resolve(count);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#duplex.write(bytes);
  }

  closeWrite(): Promise<void> {
    return this.#duplex.closeWrite();
  }

  close(): void {
    this.#duplex.close();
  }

  isTaking(): boolean {
    return this.#duplex.isTaking?.() === true;
  }
}

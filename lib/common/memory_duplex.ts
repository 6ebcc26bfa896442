/**
 * Two connected {@linkcode Duplex} ends in the memory of the process, for what speaks a protocol without
 * a socket.
 *
 * @module
 */
import type { Duplex, PeerAddress } from "./duplex.ts";

/** One direction. A write waits until a read takes its bytes, so nothing is buffered. */
class Pipe {
  #reader:
    | { into: Uint8Array; resolve(count: number | null): void; reject(e: Error): void }
    | undefined;
  #writer:
    | { bytes: Uint8Array; offset: number; resolve(count: number): void; reject(e: Error): void }
    | undefined;
  #ended = false;
  #broken = false;

  read(into: Uint8Array): Promise<number | null> {
    const writer = this.#writer;
    if (this.#broken) return Promise.reject(new Deno.errors.BadResource("the duplex is closed"));
    if (writer !== undefined) {
      const count = copy(writer.bytes, writer.offset, into);
      writer.offset += count;
      if (writer.offset === writer.bytes.length) {
        this.#writer = undefined;
        writer.resolve(writer.bytes.length);
      }
      return Promise.resolve(count);
    }
    if (this.#ended) return Promise.resolve(null);
    if (this.#reader !== undefined) return Promise.reject(new TypeError("a read is pending"));
    return new Promise((resolve, reject) => this.#reader = { into, resolve, reject });
  }

  write(bytes: Uint8Array): Promise<number> {
    if (this.#broken || this.#ended) {
      return Promise.reject(new Deno.errors.BrokenPipe("the peer has closed"));
    }
    if (this.#writer !== undefined) return Promise.reject(new TypeError("a write is pending"));
    if (bytes.length === 0) return Promise.resolve(0);
    let offset = 0;
    const reader = this.#reader;
    if (reader !== undefined) {
      this.#reader = undefined;
      offset = copy(bytes, 0, reader.into);
      reader.resolve(offset);
      if (offset === bytes.length) return Promise.resolve(offset);
    }
    return new Promise((resolve, reject) => this.#writer = { bytes, offset, resolve, reject });
  }

  /** Nothing more will be written. */
  end(): void {
    this.#ended = true;
    if (this.#writer !== undefined) return;
    this.#reader?.resolve(null);
    this.#reader = undefined;
  }

  /** Nothing more will be written, and what is being written is not, as far as nobody has read it. */
  abandon(): void {
    this.#writer?.reject(new Deno.errors.Interrupted("the duplex was closed"));
    this.#writer = undefined;
    this.end();
  }

  /** Nothing more will be read. */
  break(): void {
    this.#broken = true;
    this.#writer?.reject(new Deno.errors.BrokenPipe("the peer has closed"));
    this.#writer = undefined;
    this.#reader?.reject(new Deno.errors.Interrupted("the duplex was closed"));
    this.#reader = undefined;
  }
}

function copy(from: Uint8Array, offset: number, into: Uint8Array): number {
  const count = Math.min(from.length - offset, into.length);
  into.set(from.subarray(offset, offset + count));
  return count;
}

class MemoryDuplex implements Duplex {
  readonly #incoming: Pipe;
  readonly #outgoing: Pipe;
  readonly remote: PeerAddress;
  readonly local: PeerAddress;

  constructor(incoming: Pipe, outgoing: Pipe, remote: PeerAddress, local: PeerAddress) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.remote = remote;
    this.local = local;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#incoming.read(into);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#outgoing.write(bytes);
  }

  closeWrite(): Promise<void> {
    this.#outgoing.end();
    return Promise.resolve();
  }

  close(): void {
    this.#outgoing.abandon();
    this.#incoming.break();
  }
}

const MEMORY: PeerAddress = { hostname: "memory", port: 0 };

/**
 * Two ends: what is written to one is read from the other.
 *
 * @param first What the second end sees as its peer.
 * @param second What the first end sees as its peer.
 */
export function makeMemoryPair(
  first: PeerAddress = MEMORY,
  second: PeerAddress = MEMORY,
): [first: Duplex, second: Duplex] {
  const there = new Pipe();
  const back = new Pipe();
  return [
    new MemoryDuplex(back, there, second, first),
    new MemoryDuplex(there, back, first, second),
  ];
}

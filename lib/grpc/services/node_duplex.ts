/**
 * A {@linkcode Duplex} of ours as a stream of Node, for what runs on `node:http2`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Duplex as NodeDuplex } from "node:stream";
import { type Duplex, writeAll } from "../../common/duplex.ts";

/** Bytes that are read at once. */
const READ_SIZE = 16 * 1024;

/** The stream; destroying it closes the duplex. Bytes are read only while somebody wants them. */
export class NodeDuplexAdapter extends NodeDuplex {
  readonly #duplex: Duplex;

  /** Takes a duplex over. */
  constructor(duplex: Duplex) {
    super({ allowHalfOpen: true });
    this.#duplex = duplex;
  }

  override _read(): void {
    const into = Buffer.allocUnsafe(READ_SIZE);
    this.#duplex.read(into).then(
      (count) => this.push(count === null ? null : into.subarray(0, count)),
      (error) => this.destroy(error),
    );
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error) => void): void {
    writeAll(this.#duplex, chunk).then(() => done(), done);
  }

  override _final(done: (error?: Error) => void): void {
    this.#duplex.closeWrite().then(() => done(), done);
  }

  override _destroy(_error: Error | null, done: (error?: Error | null) => void): void {
    this.#duplex.close();
    // The peer in this process learns of the end from the duplex; nobody listens for errors here.
    done(null);
  }
}

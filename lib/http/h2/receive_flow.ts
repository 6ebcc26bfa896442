/**
 * What the peer may send: the windows that we grant (RFC 9113, section 6.9). Bytes are granted again when
 * they have gone on, so a slow receiver behind us stops the sender.
 *
 * @module
 */
import { encodeWindowUpdate } from "./frame_writer.ts";
import type { Link } from "./link.ts";
import type { H2Stream } from "./stream.ts";

/** The windows of one connection and its streams. */
export class ReceiveFlow {
  readonly #link: Link;
  #window: number;
  #unGranted = 0;

  /** Begins with what the options grant; the connection announces it. */
  constructor(link: Link) {
    this.#link = link;
    this.#window = link.options.connectionWindow;
  }

  /** Takes `count` bytes, padding included, out of the connection's window; whether they were in it. */
  take(count: number): boolean {
    this.#window -= count;
    return this.#window >= 0;
  }

  /** Counts bytes that have gone on; what is half a window is granted again. */
  credit(stream: H2Stream | undefined, count: number): void {
    const { outbox, options } = this.#link;
    this.#unGranted += count;
    if (this.#unGranted >= options.connectionWindow / 2) {
      encodeWindowUpdate(outbox.writer, 0, this.#unGranted);
      this.#window += this.#unGranted;
      this.#unGranted = 0;
      outbox.schedule();
    }
    if (stream === undefined || stream.remoteEnded) return;
    stream.unGranted += count;
    if (stream.unGranted >= options.streamWindow / 2) {
      encodeWindowUpdate(outbox.writer, stream.id, stream.unGranted);
      stream.receiveWindow += stream.unGranted;
      stream.unGranted = 0;
      outbox.schedule();
    }
  }
}

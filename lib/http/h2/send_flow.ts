/**
 * What streams send: field blocks, and content as far as the peer's windows and the socket allow
 * (RFC 9113, section 6.9). Streams that must wait go on in turns.
 *
 * @module
 */
import { beginHeaders, encodeDataHeader, endHeaders } from "./frame_writer.ts";
import { MAX_UINT31 } from "./frames.ts";
import { Encoder } from "./hpack/encoder.ts";
import type { Link } from "./link.ts";
import type { H2Stream } from "./stream.ts";

/** The window of a connection before anybody changes it (RFC 9113, section 6.9.2). */
export const INITIAL_WINDOW = 65_535;
/** Bytes that one stream sends before it is the turn of the next. */
const TURN = 16 * 1024;

/** The sending half of all streams of one connection. */
export class SendFlow {
  readonly #link: Link;
  readonly #encoder = new Encoder();
  readonly #blocked = new Set<H2Stream>();
  #window = INITIAL_WINDOW;

  /** Makes the sending half of a new connection. */
  constructor(link: Link) {
    this.#link = link;
  }

  /** Frames a block of fields. */
  headers(stream: H2Stream, block: Uint8Array, endStream: boolean): void {
    const { outbox, peer, budget } = this.#link;
    const out = outbox.writer;
    const at = beginHeaders(out);
    this.#encoder.begin(out);
    out.bytes(block);
    endHeaders(out, at, {
      streamId: stream.id,
      endStream,
      maxFrameSize: Math.min(peer.maxFrameSize, TURN),
    });
    budget.countHeadersSent();
    outbox.schedule();
  }

  /** Frames what the windows allow of `bytes[start..end)`; the count that went. */
  data(
    stream: H2Stream,
    bytes: Uint8Array,
    start: number,
    end: number,
    endStream: boolean,
  ): number {
    const { outbox, peer, budget } = this.#link;
    const out = outbox.writer;
    const most = Math.min(peer.maxFrameSize, TURN);
    let at = start;
    while (at < end) {
      if (outbox.full) break;
      const count = Math.min(end - at, stream.sendWindow, this.#window, most);
      if (count <= 0) break;
      const last = endStream && at + count === end;
      encodeDataHeader(out, stream.id, count, last);
      out.range(bytes, at, at + count);
      at += count;
      stream.sendWindow -= count;
      this.#window -= count;
      budget.countDataSent();
      if (last) stream.localEnded = true;
    }
    if (start === end && endStream) {
      encodeDataHeader(out, stream.id, 0, true);
      stream.localEnded = true;
    }
    outbox.schedule();
    return at - start;
  }

  /** Remembers that the stream has something queued. */
  block(stream: H2Stream): void {
    this.#blocked.add(stream);
  }

  /** Forgets a stream. */
  forget(stream: H2Stream): void {
    this.#blocked.delete(stream);
  }

  /** The peer lets the connection send `increment` bytes more; `false` when that is too much. */
  grant(increment: number): boolean {
    this.#window += increment;
    if (this.#window > MAX_UINT31) return false;
    this.pump();
    return true;
  }

  /** The same for one stream. */
  grantTo(stream: H2Stream, increment: number): boolean {
    stream.sendWindow += increment;
    if (stream.sendWindow > MAX_UINT31) return false;
    if (this.#blocked.has(stream)) this.pump();
    return true;
  }

  /** Uses no larger table than the peer allows (SETTINGS_HEADER_TABLE_SIZE). */
  limitTable(size: number): void {
    this.#encoder.limitTable(size);
  }

  /** Lets streams that wait send, in turns, until all windows or the socket are full. */
  pump(): void {
    const { outbox } = this.#link;
    const blocked = this.#blocked;
    let progress = true;
    while (progress && blocked.size > 0 && !outbox.full) {
      progress = false;
      for (const stream of [...blocked]) {
        const before = stream.queued;
        if (!stream.pump(TURN)) {
          blocked.delete(stream);
          progress = true;
        } else if (stream.queued < before) progress = true;
        if (outbox.full) break;
      }
    }
  }
}

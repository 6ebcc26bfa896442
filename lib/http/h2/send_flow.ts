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
/**
 * Bytes per second that a peer is believed to take of what it has got and not granted again. Most grant a window when
 * half of it has been read, so who reads a large one slowly says nothing for minutes.
 */
const LEAST_RATE = 1024;

/** Told when streams begin to wait. Must not throw. */
export interface BlockedWatcher {
  /** One does; others may wait already. */
  onBlocked(): void;
}

/** The sending half of all streams of one connection. */
export class SendFlow {
  readonly #link: Link;
  readonly #encoder = new Encoder();
  /** Streams that wait, and when each has moved last, in whole milliseconds of the clock. */
  readonly #blocked = new Map<H2Stream, number>();
  #window = INITIAL_WINDOW;
  /** The least that the peer has had of us and not granted again; below 0 when it has granted more than at first. */
  #leastTaken = 0;
  /** When anything was granted or framed while streams waited, in the same. */
  #movedAt = 0;
  /** Told when streams begin to wait. */
  watcher: BlockedWatcher | undefined;

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
      // Peers that measure the bandwidth send a PING for an empty frame too.
      budget.countDataSent();
    }
    outbox.schedule();
    return at - start;
  }

  /** Remembers that the stream has something queued. */
  block(stream: H2Stream): void {
    if (this.#blocked.has(stream)) return;
    this.#blocked.set(stream, this.#time);
    this.watcher?.onBlocked();
  }

  get #time(): number {
    return Math.trunc(this.#link.clock.time);
  }

  /** The streams that have something queued, as they are now. */
  get waiting(): H2Stream[] {
    return [...this.#blocked.keys()];
  }

  /**
   * How long a stream that waits may go on without a move, in milliseconds, when it may for `limit` and as long beside
   * that as taking what the peer has got may last; not above 0 when its time is over. A stream that the socket holds
   * up has all its time: whether that goes on is seen where it is written to.
   */
  patience(stream: H2Stream, limit: number): number {
    const own = stream.sendWindow <= 0;
    if (!own && this.#window > 0) return limit;
    const { peer } = this.#link;
    const now = this.#time;
    // A stream whose own window is shut also waits for what is in flight on others before it.
    const inFlight = INITIAL_WINDOW - this.#window - this.#leastTaken;
    const held = own
      ? Math.max(inFlight, peer.initialWindowSize - stream.sendWindow - stream.leastTaken)
      : inFlight;
    const moved = this.#blocked.get(stream) ?? now;
    const since = own ? moved : Math.max(moved, this.#movedAt);
    return since + limit + held * 1000 / LEAST_RATE - now;
  }

  /** Forgets a stream. */
  forget(stream: H2Stream): void {
    this.#blocked.delete(stream);
  }

  /** The peer lets the connection send `increment` bytes more; `false` when that is too much. */
  grant(increment: number): boolean {
    this.#window += increment;
    if (this.#window > MAX_UINT31) return false;
    const taken = INITIAL_WINDOW - this.#window;
    if (taken < this.#leastTaken) this.#leastTaken = taken;
    this.#movedAt = this.#time;
    this.pump();
    return true;
  }

  /** The same for one stream. */
  grantTo(stream: H2Stream, increment: number): boolean {
    stream.sendWindow += increment;
    if (stream.sendWindow > MAX_UINT31) return false;
    const taken = this.#link.peer.initialWindowSize - stream.sendWindow;
    if (taken < stream.leastTaken) stream.leastTaken = taken;
    if (this.#blocked.has(stream)) {
      this.#blocked.set(stream, this.#time);
      this.pump();
    }
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
    if (blocked.size === 0) return;
    const now = this.#time;
    let progress = true;
    while (progress && blocked.size > 0 && !outbox.full) {
      progress = false;
      for (const stream of [...blocked.keys()]) {
        const before = stream.queued;
        if (!stream.pump(TURN)) {
          blocked.delete(stream);
          this.#movedAt = now;
          progress = true;
        } else if (stream.queued < before) {
          progress = true;
          this.#movedAt = now;
          blocked.set(stream, now);
        }
        if (outbox.full) break;
      }
    }
  }
}

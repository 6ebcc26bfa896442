/**
 * The streams of one connection: which are open, which have been, and how they leave
 * (RFC 9113, section 5.1).
 *
 * @module
 */
import type { H2Code } from "./errors.ts";
import { encodeRstStream } from "./frame_writer.ts";
import { MAX_UINT31 } from "./frames.ts";
import type { Link } from "./link.ts";
import { ReceiveFlow } from "./receive_flow.ts";
import { SendFlow } from "./send_flow.ts";
import { H2Stream, type StreamHost, type StreamReset } from "./stream.ts";
import { StreamTable } from "./stream_table.ts";

/** Streams that we have reset and whose late frames are ignored (section 5.4.2). */
const REMEMBERED_RESETS = 256;

/** Told how many streams there are. Nothing of it may throw. */
export interface StreamsWatcher {
  /** One was opened by either side. */
  onOpened(): void;
  /** One has left. */
  onGone(): void;
}

/** The streams of one connection. */
export class Streams implements StreamHost {
  /** What they send. */
  readonly sending: SendFlow;
  /** What they may receive. */
  readonly receiving: ReceiveFlow;
  /** The highest stream that the peer has opened; 0 when none. */
  lastOfPeer = 0;
  readonly #link: Link;
  readonly #watcher: StreamsWatcher;
  readonly #open = new StreamTable<H2Stream>();
  readonly #resets = new Set<number>();
  #next = 1;

  /** Makes an empty table. */
  constructor(link: Link, watcher: StreamsWatcher) {
    this.#link = link;
    this.#watcher = watcher;
    this.sending = new SendFlow(link);
    this.receiving = new ReceiveFlow(link);
  }

  /** How many are open. */
  get size(): number {
    return this.#open.size;
  }

  /** Whether no identifier is left for another stream of ours (RFC 9113, section 5.1.1). */
  get exhausted(): boolean {
    return this.#next >= MAX_UINT31;
  }

  /** Whether the peer takes another stream of ours. */
  get available(): boolean {
    return this.#open.size < this.#link.peer.maxConcurrentStreams && !this.exhausted;
  }

  /** An open stream. */
  get(id: number): H2Stream | undefined {
    return this.#open.get(id);
  }

  /** Whether a stream with this identifier has never been opened. */
  isIdle(id: number): boolean {
    const ours = (id & 1) === (this.#link.role === "client" ? 1 : 0);
    return ours ? id >= this.#next : id > this.lastOfPeer;
  }

  /** Whether we have reset the stream not long ago, so that what still comes on it is no error. */
  wasReset(id: number): boolean {
    return this.#resets.has(id);
  }

  /** Opens the next stream of ours. */
  open(): H2Stream {
    this.#link.budget.countStream();
    const stream = this.#make(this.#next);
    this.#next += 2;
    return stream;
  }

  /** Notes that the peer has opened a stream; {@linkcode accept} or {@linkcode ignore} goes on. */
  begin(id: number): void {
    this.lastOfPeer = id;
    this.#link.budget.countStream();
  }

  /** Takes a stream of the peer. */
  accept(id: number): H2Stream {
    return this.#make(id);
  }

  #make(id: number): H2Stream {
    const { peer, options } = this.#link;
    const stream = new H2Stream(id, this, peer.initialWindowSize, options.streamWindow);
    stream.opened = this.#link.clock.time;
    this.#open.add(stream);
    this.#watcher.onOpened();
    return stream;
  }

  frameHeaders(stream: H2Stream, block: Uint8Array, endStream: boolean): void {
    this.sending.headers(stream, block, endStream);
  }

  frameData(
    stream: H2Stream,
    bytes: Uint8Array,
    start: number,
    end: number,
    endStream: boolean,
  ): number {
    return this.sending.data(stream, bytes, start, end, endStream);
  }

  markBlocked(stream: H2Stream): void {
    this.sending.block(stream);
  }

  patience(stream: H2Stream, limit: number): number {
    return this.sending.patience(stream, limit);
  }

  credit(stream: H2Stream | undefined, count: number): void {
    this.receiving.credit(stream, count);
  }

  frameReset(stream: H2Stream, code: H2Code): void {
    this.sendReset(stream.id, code);
    this.settle(stream);
  }

  settle(stream: H2Stream): void {
    if (stream.localEnded && stream.remoteEnded) this.#link.budget.countEnded();
    stream.drop();
    this.#forget(stream);
  }

  /** Frames RST_STREAM for a stream that need not be open; its late frames are ignored. */
  sendReset(id: number, code: H2Code): void {
    this.ignore(id);
    encodeRstStream(this.#link.outbox.writer, id, code);
    this.#link.queueControl();
  }

  /** Late frames of this stream are no error. */
  ignore(id: number): void {
    this.#resets.add(id);
    if (this.#resets.size > REMEMBERED_RESETS) {
      this.#resets.delete(this.#resets.values().next().value!);
    }
  }

  /** Resets a stream, which its listener is told. */
  decline(stream: H2Stream, code: H2Code, detail: string): void {
    this.frameReset(stream, code);
    stream.listener?.onReset({ code, unprocessed: false, connectionLost: false, detail });
  }

  /**
   * The same because the peer does not take what is held for it. It does not count like a reset of its own: who stalls
   * for so long makes us do nothing often.
   */
  stall(stream: H2Stream, code: H2Code): void {
    this.frameReset(stream, code);
    const detail = "the peer takes nothing of what waits for it";
    const reset = { code, unprocessed: false, connectionLost: false, stalled: true, detail };
    stream.listener?.onReset(reset);
  }

  /** The same because the peer broke a rule of the stream, which counts like a reset of its own. */
  refuse(stream: H2Stream, code: H2Code, detail = "the peer broke the protocol"): void {
    this.decline(stream, code, detail);
    const { budget, clock } = this.#link;
    this.#link.refuses(budget.countReset(clock.now()));
  }

  /** The stream is gone, and its listener is told why. */
  drop(stream: H2Stream, reset: StreamReset): void {
    this.settle(stream);
    stream.listener?.onReset(reset);
  }

  /** Drops all streams above `last`; with 0, all. */
  dropAbove(last: number, reset: StreamReset): void {
    for (const stream of this.#open.list()) if (stream.id > last) this.drop(stream, reset);
  }

  /**
   * Moves all windows by `delta`, which may be negative; `false` when one became too large.
   *
   * RFC 9113, section 6.9.2: "a receiver MUST adjust the size of all stream flow-control windows".
   */
  shiftWindows(delta: number): boolean {
    for (const stream of this.#open.list()) {
      stream.sendWindow += delta;
      if (stream.sendWindow > MAX_UINT31) return false;
    }
    return true;
  }

  #forget(stream: H2Stream): void {
    if (!this.#open.delete(stream.id)) return;
    this.sending.forget(stream);
    this.#watcher.onGone();
  }
}

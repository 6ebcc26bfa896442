/**
 * One stream of an HTTP/2 connection: RFC 9113, section 5. It holds what is queued for the peer and
 * both flow-control windows; the connection does the framing.
 *
 * @module
 */
import { H2Code } from "./errors.ts";
import type { FieldList } from "./hpack/field_list.ts";
import type { H2ResponseHead } from "./response_head.ts";

/** Why a stream ended before both sides had ended it. */
export interface StreamReset {
  /** The code of RST_STREAM or GOAWAY, or CANCEL when the connection was lost. */
  readonly code: H2Code;
  /** Whether the peer says that it has not acted on the stream, so that it may be tried elsewhere (section 8.7). */
  readonly unprocessed: boolean;
  /** Whether the whole connection ended. */
  readonly connectionLost: boolean;
  /** Whether it was us who ended either, because the peer did not take what we had for it. */
  readonly stalled?: boolean;
  /** Whether it was us who ended the connection, because the peer broke a rule of it or asked for too much. */
  readonly broken?: boolean;
  /** Whether it was us who ended the connection, whatever was under way on it. */
  readonly aborted?: boolean;
  /** What happened, for the log. */
  readonly detail: string;
}

/** Told what comes on a stream. Nothing of it may throw, and what is passed is valid during the call only. */
export interface StreamListener {
  /** A response head came, interim ones included; client role only. */
  onHead(head: H2ResponseHead, endStream: boolean): void;
  /**
   * Content came: `bytes[start..end)`, empty when only the end came. Every byte must be given back with
   * {@linkcode H2Stream.consume} when it has gone on, or the peer's window stays closed.
   */
  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void;
  /** Trailers came, and with them the end. */
  onTrailers(fields: FieldList): void;
  /** The stream is gone. */
  onReset(reset: StreamReset): void;
  /** `count` bytes that had been queued have left the queue: framed, or dropped because the stream is gone. */
  onSent(count: number): void;
}

/** What a stream needs of its connection. */
export interface StreamHost {
  /** Frames what the windows allow; the count of bytes of `bytes[start..end)` that went. */
  frameData(
    stream: H2Stream,
    bytes: Uint8Array,
    start: number,
    end: number,
    endStream: boolean,
  ): number;
  /** Frames a block of fields. */
  frameHeaders(stream: H2Stream, block: Uint8Array, endStream: boolean): void;
  /** Frames RST_STREAM and forgets the stream. */
  frameReset(stream: H2Stream, code: H2Code): void;
  /** Remembers that the stream has something queued. */
  markBlocked(stream: H2Stream): void;
  /** How long a stream that waits may go on without a move; {@linkcode SendFlow.patience}. */
  patience(stream: H2Stream, limit: number): number;
  /** Counts bytes that have gone on, for the windows that we grant. */
  credit(stream: H2Stream | undefined, count: number): void;
  /** Forgets a stream that both sides have ended. */
  settle(stream: H2Stream): void;
}

/** One stream. */
export class H2Stream {
  /** The identifier. */
  readonly id: number;
  /** Told what comes. */
  listener: StreamListener | undefined;
  /** Bytes that the peer lets us send; may be negative (section 6.9.2). */
  sendWindow: number;
  /** Bytes that we let the peer send and that have not come yet. */
  receiveWindow: number;
  /** Bytes that have gone on and are not granted again yet. */
  unGranted = 0;
  /** When it was opened, in milliseconds of the connection's clock, to a tick. */
  opened = 0;
  /** The least that the peer has had of it and not granted again; below 0 when it has granted more than at first. */
  leastTaken = 0;
  /** Whether we have ended our side. */
  localEnded = false;
  /** Whether the peer has ended its side. */
  remoteEnded = false;
  /** Whether the stream was reset by either side, or lost. */
  gone = false;
  /** Content bytes that are still to come by Content-Length; -1 when nobody said. */
  expected = -1;
  /** Whether a final head has come (client role) or the request head (server role). */
  headed = false;
  /** Whether the response has no body whatever its head says (HEAD); client role. */
  noBody = false;
  readonly #host: StreamHost;
  /** Made when something has to wait, which with most streams is never. */
  #queue: Uint8Array[] | undefined;
  #queued = 0;
  #endQueued = false;
  #trailers: Uint8Array | undefined;
  #resetWhenEnded = false;

  /** Made by the connection. */
  constructor(id: number, host: StreamHost, sendWindow: number, receiveWindow: number) {
    this.id = id;
    this.#host = host;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  /** Bytes that wait for a window. */
  get queued(): number {
    return this.#queued;
  }

  /** Whether nothing waits, or the peer is believed to take what it has got: it may be silent for `limit` milliseconds. */
  isTaking(limit: number): boolean {
    return this.#queued === 0 || this.#host.patience(this, limit) > 0;
  }

  /**
   * Sends a block of fields: a head, an interim head, or with `endStream` and after a head the trailers. The
   * block is copied.
   */
  sendHeaders(block: Uint8Array, endStream: boolean): void {
    if (this.gone || this.localEnded) return;
    if (this.#queued > 0 || this.#endQueued) {
      this.#trailers = block.slice();
      return;
    }
    this.localEnded = endStream;
    this.#host.frameHeaders(this, block, endStream);
    this.#settleIfEnded();
  }

  /**
   * Sends content, as far as the windows allow; the rest is copied and waits.
   *
   * @returns How many bytes went at once; the others are told by {@linkcode StreamListener.onSent}.
   */
  sendData(bytes: Uint8Array, start: number, end: number, endStream: boolean): number {
    if (this.gone || this.localEnded) return end - start;
    let sent = 0;
    if (this.#queued === 0) {
      sent = this.#host.frameData(this, bytes, start, end, endStream);
      if (sent === end - start && (this.localEnded || !endStream)) {
        this.#settleIfEnded();
        return sent;
      }
    }
    if (start + sent < end) {
      (this.#queue ??= []).push(bytes.slice(start + sent, end));
      this.#queued += end - start - sent;
    }
    this.#endQueued ||= endStream;
    this.#host.markBlocked(this);
    return sent;
  }

  /** Sends what waits, at most `limit` bytes; whether anything is left. */
  pump(limit: number): boolean {
    const queue = this.#queue ?? [];
    let sent = 0;
    while (queue.length > 0 && sent < limit) {
      const first = queue[0]!;
      const last = queue.length === 1 && this.#endQueued;
      const count = this.#host.frameData(this, first, 0, first.length, last);
      sent += count;
      if (count < first.length) {
        if (count > 0) queue[0] = first.subarray(count);
        break;
      }
      queue.shift();
    }
    this.#queued -= sent;
    if (this.#queued === 0) {
      if (this.#endQueued && !this.localEnded) {
        this.#host.frameData(this, NOTHING, 0, 0, true);
      }
      this.#endQueued = false;
      if (this.#trailers !== undefined) {
        const block = this.#trailers;
        this.#trailers = undefined;
        this.localEnded = true;
        this.#host.frameHeaders(this, block, true);
      }
    }
    if (sent > 0) this.listener?.onSent(sent);
    this.#settleIfEnded();
    return this.#queued > 0 && !this.gone;
  }

  /** Gives `count` bytes of content back to the windows, because they have gone on. */
  consume(count: number): void {
    if (count > 0) this.#host.credit(this.gone ? undefined : this, count);
  }

  /** Ends the stream with an error; does nothing when it is gone or has ended. */
  reset(code: H2Code = H2Code.Cancel): void {
    if (this.gone || (this.localEnded && this.remoteEnded)) return;
    this.#host.frameReset(this, code);
  }

  /**
   * Resets the stream without error as soon as our side has ended: the answer is complete, and the rest
   * of the request is not wanted (section 8.1).
   */
  endEarly(): void {
    this.#resetWhenEnded = true;
    this.#settleIfEnded();
  }

  /** Called by the connection: nothing more can be sent or will come. */
  drop(): void {
    this.gone = true;
    this.#endQueued = false;
    this.#trailers = undefined;
    const dropped = this.#queued;
    if (dropped === 0) return;
    this.#queue = undefined;
    this.#queued = 0;
    // Wherever they came from, they must not be missing in the window of that connection.
    this.listener?.onSent(dropped);
  }

  #settleIfEnded(): void {
    if (this.gone || !this.localEnded) return;
    if (this.remoteEnded) this.#host.settle(this);
    else if (this.#resetWhenEnded) this.#host.frameReset(this, H2Code.NoError);
  }
}

const NOTHING = new Uint8Array(0);

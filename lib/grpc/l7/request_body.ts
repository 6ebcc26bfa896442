/**
 * The body of a call's request, as far as it may have to be sent, or sent again.
 *
 * @module
 */
import { requestSlab } from "../../common/slab.ts";
import type { H2Stream } from "../../http/h2/stream.ts";

/** Bytes of a request that are kept so that it can be sent to another backend. */
const REPLAY_LIMIT = 16 * 1024;
/** Bytes of a buffer for more than one message, or piece of one. */
const MIN_OWN = 1024;
const NOTHING = new Uint8Array(0);

/**
 * What came of one body. Bytes are granted to the client when they have been framed for a backend, once, however
 * often they are sent; what nobody has taken is bounded by the window of the stream.
 */
export class RequestBody {
  /** Whether all of it has come, trailers included. */
  ended: boolean;
  /** Where what comes goes at once, if there is a stream. */
  to: H2Stream | undefined;
  readonly #from: H2Stream;
  /** What is kept, at the beginning of it. */
  #held: Uint8Array = NOTHING;
  #heldBytes = 0;
  #replayable = true;
  #trailers: Uint8Array | undefined;
  /** Bytes that have come, that the present attempt has framed, and the most that any attempt has. */
  #received = 0;
  #sent = 0;
  #granted = 0;

  /** Begins with nothing; `ended` when the head was all of the request. */
  constructor(from: H2Stream, ended: boolean) {
    this.#from = from;
    this.ended = ended;
  }

  /** Whether all that has come is held, so that the request can begin anew. */
  get replayable(): boolean {
    return this.#replayable;
  }

  /** Whether there is nothing behind the head. */
  get bare(): boolean {
    return this.ended && this.#heldBytes === 0 && this.#trailers === undefined;
  }

  /** The next bytes came: `bytes[start..end)`. */
  take(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    const count = end - start;
    const { to } = this;
    this.ended ||= endStream;
    this.#received += count;
    if (this.#replayable) {
      if (to === undefined || this.#heldBytes + count <= REPLAY_LIMIT) {
        if (count > 0) this.#hold(bytes, start, end);
      } else this.release();
    }
    if (to !== undefined) this.onSent(to.sendData(bytes, start, end, endStream));
  }

  /** Most requests are one short message, which takes no memory of its own. */
  #hold(bytes: Uint8Array, start: number, end: number): void {
    const before = this.#heldBytes;
    const after = this.#heldBytes = before + end - start;
    if (before === 0) {
      this.#held = requestSlab.copy(bytes, start, end);
      return;
    }
    if (after > this.#held.length) {
      // Twice as much each time up to the limit; what waits for a connection may be more, and grows by that much.
      const room = after < REPLAY_LIMIT ? Math.max(after, MIN_OWN) : REPLAY_LIMIT;
      const larger = new Uint8Array(after + room);
      larger.set(this.#held.subarray(0, before));
      this.#held = larger;
    }
    this.#held.set(bytes.subarray(start, end), before);
  }

  /** Trailers came, as a block, and with them the end. */
  end(trailers: Uint8Array): void {
    this.ended = true;
    this.#trailers = trailers.slice();
    this.to?.sendHeaders(this.#trailers, true);
  }

  /**
   * Sends what has come so far on a stream that has just been opened.
   *
   * @returns How many bytes were framed at once.
   */
  sendTo(stream: H2Stream): number {
    const ends = this.ended && this.#trailers === undefined;
    let sent = 0;
    if (this.#heldBytes > 0) sent = stream.sendData(this.#held, 0, this.#heldBytes, ends);
    if (this.#trailers !== undefined) stream.sendHeaders(this.#trailers, true);
    return sent;
  }

  /** Another attempt takes over, which has framed `sent` bytes so far. */
  restart(sent: number): void {
    this.#sent = 0;
    this.onSent(sent);
  }

  /** Bytes have been framed for the backend. */
  onSent(count: number): void {
    this.#sent += count;
    // What is sent a second time has been granted already.
    if (this.#sent > this.#granted) {
      this.#from.consume(this.#sent - this.#granted);
      this.#granted = this.#sent;
    }
  }

  /** Nothing need be kept any more. */
  release(): void {
    this.#replayable = false;
    this.#held = NOTHING;
    this.#heldBytes = 0;
  }

  /** The call is over: what never went must not be missing in the window of the client's connection. */
  close(): void {
    this.#held = NOTHING;
    this.#heldBytes = 0;
    this.#from.consume(this.#received - this.#granted);
    this.#granted = this.#received;
  }
}

/**
 * Splits the bytes of a connection into frames and checks each by itself: RFC 9113, sections 4 and 6.
 * What depends on the state of streams is not judged here.
 *
 * @module
 */
import { type ConnectionError, connectionError, H2Code } from "./errors.ts";
import {
  Flag,
  FRAME_HEADER_SIZE,
  frameName,
  FrameType,
  LAST_FRAME_TYPE,
  MIN_MAX_FRAME_SIZE,
  PING_SIZE,
  readUint31,
  readUint32,
} from "./frames.ts";

/** {@linkcode FrameReader.next} needs more bytes. */
export const NEED_MORE: number = -1;
/** {@linkcode FrameReader.next} met a connection error; `error` says which. */
export const FRAME_ERROR: number = -2;

/** What the frame type demands of the stream identifier: zero, not zero, or nothing. */
const ZERO = 0;
const NONZERO = 1;
const ANY = 2;

/** RFC 9113, sections 6.1 to 6.10. */
const STREAM_RULE = new Uint8Array(LAST_FRAME_TYPE + 1).fill(NONZERO);
STREAM_RULE[FrameType.Settings] = ZERO;
STREAM_RULE[FrameType.Ping] = ZERO;
STREAM_RULE[FrameType.Goaway] = ZERO;
STREAM_RULE[FrameType.WindowUpdate] = ANY;

/** Lengths that the payload must have exactly; 0 where it may vary. */
const EXACT_LENGTH = new Uint8Array(LAST_FRAME_TYPE + 1);
EXACT_LENGTH[FrameType.Priority] = 5;
EXACT_LENGTH[FrameType.RstStream] = 4;
EXACT_LENGTH[FrameType.Ping] = PING_SIZE;
EXACT_LENGTH[FrameType.WindowUpdate] = 4;

const SETTING_SIZE = 6;
const GOAWAY_SIZE = 8;
const PRIORITY_SIZE = 5;
/** Of the last error when there was none. */
const NO_ERROR: ConnectionError = connectionError(H2Code.NoError, "");

/**
 * Reads frames one by one. It keeps no bytes: they stay in the caller's buffer until they are consumed.
 *
 * A frame is handed out when all of it is there; DATA is handed out in pieces as it arrives, so that it
 * can be forwarded before it is complete. Between two pieces of a frame there is no other frame.
 */
export class FrameReader {
  /** The largest payload taken: what we announced as `SETTINGS_MAX_FRAME_SIZE`. */
  maxFrameSize: number;
  /** The error after {@linkcode FRAME_ERROR}. */
  error: ConnectionError = NO_ERROR;
  /** After {@linkcode NEED_MORE}: how many bytes must be there from the given index on. */
  needed = 0;

  /** The type of the frame. */
  type = 0;
  /** Its flags. */
  flags = 0;
  /** Its stream. */
  streamId = 0;
  /** The length of its payload, padding included: what DATA takes from flow control windows. */
  length = 0;
  /** Where the content begins: the payload without padding and priority fields; of DATA the piece. */
  start = 0;
  /** The index behind the content. */
  end = 0;
  /** DATA: whether the piece is the first of its frame. Other frames: always. */
  first = true;
  /** DATA: whether the piece is the last of its frame. Other frames: always. */
  last = true;
  /** DATA: what the piece takes of the flow control windows, padding included; all pieces give `length`. */
  flow = 0;
  /** DATA: how long the content of the whole frame is, padding left out. */
  dataLength = 0;
  /** RST_STREAM and GOAWAY: the error code. */
  code: H2Code = H2Code.NoError;
  /** WINDOW_UPDATE: the increment, from 1 to 2^31-1. */
  increment = 0;
  /** GOAWAY: the last stream that may have been processed. The debug data is `start..end`. */
  lastStreamId = 0;

  /** The stream of an unfinished field block; 0 when there is none. */
  #blockStream = 0;
  /** Whether the first frame has not come yet. */
  #expectSettings = true;
  /** DATA that is not consumed: bytes of the content, then of the padding. */
  #dataLeft = 0;
  #paddingLeft = 0;

  /** Makes a reader at the beginning of a connection, behind the client's preface. */
  constructor(maxFrameSize: number = MIN_MAX_FRAME_SIZE) {
    this.maxFrameSize = maxFrameSize;
  }

  /** Whether the stream ends with this frame: END_STREAM on HEADERS, or on the last piece of DATA. */
  get endStream(): boolean {
    return this.last && (this.flags & Flag.EndStream) !== 0;
  }

  /** Whether the field block ends with this HEADERS or CONTINUATION. */
  get endHeaders(): boolean {
    return (this.flags & Flag.EndHeaders) !== 0;
  }

  /** Whether this SETTINGS or PING is an acknowledgement. */
  get ack(): boolean {
    return (this.flags & Flag.Ack) !== 0;
  }

  /** The stream whose field block has begun and not ended; 0 for none. */
  get blockStream(): number {
    return this.#blockStream;
  }

  /** Whether we are inside a frame or a field block, where a connection must not end. */
  get unfinished(): boolean {
    return this.#dataLeft + this.#paddingLeft > 0 || this.#blockStream !== 0;
  }

  /**
   * Reads the next frame, or the next piece of a DATA frame, from `buffer[at..end)`. What the properties
   * say is valid until the next call.
   *
   * @returns The index behind what was consumed, {@linkcode NEED_MORE} (nothing was consumed), or
   * {@linkcode FRAME_ERROR}; after an error the reader must not be used again.
   */
  next(buffer: Uint8Array, at: number, end: number): number {
    if (this.#dataLeft + this.#paddingLeft > 0) {
      if (at === end) return this.#more(1);
      this.first = false;
      this.flow = 0;
      return this.#piece(at, end);
    }
    if (end - at < FRAME_HEADER_SIZE) return this.#more(FRAME_HEADER_SIZE);
    const length = buffer[at]! << 16 | buffer[at + 1]! << 8 | buffer[at + 2]!;
    const type = this.type = buffer[at + 3]!;
    const flags = this.flags = buffer[at + 4]!;
    const streamId = this.streamId = readUint31(buffer, at + 5);
    this.length = length;
    this.first = this.last = true;
    if (length > this.maxFrameSize) {
      return this.#fail(H2Code.FrameSizeError, `longer than ${this.maxFrameSize} bytes`);
    }
    if (this.#expectSettings) {
      // RFC 9113, section 3.4: the client's preface "MUST be followed by a SETTINGS frame", which also
      // "MUST be the first frame the server sends".
      if (type !== FrameType.Settings || (flags & Flag.Ack) !== 0) {
        return this.#fail(H2Code.ProtocolError, "the first frame must be SETTINGS");
      }
      this.#expectSettings = false;
    }
    // RFC 9113, sections 4.3, 5.5 and 6.10: nothing but CONTINUATION of the same stream may come within
    // a field block, unknown types neither.
    if (
      this.#blockStream === 0 ? type === FrameType.Continuation : (
        type !== FrameType.Continuation || streamId !== this.#blockStream
      )
    ) return this.#fail(H2Code.ProtocolError, "out of order with a field block");

    if (type === FrameType.Data) return this.#data(buffer, at, end);
    if (type <= LAST_FRAME_TYPE) {
      const rule = STREAM_RULE[type]!;
      if (rule !== ANY && (streamId === 0) !== (rule === ZERO)) {
        return this.#fail(H2Code.ProtocolError, `on stream ${streamId}`);
      }
      const exact = EXACT_LENGTH[type]!;
      if (exact !== 0 && length !== exact) return this.#failLength();
    }
    const next = at + FRAME_HEADER_SIZE + length;
    if (next > end) return this.#more(FRAME_HEADER_SIZE + length);
    this.start = at + FRAME_HEADER_SIZE;
    this.end = next;
    return this.#interpret(buffer) === FRAME_ERROR ? FRAME_ERROR : next;
  }

  #more(needed: number): number {
    this.needed = needed;
    return NEED_MORE;
  }

  #fail(code: H2Code, detail: string): number {
    this.error = connectionError(code, `${frameName(this.type)}: ${detail}`);
    return FRAME_ERROR;
  }

  // RFC 9113, section 4.2. For PRIORITY a stream error would do (section 6.3), but whoever cannot count
  // to five would make us send resets at will; section 5.4.1 lets any stream error end the connection.
  #failLength(): number {
    return this.#fail(H2Code.FrameSizeError, `a payload of ${this.length} bytes`);
  }

  #data(buffer: Uint8Array, at: number, end: number): number {
    if (this.streamId === 0) return this.#fail(H2Code.ProtocolError, "on stream 0");
    let next = at + FRAME_HEADER_SIZE;
    let dataLength = this.length;
    let padding = 0;
    this.flow = 0;
    if ((this.flags & Flag.Padded) !== 0) {
      if (dataLength === 0) return this.#failLength();
      if (next === end) return this.#more(FRAME_HEADER_SIZE + 1);
      padding = buffer[next++]!;
      // RFC 9113, section 6.1: padding as long as the payload or longer is a connection error.
      if (padding >= dataLength) return this.#failPadding(padding);
      dataLength -= 1 + padding;
      this.flow = 1;
    }
    // A piece without any content would only cost time.
    if (dataLength > 0 && next === end) return this.#more(next - at + 1);
    this.#dataLeft = this.dataLength = dataLength;
    this.#paddingLeft = padding;
    return this.#piece(next, end);
  }

  #failPadding(padding: number): number {
    return this.#fail(H2Code.ProtocolError, `padding of ${padding} in ${this.length} bytes`);
  }

  #piece(at: number, end: number): number {
    const data = Math.min(this.#dataLeft, end - at);
    const behind = at + data;
    this.#dataLeft -= data;
    let padding = 0;
    if (this.#dataLeft === 0) {
      padding = Math.min(this.#paddingLeft, end - behind);
      this.#paddingLeft -= padding;
    }
    this.start = at;
    this.end = behind;
    this.flow += data + padding;
    this.last = this.#dataLeft + this.#paddingLeft === 0;
    return behind + padding;
  }

  /** Judges a complete frame that is no DATA, by its type. */
  #interpret(buffer: Uint8Array): number {
    switch (this.type) {
      case FrameType.Headers:
        return this.#headers(buffer);
      case FrameType.Continuation:
        if (this.endHeaders) this.#blockStream = 0;
        return 0;
      case FrameType.RstStream:
        this.code = readUint32(buffer, this.start);
        return 0;
      case FrameType.Settings:
        if (this.length % SETTING_SIZE === 0 && !(this.ack && this.length > 0)) return 0;
        return this.#failLength();
      case FrameType.PushPromise:
        // A client cannot push (RFC 9113, section 8.4), and as a client we say ENABLE_PUSH=0 before our
        // first request, so no server may.
        return this.#fail(H2Code.ProtocolError, "push is not enabled");
      case FrameType.Goaway:
        if (this.length < GOAWAY_SIZE) return this.#failLength();
        this.lastStreamId = readUint31(buffer, this.start);
        this.code = readUint32(buffer, this.start + 4);
        this.start += GOAWAY_SIZE;
        return 0;
      case FrameType.WindowUpdate:
        this.increment = readUint31(buffer, this.start);
        // RFC 9113, section 6.9: a stream error on a stream, but then anybody could make us send resets.
        if (this.increment === 0) return this.#fail(H2Code.ProtocolError, "an increment of 0");
        return 0;
      default: // PRIORITY, PING and unknown types: the content is the payload
        return 0;
    }
  }

  #headers(buffer: Uint8Array): number {
    let { start } = this;
    let padding = 0;
    if ((this.flags & Flag.Padded) !== 0) {
      if (this.length === 0) return this.#failLength();
      padding = buffer[start++]!;
    }
    // RFC 9113, section 5.3.2: priority signals are deprecated; a stream that depends on itself is no error.
    if ((this.flags & Flag.Priority) !== 0) start += PRIORITY_SIZE;
    if (start > this.end) return this.#failLength();
    if (start + padding > this.end) return this.#failPadding(padding);
    this.start = start;
    this.end -= padding;
    if (!this.endHeaders) this.#blockStream = this.streamId;
    return 0;
  }
}

/**
 * One HTTP/2 connection, as server or as client: RFC 9113.
 *
 * Frames are handled as they are read, in one turn; what they make us send is gathered and leaves in one
 * write. The engine does not know what carries its bytes.
 *
 * @module
 */
import { ByteReader } from "../../common/byte_reader.ts";
import type { Clock, Timed } from "../../common/clock.ts";
import { type Duplex, writeAll } from "../../common/duplex.ts";
import { describeError } from "../../common/errors.ts";
import { ByteWriter } from "../h1/writer.ts";
import { AbuseBudget, type AbuseToken } from "./budget.ts";
import { type ConnectionError, connectionError, H2Code } from "./errors.ts";
import { FRAME_ERROR, FrameReader, NEED_MORE } from "./frame_reader.ts";
import {
  beginHeaders,
  encodeDataHeader,
  encodeGoaway,
  encodePing,
  encodePingAck,
  encodeRstStream,
  encodeSettings,
  encodeSettingsAck,
  encodeWindowUpdate,
  endHeaders,
} from "./frame_writer.ts";
import { Flag, FrameType, MAX_UINT31, readUint31 } from "./frames.ts";
import { checkTrailers } from "./headers.ts";
import { Decoder } from "./hpack/decoder.ts";
import { Encoder } from "./hpack/encoder.ts";
import { CLIENT_PREFACE, matchPreface } from "./preface.ts";
import { H2RequestHead } from "./request_head.ts";
import { H2ResponseHead } from "./response_head.ts";
import { applySettings, initialSettings, Setting, type Settings } from "./settings.ts";
import { H2Stream, type StreamHost, type StreamListener, type StreamReset } from "./stream.ts";

/** Which side of the connection we are. */
export type Role = "server" | "client";

/** What we grant a peer, and how long it may take. */
export interface H2Options {
  /** Streams that the peer may have open; refused above that with REFUSED_STREAM. Default 100. */
  readonly maxConcurrentStreams: number;
  /** Bytes in flight for each stream. Default 65,535. */
  readonly streamWindow: number;
  /** Bytes in flight for the connection. Default 1 MiB. */
  readonly connectionWindow: number;
  /** Until the peer's first SETTINGS must be there, in milliseconds. Default 10,000. */
  readonly settingsTimeout: number;
  /** How long a write may take, in milliseconds. Default 60,000. */
  readonly writeTimeout: number;
  /** How long a connection without streams stays open, in milliseconds. Default 300,000. */
  readonly idleTimeout: number;
  /**
   * Whether the end is announced. Default `true`; `false` for a peer that runs on `node:http2`, which
   * Deno 2.9 may crash when a GOAWAY comes after concurrent streams (denoland/deno#36788).
   */
  readonly sendsGoaway: boolean;
}

/** The default of each of {@linkcode H2Options}. */
export const DEFAULT_H2_OPTIONS: H2Options = {
  maxConcurrentStreams: 100,
  streamWindow: 65_535,
  connectionWindow: 1024 * 1024,
  settingsTimeout: 10_000,
  writeTimeout: 60_000,
  idleTimeout: 300_000,
  sendsGoaway: true,
};

/** Told what happens on a connection. Nothing of it may throw. */
export interface H2Handler {
  /**
   * A request came; server role only. What it returns is told the rest. The head is valid during the
   * call only. `refusal` is set when the head must be answered with an error and not be forwarded.
   */
  onRequest?(
    stream: H2Stream,
    head: H2RequestHead,
    options: { readonly endStream: boolean; readonly refused: boolean },
  ): StreamListener;
  /** The peer takes no more streams: it said GOAWAY. */
  onGoaway?(): void;
  /** A stream ended, so another one may begin. */
  onStreamEnded?(): void;
  /** The peer's first SETTINGS came. */
  onReady?(): void;
  /** Abuse was met; the token is for the metrics. */
  onAbuse?(token: AbuseToken): void;
}

/** How a connection is made. */
export interface H2Parts {
  /** Which side we are. */
  readonly role: Role;
  /** What carries the bytes. */
  readonly duplex: Duplex;
  /** For deadlines. */
  readonly clock: Clock;
  /** What is told. */
  readonly handler: H2Handler;
  /** What is granted. */
  readonly options?: Partial<H2Options>;
}

/** The window of a connection and of its streams before anybody changes it (section 6.9.2). */
const INITIAL_WINDOW = 65_535;
/** Bytes that are read at once while little comes, and while much does. */
const SMALL_READ = 4 * 1024;
const LARGE_READ = 64 * 1024;
/** Bytes that wait to be written before streams are made to wait in their own queues. */
const HIGH_WATER = 256 * 1024;
/** Bytes that one stream sends before it is the turn of the next. */
const TURN = 16 * 1024;
/** Streams that we have reset and whose late frames are ignored (section 5.4.2). */
const REMEMBERED_RESETS = 256;
/** How long the client has to answer the PING between the two GOAWAYs, in milliseconds. */
const DRAIN_PING_MS = 1000;
/** Bytes of the deprecated priority fields (RFC 9113, section 6.3). */
const PRIORITY_SIZE = 5;
/** The payload of that PING. */
const DRAIN_PING = new Uint8Array([0x6c, 0x62, 0x2d, 0x64, 0x72, 0x61, 0x69, 0x6e]);

/** One HTTP/2 connection. */
export class H2Connection implements StreamHost, Timed {
  /** Which side we are. */
  readonly role: Role;
  deadline = Infinity;
  readonly #duplex: Duplex;
  readonly #clock: Clock;
  readonly #handler: H2Handler;
  readonly #options: H2Options;
  readonly #reader: ByteReader;
  readonly #frames = new FrameReader();
  readonly #decoder = new Decoder();
  readonly #encoder = new Encoder();
  readonly #budget = new AbuseBudget();
  readonly #request = new H2RequestHead();
  readonly #response = new H2ResponseHead();
  readonly #peer: Settings = initialSettings();
  readonly #streams = new Map<number, H2Stream>();
  readonly #blocked = new Set<H2Stream>();
  readonly #resets = new Set<number>();
  #out = new ByteWriter(new Uint8Array(SMALL_READ));
  #spare: Uint8Array = new Uint8Array(SMALL_READ);
  #writing = false;
  #flushDue = false;
  #sendWindow = INITIAL_WINDOW;
  #receiveWindow: number;
  #unGranted = 0;
  #lastPeerStream = 0;
  #nextStream = 1;
  /** The stream whose field block is being read, and whether it ends with it. */
  #blockStream = 0;
  #blockEnds = false;
  #blockTooLarge = false;
  #ready = false;
  #tableAsked = false;
  #goawaySent = false;
  #goawayReceived = false;
  #draining = false;
  #closed = false;
  #goodbye: Promise<void> | undefined;
  #written: (() => void) | undefined;
  readonly #done = Promise.withResolvers<void>();

  /** Takes a connection over; {@linkcode run} does the work. */
  constructor(parts: H2Parts) {
    this.role = parts.role;
    this.#duplex = parts.duplex;
    this.#clock = parts.clock;
    this.#handler = parts.handler;
    this.#options = { ...DEFAULT_H2_OPTIONS, ...parts.options };
    this.#reader = new ByteReader(parts.duplex, SMALL_READ);
    this.#receiveWindow = this.#options.connectionWindow;
    this.#greet();
  }

  /** Resolves when the connection has ended. */
  get finished(): Promise<void> {
    return this.#done.promise;
  }

  /** How many streams are open. */
  get streams(): number {
    return this.#streams.size;
  }

  /** Whether another stream may be opened; client role. */
  get available(): boolean {
    return !this.#closed && !this.#goawayReceived && !this.#draining &&
      this.#streams.size < Math.min(this.#peer.maxConcurrentStreams, MAX_UINT31) &&
      this.#nextStream < MAX_UINT31;
  }

  /** Whether the connection takes no more streams for good. */
  get ending(): boolean {
    return this.#closed || this.#goawayReceived || this.#draining;
  }

  /** All bytes read. */
  get bytesRead(): number {
    return this.#reader.bytesRead;
  }

  /** All bytes written. */
  bytesWritten = 0;

  #greet(): void {
    const { maxConcurrentStreams, streamWindow, connectionWindow } = this.#options;
    const out = this.#out;
    if (this.role === "client") out.bytes(CLIENT_PREFACE);
    encodeSettings(out, [
      this.role === "client"
        ? [Setting.EnablePush, 0]
        : [Setting.MaxConcurrentStreams, maxConcurrentStreams],
      [Setting.InitialWindowSize, streamWindow],
      [Setting.MaxHeaderListSize, this.#request.fields.limits.maxListSize],
    ]);
    if (this.role === "client") this.#askForNoTable();
    if (connectionWindow > INITIAL_WINDOW) {
      encodeWindowUpdate(out, 0, connectionWindow - INITIAL_WINDOW);
    }
    this.#schedule();
  }

  /**
   * A table of size 0 lets the peer's blocks carry no state, so that they can be copied as they come. It is
   * asked for, not insisted on: some peers (old clients, h2spec) go on with the 4096 bytes that hold at first,
   * so the decoder keeps to those, and what depends on a table is encoded anew. Clients are asked when
   * their first stream has ended: those with a single request are spared it.
   */
  #askForNoTable(): void {
    this.#tableAsked = true;
    encodeSettings(this.#out, [[Setting.HeaderTableSize, 0]]);
  }

  /** Reads until the connection ends. Never rejects. */
  async run(): Promise<void> {
    const reader = this.#reader;
    this.#clock.watch(this);
    this.#clock.arm(this, this.#options.settingsTimeout);
    let error: unknown;
    try {
      if (this.role === "client" || await this.#readPreface()) await this.#readFrames();
      if (reader.ended?.type === "error") error = reader.ended.error;
    } finally {
      this.#clock.unwatch(this);
      this.#lose(error);
      this.#duplex.close();
      this.#done.resolve();
    }
  }

  async #readPreface(): Promise<boolean> {
    const reader = this.#reader;
    for (;;) {
      const match = matchPreface(reader.buffer, reader.start, reader.end);
      if (match === "match") {
        reader.start += CLIENT_PREFACE.length;
        return true;
      }
      if (match === "mismatch") {
        this.#fail(connectionError(H2Code.ProtocolError, "no connection preface"));
        return true;
      }
      if (!await reader.fill()) return false;
    }
  }

  async #readFrames(): Promise<void> {
    const reader = this.#reader;
    const frames = this.#frames;
    let before = 0;
    for (;;) {
      while (!this.#closed) {
        const next = frames.next(reader.buffer, reader.start, reader.end);
        if (next === NEED_MORE) break;
        if (next === FRAME_ERROR) {
          this.#fail(frames.error);
          break;
        }
        reader.start = next;
        this.#handle(reader.buffer);
      }
      // What comes behind our end is thrown away, so that the peer can read why it ended.
      if (this.#closed) reader.start = reader.end;
      // Only behind a small read: between two bursts of a busy connection the buffer stays as it is.
      const small = reader.bytesRead - before < SMALL_READ;
      if (small && reader.available === 0 && this.#streams.size === 0) reader.shrink();
      if (frames.needed > reader.buffer.length || reader.full) reader.grow(LARGE_READ);
      before = reader.bytesRead;
      if (!await reader.fill()) break;
      if (reader.end === reader.buffer.length) reader.grow(LARGE_READ);
    }
    await this.#goodbye;
  }

  /** Lets what is framed leave and ends our side. The deadline closes the socket if the peer does not. */
  async #sayGoodbye(): Promise<void> {
    this.#clock.arm(this, DRAIN_PING_MS);
    this.#flush();
    while (this.#writing) await new Promise<void>((resolve) => this.#written = resolve);
    // A client has nothing to wait for: what the server would still say is about no stream of ours.
    if (this.role === "client") return this.#duplex.close();
    try {
      await this.#duplex.closeWrite();
    } catch {
      // The peer has gone; there is nobody to say goodbye to.
      this.#duplex.close();
    }
  }

  #handle(buffer: Uint8Array): void {
    const frames = this.#frames;
    switch (frames.type) {
      case FrameType.Data:
        return this.#onData(buffer);
      case FrameType.Headers:
        return this.#onHeaders(buffer);
      case FrameType.Continuation:
        if (this.#abuse(this.#budget.countContinuation(frames.length))) return;
        return this.#onBlock(buffer);
      case FrameType.Priority:
        if (this.#abuse(this.#budget.countPriority())) return;
        this.#checkDependency(buffer, frames.start);
        return;
      case FrameType.RstStream:
        return this.#onRstStream();
      case FrameType.Settings:
        return this.#onSettings(buffer);
      case FrameType.Ping:
        return this.#onPing(buffer);
      case FrameType.Goaway:
        return this.#onGoaway();
      case FrameType.WindowUpdate:
        return this.#onWindowUpdate();
      default:
        // RFC 9113, section 5.5: "Implementations MUST ignore unknown or unsupported values".
        this.#abuse(this.#budget.countUnknown());
    }
  }

  /**
   * RFC 7540, section 5.3.1: a stream that depends on itself is an error. RFC 9113 has no dependencies any
   * more; whoever still sends them and cannot even do that is not answered with resets at will.
   */
  #checkDependency(buffer: Uint8Array, at: number): boolean {
    const id = this.#frames.streamId;
    if (readUint31(buffer, at) !== id) return true;
    this.#fail(connectionError(H2Code.ProtocolError, `stream ${id} depends on itself`));
    return false;
  }

  /** Whether a stream with this identifier has never been opened. */
  #isIdle(id: number): boolean {
    const ours = (id & 1) === (this.role === "client" ? 1 : 0);
    return ours ? id >= this.#nextStream : id > this.#lastPeerStream;
  }

  #onHeaders(buffer: Uint8Array): void {
    const frames = this.#frames;
    const id = frames.streamId;
    // Padding is no content: a frame that is all padding is an empty one.
    const content = frames.end - frames.start;
    if (this.#abuse(this.#budget.countHeaders(content, frames.endStream))) return;
    if (
      (frames.flags & Flag.Priority) !== 0 &&
      !this.#checkDependency(buffer, frames.start - PRIORITY_SIZE)
    ) return;
    if (this.#isIdle(id)) {
      // RFC 9113, section 5.1.1: streams of a client have odd identifiers.
      if (this.role === "client" || (id & 1) === 0) {
        return this.#fail(connectionError(H2Code.ProtocolError, `HEADERS on idle stream ${id}`));
      }
    } else if (!this.#streams.has(id) && !this.#resets.has(id)) {
      return this.#fail(connectionError(H2Code.StreamClosed, `HEADERS on closed stream ${id}`));
    }
    this.#blockStream = id;
    this.#blockEnds = frames.endStream;
    this.#blockTooLarge = false;
    this.#fields.reset();
    this.#onBlock(buffer);
  }

  get #fields() {
    return this.role === "server" ? this.#request.fields : this.#response.fields;
  }

  #onBlock(buffer: Uint8Array): void {
    const frames = this.#frames;
    const fields = this.#fields;
    if (!fields.append(buffer, frames.start, frames.end)) {
      // The block cannot be decoded in part, and without it the compression state is lost.
      this.#abuse("field_block_flood");
      return;
    }
    if (!frames.endHeaders) return;
    const verdict = this.#decoder.decode(fields);
    if (verdict === "compression") {
      return this.#fail(connectionError(H2Code.CompressionError, "a field block is invalid"));
    }
    if (verdict === "excessive") {
      this.#abuse("field_block_flood");
      return;
    }
    this.#blockTooLarge = verdict === "too_large";
    const stream = this.#streams.get(this.#blockStream);
    if (stream !== undefined) this.#onFields(stream);
    else if (this.#isIdle(this.#blockStream)) this.#open(this.#blockStream);
  }

  /** A request begins. */
  #open(id: number): void {
    this.#lastPeerStream = id;
    this.#budget.countStream();
    // After our last GOAWAY, later streams are ignored; their blocks have been decoded (section 6.8).
    if (this.#goawaySent) return this.#ignore(id);
    const { maxConcurrentStreams, streamWindow } = this.#options;
    const stream = new H2Stream(id, this, this.#peer.initialWindowSize, streamWindow);
    this.#streams.set(id, stream);
    if (this.#streams.size > maxConcurrentStreams) {
      this.#refuse(stream, H2Code.RefusedStream);
      return;
    }
    const head = this.#request;
    const endStream = this.#blockEnds;
    stream.remoteEnded = endStream;
    stream.headed = true;
    let refused = this.#blockTooLarge;
    if (refused) head.error = "head_too_large";
    else {
      const verdict = head.interpret(endStream);
      if (verdict === "malformed") return this.#refuse(stream, H2Code.ProtocolError);
      refused = verdict === "refused";
    }
    stream.expected = refused ? -1 : head.contentLength;
    this.#idle();
    stream.listener = this.#handler.onRequest!(stream, head, { endStream, refused });
  }

  /** A response head or trailers came on an open stream. */
  #onFields(stream: H2Stream): void {
    const endStream = this.#blockEnds;
    if (stream.remoteEnded) return this.#refuse(stream, H2Code.StreamClosed);
    if (this.role === "client" && !stream.headed) {
      const head = this.#response;
      if (this.#blockTooLarge || head.interpret(endStream, stream.noBody) === "malformed") {
        return this.#refuse(stream, H2Code.ProtocolError);
      }
      if (!head.interim) {
        stream.headed = true;
        stream.expected = stream.noBody ? -1 : head.contentLength;
      }
      stream.remoteEnded = endStream;
      stream.listener?.onHead(head, endStream);
    } else {
      // RFC 9113, section 8.1: a second HEADERS that does not end the stream is malformed.
      const fields = this.#fields;
      if (!endStream || this.#blockTooLarge || checkTrailers(fields) !== undefined) {
        return this.#refuse(stream, H2Code.ProtocolError);
      }
      if (stream.expected > 0) return this.#refuse(stream, H2Code.ProtocolError);
      stream.remoteEnded = true;
      stream.listener?.onTrailers(fields);
    }
    if (stream.localEnded && stream.remoteEnded && !stream.gone) this.settle(stream);
  }

  #onData(buffer: Uint8Array): void {
    const frames = this.#frames;
    const { streamId, flow, start, end } = frames;
    if (
      frames.first &&
      this.#abuse(this.#budget.countData(frames.dataLength, (frames.flags & 1) === 1))
    ) return;
    this.#receiveWindow -= flow;
    if (this.#receiveWindow < 0) {
      return this.#fail(connectionError(H2Code.FlowControlError, "the connection's window"));
    }
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      if (this.#isIdle(streamId)) {
        return this.#fail(connectionError(H2Code.ProtocolError, `DATA on idle stream ${streamId}`));
      }
      this.credit(undefined, flow);
      if (frames.last && !this.#resets.has(streamId)) {
        this.#sendReset(streamId, H2Code.StreamClosed);
      }
      return;
    }
    if (stream.remoteEnded || !stream.headed) {
      this.credit(undefined, flow);
      return this.#refuse(
        stream,
        stream.remoteEnded ? H2Code.StreamClosed : H2Code.ProtocolError,
      );
    }
    stream.receiveWindow -= flow;
    if (stream.receiveWindow < 0) {
      this.credit(undefined, flow);
      return this.#refuse(stream, H2Code.FlowControlError);
    }
    const padding = flow - (end - start);
    if (padding > 0) this.credit(stream, padding);
    const endStream = frames.endStream;
    if (stream.expected >= 0) {
      // RFC 9113, section 8.1.1: a body that differs from its Content-Length is malformed.
      stream.expected -= end - start;
      if (stream.expected < 0 || (endStream && stream.expected > 0)) {
        this.credit(undefined, end - start);
        return this.#refuse(stream, H2Code.ProtocolError);
      }
    }
    stream.remoteEnded = endStream;
    if (end > start || endStream) stream.listener?.onData(buffer, start, end, endStream);
    if (stream.localEnded && stream.remoteEnded && !stream.gone) this.settle(stream);
  }

  #onRstStream(): void {
    const { streamId, code } = this.#frames;
    if (this.#isIdle(streamId)) {
      return this.#fail(
        connectionError(H2Code.ProtocolError, `RST_STREAM on idle stream ${streamId}`),
      );
    }
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    if (this.role === "server" && this.#abuse(this.#budget.countReset(this.#clock.now()))) return;
    this.#drop(stream, {
      code,
      unprocessed: code === H2Code.RefusedStream,
      connectionLost: false,
      detail: "the peer reset the stream",
    });
  }

  #onSettings(buffer: Uint8Array): void {
    const frames = this.#frames;
    if (frames.ack) return;
    if (this.#abuse(this.#budget.countSettings(this.#clock.now()))) return;
    const before = this.#peer.initialWindowSize;
    const error = applySettings(
      this.#peer,
      { bytes: buffer, start: frames.start, end: frames.end },
      this.role === "server" ? "client" : "server",
    );
    if (error !== undefined) return this.#fail(error);
    this.#encoder.limitTable(this.#peer.headerTableSize);
    const delta = this.#peer.initialWindowSize - before;
    if (delta !== 0) {
      // RFC 9113, section 6.9.2: "a receiver MUST adjust the size of all stream flow-control windows".
      for (const stream of this.#streams.values()) {
        stream.sendWindow += delta;
        if (stream.sendWindow > MAX_UINT31) {
          return this.#fail(
            connectionError(H2Code.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE"),
          );
        }
      }
    }
    encodeSettingsAck(this.#out);
    this.#queueControl();
    if (!this.#ready) {
      this.#ready = true;
      this.#idle();
      this.#handler.onReady?.();
    }
    if (delta > 0) this.#drain();
  }

  #onPing(buffer: Uint8Array): void {
    const frames = this.#frames;
    if (frames.ack) {
      if (this.#draining && !this.#goawaySent) this.#sendLastGoaway();
      return;
    }
    if (this.#abuse(this.#budget.countPing(this.#clock.now()))) return;
    encodePingAck(this.#out, buffer, frames.start);
    this.#queueControl();
  }

  #onGoaway(): void {
    const { lastStreamId, code } = this.#frames;
    this.#goawayReceived = true;
    if (this.role === "client") {
      for (const stream of [...this.#streams.values()]) {
        if (stream.id <= lastStreamId) continue;
        // RFC 9113, section 6.8: streams above the last one "can be treated as though they had never
        // been created at all".
        this.#drop(stream, {
          code,
          unprocessed: true,
          connectionLost: false,
          detail: "the peer goes away",
        });
      }
    }
    this.#handler.onGoaway?.();
    this.#endIfIdle();
  }

  #onWindowUpdate(): void {
    const { streamId, increment } = this.#frames;
    if (this.#abuse(this.#budget.countWindowUpdate())) return;
    if (streamId === 0) {
      this.#sendWindow += increment;
      if (this.#sendWindow > MAX_UINT31) {
        return this.#fail(connectionError(H2Code.FlowControlError, "the connection's window"));
      }
      this.#drain();
      return;
    }
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      if (!this.#isIdle(streamId)) return;
      return this.#fail(
        connectionError(H2Code.ProtocolError, `WINDOW_UPDATE on idle stream ${streamId}`),
      );
    }
    stream.sendWindow += increment;
    if (stream.sendWindow > MAX_UINT31) return this.#refuse(stream, H2Code.FlowControlError);
    if (this.#blocked.has(stream)) this.#drain();
  }

  /** Opens a stream with a request head; client role, and only while {@linkcode available}. */
  openStream(
    block: Uint8Array,
    options: {
      readonly endStream: boolean;
      readonly noBody: boolean;
      readonly listener: StreamListener;
    },
  ): H2Stream {
    const stream = new H2Stream(
      this.#nextStream,
      this,
      this.#peer.initialWindowSize,
      this.#options.streamWindow,
    );
    this.#nextStream += 2;
    stream.listener = options.listener;
    stream.noBody = options.noBody;
    this.#streams.set(stream.id, stream);
    this.#budget.countStream();
    this.#idle();
    stream.sendHeaders(block, options.endStream);
    return stream;
  }

  frameHeaders(stream: H2Stream, block: Uint8Array, endStream: boolean): void {
    const out = this.#out;
    const at = beginHeaders(out);
    this.#encoder.begin(out);
    out.bytes(block);
    endHeaders(out, at, {
      streamId: stream.id,
      endStream,
      maxFrameSize: Math.min(this.#peer.maxFrameSize, TURN),
    });
    this.#schedule();
  }

  frameData(
    stream: H2Stream,
    bytes: Uint8Array,
    start: number,
    end: number,
    endStream: boolean,
  ): number {
    const out = this.#out;
    let at = start;
    while (at < end) {
      if (out.at > HIGH_WATER) break;
      const count = Math.min(
        end - at,
        stream.sendWindow,
        this.#sendWindow,
        Math.min(this.#peer.maxFrameSize, TURN),
      );
      if (count <= 0) break;
      const last = endStream && at + count === end;
      encodeDataHeader(out, stream.id, count, last);
      out.range(bytes, at, at + count);
      at += count;
      stream.sendWindow -= count;
      this.#sendWindow -= count;
      this.#budget.countDataSent();
      if (last) stream.localEnded = true;
    }
    if (start === end && endStream) {
      encodeDataHeader(out, stream.id, 0, true);
      stream.localEnded = true;
    }
    this.#schedule();
    return at - start;
  }

  frameReset(stream: H2Stream, code: H2Code): void {
    this.#sendReset(stream.id, code);
    stream.drop();
    this.#forget(stream);
  }

  /** Late frames of this stream are no error. */
  #ignore(id: number): void {
    this.#resets.add(id);
    if (this.#resets.size > REMEMBERED_RESETS) {
      this.#resets.delete(this.#resets.values().next().value!);
    }
  }

  #sendReset(id: number, code: H2Code): void {
    this.#ignore(id);
    encodeRstStream(this.#out, id, code);
    this.#queueControl();
  }

  /** The peer broke a rule of one stream: it is reset, which counts like a reset of its own. */
  #refuse(stream: H2Stream, code: H2Code): void {
    this.frameReset(stream, code);
    stream.listener?.onReset({
      code,
      unprocessed: false,
      connectionLost: false,
      detail: "the peer broke the protocol",
    });
    this.#abuse(this.#budget.countReset(this.#clock.now()));
  }

  markBlocked(stream: H2Stream): void {
    this.#blocked.add(stream);
  }

  credit(stream: H2Stream | undefined, count: number): void {
    this.#unGranted += count;
    if (this.#unGranted >= this.#options.connectionWindow / 2) {
      encodeWindowUpdate(this.#out, 0, this.#unGranted);
      this.#receiveWindow += this.#unGranted;
      this.#unGranted = 0;
      this.#schedule();
    }
    if (stream === undefined || stream.remoteEnded) return;
    stream.unGranted += count;
    if (stream.unGranted >= this.#options.streamWindow / 2) {
      encodeWindowUpdate(this.#out, stream.id, stream.unGranted);
      stream.receiveWindow += stream.unGranted;
      stream.unGranted = 0;
      this.#schedule();
    }
  }

  settle(stream: H2Stream): void {
    stream.drop();
    this.#forget(stream);
  }

  #drop(stream: H2Stream, reset: StreamReset): void {
    stream.drop();
    this.#forget(stream);
    stream.listener?.onReset(reset);
  }

  #forget(stream: H2Stream): void {
    if (!this.#streams.delete(stream.id)) return;
    if (!this.#tableAsked) this.#askForNoTable();
    this.#blocked.delete(stream);
    this.#idle();
    this.#handler.onStreamEnded?.();
    this.#endIfIdle();
  }

  /** Lets streams that wait send, in turns, until all windows or the socket are full. */
  #drain(): void {
    let progress = true;
    while (progress && this.#blocked.size > 0 && this.#out.at <= HIGH_WATER) {
      progress = false;
      for (const stream of [...this.#blocked]) {
        const before = stream.queued;
        if (!stream.pump(TURN)) {
          this.#blocked.delete(stream);
          progress = true;
        } else if (stream.queued < before) progress = true;
        if (this.#out.at > HIGH_WATER) break;
      }
    }
  }

  #queueControl(): void {
    this.#schedule();
    this.#abuse(this.#budget.countQueued());
  }

  /** What is framed in one turn leaves in one write at its end. */
  #schedule(): void {
    if (this.#flushDue || this.#writing) return;
    this.#flushDue = true;
    queueMicrotask(() => {
      this.#flushDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#writing || this.#out.at === 0) return;
    this.#writing = true;
    const out = this.#out;
    const bytes = out.written;
    this.#out = new ByteWriter(this.#spare);
    this.#spare = out.buffer;
    if (this.#ready) this.#clock.arm(this, this.#options.writeTimeout);
    writeAll(this.#duplex, bytes).then(() => {
      this.bytesWritten += bytes.length;
      this.#writing = false;
      this.#budget.clearQueued();
      if (this.#spare.length > HIGH_WATER) this.#spare = new Uint8Array(SMALL_READ);
      this.#idle();
      this.#drain();
      this.#flush();
      this.#written?.();
    }, () => {
      // The reader sees the same failure and ends the connection.
      this.#writing = false;
      this.#duplex.close();
      this.#written?.();
    });
  }

  /** Sets the deadline for what is waited for now. */
  #idle(): void {
    if (this.#closed) return;
    if (this.#writing) this.#clock.arm(this, this.#options.writeTimeout);
    else if (!this.#ready) this.#clock.arm(this, this.#options.settingsTimeout);
    else if (this.#draining && !this.#goawaySent) this.#clock.arm(this, DRAIN_PING_MS);
    else if (this.#streams.size === 0) this.#clock.arm(this, this.#options.idleTimeout);
    else this.#clock.disarm(this);
  }

  onDeadline(): void {
    if (this.#closed || this.#writing) return this.#duplex.close();
    if (!this.#ready) {
      return this.#fail(connectionError(H2Code.SettingsTimeout, "no SETTINGS in time"));
    }
    if (this.#draining && !this.#goawaySent) return this.#sendLastGoaway();
    this.drain();
  }

  /** Takes no more streams, in two steps so that none under way to us is lost; ends when all have ended. */
  drain(): void {
    if (this.#draining || this.#closed) return;
    this.#draining = true;
    if (this.role === "client" || !this.#ready) return this.#sendLastGoaway();
    // RFC 9113, section 6.8: a server "SHOULD send an initial GOAWAY frame with the last stream
    // identifier set to 2^31-1 and a NO_ERROR code", and, a round trip later, the true one.
    this.#goaway(MAX_UINT31, H2Code.NoError);
    encodePing(this.#out, DRAIN_PING, 0);
    this.#clock.arm(this, DRAIN_PING_MS);
    this.#schedule();
  }

  #goaway(lastStreamId: number, code: H2Code, debug = ""): void {
    if (this.#options.sendsGoaway) encodeGoaway(this.#out, lastStreamId, code, debug);
  }

  #sendLastGoaway(): void {
    this.#goawaySent = true;
    this.#goaway(this.role === "server" ? this.#lastPeerStream : 0, H2Code.NoError);
    this.#draining = true;
    this.#schedule();
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (this.#streams.size > 0 || this.#closed) return;
    if ((this.#draining && this.#goawaySent) || this.#goawayReceived) {
      if (!this.#goawaySent) this.#goaway(this.#lastPeerStream, H2Code.NoError);
      this.#goawaySent = true;
      this.#closed = true;
      this.#goodbye ??= this.#sayGoodbye();
    }
  }

  /** The peer broke a rule of the connection, or asked for too much: GOAWAY, and the end. */
  #fail(error: ConnectionError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#goawaySent = true;
    this.#goaway(this.#lastPeerStream, error.code, error.detail);
    this.error = error;
    this.#lose(undefined);
    this.#goodbye ??= this.#sayGoodbye();
  }

  /** Why we ended the connection, if we did. */
  error: ConnectionError | undefined;

  #abuse(token: AbuseToken | undefined): boolean {
    if (token === undefined) return false;
    if (!this.#closed) this.#handler.onAbuse?.(token);
    this.#fail(connectionError(H2Code.EnhanceYourCalm, token));
    return true;
  }

  /** Every stream that is still open is lost. */
  #lose(cause: unknown): void {
    this.#closed = true;
    for (const stream of [...this.#streams.values()]) {
      this.#drop(stream, {
        code: H2Code.Cancel,
        unprocessed: false,
        connectionLost: true,
        detail: cause === undefined ? "the connection ended" : describeError(cause),
      });
    }
  }

  /** Ends the connection now. */
  abort(): void {
    this.#duplex.close();
  }
}

/**
 * What comes: each frame is handled in the turn in which it is read (RFC 9113, sections 5 and 6).
 *
 * @module
 */
import { decodeLatin1 } from "../h1/chars.ts";
import type { Closing } from "./closing.ts";
import { connectionError, H2Code } from "./errors.ts";
import { FieldReceiver, type ReceiverParts } from "./field_receiver.ts";
import { FRAME_ERROR, FrameReader, NEED_MORE } from "./frame_reader.ts";
import { encodePingAck, encodeSettingsAck } from "./frame_writer.ts";
import { FrameType } from "./frames.ts";
import type { Link } from "./link.ts";
import { applySettings } from "./settings.ts";
import type { Streams } from "./streams.ts";

/** Bytes of the debug data of GOAWAY that are told. */
const MAX_DEBUG = 256;

/** Handles the frames of one connection. */
export class Receiver {
  readonly #fields: FieldReceiver;
  readonly #frames = new FrameReader();
  readonly #link: Link;
  readonly #streams: Streams;
  readonly #closing: Closing;
  readonly #onReady: () => void;

  /**
   * Begins behind the preface.
   *
   * @param onReady Called when the peer's first SETTINGS have come.
   */
  constructor(parts: ReceiverParts, onReady: () => void) {
    this.#fields = new FieldReceiver(parts);
    this.#link = parts.link;
    this.#streams = parts.streams;
    this.#closing = parts.closing;
    this.#onReady = onReady;
  }

  /** How many bytes must be there from the index on that {@linkcode read} returned. */
  get needed(): number {
    return this.#frames.needed;
  }

  /** The stream whose field block has begun and not ended; 0 for none. */
  get blockStream(): number {
    return this.#frames.blockStream;
  }

  /** Handles the frames in `buffer[at..end)`, until the connection ends; the index behind the last. */
  read(buffer: Uint8Array, at: number, end: number): number {
    const frames = this.#frames;
    const closing = this.#closing;
    while (!closing.closed) {
      const next = frames.next(buffer, at, end);
      if (next === NEED_MORE) return at;
      if (next === FRAME_ERROR) {
        this.#link.fail(frames.error);
        break;
      }
      at = next;
      this.#handle(buffer);
    }
    // What comes behind our end is thrown away, so that the peer can read why it ended.
    return end;
  }

  #handle(buffer: Uint8Array): void {
    const frames = this.#frames;
    switch (frames.type) {
      case FrameType.Data:
        return this.#onData(buffer);
      case FrameType.Headers:
        return this.#fields.onHeaders(frames, buffer);
      case FrameType.Continuation:
        return this.#fields.onContinuation(frames, buffer);
      case FrameType.Priority:
        return this.#fields.onPriority(frames, buffer);
      case FrameType.RstStream:
        return this.#onRstStream();
      case FrameType.Settings:
        return this.#onSettings(buffer);
      case FrameType.Ping:
        return this.#onPing(buffer);
      case FrameType.Goaway:
        return this.#onGoaway(buffer);
      case FrameType.WindowUpdate:
        return this.#onWindowUpdate();
      default:
        // RFC 9113, section 5.5: "Implementations MUST ignore unknown or unsupported values".
        this.#link.refuses(this.#link.budget.countUnknown());
    }
  }

  #fail(code: H2Code, detail: string): void {
    this.#link.fail(connectionError(code, detail));
  }

  #onData(buffer: Uint8Array): void {
    const frames = this.#frames;
    const link = this.#link;
    const streams = this.#streams;
    const { streamId, flow, start, end } = frames;
    if (
      frames.first &&
      link.refuses(link.budget.countData(frames.dataLength, (frames.flags & 1) === 1))
    ) return;
    if (!streams.receiving.take(flow)) {
      return this.#fail(H2Code.FlowControlError, "the connection's window");
    }
    const stream = streams.get(streamId);
    if (stream === undefined) {
      if (streams.isIdle(streamId)) {
        return this.#fail(H2Code.ProtocolError, `DATA on idle stream ${streamId}`);
      }
      streams.credit(undefined, flow);
      if (frames.last && !streams.wasReset(streamId)) {
        streams.sendReset(streamId, H2Code.StreamClosed);
        // It costs what any other reset costs that the peer makes us send.
        link.refuses(link.budget.countReset(link.clock.now()));
      }
      return;
    }
    if (stream.remoteEnded || !stream.headed) {
      streams.credit(undefined, flow);
      return streams.refuse(
        stream,
        stream.remoteEnded ? H2Code.StreamClosed : H2Code.ProtocolError,
      );
    }
    stream.receiveWindow -= flow;
    if (stream.receiveWindow < 0) {
      streams.credit(undefined, flow);
      return streams.refuse(stream, H2Code.FlowControlError);
    }
    const padding = flow - (end - start);
    if (padding > 0) streams.credit(stream, padding);
    const endStream = frames.endStream;
    if (stream.expected >= 0) {
      // RFC 9113, section 8.1.1: a body that differs from its Content-Length is malformed.
      stream.expected -= end - start;
      if (stream.expected < 0 || (endStream && stream.expected > 0)) {
        streams.credit(undefined, end - start);
        return streams.refuse(stream, H2Code.ProtocolError);
      }
    }
    stream.remoteEnded = endStream;
    if (end > start || endStream) stream.listener?.onData(buffer, start, end, endStream);
    if (stream.localEnded && stream.remoteEnded && !stream.gone) streams.settle(stream);
  }

  #onRstStream(): void {
    const { streamId, code } = this.#frames;
    const link = this.#link;
    if (this.#streams.isIdle(streamId)) {
      return this.#fail(H2Code.ProtocolError, `RST_STREAM on idle stream ${streamId}`);
    }
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    if (
      link.role === "server" &&
      link.refuses(link.budget.countCancel(link.clock.now(), stream.opened))
    ) return;
    this.#streams.drop(stream, {
      code,
      unprocessed: code === H2Code.RefusedStream,
      connectionLost: false,
      detail: "the peer reset the stream",
    });
  }

  #onSettings(buffer: Uint8Array): void {
    const frames = this.#frames;
    const link = this.#link;
    if (frames.ack) return;
    if (link.refuses(link.budget.countSettings(link.clock.now()))) return;
    const before = link.peer.initialWindowSize;
    const error = applySettings(
      link.peer,
      { bytes: buffer, start: frames.start, end: frames.end },
      link.role === "server" ? "client" : "server",
    );
    if (error !== undefined) return void link.fail(error);
    const { sending } = this.#streams;
    sending.limitTable(link.peer.headerTableSize);
    const delta = link.peer.initialWindowSize - before;
    if (delta !== 0 && !this.#streams.shiftWindows(delta)) {
      return this.#fail(H2Code.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE");
    }
    encodeSettingsAck(link.outbox.writer);
    link.queueControl();
    if (delta > 0) sending.pump();
    if (link.ready) return link.handler.onSettings?.();
    link.ready = true;
    this.#onReady();
  }

  #onPing(buffer: Uint8Array): void {
    const frames = this.#frames;
    const link = this.#link;
    if (frames.ack) return this.#closing.onPingAck(buffer, frames.start);
    if (link.refuses(link.budget.countPing(link.clock.now(), this.#streams.size))) return;
    encodePingAck(link.outbox.writer, buffer, frames.start);
    link.queueControl();
  }

  #onGoaway(buffer: Uint8Array): void {
    const { lastStreamId, code, start, end } = this.#frames;
    const link = this.#link;
    this.#closing.onGoaway();
    if (link.role === "client") {
      // RFC 9113, section 6.8: streams above the last one "can be treated as though they had never
      // been created at all".
      this.#streams.dropAbove(lastStreamId, {
        code,
        unprocessed: true,
        connectionLost: false,
        detail: "the peer goes away",
      });
    }
    link.handler.onGoaway?.(code, decodeLatin1(buffer, start, Math.min(end, start + MAX_DEBUG)));
    this.#closing.endIfIdle();
  }

  #onWindowUpdate(): void {
    const { streamId, increment } = this.#frames;
    const link = this.#link;
    const streams = this.#streams;
    if (link.refuses(link.budget.countWindowUpdate())) return;
    if (streamId === 0) {
      if (streams.sending.grant(increment)) return;
      return this.#fail(H2Code.FlowControlError, "the connection's window");
    }
    const stream = streams.get(streamId);
    if (stream === undefined) {
      if (!streams.isIdle(streamId)) return;
      return this.#fail(H2Code.ProtocolError, `WINDOW_UPDATE on idle stream ${streamId}`);
    }
    if (!streams.sending.grantTo(stream, increment)) {
      streams.refuse(stream, H2Code.FlowControlError);
    }
  }
}

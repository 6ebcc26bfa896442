/**
 * Streams of a tunnel's client that are answered here: calls of the own services, and heads that are refused. To
 * them the tunnel is the connection; the backend never hears of them.
 *
 * @module
 */
import type { Forwarding } from "../../http/forwarded.ts";
import { H2Code } from "../../http/h2/errors.ts";
import type { FrameReader } from "../../http/h2/frame_reader.ts";
import { encodeDataHeader, encodeWindowUpdate } from "../../http/h2/frame_writer.ts";
import { Flag, FRAME_HEADER_SIZE, MAX_UINT31, MIN_MAX_FRAME_SIZE } from "../../http/h2/frames.ts";
import { checkTrailers } from "../../http/h2/headers.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import type { H2RequestHead } from "../../http/h2/request_head.ts";
import { H2Stream, type StreamHost } from "../../http/h2/stream.ts";
import { GrpcCall } from "../l7/call.ts";
import type { GrpcContext } from "../l7/context.ts";
import type { Tunnel } from "./tunnel.ts";
import { GRANT_STEP } from "./windows.ts";

/**
 * Content of one stream that may wait for the own services, in bytes: somewhat more than their largest message.
 * The client's window cannot be smaller than the one that the backend gives, which may be 2 GiB.
 */
const MAX_HELD = 1024 * 1024 + 64 * 1024;

/** The streams of one tunnel that are answered here. */
export class OwnStreams implements StreamHost {
  readonly #tunnel: Tunnel;
  readonly #context: GrpcContext;
  readonly #forwarding: Forwarding;
  readonly #blocked = new Set<H2Stream>();

  /** Begins without any. */
  constructor(tunnel: Tunnel, context: GrpcContext, forwarding: Forwarding) {
    this.#tunnel = tunnel;
    this.#context = context;
    this.#forwarding = forwarding;
  }

  /** Takes a request. The head is used before this returns. */
  open(
    id: number,
    head: H2RequestHead,
    { endStream, refused }: { readonly endStream: boolean; readonly refused: boolean },
  ): void {
    const tunnel = this.#tunnel;
    const { initialWindowSize } = tunnel.client.peer;
    const stream = new H2Stream(id, this, initialWindowSize, tunnel.windows.streamToBackend);
    stream.remoteEnded = endStream;
    stream.headed = true;
    stream.expected = refused ? -1 : head.contentLength;
    tunnel.own.add(stream);
    stream.listener = new GrpcCall(this.#context, {
      stream,
      head,
      forwarding: this.#forwarding,
      endStream,
      refused,
    });
  }

  /** Content came; all of it counts in the client's windows. */
  onData(stream: H2Stream, frames: FrameReader, buffer: Uint8Array, at: number): void {
    const tunnel = this.#tunnel;
    const { length: flow, dataLength } = frames;
    if (stream.remoteEnded) {
      tunnel.windows.giveBack(flow);
      return this.#refuse(stream, H2Code.StreamClosed);
    }
    stream.receiveWindow -= flow;
    const held = tunnel.windows.streamToBackend - stream.receiveWindow - stream.unGranted;
    if (stream.receiveWindow < 0 || held > MAX_HELD) {
      tunnel.windows.giveBack(flow);
      const code = stream.receiveWindow < 0 ? H2Code.FlowControlError : H2Code.EnhanceYourCalm;
      return this.#refuse(stream, code);
    }
    this.credit(stream, flow - dataLength);
    const { endStream } = frames;
    if (stream.expected >= 0) {
      stream.expected -= dataLength;
      if (stream.expected < 0 || (endStream && stream.expected > 0)) {
        tunnel.windows.giveBack(dataLength);
        return this.#refuse(stream, H2Code.ProtocolError);
      }
    }
    stream.remoteEnded = endStream;
    const start = at + FRAME_HEADER_SIZE + ((frames.flags & Flag.Padded) === 0 ? 0 : 1);
    if (dataLength > 0 || endStream) {
      stream.listener?.onData(buffer, start, start + dataLength, endStream);
    }
    this.#settleIfEnded(stream);
  }

  /** Trailers came, or what cannot be any. */
  onTrailers(stream: H2Stream, fields: FieldList, good: boolean): void {
    if (stream.remoteEnded) return this.#refuse(stream, H2Code.StreamClosed);
    if (!good || stream.expected > 0 || checkTrailers(fields) !== undefined) {
      return this.#refuse(stream, H2Code.ProtocolError);
    }
    stream.remoteEnded = true;
    stream.listener?.onTrailers(fields);
    this.#settleIfEnded(stream);
  }

  #settleIfEnded(stream: H2Stream): void {
    if (stream.localEnded && stream.remoteEnded && !stream.gone) this.settle(stream);
  }

  /** The client reset the stream. */
  onReset(stream: H2Stream, code: H2Code): void {
    this.settle(stream);
    stream.listener?.onReset({
      code,
      unprocessed: false,
      connectionLost: false,
      detail: "the peer reset the stream",
    });
  }

  /** The client lets the stream send more. */
  onWindowUpdate(stream: H2Stream, increment: number): void {
    stream.sendWindow += increment;
    if (stream.sendWindow > MAX_UINT31) return this.#refuse(stream, H2Code.FlowControlError);
    if (this.#blocked.has(stream)) this.pump();
  }

  /** The client has changed the window that streams begin with; `false` when one is too large then. */
  shift(delta: number): boolean {
    for (const stream of this.#tunnel.own.list()) {
      stream.sendWindow += delta;
      if (stream.sendWindow > MAX_UINT31) return false;
    }
    if (delta > 0) this.pump();
    return true;
  }

  #refuse(stream: H2Stream, code: H2Code): void {
    this.#tunnel.refuseStream(stream.id, code);
    this.settle(stream);
    stream.listener?.onReset({
      code,
      unprocessed: false,
      connectionLost: false,
      detail: "the peer broke the protocol",
    });
  }

  /** The client is gone: every stream is lost. */
  lose(): void {
    for (const stream of this.#tunnel.own.list()) {
      this.settle(stream);
      stream.listener?.onReset({
        code: H2Code.Cancel,
        unprocessed: false,
        connectionLost: true,
        aborted: this.#tunnel.aborted,
        detail: "the connection ended",
      });
    }
  }

  /** Lets streams that wait send, in turns, until all windows or the socket are full. */
  pump(): void {
    const blocked = this.#blocked;
    const { outlet } = this.#tunnel.client;
    let progress = true;
    while (progress && blocked.size > 0 && !outlet.full) {
      progress = false;
      for (const stream of [...blocked]) {
        const before = stream.queued;
        if (!stream.pump(MIN_MAX_FRAME_SIZE)) {
          blocked.delete(stream);
          progress = true;
        } else if (stream.queued < before) progress = true;
        if (outlet.full) break;
      }
    }
  }

  frameHeaders(stream: H2Stream, block: Uint8Array, endStream: boolean): void {
    this.#tunnel.sendBlock(stream.id, block, endStream);
  }

  frameData(
    stream: H2Stream,
    bytes: Uint8Array,
    start: number,
    end: number,
    endStream: boolean,
  ): number {
    const tunnel = this.#tunnel;
    const { outlet, budget } = tunnel.client;
    const out = outlet.writer;
    let at = start;
    while (at < end && !outlet.full) {
      const count = Math.min(
        end - at,
        stream.sendWindow,
        tunnel.windows.client,
        MIN_MAX_FRAME_SIZE,
      );
      if (count <= 0) break;
      const last = endStream && at + count === end;
      encodeDataHeader(out, stream.id, count, last);
      out.range(bytes, at, at + count);
      at += count;
      stream.sendWindow -= count;
      // What the backend believes to be its own is now less: it gets nothing until that is made good.
      tunnel.windows.client -= count;
      budget.countDataSent();
      if (last) stream.localEnded = true;
    }
    if (start === end && endStream) {
      encodeDataHeader(out, stream.id, 0, true);
      stream.localEnded = true;
    }
    outlet.schedule();
    return at - start;
  }

  /** Its tunnel judges its client. */
  patience(_stream: H2Stream, limit: number): number {
    return limit;
  }

  frameReset(stream: H2Stream, code: H2Code): void {
    this.#tunnel.resetClient(stream.id, code);
    this.settle(stream);
  }

  markBlocked(stream: H2Stream): void {
    this.#blocked.add(stream);
  }

  credit(stream: H2Stream | undefined, count: number): void {
    const tunnel = this.#tunnel;
    tunnel.windows.giveBack(count);
    if (stream === undefined || stream.remoteEnded) return;
    stream.unGranted += count;
    if (stream.unGranted < Math.min(GRANT_STEP, Math.max(1, tunnel.windows.streamToBackend >> 1))) {
      return;
    }
    const { outlet } = tunnel.client;
    encodeWindowUpdate(outlet.writer, stream.id, stream.unGranted);
    outlet.schedule();
    stream.receiveWindow += stream.unGranted;
    stream.unGranted = 0;
  }

  settle(stream: H2Stream): void {
    stream.drop();
    this.#blocked.delete(stream);
    if (this.#tunnel.own.delete(stream.id)) this.#tunnel.onStreamGone();
  }
}

/**
 * What the client of a tunnel sends: judged frame by frame (RFC 9113, sections 5, 6 and 8). What is well formed
 * and meant for the backend passes; the rest is answered here.
 *
 * @module
 */
import type { ErrorCode } from "../../common/errors.ts";
import { type ConnectionError, H2Code } from "../../http/h2/errors.ts";
import { encodePingAck, encodeSettingsAck } from "../../http/h2/frame_writer.ts";
import { Flag, FRAME_HEADER_SIZE, FrameType, MAX_UINT31 } from "../../http/h2/frames.ts";
import { checkTrailers } from "../../http/h2/headers.ts";
import { H2RequestHead } from "../../http/h2/request_head.ts";
import type { FieldLimits } from "../../http/h2/hpack/field_list.ts";
import { applySettings, Setting, type Settings } from "../../http/h2/settings.ts";
import { NO_ROUTE } from "../../http/l7/plan.ts";
import type { LiveBackend } from "../../backend/backend.ts";
import { GrpcStatus } from "../status.ts";
import { CallRecord } from "../l7/call_record.ts";
import type { GrpcContext } from "../l7/context.ts";
import { CallDeadline, readTimeout } from "../l7/deadline.ts";
import { BlockReader } from "./block_reader.ts";
import type { Entry, FrameJudge, Verdict } from "./leg.ts";
import type { OwnStreams } from "./own_streams.ts";
import type { Tunnel } from "./tunnel.ts";
import { TunnelCall } from "./tunnel_call.ts";

/** Finds the backend of a tunnel. */
export interface Binder {
  /** The backend, while there is one. */
  readonly live: LiveBackend | undefined;
  /** The first call begins, or one after a while without any. */
  onBusy(): void;
  /** Connects to one. Resolves when there is one, or with what to answer. Never rejects. */
  bind(): Promise<ErrorCode | undefined>;
}

/** What {@linkcode ClientFrames} is made of. */
export interface ClientFramesParts {
  /** The tunnel. */
  readonly tunnel: Tunnel;
  /** Its streams that are answered here. */
  readonly own: OwnStreams;
  /** What calls are recorded with. */
  readonly context: GrpcContext;
  /** The client's address. */
  readonly address: string;
  /** Finds the backend. */
  readonly binder: Binder;
}

/** Judges the client's frames. */
export class ClientFrames implements FrameJudge {
  readonly #parts: ClientFramesParts;
  readonly #tunnel: Tunnel;
  readonly #own: OwnStreams;
  readonly #head: H2RequestHead;
  readonly #blocks: BlockReader;
  /** What came of the search for a backend. */
  #unbound: ErrorCode | undefined;

  /** Begins behind the preface. */
  constructor(parts: ClientFramesParts) {
    this.#parts = parts;
    this.#tunnel = parts.tunnel;
    this.#own = parts.own;
    this.#head = new H2RequestHead(parts.tunnel.options.fields);
    this.#blocks = new BlockReader(parts.tunnel.client, this.#head.fields);
  }

  get ended(): boolean {
    return this.#tunnel.closed;
  }

  onBadFrame(error: ConnectionError): void {
    this.#tunnel.fail(error);
  }

  onFrame(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const { frames, budget } = tunnel.client;
    switch (frames.type) {
      case FrameType.Data:
        return this.#onData(buffer);
      case FrameType.Headers:
        return this.#onHeaders(buffer);
      case FrameType.Continuation:
        return this.#onBlockPart(buffer);
      case FrameType.Priority: {
        // Deprecated (section 5.3.2): it is judged and goes nowhere.
        if (tunnel.refuses(budget.countPriority())) return "drop";
        const error = this.#blocks.checkDependency(buffer);
        if (error !== undefined) tunnel.fail(error);
        return "drop";
      }
      case FrameType.RstStream:
        return this.#onRstStream();
      case FrameType.Settings:
        return this.#onSettings(buffer);
      case FrameType.Ping:
        this.#onPing(buffer);
        return "drop";
      case FrameType.Goaway:
        tunnel.onClientLeaves();
        return "drop";
      case FrameType.WindowUpdate:
        return this.#onWindowUpdate();
      default:
        // RFC 9113, section 5.5: "Implementations MUST ignore unknown or unsupported values".
        tunnel.refuses(budget.countUnknown());
        return "drop";
    }
  }

  #isIdle(id: number): boolean {
    return (id & 1) === 0 || id > this.#tunnel.lastStream;
  }

  #onHeaders(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const id = tunnel.client.frames.streamId;
    if (this.#isIdle(id)) {
      // RFC 9113, section 5.1.1: streams of a client have odd identifiers.
      if ((id & 1) === 0) {
        tunnel.violates(H2Code.ProtocolError, `HEADERS on idle stream ${id}`);
        return "drop";
      }
    } else if (!tunnel.calls.has(id) && !tunnel.own.has(id) && !tunnel.wasReset(id)) {
      tunnel.violates(H2Code.StreamClosed, `HEADERS on closed stream ${id}`);
      return "drop";
    }
    return this.#onBlockPart(buffer);
  }

  #onBlockPart(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const part = this.#blocks.add(buffer);
    switch (part.type) {
      case "more":
        return "more";
      case "abuse":
        tunnel.refuses(part.token);
        return "drop";
      case "error":
        tunnel.fail(part.error);
        return "drop";
      case "block":
        return this.#onBlock();
    }
  }

  #onBlock(): Verdict {
    const tunnel = this.#tunnel;
    const { streamId, endStream, tooLarge } = this.#blocks;
    const call = tunnel.calls.get(streamId);
    if (call !== undefined) return this.#onTrailers(call);
    const stream = tunnel.own.get(streamId);
    if (stream !== undefined) {
      this.#own.onTrailers(stream, this.#head.fields, endStream && !tooLarge);
      return this.#skipBlock();
    }
    if (this.#isIdle(streamId)) return this.#onRequest();
    return this.#skipBlock();
  }

  /** The backend does not see the block. */
  #skipBlock(): Verdict {
    this.#tunnel.client.blocks.skip(this.#head.fields);
    return "drop";
  }

  /** The backend sees the block, as it came or encoded anew. */
  #passBlock(): Verdict {
    const { client, backend } = this.#tunnel;
    const { fields } = this.#head;
    const { blocks } = client;
    if (blocks.passes(fields)) return "pass";
    blocks.encode(client.onward, fields, this.#blocks.streamId, this.#blocks.endStream);
    backend!.outlet.schedule();
    return "drop";
  }

  /** A request begins. */
  #onRequest(): Verdict {
    const tunnel = this.#tunnel;
    const head = this.#head;
    const { streamId, endStream, tooLarge } = this.#blocks;
    tunnel.lastStream = streamId;
    tunnel.client.budget.countStream();
    // After our last GOAWAY, later streams are ignored (section 6.8).
    if (tunnel.saidLast) {
      tunnel.ignore(streamId);
      return this.#skipBlock();
    }
    if (tunnel.streams >= tunnel.options.maxConcurrentStreams) {
      tunnel.refuseStream(streamId, H2Code.RefusedStream);
      return this.#skipBlock();
    }
    let refused = tooLarge;
    if (refused) head.refuseTooLarge();
    else {
      const verdict = head.interpret(endStream);
      if (verdict === "malformed") {
        tunnel.refuseStream(streamId, H2Code.ProtocolError);
        return this.#skipBlock();
      }
      refused = verdict === "refused";
    }
    if (refused || this.#parts.context.services?.claims(head.path)) {
      this.#own.open(streamId, head, { endStream, refused });
      return this.#skipBlock();
    }
    if (tunnel.backend !== undefined) return this.#proxy();
    if (tunnel.abandoned) {
      // The client is told to connect anew; nothing has been done for this stream (section 8.7).
      tunnel.resetClient(streamId, H2Code.RefusedStream);
      return this.#skipBlock();
    }
    tunnel.client.waitFor = this.#parts.binder.bind().then((code) => void (this.#unbound = code));
    return "wait";
  }

  onWaited(): Verdict {
    const { tunnel } = this.#parts;
    if (tunnel.closed) return "drop";
    if (tunnel.backend !== undefined) return this.#proxy();
    this.#answer(this.#unbound ?? "no_backend");
    return this.#skipBlock();
  }

  #begin(): TunnelCall {
    const { context, address } = this.#parts;
    const tunnel = this.#tunnel;
    const { streamId, endStream } = this.#blocks;
    const record = new CallRecord(context, this.#head, address);
    const call = new TunnelCall(
      streamId,
      record,
      tunnel.streamToClient,
      tunnel.streamToBackend,
    );
    call.clientEnded = endStream;
    call.clientExpected = this.#head.contentLength;
    tunnel.calls.set(streamId, call);
    return call;
  }

  /** The request is answered with an error of ours, because there is no backend. */
  #answer(code: ErrorCode): void {
    this.#tunnel.endCall(this.#begin(), code);
  }

  /** The request goes to the backend. */
  #proxy(): Verdict {
    const { context, binder } = this.#parts;
    const tunnel = this.#tunnel;
    const { streamId } = this.#blocks;
    const { peer } = tunnel.backend!;
    if (streamId > tunnel.lastOfBackend || tunnel.calls.size >= peer.maxConcurrentStreams) {
      // Nothing has been done for it (section 8.7). That it is too many the client may not know yet.
      if (tunnel.client.unacknowledged.length > 0 || streamId > tunnel.lastOfBackend) {
        tunnel.resetClient(streamId, H2Code.RefusedStream);
      } else tunnel.refuseStream(streamId, H2Code.RefusedStream);
      return this.#skipBlock();
    }
    if (tunnel.calls.size === 0) binder.onBusy();
    const call = this.#begin();
    call.record.attempt(NO_ROUTE, binder.live!);
    tunnel.backend!.budget.countStream();
    if (call.record.grpc) {
      const field = readTimeout(this.#head.fields);
      if (field.type !== "none") {
        const code = field.type === "malformed" ? "bad_timeout" : "deadline_exceeded";
        if (field.type === "malformed" || field.ms === 0) {
          tunnel.endCall(call, code);
          return this.#skipBlock();
        }
        call.timer = new CallDeadline(context.clock, {
          started: call.record.started,
          timeout: field.ms,
          onExpired: () => {
            tunnel.resetBackend(streamId, H2Code.Cancel);
            tunnel.endCall(call, "deadline_exceeded");
          },
        });
      }
    }
    return this.#passBlock();
  }

  /** Trailers of a request, or what cannot be any. */
  #onTrailers(call: TunnelCall): Verdict {
    const tunnel = this.#tunnel;
    const { endStream, tooLarge } = this.#blocks;
    if (call.clientEnded) {
      tunnel.refuseCall(call, H2Code.StreamClosed, true);
      return this.#skipBlock();
    }
    // RFC 9113, section 8.1: a second HEADERS that does not end the stream is malformed.
    if (
      !endStream || tooLarge || call.clientExpected > 0 ||
      checkTrailers(this.#head.fields) !== undefined
    ) {
      tunnel.refuseCall(call, H2Code.ProtocolError, true);
      return this.#skipBlock();
    }
    call.clientEnded = true;
    return this.#passBlock();
  }

  #onData(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const { client } = tunnel;
    const { frames } = client;
    const { streamId, length: flow, dataLength, endStream } = frames;
    if (tunnel.refuses(client.budget.countData(dataLength, endStream))) return "drop";
    tunnel.clientCredit -= flow;
    if (tunnel.clientCredit < 0) {
      tunnel.violates(H2Code.FlowControlError, "the connection's window");
      return "drop";
    }
    const call = tunnel.calls.get(streamId);
    if (call === undefined) {
      this.#onOwnData(buffer);
      return "drop";
    }
    if (call.clientEnded) return this.#refuseData(call, H2Code.StreamClosed);
    call.toBackend -= flow;
    if (call.toBackend < 0) return this.#refuseData(call, H2Code.FlowControlError);
    if (call.clientExpected >= 0) {
      // RFC 9113, section 8.1.1: a body that differs from its Content-Length is malformed.
      call.clientExpected -= dataLength;
      if (call.clientExpected < 0 || (endStream && call.clientExpected > 0)) {
        return this.#refuseData(call, H2Code.ProtocolError);
      }
    }
    tunnel.backendWindow -= flow;
    tunnel.backend!.budget.countDataSent();
    const start = client.frameStart + FRAME_HEADER_SIZE +
      ((frames.flags & Flag.Padded) === 0 ? 0 : 1);
    call.record.received(buffer, start, start + dataLength);
    call.clientEnded = endStream;
    return "pass";
  }

  #refuseData(call: TunnelCall, code: H2Code): Verdict {
    const tunnel = this.#tunnel;
    tunnel.giveBack(tunnel.client.frames.length);
    tunnel.refuseCall(call, code, true);
    return "drop";
  }

  /** DATA that is not for the backend. */
  #onOwnData(buffer: Uint8Array): void {
    const tunnel = this.#tunnel;
    const { frames, frameStart } = tunnel.client;
    const { streamId, length } = frames;
    const stream = tunnel.own.get(streamId);
    if (stream !== undefined) return this.#own.onData(stream, frames, buffer, frameStart);
    if (this.#isIdle(streamId)) {
      return tunnel.violates(H2Code.ProtocolError, `DATA on idle stream ${streamId}`);
    }
    tunnel.giveBack(length);
    if (!tunnel.wasReset(streamId)) tunnel.refuseStream(streamId, H2Code.StreamClosed);
  }

  #onRstStream(): Verdict {
    const tunnel = this.#tunnel;
    const { client } = tunnel;
    const { streamId, code } = client.frames;
    if (this.#isIdle(streamId)) {
      tunnel.violates(H2Code.ProtocolError, `RST_STREAM on idle stream ${streamId}`);
      return "drop";
    }
    const call = tunnel.calls.get(streamId);
    const stream = call === undefined ? tunnel.own.get(streamId) : undefined;
    if (call === undefined && stream === undefined) return "drop";
    const { budget } = client;
    const now = tunnel.now();
    if (
      tunnel.refuses(
        call === undefined ? budget.countReset(now) : budget.countCancel(now, call.record.started),
      )
    ) return "drop";
    if (stream !== undefined) {
      this.#own.onReset(stream, code);
      return "drop";
    }
    call!.record.error = "client_closed";
    const due = call!.timer?.isDue === true;
    tunnel.remove(call!, due ? GrpcStatus.DeadlineExceeded : GrpcStatus.Cancelled);
    return tunnel.backend === undefined ? "drop" : "pass";
  }

  #onSettings(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const { client, backend } = tunnel;
    const { frames, peer } = client;
    if (frames.ack) {
      const sent = client.unacknowledged.shift();
      if (sent === undefined) return "drop";
      // It knows the smaller window now, and must keep to it.
      tunnel.shift("toBackend", sent.lowered);
      return sent.forwarded && backend !== undefined ? "pass" : "drop";
    }
    if (tunnel.refuses(client.budget.countSettings(tunnel.now()))) return "drop";
    const before = peer.initialWindowSize;
    const error = applySettings(
      peer,
      { bytes: buffer, start: frames.start, end: frames.end },
      "client",
    );
    if (error !== undefined) {
      tunnel.fail(error);
      return "drop";
    }
    tunnel.limitTable(peer.headerTableSize);
    const delta = peer.initialWindowSize - before;
    const raised = backend === undefined ? delta : Math.max(0, delta);
    if (!tunnel.shift("toClient", raised) || !this.#own.shift(delta)) {
      tunnel.violates(H2Code.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE");
      return "drop";
    }
    const forwarded = { forwarded: true, lowered: Math.min(0, delta) };
    if (backend?.tell(client.onward, settingsFor(peer, tunnel.options.fields), forwarded)) {
      if (backend.owesTooMuch) tunnel.violates(H2Code.EnhanceYourCalm, "SETTINGS too often");
    } else {
      encodeSettingsAck(client.outlet.writer);
      tunnel.queueControl();
    }
    if (!client.ready) tunnel.onClientReady();
    return "drop";
  }

  #onPing(buffer: Uint8Array): void {
    const tunnel = this.#tunnel;
    const { frames, budget, outlet } = tunnel.client;
    if (frames.ack) {
      tunnel.onPingAck(buffer, frames.start);
      return;
    }
    if (tunnel.refuses(budget.countPing(tunnel.now(), tunnel.streams))) return;
    encodePingAck(outlet.writer, buffer, frames.start);
    tunnel.queueControl();
  }

  #onWindowUpdate(): Verdict {
    const tunnel = this.#tunnel;
    const { frames, budget } = tunnel.client;
    const { streamId, increment } = frames;
    if (tunnel.refuses(budget.countWindowUpdate())) return "drop";
    if (streamId === 0) {
      const passes = tunnel.openClientWindow(increment);
      this.#own.pump();
      return passes ? "pass" : "drop";
    }
    const call = tunnel.calls.get(streamId);
    if (call !== undefined) {
      call.toClient += increment;
      if (call.toClient <= MAX_UINT31) return "pass";
      tunnel.refuseCall(call, H2Code.FlowControlError, true);
      return "drop";
    }
    const stream = tunnel.own.get(streamId);
    if (stream !== undefined) this.#own.onWindowUpdate(stream, increment);
    else if (this.#isIdle(streamId)) {
      tunnel.violates(H2Code.ProtocolError, `WINDOW_UPDATE on idle stream ${streamId}`);
    }
    return "drop";
  }
}

/** What a backend is told of a client. */
export function settingsFor(client: Settings, { maxListSize }: FieldLimits): readonly Entry[] {
  return [
    [Setting.InitialWindowSize, client.initialWindowSize],
    [Setting.MaxHeaderListSize, Math.min(client.maxHeaderListSize, maxListSize)],
  ];
}

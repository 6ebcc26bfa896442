/**
 * What the backend of a tunnel sends: judged frame by frame, as what its client sends. A backend that breaks a
 * rule of the connection is left; one that breaks a rule of a stream loses that.
 *
 * @module
 */
import { type ConnectionError, connectionError, H2Code } from "../../http/h2/errors.ts";
import { encodePingAck, encodeSettingsAck } from "../../http/h2/frame_writer.ts";
import { Flag, FRAME_HEADER_SIZE, FrameType, MAX_UINT31 } from "../../http/h2/frames.ts";
import { checkTrailers } from "../../http/h2/headers.ts";
import { DEFAULT_TABLE_SIZE } from "../../http/h2/hpack/dynamic_table.ts";
import type { FieldLimits } from "../../http/h2/hpack/field_list.ts";
import { H2ResponseHead } from "../../http/h2/response_head.ts";
import { applySettings, Setting } from "../../http/h2/settings.ts";
import { MAX_INTERIM } from "../../http/interim.ts";
import { statusOfReset } from "../status.ts";
import type { AbuseToken } from "../../http/h2/budget.ts";
import { BlockReader } from "./block_reader.ts";
import type { Entry, FrameJudge, Leg, Verdict } from "./leg.ts";
import type { Tunnel } from "./tunnel.ts";
import type { TunnelCall } from "./tunnel_call.ts";
import { GRANT_STEP } from "./windows.ts";

/** What a backend did that it is left for, as the token of log and metrics. */
export type Breach = AbuseToken | "upstream_protocol";

/** Told what becomes of the backend. Nothing of it may throw. */
export interface BackendEvents {
  /** Its first SETTINGS came. */
  onReady(): void;
  /** The head of an answer came. */
  onAnswer(): void;
  /** It broke a rule of the connection. */
  onError(error: ConnectionError, breach: Breach): void;
  /** It takes no more streams. */
  onGoaway(): void;
}

/** Judges the backend's frames. */
export class BackendFrames implements FrameJudge {
  /** Whether nothing more is taken. */
  ended = false;
  readonly #tunnel: Tunnel;
  readonly #leg: Leg;
  readonly #events: BackendEvents;
  readonly #head: H2ResponseHead;
  readonly #blocks: BlockReader;

  /** Begins with the first frame. */
  constructor(
    tunnel: Tunnel,
    { leg, events, fields }: {
      readonly leg: Leg;
      readonly events: BackendEvents;
      readonly fields: FieldLimits;
    },
  ) {
    this.#tunnel = tunnel;
    this.#leg = leg;
    this.#events = events;
    this.#head = new H2ResponseHead(fields);
    this.#blocks = new BlockReader(leg, this.#head.fields);
  }

  onBadFrame(error: ConnectionError, breach: Breach = "upstream_protocol"): void {
    this.ended = true;
    this.#events.onError(error, breach);
  }

  onLateFrame(): void {
    if (!this.ended) this.#refuses("frame_timeout");
  }

  #violates(code: H2Code, detail: string): Verdict {
    this.onBadFrame(connectionError(code, detail));
    return "drop";
  }

  #refuses(token: AbuseToken | undefined): boolean {
    if (token === undefined) return false;
    this.onBadFrame(connectionError(H2Code.EnhanceYourCalm, token), token);
    return true;
  }

  onFrame(buffer: Uint8Array): Verdict {
    const { frames, budget } = this.#leg;
    switch (frames.type) {
      case FrameType.Data:
        return this.#onData(buffer);
      case FrameType.Headers:
      case FrameType.Continuation:
        return this.#onBlockPart(buffer);
      case FrameType.Priority: {
        if (this.#refuses(budget.countPriority())) return "drop";
        const error = this.#blocks.checkDependency(buffer);
        if (error !== undefined) this.onBadFrame(error);
        return "drop";
      }
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
        this.#refuses(budget.countUnknown());
        return "drop";
    }
  }

  #onBlockPart(buffer: Uint8Array): Verdict {
    const { frames } = this.#leg;
    if (frames.type === FrameType.Headers && this.#tunnel.isIdle(frames.streamId)) {
      return this.#violates(H2Code.ProtocolError, `HEADERS on idle stream ${frames.streamId}`);
    }
    const part = this.#blocks.add(buffer);
    switch (part.type) {
      case "more":
        return "more";
      case "abuse":
        this.#refuses(part.token);
        return "drop";
      case "error":
        this.onBadFrame(part.error);
        return "drop";
      case "block":
        return this.#onBlock();
    }
  }

  #onBlock(): Verdict {
    const call = this.#tunnel.calls.get(this.#blocks.streamId);
    // A stream that has been reset: what is late goes nowhere.
    if (call === undefined) return this.#skipBlock();
    return call.headed ? this.#onTrailers(call) : this.#onHead(call);
  }

  #skipBlock(): Verdict {
    this.#leg.blocks.skip(this.#head.fields);
    return "drop";
  }

  #refuse(call: TunnelCall, code: H2Code): Verdict {
    this.#tunnel.refuseCall(call, code, false);
    return this.#skipBlock();
  }

  #passBlock(): Verdict {
    const { fields } = this.#head;
    this.#tunnel.client.budget.countHeadersSent();
    const { blocks } = this.#leg;
    if (blocks.passes(fields)) return "pass";
    blocks.encode(this.#leg.onward, fields, this.#blocks.streamId, this.#blocks.endStream);
    this.#tunnel.client.outlet.schedule();
    return "drop";
  }

  /** A response head came, perhaps an interim one. */
  #onHead(call: TunnelCall): Verdict {
    const head = this.#head;
    const { endStream, tooLarge } = this.#blocks;
    if (tooLarge || head.interpret(endStream, call.noBody) === "malformed") {
      return this.#refuse(call, H2Code.ProtocolError);
    }
    if (!head.interim) {
      call.headed = true;
      call.backendExpected = call.noBody ? -1 : head.contentLength;
      call.record.httpStatus = head.status;
      this.#events.onAnswer();
    } else if (++call.interim > MAX_INTERIM) return this.#onEndless(call);
    const verdict = this.#passBlock();
    if (!endStream) return verdict;
    call.record.readStatus(head.fields);
    return this.#onEnd(call, verdict);
  }

  /** One interim head too many came: the backend is answered for. */
  #onEndless(call: TunnelCall): Verdict {
    const tunnel = this.#tunnel;
    tunnel.resetBackend(call.id, H2Code.EnhanceYourCalm);
    // The interim heads that have passed go before the answer.
    tunnel.spillAnswers();
    tunnel.endCall(call, "upstream_protocol");
    return this.#skipBlock();
  }

  /** Trailers came, or what cannot be any. */
  #onTrailers(call: TunnelCall): Verdict {
    const { endStream, tooLarge } = this.#blocks;
    const { fields } = this.#head;
    // RFC 9113, section 8.1: a second HEADERS that does not end the stream is malformed.
    if (
      !endStream || tooLarge || call.backendExpected > 0 || checkTrailers(fields) !== undefined
    ) return this.#refuse(call, H2Code.ProtocolError);
    call.record.readStatus(fields);
    return this.#onEnd(call, this.#passBlock());
  }

  /**
   * The answer is complete with the frame that is judged. RFC 9113, section 8.1: a server that has answered in full
   * may ask the client to stop sending.
   */
  #onEnd(call: TunnelCall, verdict: Verdict): Verdict {
    const tunnel = this.#tunnel;
    const { id } = call;
    if (!call.clientEnded) {
      if (verdict === "pass") this.#leg.passFirst();
      tunnel.resetClient(id, H2Code.NoError);
      tunnel.resetBackend(id, H2Code.NoError);
      verdict = "drop";
    } else tunnel.client.budget.countEnded();
    tunnel.remove(call, call.record.answeredStatus);
    return verdict;
  }

  #onData(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const leg = this.#leg;
    const { length: flow, dataLength, streamId, endStream } = leg.frames;
    if (this.#refuses(leg.budget.countData(dataLength, endStream))) return "drop";
    tunnel.windows.backendCredit -= flow;
    if (tunnel.windows.backendCredit < 0) {
      return this.#violates(H2Code.FlowControlError, "the connection's window");
    }
    const call = tunnel.calls.get(streamId);
    if (call === undefined) {
      if (this.#tunnel.isIdle(streamId)) {
        return this.#violates(H2Code.ProtocolError, `DATA on idle stream ${streamId}`);
      }
      return this.#dropData();
    }
    if (!call.headed) return this.#refuseData(call, H2Code.ProtocolError);
    call.toClient -= flow;
    if (call.toClient < 0) return this.#refuseData(call, H2Code.FlowControlError);
    if (call.backendExpected >= 0) {
      call.backendExpected -= dataLength;
      if (call.backendExpected < 0 || (endStream && call.backendExpected > 0)) {
        return this.#refuseData(call, H2Code.ProtocolError);
      }
    }
    return this.#passData(call, buffer);
  }

  onWaited(buffer: Uint8Array): Verdict {
    const call = this.#tunnel.calls.get(this.#leg.frames.streamId);
    return call === undefined ? this.#dropData() : this.#passData(call, buffer);
  }

  /** Passes DATA on, or waits until answers of our own have left room for it in the client's window. */
  #passData(call: TunnelCall, buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const leg = this.#leg;
    const { length: flow, dataLength, flags, endStream } = leg.frames;
    if (tunnel.closed) return "drop";
    if (flow > tunnel.windows.client) {
      leg.waitFor = tunnel.windows.roomForClient;
      return "wait";
    }
    tunnel.windows.client -= flow;
    tunnel.client.budget.countDataSent();
    const start = leg.frameStart + FRAME_HEADER_SIZE + ((flags & Flag.Padded) === 0 ? 0 : 1);
    call.record.sent(buffer, start, start + dataLength);
    return endStream ? this.#onEnd(call, "pass") : "pass";
  }

  #refuseData(call: TunnelCall, code: H2Code): Verdict {
    this.#tunnel.refuseCall(call, code, false);
    return this.#dropData();
  }

  /** DATA goes nowhere, so the client will not give it back to the window. */
  #dropData(): Verdict {
    this.#tunnel.windows.creditBackend(GRANT_STEP);
    return "drop";
  }

  #onRstStream(): Verdict {
    const tunnel = this.#tunnel;
    const { streamId, code } = this.#leg.frames;
    if (this.#tunnel.isIdle(streamId)) {
      return this.#violates(H2Code.ProtocolError, `RST_STREAM on idle stream ${streamId}`);
    }
    const call = tunnel.calls.get(streamId);
    if (call === undefined) return "drop";
    tunnel.ignore(streamId);
    call.record.error = "upstream_reset";
    tunnel.remove(call, statusOfReset(code));
    return "pass";
  }

  #onSettings(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const leg = this.#leg;
    const { frames, peer } = leg;
    const { client } = tunnel;
    if (frames.ack) {
      const sent = leg.unacknowledged.shift();
      if (sent === undefined) return "drop";
      tunnel.windows.shift("toClient", sent.lowered);
      return sent.forwarded ? "pass" : "drop";
    }
    if (this.#refuses(leg.budget.countSettings(tunnel.now()))) return "drop";
    const before = peer.initialWindowSize;
    const error = applySettings(
      peer,
      { bytes: buffer, start: frames.start, end: frames.end },
      "server",
    );
    if (error !== undefined) {
      this.onBadFrame(error);
      return "drop";
    }
    const delta = peer.initialWindowSize - before;
    if (!tunnel.windows.shift("toBackend", Math.max(0, delta))) {
      return this.#violates(H2Code.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE");
    }
    const { maxConcurrentStreams } = tunnel.options;
    // The largest field section is advice, and ours has been given already; the backend judges by itself.
    const news: Entry[] = [
      // Our decoder has a table of 4096 bytes, whatever that of the backend can hold.
      [Setting.HeaderTableSize, Math.min(peer.headerTableSize, DEFAULT_TABLE_SIZE)],
      [Setting.MaxConcurrentStreams, Math.min(peer.maxConcurrentStreams, maxConcurrentStreams)],
      [Setting.InitialWindowSize, peer.initialWindowSize],
    ];
    if (client.tell(leg.onward, news, { forwarded: true, lowered: Math.min(0, delta) })) {
      if (client.owesTooMuch) {
        tunnel.violates(H2Code.SettingsTimeout, "SETTINGS are not acknowledged");
      }
    } else {
      encodeSettingsAck(leg.outlet.writer);
      this.#queueControl();
    }
    if (!leg.ready) {
      leg.ready = true;
      this.#events.onReady();
    }
    return "drop";
  }

  #onPing(buffer: Uint8Array): Verdict {
    const { frames, budget, outlet } = this.#leg;
    if (
      frames.ack || this.#refuses(budget.countPing(this.#tunnel.now(), this.#tunnel.calls.size))
    ) return "drop";
    encodePingAck(outlet.writer, buffer, frames.start);
    this.#queueControl();
    return "drop";
  }

  /** Lets a frame leave that the backend has caused; too many that wait end the connection. */
  #queueControl(): void {
    const { outlet, budget } = this.#leg;
    outlet.schedule();
    this.#refuses(budget.countQueued());
  }

  #onGoaway(): Verdict {
    const tunnel = this.#tunnel;
    tunnel.lastOfBackend = Math.min(tunnel.lastOfBackend, this.#leg.frames.lastStreamId);
    tunnel.spillAnswers();
    for (const call of tunnel.calls.list()) {
      if (call.id <= tunnel.lastOfBackend) continue;
      // RFC 9113, section 6.8: streams above the last one "can be treated as though they had never been
      // created at all". The client may send them again, on the connection that it is told to make.
      call.record.error = "upstream_reset";
      tunnel.resetClient(call.id, H2Code.RefusedStream);
      tunnel.remove(call, statusOfReset(H2Code.RefusedStream));
    }
    this.#events.onGoaway();
    return "drop";
  }

  #onWindowUpdate(): Verdict {
    const tunnel = this.#tunnel;
    const { frames, budget } = this.#leg;
    const { streamId, increment } = frames;
    if (this.#refuses(budget.countWindowUpdate())) return "drop";
    if (streamId === 0) {
      tunnel.windows.backend += increment;
      if (tunnel.windows.backend > MAX_UINT31) {
        return this.#violates(H2Code.FlowControlError, "the connection's window");
      }
      tunnel.windows.clientCredit += increment;
      return "pass";
    }
    const call = tunnel.calls.get(streamId);
    if (call === undefined) {
      if (!this.#tunnel.isIdle(streamId)) return "drop";
      return this.#violates(H2Code.ProtocolError, `WINDOW_UPDATE on idle stream ${streamId}`);
    }
    call.toBackend += increment;
    if (call.toBackend <= MAX_UINT31) return call.clientEnded ? "drop" : "pass";
    this.#tunnel.refuseCall(call, H2Code.FlowControlError, false);
    return "drop";
  }
}

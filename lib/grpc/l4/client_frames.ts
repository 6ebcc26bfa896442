/**
 * What the client of a tunnel sends: judged frame by frame (RFC 9113, sections 5 and 6). What is well formed
 * and meant for the backend passes; the rest is answered here.
 *
 * @module
 */
import { type ConnectionError, H2Code } from "../../http/h2/errors.ts";
import { encodePingAck, encodeSettingsAck } from "../../http/h2/frame_writer.ts";
import { Flag, FRAME_HEADER_SIZE, FrameType, MAX_UINT31 } from "../../http/h2/frames.ts";
import { applySettings } from "../../http/h2/settings.ts";
import { GrpcStatus } from "../status.ts";
import { settingsFor } from "./binding.ts";
import { ClientBlocks, type ClientParts } from "./client_blocks.ts";
import type { FrameJudge, Verdict } from "./leg.ts";
import type { OwnStreams } from "./own_streams.ts";
import type { Tunnel } from "./tunnel.ts";
import type { TunnelCall } from "./tunnel_call.ts";

/** Judges the client's frames. */
export class ClientFrames implements FrameJudge {
  readonly #tunnel: Tunnel;
  readonly #own: OwnStreams;
  readonly #blocks: ClientBlocks;

  /** Begins behind the preface. */
  constructor(parts: ClientParts) {
    this.#tunnel = parts.tunnel;
    this.#own = parts.own;
    this.#blocks = new ClientBlocks(parts);
  }

  get ended(): boolean {
    return this.#tunnel.closed;
  }

  onBadFrame(error: ConnectionError): void {
    this.#tunnel.fail(error);
  }

  onLateFrame(): void {
    this.#tunnel.refuses("frame_timeout");
  }

  onFrame(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const { frames, budget } = tunnel.client;
    switch (frames.type) {
      case FrameType.Data:
        return this.#onData(buffer);
      case FrameType.Headers:
        return this.#blocks.onHeaders(buffer);
      case FrameType.Continuation:
        return this.#blocks.onPart(buffer);
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

  #onData(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const { client } = tunnel;
    const { frames } = client;
    const { streamId, length: flow, dataLength, endStream } = frames;
    if (tunnel.refuses(client.budget.countData(dataLength, endStream))) return "drop";
    tunnel.windows.clientCredit -= flow;
    if (tunnel.windows.clientCredit < 0) {
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
    const { backend } = tunnel;
    // What is held counts when it goes.
    if (backend !== undefined) {
      tunnel.windows.backend -= flow;
      backend.budget.countDataSent();
    }
    const start = client.frameStart + FRAME_HEADER_SIZE +
      ((frames.flags & Flag.Padded) === 0 ? 0 : 1);
    call.record.received(buffer, start, start + dataLength);
    call.clientEnded = endStream;
    return "pass";
  }

  #refuseData(call: TunnelCall, code: H2Code): Verdict {
    const tunnel = this.#tunnel;
    tunnel.windows.giveBack(tunnel.client.frames.length);
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
    if (this.#tunnel.isIdle(streamId)) {
      return tunnel.violates(H2Code.ProtocolError, `DATA on idle stream ${streamId}`);
    }
    tunnel.windows.giveBack(length);
    if (!tunnel.wasReset(streamId)) tunnel.refuseStream(streamId, H2Code.StreamClosed);
  }

  #onRstStream(): Verdict {
    const tunnel = this.#tunnel;
    const { client } = tunnel;
    const { streamId, code } = client.frames;
    if (this.#tunnel.isIdle(streamId)) {
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
    const known = tunnel.backend !== undefined;
    if (!known) tunnel.resetBackend(streamId, code);
    tunnel.remove(call!, due ? GrpcStatus.DeadlineExceeded : GrpcStatus.Cancelled);
    return known ? "pass" : "drop";
  }

  #onSettings(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const { client, backend } = tunnel;
    const { frames, peer } = client;
    if (frames.ack) {
      const sent = client.unacknowledged.shift();
      if (sent === undefined) return "drop";
      // It knows the smaller window now, and must keep to it.
      tunnel.windows.shift("toBackend", sent.lowered);
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
    if (!tunnel.windows.shift("toClient", raised) || !this.#own.shift(delta)) {
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
      const opening = tunnel.windows.openClient(increment);
      if (opening === "overflow") {
        tunnel.violates(H2Code.FlowControlError, "the connection's window");
      }
      this.#own.pump();
      return opening === "pass" ? "pass" : "drop";
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
    else if (this.#tunnel.isIdle(streamId)) {
      tunnel.violates(H2Code.ProtocolError, `WINDOW_UPDATE on idle stream ${streamId}`);
    }
    return "drop";
  }
}

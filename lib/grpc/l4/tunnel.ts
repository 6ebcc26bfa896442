/**
 * What both directions of a tunnel share: its two sides, its calls, and how they and the tunnel end.
 *
 * @module
 */
import type { ErrorCode } from "../../common/errors.ts";
import { answerTo } from "../../http/problem.ts";
import type { AbuseToken } from "../../http/h2/budget.ts";
import { type ConnectionError, connectionError, H2Code } from "../../http/h2/errors.ts";
import {
  beginHeaders,
  encodeGoaway,
  encodePing,
  encodeRstStream,
  endHeaders,
} from "../../http/h2/frame_writer.ts";
import { MAX_UINT31, MIN_MAX_FRAME_SIZE } from "../../http/h2/frames.ts";
import { Encoder } from "../../http/h2/hpack/encoder.ts";
import type { H2Options } from "../../http/h2/options.ts";
import type { H2Stream } from "../../http/h2/stream.ts";
import { StreamTable } from "../../http/h2/stream_table.ts";
import { NO_STATUS } from "../../observe/grpc_metrics.ts";
import type { CloseReason } from "../../observe/close_reason.ts";
import { getLogger } from "../../observe/logger.ts";
import { SampledLog } from "../../observe/sampled_log.ts";
import type { ListenerMetrics } from "../../observe/metrics.ts";
import { encodeGrpcError, encodeGrpcTrailers, encodeHttpError } from "../respond.ts";
import { GrpcStatus, statusOf, statusOfReset } from "../status.ts";
import { Hold } from "./hold.ts";
import type { Leg } from "./leg.ts";
import type { TunnelCall } from "./tunnel_call.ts";
import { TunnelWindows } from "./windows.ts";

/** Streams that were reset here or by the backend, and whose late frames are ignored (section 5.4.2). */
const REMEMBERED_RESETS = 256;
/** The payload of the PING between the two GOAWAYs. */
const DRAIN_PING = new Uint8Array([0x6c, 0x62, 0x2d, 0x64, 0x72, 0x61, 0x69, 0x6e]);

const cutOff = new SampledLog(getLogger("grpc"), {
  message: "a client was cut off",
  by: ["client", "reason"],
});

/**
 * How far the end of the client's connection is.
 *
 * - `open`: streams may begin.
 * - `announced`: the first GOAWAY has been said; streams that are on their way are still taken.
 * - `leaving`: the last GOAWAY has been said; the connection ends with its last stream.
 * - `closed`: nothing is taken any more; what is framed leaves.
 */
export type Phase = "open" | "announced" | "leaving" | "closed";

/** What a {@linkcode Tunnel} is made of. */
export interface TunnelParts {
  /** The client's side. */
  readonly client: Leg;
  /** The client's address, for the log. */
  readonly address: string;
  /** What the client is granted. */
  readonly options: H2Options;
  /** Counters of the listener. */
  readonly metrics: ListenerMetrics;
  /** Called when the last call has ended. */
  readonly onIdle: () => void;
  /** Called when the phase or the number of streams has changed, and with it what is waited for. */
  readonly onChange: () => void;
  /** The time in milliseconds. */
  readonly now: () => number;
}

/** One tunnel. */
export class Tunnel {
  /** The client's side. */
  readonly client: Leg;
  /** The backend's side, while there is one that takes calls. */
  backend: Leg | undefined;
  /** What the client has sent for it while there is none. */
  readonly hold: Hold;
  /** What the client is granted. */
  readonly options: H2Options;
  /** Calls of the backend, or that wait for one. */
  readonly calls: StreamTable<TunnelCall> = new StreamTable();
  /** Streams of the client that are answered here. */
  readonly own: StreamTable<H2Stream> = new StreamTable();
  /** The highest stream of the client. */
  lastStream = 0;
  /** How far the end is. */
  phase: Phase = "open";
  /** Why we ended the client's connection, if it made us. */
  error: ConnectionError | undefined;
  /** Why we ended it, if it was a time or a limit of ours. */
  reason: CloseReason | undefined;
  /** Whether we have ended it because we end. */
  aborted = false;
  /** Whether there has been a backend, and there is none any more: the client is to connect anew. */
  abandoned = false;
  /** Streams above this one are not for the backend: its GOAWAY said so. */
  lastOfBackend = MAX_UINT31;
  /** The windows of both connections. */
  readonly windows: TunnelWindows;

  readonly #parts: TunnelParts;
  readonly #encoder = new Encoder();
  readonly #resets = new Set<number>();
  #peerLeaves = false;
  #saidLast = false;

  /** Begins with a client and no backend. */
  constructor(parts: TunnelParts) {
    this.#parts = parts;
    this.client = parts.client;
    this.options = parts.options;
    this.hold = new Hold(this.client.blocks, parts.options.fields);
    this.client.target = this.hold;
    this.windows = new TunnelWindows(this);
  }

  /** The client's address. */
  get address(): string {
    return this.#parts.address;
  }

  /** How many streams the client has open. */
  get streams(): number {
    return this.calls.size + this.own.size;
  }

  /** Whether nothing is taken any more. */
  get closed(): boolean {
    return this.phase === "closed";
  }

  /** Whether new streams are ignored: the last GOAWAY has named the last one. */
  get saidLast(): boolean {
    return this.#saidLast;
  }

  /** Whether no call can be on this stream yet. Of those answered here the backend does not know: there they are late. */
  isIdle(id: number): boolean {
    return (id & 1) === 0 || id > this.lastStream;
  }

  /** The client broke a rule of the connection, or asked for too much: GOAWAY, and the end. */
  fail(error: ConnectionError): void {
    if (this.closed) return;
    this.error = error;
    this.#goaway(this.lastStream, error.code, error.detail);
    this.#enter("closed");
  }

  /** Takes an answer of the client's budget: with a token the connection ends, and the answer is `true`. */
  refuses(token: AbuseToken | undefined): boolean {
    if (token === undefined) return false;
    if (!this.closed) {
      this.#parts.metrics.refused(token);
      cutOff.warning({ client: this.#parts.address, reason: token });
    }
    this.fail(connectionError(H2Code.EnhanceYourCalm, token));
    return true;
  }

  /** The client broke a rule: see {@linkcode Tunnel.fail}. */
  violates(code: H2Code, detail: string): void {
    this.fail(connectionError(code, detail));
  }

  /** Lets a frame leave that the client has caused; too many that wait end the connection. */
  queueControl(): void {
    this.client.outlet.schedule();
    this.refuses(this.client.budget.countQueued());
  }

  #enter(phase: Phase): void {
    this.phase = phase;
    this.windows.letGo();
    this.#parts.onChange();
  }

  /** The client is gone, or is given up without a word. */
  end(): void {
    if (!this.closed) this.#enter("closed");
  }

  /** The client's first SETTINGS came. */
  onClientReady(): void {
    this.client.ready = true;
    this.#parts.onChange();
  }

  #goaway(lastStreamId: number, code: H2Code, debug = ""): void {
    encodeGoaway(this.client.outlet.writer, lastStreamId, code, debug);
    this.client.outlet.schedule();
    this.#saidLast ||= lastStreamId !== MAX_UINT31;
  }

  /**
   * Takes no more streams, in two steps so that none under way to us is lost; ends when all have ended.
   *
   * @param reason Why, if it is a time or a limit of ours.
   * @param debug The same for the client, as debug data of the first GOAWAY.
   */
  drain(reason?: CloseReason, debug = ""): void {
    if (this.phase !== "open") return;
    this.reason = reason;
    if (!this.client.ready) return this.#leave();
    // RFC 9113, section 6.8: a server "SHOULD send an initial GOAWAY frame with the last stream
    // identifier set to 2^31-1 and a NO_ERROR code", and, a round trip later, the true one.
    this.#goaway(MAX_UINT31, H2Code.NoError, debug);
    encodePing(this.client.outlet.writer, DRAIN_PING, 0);
    this.#enter("announced");
  }

  /** The client has answered the PING `opaque[at..at + 8)`. */
  onPingAck(opaque: Uint8Array, at: number): void {
    if (DRAIN_PING.every((byte, i) => byte === opaque[at + i])) this.onRoundTrip();
  }

  /** The PING behind the first GOAWAY has been answered, or has had its time. */
  onRoundTrip(): void {
    if (this.phase === "announced") this.#leave();
  }

  /** Ends the connection at once, because we end. */
  abort(): void {
    this.aborted = true;
    this.client.duplex.close();
  }

  /** A stream was refused because the client had as many open as it may. */
  onExcess(): void {
    this.#parts.metrics.refused("too_many_streams");
  }

  /** Ends the connection without a word: the client is gone, or has had its time. */
  cut(reason: CloseReason, detail: string): void {
    if (this.closed) return;
    this.reason = reason;
    this.error = connectionError(H2Code.NoError, detail);
    this.client.duplex.close();
    this.#enter("closed");
  }

  /** Says the last GOAWAY: the streams that are there now are the last ones. */
  #leave(): void {
    this.#goaway(this.lastStream, H2Code.NoError);
    this.#enter("leaving");
    this.endIfIdle();
  }

  /** The client said GOAWAY. */
  onClientLeaves(): void {
    this.#peerLeaves = true;
    this.endIfIdle();
  }

  /** Ends the connection if an end is wanted and no stream is left. */
  endIfIdle(): void {
    if (this.streams > 0 || this.closed) return;
    if (this.phase !== "leaving" && !this.#peerLeaves) return;
    if (!this.#saidLast) this.#goaway(this.lastStream, H2Code.NoError);
    this.#enter("closed");
  }

  /** Late frames of this stream are no error. */
  ignore(id: number): void {
    this.#resets.add(id);
    if (this.#resets.size > REMEMBERED_RESETS) {
      this.#resets.delete(this.#resets.values().next().value!);
    }
  }

  /** Whether the stream was reset not long ago, so that what still comes on it is no error. */
  wasReset(id: number): boolean {
    return this.#resets.has(id);
  }

  /** Resets a stream towards the client. */
  resetClient(id: number, code: H2Code): void {
    this.ignore(id);
    encodeRstStream(this.client.outlet.writer, id, code);
    this.queueControl();
  }

  /**
   * Resets a stream towards the backend, behind what has passed on it before. A backend that is still to come will
   * not hear of the stream.
   */
  resetBackend(id: number, code: H2Code): void {
    const { backend } = this;
    const out = this.client.onward;
    if (backend === undefined) return this.windows.giveBack(this.hold.drop(id));
    encodeRstStream(out, id, code);
    backend.outlet.schedule();
  }

  /** The client broke a rule of one of its streams, which costs it a reset. */
  refuseStream(id: number, code: H2Code): void {
    this.resetClient(id, code);
    this.refuses(this.client.budget.countReset(this.now()));
  }

  /** The time. */
  now(): number {
    return this.#parts.now();
  }

  /** One side broke a rule of a call: it is reset on both. */
  refuseCall(call: TunnelCall, code: H2Code, byClient: boolean): void {
    call.record.error ||= byClient ? "client_closed" : "upstream_reset";
    this.resetBackend(call.id, code);
    if (byClient) this.refuseStream(call.id, code);
    else {
      this.spillAnswers();
      this.resetClient(call.id, code);
    }
    this.remove(call, byClient ? GrpcStatus.Cancelled : statusOfReset(code));
  }

  /** Forgets a call, and records how it ended. */
  remove(call: TunnelCall, status: number): void {
    if (!this.calls.delete(call.id)) return;
    call.timer?.stop();
    call.record.end(status);
    if (this.calls.size === 0) this.#parts.onIdle();
    this.onStreamGone();
  }

  /** Every call is lost, because the client is. */
  loseCalls(): void {
    for (const call of this.calls.list()) {
      call.record.error = this.aborted ? "shutdown" : "client_closed";
      this.remove(call, call.timer?.isDue ? GrpcStatus.DeadlineExceeded : GrpcStatus.Cancelled);
    }
  }

  /** The backend is gone: every call ends with its error, and the client is to connect anew. */
  abandon(code: ErrorCode): void {
    this.abandoned = true;
    for (const call of this.calls.list()) this.endCall(call, code);
    if (!this.closed) this.windows.reclaim();
    this.drain();
  }

  /** A stream of either kind has ended. */
  onStreamGone(): void {
    if (this.streams > 0) return;
    this.#parts.onChange();
    this.endIfIdle();
  }

  /** Frames a block of our own for the client. */
  sendBlock(id: number, block: Uint8Array, endStream: boolean): void {
    const { outlet } = this.client;
    const out = outlet.writer;
    this.client.budget.countHeadersSent();
    const at = beginHeaders(out);
    this.#encoder.begin(out);
    out.bytes(block);
    endHeaders(out, at, { streamId: id, endStream, maxFrameSize: MIN_MAX_FRAME_SIZE });
    outlet.schedule();
  }

  /** Takes the client's SETTINGS_HEADER_TABLE_SIZE. */
  limitTable(size: number): void {
    this.#encoder.limitTable(size);
  }

  /** What has passed of answers in this turn goes before what is framed next for the client. */
  spillAnswers(): void {
    if (this.backend !== undefined) void this.backend.onward;
  }

  /** Ends a call with an error of ours, as far as the answer goes: a whole one, or its trailers. */
  endCall(call: TunnelCall, code: ErrorCode): void {
    const { id, record } = call;
    record.error = code;
    let status: number = NO_STATUS;
    if (!call.headed) status = this.#answer(call, code);
    else if (record.grpc) {
      status = statusOf(code);
      this.sendBlock(id, encodeGrpcTrailers(code), true);
    } else {
      this.resetClient(id, H2Code.InternalError);
      return this.remove(call, status);
    }
    // RFC 9113, section 8.1: the rest of the request is not wanted.
    if (!call.clientEnded) this.resetClient(id, H2Code.NoError);
    this.remove(call, status);
  }

  #answer({ id, record }: TunnelCall, code: ErrorCode): number {
    this.#parts.metrics.refused(code);
    record.httpStatus = record.grpc ? 200 : answerTo(code).status;
    this.sendBlock(id, record.grpc ? encodeGrpcError(code) : encodeHttpError(code), true);
    return record.grpc ? statusOf(code) : NO_STATUS;
  }
}

/**
 * What both directions of a tunnel share: its two sides, its calls, the windows of its connections, and how it
 * ends.
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
  encodeWindowUpdate,
  endHeaders,
} from "../../http/h2/frame_writer.ts";
import { MAX_UINT31, MIN_MAX_FRAME_SIZE } from "../../http/h2/frames.ts";
import { Encoder } from "../../http/h2/hpack/encoder.ts";
import type { H2Options } from "../../http/h2/options.ts";
import type { H2Stream } from "../../http/h2/stream.ts";
import { NO_STATUS } from "../../observe/grpc_metrics.ts";
import { getLogger } from "../../observe/logger.ts";
import type { ListenerMetrics } from "../../observe/metrics.ts";
import { encodeGrpcError, encodeGrpcTrailers, encodeHttpError } from "../respond.ts";
import { GrpcStatus, statusOf, statusOfReset } from "../status.ts";
import { INITIAL_WINDOW, type Leg } from "./leg.ts";
import type { TunnelCall } from "./tunnel_call.ts";

/** Bytes that are given back to a window at once. */
export const GRANT_STEP = 16 * 1024;
/** Streams that were reset here or by the backend, and whose late frames are ignored (section 5.4.2). */
const REMEMBERED_RESETS = 256;
/** The payload of the PING between the two GOAWAYs. */
const DRAIN_PING = new Uint8Array([0x6c, 0x62, 0x2d, 0x64, 0x72, 0x61, 0x69, 0x6e]);

const log = getLogger("grpc");

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
  /** The backend's side, while there is one. */
  backend: Leg | undefined;
  /** What the client is granted. */
  readonly options: H2Options;
  /** Calls that both sides know. */
  readonly calls: Map<number, TunnelCall> = new Map();
  /** Streams of the client that are answered here. */
  readonly own: Map<number, H2Stream> = new Map();
  /** The highest stream of the client. */
  lastStream = 0;
  /** How far the end is. */
  phase: Phase = "open";
  /** Why we ended the client's connection, if it made us. */
  error: ConnectionError | undefined;
  /** Whether there has been a backend, and there is none any more: the client is to connect anew. */
  abandoned = false;
  /** Streams above this one are not for the backend: its GOAWAY said so. */
  lastOfBackend = MAX_UINT31;

  /** Bytes that the client lets us send on its connection. */
  clientWindow = INITIAL_WINDOW;
  /** Bytes that the backend may still send, as far as it knows. Less than that of the client is a debt. */
  backendCredit = INITIAL_WINDOW;
  /** Bytes that the client may still send on its connection. */
  clientCredit = INITIAL_WINDOW;
  /** Bytes that the backend lets us send on its connection. */
  backendWindow = INITIAL_WINDOW;
  /** The windows that streams begin with, as long as the one who must keep to them may not know better. */
  streamToClient = INITIAL_WINDOW;
  streamToBackend = INITIAL_WINDOW;

  readonly #parts: TunnelParts;
  readonly #encoder = new Encoder();
  readonly #resets = new Set<number>();
  #peerLeaves = false;
  #saidLast = false;
  /** Bytes of the client that were for nobody else and are not given back yet. */
  #kept = 0;
  #room: PromiseWithResolvers<void> | undefined;

  /** Begins with a client and no backend. */
  constructor(parts: TunnelParts) {
    this.#parts = parts;
    this.client = parts.client;
    this.options = parts.options;
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
      log.warning("a client was cut off", { client: this.#parts.address, reason: token });
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
    this.#letGo();
    this.#parts.onChange();
  }

  /** Who waits for room looks again. */
  #letGo(): void {
    this.#room?.resolve();
    this.#room = undefined;
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
   * @param debug Why, as debug data of the first GOAWAY.
   */
  drain(debug = ""): void {
    if (this.phase !== "open") return;
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

  /** Ends the connection without a word: the client is gone, or has had its time. */
  cut(detail: string): void {
    if (this.closed) return;
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

  /** Resets a stream towards the backend, if it knows it, behind what has passed on it before. */
  resetBackend(id: number, code: H2Code): void {
    const { backend } = this;
    if (backend === undefined) return;
    encodeRstStream(this.client.onward, id, code);
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
    for (const call of [...this.calls.values()]) {
      call.record.error = "client_closed";
      this.remove(call, call.timer?.isDue ? GrpcStatus.DeadlineExceeded : GrpcStatus.Cancelled);
    }
  }

  /** The backend is gone: every call ends with its error, and the client is to connect anew. */
  abandon(code: ErrorCode): void {
    this.abandoned = true;
    for (const call of [...this.calls.values()]) {
      this.endCall(call, code);
    }
    // Content that the backend has got and not given back.
    const missing = INITIAL_WINDOW - this.clientCredit - this.#kept;
    if (missing > 0 && !this.closed) {
      encodeWindowUpdate(this.client.outlet.writer, 0, missing);
      this.client.outlet.schedule();
      this.clientCredit += missing;
    }
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

  /** Bytes of the client were not for the backend: they are given back in steps. */
  giveBack(count: number): void {
    this.#kept += count;
    if (this.#kept < GRANT_STEP) return;
    encodeWindowUpdate(this.client.outlet.writer, 0, this.#kept);
    this.client.outlet.schedule();
    this.clientCredit += this.#kept;
    this.#kept = 0;
  }

  /** The client lets us send more; whether its WINDOW_UPDATE may pass as it is. */
  openClientWindow(increment: number): boolean {
    this.clientWindow += increment;
    if (this.clientWindow > MAX_UINT31) {
      this.violates(H2Code.FlowControlError, "the connection's window");
      return false;
    }
    this.#letGo();
    if (this.backend === undefined) return false;
    if (this.clientWindow - this.backendCredit !== increment) {
      this.creditBackend(1);
      return false;
    }
    this.backendCredit += increment;
    return true;
  }

  /** Lets the backend send what the client would take, if that is at least `step` bytes more. */
  creditBackend(step: number): void {
    const due = this.clientWindow - this.backendCredit;
    if (due < step) return;
    encodeWindowUpdate(this.client.onward, 0, due);
    this.backend!.outlet.schedule();
    this.backendCredit += due;
  }

  /** Resolves when the client lets us send more, or the end has come. */
  get roomForClient(): Promise<void> {
    return (this.#room ??= Promise.withResolvers()).promise;
  }

  /**
   * Shifts the windows of streams because one side has changed what they begin with; `false` when one is too large
   * then (RFC 9113, section 6.9.2).
   */
  shift(side: "toClient" | "toBackend", delta: number): boolean {
    if (delta === 0) return true;
    let fits = true;
    if (side === "toClient") this.streamToClient += delta;
    else this.streamToBackend += delta;
    for (const call of this.calls.values()) {
      call[side] += delta;
      if (call[side] > MAX_UINT31) fits = false;
    }
    for (const stream of this.own.values()) {
      if (side === "toBackend") stream.receiveWindow += delta;
    }
    return fits;
  }
}

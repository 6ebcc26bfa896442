/**
 * What is seen of one call: counted for the metrics as it comes, written to the access log at its end.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import type { ErrorCode } from "../../common/errors.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import { knownNameId } from "../../http/h2/hpack/names.ts";
import type { H2RequestHead } from "../../http/h2/request_head.ts";
import { NO_ROUTE, type ProxyPlan } from "../../http/l7/plan.ts";
import {
  type GrpcMethodStats,
  NO_STATUS,
  provesMethod,
  splitMethod,
} from "../../observe/grpc_metrics.ts";
import type { RequestStats } from "../../observe/metrics.ts";
import { MessageCounter } from "../message_counter.ts";
import { decodeMessage } from "../respond.ts";
import { statusOfHttp } from "../status.ts";
import type { GrpcContext } from "./context.ts";

const GRPC_STATUS = knownNameId("grpc-status");
/** Digits of a status that is taken for one. */
const MAX_STATUS_DIGITS = 3;
const HTTP_OK = 200;

/** What `grpc-status` says; {@linkcode NO_STATUS} when it says nothing. */
export function readGrpcStatus(fields: FieldList): number {
  const index = fields.find(GRPC_STATUS);
  if (index < 0) return NO_STATUS;
  const { bytes } = fields;
  const start = fields.valueStart(index);
  const end = fields.valueEnd(index);
  if (start === end || end - start > MAX_STATUS_DIGITS) return NO_STATUS;
  let status = 0;
  for (let i = start; i < end; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) return NO_STATUS;
    status = status * 10 + digit;
  }
  return status;
}

/** The record of one call, or of another request. */
export class CallRecord {
  /** Whether it is a gRPC call. */
  readonly grpc: boolean;
  /** The HTTP method; empty when the head cannot be trusted. */
  readonly method: string;
  /** The clock's time at which its head came. */
  readonly started: number;
  /** How often a backend was tried. */
  attempts = 0;
  /** What went wrong, if anything did. */
  error: ErrorCode | "" = "";
  /** The HTTP status; 0 while there is none. */
  httpStatus = 0;
  readonly #context: GrpcContext;
  readonly #client: string;
  readonly #path: string;
  readonly #target: string;
  readonly #authority: string;
  readonly #userAgent: string;
  readonly #timeout: string;
  #route = NO_ROUTE;
  #backend: LiveBackend | undefined;
  #series: RequestStats | undefined;
  /** The method's own series; others only when it cannot have its own. */
  #stats: GrpcMethodStats | undefined;
  /** The series that the call belongs to as long as it has none of its own. */
  #fallback: GrpcMethodStats;
  readonly #incoming = new MessageCounter();
  readonly #outgoing = new MessageCounter();
  #bytesIn = 0;
  #bytesOut = 0;
  /** What the backend said in `grpc-status`. */
  #grpcStatus = NO_STATUS;
  #grpcMessage = "";

  /**
   * Begins the record.
   *
   * @param head `undefined` when the head cannot be trusted.
   * @param client The client's address.
   * @param grpc Whether it is a gRPC call, which is known of a head that cannot be trusted too.
   */
  constructor(
    context: GrpcContext,
    head: H2RequestHead | undefined,
    client: string,
    grpc = head !== undefined && head.grpc,
  ) {
    this.#context = context;
    this.#client = client;
    this.started = context.clock.now();
    this.grpc = grpc;
    this.method = head === undefined ? "" : head.method;
    this.#path = grpc && head !== undefined ? head.path : "";
    // What only the log wants is not decoded without one.
    const logged = head !== undefined && context.accessLog !== undefined ? head : undefined;
    this.#target = logged?.target ?? "";
    this.#authority = logged?.authority ?? "";
    this.#userAgent = logged?.header("user-agent") ?? "";
    this.#timeout = logged?.header("grpc-timeout") ?? "";
    const calls = context.metrics.grpc;
    this.#fallback = calls.other;
    if (!grpc) return;
    this.#stats = calls.find(this.#path);
    (this.#stats ?? this.#fallback).active++;
  }

  /** Bytes of content that came from the client. */
  get bytesIn(): number {
    return this.#bytesIn;
  }

  /**
   * A backend is tried. Its series are asked for now: later it may be gone, and asking would bring them back
   * for good.
   */
  attempt(route: string, backend: LiveBackend): void {
    this.attempts++;
    this.adopt(route, backend, this.#context.metrics.requests(route, backend.id));
  }

  /** What comes next is of this backend; what an earlier one has answered does not count. */
  adopt(route: string, backend: LiveBackend, series: RequestStats): void {
    this.#route = route;
    this.#backend = backend;
    this.#series = series;
    this.#grpcStatus = NO_STATUS;
    this.#grpcMessage = "";
  }

  /** It was found out where the call goes. Names that a route has are known, whatever backends say of them. */
  routed({ route, match }: ProxyPlan): void {
    this.#route = route;
    if (!this.grpc || this.#stats !== undefined || match === undefined) return;
    const path = this.#path;
    const names = splitMethod(path);
    if (names === undefined) return;
    // By the letter: routes match other spellings of a path too, and of these there are too many.
    const { services = [], methods = [], fullMethods = [] } = match;
    const named = services.includes(names.service);
    const { grpc } = this.#context.metrics;
    if (
      (named && methods.includes(names.method)) ||
      fullMethods.includes(path) || fullMethods.includes(path.slice(1))
    ) this.#countAs(grpc.admit(path));
    else if (named) {
      this.#fallback.active--;
      this.#fallback = grpc.admitService(names.service);
      this.#fallback.active++;
    }
  }

  /** Content came from the client. */
  received(bytes: Uint8Array, start: number, end: number): void {
    this.#bytesIn += end - start;
    if (!this.grpc) return;
    const messages = this.#incoming.push(bytes, start, end);
    const stats = this.#stats;
    if (stats === undefined) return;
    stats.bytesReceived += end - start;
    stats.messagesReceived += messages;
  }

  /** Content came from the backend. */
  sent(bytes: Uint8Array, start: number, end: number): void {
    this.#bytesOut += end - start;
    if (!this.grpc) return;
    const messages = this.#outgoing.push(bytes, start, end);
    const stats = this.#stats;
    if (stats !== undefined) {
      stats.bytesSent += end - start;
      stats.messagesSent += messages;
    } else if (messages > 0) {
      // An answer of libraries to a name that they do not know has no message.
      this.#countAs(this.#context.metrics.grpc.admit(this.#path));
    }
  }

  /** What has been counted so far belongs to these series. */
  #countAs(stats: GrpcMethodStats): void {
    this.#fallback.active--;
    stats.active++;
    stats.bytesReceived += this.#bytesIn;
    stats.bytesSent += this.#bytesOut;
    stats.messagesReceived += this.#incoming.count;
    stats.messagesSent += this.#outgoing.count;
    this.#stats = stats;
  }

  /** Reads how the call ended from its trailers, or from a head that is all of the answer. */
  readStatus(fields: FieldList): void {
    const status = readGrpcStatus(fields);
    if (status === NO_STATUS) return;
    this.#grpcStatus = status;
    if (status === 0 || this.#context.accessLog === undefined) return;
    this.#grpcMessage = decodeMessage(fields.get("grpc-message") ?? "");
  }

  /**
   * The status of a call whose answer has come in full: the one that the backend gave, or what clients make of an
   * HTTP status other than 200; {@linkcode NO_STATUS} when there is neither.
   */
  get answeredStatus(): number {
    if (this.#grpcStatus !== NO_STATUS || this.httpStatus === HTTP_OK) return this.#grpcStatus;
    return statusOfHttp(this.httpStatus);
  }

  /**
   * Ends the record.
   *
   * @param status The status of a gRPC call as the client gets it; of no account for others.
   */
  end(status: number): void {
    const { metrics, clock, accessLog } = this.#context;
    const seconds = (clock.now() - this.started) / 1000;
    (this.#series ?? metrics.requests(this.#route, ""))
      .record(this.httpStatus, seconds, this.#bytesIn, this.#bytesOut);
    if (this.grpc) this.#endCall(status, seconds);
    accessLog?.write({
      time: Date.now(),
      listener: metrics.name,
      client: this.#client,
      method: this.method,
      target: this.#target,
      protocol: "HTTP/2.0",
      status: this.httpStatus,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      durationMs: seconds * 1000,
      route: this.#route,
      backend: this.#backend?.addr ?? "",
      attempts: this.attempts,
      requestId: "",
      host: this.#authority,
      userAgent: this.#userAgent,
      referer: "",
      error: this.error,
      ...this.grpc
        ? {
          grpc: {
            status,
            message: this.#grpcMessage,
            messagesIn: this.#incoming.count,
            messagesOut: this.#outgoing.count,
            timeout: this.#timeout,
          },
        }
        : {},
    });
  }

  #endCall(status: number, seconds: number): void {
    const { grpc } = this.#context.metrics;
    if (this.#stats === undefined) {
      const proved = status === this.#grpcStatus && provesMethod(status);
      this.#countAs(proved ? grpc.admit(this.#path) : grpc.find(this.#path) ?? this.#fallback);
    }
    const stats = this.#stats!;
    stats.active--;
    // The series of a backend that is gone are gone, too.
    if (this.#backend?.state === "removed") return;
    stats.record(this.#backend?.id ?? "", status, seconds);
  }
}

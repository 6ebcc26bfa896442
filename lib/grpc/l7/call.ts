/**
 * One call (or any other HTTP/2 request) at layer 7: a stream of a client joined with a stream of the
 * backend that was picked for it.
 *
 * Both windows are coupled: bytes are granted to one side when they have been framed for the other, so
 * a slow receiver stops the sender, and no more than one stream window of each side is held.
 *
 * The deadline that a client gives is the backend's to keep, and the client's. It is kept here too, a moment
 * later, for backends that do not answer any more and clients that are gone without a word.
 *
 * @module
 */
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import { describeError, type ErrorCode, ProxyError } from "../../common/errors.ts";
import type { Forwarding } from "../../http/forwarded.ts";
import type { H2Connection } from "../../http/h2/connection.ts";
import { H2Code } from "../../http/h2/errors.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import type { H2RequestHead } from "../../http/h2/request_head.ts";
import type { H2ResponseHead } from "../../http/h2/response_head.ts";
import type { H2Stream, StreamListener, StreamReset } from "../../http/h2/stream.ts";
import type { ProxyPlan } from "../../http/l7/plan.ts";
import { answerTo } from "../../http/problem.ts";
import { NO_STATUS } from "../../observe/grpc_metrics.ts";
import { getLogger } from "../../observe/logger.ts";
import type { UpstreamStats } from "../../observe/metrics.ts";
import { encodeGrpcError, encodeGrpcTrailers, encodeHttpError } from "../respond.ts";
import { GrpcStatus, statusOf, statusOfReset } from "../status.ts";
import { encodeTimeout } from "../timeout.ts";
import { CallRecord } from "./call_record.ts";
import { type ClientEvents, ClientSide } from "./client_side.ts";
import type { GrpcContext } from "./context.ts";
import { CallDeadline, readTimeout } from "./deadline.ts";
import {
  encodeOwnRequest,
  encodeRequest,
  encodeResponse,
  encodeWithTimeout,
  type RequestBlock,
} from "./encode.ts";

/** Bytes of a request that are kept so that it can be sent to another backend. */
const REPLAY_LIMIT = 16 * 1024;
/** Time spent on a call, in milliseconds, from which on it is taken off what the backend is given. */
const WORTH_TELLING_MS = 1;

const log = getLogger("grpc");

/** What opens connections. */
interface Connections {
  acquire(): Promise<H2Connection>;
}

/** One call. It listens to the backend's stream; {@linkcode fromClient} listens to the client's. */
export class GrpcCall implements StreamListener, ClientEvents {
  readonly #context: GrpcContext;
  readonly #forwarding: Forwarding;
  readonly #down: H2Stream;
  readonly #record: CallRecord;
  #deadline: CallDeadline | undefined;
  #plan: ProxyPlan | undefined;
  #block: RequestBlock | undefined;
  #up: H2Stream | undefined;
  #backend: LiveBackend | undefined;
  #lease: Lease | undefined;
  /** The series of the backend, from when the attempt began: it may be gone before the attempt is over. */
  #upstream: UpstreamStats | undefined;
  #tried: Set<LiveBackend> | undefined;
  /** What came of the request's body and may have to be sent (again). */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  /** Whether all of the body so far is held, so that the call can begin anew. */
  #replayable = true;
  #requestEnded = false;
  #requestTrailers: Uint8Array | undefined;
  /** Bytes of the body that have come, that the present attempt has framed, and the most that any attempt has. */
  #received = 0;
  #sent = 0;
  #granted = 0;
  #responded = false;
  #finished = false;

  /** Told what the client sends. */
  readonly fromClient: StreamListener = new ClientSide(this);

  /**
   * Begins a call, whose head is used before the constructor returns.
   *
   * @param endStream Whether the request has no body.
   * @param refused Whether the head must be answered with its error.
   */
  constructor(
    context: GrpcContext,
    { stream, head, forwarding, endStream, refused }: {
      readonly stream: H2Stream;
      readonly head: H2RequestHead;
      readonly forwarding: Forwarding;
      readonly endStream: boolean;
      readonly refused: boolean;
    },
  ) {
    this.#context = context;
    this.#forwarding = forwarding;
    this.#down = stream;
    this.#requestEnded = endStream;
    this.#record = new CallRecord(
      context,
      refused ? undefined : head,
      forwarding.client.address,
      head.grpc,
    );
    if (refused) this.#answer(head.error);
    else this.#begin(head);
  }

  #begin(head: H2RequestHead): void {
    const { services, clock } = this.#context;
    let timeoutField = -1;
    if (this.#record.grpc) {
      const field = readTimeout(head.fields);
      if (field.type === "malformed") return this.#answer("bad_timeout");
      if (field.type === "timeout") {
        if (field.ms === 0) return this.#answer("deadline_exceeded");
        timeoutField = field.index;
        this.#deadline = new CallDeadline(clock, {
          started: this.#record.started,
          timeout: field.ms,
          onExpired: () => this.#expire(),
        });
      }
    }
    if (services?.claims(head.path)) {
      this.#block = encodeOwnRequest(head, this.#forwarding.client.address);
      const connection = services.take();
      if (connection !== undefined) return this.#open(connection);
      return this.#openLater(services);
    }
    const plan = this.#context.planner.plan(head, this.#forwarding.client.scheme);
    switch (plan.type) {
      case "proxy":
        this.#plan = plan;
        this.#record.routed(plan);
        this.#block = encodeRequest(head, { plan, forwarding: this.#forwarding, timeoutField });
        return this.#attempt(plan);
      case "bad_path":
        return this.#answer("bad_target");
      case "redirect":
      case "no_route":
        return this.#answer("no_route");
    }
  }

  /** @param failed What is answered when there is no backend that has not been tried. */
  #attempt(plan: ProxyPlan, failed: ErrorCode = "no_backend"): void {
    const tried = this.#tried;
    const backend = tried === undefined
      ? plan.pool.pick()
      : plan.pool.pick((member) => tried.has(member.backend));
    if (backend === undefined) return this.#answer(failed);
    this.#backend = backend;
    this.#lease = backend.acquire();
    this.#sent = 0;
    const stats = this.#upstream = this.#context.metrics.upstream(backend.id);
    stats.attempts++;
    this.#record.attempt(plan.route, backend);
    if (this.#record.attempts > 1) stats.retries++;
    const connection = backend.h2.take();
    if (connection !== undefined) {
      stats.reuses++;
      this.#open(connection);
      return;
    }
    stats.connects++;
    this.#openLater(backend.h2);
  }

  /** Opens the stream when there is a connection that still takes it: several calls may wait for the same. */
  #openLater(pool: Connections): void {
    pool.acquire().then(
      (connection) => {
        if (this.#finished) return;
        if (connection.available) this.#open(connection);
        else this.#openLater(pool);
      },
      (error) => this.#onConnectFailed(error),
    );
  }

  #open(connection: H2Connection): void {
    let block = this.#block!.bytes;
    const deadline = this.#deadline;
    if (deadline !== undefined && deadline.spent >= WORTH_TELLING_MS) {
      const { left } = deadline;
      if (left <= 0) return this.#expire();
      block = encodeWithTimeout(this.#block!, encodeTimeout(left));
    }
    const held = this.#held;
    const endStream = this.#requestEnded && this.#heldBytes === 0 &&
      this.#requestTrailers === undefined;
    const stream = this.#up = connection.openStream(block, {
      endStream,
      noBody: this.#record.method === "HEAD",
      listener: this,
    });
    if (endStream) return;
    const ends = this.#requestEnded && this.#requestTrailers === undefined;
    for (const [index, bytes] of held.entries()) {
      const last = ends && index === held.length - 1;
      this.onSent(stream.sendData(bytes, 0, bytes.length, last));
    }
    if (this.#requestTrailers !== undefined) stream.sendHeaders(this.#requestTrailers, true);
    if (!this.#replayable) this.#release();
  }

  /** Nothing of the body need be kept any more. */
  #release(): void {
    this.#replayable = false;
    this.#held = [];
    this.#heldBytes = 0;
  }

  #onConnectFailed(error: unknown): void {
    if (this.#finished) return;
    const known = error instanceof ProxyError
      ? error
      : new ProxyError("internal", "internal", "a call failed", { cause: error });
    log.warning("a backend was not reached", { error: describeError(known) });
    this.#fail(known.code, known.retry === "safe");
  }

  /**
   * An attempt failed before anything of an answer came.
   *
   * @param safe Whether the backend has not acted on it.
   * @param again Whether the backend is as good as the others for the next attempt.
   */
  #fail(code: ErrorCode, safe: boolean, again = false): void {
    this.#up = undefined;
    const backend = this.#backend;
    if (backend === undefined) return this.#answer(code);
    this.#upstream!.failed(code);
    this.#lease!.release();
    const { maxAttempts } = this.#context;
    if (safe && this.#replayable && this.#record.attempts < maxAttempts) {
      if (!again) (this.#tried ??= new Set()).add(backend);
      return this.#attempt(this.#plan!, code);
    }
    this.#answer(code);
  }

  onRequestData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    const count = end - start;
    this.#record.received(bytes, start, end);
    this.#requestEnded ||= endStream;
    if (this.#finished) {
      this.#down.consume(count);
      return;
    }
    this.#received += count;
    const up = this.#up;
    if (this.#replayable) {
      if (up === undefined || this.#heldBytes + count <= REPLAY_LIMIT) {
        if (count > 0) this.#held.push(bytes.slice(start, end));
        this.#heldBytes += count;
      } else this.#release();
    }
    if (up !== undefined) this.onSent(up.sendData(bytes, start, end, endStream));
  }

  onRequestTrailers(fields: FieldList): void {
    this.#requestEnded = true;
    if (this.#finished) return;
    this.#requestTrailers = encodeResponse(fields, undefined).slice();
    this.#up?.sendHeaders(this.#requestTrailers, true);
  }

  onClientReset(reset: StreamReset): void {
    if (this.#finished) return;
    this.#record.error = "client_closed";
    log.debug("a client cancelled", { detail: reset.detail });
    this.#up?.reset(H2Code.Cancel);
    this.#finish(this.#deadline?.isDue ? GrpcStatus.DeadlineExceeded : GrpcStatus.Cancelled);
  }

  onResponseSent(count: number): void {
    this.#up?.consume(count);
  }

  /** Bytes of the request have been framed for the backend. */
  onSent(count: number): void {
    this.#sent += count;
    // What is sent a second time has been granted already.
    if (this.#sent > this.#granted) {
      this.#down.consume(this.#sent - this.#granted);
      this.#granted = this.#sent;
    }
  }

  onHead(head: H2ResponseHead, endStream: boolean): void {
    if (this.#finished) return;
    if (!head.interim) {
      this.#responded = true;
      this.#record.httpStatus = head.status;
      this.#release();
      if (endStream) this.#record.readStatus(head.fields);
    }
    const changes = head.interim ? undefined : this.#plan?.responseChanges;
    this.#down.sendHeaders(encodeResponse(head.fields, changes), endStream);
    if (endStream) this.#onResponseEnd();
  }

  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.#record.sent(bytes, start, end);
    this.#up!.consume(this.#down.sendData(bytes, start, end, endStream));
    if (endStream) this.#onResponseEnd();
  }

  onTrailers(fields: FieldList): void {
    this.#record.readStatus(fields);
    this.#down.sendHeaders(encodeResponse(fields, undefined), true);
    this.#onResponseEnd();
  }

  /** RFC 9113, section 8.1: a server that has answered in full may ask the client to stop sending. */
  #onResponseEnd(): void {
    if (!this.#requestEnded) this.#down.endEarly();
    // Nothing to do where all of the request has gone; else nobody reads the rest.
    this.#up?.reset(H2Code.NoError);
    this.#finish(this.#record.answeredStatus);
  }

  onReset(reset: StreamReset): void {
    if (this.#finished) return;
    if (!this.#responded) {
      const code = reset.connectionLost ? "upstream_closed" : "upstream_reset";
      // A stream above the last one of GOAWAY came too late for its connection, not for its backend.
      const again = reset.code !== H2Code.RefusedStream;
      if (reset.unprocessed || reset.connectionLost) {
        return this.#fail(code, reset.unprocessed, again);
      }
      this.#upstream?.failed(code);
    }
    const code = this.#record.error = reset.connectionLost ? "upstream_closed" : "upstream_reset";
    if (reset.connectionLost && this.#record.grpc) return this.#breakOff(code);
    this.#down.reset(reset.connectionLost ? H2Code.InternalError : reset.code);
    this.#finish(statusOfReset(reset.code));
  }

  /** The deadline has passed, and neither the backend nor the client has ended the call. */
  #expire(): void {
    if (this.#finished) return;
    const code = "deadline_exceeded";
    log.debug("a call has passed its deadline", { backend: this.#backend?.addr ?? "" });
    this.#up?.reset(H2Code.Cancel);
    if (this.#responded) return this.#breakOff(code);
    this.#upstream?.failed(code);
    this.#answer(code);
  }

  /** The head of the answer has gone, so the status is said behind what has come of the answer. */
  #breakOff(code: ErrorCode): void {
    this.#record.error = code;
    this.#down.sendHeaders(encodeGrpcTrailers(code), true);
    if (!this.#requestEnded) this.#down.endEarly();
    this.#finish(statusOf(code));
  }

  /** Answers an error of our own. */
  #answer(code: ErrorCode): void {
    const record = this.#record;
    const { grpc } = record;
    record.error = code;
    this.#context.metrics.refused(code);
    record.httpStatus = grpc ? 200 : answerTo(code).status;
    this.#down.sendHeaders(grpc ? encodeGrpcError(code) : encodeHttpError(code), true);
    if (!this.#requestEnded) this.#down.endEarly();
    this.#finish(grpc ? statusOf(code) : NO_STATUS);
  }

  /** @param status The status that the client of a gRPC call gets. */
  #finish(status: number): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#held = [];
    // What was held for a backend and never went must not be missing in the window of the client's connection.
    this.#down.consume(this.#received - this.#granted);
    this.#granted = this.#received;
    this.#deadline?.stop();
    this.#lease?.release();
    this.#record.end(status);
  }
}

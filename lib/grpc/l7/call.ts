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
 * Until an answer begins, the call may be tried on another backend: after a failure, or, where its route says so,
 * beside a try that takes long.
 *
 * @module
 */
import type { Waiting } from "../../backend/admission.ts";
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import { ANSWERED, type Outcome } from "../../backend/outcome.ts";
import type { Member } from "../../backend/pool.ts";
import { failedBy } from "../../backend/recovery.ts";
import { describeError, type ErrorCode, ProxyError } from "../../common/errors.ts";
import type { Forwarding } from "../../http/forwarded.ts";
import type { H2Connection } from "../../http/h2/connection.ts";
import { H2Code } from "../../http/h2/errors.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import type { H2RequestHead } from "../../http/h2/request_head.ts";
import type { H2ResponseHead } from "../../http/h2/response_head.ts";
import type { H2Stream, StreamListener, StreamReset } from "../../http/h2/stream.ts";
import type { ProxyPlan } from "../../http/l7/plan.ts";
import { clientAddress } from "../../http/l7/rate_limit.ts";
import { answerTo } from "../../http/problem.ts";
import { NO_STATUS } from "../../observe/grpc_metrics.ts";
import { getLogger } from "../../observe/logger.ts";
import type { UpstreamStats } from "../../observe/metrics.ts";
import { encodeGrpcError, encodeGrpcTrailers, encodeHttpError } from "../respond.ts";
import { GrpcStatus, statusOf, statusOfReset } from "../status.ts";
import { encodeTimeout } from "../timeout.ts";
import { CallRecord, readGrpcStatus } from "./call_record.ts";
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
import { Hedge, type HedgeEvents } from "./hedge.ts";
import { judgeCode, judgeHead } from "./judge.ts";
import { readPushback } from "./pushback.ts";
import { RequestBody } from "./request_body.ts";
import { CallRetries, type Failure, type Next } from "./retries.ts";

/** Time spent on a call, in milliseconds, from which on it is taken off what the backend is given. */
const WORTH_TELLING_MS = 1;

const log = getLogger("grpc");

/** What opens connections. */
interface Connections {
  acquire(): Promise<H2Connection>;
}

/** One call. It listens to the backend's stream; {@linkcode fromClient} listens to the client's. */
export class GrpcCall implements StreamListener, ClientEvents, HedgeEvents {
  readonly #context: GrpcContext;
  readonly #forwarding: Forwarding;
  readonly #down: H2Stream;
  readonly #record: CallRecord;
  readonly #body: RequestBody;
  #deadline: CallDeadline | undefined;
  #plan: ProxyPlan | undefined;
  #block: RequestBlock | undefined;
  /** What the call is hashed by. */
  #key: number | undefined;
  #up: H2Stream | undefined;
  /** The backend that is tried, or was tried last. */
  #backend: LiveBackend | undefined;
  /** Held while a try is under way. */
  #lease: Lease | undefined;
  /** Set while the call waits for a backend that has room. */
  #waiting: Waiting | undefined;
  /** The series of the backend, from when the attempt began: it may be gone before the attempt is over. */
  #upstream: UpstreamStats | undefined;
  #retries: CallRetries | undefined;
  #hedge: Hedge | undefined;
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
    this.#body = new RequestBody(stream, endStream);
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
    const { services, clock, keyOf, isTrusted, recovery } = this.#context;
    const { client } = this.#forwarding;
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
      this.#block = encodeOwnRequest(head, client.address);
      const connection = services.take();
      if (connection !== undefined) return this.#open(connection);
      return this.#openLater(services);
    }
    const plan = this.#context.planner.plan(head, client.scheme);
    if (plan.rate !== undefined) {
      const wait = plan.rate.take(head, this.#forwarding, this.#record.started);
      if (wait > 0) {
        if (plan.type === "proxy") this.#record.routed(plan);
        return this.#answer("rate_limited", wait);
      }
    }
    switch (plan.type) {
      case "proxy": {
        this.#plan = plan;
        this.#record.routed(plan);
        this.#block = encodeRequest(head, { plan, forwarding: this.#forwarding, timeoutField });
        if (keyOf !== undefined) {
          this.#key = keyOf(head, clientAddress(head, this.#forwarding, isTrusted));
        }
        recovery.count(this.#record.started);
        const backend = plan.pool.pick(undefined, this.#key);
        const { hedgeDelay, perTryTimeout } = plan.retries;
        if (hedgeDelay < Infinity) this.#again(plan).startHedging(() => this.#startHedge(plan));
        else if (perTryTimeout < Infinity) this.#again(plan);
        return backend === undefined ? this.#queue(plan, undefined) : this.#try(plan, backend);
      }
      case "bad_path":
        return this.#answer("bad_target");
      case "redirect":
      case "no_route":
        return this.#answer("no_route");
    }
  }

  #again(plan: ProxyPlan): CallRetries {
    return this.#retries ??= new CallRetries({
      context: this.#context,
      plan,
      key: this.#key,
      record: this.#record,
      deadline: this.#deadline,
    });
  }

  /** No backend was found but those that `skip` leaves out: the call waits for one, if they are all at their limit. */
  #queue(plan: ProxyPlan, skip: ((member: Member) => boolean) | undefined): void {
    const waiting = this.#waiting = plan.pool.wait(skip, this.#key);
    if (waiting === undefined) return this.#answer("no_backend");
    waiting.lease.then((place) => {
      this.#waiting = undefined;
      if (this.#finished) return;
      this.#try(plan, place.backend);
      place.release();
    }, (error: ProxyError) => {
      this.#waiting = undefined;
      if (this.#finished) return;
      log.debug("a call found no backend", { error: describeError(error) });
      this.#answer(error.code);
    });
  }

  #try(plan: ProxyPlan, backend: LiveBackend): void {
    this.#backend = backend;
    this.#lease = backend.acquire();
    this.#body.restart(0);
    const stats = this.#upstream = this.#context.metrics.upstream(backend.id);
    stats.attempts++;
    this.#record.attempt(plan.route, backend);
    if (this.#record.attempts > 1) stats.retries++;
    this.#retries?.startTimer(() => this.#onTryExpired());
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
    const lease = this.#lease;
    pool.acquire().then(
      (connection) => {
        if (this.#finished || this.#lease !== lease) return;
        if (connection.available) this.#open(connection);
        else this.#openLater(pool);
      },
      (error) => {
        if (!this.#finished && this.#lease === lease) this.#onUnreached(error);
      },
    );
  }

  #open(connection: H2Connection): void {
    const deadline = this.#deadline;
    if (deadline !== undefined && deadline.spent >= WORTH_TELLING_MS && deadline.left <= 0) {
      return this.#expire();
    }
    const up = this.#up = this.#openStream(connection, this);
    this.#body.to = up;
    this.#body.onSent(this.#body.sendTo(up));
  }

  #openStream(connection: H2Connection, listener: StreamListener): H2Stream {
    return connection.openStream(this.#encodeBlock(), {
      endStream: this.#body.bare,
      noBody: this.#record.method === "HEAD",
      listener,
    });
  }

  /** The head as it is now: the backend gets what is left of the time, or what one try may take. */
  #encodeBlock(): Uint8Array {
    const deadline = this.#deadline;
    const block = this.#block!;
    if (deadline === undefined) return block.bytes;
    let time = deadline.spent >= WORTH_TELLING_MS ? Math.max(deadline.left, 0) : Infinity;
    const perTryTimeout = this.#plan?.retries.perTryTimeout ?? Infinity;
    if (perTryTimeout < time && perTryTimeout < deadline.left) time = perTryTimeout;
    return time === Infinity ? block.bytes : encodeWithTimeout(block, encodeTimeout(time));
  }

  /** The try is over; nothing of it is waited for any more, and its backend need not go on. */
  #endTry(): void {
    this.#retries?.stopTimer();
    this.#up?.reset(H2Code.Cancel);
    this.#up = this.#body.to = undefined;
    this.#lease?.release();
    this.#lease = undefined;
  }

  #onUnreached(error: unknown): void {
    const { code, retry } = asUnreached(error);
    const failure: Failure | undefined = retry === "safe"
      ? { after: "connect-failure" }
      : undefined;
    if (!this.#fail(code, failure)) this.#answer(code);
  }

  /**
   * A try failed before anything of an answer came.
   *
   * @returns Whether the call goes on.
   */
  #fail(code: ErrorCode, failure: Failure | undefined): boolean {
    const backend = this.#backend;
    const plan = this.#plan;
    if (backend === undefined || plan === undefined) {
      this.#up = this.#body.to = undefined;
      return false;
    }
    this.#upstream!.failed(code);
    if (this.#blames(code, failure)) this.#lease!.report(failedBy(code));
    if (this.#hedge !== undefined) {
      this.#leaveToHedge(plan, backend);
      return true;
    }
    const mayRepeat = failure !== undefined && this.#body.replayable;
    const next = mayRepeat ? this.#again(plan).next(backend, failure) : undefined;
    this.#endTry();
    if (next !== undefined) this.#goOn(plan, next);
    return next !== undefined;
  }

  /** Whether an error says something against the backend: our own limits and the end of all time do not. */
  #blames(code: ErrorCode, failure: Failure | undefined): boolean {
    return code !== "pool_exhausted" && code !== "internal" && failure?.again !== true &&
      this.#deadline?.isDue !== true;
  }

  #goOn(plan: ProxyPlan, next: Next): void {
    const go = (backend: LiveBackend | undefined) => {
      if (backend === undefined) this.#queue(plan, this.#again(plan).skip);
      else if (backend.full) this.#queue(plan, undefined);
      else this.#try(plan, backend);
    };
    if (next.wait === 0) go(next.backend);
    else this.#again(plan).wait(next, go);
  }

  /** The time of the try is over, or of that of the hedge which goes on alone. */
  #onTryExpired(): void {
    const hedge = this.#hedge;
    if (this.#lease === undefined && hedge !== undefined) this.#takeOver(hedge);
    const [code, after] = this.#up === undefined
      ? ["connect_timeout", "connect-failure"] as const
      : ["upstream_timeout", "timeout"] as const;
    if (!this.#fail(code, { after })) this.#answer(code);
  }

  /** The first try takes long: another one is made beside it, if the call can begin anew. */
  #startHedge(plan: ProxyPlan): void {
    const first = this.#backend;
    if (this.#lease === undefined || first === undefined) return;
    if (!this.#body.ended || !this.#body.replayable) return;
    const backend = this.#again(plan).beside(first);
    if (backend === undefined) return;
    const { metrics } = this.#context;
    this.#record.attempts++;
    const stats = metrics.upstream(backend.id);
    stats.attempts++;
    stats.retries++;
    stats.hedges++;
    const series = metrics.requests(plan.route, backend.id);
    this.#hedge = new Hedge(this, { backend, stats, series });
    this.#hedge.begin();
  }

  onHedgeConnected(hedge: Hedge, connection: H2Connection): void {
    hedge.stream = this.#openStream(connection, hedge);
    hedge.onSent(this.#body.sendTo(hedge.stream));
  }

  onHedgeUnreached(hedge: Hedge, error: unknown): void {
    if (this.#lease === undefined) {
      this.#takeOver(hedge);
      return this.#onUnreached(error);
    }
    const { code } = asUnreached(error);
    if (this.#blames(code, undefined)) hedge.lease.report(failedBy(code));
    this.#dropHedge(hedge, code);
  }

  onHedgeReset(hedge: Hedge, reset: StreamReset): void {
    if (this.#lease === undefined) {
      this.#takeOver(hedge);
      return this.onReset(reset);
    }
    const code = codeOf(reset);
    if (this.#blames(code, failureOf(reset))) hedge.lease.report(failedBy(code));
    this.#dropHedge(hedge, code);
  }

  onHedgeHead(hedge: Hedge, head: H2ResponseHead, endStream: boolean): void {
    const code = endStream ? readGrpcStatus(head.fields) : NO_STATUS;
    if (this.#lease !== undefined && this.#plan!.retries.on.has(code)) {
      hedge.lease.report(judgeCode(this.#context.recovery, code, head.fields));
      return this.#dropHedge(hedge, `grpc_${code}`);
    }
    this.#takeOver(hedge);
    this.onHead(head, endStream);
  }

  /** The hedge has failed while the first try goes on. */
  #dropHedge(hedge: Hedge, reason: string): void {
    this.#hedge = undefined;
    hedge.stats.failed(reason);
    hedge.cancel();
    this.#retries!.add(hedge.backend);
  }

  /** The first try has failed while the hedge goes on. */
  #leaveToHedge(plan: ProxyPlan, failed: LiveBackend): void {
    this.#endTry();
    const retries = this.#again(plan);
    retries.add(failed);
    retries.startTimer(() => this.#onTryExpired());
  }

  /** The hedge is the try of the call from now on; the other one is cancelled. */
  #takeOver(hedge: Hedge): void {
    const { backend, lease, series, stats, stream } = hedge;
    hedge.yield();
    this.#hedge = undefined;
    this.#endTry();
    this.#backend = backend;
    this.#lease = lease;
    this.#upstream = stats;
    this.#up = this.#body.to = stream;
    if (stream !== undefined) stream.listener = this;
    this.#body.restart(hedge.sent);
    this.#record.adopt(this.#plan!.route, backend, series);
  }

  onRequestData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.#record.received(bytes, start, end);
    if (this.#finished) {
      this.#body.ended ||= endStream;
      this.#down.consume(end - start);
      return;
    }
    this.#body.take(bytes, start, end, endStream);
  }

  onRequestTrailers(fields: FieldList): void {
    if (this.#finished) this.#body.ended = true;
    else this.#body.end(encodeResponse(fields, undefined));
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

  onSent(count: number): void {
    this.#body.onSent(count);
  }

  onHead(head: H2ResponseHead, endStream: boolean): void {
    if (this.#finished) return;
    const { fields } = head;
    if (!head.interim) {
      this.#record.httpStatus = head.status;
      if (endStream) {
        this.#record.readStatus(fields);
        if (this.#retryRefused(fields)) return;
      }
      this.#commit(head, endStream);
    }
    const changes = head.interim ? undefined : this.#plan?.responseChanges;
    this.#down.sendHeaders(encodeResponse(fields, changes), endStream);
    if (endStream) this.#onResponseEnd(fields);
  }

  /** An answer begins, and with it the end of all other tries. */
  #commit(head: H2ResponseHead, endStream: boolean): void {
    this.#responded = true;
    this.#body.release();
    this.#retries?.stop();
    this.#hedge?.cancel();
    this.#hedge = undefined;
    const lease = this.#lease;
    if (lease === undefined) return;
    if (!this.#record.grpc) this.#settle(judgeHead(this.#context.recovery, head));
    else if (!endStream) lease.answering();
  }

  /** It is known what the answer says of its backend. */
  #settle(outcome: Outcome): void {
    if (outcome.type === "failed") this.#upstream!.failed(outcome.reason);
    this.#lease!.report(outcome);
  }

  /**
   * A call that was refused without an answer (Trailers-Only) may be tried again, as the user has it.
   *
   * @returns Whether it is.
   */
  #retryRefused(fields: FieldList): boolean {
    const plan = this.#plan;
    const code = this.#record.answeredStatus;
    if (plan === undefined || !this.#record.grpc || code === GrpcStatus.Ok) return false;
    // Its time was that of the try, not that of the call.
    const expired = code === GrpcStatus.DeadlineExceeded &&
      plan.retries.perTryTimeout < Infinity && this.#deadline?.isDue !== true;
    const after = expired ? "timeout" : code;
    if (!plan.retries.on.has(after)) return false;
    const backend = this.#backend!;
    const alone = this.#hedge === undefined;
    if (alone && !this.#body.replayable) return false;
    const next = alone
      ? this.#again(plan).next(backend, { after, pushback: readPushback(fields) })
      : undefined;
    if (alone && next === undefined) return false;
    const reason = expired ? "upstream_timeout" : `grpc_${code}`;
    log.debug("a call was refused and is tried again", { backend: backend.addr, reason });
    this.#upstream!.failed(reason);
    const outcome = expired ? failedBy(reason) : judgeCode(this.#context.recovery, code, fields);
    this.#lease!.report(outcome);
    if (next === undefined) {
      this.#leaveToHedge(plan, backend);
      return true;
    }
    this.#endTry();
    this.#goOn(plan, next);
    return true;
  }

  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.#record.sent(bytes, start, end);
    this.#up!.consume(this.#down.sendData(bytes, start, end, endStream));
    if (endStream) this.#onResponseEnd(undefined);
  }

  onTrailers(fields: FieldList): void {
    this.#record.readStatus(fields);
    this.#down.sendHeaders(encodeResponse(fields, undefined), true);
    this.#onResponseEnd(fields);
  }

  /**
   * RFC 9113, section 8.1: a server that has answered in full may ask the client to stop sending.
   *
   * @param fields Where the status stands.
   */
  #onResponseEnd(fields: FieldList | undefined): void {
    if (!this.#body.ended) this.#down.endEarly();
    // Nothing to do where all of the request has gone; else nobody reads the rest.
    this.#up?.reset(H2Code.NoError);
    const status = this.#record.answeredStatus;
    if (this.#lease !== undefined && this.#record.grpc) {
      this.#settle(judgeCode(this.#context.recovery, status, fields));
    }
    this.#finish(status);
  }

  onReset(reset: StreamReset): void {
    if (this.#finished) return;
    const { connectionLost, unprocessed } = reset;
    const code = codeOf(reset);
    if (!this.#responded) {
      if (this.#fail(code, failureOf(reset))) return;
      if (unprocessed || connectionLost) return this.#answer(code);
    } else if (this.#deadline?.isDue !== true) this.#lease?.report(failedBy(code));
    this.#record.error = code;
    if (connectionLost && this.#record.grpc) return this.#breakOff(code);
    this.#down.reset(connectionLost ? H2Code.InternalError : reset.code);
    this.#finish(statusOfReset(reset.code));
  }

  /** The deadline has passed, and neither the backend nor the client has ended the call. */
  #expire(): void {
    if (this.#finished) return;
    const code = "deadline_exceeded";
    log.debug("a call has passed its deadline", { backend: this.#backend?.addr ?? "" });
    // One that has not been reached yet has had no time to answer.
    if (this.#up !== undefined) this.#lease?.report(failedBy(code));
    if (this.#hedge?.stream !== undefined) this.#hedge.lease.report(failedBy(code));
    this.#up?.reset(H2Code.Cancel);
    if (this.#responded) return this.#breakOff(code);
    if (this.#lease !== undefined) this.#upstream!.failed(code);
    this.#answer(code);
  }

  /** The head of the answer has gone, so the status is said behind what has come of the answer. */
  #breakOff(code: ErrorCode): void {
    this.#record.error = code;
    this.#down.sendHeaders(encodeGrpcTrailers(code), true);
    if (!this.#body.ended) this.#down.endEarly();
    this.#finish(statusOf(code));
  }

  /**
   * Answers an error of our own.
   *
   * @param wait In how many milliseconds trying again makes sense, where that is known.
   */
  #answer(code: ErrorCode, wait?: number): void {
    const record = this.#record;
    const { grpc } = record;
    record.error = code;
    this.#context.metrics.refused(code);
    record.httpStatus = grpc ? 200 : answerTo(code).status;
    this.#down.sendHeaders(grpc ? encodeGrpcError(code, wait) : encodeHttpError(code, wait), true);
    if (!this.#body.ended) this.#down.endEarly();
    this.#finish(grpc ? statusOf(code) : NO_STATUS);
  }

  /** @param status The status that the client of a gRPC call gets. */
  #finish(status: number): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#body.close();
    this.#deadline?.stop();
    this.#waiting?.cancel();
    this.#retries?.stop();
    this.#hedge?.cancel();
    const lease = this.#lease;
    if (lease !== undefined) {
      // Whatever ended the call, the backend has begun to answer it.
      if (lease.answered) lease.report(ANSWERED);
      lease.release();
    }
    this.#record.end(status);
  }
}

/** What it means that a stream was reset. */
function codeOf({ connectionLost }: StreamReset): ErrorCode {
  return connectionLost ? "upstream_closed" : "upstream_reset";
}

/** And what may follow before an answer has begun. */
function failureOf({ code, unprocessed }: StreamReset): Failure {
  return {
    after: unprocessed ? "refused" : "reset",
    // A stream above the last one of GOAWAY came too late for its connection, not for its backend.
    again: unprocessed && code !== H2Code.RefusedStream,
  };
}

/** What it means that there is no connection. */
function asUnreached(error: unknown): ProxyError {
  const known = error instanceof ProxyError
    ? error
    : new ProxyError("internal", "internal", "a call failed", { cause: error });
  log.warning("a backend was not reached", { error: describeError(known) });
  return known;
}

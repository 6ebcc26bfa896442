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
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import { ANSWERED } from "../../backend/outcome.ts";
import { backoff, failedBy } from "../../backend/recovery.ts";
import { Alarm } from "../../common/alarm.ts";
import { describeError, type ErrorCode, ProxyError } from "../../common/errors.ts";
import type { Forwarding } from "../../http/forwarded.ts";
import type { H2Connection } from "../../http/h2/connection.ts";
import { H2Code } from "../../http/h2/errors.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import type { H2RequestHead } from "../../http/h2/request_head.ts";
import type { H2ResponseHead } from "../../http/h2/response_head.ts";
import type { H2Stream, StreamListener, StreamReset } from "../../http/h2/stream.ts";
import type { ProxyPlan } from "../../http/l7/plan.ts";
import { isIdempotent } from "../../http/methods.ts";
import { answerTo } from "../../http/problem.ts";
import { parseRetryAfter } from "../../http/retry_after.ts";
import { NO_STATUS } from "../../observe/grpc_metrics.ts";
import { getLogger } from "../../observe/logger.ts";
import type { UpstreamStats } from "../../observe/metrics.ts";
import type { RetryCondition } from "../../route/retry.ts";
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
import { readPushback } from "./pushback.ts";
import { RequestBody } from "./request_body.ts";

/** Time spent on a call, in milliseconds, from which on it is taken off what the backend is given. */
const WORTH_TELLING_MS = 1;

const log = getLogger("grpc");

/** What opens connections. */
interface Connections {
  acquire(): Promise<H2Connection>;
}

/** What is said of a try that failed, beside why. */
interface Failure {
  /** After what it may be followed by another one. */
  readonly after: RetryCondition;
  /** Whether the backend is as good as the others for the next try. */
  readonly again?: boolean;
  /** How long the backend wants to be left alone, in milliseconds; negative for ever. */
  readonly pushback?: number | undefined;
}

/** Another try. */
interface Next {
  readonly backend: LiveBackend;
  /** Milliseconds to wait before it. */
  readonly wait: number;
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
  /** The series of the backend, from when the attempt began: it may be gone before the attempt is over. */
  #upstream: UpstreamStats | undefined;
  #tried: Set<LiveBackend> | undefined;
  /** The end of the time that the try has, or of the wait between two tries. */
  #alarm: Alarm | undefined;
  #hedgeAlarm: Alarm | undefined;
  #hedge: Hedge | undefined;
  /** Whether a stream of the call came too late for its connection before. */
  #wasLate = false;
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
    const { services, clock, keyOf, recovery } = this.#context;
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
    switch (plan.type) {
      case "proxy": {
        this.#plan = plan;
        this.#record.routed(plan);
        this.#block = encodeRequest(head, { plan, forwarding: this.#forwarding, timeoutField });
        if (keyOf !== undefined) this.#key = keyOf(head, client.address);
        recovery.count(this.#record.started);
        const backend = plan.pool.pick(undefined, this.#key);
        if (backend === undefined) return this.#answer("no_backend");
        const { hedgeDelay } = plan.retries;
        if (hedgeDelay < Infinity) {
          this.#hedgeAlarm = new Alarm(recovery.waits, hedgeDelay, () => this.#startHedge(plan));
        }
        return this.#try(plan, backend);
      }
      case "bad_path":
        return this.#answer("bad_target");
      case "redirect":
      case "no_route":
        return this.#answer("no_route");
    }
  }

  #try(plan: ProxyPlan, backend: LiveBackend): void {
    this.#backend = backend;
    this.#lease = backend.acquire();
    this.#body.restart(0);
    const stats = this.#upstream = this.#context.metrics.upstream(backend.id);
    stats.attempts++;
    this.#record.attempt(plan.route, backend);
    if (this.#record.attempts > 1) stats.retries++;
    this.#startTimer(plan);
    const connection = backend.h2.take();
    if (connection !== undefined) {
      stats.reuses++;
      this.#open(connection);
      return;
    }
    stats.connects++;
    this.#openLater(backend.h2);
  }

  #startTimer({ retries: { perTryTimeout } }: ProxyPlan): void {
    if (perTryTimeout === Infinity) return;
    const { waits } = this.#context.recovery;
    this.#alarm = new Alarm(waits, perTryTimeout, () => this.#onTryExpired());
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
    if (perTryTimeout < Math.min(time, deadline.left)) time = perTryTimeout;
    return time === Infinity ? block.bytes : encodeWithTimeout(block, encodeTimeout(time));
  }

  /** The try is over; nothing of it is waited for any more. */
  #endTry(): void {
    this.#alarm?.stop();
    this.#alarm = undefined;
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
      (this.#tried ??= new Set()).add(backend);
      this.#endTry();
      this.#startTimer(plan);
      return true;
    }
    const next = failure && this.#next(plan, failure);
    this.#endTry();
    if (next !== undefined) this.#goOn(plan, next);
    return next !== undefined;
  }

  /** Whether an error says something against the backend: our own limits and the end of all time do not. */
  #blames(code: ErrorCode, failure: Failure | undefined): boolean {
    return code !== "pool_exhausted" && code !== "internal" && failure?.again !== true &&
      this.#deadline?.isDue !== true;
  }

  /** Where the call goes after a failure, if it may be tried again; what that costs is taken from the budget. */
  #next(plan: ProxyPlan, { after, again = false, pushback }: Failure): Next | undefined {
    const { maxAttempts, recovery, metrics } = this.#context;
    const { retries, pool } = plan;
    const { attempts, grpc, method } = this.#record;
    const failed = this.#backend!;
    if (
      this.#responded || !this.#body.replayable ||
      !retries.on.has(after) || attempts >= (retries.attempts ?? maxAttempts) ||
      (pushback !== undefined && pushback < 0)
    ) return undefined;
    // Nothing says of a call that it may run twice but the user's wish to have it tried again.
    if (!grpc && after !== "connect-failure" && after !== "refused" && !isIdempotent(method)) {
      return undefined;
    }
    const tried = this.#tried ??= new Set();
    if (!again) tried.add(failed);
    const other = pool.pick((member) => tried.has(member.backend), this.#key);
    // One that said when it wants to be asked again may be asked again.
    if (other === undefined && !again && pushback === undefined) return undefined;
    const wait = pushback ??
      (after === "connect-failure" ? 0 : backoff(attempts, recovery.random));
    if (this.#deadline !== undefined && this.#deadline.left <= wait) return undefined;
    // As gRFC A6 has it, a backend that has not seen the call costs nothing, once.
    const free = again && !this.#wasLate;
    this.#wasLate ||= again;
    if (!free && !recovery.take(metrics)) return undefined;
    return { backend: other ?? failed, wait };
  }

  #goOn(plan: ProxyPlan, { backend, wait }: Next): void {
    if (wait === 0) return this.#try(plan, backend);
    this.#alarm = new Alarm(this.#context.recovery.waits, wait, () => {
      this.#alarm = undefined;
      // Backends may have come and gone meanwhile.
      const tried = this.#tried;
      const now = plan.pool.pick((member) => tried?.has(member.backend) === true, this.#key) ??
        (backend.state === "active" ? backend : undefined);
      if (now === undefined) this.#answer("no_backend");
      else this.#try(plan, now);
    });
  }

  /** The time of the try is over, or of that of the hedge which goes on alone. */
  #onTryExpired(): void {
    this.#alarm = undefined;
    const hedge = this.#hedge;
    if (this.#lease === undefined && hedge !== undefined) this.#takeOver(hedge);
    const up = this.#up;
    up?.reset(H2Code.Cancel);
    const [code, after] = up === undefined
      ? ["connect_timeout", "connect-failure"] as const
      : ["upstream_timeout", "timeout"] as const;
    if (!this.#fail(code, { after })) this.#answer(code);
  }

  /** The first try takes long: another one is made beside it, if the call can begin anew. */
  #startHedge(plan: ProxyPlan): void {
    this.#hedgeAlarm = undefined;
    const { maxAttempts, recovery, metrics } = this.#context;
    const { pool, retries, route } = plan;
    const record = this.#record;
    const first = this.#backend;
    if (
      this.#lease === undefined ||
      !this.#body.ended || !this.#body.replayable ||
      !(record.grpc || isIdempotent(record.method)) ||
      record.attempts >= (retries.attempts ?? maxAttempts)
    ) return;
    const tried = this.#tried;
    const backend = pool.pick(
      (member) => member.backend === first || tried?.has(member.backend) === true,
      this.#key,
    );
    if (backend === undefined || !recovery.take(metrics)) return;
    record.attempts++;
    const stats = metrics.upstream(backend.id);
    stats.attempts++;
    stats.retries++;
    stats.hedges++;
    this.#hedge = new Hedge(this, { backend, stats, series: metrics.requests(route, backend.id) });
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
    this.#dropHedge(hedge, asUnreached(error).code);
  }

  onHedgeReset(hedge: Hedge, reset: StreamReset): void {
    if (this.#lease === undefined) {
      this.#takeOver(hedge);
      return this.onReset(reset);
    }
    this.#dropHedge(hedge, reset.connectionLost ? "upstream_closed" : "upstream_reset");
  }

  onHedgeHead(hedge: Hedge, head: H2ResponseHead, endStream: boolean): void {
    const code = endStream ? readGrpcStatus(head.fields) : NO_STATUS;
    if (this.#lease !== undefined && this.#plan!.retries.on.has(code)) {
      hedge.lease.report(this.#judge(code, head.fields));
      return this.#dropHedge(hedge, `grpc_${code}`);
    }
    this.#takeOver(hedge);
    this.onHead(head, endStream);
  }

  /** The hedge has failed while the first try goes on. */
  #dropHedge(hedge: Hedge, reason: string): void {
    this.#hedge = undefined;
    hedge.stats.failed(reason);
    hedge.lease.report(failedBy(reason));
    hedge.cancel();
    (this.#tried ??= new Set()).add(hedge.backend);
  }

  /** The hedge is the try of the call from now on; the other one is cancelled. */
  #takeOver(hedge: Hedge): void {
    const { backend, lease, series, stats, stream } = hedge;
    this.#hedge = undefined;
    this.#up?.reset(H2Code.Cancel);
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
    this.#stopAlarms();
    this.#hedge?.cancel();
    this.#hedge = undefined;
    const lease = this.#lease;
    if (lease === undefined || endStream) return;
    if (this.#record.grpc) lease.answering();
    else lease.report(this.#judgeStatus(head));
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
    const next = alone ? this.#next(plan, { after, pushback: readPushback(fields) }) : undefined;
    if (alone && next === undefined) return false;
    const reason = expired ? "upstream_timeout" : `grpc_${code}`;
    log.debug("a call was refused and is tried again", { backend: backend.addr, reason });
    this.#upstream!.failed(reason);
    this.#lease!.report(expired ? failedBy(reason) : this.#judge(code, fields));
    (this.#tried ??= new Set()).add(backend);
    this.#endTry();
    if (next !== undefined) this.#goOn(plan, next);
    else this.#startTimer(plan);
    return true;
  }

  /** What the status of a call says of its backend. */
  #judge(code: number, fields: FieldList | undefined) {
    if (code === GrpcStatus.Ok) return ANSWERED;
    return this.#context.recovery.judgeCode(code, () => {
      const pushback = fields && readPushback(fields);
      return pushback !== undefined && pushback >= 0 ? pushback : undefined;
    });
  }

  /** The same for an answer over HTTP that is none to a call. */
  #judgeStatus({ status, fields }: H2ResponseHead) {
    return this.#context.recovery.judgeStatus(
      status,
      () => parseRetryAfter(fields.get("retry-after"), Date.now()),
    );
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
    this.#lease?.report(this.#judge(status, fields));
    this.#finish(status);
  }

  onReset(reset: StreamReset): void {
    if (this.#finished) return;
    const { connectionLost, unprocessed } = reset;
    const code = connectionLost ? "upstream_closed" : "upstream_reset";
    if (!this.#responded) {
      // A stream above the last one of GOAWAY came too late for its connection, not for its backend.
      const again = unprocessed && reset.code !== H2Code.RefusedStream;
      if (this.#fail(code, { after: unprocessed ? "refused" : "reset", again })) return;
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

  /** Answers an error of our own. */
  #answer(code: ErrorCode): void {
    const record = this.#record;
    const { grpc } = record;
    record.error = code;
    this.#context.metrics.refused(code);
    record.httpStatus = grpc ? 200 : answerTo(code).status;
    this.#down.sendHeaders(grpc ? encodeGrpcError(code) : encodeHttpError(code), true);
    if (!this.#body.ended) this.#down.endEarly();
    this.#finish(grpc ? statusOf(code) : NO_STATUS);
  }

  #stopAlarms(): void {
    this.#alarm?.stop();
    this.#hedgeAlarm?.stop();
    this.#alarm = this.#hedgeAlarm = undefined;
  }

  /** @param status The status that the client of a gRPC call gets. */
  #finish(status: number): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#body.close();
    this.#deadline?.stop();
    this.#stopAlarms();
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

/** What it means that there is no connection. */
function asUnreached(error: unknown): ProxyError {
  const known = error instanceof ProxyError
    ? error
    : new ProxyError("internal", "internal", "a call failed", { cause: error });
  log.warning("a backend was not reached", { error: describeError(known) });
  return known;
}

/**
 * The tries of one call, and what comes of them: a backend is picked, and a stream opened to it. Until an answer
 * begins, the call may be tried on another one: after a failure, or, where its route says so, beside a try that takes
 * long. The answer that has begun goes to the client.
 *
 * @module
 */
import type { Waiting } from "../../backend/admission.ts";
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import { ANSWERED, EXPIRED, type Outcome } from "../../backend/outcome.ts";
import type { Member } from "../../backend/pool.ts";
import { failedBy, toldAs } from "../../backend/recovery.ts";
import { describeError, type ErrorCode, type ProxyError } from "../../common/errors.ts";
import type { H2Connection } from "../../http/h2/connection.ts";
import { H2Code } from "../../http/h2/errors.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import type { H2ResponseHead } from "../../http/h2/response_head.ts";
import type { H2Stream, StreamListener, StreamReset } from "../../http/h2/stream.ts";
import type { ProxyPlan } from "../../http/l7/plan.ts";
import { getLogger } from "../../observe/logger.ts";
import type { UpstreamStats } from "../../observe/metrics.ts";
import { MAX_INTERIM } from "../../http/interim.ts";
import { GrpcStatus } from "../status.ts";
import type { AttemptedCall } from "./attempted_call.ts";
import { awaitConnection, type Connections } from "./await_connection.ts";
import type { OwnServices } from "./context.ts";
import { encodeForTry, type RequestBlock } from "./encode.ts";
import { afterStatus, asUnreached, blames, codeOf, failureOf } from "./failure.ts";
import { Hedge, type HedgedTries } from "./hedge.ts";
import { judgeCode, judgeHead } from "./judge.ts";
import { readPushback } from "./pushback.ts";
import { CallRetries, type Failure, type Next } from "./retries.ts";

const log = getLogger("grpc");

/** The tries of one call. They listen to the backend's stream. */
export class CallAttempts implements StreamListener, HedgedTries {
  /** The backend that is tried, or was tried last. */
  backend: LiveBackend | undefined;
  /** The stream of the present try, once there is one. */
  up: H2Stream | undefined;
  /** Whether an answer has begun. */
  responded = false;
  readonly #call: AttemptedCall;
  readonly #block: RequestBlock;
  /** Where the call goes; `undefined` when that is to the own services. */
  #plan: ProxyPlan | undefined;
  /** What the call is hashed by. */
  #key: number | undefined;
  /** Held while a try is under way. */
  #lease: Lease | undefined;
  /** Set while the call waits for a backend that has room. */
  #waiting: Waiting | undefined;
  /** The series of the backend, from when the attempt began: it may be gone before the attempt is over. */
  #upstream: UpstreamStats | undefined;
  #retries: CallRetries | undefined;
  #hedge: Hedge | undefined;
  /** How many interim heads the present try has got. */
  #interim = 0;

  /** Nothing has been tried yet. `block` is the head of the request. */
  constructor(call: AttemptedCall, block: RequestBlock) {
    this.#call = call;
    this.#block = block;
  }

  /** Whether a try is under way beside a hedge, if there is one. */
  get trying(): boolean {
    return this.#lease !== undefined;
  }

  /** Begins at the own services. */
  beginOwn(services: OwnServices): void {
    const connection = services.take();
    if (connection !== undefined) this.#open(connection);
    else this.#openLater(services);
  }

  /** Begins where the plan says; `key` is what the call is hashed by. */
  begin(plan: ProxyPlan, key: number | undefined): void {
    this.#plan = plan;
    this.#key = key;
    const { context, record } = this.#call;
    context.recovery.count(record.started);
    const backend = plan.pool.pick(undefined, key);
    const { hedgeDelay, perTryTimeout } = plan.retries;
    if (hedgeDelay < Infinity) this.#again(plan).startHedging(() => this.#startHedge(plan));
    else if (perTryTimeout < Infinity) this.#again(plan);
    if (backend === undefined) this.#queue(plan, undefined);
    else this.#try(plan, backend);
  }

  #again(plan: ProxyPlan): CallRetries {
    return this.#retries ??= new CallRetries({
      context: this.#call.context,
      plan,
      key: this.#key,
      record: this.#call.record,
      deadline: this.#call.deadline,
    });
  }

  /** No backend was found but those that `skip` leaves out: the call waits for one, if they are all at their limit. */
  #queue(plan: ProxyPlan, skip: ((member: Member) => boolean) | undefined): void {
    const waiting = this.#waiting = plan.pool.wait(skip, this.#key);
    if (waiting === undefined) return this.#call.answer("no_backend");
    waiting.lease.then((place) => {
      this.#waiting = undefined;
      if (this.#call.finished) return;
      this.#try(plan, place.backend);
      place.release();
    }, (error: ProxyError) => {
      this.#waiting = undefined;
      if (this.#call.finished) return;
      log.debug("a call found no backend", { error: describeError(error) });
      this.#call.answer(error.code);
    });
  }

  #try(plan: ProxyPlan, backend: LiveBackend): void {
    this.backend = backend;
    this.#lease = backend.acquire();
    this.#call.body.restart(0);
    this.#interim = 0;
    const stats = this.#upstream = this.#call.context.metrics.upstream(backend.id);
    stats.attempts++;
    this.#call.record.attempt(plan.route, backend);
    if (this.#call.record.attempts > 1) stats.retries++;
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

  #openLater(pool: Connections): void {
    const lease = this.#lease;
    awaitConnection(pool, {
      isWanted: () => !this.#call.finished && this.#lease === lease,
      onConnected: (connection) => this.#open(connection),
      onUnreached: (error) => this.onUnreached(error),
    });
  }

  #open(connection: H2Connection): void {
    if (this.#call.deadline?.isOver) return this.#call.expire();
    const up = this.up = this.#openStream(connection, this);
    this.#call.body.to = up;
    this.#call.body.onSent(this.#call.body.sendTo(up));
  }

  #openStream(connection: H2Connection, listener: StreamListener): H2Stream {
    const { body, deadline, record } = this.#call;
    const time = deadline?.toTell(this.#plan?.retries.perTryTimeout) ?? Infinity;
    return connection.openStream(encodeForTry(this.#block, time), {
      endStream: body.bare,
      noBody: record.method === "HEAD",
      listener,
    });
  }

  /** The try is over; nothing of it is waited for any more, and its backend need not go on. */
  #endTry(): void {
    this.#retries?.stopTimer();
    this.up?.reset(H2Code.Cancel);
    this.up = this.#call.body.to = undefined;
    this.#lease?.release();
    this.#lease = undefined;
  }

  onUnreached(error: unknown): void {
    const { code, retry } = asUnreached(error, this.backend);
    const failure: Failure | undefined = retry === "safe"
      ? { after: "connect-failure", quick: code !== "connect_timeout" }
      : undefined;
    if (this.#fail(code, failure)) return;
    this.#call.answer(this.#plan === undefined ? code : toldAs(code, this.#plan.pool));
  }

  /**
   * A try failed before anything of an answer came.
   *
   * @returns Whether the call goes on.
   */
  #fail(code: ErrorCode, failure: Failure | undefined): boolean {
    const backend = this.backend;
    const plan = this.#plan;
    if (backend === undefined || plan === undefined) {
      this.up = this.#call.body.to = undefined;
      return false;
    }
    this.#upstream!.failed(code);
    if (blames(code, failure, this.#call.deadline)) this.#lease!.report(failedBy(code));
    if (this.#hedge !== undefined) {
      this.#leaveToHedge(plan, backend);
      return true;
    }
    const mayRepeat = failure !== undefined && this.#call.body.replayable;
    const next = mayRepeat ? this.#again(plan).next(backend, failure) : undefined;
    this.#endTry();
    if (next !== undefined) this.#goOn(plan, next);
    return next !== undefined;
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
    if (this.#lease === undefined && hedge !== undefined) this.takeOver(hedge);
    const [code, after] = this.up === undefined
      ? ["connect_timeout", "connect-failure"] as const
      : ["upstream_timeout", "timeout"] as const;
    if (!this.#fail(code, { after })) this.#call.answer(code);
  }

  /** The first try takes long: another one is made beside it, if the call can begin anew. */
  #startHedge(plan: ProxyPlan): void {
    const first = this.backend;
    if (this.#lease === undefined || first === undefined) return;
    if (!this.#call.body.ended || !this.#call.body.replayable) return;
    const backend = this.#again(plan).beside(first);
    if (backend === undefined) return;
    this.#hedge = new Hedge(this, { call: this.#call, plan, backend });
    this.#hedge.begin();
  }

  sendHedge(hedge: Hedge, connection: H2Connection): void {
    hedge.stream = this.#openStream(connection, hedge);
    hedge.onSent(this.#call.body.sendTo(hedge.stream));
  }

  dropHedge(hedge: Hedge): void {
    this.#hedge = undefined;
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
  takeOver(hedge: Hedge): void {
    const { backend, lease, series, stats, stream } = hedge;
    hedge.yield();
    this.#hedge = undefined;
    this.#endTry();
    this.backend = backend;
    this.#lease = lease;
    this.#upstream = stats;
    this.up = this.#call.body.to = stream;
    if (stream !== undefined) stream.listener = this;
    this.#call.body.restart(hedge.sent);
    this.#interim = hedge.interim;
    this.#call.record.adopt(this.#plan!.route, backend, series);
  }

  onSent(count: number): void {
    this.#call.body.onSent(count);
  }

  onHead(head: H2ResponseHead, endStream: boolean): void {
    const call = this.#call;
    if (call.finished) return;
    const { fields } = head;
    if (head.interim) {
      if (++this.#interim > MAX_INTERIM) this.onEndless();
      else call.relayFields(fields, undefined, false);
      return;
    }
    call.record.httpStatus = head.status;
    if (endStream) {
      call.record.readStatus(fields);
      if (this.#retryRefused(fields)) return;
    }
    this.#commit(head, endStream);
    call.relayFields(fields, this.#plan?.responseChanges, endStream);
    if (endStream) this.#onEnd(fields);
  }

  onEndless(): void {
    const code = "upstream_protocol";
    this.up!.reset(H2Code.EnhanceYourCalm);
    if (!this.#fail(code, undefined)) this.#call.answer(code);
  }

  /** An answer begins, and with it the end of all other tries. */
  #commit(head: H2ResponseHead, endStream: boolean): void {
    this.responded = true;
    this.#call.body.release();
    this.#retries?.stop();
    this.#hedge?.cancel();
    this.#hedge = undefined;
    const lease = this.#lease;
    if (lease === undefined) return;
    if (!this.#call.record.grpc) this.#settle(judgeHead(this.#call.context.recovery, head));
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
    const { body, context, deadline, record } = this.#call;
    const code = record.answeredStatus;
    if (plan === undefined || !record.grpc || code === GrpcStatus.Ok) return false;
    const after = afterStatus(code, plan.retries, deadline);
    if (!plan.retries.on.has(after)) return false;
    const expired = after === "timeout";
    const backend = this.backend!;
    const alone = this.#hedge === undefined;
    if (alone && !body.replayable) return false;
    const next = alone
      ? this.#again(plan).next(backend, { after, pushback: readPushback(fields) })
      : undefined;
    if (alone && next === undefined) return false;
    const reason = expired ? "upstream_timeout" : `grpc_${code}`;
    log.debug("a call was refused and is tried again", { backend: backend.addr, reason });
    this.#upstream!.failed(reason);
    const outcome = expired ? failedBy(reason) : judgeCode(context.recovery, code, fields);
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
    this.up!.consume(this.#call.relayData(bytes, start, end, endStream));
    if (endStream) this.#onEnd(undefined);
  }

  onTrailers(fields: FieldList): void {
    this.#call.record.readStatus(fields);
    this.#call.relayFields(fields, undefined, true);
    this.#onEnd(fields);
  }

  /** @param fields Where the status stands. */
  #onEnd(fields: FieldList | undefined): void {
    const { context, record } = this.#call;
    this.#call.endRequest();
    // Nothing to do where all of the request has gone; else nobody reads the rest.
    this.up?.reset(H2Code.NoError);
    const status = record.answeredStatus;
    if (this.#lease !== undefined && record.grpc) {
      this.#settle(judgeCode(context.recovery, status, fields));
    }
    this.#call.finish(status);
  }

  onReset(reset: StreamReset): void {
    if (this.#call.finished) return;
    const { connectionLost, unprocessed, stalled } = reset;
    const code = codeOf(reset);
    if (!this.responded) {
      if (this.#fail(code, failureOf(reset))) return;
      if (unprocessed || connectionLost || stalled) return this.#call.answer(code);
    } else if (this.#call.deadline?.isDue !== true) this.#lease?.report(failedBy(code));
    this.#call.reset(reset, code);
  }

  /** The call has not ended in time. */
  expire(): void {
    const code = "deadline_exceeded";
    // One that has not been reached yet has had no time to answer.
    if (this.up !== undefined) this.#lease?.report(EXPIRED);
    if (this.#hedge?.stream !== undefined) this.#hedge.lease.report(EXPIRED);
    this.up?.reset(H2Code.Cancel);
    if (!this.responded && this.#lease !== undefined) this.#upstream!.failed(code);
  }

  /** The call has ended: nothing is held or waited for any more. */
  close(): void {
    this.#waiting?.cancel();
    this.#retries?.stop();
    this.#hedge?.cancel();
    const lease = this.#lease;
    if (lease !== undefined) {
      // Whatever ended the call, the backend has begun to answer it.
      if (lease.answered) lease.report(ANSWERED);
      lease.release();
    }
  }
}

/**
 * The second try of a call beside one that takes long: gRFC A6, Hedging. Until its answer begins it is on its own;
 * then it becomes the try of the call, or ends.
 *
 * @module
 */
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import { failedBy } from "../../backend/recovery.ts";
import type { ErrorCode } from "../../common/errors.ts";
import type { H2Connection } from "../../http/h2/connection.ts";
import { H2Code } from "../../http/h2/errors.ts";
import type { H2ResponseHead } from "../../http/h2/response_head.ts";
import type { H2Stream, StreamListener, StreamReset } from "../../http/h2/stream.ts";
import type { ProxyPlan } from "../../http/l7/plan.ts";
import { NO_STATUS } from "../../observe/grpc_metrics.ts";
import type { RequestStats, UpstreamStats } from "../../observe/metrics.ts";
import { MAX_INTERIM } from "../../http/interim.ts";
import type { AttemptedCall } from "./attempted_call.ts";
import { awaitConnection } from "./await_connection.ts";
import { readGrpcStatus } from "./call_record.ts";
import { asUnreached, blames, codeOf, failureOf } from "./failure.ts";
import { judgeCode } from "./judge.ts";
import type { Failure } from "./retries.ts";

/** The other tries of the call, which it joins. */
export interface HedgedTries extends StreamListener {
  /** Whether the first try is still under way. */
  readonly trying: boolean;
  /** There is a connection: a stream is opened, and the request sent on it. */
  sendHedge(hedge: Hedge, connection: H2Connection): void;
  /** The hedge is the try of the call from now on; the other one is cancelled. */
  takeOver(hedge: Hedge): void;
  /** The hedge has failed while the first try goes on. */
  dropHedge(hedge: Hedge): void;
  /** The try of the call got no connection. */
  onUnreached(error: unknown): void;
  /** The try of the call got one interim head too many. */
  onEndless(): void;
}

/** Whose it is, and where it goes. */
export interface HedgeParts {
  readonly call: AttemptedCall;
  readonly plan: ProxyPlan;
  /** Not the backend of the first try. */
  readonly backend: LiveBackend;
}

/** A second try. */
export class Hedge implements StreamListener {
  readonly backend: LiveBackend;
  /** The counters of the backend, asked for when the hedge began: it may be gone before that has ended. */
  readonly stats: UpstreamStats;
  readonly series: RequestStats;
  /** Held until it ends, or the call takes it over. */
  readonly lease: Lease;
  /** Its stream, once there is one. */
  stream: H2Stream | undefined;
  /** Bytes of the request that have been framed. */
  sent = 0;
  /** How many interim heads it has got. */
  interim = 0;
  readonly #tries: HedgedTries;
  readonly #call: AttemptedCall;
  readonly #plan: ProxyPlan;
  #over = false;

  /** A hedge; {@linkcode begin} makes it. */
  constructor(tries: HedgedTries, { call, plan, backend }: HedgeParts) {
    const { metrics } = call.context;
    this.#tries = tries;
    this.#call = call;
    this.#plan = plan;
    call.record.attempts++;
    this.backend = backend;
    const stats = this.stats = metrics.upstream(backend.id);
    stats.attempts++;
    stats.retries++;
    stats.hedges++;
    this.series = metrics.requests(plan.route, backend.id);
    this.lease = backend.acquire();
  }

  /** Finds a connection. */
  begin(): void {
    const connection = this.backend.h2.take();
    if (connection !== undefined) {
      this.stats.reuses++;
      this.#tries.sendHedge(this, connection);
      return;
    }
    this.stats.connects++;
    awaitConnection(this.backend.h2, {
      isWanted: () => !this.#over,
      onConnected: (connection) => this.#tries.sendHedge(this, connection),
      onUnreached: (error) => this.#onUnreached(error),
    });
  }

  /** The call takes the lease and the stream over. */
  yield(): void {
    this.#over = true;
  }

  /** Ends it; the backend need not go on. */
  cancel(): void {
    this.#over = true;
    this.stream?.reset(H2Code.Cancel);
    this.lease.release();
  }

  #onUnreached(error: unknown): void {
    const tries = this.#tries;
    if (tries.trying) return this.#fail(asUnreached(error, this.backend).code, undefined);
    tries.takeOver(this);
    tries.onUnreached(error);
  }

  onHead(head: H2ResponseHead, endStream: boolean): void {
    if (this.#over) return;
    if (head.interim) {
      if (++this.interim > MAX_INTERIM) this.#onEndless();
      return;
    }
    const tries = this.#tries;
    const code = endStream ? readGrpcStatus(head.fields) : NO_STATUS;
    if (tries.trying && this.#plan.retries.on.has(code)) {
      this.lease.report(judgeCode(this.#call.context.recovery, code, head.fields));
      return this.#drop(`grpc_${code}`);
    }
    tries.takeOver(this);
    tries.onHead(head, endStream);
  }

  #onEndless(): void {
    const tries = this.#tries;
    if (!tries.trying) {
      tries.takeOver(this);
      return tries.onEndless();
    }
    this.stream!.reset(H2Code.EnhanceYourCalm);
    this.#fail("upstream_protocol", undefined);
  }

  onReset(reset: StreamReset): void {
    if (this.#over) return;
    const tries = this.#tries;
    if (tries.trying) return this.#fail(codeOf(reset), failureOf(reset));
    tries.takeOver(this);
    tries.onReset(reset);
  }

  #fail(code: ErrorCode, failure: Failure | undefined): void {
    if (blames(code, failure, this.#call.deadline)) this.lease.report(failedBy(code));
    this.#drop(code);
  }

  /** It has failed while the first try goes on. */
  #drop(reason: string): void {
    this.stats.failed(reason);
    this.cancel();
    this.#tries.dropHedge(this);
  }

  onSent(count: number): void {
    this.sent += count;
  }

  onData(): void {
    // Nothing comes before the head, and then the call listens.
  }

  onTrailers(): void {
    // The same.
  }
}

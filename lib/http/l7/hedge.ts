/**
 * The second try of a request beside one that takes long: it has a backend, a buffer and a deadline of its own until
 * it is the only one.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import { headBuffers } from "../../common/buffer_pool.ts";
import type { Timed } from "../../common/clock.ts";
import type { RequestStats } from "../../observe/metrics.ts";
import type { CompiledChanges } from "../field_changes.ts";
import { ByteWriter } from "../h1/writer.ts";
import { Attempt } from "./attempt.ts";
import type { AttemptParts, RequestFacts, Tally } from "./attempt_parts.ts";
import { BodyTransfer } from "./body_transfer.ts";
import type { Downstream } from "./downstream.ts";
import type { ProxyPlan } from "./plan.ts";

/** A request that may be tried on two backends at a time. */
export interface HedgedRequest extends AttemptParts {
  /** The try that goes on as the request's own, if there is one. */
  readonly attempt: Attempt | undefined;
  /** How often it was tried. */
  attempts: number;
  /** Where the request ends in its buffer, as far as it is complete. */
  readonly requestEnd: number;
  /** How long its answer may still take, over all tries, in milliseconds. */
  readonly timeLeft: number;
  /** Changes of the fields of an answer from `backend`. */
  changesFrom(backend: LiveBackend): CompiledChanges | undefined;
  /** Where there may be a try beside the present one; what it costs is taken from the budget. */
  findBeside(): LiveBackend | undefined;
  /** A try has failed while another one goes on. */
  onLeft(attempt: Attempt, error: unknown): void;
  /** The hedge is the request's own try from now on. */
  adopt(hedge: Hedge): void;
}

/** What a {@linkcode Hedge} is made of. */
export interface HedgeParts {
  /** Not the backend of the try that takes long. */
  readonly backend: LiveBackend;
  /** Told what comes of it. */
  readonly race: Race;
}

/** What a hedge is in together with another try. */
export interface Race {
  /** The hedge has got a head that is passed on to the client. */
  onHedgeAnswer(hedge: Hedge): void;
  /** The hedge has failed. */
  onHedgeFailed(hedge: Hedge, error: unknown): void;
}

const BODYLESS = { type: "none" } as const;

/** A second try. The request is copied for it, so that neither try can write over what the other one sends. */
export class Hedge implements AttemptParts, Timed {
  readonly connection: Downstream;
  readonly facts: RequestFacts;
  readonly tally: Tally;
  readonly started: number;
  readonly plan: ProxyPlan;
  readonly out: ByteWriter = new ByteWriter(headBuffers.acquire());
  /** Nothing: all of the body lies behind the head. */
  readonly transfer: BodyTransfer;
  responseChanges: CompiledChanges | undefined;
  deadline = Infinity;
  /** The try. */
  readonly attempt: Attempt;
  /** Where it goes. */
  readonly backend: LiveBackend;
  /** The series that the request is counted in if this is the answer. */
  readonly series: RequestStats;
  readonly #request: HedgedRequest;
  readonly #race: Race;
  /** Whether the other try is over. */
  #alone = false;

  /** A hedge, and counted as such; {@linkcode run} makes it. */
  constructor(request: HedgedRequest, { backend, race }: HedgeParts) {
    const { connection, plan } = request;
    const { clock, metrics } = connection.context;
    this.#request = request;
    this.#race = race;
    this.connection = connection;
    this.facts = request.facts;
    this.tally = request.tally;
    this.started = request.started;
    this.plan = plan;
    this.transfer = new BodyTransfer(connection.reader, BODYLESS, false);
    this.responseChanges = request.changesFrom(backend);
    this.out.range(request.out.buffer, 0, request.requestEnd);
    request.attempts++;
    this.backend = backend;
    this.series = metrics.requests(plan.route, backend.id);
    const stats = metrics.upstream(backend.id);
    stats.attempts++;
    stats.retries++;
    stats.hedges++;
    this.attempt = new Attempt(this, backend.acquire(), stats);
    clock.watch(this);
  }

  get patience(): number {
    return Math.min(this.plan.retries.perTryTimeout, this.#request.timeLeft);
  }

  get hurried(): boolean {
    return this.#request.timeLeft > 0;
  }

  /** Makes the try; see {@linkcode Attempt.run}. */
  run(): Promise<boolean> {
    return this.attempt.run(false);
  }

  /** The other try is over: the deadline of the connection is that of this one. */
  goAlone(): void {
    const { clock } = this.connection.context;
    this.#alone = true;
    this.stop();
    this.connection.arm(Math.max(this.deadline - clock.now(), 0));
  }

  /** Nothing is waited for any more. */
  stop(): void {
    this.connection.context.clock.unwatch(this);
  }

  arm(delay: number): void {
    if (this.#alone) this.connection.arm(delay);
    else this.connection.context.clock.arm(this, delay);
  }

  onDeadline(): void {
    this.attempt.onDeadline();
  }

  replaces(status: number): boolean {
    return this.#request.replaces(status);
  }

  onAnswer(): void {
    this.#race.onHedgeAnswer(this);
  }

  onFailed(error: unknown): void {
    this.#race.onHedgeFailed(this, error);
  }
}

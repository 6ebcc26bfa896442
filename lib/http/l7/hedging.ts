/**
 * Which of two tries of a request answers it, where its route asks for a second one beside a first that takes long
 * (J. Dean, L. A. Barroso, "The Tail at Scale": hedged requests). The one that has a head to pass on first wins.
 *
 * @module
 */
import { isLocal } from "../../backend/connector.ts";
import { Alarm } from "../../common/alarm.ts";
import { headBuffers } from "../../common/buffer_pool.ts";
import { ProxyError } from "../../common/errors.ts";
import type { ByteWriter } from "../h1/writer.ts";
import type { Attempt } from "./attempt.ts";
import { UnwantedAnswer } from "./attempt_errors.ts";
import { Hedge, type HedgedRequest, type Race } from "./hedge.ts";

/** The tries of one request, of which at most one is a hedge. */
export class Hedging implements Race {
  readonly #request: HedgedRequest;
  /** Waits before the hedge. */
  #alarm: Alarm | undefined;
  /** The hedge, while another try is under way too. */
  #hedge: Hedge | undefined;
  /** What comes of the tries that are under way. */
  #result: PromiseWithResolvers<boolean> = Promise.withResolvers();

  /** Begins to wait. */
  constructor(request: HedgedRequest) {
    const { connection, plan } = request;
    this.#request = request;
    this.#alarm = new Alarm(
      connection.context.recovery.waits,
      plan.retries.hedgeDelay,
      () => this.#begin(),
    );
  }

  /** Whether two tries are under way. */
  get racing(): boolean {
    return this.#hedge !== undefined;
  }

  /** How long the answer to a hedge beside another try has been waited for, in milliseconds. */
  get waited(): number {
    return this.#hedge?.attempt.waited ?? 0;
  }

  /**
   * Follows a try that is the request's own.
   *
   * @param run What comes of it.
   * @returns What comes of it and of a hedge that is made beside it, as of {@linkcode Attempt.run}.
   */
  watch(attempt: Attempt, run: Promise<boolean>): Promise<boolean> {
    this.#result = Promise.withResolvers();
    this.#follow(attempt, { out: this.#request.out, run });
    return this.#result.promise;
  }

  /** The request's own try has got a head that is passed on. */
  onAnswer(): void {
    this.stop();
    const hedge = this.#hedge;
    if (hedge !== undefined) this.#drop(hedge);
  }

  onHedgeAnswer(hedge: Hedge): void {
    if (this.#hedge !== undefined) this.#takeOver(hedge);
  }

  /** The request's own try has failed. */
  onFailed(attempt: Attempt, error: unknown): void {
    const hedge = this.#hedge;
    if (hedge === undefined) return;
    if (this.#isLast(error)) return this.#drop(hedge);
    this.#request.onLeft(attempt, error);
    this.#takeOver(hedge);
  }

  onHedgeFailed(hedge: Hedge, error: unknown): void {
    if (this.#hedge === undefined) return;
    if (this.#isLast(error)) return this.#takeOver(hedge);
    this.#request.onLeft(hedge.attempt, error);
    this.#drop(hedge);
  }

  /** Whether a failure ends the request, though another try goes on. */
  #isLast(error: unknown): boolean {
    return this.#request.tally.gone || !isBackends(error);
  }

  /** The client's connection failed. */
  abort(): void {
    this.stop();
    this.#hedge?.attempt.abort();
  }

  /** There will be no hedge any more. */
  stop(): void {
    this.#alarm?.stop();
    this.#alarm = undefined;
  }

  #begin(): void {
    this.#alarm = undefined;
    const backend = this.#request.findBeside();
    if (backend === undefined) return;
    const hedge = this.#hedge = new Hedge(this.#request, { backend, race: this });
    this.#follow(hedge.attempt, { out: hedge.out, run: hedge.run() });
  }

  #follow(
    attempt: Attempt,
    { out, run }: { readonly out: ByteWriter; readonly run: Promise<boolean> },
  ): void {
    const result = this.#result;
    run.then(result.resolve, (error) => {
      // Now nothing is written from its buffer any more.
      if (attempt === this.#request.attempt) result.reject(error);
      else headBuffers.release(out.buffer);
    });
  }

  /** The request's own try is the only one from now on. */
  #drop(hedge: Hedge): void {
    this.#hedge = undefined;
    hedge.stop();
    cancel(hedge.attempt);
  }

  /** The hedge is the request's own try from now on, and the only one. */
  #takeOver(hedge: Hedge): void {
    const other = this.#request.attempt!;
    this.#hedge = undefined;
    this.#request.adopt(hedge);
    hedge.goAlone();
    cancel(other);
  }
}

/** Ends a try, if it has not ended; nothing is said of its backend. */
function cancel(attempt: Attempt): void {
  attempt.cancel();
  attempt.lease.release();
}

/** Whether it is the backend, or the way to it, that failed, so that another one may do better. */
function isBackends(error: unknown): boolean {
  return error instanceof UnwantedAnswer || isLocal(error) ||
    (error instanceof ProxyError && error.side === "upstream");
}

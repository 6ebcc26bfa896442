/**
 * A request on its way to a backend: where each attempt at it goes, and what follows when one fails.
 *
 * @module
 */
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import type { Member } from "../../backend/pool.ts";
import { backoff, Passes } from "../../backend/recovery.ts";
import { Alarm } from "../../common/alarm.ts";
import { headBuffers } from "../../common/buffer_pool.ts";
import { describeError, ProxyError } from "../../common/errors.ts";
import { getLogger } from "../../observe/logger.ts";
import type { RequestStats } from "../../observe/metrics.ts";
import type { CompiledChanges } from "../field_changes.ts";
import { encodeRequestHead } from "../h1/encode_request.ts";
import type { RequestHead } from "../h1/request.ts";
import { ByteWriter } from "../h1/writer.ts";
import { isIdempotent } from "../methods.ts";
import { Attempt } from "./attempt.ts";
import { afterWhat, blame, clientGone, exhausted, UnwantedAnswer } from "./attempt_errors.ts";
import type { Next, NextAttempt, ReceivedRequest, RequestFacts, Tally } from "./attempt_parts.ts";
import { BodyTransfer } from "./body_transfer.ts";
import type { Downstream } from "./downstream.ts";
import type { Hedge, HedgedRequest } from "./hedge.ts";
import { Hedging } from "./hedging.ts";
import type { ProxyPlan } from "./plan.ts";
import { clientAddress } from "./rate_limit.ts";
import { Stay } from "./sticky.ts";

const log = getLogger("http");

/** A request on its way to a backend. It is what its attempts are made of, so that nothing is copied for them. */
export class ProxiedRequest implements HedgedRequest {
  readonly connection: Downstream;
  readonly facts: RequestFacts;
  readonly tally: Tally;
  readonly started: number;
  readonly transfer: BodyTransfer;
  readonly plan: ProxyPlan;
  out: ByteWriter;
  responseChanges: CompiledChanges | undefined;
  /** How many attempts there were. */
  attempts = 0;
  /** The last of them. */
  attempt: Attempt | undefined;
  /** The backend that it went to. */
  backend: LiveBackend | undefined;
  /** The series that the request is counted in with that backend. */
  series: RequestStats | undefined;
  /** Where the request ends in the buffer, as far as it is there. */
  requestEnd = 0;
  /** How long answers have been waited for in attempts that have failed, in milliseconds. */
  #waited = 0;
  /** Backends that have failed, once one has. */
  #tried: Set<LiveBackend> | undefined;
  /** Attempts that have reached no backend. */
  #passes: Passes | undefined;
  /** What follows when an answer is thrown away. */
  #instead: Next | undefined;
  /** Makes an attempt beside one that takes long, where the route asks for it. */
  #hedging: Hedging | undefined;
  /** Ends the wait between two attempts. */
  #endWait: (() => void) | undefined;
  /** What the request is hashed by. */
  #key: number | undefined;
  /** Where the client is to stay, if clients are. */
  #stay: Stay | undefined;

  /** Of a request whose head has just been parsed. */
  constructor(request: ReceivedRequest, plan: ProxyPlan, head: RequestHead) {
    const { connection } = request;
    this.connection = connection;
    this.facts = request.facts;
    this.tally = request.tally;
    this.started = request.started;
    this.out = new ByteWriter(headBuffers.acquire());
    this.transfer = new BodyTransfer(
      connection.reader,
      head.framing,
      head.framing.type === "chunked",
    );
    this.plan = plan;
    this.responseChanges = plan.responseChanges;
  }

  /** Whether a further attempt is waited for. */
  get waiting(): boolean {
    return this.#endWait !== undefined;
  }

  get patience(): number {
    return Math.min(this.plan.retries.perTryTimeout, this.timeLeft);
  }

  get hurried(): boolean {
    return this.timeLeft > 0;
  }

  get timeLeft(): number {
    const { response } = this.connection.context.timeouts;
    const waited = Math.max(this.attempt?.waited ?? 0, this.#hedging?.waited ?? 0);
    return response - this.#waited - waited;
  }

  /** Whether the whole request has been read, so that the next one can follow. */
  get received(): boolean {
    return this.attempt?.uploaded ?? this.transfer.done;
  }

  /**
   * Makes the first attempt.
   *
   * @param requestId What backends are told as its id; empty for none.
   * @returns Whether the client's connection may carry another request.
   * @throws {ProxyError} When there is no whole answer, as does the promise.
   */
  start(head: RequestHead, requestId: string): Promise<boolean> {
    const { context, forwarding } = this.connection;
    const { keyOf, isTrusted, recovery, registry, sticky } = context;
    const { pool, retries } = this.plan;
    this.#encode(head, requestId);
    this.requestEnd = this.out.at;
    if (keyOf !== undefined) this.#key = keyOf(head, clientAddress(head, forwarding, isTrusted));
    recovery.count(this.started);
    if (retries.hedgeDelay < Infinity && isIdempotent(this.facts.method)) {
      this.#hedging = new Hedging(this);
    }
    if (sticky !== undefined) {
      this.#stay = new Stay(sticky, head, forwarding.client.scheme === "https");
    }
    const backend = this.#stay?.find(registry, pool) ?? pool.pick(undefined, this.#key);
    return backend === undefined ? this.#tryLater(undefined, false) : this.#try(backend, false);
  }

  /** Ends the last attempt and says what follows from its failure. */
  end(error: unknown): Next {
    const next = this.#next(error);
    this.attempt?.lease.release();
    return next;
  }

  /**
   * Waits before an attempt; ends at once with the client.
   *
   * @param wait Milliseconds.
   * @throws {ProxyError} `client_closed` when the client has gone.
   */
  async pause(wait: number): Promise<void> {
    const { waits } = this.connection.context.recovery;
    await new Promise<void>((resolve) => {
      const alarm = new Alarm(waits, wait, resolve);
      this.#endWait = () => {
        alarm.stop();
        resolve();
      };
    });
    this.#endWait = undefined;
    if (this.tally.gone) throw clientGone(this.tally, undefined);
  }

  /** Makes another attempt; answers and throws as {@linkcode start} does. */
  tryAgain({ backend, fresh }: NextAttempt): Promise<boolean> {
    if (backend === undefined) return this.#tryLater(this.#skip, fresh);
    if (backend.full) return this.#tryLater(undefined, fresh);
    return this.#try(backend, fresh);
  }

  /** The client's connection failed: whatever is under way ends. */
  abort(): void {
    this.attempt?.abort();
    this.#hedging?.abort();
    this.#endWait?.();
  }

  /** Gives back what was lent for the request. */
  release(): void {
    this.#hedging?.stop();
    this.attempt?.lease.release();
    headBuffers.release(this.out.buffer);
  }

  /** Encodes the request for a backend, with as much of its body as is there and fits. */
  #encode(head: RequestHead, requestId: string): void {
    const { connection: { context, forwarding }, plan, out, transfer } = this;
    encodeRequestHead(head, out, {
      forwarding,
      requestId: requestId === "" ? undefined : requestId,
      target: plan.target,
      changes: plan.requestChanges,
      via: context.via,
      received: context.carrier === "h2" ? "2.0" : undefined,
    });
    if (!head.expectContinue) {
      // What is here already is judged before a backend sees anything of the request.
      transfer.copyTo(out);
      if (transfer.malformed !== undefined) {
        throw new ProxyError(transfer.malformed, "downstream", "the chunked body is malformed");
      }
    }
  }

  changesFrom(backend: LiveBackend): CompiledChanges | undefined {
    const { responseChanges } = this.plan;
    return this.#stay === undefined
      ? responseChanges
      : this.#stay.changesFrom(backend, responseChanges);
  }

  /** @param place A lease that has been given already. */
  #try(backend: LiveBackend, fresh: boolean, place?: Lease): Promise<boolean> {
    this.backend = backend;
    const { metrics } = this.connection.context;
    // Later, the route or the backend may be gone, and the call would bring the series back for good.
    this.series = metrics.requests(this.plan.route, backend.id);
    const stats = metrics.upstream(backend.id);
    stats.attempts++;
    if (++this.attempts > 1) stats.retries++;
    this.out.at = this.requestEnd;
    this.responseChanges = this.changesFrom(backend);
    const attempt = this.attempt = new Attempt(this, place ?? backend.acquire(), stats);
    const run = attempt.run(fresh);
    return this.#hedging === undefined ? run : this.#hedging.watch(attempt, run);
  }

  /** No backend was found but those that `skip` leaves out: waits for one, if they are all at their limit. */
  async #tryLater(
    skip: ((member: Member) => boolean) | undefined,
    fresh: boolean,
  ): Promise<boolean> {
    const { plan: { pool }, transfer } = this;
    const waiting = pool.wait(skip, this.#key);
    if (waiting === undefined) {
      throw new ProxyError("no_backend", "upstream", `pool ${pool.name} has no active backend`);
    }
    const { reader } = this.connection;
    // Reading ahead notices a client that resets.
    if (transfer.done && !reader.full && reader.available === 0) void reader.fill();
    this.#endWait = () => waiting.cancel();
    let place: Lease;
    try {
      place = await waiting.lease;
    } finally {
      this.#endWait = undefined;
    }
    if (!this.tally.gone) return await this.#try(place.backend, fresh, place);
    place.release();
    throw clientGone(this.tally, undefined);
  }

  /** What follows from a failure. */
  #next(error: unknown): Next {
    if (error instanceof UnwantedAnswer) return this.#instead!;
    const failed = this.backend;
    if (!(error instanceof ProxyError) || failed === undefined) return { type: "give_up", error };
    // No other attempt was made: none of the backends had room in time, or none was left.
    if (error.code === "overloaded" || error.code === "no_backend") {
      return { type: "give_up", error };
    }
    blame(error, this.attempt!);
    if (!this.#mayRepeat(error)) return this.#giveUp(error);
    const fresh = error.retry === "if-reused";
    return this.#elsewhere(failed, { fresh, error, waits: error.retry === "if-idempotent" });
  }

  /** Another attempt, if there is a backend for it and a place in the budget; or else the error. */
  #elsewhere(
    failed: LiveBackend,
    { fresh, error, waits }: {
      readonly fresh: boolean;
      readonly error: ProxyError | UnwantedAnswer;
      readonly waits: boolean;
    },
  ): Next {
    const { maxAttempts, recovery, metrics } = this.connection.context;
    const { pool, retries } = this.plan;
    const tried = this.#tried ??= new Set();
    tried.add(failed);
    const skip = this.#skip;
    const outlook = pool.outlook(skip);
    // A connection that was closed while idle says nothing against its backend.
    if (outlook === "none" && !fresh) {
      return { type: "give_up", error: error instanceof ProxyError ? exhausted(error) : error };
    }
    const passes = this.#passes ??= new Passes();
    const unsent = error instanceof ProxyError && error.retry === "safe";
    const free = unsent && passes.allow(failed, outlook);
    if (
      !passes.within(this.attempts, retries.attempts ?? maxAttempts) ||
      !(free || recovery.take(metrics))
    ) return this.#giveUp(error);
    if (free) passes.pass(error.code !== "connect_timeout");
    const other = pool.pick(skip, this.#key);
    const full = outlook === "full";
    log.debug("an attempt failed and is followed by another", {
      backend: failed.addr,
      error: describeError(error),
    });
    const wait = waits ? backoff(this.attempts, recovery.random) : 0;
    return { type: "try", backend: other ?? (full && !fresh ? undefined : failed), fresh, wait };
  }

  #giveUp(error: ProxyError | UnwantedAnswer): Next {
    const told = error instanceof ProxyError && !this.plan.pool.reaches ? exhausted(error) : error;
    return { type: "give_up", error: told };
  }

  /** Says which backends have failed. */
  get #skip(): ((member: Member) => boolean) | undefined {
    const tried = this.#tried;
    return tried && (({ backend }) => tried.has(backend));
  }

  replaces(status: number): boolean {
    const { gone, responded } = this.tally;
    if (gone || responded || !this.plan.retries.on.has(status)) return false;
    if (this.#hedging?.racing) return true;
    if (!this.#prepareRepeat()) return false;
    const error = new UnwantedAnswer(status);
    const next = this.#elsewhere(this.backend!, { fresh: false, error, waits: true });
    if (next.type === "give_up") return false;
    this.#instead = next;
    return true;
  }

  /** Whether the same request may be sent once more, as far as this error is concerned. */
  #mayRepeat(error: ProxyError): boolean {
    const { on } = this.plan.retries;
    if (this.tally.responded || this.tally.gone) return false;
    switch (error.retry) {
      case "never":
        return false;
      case "safe":
        return on.has("connect-failure");
      case "if-reused":
        return this.#prepareRepeat();
      case "if-idempotent":
        return on.has(afterWhat(error.code)) && this.#prepareRepeat();
    }
  }

  /** Makes ready to send what a backend may have acted on; `false` when that must not be, or time is over. */
  #prepareRepeat(): boolean {
    const attempt = this.attempt!;
    const { replayEnd } = attempt;
    if (replayEnd < 0 || !isIdempotent(this.facts.method)) return false;
    this.#waited += attempt.waited;
    if (this.#waited >= this.connection.context.timeouts.response) return false;
    this.requestEnd = replayEnd;
    return true;
  }

  arm(delay: number): void {
    this.connection.arm(delay);
  }

  onAnswer(): void {
    this.#hedging?.onAnswer();
  }

  onFailed(error: unknown): void {
    this.#hedging?.onFailed(this.attempt!, error);
  }

  findBeside(): LiveBackend | undefined {
    const { attempt, backend, plan: { pool, retries } } = this;
    const { maxAttempts, metrics, recovery } = this.connection.context;
    if (attempt === undefined || attempt.over || this.waiting || this.timeLeft <= 0) {
      return undefined;
    }
    // Its session is there and nowhere else.
    if (this.#stay?.names(backend!)) return undefined;
    const { replayEnd } = attempt;
    if (replayEnd < 0 || this.attempts >= (retries.attempts ?? maxAttempts)) return undefined;
    const tried = this.#tried;
    const skip = (member: Member) => member.backend === backend || !!tried?.has(member.backend);
    // One that is not fit is no help.
    if (!pool.serves(skip) || !recovery.has(metrics)) return undefined;
    const other = pool.pick(skip, this.#key);
    if (other === undefined || !recovery.take(metrics)) return undefined;
    this.requestEnd = replayEnd;
    return other;
  }

  onLeft(attempt: Attempt, error: unknown): void {
    const { backend } = attempt.lease;
    log.debug("an attempt failed while another one goes on", {
      backend: backend.addr,
      error: describeError(error),
    });
    if (error instanceof ProxyError) {
      blame(error, attempt);
      if (error.retry === "if-reused") return;
    }
    (this.#tried ??= new Set()).add(backend);
  }

  adopt({ attempt, backend, out, series }: Hedge): void {
    // The time for which both were waited for counts once.
    this.#waited += Math.max(this.attempt!.waited - attempt.waited, 0);
    this.attempt = attempt;
    this.backend = backend;
    this.out = out;
    this.series = series;
  }
}

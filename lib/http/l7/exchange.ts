/**
 * One request and its response at layer 7, as phases: plan, attempts, record.
 *
 * @module
 */
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import type { Member } from "../../backend/pool.ts";
import { backoff, failedBy } from "../../backend/recovery.ts";
import { Alarm } from "../../common/alarm.ts";
import { headBuffers } from "../../common/buffer_pool.ts";
import { writeAll } from "../../common/duplex.ts";
import { describeError, type ErrorCode, ProxyError } from "../../common/errors.ts";
import { makeRequestId } from "../../common/request_id.ts";
import { getLogger } from "../../observe/logger.ts";
import type { RequestStats, UpstreamStats } from "../../observe/metrics.ts";
import type { RetryCondition } from "../../route/retry.ts";
import { ascii } from "../h1/chars.ts";
import { encodeRequestHead } from "../h1/encode_request.ts";
import { Known } from "../h1/fields.ts";
import type { RequestHead } from "../h1/request.ts";
import { ByteWriter } from "../h1/writer.ts";
import { isIdempotent } from "../methods.ts";
import { answerTo, encodeError, encodeResponse } from "../problem.ts";
import { Attempt } from "./attempt.ts";
import { clientGone, exhausted, UnwantedAnswer } from "./attempt_errors.ts";
import type { AttemptParts, Judge, RequestFacts, Tally } from "./attempt_parts.ts";
import { BodyTransfer } from "./body_transfer.ts";
import type { Downstream } from "./downstream.ts";
import { draftLog, type LogDraft } from "./log_draft.ts";
import { NO_ROUTE, type Plan, type ProxyPlan } from "./plan.ts";
import type { RequestRate } from "./rate_limit.ts";
import { clientAddress } from "./rate_limit.ts";
import { serveLocal } from "./serve_local.ts";
import { mayStay } from "./sticky.ts";

const NOTHING = new Uint8Array(0);
/** Where all paths begin that a local handler may claim; compared as bytes, so that others are not decoded. */
const MANAGEMENT = ascii("/lb/");
const CONTINUE = ascii("HTTP/1.1 100 Continue\r\n\r\n");

const log = getLogger("http");

/** What follows from the failure of an attempt. */
type Next =
  | {
    readonly type: "try";
    /** Where; `undefined` when all backends that may have it are at their limit. */
    readonly backend: LiveBackend | undefined;
    readonly fresh: boolean;
    /** Milliseconds to wait before. */
    readonly wait: number;
  }
  | { readonly type: "give_up"; readonly error: unknown };

/** One request and its response. */
export class Exchange implements Judge {
  readonly #connection: Downstream;
  readonly #facts: RequestFacts;
  readonly #tally: Tally;
  readonly #started: number;
  readonly #logDraft: LogDraft | undefined;
  /** Whether the request has no body, so that the next one can follow whatever becomes of this one. */
  readonly #bodyless: boolean;
  /** For the log; empty while it is not known, or nobody asks. */
  #requestId = "";
  #route = NO_ROUTE;
  #backend: LiveBackend | undefined;
  #transfer: BodyTransfer | undefined;
  #parts: AttemptParts | undefined;
  /** Where the request ends in the buffer. */
  #requestEnd = 0;
  #attempt: Attempt | undefined;
  #attempts = 0;
  /** How long answers have been waited for in attempts that have failed, in milliseconds. */
  #waited = 0;
  /** Backends that have failed, once one has. */
  #tried: Set<LiveBackend> | undefined;
  /** What follows when an answer is thrown away. */
  #instead: Next | undefined;
  /** Ends the wait between two attempts. */
  #endWait: (() => void) | undefined;
  /** What the request is hashed by. */
  #key: number | undefined;
  /** The backend that the client's cookie names. */
  #stayAt: string | undefined;
  #lease: Lease | undefined;
  #stats: UpstreamStats | undefined;
  #series: RequestStats | undefined;
  /** Whether an answer of our own is being written. */
  #answering = false;
  #error: ErrorCode | "" = "";

  /**
   * The exchange of the request whose head has just been parsed.
   *
   * @param headBytes The length of the head.
   */
  constructor(connection: Downstream, headBytes: number) {
    const { context, scratch } = connection;
    const head = scratch.request;
    this.#connection = connection;
    this.#started = context.clock.now();
    this.#facts = {
      method: head.method,
      http10: head.minor === 0,
      keep: head.keepAlive && !connection.draining && context.closeAfterFirst !== true,
      upgrade: head.upgrade,
      expectContinue: head.expectContinue,
    };
    this.#tally = { responded: false, gone: false, status: 0, bytesIn: headBytes, bytesOut: 0 };
    this.#bodyless = head.framing.type === "none" ||
      (head.framing.type === "length" && head.framing.length === 0);
    if (context.accessLog !== undefined) {
      this.#logDraft = draftLog(head);
      this.#requestId = head.fields.joined(Known.XRequestId) ?? "";
    }
  }

  /**
   * Answers the request and tells the connection when that is done. The head is used before anything is
   * awaited. Never rejects.
   */
  async run(): Promise<void> {
    let keep = false;
    try {
      try {
        keep = await this.#dispatch(this.#connection.scratch.request);
      } catch (error) {
        keep = await this.#recover(error);
      } finally {
        this.#release();
      }
      this.#record();
      if (!keep && !this.#tally.gone) await this.#connection.close();
    } catch (error) {
      log.error("an exchange failed", { error: describeError(error) });
      keep = false;
    }
    this.#connection.onAnswered(keep);
  }

  /** The client's connection failed: whatever is under way for it ends. */
  abort(): void {
    this.#tally.gone = true;
    this.#attempt?.abort();
    this.#endWait?.();
  }

  /** The connection's deadline passed. */
  onDeadline(): void {
    // It was that of an attempt that is over; the next one sets its own.
    if (this.#endWait !== undefined) return;
    if (this.#attempt !== undefined && !this.#answering) this.#attempt.onDeadline();
    else {
      // The client neither sends the body that we wait for nor takes the answer of our own.
      this.#tally.gone = true;
      this.#error ||= "body_timeout";
      this.#connection.duplex.close();
    }
  }

  #dispatch(head: RequestHead): Promise<boolean> {
    const { context, scratch, reader, duplex } = this.#connection;
    const { local } = context;
    if (local !== undefined && head.isUnder(MANAGEMENT) && local.claims(head.path)) {
      this.#connection.arm(context.timeouts.bodyStall);
      return this.#local(serveLocal(local, head, reader, duplex.remote));
    }
    if (head.method === "OPTIONS" && /^0+$/.test(head.fields.joined(Known.MaxForwards) ?? "")) {
      // RFC 9110, section 7.6.2: "the recipient MUST respond as the final recipient".
      return this.#answer(200, [["Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"]]);
    }
    const plan = scratch.planner.plan(head, this.#connection.forwarding.client.scheme);
    if (plan.rate !== undefined) this.#count(plan, plan.rate, head);
    switch (plan.type) {
      case "proxy":
        return this.#proxy(plan, head);
      case "redirect":
        this.#route = plan.route;
        return this.#answer(plan.status, [["Location", plan.location]]);
      case "no_route":
        throw new ProxyError("no_route", "downstream", "no route matches");
      case "bad_path":
        throw new ProxyError("bad_target", "downstream", "the path has dot segments");
    }
  }

  /**
   * Counts the request against the rate that holds for it.
   *
   * @throws {ProxyError} `rate_limited` when it is one too many.
   */
  #count(plan: Plan, rate: RequestRate, head: RequestHead): void {
    const retryAfter = rate.take(head, this.#connection.forwarding, this.#started);
    if (retryAfter === 0) return;
    if ("route" in plan) this.#route = plan.route;
    throw new ProxyError("rate_limited", "downstream", "requests come too fast", { retryAfter });
  }

  async #answer(status: number, fields: [string, string][]): Promise<boolean> {
    const keep = this.#keep && this.#received;
    const noBody = this.#facts.method === "HEAD";
    const answer = encodeResponse({ status, fields, body: NOTHING, noBody, close: !keep });
    await this.#send(answer, status);
    return keep;
  }

  async #local(answer: ReturnType<typeof serveLocal>): Promise<boolean> {
    const [{ status, fields, body, drained }] = await Promise.all([answer, this.#invite()]);
    const keep = this.#keep && drained;
    const noBody = this.#facts.method === "HEAD";
    await this.#send(encodeResponse({ status, fields, body, noBody, close: !keep }), status);
    return keep;
  }

  /** Tells a client that waits for it to send the body: we are the final recipient (RFC 9110, section 10.1.1). */
  async #invite(): Promise<void> {
    if (!this.#facts.expectContinue) return;
    try {
      await writeAll(this.#connection.duplex, CONTINUE);
      this.#tally.bytesOut += CONTINUE.length;
    } catch (cause) {
      throw clientGone(this.#tally, cause);
    }
  }

  async #send(bytes: Uint8Array, status: number): Promise<void> {
    const { duplex, context } = this.#connection;
    this.#answering = true;
    this.#tally.status = status;
    this.#tally.responded = true;
    this.#openSeries();
    this.#connection.arm(context.timeouts.bodyStall);
    try {
      await writeAll(duplex, bytes);
      this.#tally.bytesOut += bytes.length;
    } catch (cause) {
      throw clientGone(this.#tally, cause);
    }
  }

  /** Makes the first attempt. */
  #proxy(plan: ProxyPlan, head: RequestHead): Promise<boolean> {
    const { pool, retries } = plan;
    const { context } = this.#connection;
    this.#route = plan.route;
    const out = new ByteWriter(headBuffers.acquire());
    const transfer = this.#transfer = new BodyTransfer(
      this.#connection.reader,
      head.framing,
      head.framing.type === "chunked",
    );
    this.#parts = {
      connection: this.#connection,
      facts: this.#facts,
      tally: this.#tally,
      transfer,
      plan,
      out,
      judge: this,
      patience: Math.min(retries.perTryTimeout, context.timeouts.response),
      hurried: retries.perTryTimeout < context.timeouts.response,
      responseChanges: plan.responseChanges,
    };
    this.#encode(head, this.#parts);
    this.#requestEnd = out.at;
    const { keyOf, isTrusted } = context;
    if (keyOf !== undefined) {
      this.#key = keyOf(head, clientAddress(head, this.#connection.forwarding, isTrusted));
    }
    context.recovery.count(this.#started);
    const backend = this.#findStay(plan, head) ?? pool.pick(undefined, this.#key);
    return backend === undefined ? this.#tryLater(undefined, false) : this.#try(backend, false);
  }

  /** No backend was found but those that `skip` leaves out: waits for one, if they are all at their limit. */
  async #tryLater(
    skip: ((member: Member) => boolean) | undefined,
    fresh: boolean,
  ): Promise<boolean> {
    const { plan: { pool }, transfer } = this.#parts!;
    const waiting = pool.wait(skip, this.#key);
    if (waiting === undefined) {
      throw new ProxyError("no_backend", "upstream", `pool ${pool.name} has no active backend`);
    }
    const { reader } = this.#connection;
    // Reading ahead notices a client that resets.
    if (transfer.done && !reader.full && reader.available === 0) void reader.fill();
    this.#endWait = () => waiting.cancel();
    let place: Lease;
    try {
      place = await waiting.lease;
    } finally {
      this.#endWait = undefined;
    }
    if (!this.#tally.gone) return await this.#try(place.backend, fresh, place);
    place.release();
    throw clientGone(this.#tally, undefined);
  }

  /** The backend that the client is to stay at, if it may. */
  #findStay({ pool }: ProxyPlan, head: RequestHead): LiveBackend | undefined {
    const { sticky, registry } = this.#connection.context;
    if (sticky === undefined) return undefined;
    const id = this.#stayAt = sticky.read(head);
    const backend = id === undefined ? undefined : registry.backend(id);
    return backend !== undefined && mayStay(pool, backend) ? backend : undefined;
  }

  /** Whom the client is with from now on, unless it is already. */
  #stick(parts: AttemptParts, backend: LiveBackend): void {
    const { context: { sticky }, forwarding: { client } } = this.#connection;
    if (sticky === undefined) return;
    const { plan: { responseChanges } } = parts;
    parts.responseChanges = backend.id === this.#stayAt
      ? responseChanges
      : sticky.add(responseChanges, backend, client.scheme === "https");
  }

  /** @param place A lease that has been given already. */
  #try(backend: LiveBackend, fresh: boolean, place?: Lease): Promise<boolean> {
    const parts = this.#parts!;
    const lease = this.#lease = place ?? backend.acquire();
    this.#backend = backend;
    this.#series = undefined;
    this.#openSeries();
    const stats = this.#connection.context.metrics.upstream(backend.id);
    stats.attempts++;
    if (++this.#attempts > 1) stats.retries++;
    this.#stats = stats;
    parts.out.at = this.#requestEnd;
    this.#stick(parts, backend);
    this.#attempt = new Attempt(parts, lease, stats);
    return this.#attempt.run(fresh);
  }

  /** Makes further attempts until one answers or none may follow; then the last error is answered. */
  async #recover(error: unknown): Promise<boolean> {
    for (let last = error;;) {
      const next = this.#next(last);
      this.#lease?.release();
      if (next.type === "give_up") return await this.#fail(next.error);
      try {
        if (next.wait > 0) await this.#pause(next.wait);
        const { backend, fresh } = next;
        if (backend === undefined) return await this.#tryLater(this.#skip, fresh);
        if (backend.full) return await this.#tryLater(undefined, fresh);
        return await this.#try(backend, fresh);
      } catch (error) {
        last = error;
      }
    }
  }

  /** Waits before an attempt; ends at once with the client. */
  async #pause(wait: number): Promise<void> {
    const { waits } = this.#connection.context.recovery;
    await new Promise<void>((resolve) => {
      const alarm = new Alarm(waits, wait, resolve);
      this.#endWait = () => {
        alarm.stop();
        resolve();
      };
    });
    this.#endWait = undefined;
    if (this.#tally.gone) throw clientGone(this.#tally, undefined);
  }

  /** What follows from a failure. */
  #next(error: unknown): Next {
    if (error instanceof UnwantedAnswer) return this.#instead!;
    const failed = this.#backend;
    if (!(error instanceof ProxyError) || failed === undefined) return { type: "give_up", error };
    // No other attempt was made: none of the backends had room in time, or none was left.
    if (error.code === "overloaded" || error.code === "no_backend") {
      return { type: "give_up", error };
    }
    if (error.side === "upstream") {
      this.#stats!.failed(error.code);
      // That a connection was closed while idle says nothing, and that it has enough of us is no failure.
      const blames = error.retry !== "if-reused" && error.code !== "pool_exhausted";
      if (blames) this.#lease!.report(failedBy(error.code));
    }
    if (!this.#mayRepeat(error)) return { type: "give_up", error };
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
    const { maxAttempts, recovery, metrics } = this.#connection.context;
    const { plan: { pool, retries } } = this.#parts!;
    const tried = this.#tried ??= new Set();
    tried.add(failed);
    const skip = this.#skip;
    const other = pool.pick(skip, this.#key);
    const full = other === undefined && pool.serves(skip);
    // A connection that was closed while idle says nothing against its backend.
    if (other === undefined && !full && !fresh) {
      return { type: "give_up", error: error instanceof ProxyError ? exhausted(error) : error };
    }
    if (this.#attempts >= (retries.attempts ?? maxAttempts)) return { type: "give_up", error };
    if (!recovery.take(metrics)) return { type: "give_up", error };
    log.debug("an attempt failed and is followed by another", {
      backend: failed.addr,
      error: describeError(error),
    });
    const wait = waits ? backoff(this.#attempts, recovery.random) : 0;
    return { type: "try", backend: other ?? (full && !fresh ? undefined : failed), fresh, wait };
  }

  /** Says which backends have failed. */
  get #skip(): ((member: Member) => boolean) | undefined {
    const tried = this.#tried;
    return tried && (({ backend }) => tried.has(backend));
  }

  replaces(status: number): boolean {
    const { plan: { retries } } = this.#parts!;
    const { gone, responded } = this.#tally;
    if (gone || responded || !retries.on.has(status) || !this.#prepareRepeat()) return false;
    const error = new UnwantedAnswer(status);
    const next = this.#elsewhere(this.#backend!, { fresh: false, error, waits: true });
    if (next.type === "give_up") return false;
    this.#instead = next;
    return true;
  }

  /** Gives back what was lent for the exchange. */
  #release(): void {
    this.#lease?.release();
    if (this.#parts !== undefined) headBuffers.release(this.#parts.out.buffer);
  }

  /** Encodes the request for a backend, with as much of its body as is there and fits. */
  #encode(head: RequestHead, { plan, out, transfer }: AttemptParts): void {
    const { context, forwarding } = this.#connection;
    if (this.#logDraft !== undefined && this.#requestId === "") this.#requestId = makeRequestId();
    encodeRequestHead(head, out, {
      forwarding,
      requestId: this.#requestId === "" ? undefined : this.#requestId,
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

  /** Whether the same request may be sent once more, as far as this error is concerned. */
  #mayRepeat(error: ProxyError): boolean {
    const { on } = this.#parts!.plan.retries;
    if (this.#tally.responded || this.#tally.gone) return false;
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
    const attempt = this.#attempt!;
    const { replayEnd } = attempt;
    if (replayEnd < 0 || !isIdempotent(this.#facts.method)) return false;
    const parts = this.#parts!;
    const { timeouts } = this.#connection.context;
    const { perTryTimeout } = parts.plan.retries;
    const left = timeouts.response - (this.#waited += attempt.waited);
    if (left <= 0) return false;
    parts.patience = Math.min(perTryTimeout, left);
    parts.hurried = perTryTimeout < left;
    this.#requestEnd = replayEnd;
    return true;
  }

  /** Whether the client's connection may carry another request, if nothing of this one is left. */
  get #keep(): boolean {
    return this.#facts.keep && !this.#connection.draining;
  }

  /** Whether the whole request has been read, so that the next one can follow. */
  get #received(): boolean {
    if (this.#transfer === undefined) return this.#bodyless;
    return this.#attempt?.uploaded ?? this.#transfer.done;
  }

  /** Answers an error, if that is still possible. */
  async #fail(error: unknown): Promise<boolean> {
    const { context, duplex } = this.#connection;
    const known = error instanceof ProxyError
      ? error
      : new ProxyError("internal", "internal", "an exchange failed", { cause: error });
    this.#error ||= known.code;
    const fields = {
      code: this.#error,
      client: duplex.remote.hostname,
      backend: this.#backend?.addr ?? "",
      error: describeError(known),
    };
    if (known.side === "internal") log.error("an exchange failed", fields);
    // Who has too much to do must not write a line about each request beside it; they are counted.
    else if (known.side === "upstream" && known.code !== "overloaded") {
      log.warning("an exchange failed", fields);
    } else log.debug("an exchange failed", fields);
    context.metrics.refused(this.#error);
    if (this.#tally.gone || this.#tally.responded) {
      // The client must not take what it has for the whole: the connection ends without an end.
      this.#tally.gone = true;
      duplex.close();
      return false;
    }
    const keep = this.#keep && this.#received;
    const noBody = this.#facts.method === "HEAD";
    try {
      const answer = encodeError(known.code, { noBody, close: !keep, wait: known.retryAfter });
      await this.#send(answer, answerTo(known.code).status);
      return keep;
    } catch {
      // `#send` has noted that the client is gone; the first error is the one that counts.
      return false;
    }
  }

  /**
   * The series that this exchange is counted in. Asked for before anything is awaited: later, its route or
   * backend may be gone, and the call would bring the series back for good.
   */
  #openSeries(): RequestStats {
    return this.#series ??= this.#connection.context.metrics
      .requests(this.#route, this.#backend?.id ?? "");
  }

  #record(): void {
    const { context, duplex } = this.#connection;
    const { metrics, accessLog } = context;
    const { status, bytesOut } = this.#tally;
    const seconds = (context.clock.now() - this.#started) / 1000;
    const bytesIn = this.#tally.bytesIn + (this.#transfer?.bytes ?? 0);
    if (context.carrier === undefined) metrics.bytesSent += bytesOut;
    this.#openSeries().record(status, seconds, bytesIn, bytesOut);
    if (this.#logDraft === undefined) return;
    accessLog!.write({
      ...this.#logDraft,
      time: Date.now(),
      listener: metrics.name,
      client: duplex.remote.hostname,
      method: this.#facts.method,
      protocol: context.carrier === "h2"
        ? "HTTP/2.0"
        : this.#facts.http10
        ? "HTTP/1.0"
        : "HTTP/1.1",
      status,
      bytesIn,
      bytesOut,
      durationMs: seconds * 1000,
      route: this.#route,
      backend: this.#backend?.addr ?? "",
      attempts: this.#attempts,
      requestId: this.#requestId,
      error: this.#error,
    });
  }
}

/** Under which condition a request is sent again that got no answer. */
function afterWhat(code: ErrorCode): RetryCondition {
  return code === "upstream_timeout" ? "timeout" : "reset";
}

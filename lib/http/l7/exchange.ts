/**
 * One request and its response at layer 7, as phases: plan, attempts, record.
 *
 * @module
 */
import { isLocal } from "../../backend/connector.ts";
import { writeAll } from "../../common/duplex.ts";
import { describeError, type ErrorCode, ProxyError } from "../../common/errors.ts";
import { makeRequestId } from "../../common/request_id.ts";
import { getLogger } from "../../observe/logger.ts";
import type { RequestStats } from "../../observe/metrics.ts";
import { SampledLog } from "../../observe/sampled_log.ts";
import { ascii } from "../h1/chars.ts";
import { Known } from "../h1/fields.ts";
import type { RequestHead } from "../h1/request.ts";
import { answerTo, encodeError, encodeResponse } from "../problem.ts";
import { clientGone } from "./attempt_errors.ts";
import type { ReceivedRequest, RequestFacts, Tally } from "./attempt_parts.ts";
import type { Downstream } from "./downstream.ts";
import { draftLog, type LogDraft } from "./log_draft.ts";
import { NO_ROUTE, type Plan, type ProxyPlan } from "./plan.ts";
import { ProxiedRequest } from "./proxied_request.ts";
import type { RequestRate } from "./rate_limit.ts";
import { serveLocal } from "./serve_local.ts";

const NOTHING = new Uint8Array(0);
/** Where all paths begin that a local handler may claim; compared as bytes, so that others are not decoded. */
const MANAGEMENT = ascii("/lb/");
const CONTINUE = ascii("HTTP/1.1 100 Continue\r\n\r\n");

const log = getLogger("http");
const failures = new SampledLog(log, { message: "an exchange failed", by: ["code", "backend"] });

/** One request and its response. */
export class Exchange implements ReceivedRequest {
  readonly connection: Downstream;
  readonly facts: RequestFacts;
  readonly tally: Tally;
  readonly started: number;
  readonly #logDraft: LogDraft | undefined;
  /** Whether the request has no body, so that the next one can follow whatever becomes of this one. */
  readonly #bodyless: boolean;
  /** For the log; empty while it is not known, or nobody asks. */
  #requestId = "";
  #route = NO_ROUTE;
  /** The request on its way to a backend, if it goes to one. */
  #proxied: ProxiedRequest | undefined;
  /** What it is counted in if no backend has had it. */
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
    this.connection = connection;
    this.started = context.clock.now();
    this.facts = {
      method: head.method,
      http10: head.minor === 0,
      keep: head.keepAlive && !connection.draining && context.closeAfterFirst !== true,
      upgrade: head.upgrade,
      expectContinue: head.expectContinue,
    };
    this.tally = { responded: false, gone: false, status: 0, bytesIn: headBytes, bytesOut: 0 };
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
        keep = await this.#dispatch(this.connection.scratch.request);
      } catch (error) {
        keep = await this.#recover(error);
      } finally {
        this.#proxied?.release();
      }
      this.#record();
      if (!keep && !this.tally.gone) await this.connection.close();
    } catch (error) {
      log.error("an exchange failed", { error: describeError(error) });
      keep = false;
    }
    this.connection.onAnswered(keep);
  }

  /**
   * The client's connection failed, or was ended: whatever is under way for it ends.
   *
   * @param code Why, if that is known better than by what fails next.
   */
  abort(code: ErrorCode | "" = ""): void {
    this.#error ||= code;
    this.tally.gone = true;
    this.#proxied?.abort();
  }

  /** The connection's deadline passed. */
  onDeadline(): void {
    const proxied = this.#proxied;
    // It was that of an attempt that is over; the next one sets its own.
    if (proxied?.waiting) return;
    if (proxied?.attempt !== undefined && !this.#answering) proxied.attempt.onDeadline();
    else {
      // The client neither sends the body that we wait for nor takes the answer of our own.
      this.tally.gone = true;
      this.#error ||= "body_timeout";
      this.connection.duplex.close();
    }
  }

  #dispatch(head: RequestHead): Promise<boolean> {
    const { context, scratch, reader, duplex } = this.connection;
    const { local } = context;
    if (local !== undefined && head.isUnder(MANAGEMENT) && local.claims(head.path)) {
      this.connection.arm(context.timeouts.bodyStall);
      return this.#local(serveLocal(local, head, reader, duplex.remote));
    }
    if (head.method === "OPTIONS" && /^0+$/.test(head.fields.joined(Known.MaxForwards) ?? "")) {
      // RFC 9110, section 7.6.2: "the recipient MUST respond as the final recipient".
      return this.#answer(200, [["Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"]]);
    }
    const plan = scratch.planner.plan(head, this.connection.forwarding.client.scheme);
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
    const retryAfter = rate.take(head, this.connection.forwarding, this.started);
    if (retryAfter === 0) return;
    if ("route" in plan) this.#route = plan.route;
    throw new ProxyError("rate_limited", "downstream", "requests come too fast", { retryAfter });
  }

  async #answer(status: number, fields: [string, string][]): Promise<boolean> {
    const keep = this.#keep && this.#received;
    const noBody = this.facts.method === "HEAD";
    const answer = encodeResponse({ status, fields, body: NOTHING, noBody, close: !keep });
    await this.#send(answer, status);
    return keep;
  }

  async #local(answer: ReturnType<typeof serveLocal>): Promise<boolean> {
    const [{ status, fields, body, drained }] = await Promise.all([answer, this.#invite()]);
    const keep = this.#keep && drained;
    const noBody = this.facts.method === "HEAD";
    await this.#send(encodeResponse({ status, fields, body, noBody, close: !keep }), status);
    return keep;
  }

  /** Tells a client that waits for it to send the body: we are the final recipient (RFC 9110, section 10.1.1). */
  async #invite(): Promise<void> {
    if (!this.facts.expectContinue) return;
    try {
      await writeAll(this.connection.duplex, CONTINUE);
      this.tally.bytesOut += CONTINUE.length;
    } catch (cause) {
      throw clientGone(this.tally, cause);
    }
  }

  async #send(bytes: Uint8Array, status: number): Promise<void> {
    const { duplex, context } = this.connection;
    this.#answering = true;
    this.tally.status = status;
    this.tally.responded = true;
    this.#openSeries();
    this.connection.arm(context.timeouts.bodyStall);
    try {
      await writeAll(duplex, bytes);
      this.tally.bytesOut += bytes.length;
    } catch (cause) {
      throw clientGone(this.tally, cause);
    }
  }

  /** Makes the first attempt. */
  #proxy(plan: ProxyPlan, head: RequestHead): Promise<boolean> {
    this.#route = plan.route;
    if (this.#logDraft !== undefined && this.#requestId === "") this.#requestId = makeRequestId();
    const proxied = this.#proxied = new ProxiedRequest(this, plan, head);
    return proxied.start(head, this.#requestId);
  }

  /** Makes further attempts until one answers or none may follow; then the last error is answered. */
  async #recover(error: unknown): Promise<boolean> {
    const proxied = this.#proxied;
    if (proxied === undefined) return await this.#fail(error);
    for (let last = error;;) {
      const next = proxied.end(last);
      if (next.type === "give_up") return await this.#fail(next.error);
      try {
        if (next.wait > 0) await proxied.pause(next.wait);
        return await proxied.tryAgain(next);
      } catch (error) {
        last = error;
      }
    }
  }

  /** Whether the client's connection may carry another request, if nothing of this one is left. */
  get #keep(): boolean {
    return this.facts.keep && !this.connection.draining;
  }

  /** Whether the whole request has been read, so that the next one can follow. */
  get #received(): boolean {
    return this.#proxied === undefined ? this.#bodyless : this.#proxied.received;
  }

  /** Answers an error, if that is still possible. */
  async #fail(error: unknown): Promise<boolean> {
    const { context, duplex } = this.connection;
    const known = error instanceof ProxyError
      ? error
      : new ProxyError("internal", "internal", "an exchange failed", { cause: error });
    this.#error ||= known.code;
    const fields = {
      code: this.#error,
      client: duplex.remote.hostname,
      backend: this.#proxied?.backend?.addr ?? "",
      error: describeError(known),
    };
    // Who has too much to do must not write a line about each request beside it; they are counted.
    if (known.code === "overloaded" || known.side === "downstream") {
      log.debug("an exchange failed", fields);
    } else if (known.side === "upstream" || isLocal(known)) failures.warning(fields);
    else log.error("an exchange failed", fields);
    context.metrics.refused(this.#error);
    if (this.tally.gone || this.tally.responded) {
      // The client must not take what it has for the whole: the connection ends without an end.
      this.tally.gone = true;
      duplex.close();
      return false;
    }
    const keep = this.#keep && this.#received;
    const noBody = this.facts.method === "HEAD";
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
    return this.#proxied?.series ??
      (this.#series ??= this.connection.context.metrics.requests(this.#route, ""));
  }

  #record(): void {
    const { context, duplex } = this.connection;
    const { metrics, accessLog } = context;
    const { status, bytesOut } = this.tally;
    const seconds = (context.clock.now() - this.started) / 1000;
    const bytesIn = this.tally.bytesIn + (this.#proxied?.transfer.bytes ?? 0);
    if (context.carrier === undefined) metrics.bytesSent += bytesOut;
    this.#openSeries().record(status, seconds, bytesIn, bytesOut);
    if (this.#logDraft === undefined) return;
    accessLog!.write({
      ...this.#logDraft,
      time: Date.now(),
      listener: metrics.name,
      client: duplex.remote.hostname,
      method: this.facts.method,
      protocol: context.carrier === "h2" ? "HTTP/2.0" : this.facts.http10 ? "HTTP/1.0" : "HTTP/1.1",
      status,
      bytesIn,
      bytesOut,
      durationMs: seconds * 1000,
      route: this.#route,
      backend: this.#proxied?.backend?.addr ?? "",
      attempts: this.#proxied?.attempts ?? 0,
      requestId: this.#requestId,
      error: this.#error,
    });
  }
}

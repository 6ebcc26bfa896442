/**
 * One request and its response at layer 7, as phases: plan, attempts, record.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import { headBuffers } from "../../common/buffer_pool.ts";
import { writeAll } from "../../common/duplex.ts";
import { describeError, type ErrorCode, ProxyError } from "../../common/errors.ts";
import { makeRequestId } from "../../common/request_id.ts";
import { getLogger } from "../../observe/logger.ts";
import type { RequestStats } from "../../observe/metrics.ts";
import { ascii } from "../h1/chars.ts";
import { encodeRequestHead } from "../h1/encode_request.ts";
import { Known } from "../h1/fields.ts";
import type { RequestHead } from "../h1/request.ts";
import { ByteWriter } from "../h1/writer.ts";
import { answerTo, encodeError, encodeResponse } from "../problem.ts";
import {
  Attempt,
  type AttemptParts,
  clientGone,
  type RequestFacts,
  type Tally,
} from "./attempt.ts";
import { BodyTransfer } from "./body_transfer.ts";
import type { Downstream } from "./downstream.ts";
import { NO_ROUTE, type ProxyPlan } from "./plan.ts";
import { serveLocal } from "./serve_local.ts";

/** RFC 9110, section 9.2.2. */
const IDEMPOTENT = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]);
const NOTHING = new Uint8Array(0);
/** Where all paths begin that a local handler may claim; compared as bytes, so that others are not decoded. */
const MANAGEMENT = ascii("/lb/");
const CONTINUE = ascii("HTTP/1.1 100 Continue\r\n\r\n");

const log = getLogger("http");

/** What the access log says of a request, taken while its head is there. */
interface LogDraft {
  readonly target: string;
  readonly host: string;
  readonly userAgent: string;
  readonly referer: string;
}

/** One request and its response. */
export class Exchange {
  readonly #connection: Downstream;
  readonly #facts: RequestFacts;
  readonly #tally: Tally;
  readonly #started: number;
  readonly #logDraft: LogDraft | undefined;
  /** Whether the request has no body, so that the next one can follow whatever becomes of this one. */
  readonly #bodyless: boolean;
  #requestId = "";
  #route = NO_ROUTE;
  #backend: LiveBackend | undefined;
  #transfer: BodyTransfer | undefined;
  #attempt: Attempt | undefined;
  #attempts = 0;
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
      this.#logDraft = {
        target: head.target,
        host: head.authority,
        userAgent: head.header("user-agent") ?? "",
        referer: head.header("referer") ?? "",
      };
      this.#requestId = head.fields.joined(Known.XRequestId) ?? "";
    }
  }

  /**
   * Answers the request. Its head is used before anything is awaited.
   *
   * @returns Whether the connection may carry another request. Rejects only on a fault of our own.
   */
  async run(): Promise<boolean> {
    let keep: boolean;
    try {
      keep = await this.#dispatch(this.#connection.scratch.request);
    } catch (error) {
      keep = await this.#fail(error);
    }
    this.#record();
    if (!keep && !this.#tally.gone) await this.#connection.close();
    return keep;
  }

  /** The client's connection failed: whatever is under way for it ends. */
  abort(): void {
    this.#tally.gone = true;
    this.#attempt?.abort();
  }

  /** The connection's deadline passed. */
  onDeadline(): void {
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

  async #proxy(plan: ProxyPlan, head: RequestHead): Promise<boolean> {
    const { context, reader, forwarding } = this.#connection;
    this.#route = plan.route;
    const out = new ByteWriter(headBuffers.acquire());
    try {
      if (this.#requestId === "") this.#requestId = makeRequestId();
      encodeRequestHead(head, out, {
        forwarding,
        requestId: this.#requestId,
        target: plan.target,
        changes: plan.requestChanges,
        via: context.via,
      });
      const chunked = head.framing.type === "chunked";
      const transfer = this.#transfer = new BodyTransfer(reader, head.framing, chunked);
      if (!head.expectContinue) {
        // What is here already is judged before a backend sees anything of the request.
        transfer.copyTo(out);
        if (transfer.malformed !== undefined) {
          throw new ProxyError(transfer.malformed, "downstream", "the chunked body is malformed");
        }
      }
      return await this.#tryBackends({
        connection: this.#connection,
        facts: this.#facts,
        tally: this.#tally,
        transfer,
        plan,
        out,
      });
    } finally {
      headBuffers.release(out.buffer);
    }
  }

  /** Attempts until one answers or none may follow. */
  async #tryBackends(parts: AttemptParts): Promise<boolean> {
    const { plan: { pool }, out } = parts;
    const request = out.at;
    let backend = pool.pick();
    if (backend === undefined) {
      throw new ProxyError("no_backend", "upstream", `pool ${pool.name} has no active backend`);
    }
    let tried: Set<LiveBackend> | undefined;
    for (let fresh = false;;) {
      const lease = backend.acquire();
      try {
        out.at = request;
        return await this.#try(backend, parts, fresh);
      } catch (error) {
        if (!(error instanceof ProxyError) || !this.#mayRepeat(error)) throw error;
        const failed = tried ??= new Set();
        failed.add(backend);
        const next = pool.pick((member) => failed.has(member.backend));
        // A connection that was closed while idle says nothing against its backend.
        fresh = error.retry === "if-reused";
        if (next === undefined && !fresh) throw exhausted(error);
        if (this.#attempts >= this.#connection.context.maxAttempts) throw error;
        log.debug("an attempt failed and is followed by another", {
          backend: backend.addr,
          error: describeError(error),
        });
        backend = next ?? backend;
      } finally {
        lease.release();
      }
    }
  }

  async #try(backend: LiveBackend, parts: AttemptParts, fresh: boolean): Promise<boolean> {
    this.#backend = backend;
    this.#series = undefined;
    this.#openSeries();
    const stats = this.#connection.context.metrics.upstream(backend.id);
    stats.attempts++;
    if (++this.#attempts > 1) stats.retries++;
    try {
      this.#attempt = new Attempt(parts);
      return await this.#attempt.run(backend, stats, fresh);
    } catch (error) {
      if (error instanceof ProxyError && error.side === "upstream") stats.failed(error.code);
      throw error;
    }
  }

  /** Whether the same request may be sent once more, as far as this error is concerned. */
  #mayRepeat(error: ProxyError): boolean {
    if (this.#tally.responded || this.#tally.gone) return false;
    if (error.retry === "safe") return true;
    return error.retry === "if-reused" && IDEMPOTENT.has(this.#facts.method) &&
      this.#attempt!.replayable;
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
    else if (known.side === "upstream") log.warning("an exchange failed", fields);
    else log.debug("an exchange failed", fields);
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
      const answer = encodeError(known.code, { noBody, close: !keep });
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
    metrics.bytesSent += bytesOut;
    this.#openSeries().record(status, seconds, bytesIn, bytesOut);
    if (this.#logDraft === undefined) return;
    accessLog!.write({
      ...this.#logDraft,
      time: Date.now(),
      listener: metrics.name,
      client: duplex.remote.hostname,
      method: this.#facts.method,
      protocol: this.#facts.http10 ? "HTTP/1.0" : "HTTP/1.1",
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

/** All backends were tried and none took a connection: as a whole, the service is not available. */
function exhausted(last: ProxyError): ProxyError {
  return last.code === "connect_refused" || last.code === "connect_failed"
    ? new ProxyError("no_backend", "upstream", "no backend can be reached", { cause: last })
    : last;
}

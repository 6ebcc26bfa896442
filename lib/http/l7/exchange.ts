/**
 * One request and its response at layer 7, as phases: plan, attempt (pick, acquire, send, receive),
 * relay, record.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import type { UpstreamConnection } from "../../backend/h1_pool.ts";
import { headBuffers } from "../../common/buffer_pool.ts";
import { writeAll } from "../../common/duplex.ts";
import { describeError, type ErrorCode, ProxyError, type Retry } from "../../common/errors.ts";
import { makeRequestId } from "../../common/request_id.ts";
import type { RequestStats, UpstreamStats } from "../../observe/metrics.ts";
import { getLogger } from "../../observe/logger.ts";
import { encodeRequestHead } from "../h1/encode_request.ts";
import { encodeInterim, encodeResponseHead } from "../h1/encode_response.ts";
import { INCOMPLETE, Known, REFUSED } from "../h1/fields.ts";
import type { RequestHead } from "../h1/request.ts";
import { ByteWriter } from "../h1/writer.ts";
import { formatHostPort } from "../../common/address.ts";
import { BodyTransfer, type TransferEnd } from "./body_transfer.ts";
import type { Downstream } from "./downstream.ts";
import { NO_ROUTE, type ProxyPlan } from "./plan.ts";
import { answerTo, encodeError, encodeResponse } from "../problem.ts";
import { serveLocal } from "./serve_local.ts";
import { runTunnel } from "./tunnel.ts";

/** RFC 9110, section 9.2.2. */
const IDEMPOTENT = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]);
/** Interim responses that one request may get; a backend that sends more is broken. */
const MAX_INTERIM = 10;
const NOTHING = new Uint8Array(0);

const log = getLogger("http");

/** What the exchange waits for, and so what a missed deadline means. */
type Wait = "connect" | "continue" | "upload" | "response" | "relay" | "tunnel" | "local";

/** One request and its response. */
export class Exchange {
  readonly #connection: Downstream;
  #wait: Wait = "local";
  #upstream: UpstreamConnection | undefined;
  #transfer: BodyTransfer | undefined;
  #uploading: Promise<void> | undefined;
  #uploadEnd: TransferEnd | undefined;
  /** A byte of an answer has gone to the client, so nothing can be said or tried any more. */
  #responded = false;
  /** The client's connection failed. */
  #gone = false;
  /** Why we gave up waiting. */
  #expired: ErrorCode | undefined;
  #attempts = 0;
  #method = "";
  #http10 = false;
  #keep = false;
  #upgrade = false;
  #expectContinue = false;
  #status = 0;
  #bytesIn = 0;
  #bytesOut = 0;
  #route = NO_ROUTE;
  #backend: LiveBackend | undefined;
  #series: RequestStats | undefined;
  #error: ErrorCode | "" = "";
  #logDraft: { target: string; host: string; userAgent: string; referer: string } | undefined;
  #requestId = "";

  /** An exchange on a connection; {@linkcode run} does the work. */
  constructor(connection: Downstream) {
    this.#connection = connection;
  }

  /**
   * Answers the request whose head has just been parsed.
   *
   * @param end The index behind the head in the reader's buffer.
   * @returns Whether the connection may carry another request. Rejects only on a fault of our own.
   */
  async run(end: number): Promise<boolean> {
    const { context, reader, scratch } = this.#connection;
    const head = scratch.request;
    const started = context.clock.now();
    this.#bytesIn = end - reader.start;
    reader.start = end;
    this.#method = head.method;
    this.#http10 = head.minor === 0;
    this.#keep = head.keepAlive && !this.#connection.draining && context.closeAfterFirst !== true;
    this.#upgrade = head.upgrade;
    this.#expectContinue = head.expectContinue;
    if (context.accessLog !== undefined) {
      this.#logDraft = {
        target: head.target,
        host: head.authority,
        userAgent: head.header("user-agent") ?? "",
        referer: head.header("referer") ?? "",
      };
      this.#requestId = head.fields.joined(Known.XRequestId) ?? "";
    }
    let keep: boolean;
    try {
      keep = await this.#dispatch(head);
    } catch (error) {
      keep = await this.#fail(error);
    }
    this.#record(started);
    if (!keep && !this.#gone) await this.#connection.close();
    return keep;
  }

  /** The client's connection failed: whatever is under way for it ends. */
  abort(): void {
    this.#gone = true;
    this.#upstream?.duplex.close();
  }

  /** The connection's deadline passed. */
  onDeadline(): void {
    switch (this.#wait) {
      case "connect":
        break; // opening a connection has a timeout of its own
      case "continue":
        // RFC 9110, section 10.1.1: a client "SHOULD NOT wait for an indefinite period"; nor do we.
        this.#startUpload();
        break;
      case "upload":
        this.#expire(this.#transfer!.waiting === "source" ? "body_timeout" : "upstream_stalled");
        break;
      case "response":
        this.#expire("upstream_timeout");
        break;
      case "local":
        this.#expire("body_timeout");
        this.#connection.duplex.close();
        break;
      case "relay":
      case "tunnel":
        this.#expire("upstream_stalled");
        this.#connection.duplex.close();
        break;
    }
  }

  #expire(code: ErrorCode): void {
    this.#expired = code;
    this.#upstream?.duplex.close();
  }

  #dispatch(head: RequestHead): Promise<boolean> {
    const { context, scratch, reader } = this.#connection;
    const { local } = context;
    if (local !== undefined && local.claims(head.path)) {
      this.#connection.arm(context.timeouts.bodyStall);
      return this.#local(serveLocal(local, head, reader, this.#connection.duplex.remote));
    }
    if (this.#method === "OPTIONS" && head.fields.joined(Known.MaxForwards) === "0") {
      // RFC 9110, section 7.6.2: "the recipient MUST respond as the final recipient".
      return this.#answer(200, [["Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"]]);
    }
    const plan = scratch.planner.plan(head, this.#connection.forwarding.client.scheme);
    if (plan.type === "proxy") return this.#proxy(plan, head);
    if (plan.type === "bad_path") {
      throw new ProxyError("bad_target", "downstream", "the path has dot segments");
    }
    if (plan.type === "no_route") {
      throw new ProxyError("no_route", "downstream", "no route matches");
    }
    this.#route = plan.route;
    return this.#answer(plan.status, [["Location", plan.location]]);
  }

  /** Whether the request's body, if it has one, has been read to its end. */
  #drained(head: RequestHead): boolean {
    return head.framing.type === "none" ||
      (head.framing.type === "length" && head.framing.length === 0);
  }

  async #answer(status: number, fields: [string, string][]): Promise<boolean> {
    const keep = this.#keep && this.#drained(this.#connection.scratch.request);
    const noBody = this.#method === "HEAD";
    await this.#send(
      encodeResponse({ status, fields, body: NOTHING, noBody, close: !keep }),
      status,
    );
    return keep;
  }

  async #local(answer: ReturnType<typeof serveLocal>): Promise<boolean> {
    const { status, fields, body, drained } = await answer;
    const keep = this.#keep && drained;
    const noBody = this.#method === "HEAD";
    await this.#send(encodeResponse({ status, fields, body, noBody, close: !keep }), status);
    return keep;
  }

  async #send(bytes: Uint8Array, status: number): Promise<void> {
    this.#status = status;
    this.#responded = true;
    this.#openSeries();
    this.#wait = "relay";
    this.#connection.arm(this.#connection.context.timeouts.bodyStall);
    try {
      await writeAll(this.#connection.duplex, bytes);
      this.#bytesOut += bytes.length;
    } catch (cause) {
      throw this.#clientGone(cause);
    }
  }

  #clientGone(cause: unknown): ProxyError {
    this.#gone = true;
    return new ProxyError("client_closed", "downstream", "the client's connection failed", {
      cause,
    });
  }

  async #proxy(plan: ProxyPlan, head: RequestHead): Promise<boolean> {
    const { context, reader, duplex, forwarding } = this.#connection;
    this.#route = plan.route;
    const out = new ByteWriter(headBuffers.acquire());
    try {
      if (this.#requestId === "") this.#requestId = makeRequestId();
      encodeRequestHead(head, out, {
        forwarding,
        requestId: this.#requestId,
        target: plan.target,
        defaultAuthority: formatHostPort(duplex.local.hostname, duplex.local.port),
        changes: plan.requestChanges,
        via: context.via,
      });
      const chunked = head.framing.type === "chunked";
      const transfer = this.#transfer = new BodyTransfer(reader, head.framing, chunked);
      if (!this.#expectContinue) {
        // What is here already is judged before a backend sees anything of the request.
        transfer.copyTo(out);
        if (transfer.malformed !== undefined) {
          throw new ProxyError(transfer.malformed, "downstream", "the chunked body is malformed");
        }
      }
      return await this.#tryBackends(plan, out);
    } finally {
      headBuffers.release(out.buffer);
    }
  }

  /** Attempts until one answers or none may follow. */
  async #tryBackends(plan: ProxyPlan, out: ByteWriter): Promise<boolean> {
    const request = out.at;
    let backend = plan.pool.pick();
    if (backend === undefined) {
      throw new ProxyError(
        "no_backend",
        "upstream",
        `pool ${plan.pool.name} has no active backend`,
      );
    }
    const tried = new Set<LiveBackend>();
    for (let fresh = false;;) {
      this.#attempts++;
      const lease = backend.acquire();
      try {
        out.at = request;
        return await this.#attempt(backend, plan, out, fresh);
      } catch (error) {
        if (!(error instanceof ProxyError) || !this.#mayRetry(error)) throw error;
        log.debug("an attempt failed and is followed by another", {
          backend: backend.addr,
          error: describeError(error),
        });
        tried.add(backend);
        const next = plan.pool.pick((member) => tried.has(member.backend));
        // A connection that was closed while idle says nothing against its backend.
        fresh = error.retry === "if-reused";
        if (next === undefined && !fresh) throw exhausted(error);
        backend = next ?? backend;
      } finally {
        lease.release();
      }
    }
  }

  #mayRetry(error: ProxyError): boolean {
    if (this.#responded || this.#gone) return false;
    if (this.#attempts >= this.#connection.context.maxAttempts) return false;
    if (error.retry === "safe") return true;
    return error.retry === "if-reused" && IDEMPOTENT.has(this.#method) && this.#replayable;
  }

  /** Whether the whole request lies in the first write, so that it can be written again. */
  get #replayable(): boolean {
    return this.#transfer!.done && this.#uploading === undefined;
  }

  async #attempt(
    backend: LiveBackend,
    plan: ProxyPlan,
    out: ByteWriter,
    fresh: boolean,
  ): Promise<boolean> {
    this.#backend = backend;
    this.#series = undefined;
    this.#openSeries();
    const stats = this.#connection.context.metrics.upstream(backend.id);
    stats.attempts++;
    if (this.#attempts > 1) stats.retries++;
    try {
      const upstream = await this.#acquire(backend, stats, fresh);
      let keep = 0;
      try {
        this.#upstream = upstream;
        const read = upstream.reader.bytesRead;
        if (this.#gone) throw this.#clientGone(undefined);
        const result = await this.#converse(upstream, plan, out, stats);
        stats.bytesReceived += upstream.reader.bytesRead - read;
        keep = result.upstreamKeep;
        return result.keep;
      } finally {
        this.#upstream = undefined;
        stats.active--;
        backend.http.release(upstream, keep);
      }
    } catch (error) {
      if (error instanceof ProxyError && error.side === "upstream") stats.failed(error.code);
      throw error;
    }
  }

  async #acquire(
    backend: LiveBackend,
    stats: UpstreamStats,
    fresh: boolean,
  ): Promise<UpstreamConnection> {
    let upstream = fresh ? undefined : backend.http.take();
    if (upstream === undefined) {
      this.#wait = "connect";
      upstream = await backend.http.open();
      stats.connects++;
    } else stats.reuses++;
    stats.active++;
    return upstream;
  }

  /** Sends the request and relays the response. */
  async #converse(
    upstream: UpstreamConnection,
    plan: ProxyPlan,
    out: ByteWriter,
    stats: UpstreamStats,
  ): Promise<{ readonly keep: boolean; readonly upstreamKeep: number }> {
    const { context } = this.#connection;
    this.#wait = "upload";
    this.#connection.arm(context.timeouts.bodyStall);
    try {
      await writeAll(upstream.duplex, out.written);
      stats.bytesSent += out.at;
    } catch {
      // It may have answered before it closed (an early 413, say): reading tells, and says why if not.
    }
    if (this.#expectContinue) {
      this.#wait = "continue";
      this.#connection.arm(context.timeouts.expectContinue);
    } else this.#startUpload();
    await this.#receiveHead(upstream, out);
    return this.#status === 101
      ? await this.#tunnel(upstream, out)
      : await this.#relay(upstream, plan, out);
  }

  /** Sends what is left of the body while the answer is already waited for. */
  #startUpload(): void {
    const { context, reader } = this.#connection;
    const transfer = this.#transfer!;
    const upstream = this.#upstream!;
    if (this.#uploading !== undefined) return;
    if (transfer.done) {
      this.#awaitResponse();
      return;
    }
    this.#wait = "upload";
    this.#connection.arm(context.timeouts.bodyStall);
    this.#uploading = transfer.run(upstream.duplex, this.#progress).then((end) => {
      this.#uploadEnd = end;
      if (end.type === "done") {
        if (this.#wait === "upload") this.#awaitResponse();
      } else if (end.type !== "sink") {
        // Half a request must not look like a whole one. A failed sink may still have answered.
        if (reader.ended?.type === "error") this.#gone = true;
        upstream.duplex.close();
      }
    });
  }

  readonly #progress = (): void => {
    this.#connection.arm(this.#connection.context.timeouts.bodyStall);
  };

  #awaitResponse(): void {
    const { context, reader } = this.#connection;
    this.#wait = "response";
    this.#connection.arm(context.timeouts.response);
    // Reading ahead notices a client that resets, and begins to read its next request.
    reader.watcher = this.#connection;
    if (!reader.full && reader.available === 0) void reader.fill();
  }

  /** Reads heads until a final one (or 101) is parsed in the scratch; passes interim ones on. */
  async #receiveHead(upstream: UpstreamConnection, out: ByteWriter): Promise<void> {
    const { scratch, context } = this.#connection;
    const { reader } = upstream;
    const head = scratch.response;
    const noBody = this.#method === "HEAD";
    for (let interim = 0;;) {
      const end = reader.available === 0
        ? INCOMPLETE
        : head.parse(reader.buffer, reader.start, reader.end, noBody);
      if (end === REFUSED) throw protocolError(`its head is malformed: ${head.detail}`);
      if (end === INCOMPLETE) {
        if (reader.full) {
          reader.grow(Math.min(reader.buffer.length * 2, context.limits.maxHead + 64));
        }
        if (!await reader.fill()) throw this.#noAnswer(upstream, interim > 0);
        continue;
      }
      this.#status = head.status;
      if (head.status >= 200) {
        this.#headEnd = end;
        return;
      }
      if (head.status === 101) {
        // RFC 9110, section 7.8: a server must not switch to a protocol that was not asked for.
        if (!this.#upgrade || !head.upgrade) throw protocolError("it switches protocols unasked");
        this.#headEnd = end;
        return;
      }
      if (++interim > MAX_INTERIM) throw protocolError("it sends interim responses without end");
      out.at = 0;
      encodeInterim(head, out);
      reader.start = end;
      const goOn = head.status === 100 && this.#wait === "continue";
      // RFC 9110, section 15.2: "A server MUST NOT send a 1xx response to an HTTP/1.0 client."
      if (!this.#http10) await this.#pass(out);
      if (goOn) this.#startUpload();
    }
  }

  #headEnd = 0;

  /** Sends the begin of the final answer, or a 101: from here on no other one is possible. */
  async #write(out: ByteWriter): Promise<void> {
    this.#responded = true;
    await this.#pass(out);
  }

  async #pass(out: ByteWriter): Promise<void> {
    try {
      await writeAll(this.#connection.duplex, out.written);
      this.#bytesOut += out.at;
    } catch (cause) {
      throw this.#clientGone(cause);
    }
  }

  /** Why there is no answer. */
  #noAnswer(upstream: UpstreamConnection, interim: boolean): ProxyError {
    const end = this.#uploadEnd;
    if (end?.type === "malformed") {
      return new ProxyError(end.code, "downstream", "the chunked body is malformed");
    }
    if (this.#gone || end?.type === "source") {
      const cause = end?.type === "source" ? end.cause : undefined;
      return new ProxyError("client_closed", "downstream", "the client ended early", { cause });
    }
    if (this.#expired !== undefined) {
      const side = this.#expired === "body_timeout" ? "downstream" : "upstream";
      return new ProxyError(this.#expired, side, `gave up waiting: ${this.#wait}`);
    }
    const { ended, available } = upstream.reader;
    const retry: Retry = upstream.reused && !interim && available === 0 ? "if-reused" : "never";
    return ended?.type === "error"
      ? new ProxyError("upstream_reset", "upstream", "the backend's connection failed", {
        retry,
        cause: ended.error,
      })
      : new ProxyError("upstream_closed", "upstream", "the backend closed without an answer", {
        retry,
      });
  }

  /** Passes the final response on whose head lies in the scratch. */
  async #relay(
    upstream: UpstreamConnection,
    plan: ProxyPlan,
    out: ByteWriter,
  ): Promise<{ readonly keep: boolean; readonly upstreamKeep: number }> {
    const { scratch, duplex } = this.#connection;
    const { reader } = upstream;
    const head = scratch.response;
    const { framing } = head;
    const reusable = head.keepAlive ? keepAliveTime(head.fields.joined(Known.KeepAlive)) : 0;
    // Without its last byte the request's body stands in the way of the next request.
    let keep = this.#keep && this.#uploaded && !this.#connection.draining;
    const body = framing.type === "length"
      ? "length"
      : framing.type === "none"
      ? "none"
      : this.#http10
      ? "close"
      : "chunked";
    if (body === "close") keep = false;
    out.at = 0;
    encodeResponseHead(head, out, {
      body,
      connection: keep ? (this.#http10 ? "keep-alive" : undefined) : "close",
      changes: plan.responseChanges,
    });
    reader.start = this.#headEnd;
    const transfer = new BodyTransfer(reader, framing, body === "chunked");
    transfer.copyTo(out);
    if (transfer.malformed !== undefined) throw protocolError("its chunked body is malformed");
    this.#wait = "relay";
    this.#progress();
    await this.#write(out);
    if (!transfer.done) {
      const sent = transfer.bytes;
      const end = await transfer.run(duplex, this.#progress);
      this.#bytesOut += transfer.bytes - sent;
      if (end.type !== "done") throw this.#cut(end);
    }
    const upstreamKeep = this.#uploaded && reader.available === 0 ? reusable : 0;
    return { keep, upstreamKeep };
  }

  /** Whether the whole request has been sent. */
  get #uploaded(): boolean {
    return this.#transfer!.done &&
      (this.#uploading === undefined || this.#uploadEnd?.type === "done");
  }

  /** Why a response could not be passed on to its end. */
  #cut(end: TransferEnd): ProxyError {
    if (end.type === "sink" || this.#gone) {
      return this.#clientGone(end.type === "sink" ? end.cause : undefined);
    }
    if (this.#expired !== undefined) {
      return new ProxyError(this.#expired, "upstream", "the response stalled");
    }
    if (end.type === "malformed") return protocolError("its chunked body is malformed");
    const cause = end.type === "source" ? end.cause : undefined;
    return new ProxyError(
      cause === undefined ? "upstream_closed" : "upstream_reset",
      "upstream",
      "the backend ended inside the response",
      { cause },
    );
  }

  async #tunnel(
    upstream: UpstreamConnection,
    out: ByteWriter,
  ): Promise<{ readonly keep: boolean; readonly upstreamKeep: number }> {
    const { context, scratch, reader, duplex } = this.#connection;
    out.at = 0;
    encodeInterim(scratch.response, out);
    upstream.reader.start = this.#headEnd;
    await this.#write(out);
    this.#wait = "tunnel";
    const arm = () => this.#connection.arm(context.timeouts.tunnelIdle);
    arm();
    const bytes = await runTunnel({ reader, duplex }, upstream, arm);
    this.#bytesIn += bytes.up;
    this.#bytesOut += bytes.down;
    return { keep: false, upstreamKeep: 0 };
  }

  /** Answers an error, if that is still possible. */
  async #fail(error: unknown): Promise<boolean> {
    const known = error instanceof ProxyError
      ? error
      : new ProxyError("internal", "internal", "an exchange failed", { cause: error });
    this.#error = known.code;
    const fields = {
      code: known.code,
      client: this.#connection.duplex.remote.hostname,
      backend: this.#backend?.addr ?? "",
      error: describeError(known),
    };
    if (known.side === "internal") log.error("an exchange failed", fields);
    else if (known.side === "upstream") log.warning("an exchange failed", fields);
    else log.debug("an exchange failed", fields);
    this.#connection.context.metrics.refused(known.code);
    if (this.#gone || this.#responded) {
      // The client must not take what it has for the whole: the connection ends without an end.
      this.#gone = true;
      this.#connection.duplex.close();
      return false;
    }
    const keep = this.#keep && this.#mayGoOn(known);
    try {
      const noBody = this.#method === "HEAD";
      await this.#send(
        encodeError(known.code, { noBody, close: !keep }),
        answerTo(known.code).status,
      );
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

  /** Whether an error leaves the connection fit for another request. */
  #mayGoOn(error: ProxyError): boolean {
    if (error.side === "upstream") return this.#uploaded;
    // Routes are looked up in the same turn in which the head was parsed, so it is still there.
    return error.code === "no_route" && this.#drained(this.#connection.scratch.request);
  }

  #record(started: number): void {
    const { context, duplex } = this.#connection;
    const { metrics } = context;
    const seconds = (context.clock.now() - started) / 1000;
    this.#bytesIn += this.#transfer?.bytes ?? 0;
    metrics.bytesSent += this.#bytesOut;
    this.#openSeries().record(this.#status, seconds, this.#bytesIn, this.#bytesOut);
    if (this.#logDraft === undefined) return;
    context.accessLog!.write({
      ...this.#logDraft,
      time: Date.now(),
      listener: metrics.name,
      client: duplex.remote.hostname,
      method: this.#method,
      protocol: this.#http10 ? "HTTP/1.0" : "HTTP/1.1",
      status: this.#status,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      durationMs: seconds * 1000,
      route: this.#route,
      backend: this.#backend?.addr ?? "",
      attempts: this.#attempts,
      requestId: this.#requestId,
      error: this.#error,
    });
  }
}

function protocolError(what: string): ProxyError {
  return new ProxyError(
    "upstream_protocol",
    "upstream",
    `the backend is not speaking HTTP: ${what}`,
  );
}

/** All backends were tried and none took a connection: as a whole, the service is not available. */
function exhausted(last: ProxyError): ProxyError {
  return last.code === "connect_refused" || last.code === "connect_failed"
    ? new ProxyError("no_backend", "upstream", "no backend can be reached", { cause: last })
    : last;
}

/**
 * How long the backend says that it keeps an idle connection, in milliseconds. `Keep-Alive: timeout=N`
 * is no standard, but common; a second less keeps us out of the race with its close.
 */
function keepAliveTime(value: string | undefined): number {
  const seconds = value === undefined ? undefined : /\btimeout=(\d{1,6})/.exec(value)?.[1];
  return seconds === undefined ? Infinity : Math.max(Number(seconds) * 1000 - 1000, 0);
}

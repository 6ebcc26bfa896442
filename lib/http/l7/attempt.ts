/**
 * One try of a request on one backend: acquire a connection, send, receive, relay.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import type { UpstreamConnection } from "../../backend/h1_pool.ts";
import { writeAll } from "../../common/duplex.ts";
import { type ErrorCode, ProxyError, type Retry } from "../../common/errors.ts";
import type { UpstreamStats } from "../../observe/metrics.ts";
import { encodeInterim, encodeResponseHead } from "../h1/encode_response.ts";
import { INCOMPLETE, Known, REFUSED } from "../h1/fields.ts";
import type { ByteWriter } from "../h1/writer.ts";
import { httpDate } from "../http_date.ts";
import { BodyTransfer, type TransferEnd } from "./body_transfer.ts";
import type { Downstream } from "./downstream.ts";
import type { ProxyPlan } from "./plan.ts";
import { runTunnel } from "./tunnel.ts";

/** Interim responses that one request may get; a backend that sends more is broken. */
const MAX_INTERIM = 10;

/** What is known of a request once its head is gone. */
export interface RequestFacts {
  /** The method as sent. */
  readonly method: string;
  /** Whether the client speaks HTTP/1.0: no chunked, no interim responses. */
  readonly http10: boolean;
  /** Whether the client's connection may carry another request. */
  readonly keep: boolean;
  /** Whether the client offers to switch protocols. */
  readonly upgrade: boolean;
  /** Whether the client waits for `100 Continue`. */
  readonly expectContinue: boolean;
}

/** What has happened so far, over all attempts. */
export interface Tally {
  /** A byte of the final answer has gone out, so nothing else can be said or tried any more. */
  responded: boolean;
  /** The client's connection failed. */
  gone: boolean;
  /** The final status; 0 while there is none. */
  status: number;
  /** Bytes received from the client. */
  bytesIn: number;
  /** Bytes sent to the client. */
  bytesOut: number;
}

/** What an attempt is made of. */
export interface AttemptParts {
  /** The client's connection. */
  readonly connection: Downstream;
  /** The request. */
  readonly facts: RequestFacts;
  /** What has happened so far. */
  readonly tally: Tally;
  /** The request's body. */
  readonly transfer: BodyTransfer;
  /** Where the request goes and what changes. */
  readonly plan: ProxyPlan;
  /** The request's head, and as much of its body as was there; later the response's. */
  readonly out: ByteWriter;
}

/** What the attempt waits for, and so what a missed deadline means. */
type Wait = "connect" | "continue" | "upload" | "response" | "relay" | "tunnel";

/** How an attempt ended that did not fail. */
interface AttemptEnd {
  /** Whether the client's connection may carry another request. */
  readonly keep: boolean;
  /** How long the upstream connection may be kept, in milliseconds. */
  readonly upstreamKeep: number;
}

/** One try on one backend. */
export class Attempt {
  readonly #parts: AttemptParts;
  #wait: Wait = "connect";
  #upstream: UpstreamConnection | undefined;
  #uploading: Promise<void> | undefined;
  #uploadEnd: TransferEnd | undefined;
  /** The body of the answer. */
  #answer: BodyTransfer | undefined;
  /** Whether bytes for the client are being written. */
  #passing = false;
  /** Why we gave up waiting. */
  #expired: ErrorCode | undefined;
  /** Whether the attempt has ended. */
  #over = false;

  /** An attempt; {@linkcode run} makes it. */
  constructor(parts: AttemptParts) {
    this.#parts = parts;
  }

  /** Whether the whole request lies in the first write, so that it can be written again. */
  get replayable(): boolean {
    return this.#parts.transfer.done && this.#uploading === undefined;
  }

  /** Whether the whole request has been read and handed on. */
  get uploaded(): boolean {
    return this.#parts.transfer.done &&
      (this.#uploading === undefined || this.#uploadEnd?.type === "done");
  }

  /**
   * Makes the attempt.
   *
   * @param fresh Whether a pooled connection is out of the question.
   * @returns Whether the client's connection may carry another request.
   * @throws {ProxyError} When there is no whole answer; its retry class says whether another attempt may follow.
   */
  async run(backend: LiveBackend, stats: UpstreamStats, fresh: boolean): Promise<boolean> {
    const pooled = fresh ? undefined : backend.http.take();
    const upstream = pooled ?? await backend.http.open();
    if (pooled === undefined) stats.connects++;
    else stats.reuses++;
    stats.active++;
    const { tally, transfer } = this.#parts;
    const read = upstream.reader.bytesRead;
    const moved = transfer.bytes;
    let keep = 0;
    try {
      this.#upstream = upstream;
      if (tally.gone) throw clientGone(tally, undefined);
      const end = await this.#converse(upstream, stats);
      keep = end.upstreamKeep;
      return end.keep;
    } finally {
      this.#over = true;
      this.#upstream = undefined;
      stats.active--;
      stats.bytesReceived += upstream.reader.bytesRead - read;
      stats.bytesSent += transfer.bytes - moved;
      backend.http.release(upstream, keep);
    }
  }

  /** The client's connection failed: the backend need not go on. */
  abort(): void {
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
        this.#expire(
          this.#parts.transfer.waiting === "source" ? "body_timeout" : "upstream_stalled",
        );
        break;
      case "response":
        this.#expire("upstream_timeout");
        break;
      case "relay":
        this.#expire(this.#answer!.waiting === "source" ? "upstream_stalled" : "client_closed");
        this.#parts.connection.duplex.close();
        break;
      case "tunnel":
        this.#expire("upstream_stalled");
        this.#parts.connection.duplex.close();
        break;
    }
  }

  #expire(code: ErrorCode): void {
    this.#expired = code;
    this.#upstream?.duplex.close();
    // A client that does not take what we pass on would keep us waiting whatever the backend does.
    if (this.#passing) this.#parts.connection.duplex.close();
  }

  /** Sends the request and relays the response. */
  async #converse(upstream: UpstreamConnection, stats: UpstreamStats): Promise<AttemptEnd> {
    const { connection, facts, out } = this.#parts;
    const { timeouts } = connection.context;
    this.#wait = "upload";
    connection.arm(timeouts.bodyStall);
    try {
      const { written } = out;
      const count = await upstream.duplex.write(written);
      if (count < written.length) await writeAll(upstream.duplex, written.subarray(count));
      stats.bytesSent += out.at;
    } catch {
      // It may have answered before it closed (an early 413, say): reading tells, and says why if not.
    }
    if (facts.expectContinue) {
      this.#wait = "continue";
      connection.arm(timeouts.expectContinue);
    } else this.#startUpload();
    return await this.#receive(upstream, stats);
  }

  /** Sends what is left of the body while the answer is already waited for. */
  #startUpload(): void {
    const { connection, transfer, tally } = this.#parts;
    const upstream = this.#upstream!;
    if (this.#uploading !== undefined) return;
    if (transfer.done) {
      this.#awaitResponse();
      return;
    }
    this.#wait = "upload";
    this.#progress();
    this.#uploading = transfer.run(upstream.duplex, this.#progress).then((end) => {
      this.#uploadEnd = end;
      if (end.type === "done") {
        if (this.#wait === "upload") this.#awaitResponse();
      } else if (end.type !== "sink") {
        // Half a request must not look like a whole one. A failed sink may still have answered.
        if (connection.reader.ended?.type === "error") tally.gone = true;
        upstream.duplex.close();
      }
    });
  }

  readonly #progress = (): void => {
    // What is left of an upload may still move when the answer has ended, and then the deadline is another's.
    if (this.#over) return;
    const { connection } = this.#parts;
    connection.arm(connection.context.timeouts.bodyStall);
  };

  #awaitResponse(): void {
    const { connection } = this.#parts;
    const { reader, context } = connection;
    this.#wait = "response";
    connection.arm(context.timeouts.response);
    // Reading ahead notices a client that resets, and begins to read its next request.
    reader.watcher = connection;
    if (!reader.full && reader.available === 0) void reader.fill();
  }

  /**
   * Reads the answer and passes it on. The head is parsed into an object that all connections share:
   * between parsing and encoding nothing may be awaited.
   */
  async #receive(upstream: UpstreamConnection, stats: UpstreamStats): Promise<AttemptEnd> {
    const { connection, facts, out } = this.#parts;
    const { reader } = upstream;
    const head = connection.scratch.response;
    const noBody = facts.method === "HEAD";
    for (let interim = 0;;) {
      const end = reader.available === 0
        ? INCOMPLETE
        : head.parse(reader.buffer, reader.start, reader.end, noBody);
      if (end === REFUSED) throw protocolError(`its head is malformed: ${head.detail}`);
      if (end === INCOMPLETE) {
        const { maxHead } = connection.context.limits;
        if (reader.full) reader.grow(Math.min(reader.buffer.length * 2, maxHead + 64));
        if (!await reader.fill()) throw this.#noAnswer(upstream, interim > 0);
        continue;
      }
      if (head.status >= 200) return await this.#relay(upstream, end);
      if (head.status === 101) {
        // RFC 9110, section 7.8: a server must not switch to a protocol that was not asked for.
        if (!facts.upgrade || !head.upgrade) throw protocolError("it switches protocols unasked");
        return await this.#tunnel(upstream, end, stats);
      }
      if (++interim > MAX_INTERIM) throw protocolError("it sends interim responses without end");
      out.at = 0;
      encodeInterim(head, out);
      reader.start = end;
      const goOn = head.status === 100 && this.#wait === "continue";
      // RFC 9110, section 15.2: "A server MUST NOT send a 1xx response to an HTTP/1.0 client."
      if (!facts.http10) await this.#pass();
      if (goOn) this.#startUpload();
    }
  }

  /** Passes the final response on whose head lies in the scratch and ends at `headEnd`. */
  async #relay(upstream: UpstreamConnection, headEnd: number): Promise<AttemptEnd> {
    const { connection, facts, plan, tally, out } = this.#parts;
    const { reader } = upstream;
    const head = connection.scratch.response;
    const { framing } = head;
    const reusable = head.keepAlive ? keepAliveTime(head.fields.joined(Known.KeepAlive)) : 0;
    // Without its last byte the request's body stands in the way of the next request.
    let keep = facts.keep && this.uploaded && !connection.draining;
    const body = framing.type === "length"
      ? "length"
      : framing.type === "none"
      ? "none"
      : facts.http10
      ? "close"
      : "chunked";
    if (body === "close") keep = false;
    out.at = 0;
    encodeResponseHead(head, out, {
      body,
      connection: keep ? (facts.http10 ? "keep-alive" : undefined) : "close",
      changes: plan.responseChanges,
      date: httpDate,
    });
    tally.status = head.status;
    reader.start = headEnd;
    const transfer = this.#answer = new BodyTransfer(reader, framing, body === "chunked");
    transfer.copyTo(out);
    if (transfer.malformed !== undefined) throw protocolError("its chunked body is malformed");
    this.#wait = "relay";
    this.#progress();
    tally.responded = true;
    await this.#pass();
    if (!transfer.done) {
      const sent = transfer.bytes;
      const end = await transfer.run(connection.duplex, this.#progress);
      tally.bytesOut += transfer.bytes - sent;
      if (end.type !== "done") throw this.#cut(end);
    }
    const upstreamKeep = this.uploaded && reader.available === 0 ? reusable : 0;
    return { keep, upstreamKeep };
  }

  /** Passes the 101 in the scratch on, and then bytes both ways. */
  async #tunnel(
    upstream: UpstreamConnection,
    headEnd: number,
    stats: UpstreamStats,
  ): Promise<AttemptEnd> {
    const { connection, tally, out } = this.#parts;
    const { tunnelIdle } = connection.context.timeouts;
    out.at = 0;
    encodeInterim(connection.scratch.response, out);
    tally.status = 101;
    upstream.reader.start = headEnd;
    this.#wait = "tunnel";
    const arm = () => connection.arm(tunnelIdle);
    arm();
    tally.responded = true;
    await this.#pass();
    const bytes = await runTunnel(connection, upstream, arm);
    stats.bytesSent += bytes.up;
    tally.bytesIn += bytes.up;
    tally.bytesOut += bytes.down;
    return { keep: false, upstreamKeep: 0 };
  }

  /** Sends what lies in `out` to the client. */
  async #pass(): Promise<void> {
    const { connection: { duplex }, tally, out } = this.#parts;
    this.#passing = true;
    try {
      // Nearly always the socket takes all at once; a call less for each response.
      const { written } = out;
      const count = await duplex.write(written);
      if (count < written.length) await writeAll(duplex, written.subarray(count));
      tally.bytesOut += out.at;
    } catch (cause) {
      throw clientGone(tally, cause);
    } finally {
      this.#passing = false;
    }
  }

  /** Why there is no answer. */
  #noAnswer(upstream: UpstreamConnection, interim: boolean): ProxyError {
    const end = this.#uploadEnd;
    if (end?.type === "malformed") {
      return new ProxyError(end.code, "downstream", "the chunked body is malformed");
    }
    if (this.#parts.tally.gone || end?.type === "source") {
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

  /** Why a response could not be passed on to its end. */
  #cut(end: TransferEnd): ProxyError {
    const { tally } = this.#parts;
    // We closed both connections, so both have failed.
    if (this.#expired === "upstream_stalled") {
      return new ProxyError(this.#expired, "upstream", "the response stalled");
    }
    if (end.type === "sink" || tally.gone) {
      return clientGone(tally, end.type === "sink" ? end.cause : undefined);
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
}

/** The error of a failed client connection, which it notes in the tally. */
export function clientGone(tally: Tally, cause: unknown): ProxyError {
  tally.gone = true;
  return new ProxyError("client_closed", "downstream", "the client's connection failed", { cause });
}

function protocolError(what: string): ProxyError {
  return new ProxyError(
    "upstream_protocol",
    "upstream",
    `the backend is not speaking HTTP: ${what}`,
  );
}

/**
 * How long the backend says that it keeps an idle connection, in milliseconds. `Keep-Alive: timeout=N`
 * is no standard, but common; a second less keeps us out of the race with its close.
 */
function keepAliveTime(value: string | undefined): number {
  const seconds = value === undefined ? undefined : /\btimeout=(\d{1,6})/.exec(value)?.[1];
  return seconds === undefined ? Infinity : Math.max(Number(seconds) * 1000 - 1000, 0);
}

/**
 * One try of a request on one backend: acquire a connection, send, receive, relay.
 *
 * @module
 */
import type { Lease } from "../../backend/backend.ts";
import type { UpstreamConnection } from "../../backend/h1_pool.ts";
import { ANSWERED } from "../../backend/outcome.ts";
import type { ByteReader } from "../../common/byte_reader.ts";
import { writeAll } from "../../common/duplex.ts";
import type { ErrorCode } from "../../common/errors.ts";
import type { UpstreamStats } from "../../observe/metrics.ts";
import { encodeInterim, encodeResponseHead } from "../h1/encode_response.ts";
import { INCOMPLETE, Known, REFUSED } from "../h1/fields.ts";
import type { ResponseHead } from "../h1/response.ts";
import { httpDate } from "../http_date.ts";
import { MAX_INTERIM } from "../interim.ts";
import { frameFor, judgeAnswer, keepAliveTime } from "./answer_head.ts";
import { CANCELLED, clientGone, cutShort, noAnswer, protocolError } from "./attempt_errors.ts";
import type { AnswerSource, AttemptParts } from "./attempt_parts.ts";
import { BodyTransfer } from "./body_transfer.ts";
import { runTunnel, TunnelDeadline } from "./tunnel.ts";
import { Upload, type Uploader } from "./upload.ts";

/** From this status on an answer may speak against its backend. */
const ERRORS = 400;

/** What the attempt waits for, and so what a missed deadline means. */
type Wait = "connect" | "continue" | "upload" | "response" | "relay" | "tunnel";

/** One try on one backend. */
export class Attempt implements AnswerSource, Uploader {
  readonly #parts: AttemptParts;
  readonly lease: Lease;
  readonly stats: UpstreamStats;
  /** Where what is sent at once ends in the buffer. */
  readonly #firstEnd: number;
  #wait: Wait = "connect";
  /** When the waiting for an answer began; 0 before. */
  #waitsSince = 0;
  /** Whether the request in the buffer has been written over. */
  #overwritten = false;
  #upstream: UpstreamConnection | undefined;
  /** What is left of the body behind what is sent at once, if that has begun to be sent. */
  #upload: Upload | undefined;
  /** Of the tunnel that it has become. */
  #deadline: TunnelDeadline | undefined;
  /** The body of the answer. */
  #answer: BodyTransfer | undefined;
  /** Whether bytes for the client are being written. */
  #passing = false;
  /** Whether the client's connection may carry another request. */
  #keep = false;
  /** How long the upstream connection may be kept once the answer has been read, in milliseconds. */
  #upstreamKeep = 0;
  /** Why we gave up waiting. */
  #expired: ErrorCode | undefined;
  #over = false;

  /** An attempt on the backend of a lease; {@linkcode run} makes it. */
  constructor(parts: AttemptParts, lease: Lease, stats: UpstreamStats) {
    this.#parts = parts;
    this.lease = lease;
    this.stats = stats;
    this.#firstEnd = parts.out.at;
  }

  /** Where the request ends in the buffer if all of it lies there, so that it can be written again; or else -1. */
  get replayEnd(): number {
    if (this.#overwritten || !this.uploaded) return -1;
    return this.#upload === undefined ? this.#firstEnd : this.#upload.replayEnd;
  }

  /** Whether it has ended, or is not needed any more. */
  get over(): boolean {
    return this.#over;
  }

  /** How long an answer has been waited for, in milliseconds. */
  get waited(): number {
    const { clock } = this.#parts.connection.context;
    return this.#waitsSince === 0 ? 0 : clock.now() - this.#waitsSince;
  }

  /** Whether the whole request has been read and handed on. */
  get uploaded(): boolean {
    return this.#parts.transfer.done && (this.#upload === undefined || this.#upload.done);
  }

  /**
   * Makes the attempt: sends the request and passes the answer on. What most requests need is one function
   * on purpose, for each one that is suspended on the way costs as much as parsing a head.
   *
   * @param fresh Whether a pooled connection is out of the question.
   * @returns Whether the client's connection may carry another request.
   * @throws {ProxyError} When there is no whole answer; its retry class says whether another attempt may follow.
   */
  async run(fresh: boolean): Promise<boolean> {
    const { backend } = this.lease;
    const stats = this.stats;
    const pooled = fresh ? undefined : backend.http.take();
    let upstream: UpstreamConnection;
    try {
      upstream = pooled ?? await backend.http.open();
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    if (pooled === undefined) stats.connects++;
    else stats.reuses++;
    if (this.#over) {
      // Nothing was sent on it. One that was waited for may be about to be closed by the backend.
      const keep = backend.state === "active" && !upstream.reused;
      backend.http.release(upstream, keep ? Infinity : 0);
      throw CANCELLED;
    }
    stats.active++;
    const { connection, tally, transfer, out } = this.#parts;
    const { reader } = upstream;
    const read = reader.bytesRead;
    const moved = transfer.bytes;
    let upstreamKeep = 0;
    try {
      this.#upstream = upstream;
      if (tally.gone) throw clientGone(tally, undefined);
      this.#wait = "upload";
      this.onProgress();
      try {
        const { written } = out;
        const count = await upstream.duplex.write(written);
        if (count < written.length) await writeAll(upstream.duplex, written.subarray(count));
        stats.bytesSent += written.length;
      } catch {
        // It may have answered before it closed (an early 413, say): reading tells, and says why if not.
      }
      this.#awaitContinue();
      let status = this.#readHead(reader);
      for (let interim = 0; status < 200; status = this.#readHead(reader)) {
        if (status === INCOMPLETE) {
          if (!await reader.fill()) throw this.#noAnswer(upstream, interim > 0);
        } else if (status === 101) {
          await this.#tunnel(upstream, stats);
          return false;
        } else {
          if (++interim > MAX_INTERIM) {
            throw protocolError("it sends interim responses without end");
          }
          await this.#passInterim(status);
        }
      }
      const answer = this.#answer!;
      this.#passing = true;
      try {
        const { written } = out;
        const count = await connection.duplex.write(written);
        if (count < written.length) await writeAll(connection.duplex, written.subarray(count));
        tally.bytesOut += written.length;
      } catch (cause) {
        throw cutShort({ type: "sink", cause }, tally, this.#expired);
      }
      this.#passing = false;
      if (!answer.done) await this.#relayRest(answer);
      if (this.uploaded && reader.available === 0) upstreamKeep = this.#upstreamKeep;
      return this.#keep;
    } catch (error) {
      this.#fail(error);
      throw error;
    } finally {
      this.#over = true;
      this.#upstream = undefined;
      this.#upload?.stop();
      stats.active--;
      stats.bytesReceived += reader.bytesRead - read;
      stats.bytesSent += transfer.bytes - moved;
      backend.http.release(upstream, upstreamKeep);
    }
  }

  #fail(error: unknown): void {
    this.#over = true;
    this.#parts.onFailed(error);
  }

  /** The client's connection failed: the backend need not go on. */
  abort(): void {
    this.#upstream?.duplex.close();
  }

  /**
   * Another attempt has answered: this one ends without a word. HTTP/1.1 has no other way to tell the backend than
   * to close the connection.
   */
  cancel(): void {
    this.#over = true;
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
        if (this.#parts.transfer.isTakenBy(this.#upstream?.duplex)) return this.onProgress();
        this.expire(
          this.#parts.transfer.waiting === "source" ? "body_timeout" : "upstream_stalled",
        );
        break;
      case "response":
        this.expire("upstream_timeout");
        break;
      case "relay":
        if (this.#answer!.isTakenBy(this.#parts.connection.duplex)) return this.onProgress();
        this.expire(this.#answer!.waiting === "source" ? "upstream_stalled" : "client_stalled");
        this.#parts.connection.duplex.close();
        break;
      case "tunnel":
        this.#parts.connection.context.metrics.closed(this.#deadline!.reason);
        this.expire("upstream_stalled");
        this.#parts.connection.duplex.close();
        break;
    }
  }

  /** Gives up waiting. */
  expire(code: ErrorCode): void {
    this.#expired = code;
    this.#upstream?.duplex.close();
    // A client that does not take what we pass on would keep us waiting whatever the backend does.
    if (this.#passing) this.#parts.connection.duplex.close();
  }

  /** Bytes of a body have moved. */
  onProgress(): void {
    // What is left of an upload may still move when the answer has ended, and then the deadline is another's.
    if (this.#over) return;
    const { bodyStall } = this.#parts.connection.context.timeouts;
    const upload = this.#wait === "upload" ? this.#upload : undefined;
    this.#parts.arm(upload === undefined ? bodyStall : upload.measure(bodyStall));
  }

  /** The head has been sent: what is left of the body follows, at once or when it is asked for. */
  #awaitContinue(): void {
    const { connection, facts } = this.#parts;
    if (this.#over) return;
    if (facts.expectContinue) {
      this.#wait = "continue";
      this.#parts.arm(connection.context.timeouts.expectContinue);
    } else this.#startUpload();
  }

  /** Sends what is left of the body while the answer is already waited for. */
  #startUpload(): void {
    if (this.#upload !== undefined) return;
    if (this.#parts.transfer.done) return this.#awaitResponse();
    this.#wait = "upload";
    const upload = this.#upload = new Upload(this.#parts, this);
    this.onProgress();
    if (!this.#overwritten) upload.keep(this.#firstEnd);
    void upload.run(this.#upstream!);
  }

  onUploaded(): void {
    if (this.#wait === "upload") this.#awaitResponse();
  }

  #awaitResponse(): void {
    const { connection } = this.#parts;
    const { reader, context } = connection;
    this.#wait = "response";
    this.#parts.arm(this.#parts.patience);
    this.#waitsSince = context.clock.time;
    // Reading ahead notices a client that resets, and begins to read its next request.
    if (!reader.full && reader.available === 0) void reader.fill();
  }

  /**
   * Parses the head of an answer, and encodes it in the same turn: it is parsed into an object that all
   * connections share.
   *
   * @returns The status, or {@linkcode INCOMPLETE} when more bytes are needed.
   */
  #readHead(reader: ByteReader): number {
    if (this.#over) throw CANCELLED;
    if (reader.available === 0) return INCOMPLETE;
    const { connection, facts, out } = this.#parts;
    const head = connection.scratch.response;
    const end = head.parse(reader.buffer, reader.start, reader.end, facts.method === "HEAD");
    if (end === REFUSED) throw protocolError(`its head is malformed: ${head.detail}`);
    if (end === INCOMPLETE) {
      const { maxHead } = connection.context.limits;
      if (reader.full) reader.grow(Math.min(reader.buffer.length * 2, maxHead + 64));
      return INCOMPLETE;
    }
    if (head.status >= 200) {
      if (head.status < ERRORS) this.lease.report(ANSWERED);
      else judgeAnswer(head, this.#parts, this);
    }
    out.at = 0;
    this.#overwritten = true;
    this.#parts.transfer.kept = undefined;
    if (head.status >= 200) this.#encodeAnswer(head, reader, end);
    else {
      if (head.status === 101) this.lease.report(ANSWERED);
      // RFC 9110, section 7.8: a server must not switch to a protocol that was not asked for.
      if (head.status === 101 && !(facts.upgrade && head.upgrade)) {
        throw protocolError("it switches protocols unasked");
      }
      this.#parts.onAnswer();
      encodeInterim(head, out);
      reader.start = end;
    }
    return head.status;
  }

  /** Encodes the final response and as much of its body as is there. */
  #encodeAnswer(head: ResponseHead, reader: ByteReader, headEnd: number): void {
    const { connection, facts, responseChanges, tally, out } = this.#parts;
    const { framing } = head;
    if (head.keepAlive) {
      this.#upstreamKeep = keepAliveTime(head.fields.joined(Known.KeepAlive));
    }
    // Without its last byte the request's body stands in the way of the next request.
    let keep = facts.keep && this.uploaded && !connection.draining;
    const body = frameFor(facts.http10, head);
    if (body === "close") keep = false;
    this.#keep = keep;
    encodeResponseHead(head, out, {
      body,
      connection: keep ? (facts.http10 ? "keep-alive" : undefined) : "close",
      changes: responseChanges,
      date: httpDate,
    });
    tally.status = head.status;
    reader.start = headEnd;
    const answer = this.#answer = new BodyTransfer(reader, framing, body === "chunked");
    answer.copyTo(out);
    if (answer.malformed !== undefined) throw protocolError("its chunked body is malformed");
    this.#parts.onAnswer();
    this.#wait = "relay";
    this.onProgress();
    tally.responded = true;
  }

  /** Moves what did not fit behind the head. */
  async #relayRest(answer: BodyTransfer): Promise<void> {
    const { connection, tally } = this.#parts;
    const sent = answer.bytes;
    const end = await answer.run(connection.duplex, this);
    tally.bytesOut += answer.bytes - sent;
    if (end.type !== "done") throw cutShort(end, tally, this.#expired);
  }

  async #passInterim(status: number): Promise<void> {
    const goOn = status === 100 && this.#wait === "continue";
    // RFC 9110, section 15.2: "A server MUST NOT send a 1xx response to an HTTP/1.0 client."
    if (!this.#parts.facts.http10) await this.#pass();
    if (goOn) this.#startUpload();
  }

  /** Passes the 101 in the buffer on, and then bytes both ways. */
  async #tunnel(upstream: UpstreamConnection, stats: UpstreamStats): Promise<void> {
    const { connection, tally } = this.#parts;
    tally.status = 101;
    this.#wait = "tunnel";
    const deadline = this.#deadline = new TunnelDeadline(connection.context.timeouts, this.#parts);
    tally.responded = true;
    await this.#pass();
    const bytes = await runTunnel(connection, upstream, deadline);
    stats.bytesSent += bytes.up;
    tally.bytesIn += bytes.up;
    tally.bytesOut += bytes.down;
  }

  /** Sends what lies in the buffer to the client. */
  async #pass(): Promise<void> {
    const { connection: { duplex }, tally, out } = this.#parts;
    this.#passing = true;
    try {
      await writeAll(duplex, out.written);
      tally.bytesOut += out.at;
    } catch (cause) {
      throw clientGone(tally, cause);
    } finally {
      this.#passing = false;
    }
  }

  #noAnswer(upstream: UpstreamConnection, interim: boolean): Error {
    const { tally, hurried } = this.#parts;
    return noAnswer(upstream, {
      tally,
      uploadEnd: this.#upload?.end,
      expired: this.#expired,
      early: hurried && this.#expired === "upstream_timeout",
      interim,
    });
  }
}

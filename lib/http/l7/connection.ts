/**
 * One client connection at layer 7: reads requests, answers each in turn, and owns the one deadline
 * that all of this has.
 *
 * @module
 */
import { formatHostPort } from "../../common/address.ts";
import { ByteReader, type ReadWatcher } from "../../common/byte_reader.ts";
import type { Timed } from "../../common/clock.ts";
import { type Duplex, writeAll } from "../../common/duplex.ts";
import { describeError, type ErrorCode } from "../../common/errors.ts";
import type { CloseReason } from "../../observe/close_reason.ts";
import { getLogger } from "../../observe/logger.ts";
import type { Idleness } from "../../mux/idle_shedding.ts";
import type { Served } from "../../mux/listener.ts";
import type { Client, ForwardedMode, Forwarding } from "../forwarded.ts";
import { INCOMPLETE, REFUSED } from "../h1/fields.ts";
import { answerTo, encodeError } from "../problem.ts";
import type { HttpContext } from "./context.ts";
import type { Downstream, Scratch } from "./downstream.ts";
import { Exchange } from "./exchange.ts";
import { NO_ROUTE } from "./plan.ts";

/** Bytes that an idle connection holds to read into; a larger head grows the buffer while it lasts. */
const IDLE_BUFFER = 1024;
/** How long a client that we have ended may be silent before the socket is closed. */
const LINGER_MS = 1000;
/** How long what it still sends is read and thrown away in all. */
const MAX_LINGER_MS = 10_000;
/** The share of the maximum age that is added or taken away at random, so that not all come back at once. */
const AGE_JITTER = 0.1;

const log = getLogger("http");

/**
 * What the connection waits for, and so what a missed deadline and a read that settles mean.
 *
 * - `idle`: the next request. Missing it closes the connection without a word.
 * - `head`: the rest of a head that has begun: 408.
 * - `exchange`: whatever the exchange waits for; it decides.
 * - `linger`: the client's end of a connection that we have ended.
 * - `ended`: nothing any more.
 */
type Phase = "idle" | "head" | "exchange" | "linger" | "ended";

/** What backends are told of the client of a connection. */
class ConnectionForwarding implements Forwarding {
  readonly mode: ForwardedMode;
  readonly client: Client;
  readonly trusted: boolean;
  readonly #duplex: Duplex;

  constructor(duplex: Duplex, context: HttpContext, scheme: "http" | "https") {
    const address = duplex.remote.hostname;
    this.mode = context.forwarded;
    this.client = { address, scheme };
    this.trusted = this.mode !== "off" && context.isTrusted(address);
    this.#duplex = duplex;
  }

  /** Asked for by requests without Host only, so it is not kept for every connection. */
  get authority(): string {
    const { hostname, port } = this.#duplex.local;
    return formatHostPort(hostname, port);
  }
}

/**
 * One client connection. Between requests no function of it is suspended: the pending read calls
 * {@linkcode HttpConnection.onReadSettled}, which goes on in the same turn. Suspended functions would take
 * half a KiB each for every idle connection, and time for every request.
 */
export class HttpConnection implements Served, Downstream, Timed, ReadWatcher {
  /** The socket. */
  readonly duplex: Duplex;
  /** What is read from it. */
  readonly reader: ByteReader;
  /** What all connections of the listener share. */
  readonly context: HttpContext;
  /** What is parsed into. */
  readonly scratch: Scratch;
  /** What backends are told of the client. */
  readonly forwarding: Forwarding;
  deadline = Infinity;
  #phase: Phase = "idle";
  #exchange: Exchange | undefined;
  #draining = false;
  /** How long a request is still waited for while the connection drains, in milliseconds. */
  #lastWait = 0;
  /** When the connection is too old, in whole milliseconds of the clock; 0: never. */
  #retires = 0;
  #resolve: (() => void) | undefined;

  /** Takes a connection over; {@linkcode serve} does the work. */
  constructor(
    duplex: Duplex,
    context: HttpContext,
    scratch: Scratch,
    scheme: "http" | "https" = "http",
  ) {
    this.duplex = duplex;
    this.context = context;
    this.scratch = scratch;
    this.reader = new ByteReader(duplex, IDLE_BUFFER);
    this.forwarding = new ConnectionForwarding(duplex, context, scheme);
    const { maxAge = Infinity } = context.timeouts;
    if (maxAge < Infinity) {
      this.#retires = Math.ceil(
        context.clock.now() + maxAge * (1 + AGE_JITTER * (2 * Math.random() - 1)),
      );
    }
  }

  /** Whether the connection ends with the exchange that is under way. */
  get draining(): boolean {
    return this.#draining || (this.#retires > 0 && this.context.clock.time >= this.#retires);
  }

  /** Answers requests until either side ends the connection. Never rejects. */
  serve(): Promise<void> {
    this.context.clock.watch(this);
    this.reader.watcher = this;
    const ended = new Promise<void>((resolve) => this.#resolve = resolve);
    this.#awaitRequest();
    return ended;
  }

  /** Answers a request whose head was judged elsewhere, and refused. Never rejects. */
  refuse(code: ErrorCode, detail: string): Promise<void> {
    this.context.clock.watch(this);
    return this.#refuse(code, detail);
  }

  #end(): void {
    this.#phase = "ended";
    this.context.clock.unwatch(this);
    this.duplex.close();
    if (this.context.carrier === undefined) {
      this.context.metrics.bytesReceived += this.reader.bytesRead;
    }
    this.#resolve?.();
  }

  /** A fault of our own: this connection ends, others go on. */
  #fail(error: unknown): void {
    log.error("a connection failed", { error: describeError(error) });
    this.#end();
  }

  /**
   * Ends the connection as soon as no request is under way. RFC 9112, section 9.6: a client that has not been
   * told `close` may have sent the next request already, so for `idle` milliseconds that one is still answered.
   */
  drain(idle = 0): void {
    this.#draining = true;
    this.#lastWait = idle;
    if (this.#phase !== "idle") return;
    if (idle === 0) this.duplex.close();
    else if (this.context.clock.now() + idle < this.deadline) this.arm(idle);
  }

  idleness(): Idleness | undefined {
    if (this.#phase !== "idle" || this.#draining) return undefined;
    const { clock, timeouts } = this.context;
    const used = this.reader.bytesRead > 0;
    const since = this.deadline - (used ? timeouts.idle : timeouts.requestHead);
    return { time: clock.time - since, used };
  }

  /**
   * Ends the connection now.
   *
   * @param code Why, for the log.
   */
  abort(code: ErrorCode = "shutdown"): void {
    this.#exchange?.abort(code);
    this.duplex.close();
  }

  /** Sets the deadline of what is waited for. */
  arm(delay: number): void {
    this.context.clock.arm(this, delay);
  }

  #awaitRequest(): void {
    const { reader, context: { timeouts } } = this;
    this.#phase = "idle";
    this.arm(
      this.#draining
        ? this.#lastWait
        : reader.bytesRead === 0
        ? timeouts.requestHead
        : timeouts.idle,
    );
    this.#advance();
  }

  /** Goes on with what has been read. */
  #advance(): void {
    try {
      this.#answerOrRead();
    } catch (error) {
      this.#fail(error);
    }
  }

  #answerOrRead(): void {
    const { reader, context: { timeouts, limits }, scratch: { request } } = this;
    if (reader.available > 0) {
      if (this.#phase === "idle") {
        this.#phase = "head";
        this.arm(timeouts.requestHead);
      }
      const end = request.parse(reader.buffer, reader.start, reader.end);
      // In the turn in which the head was parsed: in the next one, it may be that of another connection.
      if (end === REFUSED) return void this.#refuse(request.error, request.detail);
      if (end !== INCOMPLETE) return this.#answer(end);
      // Room for leading empty lines; the parser keeps to the limits.
      if (reader.full) reader.grow(Math.min(reader.buffer.length * 4, limits.maxHead + 64));
    } else if (this.#draining && this.#lastWait === 0) return this.#end();
    if (reader.ended === undefined) void reader.fill();
    else this.#end();
  }

  /** Answers the request whose head has just been parsed. */
  #answer(end: number): void {
    const { reader } = this;
    const headBytes = end - reader.start;
    reader.start = end;
    this.#phase = "exchange";
    this.#exchange = new Exchange(this, headBytes);
    void this.#exchange.run();
  }

  onAnswered(keep: boolean): void {
    this.#exchange = undefined;
    if (!keep && !this.#draining && this.draining) {
      this.#countClosed("max_connection_age");
    }
    if (!keep || (this.#draining && this.#lastWait === 0)) return this.#end();
    this.reader.shrink();
    this.#awaitRequest();
  }

  /** Answers what was refused, and ends the connection. */
  async #refuse(code: ErrorCode, detail: string): Promise<void> {
    try {
      await this.#answerRefused(code, detail);
      this.#end();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #answerRefused(code: ErrorCode, detail: string): Promise<void> {
    const { metrics } = this.context;
    metrics.refused(code);
    log.debug("a request was refused", { code, detail, client: this.duplex.remote.hostname });
    const bytes = encodeError(code, { noBody: false, close: true });
    metrics.requests(NO_ROUTE, "").record(answerTo(code).status, 0, 0, bytes.length);
    this.#logRefusal(code, bytes.length);
    await this.close(bytes);
  }

  /** A head that was refused has no method or target that could be believed. */
  #logRefusal(code: ErrorCode, bytesOut: number): void {
    const { accessLog, metrics } = this.context;
    accessLog?.write({
      time: Date.now(),
      listener: metrics.name,
      client: this.duplex.remote.hostname,
      method: "",
      target: "",
      protocol: this.context.carrier === "h2" ? "HTTP/2.0" : "HTTP/1.1",
      status: answerTo(code).status,
      bytesIn: this.reader.available,
      bytesOut,
      durationMs: 0,
      route: NO_ROUTE,
      backend: "",
      attempts: 0,
      requestId: "",
      host: "",
      userAgent: "",
      referer: "",
      error: code,
    });
  }

  /**
   * Ends the connection in order, after a last answer if one is given. RFC 9112, section 9.6: a
   * server that closes at once, with bytes of the client unread, makes the client's system throw the
   * answer away; so the writing side is closed first, and what still comes is read for a while.
   */
  async close(answer?: Uint8Array): Promise<void> {
    const { duplex, reader } = this;
    this.#phase = "linger";
    this.arm(LINGER_MS);
    try {
      if (answer !== undefined) {
        await writeAll(duplex, answer);
        if (this.context.carrier === undefined) this.context.metrics.bytesSent += answer.length;
      }
      await duplex.closeWrite();
    } catch {
      // The client has gone; there is nobody left to linger for.
      return;
    }
    // Many clients read no answer before they have sent all of a large request.
    const end = this.context.clock.now() + MAX_LINGER_MS;
    while (this.context.clock.now() < end) {
      if (!reader.reading) reader.start = reader.end;
      if (!await reader.fill()) return;
      reader.start = reader.end;
      this.arm(LINGER_MS);
    }
  }

  onDeadline(): void {
    switch (this.#phase) {
      case "idle":
        this.#countClosed(
          this.#draining
            ? "drain_idle_timeout"
            : this.reader.bytesRead === 0
            ? "first_byte_timeout"
            : "idle_timeout",
        );
        this.duplex.close();
        break;
      case "linger":
        this.duplex.close();
        break;
      case "head":
        void this.#refuse("request_timeout", "the head did not arrive in time");
        break;
      case "exchange":
        this.#exchange?.onDeadline();
        break;
    }
  }

  /** Streams of an HTTP/2 connection are none. */
  #countClosed(reason: CloseReason): void {
    if (this.context.carrier === undefined) this.context.metrics.closed(reason);
  }

  onReadSettled(): void {
    if (this.#phase === "exchange") {
      // Only failures matter here: the end of the client's side is no cancellation (RFC 9112, section 9.6).
      if (this.reader.ended?.type === "error") this.#exchange?.abort();
    } else if (this.#phase === "idle" || this.#phase === "head") this.#advance();
  }
}

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
import { getLogger } from "../../observe/logger.ts";
import type { Served } from "../../mux/listener.ts";
import type { Forwarding } from "../forwarded.ts";
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

const log = getLogger("http");

/**
 * What the connection waits for, and so what a missed deadline means.
 *
 * - `idle`: the next request. Missing it closes the connection without a word.
 * - `head`: the rest of a head that has begun: 408.
 * - `exchange`: whatever the exchange waits for; it decides.
 * - `linger`: the client's end of a connection that we have ended.
 */
type Phase = "idle" | "head" | "exchange" | "linger";

/** One client connection. */
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
  #refusal: Promise<void> | undefined;

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
    const address = duplex.remote.hostname;
    this.forwarding = {
      mode: context.forwarded,
      client: { address, scheme },
      trusted: context.forwarded !== "off" && context.isTrusted(address),
      authority: formatHostPort(duplex.local.hostname, duplex.local.port),
    };
  }

  /** Whether the connection ends with the exchange that is under way. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Answers requests until either side ends the connection. Never rejects. */
  async serve(): Promise<void> {
    const { clock } = this.context;
    clock.watch(this);
    try {
      for (;;) {
        if (!await this.#serveNext()) break;
        if (this.#draining) break;
        this.reader.shrink();
      }
    } catch (error) {
      log.error("a connection failed", { error: describeError(error) });
    } finally {
      clock.unwatch(this);
      this.duplex.close();
      this.context.metrics.bytesReceived += this.reader.bytesRead;
    }
  }

  // Apart from the loop, whose frame would hold the last exchange for as long as the connection is idle.
  #answer(end: number): Promise<boolean> {
    const headBytes = end - this.reader.start;
    this.reader.start = end;
    this.#phase = "exchange";
    this.#exchange = new Exchange(this, headBytes);
    return this.#exchange.run();
  }

  /** Ends the connection as soon as no request is under way. */
  drain(): void {
    this.#draining = true;
    if (this.#phase === "idle") this.duplex.close();
  }

  /** Ends the connection now. */
  abort(): void {
    this.#exchange?.abort();
    this.duplex.close();
  }

  /** Sets the deadline of what is waited for. */
  arm(delay: number): void {
    this.context.clock.arm(this, delay);
  }

  /** Waits for the next request and answers it; whether another one may follow. */
  async #serveNext(): Promise<boolean> {
    const { reader, context, scratch } = this;
    const { timeouts, limits } = context;
    this.#phase = "idle";
    this.arm(reader.bytesRead === 0 ? timeouts.requestHead : timeouts.idle);
    for (;;) {
      if (reader.available > 0) {
        if (this.#phase === "idle") {
          this.#phase = "head";
          this.arm(timeouts.requestHead);
        }
        const end = scratch.request.parse(reader.buffer, reader.start, reader.end);
        if (end === REFUSED) {
          await this.#refuse(scratch.request.error, scratch.request.detail);
          return false;
        }
        // In the turn in which the head was parsed: in the next one, it may be that of another connection.
        if (end !== INCOMPLETE) {
          const keep = await this.#answer(end);
          this.#exchange = undefined;
          return keep;
        }
        // Room for leading empty lines; the parser keeps to the limits.
        if (reader.full) reader.grow(Math.min(reader.buffer.length * 4, limits.maxHead + 64));
      } else if (this.#draining) return false;
      const more = await reader.fill();
      if (this.#refusal !== undefined) {
        await this.#refusal;
        return false;
      }
      if (!more) return false;
    }
  }

  async #refuse(code: ErrorCode, detail: string): Promise<void> {
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
      protocol: "HTTP/1.1",
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
        this.context.metrics.bytesSent += answer.length;
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
      case "linger":
        this.duplex.close();
        break;
      case "head":
        // The read of the head stays pending; whoever waits for it goes on to wait for this.
        this.#refusal = this.#refuse("request_timeout", "the head did not arrive in time");
        break;
      case "exchange":
        this.#exchange?.onDeadline();
        break;
    }
  }

  onReadSettled(): void {
    // Only failures matter here: the end of the client's side is no cancellation (RFC 9112, section 9.6).
    if (this.reader.ended?.type === "error") this.#exchange?.abort();
  }
}

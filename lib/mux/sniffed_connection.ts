/**
 * A connection whose first bytes say which protocol it speaks.
 *
 * @module
 */
import type { Clock, Timed } from "../common/clock.ts";
import type { Duplex } from "../common/duplex.ts";
import { describeError } from "../common/errors.ts";
import { CLIENT_PREFACE, matchPreface } from "../http/h2/preface.ts";
import { getLogger } from "../observe/logger.ts";
import type { ListenerMetrics } from "../observe/metrics.ts";
import type { Idleness } from "./idle_shedding.ts";
import type { Served } from "./listener.ts";
import { ReplayDuplex } from "./replay.ts";
import { sniffHttp1 } from "./sniff.ts";

const log = getLogger("mux");

/** How a connection is told apart, and what becomes of it. */
export interface SniffOptions {
  /** For the deadline. */
  readonly clock: Clock;
  /** Until the protocol must be clear, in milliseconds; then the connection is closed. */
  readonly timeout: number;
  /** Counters of the listener. */
  readonly metrics: ListenerMetrics;
  /** Takes over a connection that begins with the HTTP/2 preface (RFC 9113, section 3.4). */
  readonly h2: (duplex: Duplex) => Served;
  /** Takes over one that begins with an HTTP/1 request; any other is closed. */
  readonly http1: (duplex: Duplex) => Served;
}

/** One connection, until it is clear who serves it, and then on his behalf. */
export class SniffedConnection implements Served, Timed {
  readonly #duplex: Duplex;
  readonly #options: SniffOptions;
  #served: Served | undefined;
  /** How long the first bytes are still waited for while the connection drains; not draining unless set. */
  #lastWait: number | undefined;
  deadline = Infinity;

  /** Takes a connection over. */
  constructor(duplex: Duplex, options: SniffOptions) {
    this.#duplex = duplex;
    this.#options = options;
  }

  async serve(): Promise<void> {
    const { clock, timeout, h2, http1 } = this.#options;
    clock.watch(this);
    clock.arm(this, timeout);
    const bytes = new Uint8Array(CLIENT_PREFACE.length);
    let length = 0;
    let match = matchPreface(bytes, 0, 0);
    let http = sniffHttp1(bytes, 0);
    try {
      while (match === "partial" || (http === "more" && length < bytes.length)) {
        const count = await this.#duplex.read(bytes.subarray(length));
        if (count === null) break;
        length += count;
        match = matchPreface(bytes, 0, length);
        http = match === "mismatch" ? sniffHttp1(bytes, length) : "no";
      }
    } catch (error) {
      log.debug("a client went away before it said anything", { error: describeError(error) });
      length = 0;
    } finally {
      clock.unwatch(this);
    }
    // RFC 9113, section 3.4: what has no preface may be closed without GOAWAY, for it is no HTTP/2.
    // A method that is longer than what was read is for the rules of HTTP/1.
    const unknown = match !== "match" && http === "no";
    if (length === 0 || unknown || this.#lastWait === 0) return this.#duplex.close();
    const replay = new ReplayDuplex(this.#duplex, bytes.subarray(0, length));
    this.#served = match === "match" ? h2(replay) : http1(replay);
    const served = this.#served.serve();
    if (this.#lastWait !== undefined) this.#served.drain(this.#lastWait);
    await served;
  }

  drain(idle = 0): void {
    this.#lastWait = idle;
    if (this.#served !== undefined) this.#served.drain(idle);
    else if (idle === 0) this.#duplex.close();
    else this.#options.clock.arm(this, idle);
  }

  idleness(): Idleness | undefined {
    if (this.#served !== undefined) return this.#served.idleness?.();
    if (this.#lastWait !== undefined) return undefined;
    const { clock, timeout } = this.#options;
    return { time: clock.time - (this.deadline - timeout), used: false };
  }

  abort(): void {
    this.#served?.abort();
    this.#duplex.close();
  }

  onDeadline(): void {
    const draining = this.#lastWait !== undefined;
    this.#options.metrics.closed(draining ? "drain_idle_timeout" : "first_byte_timeout");
    this.#duplex.close();
  }
}

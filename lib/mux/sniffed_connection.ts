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
  #draining = false;
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
    if (length === 0 || unknown || this.#draining) return this.#duplex.close();
    const replay = new ReplayDuplex(this.#duplex, bytes.subarray(0, length));
    this.#served = match === "match" ? h2(replay) : http1(replay);
    await this.#served.serve();
  }

  drain(): void {
    this.#draining = true;
    if (this.#served === undefined) this.#duplex.close();
    else this.#served.drain();
  }

  abort(): void {
    this.#served?.abort();
    this.#duplex.close();
  }

  onDeadline(): void {
    this.#duplex.close();
  }
}

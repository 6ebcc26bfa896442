/**
 * How a connection ends: in order, in two steps so that no stream is lost (RFC 9113, section 6.8), or at
 * once because the peer broke a rule.
 *
 * @module
 */
import type { Duplex } from "../../common/duplex.ts";
import type { CloseReason } from "../../observe/close_reason.ts";
import { type ConnectionError, connectionError, H2Code } from "./errors.ts";
import { encodeGoaway, encodePing } from "./frame_writer.ts";
import { MAX_UINT31 } from "./frames.ts";
import type { Link } from "./link.ts";
import type { Streams } from "./streams.ts";

/** How long the client has to answer the PING between the two GOAWAYs, in milliseconds. */
export const DRAIN_PING_MS = 1000;
/** The payload of that PING. */
const DRAIN_PING = new Uint8Array([0x6c, 0x62, 0x2d, 0x64, 0x72, 0x61, 0x69, 0x6e]);

/**
 * How far the end is.
 *
 * - `open`: streams may begin.
 * - `announced`: the first GOAWAY has been said; streams that are on their way are still taken.
 * - `leaving`: the last GOAWAY has been said; the connection ends with its last stream.
 * - `closed`: nothing is taken any more; what is framed leaves.
 */
export type Phase = "open" | "announced" | "leaving" | "closed";

/** What the end of a connection depends on. */
export interface ClosingParts {
  /** What the parts of the connection share. */
  readonly link: Link;
  /** What is closed. */
  readonly duplex: Duplex;
  /** What must end first. */
  readonly streams: Streams;
  /** Called when the phase has changed, and with it what is waited for. */
  readonly onPhase: () => void;
}

/** The end of one connection. */
export class Closing {
  /** How far it is. */
  phase: Phase = "open";
  /** Why we ended the connection, if the peer made us. */
  error: ConnectionError | undefined;
  /** Why we ended it, if it was a time or a limit of ours. */
  reason: CloseReason | undefined;
  readonly #parts: ClosingParts;
  #aborted = false;
  #peerLeaves = false;
  #saidLast = false;
  #goodbye: Promise<void> | undefined;

  /** Begins with a connection that is open. */
  constructor(parts: ClosingParts) {
    this.#parts = parts;
  }

  /** Whether streams may begin: neither side has spoken of an end. */
  get open(): boolean {
    return this.phase === "open" && !this.#peerLeaves;
  }

  /** Whether nothing is taken any more. */
  get closed(): boolean {
    return this.phase === "closed";
  }

  /** Whether new streams of the peer are ignored: the last GOAWAY has named the last one. */
  get saidLast(): boolean {
    return this.#saidLast;
  }

  /** Resolves when what we had to say has been said. */
  get said(): Promise<void> {
    return this.#goodbye ?? Promise.resolve();
  }

  #enter(phase: Phase): void {
    this.phase = phase;
    this.#parts.onPhase();
  }

  #goaway(lastStreamId: number, code: H2Code, debug = ""): void {
    const { options, outbox } = this.#parts.link;
    if (options.sendsGoaway) encodeGoaway(outbox.writer, lastStreamId, code, debug);
  }

  /**
   * Takes no more streams, in two steps so that none under way to us is lost; ends when all have ended.
   *
   * @param reason Why, if it is a time or a limit of ours.
   * @param debug The same for the peer, as debug data of the first GOAWAY.
   */
  drain(reason?: CloseReason, debug = ""): void {
    if (this.phase !== "open") return;
    this.reason = reason;
    const { link } = this.#parts;
    if (link.role === "client" || !link.ready) return this.#leave();
    // RFC 9113, section 6.8: a server "SHOULD send an initial GOAWAY frame with the last stream
    // identifier set to 2^31-1 and a NO_ERROR code", and, a round trip later, the true one.
    this.#goaway(MAX_UINT31, H2Code.NoError, debug);
    encodePing(link.outbox.writer, DRAIN_PING, 0);
    link.outbox.schedule();
    this.#enter("announced");
  }

  /** The peer has answered the PING `opaque[at..at + 8)`. */
  onPingAck(opaque: Uint8Array, at: number): void {
    if (DRAIN_PING.every((byte, i) => byte === opaque[at + i])) this.onRoundTrip();
  }

  /** The PING behind the first GOAWAY has been answered, or has had its time. */
  onRoundTrip(): void {
    if (this.phase === "announced") this.#leave();
  }

  /** Says the last GOAWAY: the streams that are there now are the last ones. */
  #leave(): void {
    const { link, streams } = this.#parts;
    this.#saidLast = true;
    this.#goaway(link.role === "server" ? streams.lastOfPeer : 0, H2Code.NoError);
    link.outbox.schedule();
    this.#enter("leaving");
    this.endIfIdle();
  }

  /** The peer said GOAWAY. */
  onGoaway(): void {
    this.#peerLeaves = true;
  }

  /** Ends the connection if an end is wanted and no stream is left. */
  endIfIdle(): void {
    const { streams } = this.#parts;
    if (streams.size > 0 || this.closed) return;
    if (this.phase !== "leaving" && !this.#peerLeaves) return;
    if (!this.#saidLast) this.#goaway(streams.lastOfPeer, H2Code.NoError);
    this.#close();
  }

  /**
   * The peer broke a rule of the connection, or asked for too much: GOAWAY, and the end.
   *
   * @returns Whether it had not ended before.
   */
  fail(error: ConnectionError): boolean {
    if (this.closed) return false;
    this.error = error;
    this.#goaway(this.#parts.streams.lastOfPeer, error.code, error.detail);
    this.#close();
    this.lose(error.detail, { broken: true });
    return true;
  }

  /** Ends the connection without a word: the peer is gone, or has had its time. Its streams are lost. */
  cut(reason: CloseReason, detail: string): void {
    if (this.closed) return;
    this.reason = reason;
    this.error = connectionError(H2Code.NoError, detail);
    this.lose(detail, { stalled: reason === "write_timeout" });
    this.#parts.duplex.close();
  }

  /** Ends the connection at once, because we end. */
  abort(): void {
    this.#aborted = true;
    this.#parts.duplex.close();
  }

  /** Every stream that is still open is lost. */
  lose(
    detail: string,
    whose: { readonly stalled?: boolean; readonly broken?: boolean } = {},
  ): void {
    this.phase = "closed";
    this.#parts.streams.dropAbove(0, {
      code: H2Code.Cancel,
      unprocessed: false,
      connectionLost: true,
      ...whose,
      aborted: this.#aborted,
      detail,
    });
  }

  #close(): void {
    this.#saidLast = true;
    this.#enter("closed");
    this.#goodbye ??= this.#sayGoodbye();
  }

  /** Lets what is framed leave and ends our side. The deadline closes the socket if the peer does not. */
  async #sayGoodbye(): Promise<void> {
    const { link, duplex } = this.#parts;
    await link.outbox.finish();
    // A client has nothing to wait for: what the server would still say is about no stream of ours.
    if (link.role === "client") return duplex.close();
    try {
      await duplex.closeWrite();
    } catch {
      // The peer has gone; there is nobody to say goodbye to.
      duplex.close();
    }
  }
}

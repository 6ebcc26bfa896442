/**
 * What a connection is told when it is made: its role, what it grants, and whom it tells.
 *
 * @module
 */
import type { Clock } from "../../common/clock.ts";
import type { Duplex } from "../../common/duplex.ts";
import type { AbuseToken } from "./budget.ts";
import type { H2Code } from "./errors.ts";
import { DEFAULT_FIELD_LIMITS, type FieldLimits } from "./hpack/field_list.ts";
import type { H2RequestHead } from "./request_head.ts";
import type { H2Stream, StreamListener } from "./stream.ts";

/** Which side of the connection we are. */
export type Role = "server" | "client";

/** What we grant a peer, and how long it may take. */
export interface H2Options {
  /** Streams that the peer may have open; refused above that with REFUSED_STREAM. Default 100. */
  readonly maxConcurrentStreams: number;
  /** Bytes in flight for each stream. Default 65,535. */
  readonly streamWindow: number;
  /** Bytes in flight for the connection. Default 1 MiB. */
  readonly connectionWindow: number;
  /** How much of a field section is taken. Default {@linkcode DEFAULT_FIELD_LIMITS}. */
  readonly fields: FieldLimits;
  /** Until the peer's first SETTINGS must be there, in milliseconds. Default 10,000. */
  readonly settingsTimeout: number;
  /**
   * How long a frame, or a field block in several, may take to its end, in milliseconds; all streams of the connection
   * wait for it. DATA may take any time, for it is passed on as it comes. Default 10,000.
   */
  readonly frameTimeout: number;
  /**
   * How long the peer may take nothing of what is written to its connection, in milliseconds. Default 60,000. Where the
   * transport knows more than the runtime ({@linkcode Duplex.isTaking}), it is asked each time.
   */
  readonly writeTimeout: number;
  /**
   * How long the peer may leave a window shut that something waits for, in milliseconds, and a second more for each KiB
   * that it has got and not granted again. Then the stream is reset, and a connection whose own window it was is
   * drained. Default 300,000.
   */
  readonly windowTimeout: number;
  /** How long a connection without streams stays open, in milliseconds. Default 300,000. */
  readonly idleTimeout: number;
  /**
   * How long the peer may say nothing while streams are open before it is asked with a PING, in milliseconds.
   * Default `Infinity`: never.
   */
  readonly keepaliveTime: number;
  /** How long it may then take to say anything before it counts as gone, in milliseconds. Default 20,000. */
  readonly keepaliveTimeout: number;
  /** Whether it is asked while no stream is open too. Default `false`. */
  readonly keepaliveIdle: boolean;
  /**
   * Milliseconds between two PINGs of the peer unless we sent HEADERS or DATA in between; the third that comes
   * too early ends the connection (gRFC A8). Default 0: any.
   */
  readonly minPingInterval: number;
  /** Whether the peer may send PINGs like that while no stream is open. Default `true`. */
  readonly permitIdlePings: boolean;
  /**
   * How old a connection gets before it is drained, in milliseconds; a tenth more or less at random, so that
   * clients that came together do not come back together (gRFC A9). Default `Infinity`.
   */
  readonly maxAge: number;
  /** How long streams may then go on before they are cut, in milliseconds. Default `Infinity`. */
  readonly maxAgeGrace: number;
  /**
   * Whether the end is announced. Default `true`; `false` for a peer that runs on `node:http2`, which
   * Deno 2.9 may crash when a GOAWAY comes after concurrent streams (denoland/deno#36788).
   */
  readonly sendsGoaway: boolean;
}

/** The default of each of {@linkcode H2Options}. */
export const DEFAULT_H2_OPTIONS: H2Options = {
  maxConcurrentStreams: 100,
  streamWindow: 65_535,
  connectionWindow: 1024 * 1024,
  fields: DEFAULT_FIELD_LIMITS,
  settingsTimeout: 10_000,
  frameTimeout: 10_000,
  writeTimeout: 60_000,
  windowTimeout: 300_000,
  idleTimeout: 300_000,
  keepaliveTime: Infinity,
  keepaliveTimeout: 20_000,
  keepaliveIdle: false,
  minPingInterval: 0,
  permitIdlePings: true,
  maxAge: Infinity,
  maxAgeGrace: Infinity,
  sendsGoaway: true,
};

/** Told what happens on a connection. Nothing of it may throw. */
export interface H2Handler {
  /**
   * A request came; server role only. What it returns is told the rest. The head is valid during the
   * call only. `refused` is set when the head must be answered with its error and not be forwarded.
   */
  onRequest?(
    stream: H2Stream,
    head: H2RequestHead,
    options: { readonly endStream: boolean; readonly refused: boolean },
  ): StreamListener;
  /** The peer takes no more streams: it said GOAWAY with this code and the beginning of this debug data. */
  onGoaway?(code: H2Code, debug: string): void;
  /** A stream ended, so another one may begin. */
  onStreamEnded?(): void;
  /** The peer's first SETTINGS came. */
  onReady?(): void;
  /** Later SETTINGS came: the peer may take more streams now, or fewer. */
  onSettings?(): void;
  /** A stream was refused because the peer had as many open as it may. */
  onExcess?(): void;
  /** Abuse was met; the token is for the metrics. */
  onAbuse?(token: AbuseToken): void;
}

/** How a connection is made. */
export interface H2Parts {
  /** Which side we are. */
  readonly role: Role;
  /** What carries the bytes. */
  readonly duplex: Duplex;
  /** For deadlines. */
  readonly clock: Clock;
  /** What is told. */
  readonly handler: H2Handler;
  /** What is granted. */
  readonly options?: Partial<H2Options>;
}

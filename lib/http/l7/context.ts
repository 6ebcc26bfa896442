/**
 * What the connections of one HTTP listener share.
 *
 * @module
 */
import type { Clock } from "../../common/clock.ts";
import type { PeerAddress } from "../../common/duplex.ts";
import type { AccessLog } from "../../observe/access_log.ts";
import type { ListenerMetrics } from "../../observe/metrics.ts";
import type { Recovery } from "../../backend/recovery.ts";
import type { Registry } from "../../backend/registry.ts";
import type { ForwardedMode } from "../forwarded.ts";
import type { HeadLimits } from "../h1/limits.ts";
import type { KeyReader } from "./affinity.ts";
import type { BodyRateOptions } from "./body_rate.ts";
import type { Rates } from "./plan.ts";
import type { Stickiness } from "./sticky.ts";

/** How long each part of an exchange may take, in milliseconds. */
export interface HttpTimeouts {
  /** From the first byte of a request to the end of its head; then 408. Default 10,000. */
  readonly requestHead: number;
  /** How long a client connection may wait for its next request. Default 60,000. */
  readonly idle: number;
  /** How long either side may neither send nor take a byte of a body. Default 60,000. */
  readonly bodyStall: number;
  /** From the end of the request to the head of the response; then 504. Default 60,000. */
  readonly response: number;
  /** How long a tunnel (WebSocket and the like) may be silent. Default 3,600,000. */
  readonly tunnelIdle: number;
  /** How long a tunnel may be silent once one side has ended it. Default 60,000. */
  readonly halfClosed: number;
  /** How long a backend may take to send `100 Continue` before the body is sent anyway. Default 1,000. */
  readonly expectContinue: number;
  /** How old a client connection gets, a tenth more or less, before an answer ends it. Default `Infinity`. */
  readonly maxAge?: number;
}

/** The default of each of {@linkcode HttpTimeouts}. */
export const DEFAULT_HTTP_TIMEOUTS: HttpTimeouts = {
  requestHead: 10_000,
  idle: 60_000,
  bodyStall: 60_000,
  response: 60_000,
  tunnelIdle: 3_600_000,
  halfClosed: 60_000,
  expectContinue: 1_000,
};

/** Requests that the balancer answers itself: management. */
export interface LocalHandler {
  /** Whether a request is for the handler; asked once per request with the raw path. */
  claims(path: string): boolean;
  /** Answers one. Must not reject. */
  handle(request: Request, remote: PeerAddress): Promise<Response>;
}

/** What the connections of one HTTP listener share. */
export interface HttpContext {
  /** Backends and routes. */
  readonly registry: Registry;
  /** For all deadlines. */
  readonly clock: Clock;
  /** How long things may take. */
  readonly timeouts: HttpTimeouts;
  /** How large heads may be. */
  readonly limits: HeadLimits;
  /** Which forwarding fields are written. */
  readonly forwarded: ForwardedMode;
  /** Whether a peer is a proxy whose own forwarding fields are believed. */
  readonly isTrusted: (address: string) => boolean;
  /** The name in Via, if one is written. */
  readonly via: string | undefined;
  /** How often a request may be tried, the first time included. */
  readonly maxAttempts: number;
  /** How answers are judged and requests sent again. */
  readonly recovery: Recovery;
  /** How many requests are taken, where their route does not say. */
  readonly rates?: Rates | undefined;
  /** How slowly clients may send bodies. */
  readonly bodyRate?: BodyRateOptions | undefined;
  /** What requests are hashed by, if they are. */
  readonly keyOf?: KeyReader | undefined;
  /** Keeps clients at their backend, if that is wanted. */
  readonly sticky?: Stickiness | undefined;
  /** Management, if it is answered on this listener. */
  readonly local: LocalHandler | undefined;
  /**
   * What carries the connections, if it is not a socket: each is one stream of an HTTP/2 connection, which counts
   * all bytes itself.
   */
  readonly carrier?: "h2";
  /** End every connection after its first response. */
  readonly closeAfterFirst?: boolean;
  /** Counters of this listener. */
  readonly metrics: ListenerMetrics;
  /** Where exchanges are logged, if they are. */
  readonly accessLog: AccessLog | undefined;
}

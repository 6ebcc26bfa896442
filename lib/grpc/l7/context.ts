/**
 * What the connections of one gRPC listener share.
 *
 * @module
 */
import type { Recovery } from "../../backend/recovery.ts";
import type { Clock } from "../../common/clock.ts";
import type { ForwardedMode } from "../../http/forwarded.ts";
import type { H2Connection, H2Options } from "../../http/h2/connection.ts";
import type { KeyReader } from "../../http/l7/affinity.ts";
import type { H2Http } from "../../http/l7/h2_exchange.ts";
import type { Planner } from "../../http/l7/plan.ts";
import type { AccessLog } from "../../observe/access_log.ts";
import type { ListenerMetrics } from "../../observe/metrics.ts";

/** The balancer's own gRPC services: one more upstream, chosen before the route table. */
export interface OwnServices {
  /** Whether a call, by its raw path, is for one of them. */
  claims(path: string): boolean;
  /** A connection that takes another stream, if there is one; nothing is awaited. */
  take(): H2Connection | undefined;
  /** The same, opened if need be. */
  acquire(): Promise<H2Connection>;
}

/** The metadata key that tells the own services who calls; what a client sends under it is dropped. */
export const CALLER_KEY = "lb-caller";

/** What the connections of one gRPC listener share. */
export interface GrpcContext {
  /** The own services, if they are answered on this listener. */
  readonly services: OwnServices | undefined;
  /** What serves requests that are no gRPC calls; without it they are proxied like calls. */
  readonly http?: H2Http;
  /** Finds the route and the pool of a call. */
  readonly planner: Planner;
  /** For all deadlines. */
  readonly clock: Clock;
  /** What clients are granted. */
  readonly h2: Partial<H2Options>;
  /** Which forwarding fields are written. */
  readonly forwarded: ForwardedMode;
  /** Whether a peer is a proxy whose own forwarding fields are believed. */
  readonly isTrusted: (address: string) => boolean;
  /** How often a call may be tried, the first time included. */
  readonly maxAttempts: number;
  /** How answers are judged and calls sent again. */
  readonly recovery: Recovery;
  /** What calls are hashed by, if they are. */
  readonly keyOf?: KeyReader | undefined;
  /** Counters of this listener. */
  readonly metrics: ListenerMetrics;
  /** Where calls are logged, if they are. */
  readonly accessLog: AccessLog | undefined;
}

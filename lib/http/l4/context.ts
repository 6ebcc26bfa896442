/**
 * What the connections of one layer 4 listener share.
 *
 * @module
 */
import type { Pool } from "../../backend/pool.ts";
import type { Connect } from "../../backend/connector.ts";
import type { Recovery } from "../../backend/recovery.ts";
import type { Clock } from "../../common/clock.ts";
import type { Duplex } from "../../common/duplex.ts";
import type { AccessLog } from "../../observe/access_log.ts";
import type { ListenerMetrics } from "../../observe/metrics.ts";
import type { Served } from "../../mux/listener.ts";

/** How long each part of a relayed connection may take, in milliseconds. */
export interface StreamTimeouts {
  /** Until the first byte of a client that must speak first. Default 10,000. */
  readonly firstByte: number;
  /** How long a relayed connection may be silent in both directions. Default 3,600,000. */
  readonly idle: number;
  /** The same once one side has ended its direction. Default 60,000. */
  readonly halfClosed: number;
}

/** The default of each of {@linkcode StreamTimeouts}. */
export const DEFAULT_STREAM_TIMEOUTS: StreamTimeouts = {
  firstByte: 10_000,
  idle: 3_600_000,
  halfClosed: 60_000,
};

/** What the connections of one layer 4 listener share. */
export interface StreamContext {
  /** Which backends may have a connection. */
  readonly pool: Pool;
  /** Opens connections. */
  readonly connect: Connect;
  /** How long opening one may take, in milliseconds. */
  readonly connectTimeout: number;
  /** Certificates in PEM that are trusted beside the well-known ones. */
  readonly caCerts: readonly string[] | undefined;
  /** How many backends may be tried for a connection. */
  readonly maxAttempts: number;
  /** Says how many of these tries there may be in all. */
  readonly recovery: Recovery;
  /** Whether clients are hashed by their address. */
  readonly hashed?: boolean;
  /** For all deadlines. */
  readonly clock: Clock;
  /** How long things may take. */
  readonly timeouts: StreamTimeouts;
  /** Counters of this listener. */
  readonly metrics: ListenerMetrics;
  /** Where connections are logged, if they are. */
  readonly accessLog: AccessLog | undefined;
  /**
   * HTTP only: serves a connection that begins with a management request. Without it nothing is looked
   * at, and a backend may speak first.
   */
  readonly management: ((duplex: Duplex) => Served) | undefined;
}

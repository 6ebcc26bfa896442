/**
 * Waiting for a connection on which a stream can be opened.
 *
 * @module
 */
import type { H2Connection } from "../../http/h2/connection.ts";

/** What opens connections. */
export interface Connections {
  /** One that takes another stream, opened if need be. */
  acquire(): Promise<H2Connection>;
}

/** Who waits. Nothing of it may throw. */
export interface ConnectionWaiter {
  /** Whether a connection is still wanted; else nothing is told. */
  isWanted(): boolean;
  /** There is one, which takes a stream in this turn. */
  onConnected(connection: H2Connection): void;
  /** There will be none. */
  onUnreached(error: unknown): void;
}

/** Waits until there is a connection that still takes a stream: several calls may wait for the same. */
export function awaitConnection(pool: Connections, waiter: ConnectionWaiter): void {
  pool.acquire().then(
    (connection) => {
      if (!waiter.isWanted()) return;
      if (connection.available) waiter.onConnected(connection);
      else awaitConnection(pool, waiter);
    },
    (error) => {
      if (waiter.isWanted()) waiter.onUnreached(error);
    },
  );
}

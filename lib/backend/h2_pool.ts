/**
 * HTTP/2 connections to one backend, shared by the streams of many clients.
 *
 * @module
 */
import { ProxyError } from "../common/errors.ts";
import { H2Connection } from "../http/h2/connection.ts";
import type { PoolOptions, PoolParts } from "./h1_pool.ts";

/** The connections to one backend. Another one is opened when all have as many streams as the backend takes. */
export class H2Pool {
  readonly #parts: PoolParts;
  readonly #options: PoolOptions;
  readonly #connections: H2Connection[] = [];
  #opening: Promise<void> | undefined;

  /** Makes an empty pool. */
  constructor(parts: PoolParts, options: PoolOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** A connection that takes another stream, if there is one; nothing is awaited. */
  take(): H2Connection | undefined {
    for (const connection of this.#connections) if (connection.available) return connection;
    return undefined;
  }

  /**
   * A connection that took another stream a moment ago, opened if need be. Others may have been given the
   * same: whoever gets it must look at `available` before the stream is opened.
   *
   * @throws {ProxyError} `pool_exhausted` when as many connections are open as may be; what
   * {@linkcode Connect} throws.
   */
  async acquire(): Promise<H2Connection> {
    for (;;) {
      const connection = this.take();
      if (connection !== undefined) return connection;
      if (this.#connections.length >= this.#options.maxConnections) {
        throw new ProxyError(
          "pool_exhausted",
          "upstream",
          `all ${this.#options.maxConnections} connections to ${this.#parts.addr} are full`,
          { retry: "safe" },
        );
      }
      await (this.#opening ??= this.#open().finally(() => this.#opening = undefined));
    }
  }

  async #open(): Promise<void> {
    const { address, addr, connect, clock } = this.#parts;
    const { connectTimeout, caCerts, idleTimeout } = this.#options;
    const duplex = await connect(address, {
      timeout: connectTimeout,
      alpn: "h2",
      ...(caCerts === undefined ? {} : { caCerts }),
    });
    const ready = Promise.withResolvers<void>();
    const connection = new H2Connection({
      role: "client",
      duplex,
      clock,
      handler: {
        onReady: ready.resolve,
        // It takes no more streams, so nobody need look at it again.
        onGoaway: () => this.#forget(connection),
      },
      options: { settingsTimeout: connectTimeout, idleTimeout },
    });
    void connection.run().then(() => {
      this.#forget(connection);
      ready.reject(
        new ProxyError(
          "upstream_protocol",
          "upstream",
          `${addr} does not speak HTTP/2${
            connection.error === undefined ? "" : `: ${connection.error.detail}`
          }`,
          { retry: "safe" },
        ),
      );
    });
    // Before its SETTINGS are there, nobody knows how many streams the backend takes.
    await ready.promise;
    if (connection.ending) {
      throw new ProxyError("upstream_closed", "upstream", `${addr} went away at once`, {
        retry: "safe",
      });
    }
    this.#connections.push(connection);
  }

  #forget(connection: H2Connection): void {
    const index = this.#connections.indexOf(connection);
    if (index >= 0) this.#connections.splice(index, 1);
  }

  /** Lets all connections end when their streams have. */
  drain(): void {
    for (const connection of [...this.#connections]) connection.drain();
  }
}

/**
 * Pooled HTTP/1.1 connections to one backend.
 *
 * A connection goes back only when the whole request was sent, the whole answer read and no byte is
 * left over; in the pool it has a pending read, so that a close or a stray byte takes it out at once.
 *
 * @module
 */
import type { Address } from "../common/address.ts";
import { ByteReader, type ReadWatcher } from "../common/byte_reader.ts";
import type { Clock, Timed } from "../common/clock.ts";
import type { Duplex } from "../common/duplex.ts";
import { ProxyError } from "../common/errors.ts";
import { type Connect, type ConnectWatch, openWatched } from "./connector.ts";

/** Limits and times of a pool. Times in milliseconds. */
export interface PoolOptions {
  /** Connections to one backend at a time, idle ones included. */
  readonly maxConnections: number;
  /** Requests that may wait for a connection; above that they are refused with `pool_exhausted`. */
  readonly maxWaiting: number;
  /** How long a request may wait for a connection. */
  readonly waitTimeout: number;
  /** How long a connection stays in the pool unused. */
  readonly idleTimeout: number;
  /** How long opening one may take. */
  readonly connectTimeout: number;
  /** Certificates in PEM that are trusted beside the well-known ones. */
  readonly caCerts?: readonly string[];
}

/** Bytes that an upstream connection reads at once while it is idle or answers with something small. */
const READ_SIZE = 16 * 1024;

/** One connection to a backend. */
export class UpstreamConnection implements Timed, ReadWatcher {
  /** The socket. */
  readonly duplex: Duplex;
  /** What is read from it. */
  readonly reader: ByteReader;
  /** Whether an earlier request has used it, so that it may have been closed while idle. */
  reused = false;
  deadline = Infinity;
  readonly #pool: H1Pool;

  /** Made by the pool. */
  constructor(duplex: Duplex, pool: H1Pool) {
    this.duplex = duplex;
    this.reader = new ByteReader(duplex, READ_SIZE);
    this.#pool = pool;
  }

  /** Whether nothing has been read that nobody asked for, and reading can go on. */
  get clean(): boolean {
    return this.reader.available === 0 && this.reader.ended === undefined;
  }

  onDeadline(): void {
    this.#pool.discard(this);
  }

  onReadSettled(): void {
    // In the pool, both the end and a byte that belongs to no answer make it useless.
    this.#pool.discard(this);
  }
}

interface Waiter extends Timed {
  resolve(connection: UpstreamConnection): void;
  reject(error: ProxyError): void;
}

/** How a pool is made. */
export interface PoolParts {
  /** Where to. */
  readonly address: Address;
  /** For messages. */
  readonly addr: string;
  /** Watches idle connections and waiting requests. */
  readonly clock: Clock;
  /** Opens connections. */
  readonly connect: Connect;
}

/** The connections to one backend. */
export class H1Pool {
  readonly #parts: PoolParts;
  readonly #options: PoolOptions;
  readonly #idle: UpstreamConnection[] = [];
  readonly #waiters = new Set<Waiter>();
  #open = 0;
  /** Watches whether connections can be opened. */
  watch: ConnectWatch | undefined;

  /** Makes an empty pool. */
  constructor(parts: PoolParts, options: PoolOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** Connections that wait for a request. */
  get idle(): number {
    return this.#idle.length;
  }

  /** Connections that carry a request or are being opened. */
  get active(): number {
    return this.#open - this.#idle.length;
  }

  /** The connection that was used last, if one is idle; nothing is awaited. */
  take(): UpstreamConnection | undefined {
    const connection = this.#idle.pop();
    if (connection === undefined) return undefined;
    this.#parts.clock.disarm(connection);
    connection.reader.watcher = undefined;
    connection.reused = true;
    return connection;
  }

  /**
   * Opens a connection, or waits for one when the limit is reached. Whoever asks had no use for an idle
   * one, so the one that lies idle longest makes room for it.
   *
   * @throws {ProxyError} `pool_exhausted` when no more may wait or the wait took too long; what
   * {@linkcode Connect} throws.
   */
  async open(): Promise<UpstreamConnection> {
    if (this.#open >= this.#options.maxConnections) {
      const oldest = this.#idle[0];
      if (oldest === undefined) return await this.#wait();
      this.discard(oldest);
    }
    this.#open++;
    try {
      const duplex = await openWatched(this.watch, () =>
        this.#parts.connect(this.#parts.address, {
          timeout: this.#options.connectTimeout,
          ...(this.#options.caCerts === undefined ? {} : { caCerts: this.#options.caCerts }),
        }));
      const connection = new UpstreamConnection(duplex, this);
      // For as long as it lives: watching anew for each request would cost more than an idle deadline.
      this.#parts.clock.watch(connection);
      return connection;
    } catch (error) {
      this.#open--;
      this.#serveWaiter();
      throw error;
    }
  }

  #wait(): Promise<UpstreamConnection> {
    const { maxConnections, maxWaiting, waitTimeout } = this.#options;
    const refuse = (why: string) =>
      new ProxyError(
        "pool_exhausted",
        "upstream",
        `all ${maxConnections} connections to ${this.#parts.addr} are in use and ${why}`,
        { retry: "safe" },
      );
    if (this.#waiters.size >= maxWaiting) {
      return Promise.reject(refuse(`${maxWaiting} requests wait already`));
    }
    const { promise, resolve, reject } = Promise.withResolvers<UpstreamConnection>();
    const waiter: Waiter = {
      deadline: Infinity,
      resolve,
      reject,
      onDeadline: () => {
        this.#forget(waiter);
        reject(refuse(`none became free within ${waitTimeout} ms`));
      },
    };
    this.#waiters.add(waiter);
    this.#parts.clock.watch(waiter);
    this.#parts.clock.arm(waiter, waitTimeout);
    return promise;
  }

  #forget(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    this.#parts.clock.unwatch(waiter);
  }

  /**
   * Takes a connection back after an exchange.
   *
   * @param keep Milliseconds that the backend says it keeps an idle connection; 0 to close it.
   */
  release(connection: UpstreamConnection, keep: number): void {
    if (keep <= 0 || !connection.clean) {
      this.close(connection);
      return;
    }
    for (const waiter of this.#waiters) {
      this.#forget(waiter);
      connection.reused = true;
      waiter.resolve(connection);
      return;
    }
    const { clock } = this.#parts;
    connection.reader.shrink();
    connection.reader.watcher = connection;
    this.#idle.push(connection);
    clock.arm(connection, Math.min(keep, this.#options.idleTimeout));
    // The pending read is the watch on the idle connection and the first read of the next answer.
    void connection.reader.fill();
  }

  /** Closes a connection that is in use and counts it out. */
  close(connection: UpstreamConnection): void {
    this.#parts.clock.unwatch(connection);
    connection.duplex.close();
    connection.reader.dispose();
    this.#open--;
    this.#serveWaiter();
  }

  // A place became free: the oldest waiter gets a connection of its own.
  #serveWaiter(): void {
    for (const waiter of this.#waiters) {
      this.#forget(waiter);
      this.open().then((c) => waiter.resolve(c), (error) => waiter.reject(error));
      return;
    }
  }

  /** Takes an idle connection out and closes it; does nothing for one that is in use. */
  discard(connection: UpstreamConnection): void {
    const index = this.#idle.indexOf(connection);
    if (index < 0) return;
    this.#idle.splice(index, 1);
    connection.reader.watcher = undefined;
    this.close(connection);
  }

  /**
   * Closes idle connections, those first that have been idle longest.
   *
   * @param keep How many stay. Default 0.
   */
  closeIdle(keep = 0): void {
    while (this.#idle.length > keep) this.discard(this.#idle[0]!);
  }
}

/**
 * HTTP/2 connections to one backend, shared by the streams of many clients.
 *
 * @module
 */
import type { Timed } from "../common/clock.ts";
import { ProxyError } from "../common/errors.ts";
import type { AbuseToken } from "../http/h2/budget.ts";
import { H2Connection } from "../http/h2/connection.ts";
import { H2Code } from "../http/h2/errors.ts";
import { MAX_UINT31 } from "../http/h2/frames.ts";
import type { H2Options } from "../http/h2/options.ts";
import { getLogger } from "../observe/logger.ts";
import { SampledLog } from "../observe/sampled_log.ts";
import { type ConnectWatch, openWatched } from "./connector.ts";
import type { PoolOptions, PoolParts } from "./h1_pool.ts";

const log = getLogger("backend");
const ended = new SampledLog(log, {
  message: "a connection to a backend was ended",
  by: ["backend"],
});

/**
 * How often a connection is opened in a row when the backend says GOAWAY on it at once: that it lets go of a connection
 * does not mean that it takes no other.
 */
const OPENINGS = 3;
/** What a backend says in GOAWAY when it is pinged more often than it likes (gRFC A8). */
const TOO_MANY_PINGS: AbuseToken = "too_many_pings";
/** How often the interval of keepalive is doubled at most; ten seconds are then nearly three hours. */
const MAX_DOUBLINGS = 10;

/** Limits and times of a pool, and what its connections grant and ask. */
export interface H2PoolOptions extends PoolOptions {
  /** What differs from the engine's defaults. */
  readonly h2?: Partial<H2Options>;
}

/** Somebody who waits for a connection that takes another stream. */
interface Waiter extends Timed {
  /** Whether the time that it may wait is counted. */
  counted: boolean;
  resolve(connection: H2Connection): void;
  reject(error: unknown): void;
}

/** The connections to one backend. Another one is opened when all have as many streams as the backend takes. */
export class H2Pool {
  readonly #parts: PoolParts;
  readonly #options: H2PoolOptions;
  /** Those that take streams, now or when others have ended. */
  readonly #connections: H2Connection[] = [];
  /** All that are open, those included that end with their last stream. */
  readonly #live = new Set<H2Connection>();
  /** Who waits, the oldest first. */
  readonly #waiters: Waiter[] = [];
  #serving = false;
  #opening = false;
  /** How often the interval of our keepalive was doubled because the backend asked for that. */
  #doublings = 0;
  /** How many connections there have been. */
  opened = 0;
  /** Told when a connection was opened, or has come to its end. */
  onConnection: ((event: "opened" | "ended") => void) | undefined;
  /** Watches whether connections can be opened. */
  watch: ConnectWatch | undefined;

  /** Makes an empty pool. */
  constructor(parts: PoolParts, options: H2PoolOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** Connections without a stream. */
  get idle(): number {
    let count = 0;
    for (const { streams } of this.#live) if (streams === 0) count++;
    return count;
  }

  /** Connections with streams, or that are being opened. */
  get active(): number {
    return this.#live.size - this.idle + (this.#opening ? 1 : 0);
  }

  /**
   * A connection that takes another stream, if there is one; nothing is awaited. While others wait there is
   * none.
   */
  take(): H2Connection | undefined {
    return this.#waiters.length > 0 ? undefined : this.#find();
  }

  #find(): H2Connection | undefined {
    for (const connection of this.#connections) if (connection.available) return connection;
    return undefined;
  }

  /**
   * A connection that took another stream a moment ago: one that is there or is opened, or when no more may be
   * opened, one whose streams end within the time that may be waited. Others may have been given the same:
   * whoever gets it must look at `available` before the stream is opened.
   *
   * @throws {ProxyError} `pool_exhausted` when no stream ended in time or too many wait; what
   * {@linkcode Connect} throws.
   */
  acquire(): Promise<H2Connection> {
    const connection = this.take();
    if (connection !== undefined) return Promise.resolve(connection);
    const { promise, resolve, reject } = Promise.withResolvers<H2Connection>();
    const waiter: Waiter = {
      deadline: Infinity,
      counted: false,
      resolve,
      reject,
      onDeadline: () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        this.#parts.clock.unwatch(waiter);
        const { waitTimeout } = this.#options;
        reject(this.#exhausted(`no stream ended within ${waitTimeout} ms`));
      },
    };
    this.#waiters.push(waiter);
    void this.#serve();
    return promise;
  }

  #exhausted(why: string): ProxyError {
    return new ProxyError(
      "pool_exhausted",
      "upstream",
      `the connections to ${this.#parts.addr} are full and ${why}`,
      { retry: "safe" },
    );
  }

  /** Gives waiters what there is, one after the other, so that each has taken its stream before the next. */
  async #serve(): Promise<void> {
    if (this.#serving) return;
    this.#serving = true;
    while (this.#waiters.length > 0) {
      const connection = this.#find();
      if (connection === undefined) break;
      this.#shift()!.resolve(connection);
      // Who waited for that goes on before this does.
      await null;
    }
    this.#serving = false;
    if (this.#waiters.length === 0 || this.#opening) return;
    if (this.#mayOpen) void this.#openAnother();
    else this.#count();
  }

  /** The oldest waiter, which waits no more. */
  #shift(): Waiter | undefined {
    const waiter = this.#waiters.shift();
    if (waiter?.counted) this.#parts.clock.unwatch(waiter);
    return waiter;
  }

  /**
   * Whether another connection would help. Not where one has no stream and takes none: the backend has said that
   * it wants none for now (SETTINGS_MAX_CONCURRENT_STREAMS of 0), and would say so on the next one too.
   */
  get #mayOpen(): boolean {
    if (this.#live.size >= this.#options.maxConnections) return false;
    return this.#connections.every(({ streams, ending }) => streams > 0 || ending);
  }

  /** Only streams that end can help those who wait: from now on their time counts. */
  #count(): void {
    const { clock } = this.#parts;
    const { maxWaiting, waitTimeout } = this.#options;
    for (const waiter of this.#waiters.splice(maxWaiting)) {
      if (waiter.counted) clock.unwatch(waiter);
      waiter.reject(this.#exhausted(`${maxWaiting} calls wait already`));
    }
    for (const waiter of this.#waiters) {
      if (waiter.counted) continue;
      waiter.counted = true;
      clock.watch(waiter);
      clock.arm(waiter, waitTimeout);
    }
  }

  async #openAnother(): Promise<void> {
    this.#opening = true;
    try {
      await openWatched(this.watch, () => this.#openUsable());
      this.#opening = false;
    } catch (error) {
      this.#opening = false;
      for (let waiter = this.#shift(); waiter !== undefined; waiter = this.#shift()) {
        waiter.reject(error);
      }
    }
    void this.#serve();
  }

  async #openUsable(): Promise<void> {
    for (let tries = 0; tries < OPENINGS; tries++) if (await this.#open()) return;
    throw new ProxyError(
      "upstream_closed",
      "upstream",
      `${this.#parts.addr} went away at once, ${OPENINGS} times`,
      { retry: "safe" },
    );
  }

  /** Opens a connection; `false` when the backend said GOAWAY on it before it could be used. */
  async #open(): Promise<boolean> {
    const { address, addr, connect, clock } = this.#parts;
    const { connectTimeout, caCerts, idleTimeout, h2 } = this.#options;
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
        onStreamEnded: () => this.#onRoom(),
        onSettings: () => this.#onRoom(),
        onGoaway: (code, debug) => {
          if (code === H2Code.EnhanceYourCalm && debug === TOO_MANY_PINGS) this.#calmDown();
          // It takes no more streams, so nobody need look at it again.
          this.#forget(connection);
        },
      },
      // The connection is shared: with a window of its own for all, clients that do not read their answers
      // would stop those of everybody else. Each stream has its window, and their number is bounded.
      options: {
        settingsTimeout: connectTimeout,
        idleTimeout,
        connectionWindow: MAX_UINT31,
        ...h2,
        ...(h2?.keepaliveTime === undefined
          ? {}
          : { keepaliveTime: h2.keepaliveTime * 2 ** this.#doublings }),
      },
    });
    void connection.run().then(() => {
      this.#live.delete(connection);
      this.#forget(connection);
      this.#onRoom();
      const { error } = connection;
      // Its streams are only told that the connection is lost.
      if (error !== undefined && error.code !== H2Code.NoError) {
        ended.warning({ backend: addr, error: error.detail });
      }
      ready.reject(
        error === undefined
          ? new ProxyError("upstream_closed", "upstream", `${addr} went away at once`, {
            retry: "safe",
          })
          : new ProxyError(
            "upstream_protocol",
            "upstream",
            `${addr} does not speak HTTP/2: ${error.detail}`,
            { retry: "safe" },
          ),
      );
    });
    // Before its SETTINGS are there, nobody knows how many streams the backend takes.
    await ready.promise;
    if (connection.ending) return false;
    this.#connections.push(connection);
    this.#live.add(connection);
    this.opened++;
    this.onConnection?.("opened");
    return true;
  }

  #forget(connection: H2Connection): void {
    const index = this.#connections.indexOf(connection);
    if (index < 0) return;
    this.#connections.splice(index, 1);
    this.onConnection?.("ended");
    this.#onRoom();
  }

  /** Another stream or another connection may be possible now. */
  #onRoom(): void {
    if (this.#waiters.length > 0) void this.#serve();
  }

  /** gRFC A8: who is told `too_many_pings` doubles the interval of its keepalive. */
  #calmDown(): void {
    if (this.#doublings < MAX_DOUBLINGS) this.#doublings++;
    log.warning("a backend wants fewer PINGs; the interval of keepalive is doubled", {
      backend: this.#parts.addr,
    });
  }

  /** Lets connections without a stream end; one stays on which the next call can go. */
  shedIdle(): void {
    const kept = this.#find() ?? this.#connections[0];
    for (const connection of [...this.#connections]) {
      if (connection !== kept && connection.streams === 0) connection.drain();
    }
  }

  /** Lets all connections end when their streams have. */
  drain(): void {
    for (const connection of [...this.#connections]) connection.drain();
  }
}

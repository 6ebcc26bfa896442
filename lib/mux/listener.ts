/**
 * Where connections enter: the accept loop, its limits and its end.
 *
 * @module
 */
import { type Address, formatHostPort } from "../common/address.ts";
import { ConnDuplex, type Duplex } from "../common/duplex.ts";
import { describeError } from "../common/errors.ts";
import { getLogger } from "../observe/logger.ts";
import type { ListenerMetrics } from "../observe/metrics.ts";

/** A connection that is being served. */
export interface Served {
  /** Serves it to its end. Never rejects. */
  serve(): Promise<void>;
  /** Ends it as soon as nothing is under way. */
  drain(): void;
  /** Ends it now. */
  abort(): void;
}

/** How a listener is made. */
export interface ListenerOptions {
  /** Where to listen; port 0 lets the system choose. */
  readonly address: Address;
  /** The most connections at a time. Keep it well below the limit of descriptors. */
  readonly maxConnections: number;
  /** Takes a connection over. */
  readonly accept: (duplex: Duplex) => Served;
  /** What a connection above the limit is told before it is closed; nothing unless given. */
  readonly busy?: Uint8Array;
  /** Counters. */
  readonly metrics: ListenerMetrics;
}

/** How long `accept` is left alone after it failed, in milliseconds. */
const PAUSE_MS = 50;
/** Connections above the limit that are told so at a time; more are closed without a word. */
const MAX_REFUSING = 64;
/** How long such a connection is kept for the client to read the answer, in milliseconds. */
const REFUSE_MS = 1000;

const log = getLogger("listener");

/** Listens, and holds the connections it has accepted. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #listener: Deno.Listener;
  readonly #connections = new Set<Served>();
  readonly #loop: Promise<void>;
  readonly #refusing = new Set<Duplex>();
  #closed = false;
  #complained = false;
  #wake: (() => void) | undefined;
  #idle: (() => void) | undefined;

  /**
   * Begins to listen.
   *
   * @throws {Deno.errors.AddrInUse} When the address is taken, and what else `Deno.listen` throws.
   */
  constructor(options: ListenerOptions) {
    this.#options = options;
    const { address } = options;
    this.#listener = address.transport === "unix"
      ? Deno.listen({ transport: "unix", path: address.path })
      : Deno.listen({ hostname: address.host, port: address.port });
    this.#loop = this.#run();
  }

  /** Where it listens, with the port that the system chose. */
  get addr(): Deno.Addr {
    return this.#listener.addr;
  }

  /** The same as text: `host:port` or `unix:/path`. */
  get name(): string {
    const { addr } = this.#listener;
    if (addr.transport === "tcp") return formatHostPort(addr.hostname, addr.port);
    return addr.transport === "unix" ? `unix:${addr.path}` : addr.transport;
  }

  // Accepting by hand is the only way that survives running out of descriptors: an iterator over the
  // listener ends at the first failure.
  async #run(): Promise<void> {
    const { metrics } = this.#options;
    for (;;) {
      let conn: Deno.Conn;
      try {
        conn = await this.#listener.accept();
      } catch (error) {
        if (this.#closed) return;
        metrics.acceptErrors++;
        if (!this.#complained) {
          this.#complained = true;
          log.warning("cannot accept connections; trying on", { error: describeError(error) });
        }
        await this.#pause();
        continue;
      }
      this.#complained = false;
      metrics.connectionsAccepted++;
      this.#take(conn);
    }
  }

  #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, PAUSE_MS);
    this.#wake = resolve;
    return promise.finally(() => clearTimeout(timer));
  }

  #take(conn: Deno.Conn): void {
    const { metrics, maxConnections } = this.#options;
    let duplex: Duplex;
    try {
      duplex = new ConnDuplex(conn);
    } catch (error) {
      // The client has reset the connection between accepting it and here.
      log.debug("a connection failed at once", { error: describeError(error) });
      conn.close();
      return;
    }
    if (this.#connections.size >= maxConnections || this.#closed) {
      metrics.connectionsRefused++;
      metrics.refused("too_many_connections");
      void this.#refuse(duplex);
      return;
    }
    this.#serve(duplex);
  }

  #serve(duplex: Duplex): void {
    const { metrics, accept } = this.#options;
    const served = accept(duplex);
    this.#connections.add(served);
    metrics.connectionsActive++;
    void served.serve().then(() => {
      metrics.connectionsActive--;
      this.#connections.delete(served);
      if (this.#connections.size === 0) this.#idle?.();
    });
  }

  async #refuse(duplex: Duplex): Promise<void> {
    const { busy } = this.#options;
    if (busy === undefined || this.#closed || this.#refusing.size >= MAX_REFUSING) {
      duplex.close();
      return;
    }
    this.#refusing.add(duplex);
    const timer = setTimeout(() => duplex.close(), REFUSE_MS);
    try {
      await duplex.write(busy);
      await duplex.closeWrite();
      // Closing with bytes unread would make the client's system throw the answer away.
      const sink = new Uint8Array(4096);
      for (let reads = 0; reads < 16 && await duplex.read(sink) !== null; reads++);
    } catch {
      // The client went away, or took too long; it was refused anyway.
    } finally {
      clearTimeout(timer);
      duplex.close();
      this.#refusing.delete(duplex);
    }
  }

  /** Accepts no more. Connections that were accepted go on. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    this.#wake?.();
    for (const duplex of this.#refusing) duplex.close();
  }

  /**
   * Accepts no more and ends: connections finish what they have, for at most `grace` milliseconds, then
   * they are cut.
   */
  async shutdown(grace: number): Promise<void> {
    this.close();
    await this.#loop;
    if (this.#connections.size === 0) return;
    const idle = new Promise<void>((resolve) => this.#idle = resolve);
    for (const connection of this.#connections) connection.drain();
    const timer = setTimeout(() => {
      log.warning("the grace period is over; connections are cut", {
        connections: this.#connections.size,
      });
      for (const connection of this.#connections) connection.abort();
    }, grace);
    await idle;
    clearTimeout(timer);
  }
}

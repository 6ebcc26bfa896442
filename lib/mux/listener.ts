/**
 * Where connections enter: the accept loop, its limits and its end.
 *
 * @module
 */
import { formatHostPort, type ListenAddress } from "../common/address.ts";
import { ConnDuplex, type Duplex } from "../common/duplex.ts";
import { lacksDescriptors } from "../common/descriptors.ts";
import { describeError, type ErrorCode } from "../common/errors.ts";
import { Members } from "../common/members.ts";
import { getLogger } from "../observe/logger.ts";
import type { ListenerMetrics } from "../observe/metrics.ts";
import type { ClientLimits } from "./client_limits.ts";
import { type Sheddable, shedIdle } from "./idle_shedding.ts";
import { type Binder, type ListeningSocket, openSocket } from "./listening_socket.ts";

/** A connection that is being served. */
export interface Served extends Sheddable {
  /** Serves it to its end. Never rejects. */
  serve(): Promise<void>;
  /**
   * Ends it as soon as nothing is under way.
   *
   * @param idle How long a client may still begin a request that it has not been told not to send, in
   * milliseconds. Default 0: where nothing is under way, the connection ends now.
   */
  drain(idle?: number): void;
  /** Ends it now. */
  abort(): void;
}

/** How a listener is made. */
export interface ListenerOptions {
  /** Where to listen; port 0 lets the system choose. */
  readonly address: ListenAddress;
  /** The file of an inherited Unix socket that is to be removed at the end. */
  readonly file?: string | undefined;
  /** The most connections at a time. Keep it well below the limit of descriptors. */
  readonly maxConnections: number;
  /** Takes a connection over. */
  readonly accept: (duplex: Duplex) => Served;
  /** What a connection above a limit is told before it is closed; nothing unless given. */
  readonly busy?: (reason: ErrorCode) => Uint8Array;
  /** How many connections each client may have; any number unless given. */
  readonly clients?: ClientLimits | undefined;
  /** Called when there is no descriptor for a connection; see {@linkcode Listener.makeRoom}. */
  readonly onExhausted?: () => void;
  /** Counters. */
  readonly metrics: ListenerMetrics;
}

/** How a listener ends. */
export interface ListenerEnd {
  /** How long connections may go on, in milliseconds; then they are cut. From 24.8 days on they never are. */
  readonly grace: number;
  /** How long a connection that carries nothing may still begin a request, in milliseconds. Default 0. */
  readonly idle?: number;
  /** Another process listens on the socket: the file of a Unix socket stays. */
  readonly passedOn?: boolean;
}

const BINDER: Binder<Deno.Listener> = {
  tcp: (options) => Deno.listen(options),
  unix: (path) => Deno.listen({ transport: "unix", path }),
  close: (listener) => listener.close(),
};

/** Timers of the runtime take 31 bits of milliseconds, a bit more than 24 days. */
const MAX_TIMER = 2 ** 31 - 1;
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
  readonly #socket: ListeningSocket<Deno.Listener>;
  readonly #connections = new Members<Served>();
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
   * @throws {SocketError} When an inherited socket cannot be listened on.
   */
  constructor(options: ListenerOptions) {
    this.#options = options;
    const { address, file } = options;
    this.#socket = openSocket(address, BINDER, { file });
    this.#loop = this.#run();
  }

  /** Where it listens, with the port that the system chose. */
  get addr(): Deno.Addr {
    return this.#socket.addr;
  }

  /** The same as text: `host:port` or `unix:/path`. */
  get name(): string {
    const { addr } = this;
    if (addr.transport === "tcp") return formatHostPort(addr.hostname, addr.port);
    return addr.transport === "unix" ? `unix:${addr.path}` : addr.transport;
  }

  /**
   * Another descriptor of the socket, for a process that is to listen on it too; see
   * {@linkcode ListeningSocket.share}.
   */
  share(): number {
    return this.#socket.share();
  }

  // Accepting by hand is the only way that survives running out of descriptors: an iterator over the
  // listener ends at the first failure.
  async #run(): Promise<void> {
    const { metrics } = this.#options;
    for (;;) {
      let conn: Deno.Conn;
      try {
        conn = await this.#socket.value.accept();
      } catch (error) {
        if (this.#closed) return;
        metrics.acceptErrors++;
        if (lacksDescriptors(error)) this.#options.onExhausted?.();
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
    const { maxConnections, clients } = this.#options;
    let duplex: Duplex;
    try {
      duplex = new ConnDuplex(conn);
    } catch (error) {
      // The client has reset the connection between accepting it and here.
      log.debug("a connection failed at once", { error: describeError(error) });
      conn.close();
      return;
    }
    // One that was accepted before the end has been promised to be served.
    if (this.#connections.size >= maxConnections) {
      return void this.#refuse(duplex, "too_many_connections");
    }
    const client = clients?.enter(duplex);
    if (clients !== undefined && client === undefined) {
      return void this.#refuse(duplex, "too_many_from_client");
    }
    this.#serve(duplex, client);
  }

  /** @param client What the connection is counted as; see {@linkcode ClientLimits.enter}. */
  #serve(duplex: Duplex, client: string | undefined): void {
    const { metrics, accept, clients } = this.#options;
    const served = accept(duplex);
    const place = this.#connections.add(served);
    metrics.connectionsActive++;
    void served.serve().then(() => {
      metrics.connectionsActive--;
      this.#connections.delete(place);
      if (client !== undefined) clients!.leave(client);
      if (this.#connections.size === 0) this.#idle?.();
    });
  }

  /** There are too few descriptors: whoever waits for nothing gives way to others. */
  makeRoom(): void {
    const count = shedIdle(this.#connections.list());
    this.#options.metrics.closed("descriptors", count);
    if (count > 0) log.debug("idle connections were asked to go", { count });
  }

  async #refuse(duplex: Duplex, reason: ErrorCode): Promise<void> {
    const { metrics, busy } = this.#options;
    metrics.connectionsRefused++;
    metrics.refused(reason);
    if (busy === undefined || this.#closed || this.#refusing.size >= MAX_REFUSING) {
      duplex.close();
      return;
    }
    this.#refusing.add(duplex);
    const timer = setTimeout(() => duplex.close(), REFUSE_MS);
    try {
      await duplex.write(busy(reason));
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

  /**
   * Accepts no more. Connections that were accepted go on.
   *
   * @param passedOn Another process listens on the socket: the file of a Unix socket stays.
   */
  close(passedOn = false): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.value.close();
    this.#socket.release(passedOn);
    this.#wake?.();
    for (const duplex of this.#refusing) duplex.close();
  }

  /** Accepts no more and ends: connections finish what they have, for a while; then they are cut. */
  async shutdown({ grace, idle, passedOn }: ListenerEnd): Promise<void> {
    this.close(passedOn);
    await this.#loop;
    if (this.#connections.size === 0) return;
    const ended = new Promise<void>((resolve) => this.#idle = resolve);
    for (const connection of this.#connections.list()) connection.drain(idle);
    const timer = grace > MAX_TIMER ? undefined : setTimeout(() => {
      log.warning("the grace period is over; connections are cut", {
        addr: this.name,
        connections: this.#connections.size,
        seconds: grace / 1000,
      });
      this.#options.metrics.closed("drain_timeout", this.#connections.size);
      for (const connection of this.#connections.list()) connection.abort();
    }, grace);
    await ended;
    clearTimeout(timer);
  }
}

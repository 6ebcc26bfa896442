/**
 * The balancer's own gRPC services as one more upstream of the proxy.
 *
 * @module
 */
import type { Clock } from "../../common/clock.ts";
import { ProxyError } from "../../common/errors.ts";
import { makeMemoryPair } from "../../common/memory_duplex.ts";
import { H2Connection } from "../../http/h2/connection.ts";
import type { OwnServices } from "../l7/context.ts";
import type { MemoryServer } from "./server.ts";

/** What {@linkcode LocalServices} is made of. */
export interface LocalServicesOptions {
  /** The full names of the services. */
  readonly names: readonly string[];
  /** For the connection's deadlines. */
  readonly clock: Clock;
  /** Makes the server, when the first call comes. */
  readonly start: () => Promise<MemoryServer>;
}

/**
 * One server in the process, started by the first call for it, and one connection to it. A connection that
 * was lost is opened anew by the next call.
 */
export class LocalServices implements OwnServices {
  readonly #prefixes: readonly string[];
  readonly #clock: Clock;
  readonly #start: () => Promise<MemoryServer>;
  #server: Promise<MemoryServer> | undefined;
  #connection: H2Connection | undefined;
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #leaving = false;

  /** Makes services that nobody has called yet. */
  constructor(options: LocalServicesOptions) {
    this.#prefixes = options.names.map((name) => `/${name}/`);
    this.#clock = options.clock;
    this.#start = options.start;
  }

  claims(path: string): boolean {
    for (const prefix of this.#prefixes) if (path.startsWith(prefix)) return true;
    return false;
  }

  take(): H2Connection | undefined {
    return this.#connection?.available ? this.#connection : undefined;
  }

  /** @throws {ProxyError} `internal` when the services cannot be started or have been closed. */
  async acquire(): Promise<H2Connection> {
    for (;;) {
      const connection = this.take();
      if (connection !== undefined) return connection;
      await (this.#opening ??= this.#open().finally(() => this.#opening = undefined));
    }
  }

  async #open(): Promise<void> {
    if (this.#closing !== undefined) throw failure("the own services have been closed");
    let server: MemoryServer;
    try {
      server = await (this.#server ??= this.#start());
    } catch (error) {
      this.#server = undefined;
      throw failure("the own services did not start", error);
    }
    if (this.#leaving) server.endStreams();
    const [ours, theirs] = makeMemoryPair();
    const ready = Promise.withResolvers<void>();
    const connection = new H2Connection({
      role: "client",
      duplex: ours,
      clock: this.#clock,
      handler: { onReady: ready.resolve },
      options: { sendsGoaway: false },
    });
    server.accept(theirs);
    void connection.run().then(() => {
      if (this.#connection === connection) this.#connection = undefined;
      ready.reject(failure("the connection to the own services was lost"));
    });
    await ready.promise;
    this.#connection = connection;
  }

  /** Ends all streams with UNAVAILABLE, those that come from now on included; other calls are answered. */
  endStreams(): void {
    this.#leaving = true;
    void this.#server?.then((server) => server.endStreams(), () => {
      // Whoever asked for the server has been told.
    });
  }

  /** Ends all calls and the server. Later calls fail until the proxy that asks has ended too. */
  close(): Promise<void> {
    return this.#closing ??= this.#close().finally(() => this.#closing = undefined);
  }

  async #close(): Promise<void> {
    await this.#opening?.catch(() => {
      // Whoever asked for it has been told.
    });
    const connection = this.#connection;
    if (connection !== undefined) {
      connection.abort();
      await connection.finished;
    }
    const server = this.#server;
    this.#server = undefined;
    this.#leaving = false;
    (await server)?.close();
  }
}

function failure(message: string, cause?: unknown): ProxyError {
  return new ProxyError("internal", "internal", message, { cause });
}

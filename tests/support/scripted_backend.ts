/**
 * Backends in memory that do what a test says.
 *
 * @module
 */
import { assert } from "@std/assert";
import type { Connect } from "../../lib/backend/connector.ts";
import { formatAddress } from "../../lib/common/address.ts";
import { ProxyError } from "../../lib/common/errors.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { type Faults, FaultyDuplex } from "./faulty_duplex.ts";
import { type Message, Peer } from "./http_text.ts";

/** A connection of the balancer, as the backend sees it. */
export class BackendConnection extends Peer {
  /** The balancer's end. */
  readonly proxySide: FaultyDuplex;

  /** Made by {@linkcode ScriptedBackend}. */
  constructor(faults: Faults) {
    const [proxySide, ours] = makeMemoryPair();
    super(ours);
    this.proxySide = new FaultyDuplex(proxySide, faults);
  }

  /** Breaks the connection. */
  reset(): void {
    this.proxySide.reset();
  }

  /** Whether the balancer has closed it. */
  get closedByProxy(): boolean {
    return this.proxySide.closed;
  }

  /** The next request, which must come. */
  override async request(): Promise<Message> {
    const request = await super.request();
    assert(request !== undefined, "the balancer ended the connection without a request");
    return request;
  }

  /** Reads the next request and answers it. */
  async answer(response: string): Promise<Message> {
    const request = await this.request();
    await this.send(response);
    return request;
  }
}

/** One backend. */
export class ScriptedBackend {
  readonly #arrived: BackendConnection[] = [];
  readonly #waiting: ((connection: BackendConnection) => void)[] = [];
  #hold: Promise<void> | undefined;
  /** All connections that were opened to it. */
  readonly connections: BackendConnection[] = [];
  /** How often the balancer tried to connect. */
  dials = 0;
  /** Set to make connecting fail. */
  failure: ProxyError | undefined;
  /** How its connections behave. */
  faults: Faults = {};

  /** Opens a connection to it. */
  async connect(): Promise<FaultyDuplex> {
    this.dials++;
    await this.#hold;
    if (this.failure !== undefined) throw this.failure;
    const connection = new BackendConnection(this.faults);
    this.connections.push(connection);
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#arrived.push(connection);
    else waiting(connection);
    return connection.proxySide;
  }

  /** The next connection that was opened to it. */
  accept(): Promise<BackendConnection> {
    const arrived = this.#arrived.shift();
    if (arrived !== undefined) return Promise.resolve(arrived);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Connections that were opened and not taken by {@linkcode accept}. */
  get unaccepted(): number {
    return this.#arrived.length;
  }

  /** Lets nobody connect until the returned function is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#hold = promise;
    return () => {
      this.#hold = undefined;
      resolve();
    };
  }

  /** Refuses connections from now on. */
  refuse(): void {
    this.failure = new ProxyError("connect_refused", "upstream", "cannot connect", {
      retry: "safe",
      cause: new Deno.errors.ConnectionRefused("secret detail of the system"),
    });
  }

  /** Answers every request on every connection, at once. */
  serve(respond: (request: Message) => string): void {
    const run = async () => {
      for (;;) void this.#serveOne(await this.accept(), respond);
    };
    void run();
  }

  async #serveOne(
    connection: BackendConnection,
    respond: (request: Message) => string,
  ): Promise<void> {
    for (;;) {
      const request = await Peer.prototype.request.call(connection);
      if (request === undefined || !await connection.send(respond(request))) return;
    }
  }
}

/** What connecting comes to where this host has no `lack` left. */
export function exhaustedFor(lack: "descriptors" | "ports"): ProxyError {
  return new ProxyError("local_exhausted", "internal", `this host has no ${lack} left`, {
    retry: lack === "ports" ? "safe" : "never",
  });
}

/** Backends by their address. */
export class ScriptedBackends {
  readonly #backends = new Map<string, ScriptedBackend>();

  /** The backend at an address such as `http://a:80`; made at the first call. */
  at(addr: string): ScriptedBackend {
    let backend = this.#backends.get(addr);
    if (backend === undefined) this.#backends.set(addr, backend = new ScriptedBackend());
    return backend;
  }

  /** All backends. */
  get all(): Iterable<ScriptedBackend> {
    return this.#backends.values();
  }

  /** Connects the balancer to them. */
  readonly connect: Connect = (address) => this.at(formatAddress(address)).connect();
}

/**
 * HTTP/1.1 as raw bytes, for tests: a client and a backend that send exactly what they are given and take
 * only well-formed messages. Bytes are texts of which each character is one byte (ISO 8859-1).
 *
 * @module
 */
import { createServer, type Server, type Socket } from "node:net";
import { until } from "./net.ts";
import type { Pacer } from "./pieces.ts";
import {
  MalformedError,
  parseHead,
  parseMessage,
  type RawMessage,
  toBytes,
  toText,
  valuesOf,
} from "./raw_message.ts";

/** How long anything is waited for, in milliseconds. */
const WAIT_MS = 20_000;

/** A client that sends what it is given. It waits for nothing longer than five seconds. */
export class RawClient {
  readonly #conn: Deno.TcpConn;
  readonly #pump: Promise<void>;
  #text = "";
  #wake = Promise.withResolvers<void>();
  /** How the other side ended, if it has. */
  ended: "eof" | "reset" | undefined;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
    conn.setNoDelay(true);
    this.#pump = this.#receive();
  }

  /** Connects to a port on loopback. */
  static async connect(port: number): Promise<RawClient> {
    return new RawClient(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  async #receive(): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    while (this.ended === undefined) {
      try {
        const count = await this.#conn.read(buffer);
        if (count === null) this.ended = "eof";
        else this.#text += toText(buffer.subarray(0, count));
      } catch {
        // Reset by the peer, or closed by this test: nothing more can come in either case.
        this.ended = "reset";
      }
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    }
  }

  /** What has come and not been taken. */
  get unread(): string {
    return this.#text;
  }

  /** Sends bytes in one write; `false` when the other side does not take them any more. */
  async send(text: string): Promise<boolean> {
    const bytes = toBytes(text);
    try {
      for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
      return true;
    } catch {
      // A client that is refused finds the connection closed under it; the answer tells why.
      return false;
    }
  }

  /** Sends pieces in one write each, so that they are read one by one, until the other side ends. */
  async sendPieces(pieces: readonly string[], pacer: Pacer): Promise<void> {
    for (const piece of pieces) {
      if (this.ended !== undefined || !await this.send(piece)) return;
      if (pieces.length > 1) await pacer.next();
    }
  }

  /** Ends the writing side: nothing more will be sent, reading goes on. */
  async end(): Promise<void> {
    try {
      await this.#conn.closeWrite();
    } catch {
      // The other side has closed already, so it needs no telling.
    }
  }

  /** The next response, interim ones included. */
  async response(method = "GET"): Promise<RawMessage> {
    let found: ReturnType<typeof parseMessage>;
    await this.#until(() => {
      const ended = this.ended !== undefined;
      found = parseMessage(this.#text, { type: "response", method, ended: this.ended === "eof" });
      return found !== undefined || ended;
    }, "a response");
    if (found === undefined) {
      throw new Error(
        `the connection ended (${this.ended}) instead of a response, after ${
          JSON.stringify(this.#text.slice(0, 300))
        }`,
      );
    }
    this.#text = this.#text.slice(found.end);
    return found.message;
  }

  /** All that still comes until the other side ends. */
  async rest(): Promise<string> {
    await this.#until(() => this.ended !== undefined, "the end of the connection");
    const text = this.#text;
    this.#text = "";
    return text;
  }

  async #until(condition: () => boolean, what: string): Promise<void> {
    const late = Promise.withResolvers<void>();
    let expired = false;
    const timer = setTimeout(() => {
      expired = true;
      late.resolve();
    }, WAIT_MS);
    try {
      while (!condition()) {
        if (expired) {
          throw new Error(
            `waited ${WAIT_MS} ms for ${what}; there was ${
              JSON.stringify(this.#text.slice(0, 300))
            }`,
          );
        }
        await Promise.race([this.#wake.promise, late.promise]);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Frees the socket. */
  async close(): Promise<void> {
    this.#conn.close();
    await this.#pump;
  }
}

/** One connection to a {@linkcode RawBackend}. */
export class BackendConnection {
  readonly #socket: Socket;
  /** Counts the connections of its backend, from 1. */
  readonly id: number;

  /** Made by the backend. */
  constructor(socket: Socket, id: number) {
    this.#socket = socket;
    this.id = id;
  }

  /** Sends bytes in one write. */
  async send(text: string): Promise<void> {
    if (this.#socket.destroyed) return;
    await new Promise<void>((resolve) => this.#socket.write(toBytes(text), () => resolve()));
  }

  /** Sends pieces in one write each, so that they are read one by one. */
  async sendPieces(pieces: readonly string[], pacer: Pacer): Promise<void> {
    for (const piece of pieces) {
      await this.send(piece);
      if (pieces.length > 1) await pacer.next();
    }
  }

  /** Closes the connection in order (FIN), after what has been sent. */
  close(): void {
    this.#socket.end();
    this.#socket.destroySoon();
  }

  /** Resets the connection (RST). */
  reset(): void {
    this.#socket.resetAndDestroy();
  }
}

/** A request as it reached a backend. */
export interface SeenRequest extends RawMessage {
  /** The connection that it came on. */
  readonly connection: number;
}

/** What a backend does. */
export interface RawBackendOptions {
  /** Answers a request that has come as a whole. The next one on its connection waits for that. */
  respond(request: SeenRequest, connection: BackendConnection): Promise<void> | void;
  /** Told of a head before its body; by default asks for the body of a client that expects that. */
  onHead?(
    head: Pick<SeenRequest, "startLine" | "fields">,
    connection: BackendConnection,
  ): Promise<void> | void;
}

async function sendContinue(
  head: Pick<SeenRequest, "fields">,
  connection: BackendConnection,
): Promise<void> {
  if (valuesOf(head, "expect").includes("100-continue")) {
    await connection.send("HTTP/1.1 100 Continue\r\n\r\n");
  }
}

/** A backend that records each byte it gets and sends what it is told to. */
export class RawBackend {
  readonly #server: Server;
  readonly #options: RawBackendOptions;
  readonly #sockets = new Map<number, Socket>();
  readonly #loops = new Set<Promise<void>>();
  readonly #failures: unknown[] = [];
  #opened = 0;
  /** Connections in the middle of a request. */
  readonly #midway = new Set<number>();
  /** Whole requests, in the order of their ends. */
  requests: SeenRequest[] = [];
  /** What came of requests that never became whole. */
  unfinished: string[] = [];
  /** Why bytes that came are no requests. */
  malformed: string[] = [];

  private constructor(server: Server, options: RawBackendOptions) {
    this.#server = server;
    this.#options = options;
    server.on("connection", (socket: Socket) => {
      // The loop over the socket meets the same error; without a listener it would end the process, too.
      socket.on("error", () => {});
      const loop = this.#serve(socket, ++this.#opened).finally(() => this.#loops.delete(loop));
      this.#loops.add(loop);
    });
  }

  /** Listens on a free port of loopback. */
  static async listen(options: RawBackendOptions): Promise<RawBackend> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    const backend = new RawBackend(server, options);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return backend;
  }

  /** Where it listens. */
  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** The same as `host:port`. */
  get addr(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The ids of the connections that are open. */
  get open(): number[] {
    return [...this.#sockets.keys()];
  }

  /** Waits until no connection is in the middle of a request. */
  async settled(): Promise<void> {
    await until(() => this.#midway.size === 0, "the backend's requests to end");
  }

  /** Waits until a connection is closed by its other side. */
  async gone(connection: number): Promise<void> {
    await until(() => !this.#sockets.has(connection), `backend connection ${connection} to end`);
  }

  /** Forgets what was recorded. */
  forget(): void {
    this.requests = [];
    this.unfinished = [];
    this.malformed = [];
  }

  async #serve(socket: Socket, id: number): Promise<void> {
    this.#sockets.set(id, socket);
    const connection = new BackendConnection(socket, id);
    let text = "";
    let headSeen = false;
    try {
      for await (const chunk of socket) {
        text += toText(chunk);
        this.#midway.add(id);
        while (text !== "") {
          const head = headSeen ? undefined : parseHead(text, "request");
          if (head !== undefined) {
            headSeen = true;
            await this.#call(() => (this.#options.onHead ?? sendContinue)(head, connection));
          }
          const found = headSeen ? parseMessage(text, { type: "request" }) : undefined;
          if (found === undefined) break;
          text = text.slice(found.end);
          headSeen = false;
          const request = { ...found.message, connection: id };
          this.requests.push(request);
          this.#midway.delete(id);
          await this.#call(() => this.#options.respond(request, connection));
        }
      }
    } catch (error) {
      // A connection that the proxy aborts is one of the things that tests ask about.
      if (error instanceof MalformedError) this.malformed.push(error.message);
    } finally {
      if (text !== "") this.unfinished.push(text);
      this.#midway.delete(id);
      socket.destroy();
      this.#sockets.delete(id);
    }
  }

  async #call(handler: () => Promise<void> | void): Promise<void> {
    try {
      await handler();
    } catch (error) {
      this.#failures.push(error);
    }
  }

  /** Closes the listener and all connections; throws what a handler has thrown. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets.values()) socket.destroy();
    await Promise.all(this.#loops);
    await closed;
    if (this.#failures.length > 0) throw this.#failures[0];
  }
}

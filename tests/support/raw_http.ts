/**
 * HTTP/1.1 as raw bytes, for tests: a client and a backend that send exactly what they are given, and a
 * parser of what comes back that takes only the one form in which a proxy should write a message. None
 * of it uses the code under test.
 *
 * Bytes are texts of which each character is one byte (ISO 8859-1).
 *
 * @module
 */
import { createServer, type Server, type Socket } from "node:net";
import { until } from "./net.ts";
import type { Pacer } from "./pieces.ts";

/** How long anything is waited for, in milliseconds. */
const WAIT_MS = 5_000;

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const REQUEST_LINE = new RegExp(`^${TOKEN} [!-~]+ HTTP/1\\.1$`);
const STATUS_LINE = /^HTTP\/1\.1 [1-5]\d\d [\t -~\x80-\xff]*$/;
/** `name: value`, one space, nothing around the value; only such lines are written by a proxy with care. */
const FIELD_LINE = new RegExp(
  `^${TOKEN}: (?:[!-~\\x80-\\xff](?:[\\t -~\\x80-\\xff]*[!-~\\x80-\\xff])?)?$`,
);
const CHUNK_SIZE = /^(?:0|[1-9a-f][0-9a-f]*)$/;

/** Bytes came that are no message, or not one in the form that a proxy should write. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
}

/** A message, taken apart. */
export interface RawMessage {
  /** Request line or status line. */
  readonly startLine: string;
  /** Field lines as they came, in their order. */
  readonly fields: readonly string[];
  /** How the end of the body was found. */
  readonly framing: "none" | "length" | "chunked" | "close";
  /** The content, without chunk framing. */
  readonly body: string;
  /** Trailer field lines. */
  readonly trailers: readonly string[];
}

/** All values of a field, by its name in lower case. */
export function valuesOf(message: Pick<RawMessage, "fields">, name: string): string[] {
  return message.fields.filter((line) => line.toLowerCase().startsWith(`${name}: `))
    .map((line) => line.slice(name.length + 2));
}

/** The status code of a response. */
export function statusOf(response: RawMessage): number {
  return Number(response.startLine.slice(9, 12));
}

/** What {@linkcode parseMessage} has to know of a message. */
export type MessageKind =
  | { readonly type: "request" }
  | {
    readonly type: "response";
    /** The method of the request, for HEAD has no body. */
    readonly method: string;
    /** Whether the connection has ended, which ends a body without framing. */
    readonly ended: boolean;
  };

function check(good: boolean, what: string, text: string): void {
  if (!good) throw new MalformedError(`${what}: ${JSON.stringify(text.slice(0, 200))}`);
}

/** Start line and field lines, and the index behind the head. */
interface Head {
  readonly startLine: string;
  readonly fields: readonly string[];
  readonly end: number;
}

function parseHead(text: string, kind: MessageKind["type"]): Head | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [startLine, ...fields] = text.slice(0, end).split("\r\n");
  const pattern = kind === "request" ? REQUEST_LINE : STATUS_LINE;
  check(pattern.test(startLine!), `no ${kind} line`, startLine!);
  for (const line of fields) check(FIELD_LINE.test(line), "no field line", line);
  return { startLine: startLine!, fields, end: end + 4 };
}

function framingOf(head: Head, kind: MessageKind): "none" | "chunked" | "close" | number {
  const codings = valuesOf(head, "transfer-encoding");
  const lengths = valuesOf(head, "content-length");
  check(codings.length + lengths.length < 2, "framed more than once", head.fields.join(" | "));
  for (const coding of codings) check(coding === "chunked", "unknown transfer coding", coding);
  for (const length of lengths) check(/^(?:0|[1-9]\d*)$/.test(length), "no length", length);
  if (kind.type === "response") {
    const status = Number(head.startLine.slice(9, 12));
    if (kind.method === "HEAD" || status < 200 || status === 204 || status === 304) return "none";
  }
  if (codings.length === 1) return "chunked";
  if (lengths.length === 1) return Number(lengths[0]);
  return kind.type === "request" ? "none" : "close";
}

/** Content, trailers and the index behind the body, or `undefined` while it is not complete. */
function parseChunked(text: string, start: number) {
  let body = "";
  for (let at = start;;) {
    const line = text.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = text.slice(at, line);
    check(CHUNK_SIZE.test(size), "no chunk size", size);
    at = line + 2;
    if (size === "0") {
      const trailers: string[] = [];
      for (;;) {
        const end = text.indexOf("\r\n", at);
        if (end < 0) return undefined;
        if (end === at) return { body, trailers, end: at + 2 };
        trailers.push(text.slice(at, end));
        check(FIELD_LINE.test(trailers.at(-1)!), "no trailer line", trailers.at(-1)!);
        at = end + 2;
      }
    }
    const end = at + parseInt(size, 16);
    if (text.length < end + 2) return undefined;
    check(text.startsWith("\r\n", end), "no CRLF behind a chunk", text.slice(end));
    body += text.slice(at, end);
    at = end + 2;
  }
}

/**
 * Parses the message that `text` begins with.
 *
 * @returns The message and the index behind it, or `undefined` while it is not complete.
 * @throws {MalformedError} When it is not in the one accepted form.
 */
export function parseMessage(
  text: string,
  kind: MessageKind,
): { readonly message: RawMessage; readonly end: number } | undefined {
  const head = parseHead(text, kind.type);
  if (head === undefined) return undefined;
  const { startLine, fields } = head;
  const framing = framingOf(head, kind);
  if (framing === "chunked") {
    const parsed = parseChunked(text, head.end);
    if (parsed === undefined) return undefined;
    const { body, trailers, end } = parsed;
    return { message: { startLine, fields, framing, body, trailers }, end };
  }
  if (framing === "close" && kind.type === "response" && !kind.ended) return undefined;
  const end = framing === "close" ? text.length : head.end + (framing === "none" ? 0 : framing);
  if (text.length < end) return undefined;
  const body = text.slice(head.end, end);
  const named = typeof framing === "number" ? "length" : framing;
  return { message: { startLine, fields, framing: named, body, trailers: [] }, end };
}

/** The bytes of a text. */
export function toBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** The text of bytes. */
export function toText(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}

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
            await (this.#options.onHead ?? sendContinue)(head, connection);
          }
          const found = headSeen ? parseMessage(text, { type: "request" }) : undefined;
          if (found === undefined) break;
          text = text.slice(found.end);
          headSeen = false;
          const request = { ...found.message, connection: id };
          this.requests.push(request);
          this.#midway.delete(id);
          await this.#options.respond(request, connection);
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

  /** Closes the listener and all connections. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets.values()) socket.destroy();
    await Promise.all(this.#loops);
    await closed;
  }
}

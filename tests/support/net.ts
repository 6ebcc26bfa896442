/**
 * Real sockets for tests: balancers, backends that follow a script, and clients that send and read
 * bytes as they are. Everything is freed by `await using`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createServer, type Server as NetServer, Socket } from "node:net";
import { assert, assertEquals } from "@std/assert";
import { HttpL4, HttpL7, Mux, TcpL4 } from "../../mod.ts";
import type {
  HttpL7Options,
  LoadBalancer,
  LoadBalancerOptions,
  MuxOptions,
  Server,
} from "../../mod.ts";

const encoder = new TextEncoder();

/** Bytes of a text in which every character is one byte. */
export function latin1(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 255) throw new TypeError(`character ${i + 1} of the text is no byte`);
    bytes[i] = code;
  }
  return bytes;
}

/** The text in which every byte is a character: `TextDecoder` knows windows-1252 only. */
export function fromLatin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/** Waits. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Milliseconds between two looks. */
const STEP_MS = 5;

/**
 * Waits until something holds, and fails with `what` when it does not in time. Time in which this process gets nothing to
 * run is not counted: a machine that is busy with something else is no failure.
 */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => string),
  ms = 10_000,
): Promise<void> {
  for (let left = ms; !await holds(); left -= STEP_MS) {
    if (left <= 0) {
      throw new Error(`not within ${ms} ms: ${typeof what === "string" ? what : what()}`);
    }
    await delay(STEP_MS);
  }
}

/** Fails when a promise takes longer than `ms`, counted as {@linkcode until} does. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setInterval> | undefined;
  const late = new Promise<never>((_, reject) => {
    let left = ms;
    timer = setInterval(() => {
      left -= STEP_MS;
      if (left <= 0) reject(new Error(`${what}: not within ${ms} ms`));
    }, STEP_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearInterval(timer);
  }
}

/** Whether the system tells how many descriptors a process has. */
export const COUNTS_DESCRIPTORS: boolean = Deno.build.os === "linux";

/** Open descriptors of this process. */
export function descriptorCount(): number {
  // The descriptor that reads the folder is among those that it lists.
  return [...Deno.readDirSync("/proc/self/fd")].length - 1;
}

/** Waits until this process has no more descriptors than it had. */
export async function descriptorsBackTo(count: number): Promise<void> {
  if (!COUNTS_DESCRIPTORS) return;
  await until(
    () => descriptorCount() <= count,
    () => `${descriptorCount()} descriptors are open, ${count} were before`,
  );
}

/** How a connection ended: in order, by a reset, or because this side closed it. */
export type End = "eof" | "reset" | "closed";

/** The connection ended where more was due. */
export class Cut extends Error {
  /** How. */
  readonly end: End;
  /** What had come. */
  readonly received: Uint8Array;

  constructor(end: End, received: Uint8Array) {
    super(`the connection ended (${end}) inside a message, behind ${received.length} bytes`);
    this.end = end;
    this.received = received;
  }
}

/** An HTTP/1.1 response as it came. */
export interface Answer {
  readonly status: number;
  /** Status line and fields, without the empty line. */
  readonly head: string;
  readonly headers: Headers;
  readonly body: Uint8Array;
  /** The body, each byte a character. */
  readonly text: string;
  /** The lines of a chunked body's trailer section. */
  readonly trailers: readonly string[];
}

/** One end of a TCP connection that does what it is told and nothing else. */
export class Peer implements AsyncDisposable {
  /** The socket, for what the methods do not cover. */
  readonly socket: Socket;
  #buffer: Uint8Array = new Uint8Array(0);
  #end: End | undefined;
  #wake: (() => void) | undefined;
  readonly #closed = Promise.withResolvers<void>();

  /** Takes a connected socket over; nothing is read until it is asked for. */
  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.pause();
    socket.on("data", (chunk: Uint8Array) => {
      socket.pause();
      this.#buffer = concat(this.#buffer, chunk);
      this.#wake?.();
    });
    socket.on("end", () => this.#finish("eof"));
    socket.on("error", () => this.#finish("reset"));
    socket.on("close", () => {
      this.#finish("closed");
      this.#closed.resolve();
    });
  }

  /** Connects to a listener. */
  static connect(addr: Deno.Addr | number): Promise<Peer> {
    const where = typeof addr === "number"
      ? { host: "127.0.0.1", port: addr }
      : addr.transport === "unix"
      ? { path: addr.path }
      : { host: (addr as Deno.NetAddr).hostname, port: (addr as Deno.NetAddr).port };
    const socket = new Socket({ allowHalfOpen: true });
    return new Promise((resolve, reject) => {
      socket.once("error", reject);
      socket.connect(where as { port: number }, () => {
        socket.removeListener("error", reject);
        resolve(new Peer(socket));
      });
    });
  }

  #finish(end: End): void {
    this.#end ??= end;
    this.#wake?.();
  }

  /** How the other side ended the connection, if it has and that has been read. */
  get ended(): End | undefined {
    return this.#end;
  }

  /** Bytes that have been read and not been taken. */
  get pending(): number {
    return this.#buffer.length;
  }

  /** Reads once; `false` at the end. Only one may read at a time. */
  async fill(): Promise<boolean> {
    if (this.#wake !== undefined) throw new Error("somebody else reads from this connection");
    if (this.#end !== undefined) return false;
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#buffer.length;
    this.#wake = resolve;
    this.socket.resume();
    await promise;
    this.#wake = undefined;
    return this.#buffer.length > before;
  }

  /** Sends bytes; resolves when the system has taken them, or the connection has failed. */
  write(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === "string" ? latin1(data) : data;
    return new Promise((resolve) => {
      if (this.socket.destroyed) return resolve();
      this.socket.once("close", resolve);
      this.socket.write(bytes, () => {
        this.socket.removeListener("close", resolve);
        resolve();
      });
    });
  }

  #take(count: number): Uint8Array {
    const taken = this.#buffer.slice(0, count);
    this.#buffer = this.#buffer.slice(count);
    return taken;
  }

  /** Reads up to and including `mark`. */
  async readThrough(mark: string): Promise<string> {
    for (;;) {
      const text = fromLatin1(this.#buffer);
      const at = text.indexOf(mark);
      if (at >= 0) {
        this.#take(at + mark.length);
        return text.slice(0, at + mark.length);
      }
      if (!await this.fill()) throw new Cut(this.#end!, this.#buffer);
    }
  }

  /** Reads a head; the empty line is left out. */
  async head(): Promise<string> {
    return (await this.readThrough("\r\n\r\n")).slice(0, -4);
  }

  /** Reads so many bytes. */
  async read(count: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let missing = count;
    for (;;) {
      const part = this.#take(Math.min(missing, this.#buffer.length));
      parts.push(part);
      missing -= part.length;
      if (missing === 0) return concat(...parts);
      if (!await this.fill()) throw new Cut(this.#end!, concat(...parts));
    }
  }

  /** Reads to the end. */
  async rest(): Promise<{ readonly bytes: Uint8Array; readonly text: string; readonly end: End }> {
    const parts = [this.#take(this.#buffer.length)];
    while (await this.fill()) parts.push(this.#take(this.#buffer.length));
    const bytes = concat(...parts);
    return { bytes, text: fromLatin1(bytes), end: this.#end! };
  }

  /**
   * Reads one response.
   *
   * @param noBody The request was HEAD.
   * @throws {Cut} When the connection ends inside it.
   */
  async answer(noBody = false): Promise<Answer> {
    const head = await this.head();
    const [line, ...lines] = head.split("\r\n");
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(line!)?.[1]);
    assert(status > 0, `no status line: ${line}`);
    const headers = new Headers();
    for (const field of lines) {
      const colon = field.indexOf(":");
      headers.append(field.slice(0, colon), field.slice(colon + 1));
    }
    const trailers: string[] = [];
    let body: Uint8Array = new Uint8Array(0);
    const length = headers.get("content-length");
    if (!noBody && status >= 200 && status !== 204 && status !== 304) {
      if (headers.get("transfer-encoding") === "chunked") body = await this.#chunks(trailers);
      else if (length !== null) body = await this.read(Number(length));
      else body = (await this.rest()).bytes;
    }
    return { status, head, headers, body, text: fromLatin1(body), trailers };
  }

  async #chunks(trailers: string[]): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (;;) {
      const line = await this.readThrough("\r\n");
      const size = parseInt(line, 16);
      assert(size >= 0, `no chunk size: ${JSON.stringify(line)}`);
      if (size === 0) break;
      parts.push(await this.read(size));
      assertEquals(await this.readThrough("\r\n"), "\r\n");
    }
    for (;;) {
      const line = await this.readThrough("\r\n");
      if (line === "\r\n") return concat(...parts);
      trailers.push(line.slice(0, -2));
    }
  }

  /** Sends a request and reads its response. */
  async ask(request: string, noBody = false): Promise<Answer> {
    await this.write(request);
    return await this.answer(noBody);
  }

  /** `GET` on a connection that stays open. */
  get(path: string, fields = ""): Promise<Answer> {
    return this.ask(`GET ${path} HTTP/1.1\r\nHost: lb.test\r\n${fields}\r\n`);
  }

  /** Closes this direction only. */
  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.destroyed) return resolve();
      this.socket.once("close", resolve);
      this.socket.end(resolve);
    });
  }

  /** Ends the connection with a reset. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  /** Resolves when the socket is gone. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Frees the socket. */
  async close(): Promise<void> {
    this.socket.destroy();
    await this.#closed.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Joins byte arrays. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** A server that does with each connection what its script says. */
export interface Scripted extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly addr: string;
  readonly port: number;
  /** All connections that came, in order. */
  readonly peers: readonly Peer[];
}

/**
 * Serves connections by a script. Where the script ends, the connection is closed in order. A script
 * that fails because its client has gone has done its part; any other failure is thrown when the server
 * is freed.
 */
export async function serveScript(
  script: (peer: Peer, index: number) => void | Promise<void>,
  listen: { readonly path: string } | { readonly host: string; readonly port?: number } = {
    host: "127.0.0.1",
  },
): Promise<Scripted> {
  const peers: Peer[] = [];
  const failures: unknown[] = [];
  const running: Promise<void>[] = [];
  const follow = async (peer: Peer, index: number) => {
    try {
      await script(peer, index);
      await peer.end();
      await peer.rest();
    } catch (error) {
      if (!(error instanceof Cut)) failures.push(error);
    }
    await peer.close();
  };
  const server: NetServer = createServer({ allowHalfOpen: true }, (socket) => {
    const peer = new Peer(socket as unknown as Socket);
    peers.push(peer);
    running.push(follow(peer, peers.length - 1));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: 0, ...listen }, resolve);
  });
  const where = server.address();
  const port = typeof where === "object" && where !== null ? where.port : 0;
  return {
    addr: typeof where === "object" && where !== null
      ? where.address.includes(":") ? `[${where.address}]:${port}` : `${where.address}:${port}`
      : `unix:${where}`,
    port,
    peers,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      await Promise.all(peers.map((peer) => peer.close()));
      await Promise.all(running);
      await closed;
      if (failures.length > 0) throw failures[0];
    },
  };
}

/** An HTTP backend of the runtime. */
export interface HttpBackend extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly addr: string;
  /** How many requests it has been asked. */
  readonly requests: number;
}

/** Serves HTTP with `Deno.serve`. */
export function serveHttp(
  handler: (request: Request, info: Deno.ServeHandlerInfo) => Response | Promise<Response>,
  options: { readonly hostname?: string } = {},
): HttpBackend {
  let requests = 0;
  const stop = new AbortController();
  const { hostname = "127.0.0.1" } = options;
  const server = Deno.serve(
    { hostname, port: 0, signal: stop.signal, onListen() {} },
    (request, info) => {
      requests++;
      return handler(request, info);
    },
  );
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  return {
    addr: `${host}:${server.addr.port}`,
    get requests() {
      return requests;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await server.finished;
    },
  };
}

/** A backend that answers every request with its name. */
export function serveName(name: string): HttpBackend {
  return serveHttp(async (request) => {
    await request.body?.cancel();
    return new Response(name);
  });
}

/** A balancer that listens. */
export interface Running<T> extends AsyncDisposable {
  readonly lb: T;
  readonly server: Server;
  readonly addr: Deno.Addr;
  /** `http://127.0.0.1:port` */
  readonly origin: string;
}

/** How long a balancer of a test waits at its end for connections that the test left open. */
const SHUTDOWN_MS = 2000;

/** Lets a balancer listen until it is freed. */
export async function run<T extends LoadBalancer>(
  lb: T,
  address = "127.0.0.1:0",
): Promise<Running<T>> {
  const server = await lb.start(address);
  const { addr } = server;
  const origin = addr.transport === "tcp"
    ? `http://${addr.hostname.includes(":") ? `[${addr.hostname}]` : addr.hostname}:${addr.port}`
    : "";
  return {
    lb,
    server,
    addr,
    origin,
    async [Symbol.asyncDispose]() {
      await server.shutdown();
    },
  };
}

/** A balancer at layer 7 that listens. */
export function runL7(options: HttpL7Options = {}): Promise<Running<HttpL7>> {
  return run(new HttpL7(briefly(options)));
}

/** A balancer at HTTP layer 4 that listens. */
export function runL4(options: LoadBalancerOptions = {}): Promise<Running<HttpL4>> {
  return run(new HttpL4(briefly(options)));
}

/** A balancer for HTTP and gRPC that listens. */
export function runMux(options: MuxOptions = {}): Promise<Running<Mux>> {
  return run(new Mux(briefly(options)));
}

/** A TCP balancer that listens. */
export function runTcp(options: LoadBalancerOptions = {}): Promise<Running<TcpL4>> {
  return run(new TcpL4(briefly(options)));
}

function briefly<T extends LoadBalancerOptions>(options: T): T {
  return { ...options, timeouts: { shutdown: SHUTDOWN_MS, ...options.timeouts } };
}

/** Waits until no backend has anything in flight and no connection to one is in use. */
export async function settled(lb: LoadBalancer): Promise<void> {
  const busy = () =>
    lb.backends().filter(({ in_flight, connections }) =>
      in_flight !== 0 || connections.active !== 0
    );
  await until(() => busy().length === 0, () => `busy: ${JSON.stringify(busy())}`);
}

/** UTF-8 bytes of a text. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

/**
 * One end of an HTTP/2 connection over TCP that the test speaks frame by frame. It has no states and no rules
 * of its own: it sends any bytes, and notes what comes. So it can misbehave, and what it sees is not what
 * our engine makes of it.
 *
 * @module
 */
import { Decoder } from "../../lib/http/h2/hpack/decoder.ts";
import { FRAME_HEADER_SIZE, FrameType, readUint31, readUint32 } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { DONE, type Fields, OK, readFields } from "./h2_peer.ts";
import { concat, type Frame, frame, headers, settings, windowUpdate } from "./h2_raw.ts";
import { listOf } from "./hpack.ts";
import { within } from "./net.ts";

const ACK = 1;
const END_STREAM = 1;
const END_HEADERS = 4;
const PADDED = 8;
const PRIORITY = 0x20;

/** What has come on one stream. */
export class WireStream {
  /** Sections of fields in order: heads, and trailers as the last if there were any. */
  readonly sections: [string, string][][] = [];
  /** Content, padding left out. */
  readonly chunks: Uint8Array[] = [];
  /** Bytes of content. */
  received = 0;
  /** Whether END_STREAM came. */
  ended = false;
  /** The code of RST_STREAM, if it came. */
  reset: number | undefined;
  /** What the other side lets us send beside what it lets all streams send at first. */
  granted = 0;

  /** Whether nothing more will come. */
  get over(): boolean {
    return this.ended || this.reset !== undefined;
  }

  /** The last value of a field in any section. */
  value(name: string): string | undefined {
    return this.sections.flat().findLast(([key]) => key === name)?.[1];
  }

  /** The content as text of one character a byte. */
  get text(): string {
    return new TextDecoder("latin1").decode(concat(...this.chunks));
  }
}

/** What GOAWAY said. */
export interface Farewell {
  readonly lastId: number;
  readonly code: number;
  readonly debug: string;
}

/** What a {@linkcode Wire} does of its own accord. */
export interface WireOptions {
  /** Entries of the SETTINGS that it sends first. */
  readonly settings?: readonly (readonly [id: number, value: number])[];
  /** Whether SETTINGS and PING are acknowledged. Default true. */
  readonly acknowledges?: boolean;
  /** Whether content is granted again as it comes. Default true. */
  readonly grants?: boolean;
  /** Whether anything is read. Default true. */
  readonly reads?: boolean;
}

/** How long anything may take that a test waits for, in milliseconds. */
const PATIENCE = 5_000;

/** One end of a connection. */
export class Wire implements AsyncDisposable {
  /** Every frame that came. */
  readonly frames: Frame[] = [];
  /** Every GOAWAY. */
  readonly farewells: Farewell[] = [];
  /** How many bytes the system has taken. */
  sent = 0;
  /** Whether the other side has ended the connection. */
  ended = false;
  /** Whether SETTINGS of the other side have come. */
  greeted = false;
  /** Called after each frame, with what it was. */
  onFrame: ((frame: Frame, wire: Wire) => void) | undefined;
  readonly #conn: Deno.Conn;
  readonly #options: WireOptions;
  readonly #decoder = new Decoder();
  readonly #streams = new Map<number, WireStream>();
  readonly #waiters = new Set<() => void>();
  readonly #reading: Promise<void>;
  #sending: Promise<void> = Promise.resolve();
  #buffer: Uint8Array = new Uint8Array(0);
  #fragments: Uint8Array[] = [];
  #preface: number;
  /** What the other side lets us send: on the connection, and on each stream at first. */
  #window = 65_535;
  #initialWindow = 65_535;
  #closed = false;
  #mayRead: Promise<void> | undefined;
  #startReading: (() => void) | undefined;

  private constructor(conn: Deno.Conn, preface: number, options: WireOptions) {
    this.#conn = conn;
    this.#options = options;
    this.#preface = preface;
    if (options.reads === false) {
      this.#mayRead = new Promise((resolve) => this.#startReading = resolve);
    }
    if (conn.remoteAddr.transport === "tcp") (conn as Deno.TcpConn).setNoDelay(true);
    this.#reading = this.#read();
  }

  /** Connects as a client and sends nothing. */
  static async connect(addr: Deno.Addr, options: WireOptions = {}): Promise<Wire> {
    const { hostname, port } = addr as Deno.NetAddr;
    return new Wire(await Deno.connect({ hostname, port }), 0, options);
  }

  /** Connects as a client and greets; resolves when the server has greeted too. */
  static async open(addr: Deno.Addr, options: WireOptions = {}): Promise<Wire> {
    const wire = await Wire.connect(addr, options);
    await wire.send(CLIENT_PREFACE, settings(...options.settings ?? []));
    if (options.reads !== false) await wire.until(() => wire.greeted, "the server's SETTINGS");
    return wire;
  }

  /** Takes over a connection that was accepted, and greets. */
  static serve(conn: Deno.Conn, options: WireOptions = {}): Wire {
    const wire = new Wire(conn, CLIENT_PREFACE.length, options);
    void wire.send(settings(...options.settings ?? []));
    return wire;
  }

  /** What has come on a stream. */
  stream(id: number): WireStream {
    let stream = this.#streams.get(id);
    if (stream === undefined) this.#streams.set(id, stream = new WireStream());
    return stream;
  }

  /** The streams on which anything has come. */
  get streams(): ReadonlyMap<number, WireStream> {
    return this.#streams;
  }

  /** The last GOAWAY. */
  get farewell(): Farewell | undefined {
    return this.farewells.at(-1);
  }

  /** How many frames of a type came, acknowledgements apart. */
  count(type: number, flags = 0): number {
    return this.frames.filter((one) => one.type === type && (one.flags & ACK) === flags).length;
  }

  /** Sends bytes behind what is being sent; resolves when the system has taken them, or nobody will. */
  send(...parts: readonly Uint8Array[]): Promise<void> {
    const bytes = concat(...parts);
    return this.#sending = this.#sending.then(() => this.#write(bytes));
  }

  async #write(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length;) {
        const count = await this.#conn.write(bytes.subarray(at));
        this.sent += count;
        at += count;
      }
    } catch {
      // The other side ended the connection; the test looks at that.
    }
  }

  /** Sends content as the windows open; `false` if the stream or the connection ended before. */
  async content(id: number, bytes: Uint8Array, end = false): Promise<boolean> {
    const stream = this.stream(id);
    const allowed = () => Math.min(this.#window, this.#initialWindow + stream.granted, 16_384);
    const gone = () => stream.reset !== undefined || this.ended;
    for (let at = 0; at < bytes.length;) {
      await this.#await(() => allowed() > 0 || gone());
      if (gone()) return false;
      const count = Math.min(allowed(), bytes.length - at);
      this.#window -= count;
      stream.granted -= count;
      const last = end && at + count === bytes.length;
      void this.send(frame(FrameType.Data, last ? 1 : 0, id, bytes.subarray(at, at += count)));
    }
    return true;
  }

  /** Sends the end of our side. */
  async end(): Promise<void> {
    await this.#sending;
    try {
      await this.#conn.closeWrite();
    } catch {
      // The connection is gone already.
    }
  }

  /** Begins to read, where it was made without. */
  read(): void {
    this.#mayRead = undefined;
    this.#startReading?.();
  }

  /** Waits until something holds; looks again whenever something has come. */
  async until(holds: () => boolean, what: string): Promise<void> {
    if (holds()) return;
    try {
      await within(PATIENCE, what, this.#await(holds));
    } catch (error) {
      throw new Error(`${(error as Error).message}; what came: ${this.describe()}`);
    }
  }

  async #await(holds: () => boolean): Promise<void> {
    if (holds()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => {
      if (holds()) resolve();
    };
    this.#waiters.add(look);
    await promise;
    this.#waiters.delete(look);
  }

  /** Waits until nothing more will come on a stream. */
  async over(id: number): Promise<WireStream> {
    await this.until(() => this.stream(id).over || this.ended, `the end of stream ${id}`);
    return this.stream(id);
  }

  /** Waits for an acknowledged PING: all that was sent before has been handled. */
  async settle(): Promise<void> {
    const before = this.count(FrameType.Ping, ACK);
    await this.send(frame(FrameType.Ping, 0, 0, new Uint8Array(8)));
    await this.until(
      () => this.count(FrameType.Ping, ACK) > before || this.ended,
      "the answer to PING",
    );
  }

  /** What came last, for messages. */
  describe(): string {
    const last = this.frames.slice(-12).map(({ type, flags, id, payload }) =>
      `${type}/${flags.toString(16)}#${id}(${payload.length})`
    );
    return `${this.frames.length} frames, ${last.join(" ")}${this.ended ? ", the end" : ""}`;
  }

  async #read(): Promise<void> {
    const into = new Uint8Array(65_536);
    for (;;) {
      if (this.#mayRead !== undefined) await this.#mayRead;
      const count = await this.#receive(into);
      if (count === null) break;
      this.#buffer = concat(this.#buffer, into.subarray(0, count));
      this.#split();
      for (const look of [...this.#waiters]) look();
    }
    this.ended = true;
    for (const look of [...this.#waiters]) look();
  }

  async #receive(into: Uint8Array): Promise<number | null> {
    try {
      return await this.#conn.read(into);
    } catch {
      // A reset, or we closed the connection: an end like any other.
      return null;
    }
  }

  #split(): void {
    let at = Math.min(this.#preface, this.#buffer.length);
    this.#preface -= at;
    while (this.#preface === 0) {
      const bytes = this.#buffer;
      if (bytes.length - at < FRAME_HEADER_SIZE) break;
      const length = bytes[at]! << 16 | bytes[at + 1]! << 8 | bytes[at + 2]!;
      const end = at + FRAME_HEADER_SIZE + length;
      if (bytes.length < end) break;
      this.#take({
        type: bytes[at + 3]!,
        flags: bytes[at + 4]!,
        id: readUint31(bytes, at + 5),
        payload: bytes.slice(at + FRAME_HEADER_SIZE, end),
      });
      at = end;
    }
    this.#buffer = this.#buffer.slice(at);
  }

  #take(one: Frame): void {
    const { type, flags, id, payload } = one;
    const { acknowledges = true, grants = true } = this.#options;
    this.frames.push(one);
    switch (type) {
      case FrameType.Settings:
        if ((flags & ACK) !== 0) break;
        this.greeted = true;
        for (let at = 0; at < payload.length; at += 6) {
          if (payload[at + 1] === Setting.InitialWindowSize) {
            this.#initialWindow = readUint32(payload, at + 2);
          }
        }
        if (acknowledges) void this.send(frame(FrameType.Settings, ACK, 0));
        break;
      case FrameType.Ping:
        if ((flags & ACK) === 0 && acknowledges) {
          void this.send(frame(FrameType.Ping, ACK, 0, payload));
        }
        break;
      case FrameType.WindowUpdate:
        if (id === 0) this.#window += readUint31(payload, 0);
        else this.stream(id).granted += readUint31(payload, 0);
        break;
      case FrameType.Goaway:
        this.farewells.push({
          lastId: readUint31(payload, 0),
          code: readUint32(payload, 4),
          debug: new TextDecoder().decode(payload.subarray(8)),
        });
        break;
      case FrameType.RstStream:
        this.stream(id).reset = readUint32(payload, 0);
        break;
      case FrameType.Headers:
      case FrameType.Continuation:
        this.#addBlock(one);
        break;
      case FrameType.Data: {
        const stream = this.stream(id);
        const start = (flags & PADDED) === 0 ? 0 : 1;
        const content = payload.subarray(start, payload.length - (start === 0 ? 0 : payload[0]!));
        stream.chunks.push(content);
        stream.received += content.length;
        stream.ended ||= (flags & END_STREAM) !== 0;
        if (grants && payload.length > 0) {
          void this.send(
            windowUpdate(0, payload.length),
            ...(stream.ended ? [] : [windowUpdate(id, payload.length)]),
          );
        }
        break;
      }
    }
    this.onFrame?.(one, this);
  }

  #addBlock({ type, flags, id, payload }: Frame): void {
    const stream = this.stream(id);
    let start = 0;
    let end = payload.length;
    if (type === FrameType.Headers) {
      if ((flags & PADDED) !== 0) end -= payload[start++]!;
      if ((flags & PRIORITY) !== 0) start += 5;
      if ((flags & END_STREAM) !== 0) stream.ended = true;
    }
    this.#fragments.push(payload.subarray(start, end));
    if ((flags & END_HEADERS) === 0) return;
    const list = listOf(concat(...this.#fragments.splice(0)));
    const verdict = this.#decoder.decode(list);
    if (verdict !== "ok") throw new Error(`a field block of stream ${id}: ${verdict}`);
    stream.sections.push(readFields(list));
  }

  /** Ends the connection. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.read();
      this.#conn.close();
    }
    await this.#reading;
    await this.#sending;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The head of a gRPC call. */
export function callFields(path = "/s.S/M", ...more: Fields): Fields {
  return [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "test"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ...more,
  ];
}

/** A request that a {@linkcode WireBackend} gets. */
export interface WireRequest {
  /** The connection. */
  readonly wire: Wire;
  /** Which of all connections that is, the first being 0. */
  readonly connection: number;
  /** The stream. */
  readonly id: number;
  /** What has come on it. */
  readonly stream: WireStream;
  /** The value of `:path`. */
  readonly path: string;
}

/** What becomes of requests. */
export interface WireScript {
  /** Called when a connection has come, behind our SETTINGS. */
  readonly onConnection?: (wire: Wire, connection: number) => void;
  /** Called when the head of a request has come. */
  readonly onHead?: (request: WireRequest) => void;
  /** Called when a request has ended in order. */
  readonly onEnd?: (request: WireRequest) => void;
}

/** A backend of {@linkcode Wire}s. */
export class WireBackend implements AsyncDisposable {
  /** All connections that came, in order. */
  readonly wires: Wire[] = [];
  /** All requests that came, in order. */
  readonly requests: WireRequest[] = [];
  /** What becomes of them. */
  script: WireScript;
  /** `127.0.0.1:port` */
  readonly addr: string;
  readonly #options: WireOptions;
  readonly #listener: Deno.Listener;
  readonly #accepting: Promise<void>;
  #closed = false;

  private constructor(listener: Deno.Listener, script: WireScript, options: WireOptions) {
    this.#listener = listener;
    this.#options = options;
    this.script = script;
    this.addr = `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
    this.#accepting = this.#accept();
  }

  /** Listens on a port of its own unless one is given. */
  static listen(script: WireScript, options: WireOptions = {}, port = 0): WireBackend {
    const listener = Deno.listen({ hostname: "127.0.0.1", port });
    return new WireBackend(listener, script, options);
  }

  async #accept(): Promise<void> {
    try {
      for await (const conn of this.#listener) this.#serve(Wire.serve(conn, this.#options));
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  #serve(wire: Wire): void {
    const connection = this.wires.push(wire) - 1;
    this.script.onConnection?.(wire, connection);
    const open = new Map<number, WireRequest>();
    wire.onFrame = ({ id }) => {
      if (id === 0) return;
      const stream = wire.stream(id);
      let request = open.get(id);
      if (request === undefined && stream.sections.length > 0) {
        const path = stream.value(":path") ?? "";
        request = { wire, connection, id, stream, path };
        open.set(id, request);
        this.requests.push(request);
        this.script.onHead?.(request);
      }
      if (request !== undefined && stream.ended && !this.#ended.has(request)) {
        this.#ended.add(request);
        this.script.onEnd?.(request);
      }
    };
  }
  readonly #ended = new WeakSet<WireRequest>();

  /** Closes all connections and listens no more; a second time does nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) this.#listener.close();
    this.#closed = true;
    await this.#accepting;
    for (const wire of this.wires) await wire.close();
  }
}

/** Answers a request as a server that is content, with some bytes. */
export async function answer(
  { wire, id }: WireRequest,
  content: Uint8Array = new TextEncoder().encode("hello"),
): Promise<void> {
  void wire.send(headers(id, END_HEADERS, OK));
  if (await wire.content(id, content)) {
    void wire.send(headers(id, END_HEADERS | END_STREAM, DONE));
  }
}

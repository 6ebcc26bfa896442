/**
 * Both ends of HTTP/2 connections for tests, on our own engine: backends and clients, over sockets or any other
 * duplex, and the calls that they have.
 *
 * @module
 */
import { Clock } from "../../lib/common/clock.ts";
import { ConnDuplex, type Duplex } from "../../lib/common/duplex.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { H2Connection, type H2Options } from "../../lib/http/h2/connection.ts";
import { encodeName, Encoder } from "../../lib/http/h2/hpack/encoder.ts";
import type { FieldList } from "../../lib/http/h2/hpack/field_list.ts";
import type { H2Stream, StreamListener, StreamReset } from "../../lib/http/h2/stream.ts";

const encoder = new Encoder();

/** Fields as text. */
export type Fields = readonly (readonly [name: string, value: string])[];

/** A field block; `:status` and other pseudo-fields are fields like any other. */
export function encodeBlock(fields: Fields): Uint8Array {
  const out = new ByteWriter(new Uint8Array(256));
  for (const [name, value] of fields) encoder.field(out, encodeName(name), value);
  return out.written;
}

/** The fields of a list as text. */
export function readFields(list: FieldList): [string, string][] {
  return Array.from({ length: list.count }, (_, i) => [list.name(i), list.value(i)]);
}

/** The head of a successful answer to a call. */
export const OK: Fields = [[":status", "200"], ["content-type", "application/grpc"]];
/** The trailers of a successful call. */
export const DONE: Fields = [["grpc-status", "0"]];

/** What one side of a stream sees: a listener that only notes. */
export class Exchange implements StreamListener {
  /** The stream, once it is known. */
  stream!: H2Stream;
  /** Heads, interim ones included. */
  readonly heads: [string, string][][] = [];
  /** The trailers, once they came. */
  trailers: [string, string][] | undefined;
  /** How many bytes of content came. */
  received = 0;
  /** Whether the content is kept. */
  keeps = true;
  /** The content, as far as it is kept. */
  readonly chunks: Uint8Array[] = [];
  /** Whether the peer has ended its side. */
  ended = false;
  /** How the stream was reset, if it was. */
  reset: StreamReset | undefined;
  /** Whether content is given back to the windows at once; if not, {@linkcode resume} does it. */
  reads = true;
  /** Called after each event. */
  onEvent: (() => void) | undefined;
  /** Called when content that was queued has left the queue. */
  onQueueSent: (() => void) | undefined;
  #held = 0;
  readonly #done = Promise.withResolvers<this>();

  /** Resolves when the peer has ended its side, or the stream is gone. */
  get done(): Promise<this> {
    return this.#done.promise;
  }

  /** The first value of a field of the trailers, or of the last head. */
  value(name: string): string | undefined {
    return [...(this.trailers ?? []), ...(this.heads.at(-1) ?? [])]
      .find(([key]) => key === name)?.[1];
  }

  /** The content as text of one character a byte. */
  get text(): string {
    return this.chunks.map((chunk) => new TextDecoder("latin1").decode(chunk)).join("");
  }

  /** Gives back what was held. */
  resume(): void {
    this.reads = true;
    this.stream.consume(this.#held);
    this.#held = 0;
  }

  onHead(head: { readonly fields: FieldList }, endStream: boolean): void {
    this.heads.push(readFields(head.fields));
    this.#after(endStream);
  }

  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.received += end - start;
    if (this.keeps) this.chunks.push(bytes.slice(start, end));
    if (this.reads) this.stream.consume(end - start);
    else this.#held += end - start;
    this.#after(endStream);
  }

  onTrailers(fields: FieldList): void {
    this.trailers = readFields(fields);
    this.#after(true);
  }

  onReset(reset: StreamReset): void {
    this.reset = reset;
    this.#after(true);
  }

  onSent(): void {
    this.onQueueSent?.();
  }

  #after(end: boolean): void {
    this.ended ||= end;
    this.onEvent?.();
    if (end) this.#done.resolve(this);
  }
}

/** A call that a backend gets. */
export class Call extends Exchange {
  /** The value of `:path`. */
  readonly path: string;
  /** All fields of its head. */
  readonly fields: [string, string][];
  /** Which connection it came over, the first being 0. */
  readonly connection: number;

  constructor(stream: H2Stream, fields: [string, string][], connection: number) {
    super();
    this.stream = stream;
    this.fields = fields;
    this.connection = connection;
    this.path = fields.find(([name]) => name === ":path")?.[1] ?? "";
  }

  /** Sends the head. */
  head(fields: Fields = OK): void {
    this.stream.sendHeaders(encodeBlock(fields), false);
  }

  /** Sends content. */
  send(content: string | Uint8Array): void {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    this.stream.sendData(bytes, 0, bytes.length, false);
  }

  /** Ends the answer with trailers. */
  end(fields: Fields = DONE): void {
    this.stream.sendHeaders(encodeBlock(fields), true);
  }

  /** The usual answer. */
  answer(content = "hello"): void {
    this.head();
    this.send(content);
    this.end();
  }
}

/** Answers a call when its request has ended. */
export function answerWhenEnded(call: Call): void {
  const answer = () => {
    if (!call.ended || call.reset !== undefined) return;
    call.onEvent = undefined;
    call.answer();
  };
  call.onEvent = answer;
  answer();
}

/** Sends back what comes, until it ends. */
export function echo(call: Call): void {
  call.head();
  let sent = 0;
  const forward = () => {
    for (const chunk of call.chunks.splice(0)) {
      sent += chunk.length;
      call.send(chunk);
    }
    if (call.ended && call.reset === undefined && sent === call.received) {
      call.onEvent = undefined;
      call.end();
    }
  };
  call.onEvent = forward;
  forward();
}

/** How a backend is made. */
export interface H2BackendOptions {
  /** What becomes of calls. Default {@linkcode answerWhenEnded}. */
  readonly onCall?: (call: Call) => void;
  /** What it grants. */
  readonly h2?: Partial<H2Options>;
  /** For deadlines. */
  readonly clock?: Clock;
}

/** A backend: its connections and calls. */
export class H2Backend implements AsyncDisposable {
  /** All calls so far. */
  readonly calls: Call[] = [];
  /** All connections that are open. */
  readonly connections: Set<H2Connection> = new Set();
  /** How many there have been. */
  accepted = 0;
  /** What becomes of calls. */
  onCall: (call: Call) => void;
  /** Where it listens: host and port. */
  addr = "";
  readonly #options: H2BackendOptions;
  readonly #clock: Clock;
  #listener: Deno.Listener | undefined;

  constructor(options: H2BackendOptions = {}) {
    this.#options = options;
    this.onCall = options.onCall ?? answerWhenEnded;
    this.#clock = options.clock ?? new Clock();
  }

  /** A backend that listens on a port of its own. */
  static listen(options: H2BackendOptions = {}): H2Backend {
    const backend = new H2Backend(options);
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    backend.#listener = listener;
    backend.addr = `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
    void backend.#accept(listener);
    return backend;
  }

  async #accept(listener: Deno.Listener): Promise<void> {
    try {
      for await (const conn of listener) this.serve(new ConnDuplex(conn));
    } catch {
      // The listener was closed.
    }
  }

  /** Serves one connection. */
  serve(duplex: Duplex): H2Connection {
    const number = this.accepted++;
    const connection = new H2Connection({
      role: "server",
      duplex,
      clock: this.#clock,
      handler: {
        onRequest: (stream, head, { endStream }) => {
          const call = new Call(stream, readFields(head.fields), number);
          call.ended = endStream;
          this.calls.push(call);
          // The engine knows the listener only when this has returned.
          queueMicrotask(() => this.onCall(call));
          return call;
        },
      },
      options: { maxConcurrentStreams: 1000, ...this.#options.h2 },
    });
    this.connections.add(connection);
    void connection.run().then(() => this.connections.delete(connection));
    return connection;
  }

  /** Closes all connections and listens no more. */
  kill(): void {
    this.#listener?.close();
    this.#listener = undefined;
    for (const connection of this.connections) connection.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await Promise.all([...this.connections].map((connection) => connection.finished));
  }
}

/** How a client calls. */
export interface CallOptions {
  /** Content that is sent at once; none unless given. */
  readonly content?: string | Uint8Array;
  /** Whether more follows. */
  readonly open?: boolean;
  /** Further fields. */
  readonly fields?: Fields;
  /** Whether it is a gRPC call. Default true. */
  readonly grpc?: boolean;
  /** See {@linkcode Exchange.reads}. */
  readonly reads?: boolean;
}

/** A client connection. */
export class H2Client implements AsyncDisposable {
  /** The connection. */
  readonly connection: H2Connection;
  readonly #ready = Promise.withResolvers<void>();

  constructor(
    duplex: Duplex,
    { clock = new Clock(), h2 = {} }: {
      readonly clock?: Clock;
      readonly h2?: Partial<H2Options>;
    } = {},
  ) {
    this.connection = new H2Connection({
      role: "client",
      duplex,
      clock,
      handler: { onReady: this.#ready.resolve },
      options: h2,
    });
    void this.connection.run();
  }

  /** Connects, and waits for the server's SETTINGS. */
  static async connect(addr: Deno.Addr, h2: Partial<H2Options> = {}): Promise<H2Client> {
    const { hostname, port } = addr as Deno.NetAddr;
    const client = new H2Client(new ConnDuplex(await Deno.connect({ hostname, port })), { h2 });
    await client.ready;
    return client;
  }

  /** Resolves when the server's SETTINGS have come. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Begins a call. */
  call(path: string, options: CallOptions = {}): Exchange {
    const { content, open = false, fields = [], grpc = true, reads = true } = options;
    const exchange = new Exchange();
    exchange.reads = reads;
    const endStream = content === undefined && !open;
    exchange.stream = this.connection.openStream(
      encodeBlock([
        [":method", "POST"],
        [":scheme", "http"],
        [":path", path],
        [":authority", "test"],
        ...(grpc ? [["content-type", "application/grpc"], ["te", "trailers"]] as const : []),
        ...fields,
      ]),
      { endStream, noBody: false, listener: exchange },
    );
    if (content !== undefined) this.send(exchange, content, !open);
    return exchange;
  }

  /** Sends content on a call. */
  send(exchange: Exchange, content: string | Uint8Array, end = false): void {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    exchange.stream.sendData(bytes, 0, bytes.length, end);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.abort();
    await this.connection.finished;
  }
}

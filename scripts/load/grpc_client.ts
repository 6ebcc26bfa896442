/**
 * A gRPC client on our own engine that knows what came of each call. It calls again only what nobody has acted on, as
 * clients of gRPC do (gRFC A6, transparent retries).
 *
 * @module
 */
import { Clock } from "../../lib/common/clock.ts";
import { ConnDuplex } from "../../lib/common/duplex.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { H2Connection } from "../../lib/http/h2/connection.ts";
import { encodeName, Encoder } from "../../lib/http/h2/hpack/encoder.ts";
import type { FieldList } from "../../lib/http/h2/hpack/field_list.ts";
import type { H2Stream, StreamListener } from "../../lib/http/h2/stream.ts";
import { MESSAGE } from "./grpc_service.ts";
import { ANSWERED, isUnsentCall, type Outcome } from "./tally.ts";

/** Milliseconds between two looks for a connection that takes another stream, where all are full. */
const FULL_MS = 2;
/** Tries of a call that nobody acts on. */
const MAX_TRIES = 5;

const encoder = new Encoder();

/** Fields of a request beside those that every call has. */
export type Fields = readonly (readonly [name: string, value: string])[];

function encodeHead(path: string, more: Fields): Uint8Array {
  const out = new ByteWriter(new Uint8Array(256));
  const fields: Fields = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "load.test"],
    ["te", "trailers"],
    ["content-type", "application/grpc"],
    ...more,
  ];
  for (const [name, value] of fields) encoder.field(out, encodeName(name), value);
  return out.written;
}

/** How a call ended. */
export interface CallEnd {
  /** `grpc-status`; `undefined` when the stream was reset. */
  readonly status: string | undefined;
  /** `grpc-message`. */
  readonly message: string;
  /** How it was reset. */
  readonly reset: string | undefined;
  /** Whether nobody has acted on it (RFC 9113, section 8.7). */
  readonly unprocessed: boolean;
  /** Bytes of content that came. */
  readonly received: number;
}

/** A call under way. */
export class LoadCall implements StreamListener {
  #stream!: H2Stream;
  #status: string | undefined;
  #message = "";
  #received = 0;
  readonly #end = Promise.withResolvers<CallEnd>();
  /** Called when content has come, with how many bytes there are now. */
  onContent: ((received: number) => void) | undefined;

  /** Made by {@linkcode GrpcLoadClient}. */
  static open(
    connection: H2Connection,
    block: Uint8Array,
    message: Uint8Array,
    end: boolean,
  ): LoadCall {
    const call = new LoadCall();
    call.#stream = connection.openStream(block, {
      endStream: false,
      noBody: false,
      listener: call,
    });
    call.send(message, end);
    return call;
  }

  /** Sends content. */
  send(bytes: Uint8Array, end = false): void {
    this.#stream.sendData(bytes, 0, bytes.length, end);
  }

  /** Cancels it. */
  cancel(): void {
    this.#stream.reset();
    this.#finish("cancelled here", false);
  }

  /** Resolves when it has ended. */
  get end(): Promise<CallEnd> {
    return this.#end.promise;
  }

  #read(fields: FieldList): void {
    this.#status = fields.get("grpc-status");
    this.#message = decodeURIComponent(fields.get("grpc-message") ?? "");
  }

  #finish(reset: string | undefined, unprocessed: boolean): void {
    this.#end.resolve({
      status: this.#status,
      message: this.#message,
      reset,
      unprocessed,
      received: this.#received,
    });
  }

  onHead(head: { readonly fields: FieldList }, endStream: boolean): void {
    if (!endStream) return;
    this.#read(head.fields);
    this.#finish(undefined, false);
  }

  onData(_bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.#received += end - start;
    this.#stream.consume(end - start);
    this.onContent?.(this.#received);
    if (endStream) this.#finish("no trailers", false);
  }

  onTrailers(fields: FieldList): void {
    this.#read(fields);
    this.#finish(undefined, false);
  }

  onReset({ code, unprocessed, connectionLost }: Parameters<StreamListener["onReset"]>[0]): void {
    this.#finish(connectionLost ? "the connection was lost" : `RST_STREAM ${code}`, unprocessed);
  }

  onSent(): void {
    // What is sent is small.
  }
}

/** How a call is begun. */
export interface BeginOptions {
  /** Whether the first message is the last one. Default true. */
  readonly end?: boolean;
  /** Fields beside those that every call has. */
  readonly fields?: Fields;
}

/** How a client is made. */
export interface GrpcClientOptions {
  readonly hostname: string;
  readonly port: number;
  /** Connections that calls take turns on. */
  readonly connections: number;
}

/** A client with some connections, each of which is opened anew when it has ended or is told to go. */
export class GrpcLoadClient {
  readonly #options: GrpcClientOptions;
  readonly #clock = new Clock();
  readonly #slots: (Promise<H2Connection> | undefined)[];
  readonly #open = new Set<H2Connection>();
  #next = 0;

  /** Opens nothing yet. */
  constructor(options: GrpcClientOptions) {
    this.#options = options;
    this.#slots = Array.from({ length: options.connections }, () => undefined);
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#open.size;
  }

  async #connect(): Promise<H2Connection> {
    const { hostname, port } = this.#options;
    const ready = Promise.withResolvers<void>();
    const connection = new H2Connection({
      role: "client",
      duplex: new ConnDuplex(await Deno.connect({ hostname, port })),
      clock: this.#clock,
      handler: { onReady: ready.resolve },
    });
    this.#open.add(connection);
    void connection.run().then(() => {
      this.#open.delete(connection);
      ready.reject(new Error("the connection ended before it was ready"));
    });
    await ready.promise;
    return connection;
  }

  /** A connection that takes another stream; waits while none does. */
  async #take(): Promise<H2Connection> {
    for (;;) {
      const slot = this.#next = (this.#next + 1) % this.#slots.length;
      const opening = this.#slots[slot] ??= this.#connect();
      let connection: H2Connection | undefined;
      try {
        connection = await opening;
        if (connection.available) return connection;
      } finally {
        // It failed, has ended, or was told to go: the next one.
        if ((connection?.ending ?? true) && this.#slots[slot] === opening) {
          this.#slots[slot] = undefined;
        }
      }
      if (!connection.ending) await new Promise((resolve) => setTimeout(resolve, FULL_MS));
    }
  }

  /**
   * Begins a call.
   *
   * @throws {Error} When there is no connection.
   */
  async begin(
    path: string,
    { end = true, fields = [] }: BeginOptions = {},
  ): Promise<LoadCall> {
    return LoadCall.open(await this.#take(), encodeHead(path, fields), MESSAGE, end);
  }

  /**
   * Makes a call to its end, again if nobody has acted on it.
   *
   * @param use Does with the call what is to be done with it.
   * @throws {Error} When there is no connection.
   */
  async through(
    path: string,
    use: (call: LoadCall) => void,
    options?: BeginOptions,
  ): Promise<CallEnd> {
    for (let tries = 1;; tries++) {
      const call = await this.begin(path, options);
      use(call);
      const end = await call.end;
      if (!end.unprocessed || tries === MAX_TRIES) return end;
    }
  }

  /** Makes a unary call and says what came of it. Never rejects. */
  async call(path: string): Promise<Outcome> {
    try {
      return judge(await this.through(path, () => {}));
    } catch (error) {
      return { type: "failed", reason: `cannot connect: ${error}`, retriable: true };
    }
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((connection) => {
      connection.abort();
      return connection.finished;
    }));
  }
}

/** What came of a unary call that was to succeed. */
export function judge({ status, message, reset, unprocessed, received }: CallEnd): Outcome {
  if (status === "0" && received === MESSAGE.length) return ANSWERED;
  const reason = reset ?? `status ${status} ${JSON.stringify(message)}`;
  return { type: "failed", reason, retriable: unprocessed || isUnsentCall(message) };
}

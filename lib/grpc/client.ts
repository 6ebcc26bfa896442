/**
 * Calls of our own to backends, over the same connections as the calls of clients.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import { formatHostPort } from "../common/address.ts";
import type { Clock, Timed } from "../common/clock.ts";
import { describeError } from "../common/errors.ts";
import { ByteWriter } from "../http/h1/writer.ts";
import type { H2Connection } from "../http/h2/connection.ts";
import { H2Code } from "../http/h2/errors.ts";
import { type EncodedName, encodeName, Encoder } from "../http/h2/hpack/encoder.ts";
import type { FieldList } from "../http/h2/hpack/field_list.ts";
import type { H2ResponseHead } from "../http/h2/response_head.ts";
import type { H2Stream, StreamListener, StreamReset } from "../http/h2/stream.ts";
import { GrpcStatus } from "./status.ts";

/** Where a {@linkcode GrpcCallError} comes from. */
export interface CallErrorOrigin {
  /** Whether the backend has given the status. Default false. */
  readonly given?: boolean;
  /** Why there was no connection. */
  readonly unreached?: unknown;
}

/** A call ended with another status than OK. */
export class GrpcCallError extends Error {
  /** The class name, for code that meets errors of several library versions. */
  override readonly name = "GrpcCallError";
  /** The status. */
  readonly status: GrpcStatus;
  /** Whether the backend has given it; `message` is then its text as it came. */
  readonly given: boolean;
  /** Why there was no connection, where that was it. */
  readonly unreached: unknown;

  /** Makes an error. */
  constructor(status: GrpcStatus, message: string, origin: CallErrorOrigin = {}) {
    super(message);
    this.status = status;
    this.given = origin.given ?? false;
    this.unreached = origin.unreached;
  }
}

/** A call. */
export interface CallOptions {
  /** `/package.Service/Method` */
  readonly path: string;
  /** The messages, encoded; all are sent at once and the request ends behind the last. */
  readonly messages: readonly Uint8Array[];
  /** How long it may take in all, in milliseconds, a new connection included. */
  readonly timeout: number;
  /** The most that is received, in bytes. Default 16 MiB. */
  readonly maxBytes?: number;
  /** Watches the time. */
  readonly clock: Clock;
  /** Ends the call early, as cancelled. */
  readonly signal?: AbortSignal;
  /** What it is made over, and must have room; unless given, one that the calls of clients use. */
  readonly connection?: H2Connection;
}

const DEFAULT_MAX_BYTES = 16 * 1024 * 1024;
/** In front of each message: a flag and a length (PROTOCOL-HTTP2.md, Length-Prefixed-Message). */
export const PREFIX = 5;

const encoder = new Encoder();
const METHOD = encodeName(":method");
const SCHEME = encodeName(":scheme");
const AUTHORITY = encodeName(":authority");
const PATH = encodeName(":path");
const TE = encodeName("te");
const CONTENT_TYPE = encodeName("content-type");
const TIMEOUT = encodeName("grpc-timeout");

/**
 * Makes one call and collects the messages of the answer: exactly one for a unary method.
 *
 * @throws {GrpcCallError} `UNAVAILABLE` when the backend is not reached, `DEADLINE_EXCEEDED`, `CANCELLED` by
 * the signal, `RESOURCE_EXHAUSTED` when the answer is too long, or the status that the backend gives.
 */
export function callBackend(backend: LiveBackend, options: CallOptions): Promise<Uint8Array[]> {
  return new Call(backend, options).result;
}

class Call implements StreamListener, Timed {
  deadline = Infinity;
  readonly #options: CallOptions;
  readonly #maxBytes: number;
  readonly #result = Promise.withResolvers<Uint8Array[]>();
  #stream: H2Stream | undefined;
  #finished = false;
  #chunks: Uint8Array[] = [];
  #received = 0;

  constructor(backend: LiveBackend, options: CallOptions) {
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
    options.clock.watch(this);
    options.clock.arm(this, options.timeout);
    if (options.signal?.aborted) {
      this.#onAbort();
      return;
    }
    options.signal?.addEventListener("abort", this.#onAbort);
    const connection = options.connection ?? backend.h2.take();
    if (connection !== undefined) this.#open(connection, backend);
    else this.#openLater(backend);
  }

  #openLater(backend: LiveBackend): void {
    backend.h2.acquire().then(
      (connection) => {
        if (this.#finished) return;
        // Whoever waited for the same connection may have taken its last stream.
        if (connection.available) this.#open(connection, backend);
        else this.#openLater(backend);
      },
      (error) => this.#fail(GrpcStatus.Unavailable, describeError(error), { unreached: error }),
    );
  }

  get result(): Promise<Uint8Array[]> {
    return this.#result.promise;
  }

  #open(connection: H2Connection, backend: LiveBackend): void {
    const stream = this.#stream = connection.openStream(encodeCallHead(backend, this.#options), {
      endStream: false,
      noBody: false,
      listener: this,
    });
    const body = frameMessages(this.#options.messages);
    stream.sendData(body, 0, body.length, true);
  }

  onHead(head: H2ResponseHead, endStream: boolean): void {
    if (head.interim) return;
    if (endStream) return this.#onStatus(head.fields);
    if (head.status !== 200 || !head.grpc) {
      this.#stop();
      this.#fail(
        head.status === 404 ? GrpcStatus.Unimplemented : GrpcStatus.Unknown,
        `the backend answered with HTTP status ${head.status} and not with gRPC`,
      );
    }
  }

  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.#stream!.consume(end - start);
    if (this.#finished) return;
    this.#received += end - start;
    if (this.#received > this.#maxBytes) {
      this.#stop();
      this.#fail(GrpcStatus.ResourceExhausted, `the answer is longer than ${this.#maxBytes} bytes`);
      return;
    }
    this.#chunks.push(bytes.slice(start, end));
    if (endStream) this.#fail(GrpcStatus.Internal, "the answer ended without trailers");
  }

  onTrailers(fields: FieldList): void {
    this.#onStatus(fields);
  }

  #onStatus(fields: FieldList): void {
    const value = fields.get("grpc-status");
    const status = value !== undefined && /^\d{1,3}$/.test(value)
      ? Number(value)
      : GrpcStatus.Unknown;
    if (status !== GrpcStatus.Ok) {
      const message = fields.get("grpc-message") ?? "the backend gave no reason";
      return this.#fail(status, message, { given: true });
    }
    const messages = split(this.#chunks, this.#received);
    if (messages === undefined) {
      return this.#fail(GrpcStatus.Internal, "the answer is compressed or cut off");
    }
    if (this.#settle()) this.#result.resolve(messages);
  }

  onReset(reset: StreamReset): void {
    this.#fail(GrpcStatus.Unavailable, reset.detail);
  }

  onSent(): void {
    // The request is short and is not made as the stream takes it.
  }

  onDeadline(): void {
    this.#stop();
    this.#fail(GrpcStatus.DeadlineExceeded, `no answer within ${this.#options.timeout} ms`);
  }

  readonly #onAbort = (): void => {
    this.#stop();
    this.#fail(GrpcStatus.Cancelled, "the call was given up");
  };

  #stop(): void {
    this.#stream?.reset(H2Code.Cancel);
  }

  #fail(
    status: GrpcStatus,
    message: string,
    origin?: CallErrorOrigin,
  ): void {
    if (this.#settle()) this.#result.reject(new GrpcCallError(status, message, origin));
  }

  #settle(): boolean {
    if (this.#finished) return false;
    this.#finished = true;
    this.#chunks = [];
    this.#options.clock.unwatch(this);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    return true;
  }
}

/** The head of a request; without a `timeout`, in milliseconds, the call may take any time. */
export function encodeCallHead(
  { address }: LiveBackend,
  { path, timeout }: { readonly path: string; readonly timeout?: number },
): Uint8Array {
  const out = new ByteWriter(new Uint8Array(256));
  const fields: readonly (readonly [EncodedName, string])[] = [
    [METHOD, "POST"],
    [
      SCHEME,
      address.transport === "tcp" && /^(?:https|grpcs)$/.test(address.scheme) ? "https" : "http",
    ],
    [PATH, path],
    [
      AUTHORITY,
      address.transport === "tcp"
        ? formatHostPort(address.serverName ?? address.host, address.port)
        : "localhost",
    ],
    [TE, "trailers"],
    [CONTENT_TYPE, "application/grpc"],
  ];
  for (const [name, value] of fields) encoder.field(out, name, value);
  if (timeout !== undefined) encoder.field(out, TIMEOUT, `${Math.ceil(timeout)}m`);
  return out.written;
}

/** The content of a request: each message with its prefix. */
export function frameMessages(messages: readonly Uint8Array[]): Uint8Array {
  const length = messages.reduce((sum, message) => sum + PREFIX + message.length, 0);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const message of messages) {
    view.setUint32(at + 1, message.length);
    bytes.set(message, at + PREFIX);
    at += PREFIX + message.length;
  }
  return bytes;
}

/** The messages; `undefined` when one is compressed, which nobody has allowed, or not there in full. */
function split(chunks: readonly Uint8Array[], length: number): Uint8Array[] | undefined {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  const view = new DataView(bytes.buffer);
  const messages: Uint8Array[] = [];
  for (at = 0; at + PREFIX <= length;) {
    const end = at + PREFIX + view.getUint32(at + 1);
    if (bytes[at] !== 0 || end > length) return undefined;
    messages.push(bytes.subarray(at + PREFIX, end));
    at = end;
  }
  return at === length ? messages : undefined;
}

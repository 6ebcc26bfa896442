/**
 * A small gRPC server for the demo, on the same HTTP/2 engine as the balancer: what runs on `node:http2` must not
 * be reached from outside, since Deno 2.9 may crash there when a peer says goodbye (denoland/deno#36788).
 *
 * @module
 */
import { parseListenAddress } from "../../common/address.ts";
import { Clock } from "../../common/clock.ts";
import type { Duplex } from "../../common/duplex.ts";
import { describeError } from "../../common/errors.ts";
import { GrpcCallError } from "../../grpc/client.ts";
import { encodeGrpcHead, encodeTrailers, encodeTrailersOnly } from "../../grpc/respond.ts";
import { GrpcStatus } from "../../grpc/status.ts";
import { H2Connection } from "../../http/h2/connection.ts";
import type { H2Stream, StreamListener, StreamReset } from "../../http/h2/stream.ts";
import { Listener, type Served } from "../../mux/listener.ts";
import { Metrics } from "../../observe/metrics.ts";

/**
 * Answers one message of a call with one. What it throws ends the call: a {@linkcode GrpcCallError} with its status,
 * anything else with INTERNAL.
 */
export type Handler = (message: Uint8Array) => Uint8Array | Promise<Uint8Array>;

/** In front of each message: a flag and a length (PROTOCOL-HTTP2.md, Length-Prefixed-Message). */
const PREFIX = 5;
/** The longest message that is taken, in bytes; below one stream window, so that it always comes in full. */
const MAX_MESSAGE = 32 * 1024;
const MAX_CONNECTIONS = 64;
/** How long the end waits for calls under way, in milliseconds. */
const GRACE = 1000;

/** Listens on a port of its own on this machine. */
export class GrpcServer implements AsyncDisposable {
  readonly #listener: Listener;

  /**
   * Begins to listen.
   *
   * @param handlers By path: `/package.Service/Method`.
   */
  constructor(handlers: ReadonlyMap<string, Handler>) {
    const clock = new Clock();
    this.#listener = new Listener({
      address: parseListenAddress("127.0.0.1:0"),
      maxConnections: MAX_CONNECTIONS,
      accept: (duplex) => new Connection(duplex, clock, handlers),
      metrics: new Metrics().listener("demo"),
    });
  }

  /** `127.0.0.1:port` */
  get addr(): string {
    return this.#listener.name;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener.shutdown({ grace: GRACE });
  }
}

class Connection implements Served {
  readonly #h2: H2Connection;

  constructor(duplex: Duplex, clock: Clock, handlers: ReadonlyMap<string, Handler>) {
    this.#h2 = new H2Connection({
      role: "server",
      duplex,
      clock,
      handler: {
        onRequest: (stream, head, { endStream, refused }) =>
          new Call(stream, refused ? undefined : handlers.get(head.path), endStream),
      },
    });
  }

  serve(): Promise<void> {
    return this.#h2.run();
  }

  drain(): void {
    this.#h2.drain();
  }

  abort(): void {
    this.#h2.abort();
  }
}

/** One call: each message is answered before the next is looked at. */
class Call implements StreamListener {
  readonly #stream: H2Stream;
  readonly #handler: Handler | undefined;
  #pending = new Uint8Array(0);
  #working: Promise<void> = Promise.resolve();
  #headed = false;
  #ended = false;

  constructor(stream: H2Stream, handler: Handler | undefined, endStream: boolean) {
    this.#stream = stream;
    this.#handler = handler;
    if (handler === undefined) this.#end(GrpcStatus.Unimplemented, "there is no such method");
    else if (endStream) this.#end(GrpcStatus.InvalidArgument, "a message is missing");
  }

  onHead(): void {
    // The head is what the call began with.
  }

  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.#pending = join(this.#pending, bytes.subarray(start, end));
    for (let size; (size = sizeOf(this.#pending)) <= this.#pending.length;) {
      const message = this.#pending.slice(PREFIX, size);
      this.#pending = this.#pending.slice(size);
      this.#then(() => this.#answer(message));
    }
    if (sizeOf(this.#pending) > PREFIX + MAX_MESSAGE) {
      this.#then(() => this.#end(GrpcStatus.ResourceExhausted, "the message is too long"));
    }
    // What has come counts against the client's window until it has been worked through.
    this.#then(() => this.#stream.consume(end - start));
    if (endStream) this.#then(() => this.#end(GrpcStatus.Ok, ""));
  }

  onTrailers(): void {
    this.#then(() => this.#end(GrpcStatus.Ok, ""));
  }

  onReset(_reset: StreamReset): void {
    this.#ended = true;
  }

  onSent(): void {
    // Nothing waits for it.
  }

  #then(step: () => void | Promise<void>): void {
    this.#working = this.#working.then(step);
  }

  async #answer(message: Uint8Array): Promise<void> {
    if (this.#ended) return;
    let answer: Uint8Array;
    try {
      answer = await this.#handler!(message);
    } catch (error) {
      return error instanceof GrpcCallError
        ? this.#end(error.status, error.message)
        : this.#end(GrpcStatus.Internal, describeError(error));
    }
    if (!this.#headed) this.#stream.sendHeaders(encodeGrpcHead(), false);
    this.#headed = true;
    const framed = frame(answer);
    this.#stream.sendData(framed, 0, framed.length, false);
  }

  #end(status: GrpcStatus, message: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stream.sendHeaders(
      this.#headed ? encodeTrailers(status, message) : encodeTrailersOnly(status, message),
      true,
    );
    this.#stream.endEarly();
  }
}

function frame(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PREFIX + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, PREFIX);
  return bytes;
}

/** How long the first message is with its prefix; more than there is while the prefix is not there in full. */
function sizeOf(bytes: Uint8Array): number {
  return bytes.length < PREFIX
    ? PREFIX
    : PREFIX + new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
}

function join(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}

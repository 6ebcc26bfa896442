/**
 * A gRPC client on our own engine.
 *
 * @module
 */
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";
import type { CallFailure, Message } from "./grpc_client.ts";
import { encodeBlock, Exchange, H2Client } from "./h2_peer.ts";
import { parseListenAddress } from "../../lib/common/address.ts";

/** In front of each message: a flag and a length (PROTOCOL-HTTP2.md, Length-Prefixed-Message). */
const PREFIX = 5;

/** A client of one service, on one connection. */
export class EngineClient implements AsyncDisposable {
  readonly #methods: ServiceDefinition;
  readonly #client: H2Client;

  private constructor(client: H2Client, methods: ServiceDefinition) {
    this.#client = client;
    this.#methods = methods;
  }

  /** Connects to `host:port`. */
  static async connect(address: string, methods: ServiceDefinition): Promise<EngineClient> {
    const { host: hostname, port } = parseListenAddress(address) as {
      readonly host: string;
      readonly port: number;
    };
    return new EngineClient(
      await H2Client.connect({ transport: "tcp", hostname, port }),
      methods,
    );
  }

  /** Begins a call; `fields` are its metadata. */
  open(name: string, fields: Record<string, string> = {}): EngineCall {
    const method = this.#methods[name] as MethodDefinition<Message, Message>;
    return new EngineCall(this.#client, method, fields);
  }

  /** Calls a unary method; rejects with a {@linkcode CallFailure}. */
  async call(
    name: string,
    request: Message,
    fields: Record<string, string> = {},
  ): Promise<Message> {
    const call = this.open(name, fields);
    call.send(request, true);
    return (await call.next())!;
  }

  /** Calls a method that answers with a stream. */
  watch(name: string, request: Message): EngineCall {
    const call = this.open(name);
    call.send(request, true);
    return call;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }
}

/** A call. */
export class EngineCall {
  readonly #client: H2Client;
  readonly #exchange: Exchange;
  readonly #method: MethodDefinition<Message, Message>;
  #read = 0;

  /** Begins it. */
  constructor(
    client: H2Client,
    method: MethodDefinition<Message, Message>,
    fields: Record<string, string>,
  ) {
    this.#client = client;
    this.#method = method;
    this.#exchange = new Exchange();
    this.#exchange.stream = client.connection.openStream(
      encodeBlock([
        [":method", "POST"],
        [":scheme", "http"],
        [":path", method.path],
        // Management refuses names that anybody could point at it.
        [":authority", "localhost"],
        ["content-type", "application/grpc"],
        ["te", "trailers"],
        ...Object.entries(fields),
      ]),
      { endStream: false, noBody: false, listener: this.#exchange },
    );
  }

  /** Sends a message. */
  send(message: Message, end = false): void {
    const body = this.#method.requestSerialize(message);
    const bytes = new Uint8Array(PREFIX + body.length);
    new DataView(bytes.buffer).setUint32(1, body.length);
    bytes.set(body, PREFIX);
    this.#client.send(this.#exchange, bytes, end);
  }

  /** Sends no more. */
  end(): void {
    this.#client.send(this.#exchange, new Uint8Array(0), true);
  }

  /** The next message; `undefined` at the end. Rejects with a {@linkcode CallFailure}. */
  async next(): Promise<Message | undefined> {
    for (;;) {
      const message = this.#take();
      if (message !== undefined) return message;
      if (this.#exchange.ended) return this.#finish();
      await new Promise<void>((resolve) => this.#exchange.onEvent = resolve);
    }
  }

  #take(): Message | undefined {
    const bytes = new Uint8Array(this.#exchange.received);
    let at = 0;
    for (const chunk of this.#exchange.chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    if (bytes.length < this.#read + PREFIX) return undefined;
    const start = this.#read + PREFIX;
    const end = start + new DataView(bytes.buffer).getUint32(this.#read + 1);
    if (bytes.length < end) return undefined;
    this.#read = end;
    return this.#method.responseDeserialize(bytes.subarray(start, end) as never);
  }

  #finish(): undefined {
    const { reset } = this.#exchange;
    const status = this.#exchange.value("grpc-status");
    if (status === "0") return undefined;
    const failure: CallFailure = {
      code: status === undefined ? -1 : Number(status),
      details: reset === undefined
        ? decodeURIComponent(this.#exchange.value("grpc-message") ?? "")
        : `reset: ${JSON.stringify(reset)}`,
    };
    throw Object.assign(new Error(failure.details), failure);
  }

  /** Cancels the call. */
  cancel(): void {
    this.#exchange.stream.reset();
  }
}

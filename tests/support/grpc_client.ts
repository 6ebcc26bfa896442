/**
 * A grpc-js client of the balancer.
 *
 * @module
 */
import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceDefinition,
} from "@grpc/grpc-js";

/** A message as an object. */
// deno-lint-ignore no-explicit-any
export type Message = Record<string, any>;

/** How a call failed. */
export interface CallFailure {
  readonly code: number;
  readonly details: string;
}

/** A client of one service. */
export class ServiceClient implements AsyncDisposable {
  readonly #client: Client;
  readonly #methods: ServiceDefinition;

  /** Connects to `host:port` when the first call is made. */
  constructor(address: string, methods: ServiceDefinition) {
    this.#client = new Client(address, credentials.createInsecure());
    this.#methods = methods;
  }

  #method(name: string): MethodDefinition<Message, Message> {
    return this.#methods[name] as MethodDefinition<Message, Message>;
  }

  /** Calls a unary method; rejects with a {@linkcode CallFailure}. */
  call(name: string, request: Message, fields: Record<string, string> = {}): Promise<Message> {
    const { path, requestSerialize, responseDeserialize } = this.#method(name);
    const { promise, resolve, reject } = Promise.withResolvers<Message>();
    this.#client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      Metadata.fromHttp2Headers(fields),
      { deadline: Date.now() + 10_000 },
      (error, response) => error === null ? resolve(response!) : reject(error),
    );
    return promise;
  }

  /** How a unary call fails. */
  async failure(
    name: string,
    request: Message,
    fields: Record<string, string> = {},
  ): Promise<CallFailure> {
    try {
      await this.call(name, request, fields);
    } catch (error) {
      const { code, details } = error as CallFailure;
      return { code, details };
    }
    throw new Error(`${name} did not fail`);
  }

  /** Calls a method that answers with a stream. */
  watch(name: string, request: Message): Messages {
    const { path, requestSerialize, responseDeserialize } = this.#method(name);
    return new Messages(
      this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request),
    );
  }

  /** Calls a method with streams both ways. */
  duplex(name: string): Exchange {
    const { path, requestSerialize, responseDeserialize } = this.#method(name);
    return new Exchange(
      this.#client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }
}

/** The messages of a stream, one after the other. */
export class Messages {
  readonly #call: ClientReadableStream<Message>;
  readonly #queue: (Message | Error | undefined)[] = [];
  #wake: (() => void) | undefined;

  /** Takes a call over. */
  constructor(call: ClientReadableStream<Message>) {
    this.#call = call;
    call.on("data", (message) => this.#add(message));
    call.on("error", (error) => this.#add(error));
    call.on("end", () => this.#add(undefined));
  }

  #add(item: Message | Error | undefined): void {
    this.#queue.push(item);
    this.#wake?.();
  }

  /** The next message; `undefined` at the end. */
  async next(): Promise<Message | undefined> {
    while (this.#queue.length === 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    const item = this.#queue.shift();
    if (item instanceof Error) throw item;
    return item;
  }

  /** Ends the call. */
  cancel(): void {
    this.#call.cancel();
  }
}

/** A call with streams both ways. */
export class Exchange extends Messages {
  readonly #both: ClientDuplexStream<Message, Message>;

  /** Takes a call over. */
  constructor(call: ClientDuplexStream<Message, Message>) {
    super(call);
    this.#both = call;
  }

  /** Sends a message. */
  send(message: Message): void {
    this.#both.write(message);
  }

  /** Sends no more. */
  end(): void {
    this.#both.end();
  }
}

/**
 * A gRPC client of the balancer's own services, which connects with its first call. It stands on our own engine: the
 * `node:http2` of Deno 2.9, on which grpc-js stands, may not survive the GOAWAY of a balancer that ends
 * (denoland/deno#36788), and would take the test's process with it. What grpc-js makes of the balancer is tested with
 * programs of their own.
 *
 * @module
 */
import type { ServiceDefinition } from "@grpc/grpc-js";
import { type EngineCall, EngineClient } from "./engine_client.ts";
import { within } from "./net.ts";

/** A message as an object. */
// deno-lint-ignore no-explicit-any
export type Message = Record<string, any>;

/** How a call failed. */
export interface CallFailure {
  readonly code: number;
  readonly details: string;
}

/** How long a unary call may take, in milliseconds. */
const CALL_MS = 10_000;

/** A client of one service. */
export class ServiceClient implements AsyncDisposable {
  readonly #address: string;
  readonly #methods: ServiceDefinition;
  #client: Promise<EngineClient> | undefined;

  /** Connects to `host:port` when the first call is made. */
  constructor(address: string, methods: ServiceDefinition) {
    this.#address = address;
    this.#methods = methods;
  }

  #connect(): Promise<EngineClient> {
    return this.#client ??= EngineClient.connect(this.#address, this.#methods);
  }

  /** Calls a unary method; rejects with a {@linkcode CallFailure}. */
  async call(
    name: string,
    request: Message,
    fields: Record<string, string> = {},
  ): Promise<Message> {
    const client = await this.#connect();
    return await within(CALL_MS, `the answer to ${name}`, client.call(name, request, fields));
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
    return new Messages(this.#connect().then((client) => client.watch(name, request)));
  }

  /** Calls a method with streams both ways. */
  duplex(name: string): Exchange {
    return new Exchange(this.#connect().then((client) => client.open(name)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#client)?.[Symbol.asyncDispose]();
  }
}

/** The messages of a stream, one after the other. */
export class Messages {
  /** The call, once there is a connection. */
  protected readonly call: Promise<EngineCall>;

  /** Takes a call over. */
  constructor(call: Promise<EngineCall>) {
    this.call = call;
  }

  /** The next message; `undefined` at the end. */
  async next(): Promise<Message | undefined> {
    return await (await this.call).next();
  }

  /** Ends the call. */
  cancel(): void {
    void this.call.then((call) => call.cancel());
  }
}

/** A call with streams both ways. */
export class Exchange extends Messages {
  /** Sends a message. */
  send(message: Message): void {
    void this.call.then((call) => call.send(message));
  }

  /** Sends no more. */
  end(): void {
    void this.call.then((call) => call.end());
  }
}

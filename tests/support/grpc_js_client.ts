/**
 * A program: a client on grpc-js that makes calls of all four kinds through the balancer named by its argument and
 * prints what came of them as one line of JSON. A process of its own, for its HTTP/2 is that of the runtime.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import * as grpc from "@grpc/grpc-js";

const client = new grpc.Client(Deno.args[0]!, grpc.credentials.createInsecure());
const write = (text: string) => Buffer.from(text);
const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

interface Outcome {
  readonly code: number;
  readonly details: string;
  readonly messages: readonly string[];
  readonly trailer?: string;
}

function unary(path: string, text: string, options: grpc.CallOptions = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const messages: string[] = [];
    client.makeUnaryRequest(path, write, read, text, new grpc.Metadata(), options, (_, message) => {
      if (message !== undefined) messages.push(message);
    }).on("status", ({ code, details, metadata }: grpc.StatusObject) => {
      const [trailer] = metadata.get("x-trailer");
      resolve({
        code,
        details,
        messages,
        ...(trailer === undefined ? {} : { trailer: `${trailer}` }),
      });
    });
  });
}

function collect(call: grpc.ClientReadableStream<string>): Promise<Outcome> {
  return new Promise((resolve) => {
    const messages: string[] = [];
    call.on("data", (message: string) => messages.push(message));
    // The status says the same.
    call.on("error", () => {});
    call.on("status", ({ code, details }) => resolve({ code, details, messages }));
  });
}

function clientStream(path: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const messages: string[] = [];
    const call = client.makeClientStreamRequest(path, write, read, (_, message) => {
      if (message !== undefined) messages.push(message);
    });
    call.on("status", ({ code, details }) => resolve({ code, details, messages }));
    for (const text of ["a", "b", "c"]) call.write(text);
    call.end();
  });
}

const chat = client.makeBidiStreamRequest("/t.T/Chat", write, read);
for (const text of ["x", "y"]) chat.write(text);
chat.end();
const cancelled = client.makeServerStreamRequest("/t.T/Hang", write, read, "");
const cancelling = collect(cancelled);
cancelled.on("metadata", () => cancelled.cancel());

const outcomes: Record<string, Outcome> = {
  unary: await unary("/t.T/Unary", "hi"),
  error: await unary("/t.T/Error", "hi"),
  deadline: await unary("/t.T/Never", "hi", { deadline: Date.now() + 200 }),
  serverStream: await collect(client.makeServerStreamRequest("/t.T/Many", write, read, "hi")),
  clientStream: await clientStream("/t.T/Chat"),
  bidi: await collect(chat),
  cancelled: await cancelling,
};
console.log(JSON.stringify(outcomes));
client.close();

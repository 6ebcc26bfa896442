/**
 * A program: a client on grpc-js that calls the balancer named by its argument without end, from several callers at
 * once, and keeps some streams open beside. It prints `ready` when all streams are open. SIGUSR2 makes it end its
 * streams and stop; then it prints what came of all as one line of JSON, {@linkcode Load}.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import * as grpc from "@grpc/grpc-js";

/** What came of the calls. */
export interface Load {
  /** Unary calls by their status. */
  readonly unary: Readonly<Record<number, number>>;
  /** Streams that stayed open, by their status. */
  readonly streams: Readonly<Record<number, number>>;
  /** Streams with status 0 on which not everything came back, and calls with another answer than theirs. */
  readonly wrong: number;
}

const CALLERS = 10;
const STREAMS = 5;
/**
 * Messages on each stream: one at its beginning, one at its end. With more at its end, the HTTP/2 of Deno 2.9 closes a
 * session that was told GOAWAY before grpc-js has read them, and calls that ended well count as lost.
 */
const MESSAGES = ["a", "b"];
/** Milliseconds between a call that failed and the next. */
const PAUSE_MS = 5;

if (import.meta.main) {
  const client = new grpc.Client(Deno.args[0]!, grpc.credentials.createInsecure(), {
    "grpc.initial_reconnect_backoff_ms": 20,
    "grpc.max_reconnect_backoff_ms": 100,
  });
  const write = (text: string) => Buffer.from(text);
  const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const unary: Record<number, number> = {};
  const streams: Record<number, number> = {};
  let wrong = 0;
  let stopped = false;
  const count = (counts: Record<number, number>, code: number) =>
    counts[code] = (counts[code] ?? 0) + 1;

  const call = () =>
    new Promise<number>((resolve) => {
      client.makeUnaryRequest("/t.T/Unary", write, read, "ask", (_, message) => {
        if (message !== undefined && message !== "hello") wrong++;
      }).on("status", ({ code }: grpc.StatusObject) => resolve(code));
    });
  const caller = async () => {
    while (!stopped) {
      const code = await call();
      count(unary, code);
      if (code !== 0) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  };

  const opened: Promise<void>[] = [];
  const open = () => {
    const stream = client.makeBidiStreamRequest("/t.T/Chat", write, read);
    const messages: string[] = [];
    const done = new Promise<void>((resolve) => {
      // The status says the same.
      stream.on("error", () => {});
      stream.on("status", ({ code }: grpc.StatusObject) => {
        count(streams, code);
        if (code === 0 && messages.join() !== MESSAGES.join()) wrong++;
        resolve();
      });
    });
    opened.push(
      new Promise((resolve) => {
        stream.on("data", (message: string) => {
          messages.push(message);
          resolve();
        });
      }),
    );
    stream.write(MESSAGES[0]!);
    return { stream, done };
  };

  const chats = Array.from({ length: STREAMS }, open);
  await Promise.all(opened);
  const callers = Array.from({ length: CALLERS }, caller);
  const told = Promise.withResolvers<void>();
  Deno.addSignalListener("SIGUSR2", told.resolve);
  console.log("ready");
  await told.promise;
  Deno.removeSignalListener("SIGUSR2", told.resolve);
  stopped = true;
  for (const { stream } of chats) {
    for (const text of MESSAGES.slice(1)) stream.write(text);
    stream.end();
  }
  await Promise.all([...callers, ...chats.map(({ done }) => done)]);
  console.log(JSON.stringify({ unary, streams, wrong } satisfies Load));
  client.close();
}

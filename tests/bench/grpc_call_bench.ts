/**
 * What a unary call through the balancer costs without sockets: 64 calls in one write of the client, answered in one write
 * of the backend, both of which do no more than they must. Times are those of 64 calls.
 */
import { Registry } from "../../lib/backend/registry.ts";
import { Clock } from "../../lib/common/clock.ts";
import { type Duplex, writeAll } from "../../lib/common/duplex.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { GrpcConnection } from "../../lib/grpc/l7/connection.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { FRAME_ERROR, FrameReader, NEED_MORE } from "../../lib/http/h2/frame_reader.ts";
import {
  beginHeaders,
  encodeDataHeader,
  encodeSettings,
  encodeWindowUpdate,
  endHeaders,
} from "../../lib/http/h2/frame_writer.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { Planner } from "../../lib/http/l7/plan.ts";
import { Metrics } from "../../lib/observe/metrics.ts";
import { encodeBlock, type Fields } from "../support/h2_peer.ts";
import { makeRecovery } from "../support/recovery.ts";

const CALLS = 64;
const MESSAGE = new Uint8Array([0, 0, 0, 0, 4, 10, 2, 104, 105]);
/** What both peers grant once for all that follows. */
const WINDOW = 2 ** 31 - 65_536;
const HEAD = encodeBlock([[":status", "200"], ["content-type", "application/grpc"]]);
const TRAILERS = encodeBlock([["grpc-status", "0"], ["grpc-message", ""]]);

function putHeaders(out: ByteWriter, streamId: number, block: Uint8Array, endStream = false): void {
  const at = beginHeaders(out);
  out.bytes(block);
  endHeaders(out, at, { streamId, endStream, maxFrameSize: 16_384 });
}

function putMessage(out: ByteWriter, streamId: number, endStream: boolean): void {
  encodeDataHeader(out, streamId, MESSAGE.length, endStream);
  out.bytes(MESSAGE);
}

/** One end that reads frames and writes bytes. */
class Peer {
  readonly #duplex: Duplex;
  readonly #frames = new FrameReader();
  readonly #buffer = new Uint8Array(256 * 1024);
  readonly out = new ByteWriter(new Uint8Array(64 * 1024));
  #start = 0;
  #end = 0;

  constructor(duplex: Duplex, skip: number) {
    this.#duplex = duplex;
    this.#start = skip;
    encodeSettings(this.out, []);
    encodeWindowUpdate(this.out, 0, WINDOW);
  }

  /** Reads once and tells which streams the peer has ended; `false` at the end. */
  async read(onEnded: (streamId: number) => void): Promise<boolean> {
    const count = await this.#duplex.read(this.#buffer.subarray(this.#end));
    if (count === null) return false;
    this.#end += count;
    const frames = this.#frames;
    while (this.#start < this.#end) {
      const next = frames.next(this.#buffer, this.#start, this.#end);
      if (next === NEED_MORE) break;
      if (next === FRAME_ERROR) throw new Error(frames.error.detail);
      this.#start = next;
      // HEADERS and DATA; in other frames the flag means something else.
      if (frames.type < 2 && frames.endStream) onEnded(frames.streamId);
    }
    this.#buffer.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    return true;
  }

  async flush(): Promise<void> {
    const bytes = this.out.written.slice();
    this.out.at = 0;
    await writeAll(this.#duplex, bytes);
  }
}

async function answer(duplex: Duplex): Promise<void> {
  const peer = new Peer(duplex, CLIENT_PREFACE.length);
  await peer.flush();
  const onEnded = (streamId: number) => {
    putHeaders(peer.out, streamId, HEAD);
    putMessage(peer.out, streamId, false);
    putHeaders(peer.out, streamId, TRAILERS, true);
  };
  while (await peer.read(onEnded)) if (peer.out.at > 0) await peer.flush();
}

const clock = new Clock();
const registry = new Registry({
  strategy: "round-robin",
  scheme: "grpc",
  fallback: false,
  requests: {},
  connections: {
    maxConnections: 8,
    maxWaiting: 1000,
    waitTimeout: 2_000,
    idleTimeout: 60_000,
    connectTimeout: 1_000,
    h2: {},
  },
  clock,
  connect: () => {
    const [ours, theirs] = makeMemoryPair();
    void answer(theirs);
    return Promise.resolve(ours);
  },
});
registry.addBackend({ addr: "a:80" });
const recovery = makeRecovery(clock, "grpc");
const [ours, theirs] = makeMemoryPair();
const connection = new GrpcConnection(theirs, {
  services: undefined,
  planner: new Planner(registry, recovery.rules),
  recovery,
  clock,
  h2: {},
  forwarded: "x-forwarded",
  isTrusted: () => false,
  maxAttempts: 3,
  metrics: new Metrics().listener("bench"),
  accessLog: undefined,
});
void connection.serve();
const client = new Peer(ours, 0);
await writeAll(ours, CLIENT_PREFACE);
await client.flush();

let nextStream = 1;

async function run(blockOf: (call: number) => Uint8Array): Promise<void> {
  for (let i = 0; i < CALLS; i++, nextStream += 2) {
    putHeaders(client.out, nextStream, blockOf(i));
    putMessage(client.out, nextStream, true);
  }
  const flushed = client.flush();
  let left = CALLS;
  while (left > 0) await client.read(() => left--);
  await flushed;
}

function headOf(fields: Fields): Uint8Array {
  return encodeBlock([
    [":method", "POST"],
    [":scheme", "http"],
    [":path", "/echo.Echo/Say"],
    [":authority", "test"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ["user-agent", "grpc-go/1.77.0"],
    ...fields,
  ]);
}

const same = headOf([]);
const others = Array.from(
  { length: CALLS },
  (_, i) => headOf([["x-trace", `00-${String(i).padStart(32, "0")}-00f067aa0ba902b7-01`]]),
);
const timed = Array.from(
  { length: CALLS },
  (_, i) => headOf([["grpc-timeout", `${1000 + i}m`]]),
);

// The runner takes only functions that are declared `async` for what they are.
Deno.bench(`${CALLS} calls with the same head`, { group: "calls" }, async () => {
  await run(() => same);
});

Deno.bench(`${CALLS} calls with metadata of their own`, { group: "calls" }, async () => {
  await run((i) => others[i]!);
});

Deno.bench(`${CALLS} calls with deadlines`, { group: "calls" }, async () => {
  await run((i) => timed[i]!);
});

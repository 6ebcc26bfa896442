import { Buffer } from "node:buffer";
import { assert, assertEquals, assertLess } from "@std/assert";
import { RouteBuilder } from "../../mod.ts";
import { BalancerProcess } from "../support/balancer_process.ts";
import { besideCleanTraffic } from "../support/clean_traffic.ts";
import { COUNTS_DESCRIPTORS, delay, latin1, serveName } from "../support/net.ts";

const GIB = 2 ** 30;
/** How much the memory of the balancer may grow over its idle value. */
const MAX_GROWTH = 64 * 2 ** 20;
const PAUSE_MS = 3000;

/**
 * The body repeats this many bytes. As a prime it shares no factor with any buffer, so that a buffer that
 * is lost, sent twice or swapped with another shifts all that follows.
 */
const PERIOD = 65_521;
const CHUNK = 60_000;
/** Two periods, so that every stretch of one lies somewhere in one piece. */
const pattern = Buffer.from(
  Uint8Array.from({ length: 2 * PERIOD }, (_, i) => Math.imul((i % PERIOD) + 1, 2654435761) >>> 24),
);

type Framing = "Content-Length" | "chunks";

/** A connection of the runtime: `node:net` would cost more than what is measured. */
class Stream {
  readonly #conn: Deno.TcpConn;
  #buffer: Uint8Array = new Uint8Array(65_536);
  #start = 0;
  #end = 0;

  constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
    conn.setNoDelay(true);
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  /** What is there, at least one byte; nothing of it is taken. */
  async peek(): Promise<Uint8Array> {
    if (this.#start === this.#end) {
      const count = await this.#conn.read(this.#buffer);
      assert(count !== null, "the connection ended early");
      this.#start = 0;
      this.#end = count;
    }
    return this.#buffer.subarray(this.#start, this.#end);
  }

  take(count: number): void {
    this.#start += count;
  }

  async line(): Promise<string> {
    let line = "";
    for (;;) {
      const bytes = await this.peek();
      const feed = bytes.indexOf(10);
      line += Buffer.from(bytes.subarray(0, feed < 0 ? bytes.length : feed)).toString("latin1");
      this.take(feed < 0 ? bytes.length : feed + 1);
      if (feed >= 0) return line.replace(/\r$/, "");
    }
  }

  /** Reads a head; gives its framing. */
  async head(): Promise<{ framing: Framing; length: number; line: string }> {
    const line = await this.line();
    let framing: Framing | undefined;
    let length = 0;
    for (;;) {
      const field = (await this.line()).toLowerCase();
      if (field === "") break;
      if (field === "transfer-encoding: chunked") framing = "chunks";
      else if (field.startsWith("content-length: ")) {
        framing = "Content-Length";
        length = Number(field.slice(16));
      }
    }
    return { framing: framing ?? "Content-Length", length, line };
  }

  /** Writes a body of the pattern. */
  async sendBody(framing: Framing, size: number): Promise<void> {
    const frame = Buffer.alloc(CHUNK + 8);
    for (let at = 0; at < size;) {
      const count = Math.min(framing === "chunks" ? CHUNK : PERIOD, size - at);
      const offset = at % PERIOD;
      const piece = pattern.subarray(offset, offset + count);
      if (framing === "chunks") {
        const head = frame.write(`${count.toString(16)}\r\n`, "latin1");
        piece.copy(frame, head);
        frame.write("\r\n", head + count, "latin1");
        await this.write(frame.subarray(0, head + count + 2));
      } else await this.write(piece);
      at += count;
    }
    if (framing === "chunks") await this.write(latin1("0\r\n\r\n"));
  }

  /** Reads a body and compares it with the pattern; gives its size. */
  async receiveBody(
    { framing, length }: { framing: Framing; length: number },
    pauseAt: number,
  ): Promise<number> {
    let at = 0;
    let pause = pauseAt;
    const content = async (count: number) => {
      for (const end = at + count; at < end;) {
        if (at >= pause) {
          pause = Infinity;
          await delay(PAUSE_MS);
        }
        const bytes = await this.peek();
        const offset = at % PERIOD;
        const size = Math.min(bytes.length, end - at, 2 * PERIOD - offset);
        const expected = pattern.subarray(offset, offset + size);
        assert(expected.equals(bytes.subarray(0, size)), `the body has changed behind byte ${at}`);
        this.take(size);
        at += size;
      }
    };
    if (framing === "Content-Length") await content(length);
    else {
      for (;;) {
        const size = parseInt(await this.line(), 16);
        assert(size >= 0, "no chunk size");
        if (size === 0) break;
        await content(size);
        assertEquals(await this.line(), "");
      }
      assertEquals(await this.line(), "");
    }
    return at;
  }

  close(): void {
    this.#conn.close();
  }
}

/** What the backend has to do with the next request. */
interface Task {
  readonly answer: { readonly framing: Framing; readonly size: number };
  readonly pauseAt: number;
}

/** A backend that takes a body, checks it, and answers with one. */
function serveBodies() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const received: number[] = [];
  let task: Task = { answer: { framing: "Content-Length", size: 0 }, pauseAt: Infinity };
  const failures: unknown[] = [];
  const serve = async (conn: Deno.TcpConn) => {
    const stream = new Stream(conn);
    try {
      for (;;) {
        const head = await stream.head();
        received.push(await stream.receiveBody(head, task.pauseAt));
        const { framing, size } = task.answer;
        const field = framing === "chunks"
          ? "Transfer-Encoding: chunked"
          : `Content-Length: ${size}`;
        await stream.write(latin1(`HTTP/1.1 200 OK\r\n${field}\r\n\r\n`));
        await stream.sendBody(framing, size);
      }
    } catch (error) {
      // The balancer closes idle connections at its end.
      if (!String(error).includes("ended early")) failures.push(error);
    }
    stream.close();
  };
  const serving: Promise<void>[] = [];
  const loop = (async () => {
    try {
      for await (const conn of listener) serving.push(serve(conn));
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  })();
  return {
    addr: `127.0.0.1:${listener.addr.port}`,
    received,
    set task(next: Task) {
      task = next;
    },
    async [Symbol.asyncDispose]() {
      listener.close();
      await loop;
      await Promise.all(serving);
      if (failures.length > 0) throw failures[0];
    },
  };
}

/** The highest resident memory while `work` runs. */
async function peakOf(balancer: BalancerProcess, work: () => Promise<void>): Promise<number> {
  let peak = balancer.residentBytes;
  const timer = setInterval(() => peak = Math.max(peak, balancer.residentBytes), 50);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return Math.max(peak, balancer.residentBytes);
}

const CASES: readonly [
  direction: "up" | "down",
  framing: Framing,
  reader: "steady" | "pausing",
][] = [
  ["up", "Content-Length", "steady"],
  ["up", "chunks", "steady"],
  ["down", "Content-Length", "steady"],
  ["down", "chunks", "steady"],
  ["up", "chunks", "pausing"],
  ["down", "Content-Length", "pausing"],
];

for (const [direction, framing, reader] of CASES) {
  Deno.test({
    name:
      `a gibibyte ${direction} by ${framing} to a ${reader} reader arrives whole, in little memory`,
    ignore: !COUNTS_DESCRIPTORS,
    async fn() {
      await using backend = serveBodies();
      await using clean = serveName("clean");
      await using balancer = await BalancerProcess.start({
        l7: {
          backends: [backend.addr],
          routes: [new RouteBuilder().path("/clean").target(clean.addr).build()],
          fallback: true,
        },
      });
      const { hostname, port } = balancer.l7 as Deno.NetAddr;
      const client = new Stream(await Deno.connect({ hostname, port }));
      try {
        const exchange = async (up: number, down: number) => {
          const pauseAt = reader === "pausing" ? GIB / 2 : Infinity;
          backend.task = { answer: { framing, size: down }, pauseAt };
          const field = framing === "chunks"
            ? "Transfer-Encoding: chunked"
            : `Content-Length: ${up}`;
          await client.write(latin1(`POST / HTTP/1.1\r\nHost: a\r\n${field}\r\n\r\n`));
          await client.sendBody(framing, up);
          const head = await client.head();
          assertEquals(head.line, "HTTP/1.1 200 OK");
          assertEquals(await client.receiveBody(head, pauseAt), down);
          assertEquals(backend.received.pop(), up);
        };
        await exchange(1, 1);
        const idle = balancer.residentBytes;
        const peak = await peakOf(
          balancer,
          () =>
            besideCleanTraffic(
              balancer.l7,
              "/clean",
              "clean",
              () => direction === "up" ? exchange(GIB, 1) : exchange(1, GIB),
            ),
        );
        assertLess(peak - idle, MAX_GROWTH, `idle were ${idle} bytes, at most ${peak}`);
        await exchange(1, 1);
      } finally {
        client.close();
      }
    },
  });
}

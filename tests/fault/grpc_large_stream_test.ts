/**
 * A gibibyte on one stream through gRPC balancers in a process of their own: whole, and in little memory
 * however slow the receiver is. Both ends are frames and nothing else, so that they cost little beside what is
 * measured.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { assert, assertEquals, assertLess } from "@std/assert";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { BalancerProcess } from "../support/balancer_process.ts";
import { DONE, OK } from "../support/h2_peer.ts";
import { concat, frame, headers, settings, u32 } from "../support/h2_raw.ts";
import { callFields } from "../support/h2_wire.ts";
import { COUNTS_DESCRIPTORS, delay, until } from "../support/net.ts";

const GIB = 2 ** 30;
/** How much the memory of the balancer may grow over its idle value. */
const MAX_GROWTH = 64 * 2 ** 20;
/** Nothing has moved for so long, in milliseconds: the sender has been stopped. */
const STILL_MS = 300;
const MAX_FRAME = 16_384;
const HEADER = 9;

/** As a prime it shares no factor with any buffer: what is lost, repeated or swapped shifts all that follows. */
const PERIOD = 65_521;
/** Two periods, so that every stretch of one lies somewhere in one piece. */
const pattern = Buffer.from(
  Uint8Array.from({ length: 2 * PERIOD }, (_, i) => Math.imul((i % PERIOD) + 1, 2654435761) >>> 24),
);

/** One end of a connection with one stream of content, in either direction. */
class End {
  /** Bytes of content that have been sent and that have been received. */
  sent = 0;
  received = 0;
  /** The stream. */
  id = 1;
  /** Whether a head has come, and whether the other side has ended the stream. */
  headed = false;
  ended = false;
  /** Bytes of content to come before nothing more is granted until {@linkcode wake}. */
  stopsAt = Infinity;
  /** Called when a head has come. */
  onHead: (() => void) | undefined;
  readonly #conn: Deno.TcpConn;
  #preface: number;
  #windows = { connection: 65_535, stream: 65_535 };
  #ungranted = 0;
  #opened: (() => void) | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(conn: Deno.TcpConn, preface: number) {
    this.#conn = conn;
    this.#preface = preface;
    conn.setNoDelay(true);
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#writing = this.#writing.then(async () => {
      for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
    });
  }

  /** Sends content of the pattern as the windows open. */
  async sendContent(size: number): Promise<void> {
    const out = Buffer.alloc(4 * (HEADER + MAX_FRAME));
    for (let sent = 0; sent < size;) {
      let at = 0;
      // Several frames a write, as far as the windows go.
      while (sent < size && at + HEADER + MAX_FRAME <= out.length) {
        const { connection, stream } = this.#windows;
        const count = Math.min(size - sent, MAX_FRAME, connection, stream);
        if (count <= 0) break;
        out.writeUIntBE(count, at, 3);
        out.writeUInt16BE(0, at + 3);
        out.writeUInt32BE(this.id, at + 5);
        pattern.copy(out, at + HEADER, sent % PERIOD, sent % PERIOD + count);
        at += HEADER + count;
        sent += count;
        this.#windows.connection -= count;
        this.#windows.stream -= count;
      }
      this.sent = sent;
      if (at > 0) await this.write(out.subarray(0, at));
      else await new Promise<void>((resolve) => this.#opened = resolve);
    }
  }

  /** Grants again. */
  wake(): void {
    this.stopsAt = Infinity;
    this.#grant(0);
  }

  #grant(count: number): void {
    this.#ungranted += count;
    if (this.received >= this.stopsAt || this.#ungranted < 32_768) return;
    const increment = u32(this.#ungranted);
    this.#ungranted = 0;
    void this.write(concat(
      frame(FrameType.WindowUpdate, 0, 0, increment),
      frame(FrameType.WindowUpdate, 0, this.id, increment),
    ));
  }

  /** Reads to the end of the connection, and closes it. */
  async read(): Promise<void> {
    let buffer = Buffer.alloc(256 * 1024);
    let end = 0;
    for (;;) {
      const count = await this.#conn.read(buffer.subarray(end));
      if (count === null) return this.#conn.close();
      end += count;
      let at = Math.min(this.#preface, end);
      this.#preface -= at;
      while (end - at >= HEADER) {
        const length = buffer.readUIntBE(at, 3);
        if (end - at < HEADER + length) break;
        this.#onFrame(buffer.subarray(at, at + HEADER + length));
        at += HEADER + length;
      }
      buffer.copyWithin(0, at, end);
      end -= at;
      if (end === buffer.length) buffer = Buffer.concat([buffer, Buffer.alloc(buffer.length)]);
    }
  }

  #onFrame(bytes: Buffer): void {
    const type = bytes[3]!;
    const flags = bytes[4]!;
    const id = bytes.readUInt32BE(5);
    switch (type) {
      case FrameType.Data: {
        const payload = bytes.subarray(HEADER);
        const offset = this.received % PERIOD;
        assert(
          pattern.subarray(offset, offset + payload.length).equals(payload),
          `the content has changed behind byte ${this.received}`,
        );
        this.received += payload.length;
        this.ended ||= (flags & 1) !== 0;
        this.#grant(payload.length);
        break;
      }
      case FrameType.Headers:
        this.id = id;
        this.ended ||= (flags & 1) !== 0;
        if (!this.headed) this.onHead?.();
        this.headed = true;
        break;
      case FrameType.RstStream:
        throw new Error(`stream ${id} was reset`);
      case FrameType.Goaway:
        // The balancer ends at the end of the test.
        break;
      case FrameType.Settings:
        if ((flags & 1) === 0) {
          for (let at = HEADER; at < bytes.length; at += 6) {
            if (bytes.readUInt16BE(at) === Setting.InitialWindowSize) {
              this.#windows.stream += bytes.readUInt32BE(at + 2) - 65_535;
            }
          }
          void this.write(frame(FrameType.Settings, 1, 0));
        }
        break;
      case FrameType.Ping:
        if ((flags & 1) === 0) void this.write(frame(FrameType.Ping, 1, 0, bytes.subarray(HEADER)));
        break;
      case FrameType.WindowUpdate:
        this.#windows[id === 0 ? "connection" : "stream"] += bytes.readUInt32BE(HEADER);
        this.#opened?.();
    }
  }
}

/** A backend for one connection. */
async function acceptOne(
  listener: Deno.TcpListener,
): Promise<{ end: End; reading: Promise<void> }> {
  const end = new End(await listener.accept(), CLIENT_PREFACE.length);
  await end.write(settings());
  return { end, reading: end.read() };
}

/** The highest resident memory while `work` runs. */
async function peakOf(balancer: BalancerProcess, work: () => Promise<void>): Promise<number> {
  let peak = balancer.residentBytes;
  const timer = setInterval(() => peak = Math.max(peak, balancer.residentBytes), 25);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return Math.max(peak, balancer.residentBytes);
}

/** Waits until nothing moves any more. */
async function stopped(sender: End): Promise<void> {
  let before = -1;
  while (sender.sent !== before) {
    before = sender.sent;
    await delay(STILL_MS);
  }
}

for (const name of ["grpcL7", "grpcL4"] as const) {
  for (const direction of ["down", "up"] as const) {
    Deno.test({
      name:
        `${name}: a gibibyte ${direction} to a receiver that stops arrives whole, in little memory`,
      ignore: !COUNTS_DESCRIPTORS,
      async fn() {
        const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
        const addr = `127.0.0.1:${listener.addr.port}`;
        await using balancer = await BalancerProcess.start({ [name]: { backends: [addr] } });
        const { hostname, port } = balancer.addresses[name] as Deno.NetAddr;
        const client = new End(await Deno.connect({ hostname, port }), 0);
        await client.write(concat(CLIENT_PREFACE, settings(), headers(1, 0x4, callFields())));
        const reading = client.read();
        const backend = await acceptOne(listener);
        await until(() => backend.end.headed, "the head reaches the backend");
        await backend.end.write(headers(backend.end.id, 0x4, OK));
        await until(() => client.headed, "the head reaches the client");
        const idle = balancer.residentBytes;
        const [sender, receiver] = direction === "down"
          ? [backend.end, client]
          : [client, backend.end];
        receiver.stopsAt = GIB / 2;
        const peak = await peakOf(balancer, async () => {
          const sending = sender.sendContent(GIB);
          await until(() => receiver.received >= GIB / 2, "half of it", 60_000);
          await stopped(sender);
          const held = sender.sent - receiver.received;
          // A window of each side, and what the sockets hold of a sender that does not wait.
          assertLess(held, 4 * 2 ** 20, "what is between sender and receiver");
          receiver.wake();
          await sending;
          await until(() => receiver.received === GIB, "all of it", 60_000);
        });
        assertLess(peak - idle, MAX_GROWTH, `idle were ${idle} bytes, at most ${peak}`);
        await client.write(frame(FrameType.Data, 1, client.id));
        await backend.end.write(headers(backend.end.id, 0x5, DONE));
        await until(() => client.ended && backend.end.ended, "both ends");
        assertEquals(receiver.received, GIB);
        // The balancer ends both connections at its end.
        await balancer.end();
        await Promise.all([reading, backend.reading]);
        listener.close();
      },
    });
  }
}

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import type { Duplex } from "../../lib/common/duplex.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { H2Connection } from "../../lib/http/h2/connection.ts";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { DEFAULT_H2_OPTIONS, type H2Options } from "../../lib/http/h2/options.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { Call, readFields } from "../support/h2_peer.ts";
import { concat, frame, headers, RawPeer, settings, windowUpdate } from "../support/h2_raw.ts";

const OPEN = 0x4;
const LIMIT = 60_000;
/** The steps in which time passes, and what the end may be late by. */
const STEP = 1000;
const LATE = 2 * STEP;
const OPTIONS: Partial<H2Options> = { windowTimeout: LIMIT, idleTimeout: 1e9, keepaliveTime: 1e12 };

/** Lets time pass in steps until something holds; how long that took, or `Infinity` if that is above `most`. */
async function passUntil(peer: RawPeer, holds: () => boolean, most: number): Promise<number> {
  for (let passed = 0; passed <= most; passed += STEP) {
    if (holds()) return passed;
    await peer.time.advance(STEP);
  }
  return Infinity;
}

/** A server with calls that each have `size` bytes to send to a client with these windows. */
async function serve(
  { window, connection = 2 ** 30, calls = 1, size = 500_000 }: {
    readonly window: number;
    readonly connection?: number;
    readonly calls?: number;
    readonly size?: number;
  },
): Promise<RawPeer> {
  const peer = await RawPeer.open(
    "server",
    { ...OPTIONS, maxConcurrentStreams: 1000 },
    [Setting.InitialWindowSize, window],
  );
  if (connection > 0) await peer.send(windowUpdate(0, connection));
  peer.onCall = (call) => {
    call.head();
    call.send(new Uint8Array(size));
  };
  await peer.send(...Array.from({ length: calls }, (_, i) => headers(2 * i + 1)));
  return peer;
}

Deno.test("a stream whose window is never opened is reset after its time, and its connection goes on", async () => {
  const peer = await serve({ window: 0 });
  const took = await passUntil(peer, () => peer.resets.length > 0, 2 * LIMIT);
  assert(took >= LIMIT && took <= LIMIT + LATE, `it took ${took} ms`);
  assertEquals(peer.resets, [[1, H2Code.EnhanceYourCalm]]);
  const [call] = peer.calls;
  assertEquals([call!.reset?.stalled, call!.reset?.connectionLost], [true, false]);
  assertEquals(call!.stream.queued, 0, "nothing is held any more");
  assertEquals([peer.connection.streams, peer.connection.ending], [0, false]);
  await peer.send(headers(3));
  await peer.send(windowUpdate(3, 500_000));
  assertEquals(peer.received(3), 500_000);
  await peer.close();
});

Deno.test("what a peer has got and not granted again lengthens that by a second for each KiB", async () => {
  const window = 64 * 1024;
  const peer = await serve({ window });
  assertEquals(peer.received(1), window);
  const took = await passUntil(peer, () => peer.resets.length > 0, 10 * LIMIT);
  assert(took >= LIMIT + 64_000 && took <= LIMIT + 64_000 + LATE, `it took ${took} ms`);
  await peer.close();
});

Deno.test("a window that SETTINGS made large and small again lengthens nothing", async () => {
  const peer = await RawPeer.open("server", OPTIONS, [Setting.InitialWindowSize, 2 ** 31 - 1]);
  await peer.send(headers(1));
  await peer.send(settings([Setting.InitialWindowSize, 0]));
  peer.calls[0]!.head();
  peer.calls[0]!.send(new Uint8Array(1000));
  const took = await passUntil(peer, () => peer.resets.length > 0, 2 * LIMIT);
  assert(took >= LIMIT && took <= LIMIT + LATE, `it took ${took} ms`);
  await peer.close();
});

Deno.test("each grant begins the time anew, even one of a byte", async () => {
  const peer = await serve({ window: 0 });
  for (let i = 1; i <= 10; i++) {
    await peer.time.advance(LIMIT - 1000);
    await peer.send(windowUpdate(1, 1));
    assertEquals([peer.resets, peer.received(1)], [[], i]);
  }
  const took = await passUntil(peer, () => peer.resets.length > 0, 2 * LIMIT);
  assertGreater(took, LIMIT - 1000);
  await peer.close();
});

Deno.test("a stream for which nothing waits is never touched", async () => {
  const peer = await RawPeer.open("server", OPTIONS, [Setting.InitialWindowSize, 0]);
  await peer.send(headers(1, OPEN), headers(3));
  peer.calls[0]!.head();
  for (let hour = 0; hour < 24; hour++) await peer.time.advance(3_600_000);
  assertEquals([peer.resets, peer.connection.streams], [[], 2]);
  // Nor is one whose content has gone, however long ago the last grant came.
  await peer.send(windowUpdate(1, 100));
  peer.calls[0]!.send(new Uint8Array(100));
  for (let hour = 0; hour < 24; hour++) await peer.time.advance(3_600_000);
  assertEquals([peer.resets, peer.received(1)], [[], 100]);
  await peer.close();
});

for (const [how, window, grant] of [["SETTINGS", 8 << 20, 0], ["a grant", 65_535, 8 << 20]]) {
  Deno.test(`a reader of 1 KiB a second is not cut, though it says so at half of the 8 MiB that it gave by ${how}`, async () => {
    const peer = await RawPeer.open("server", OPTIONS, [
      Setting.InitialWindowSize,
      window as number,
    ]);
    await peer.send(windowUpdate(0, 2 ** 30), headers(1));
    if (grant as number > 0) await peer.send(windowUpdate(1, grant as number));
    const whole = (window as number) + (grant as number);
    peer.calls[0]!.head();
    peer.calls[0]!.send(new Uint8Array(3 * whole));
    await peer.send();
    assertEquals(peer.received(1), whole);
    for (let round = 0; round < 3; round++) {
      // In steps, so that the clock has every opportunity.
      const half = Math.floor(whole / 2);
      for (let read = 0; read < half; read += 60 * 1024) await peer.time.advance(60_000);
      await peer.send(windowUpdate(1, half));
      assertEquals(peer.resets, []);
    }
    await peer.close();
  });
}

Deno.test("a connection whose own window is never opened loses what waits for it, and takes no more", async () => {
  const peer = await serve({ window: 1 << 20, connection: 0, calls: 3 });
  assertEquals(peer.received(1) + peer.received(3) + peer.received(5), 65_535);
  // The fourth has nothing to send.
  peer.onCall = (call) => call.head();
  await peer.send(headers(7, OPEN));
  const took = await passUntil(peer, () => peer.resets.length > 0, 10 * LIMIT);
  assert(took >= LIMIT + 63_000 && took <= LIMIT + 64_000 + LATE, `it took ${took} ms`);
  const { resets } = peer;
  const calm = H2Code.EnhanceYourCalm;
  assertEquals(resets, [[1, calm], [3, calm], [5, calm]]);
  const [goaway] = peer.take(FrameType.Goaway);
  assertEquals(new TextDecoder().decode(goaway!.payload.subarray(8)), "window_stall");
  assertEquals([peer.connection.ending, peer.connection.streams, peer.abuse], [true, 1, []]);
  await peer.close();
});

Deno.test("streams that wait for their turn are not cut while their connection moves", async () => {
  const peer = await serve({ window: 1 << 20, connection: 0, calls: 100, size: 40_000 });
  const all = () => Array.from({ length: 100 }, (_, i) => peer.received(2 * i + 1));
  const sum = () => all().reduce((a, b) => a + b, 0);
  // 1 KiB a second, said every 16 KiB: a turn comes round after half an hour.
  for (let i = 0; sum() < 4_000_000; i++) {
    assertLess(i, 500);
    await peer.time.advance(16_000);
    await peer.send(windowUpdate(0, 16 * 1024));
  }
  assertEquals(peer.resets, []);
  assert(all().every((received) => received === 40_000));
  await peer.close();
});

Deno.test("hundreds of calls that stall at once are no flood of resets", async () => {
  const peer = await serve({ window: 0, calls: 500, size: 10 });
  await passUntil(peer, () => peer.resets.length === 500, 2 * LIMIT);
  assertEquals([peer.resets.length, peer.abuse, peer.connection.ending], [500, [], false]);
  await peer.close();
});

Deno.test("towards a server a request that it does not take is cancelled", async () => {
  const peer = await RawPeer.open("client", OPTIONS, [Setting.InitialWindowSize, 0]);
  const call = peer.request(false);
  call.stream.sendData(new Uint8Array(10), 0, 10, true);
  await peer.send();
  const took = await passUntil(peer, () => call.ended, 2 * LIMIT);
  assert(took >= LIMIT && took <= LIMIT + LATE, `it took ${took} ms`);
  assertEquals([call.reset?.code, call.reset?.stalled], [H2Code.Cancel, true]);
  assertEquals([peer.resets, peer.connection.available], [[[1, H2Code.Cancel]], true]);
  // Its connection's window is another matter: no request that follows could go.
  await peer.send(settings([Setting.InitialWindowSize, 1 << 20]));
  const next = peer.request(false);
  next.stream.sendData(new Uint8Array(100_000), 0, 100_000, true);
  await passUntil(peer, () => next.ended, 10 * LIMIT);
  assertEquals([next.reset?.stalled, peer.connection.available], [true, false]);
  await peer.close();
});

Deno.test("without a limit streams wait for ever", async () => {
  const options = { ...OPTIONS, windowTimeout: Infinity };
  const peer = await RawPeer.open("server", options, [Setting.InitialWindowSize, 0]);
  await peer.send(headers(1));
  peer.calls[0]!.head();
  peer.calls[0]!.send("x");
  for (let hour = 0; hour < 24; hour++) await peer.time.advance(3_600_000);
  assertEquals([peer.resets, peer.received(1)], [[], 0]);
  await peer.send(windowUpdate(1, 1));
  assertEquals(peer.received(1), 1);
  await peer.close();
});

/** A transport that takes a byte of a write when the test says so. */
class SlowSocket {
  readonly time: FakeClock = new FakeClock();
  readonly connection: H2Connection;
  /** Whether the peer takes what the transport has, as far as that can tell. */
  taking = false;
  closed = false;
  call: Call | undefined;
  readonly #theirs: Duplex;
  #taken: ((count: number) => void) | undefined;

  constructor() {
    const [ours, theirs] = makeMemoryPair();
    this.#theirs = theirs;
    const duplex: Duplex = {
      remote: ours.remote,
      local: ours.local,
      read: (into) => ours.read(into),
      write: () => new Promise((resolve) => this.#taken = resolve),
      closeWrite: () => ours.closeWrite(),
      close: () => {
        this.closed = true;
        ours.close();
      },
      isTaking: () => this.taking,
    };
    this.connection = new H2Connection({
      role: "server",
      duplex,
      clock: this.time.clock,
      options: OPTIONS,
      handler: {
        onRequest: (stream, head) => this.call = new Call(stream, readFields(head.fields), 0),
      },
    });
    void this.connection.run();
  }

  async send(...parts: readonly Uint8Array[]): Promise<void> {
    await this.#theirs.write(concat(...parts));
    await this.time.advance(0);
  }

  /** Takes a byte of the write that is under way. */
  async take(): Promise<void> {
    this.#taken!(1);
    await this.time.advance(0);
  }

  async close(): Promise<void> {
    this.#theirs.close();
    await this.connection.finished;
  }
}

const { writeTimeout } = DEFAULT_H2_OPTIONS;

Deno.test("a write that goes on, however slowly, ends no connection; one that stops does", async () => {
  const socket = new SlowSocket();
  await socket.send(CLIENT_PREFACE, settings(), headers(1));
  for (let i = 0; i < 10; i++) {
    await socket.time.advance(writeTimeout - 1000);
    assertEquals(socket.closed, false);
    await socket.take();
  }
  await socket.time.expire(writeTimeout);
  assertEquals(socket.closed, true);
  assertEquals([socket.call?.reset?.stalled, socket.call?.reset?.connectionLost], [true, true]);
  await socket.close();
});

Deno.test("nor does one that the transport knows to go on, until it does not", async () => {
  const socket = new SlowSocket();
  await socket.send(CLIENT_PREFACE, settings(), headers(1));
  socket.taking = true;
  for (let i = 0; i < 10; i++) await socket.time.expire(writeTimeout);
  assertEquals(socket.closed, false);
  socket.taking = false;
  await socket.time.expire(writeTimeout);
  assertEquals(socket.closed, true);
  await socket.close();
});

Deno.test("frames that come in pieces do not lengthen a write that nobody takes", async () => {
  const socket = new SlowSocket();
  await socket.send(CLIENT_PREFACE, settings());
  // Of a type that nobody knows, which may come now and then.
  const piece = frame(0xfe, 0, 0, [1, 2]);
  // The first half and the second, in turns: something has begun all the time, and ended in time.
  for (let passed = 0; passed <= writeTimeout - 5000; passed += 5000) {
    assertEquals(socket.closed, false);
    await socket.send(piece.subarray(0, 5));
    await socket.time.advance(5000);
    if (!socket.closed) await socket.send(piece.subarray(5));
  }
  await socket.time.expire(100);
  assertEquals(socket.closed, true);
  await socket.close();
});

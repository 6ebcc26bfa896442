import { assertEquals } from "@std/assert";
import { type Duplex, writeAll } from "../../lib/common/duplex.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import type { Sink } from "../../lib/grpc/l4/hold.ts";
import { type FrameJudge, Leg } from "../../lib/grpc/l4/leg.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { DEFAULT_H2_OPTIONS } from "../../lib/http/h2/options.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";
import { data, headers, settings } from "../support/h2_raw.ts";

const FRAME_MS = 10_000;

/** One side of a tunnel whose other side the test is. */
class LegScene implements FrameJudge, Sink, AsyncDisposable {
  readonly time = new FakeClock();
  readonly leg: Leg;
  readonly peer: Duplex;
  readonly ended = false;
  /** How often a frame was late. */
  late = 0;
  writer = new ByteWriter(new Uint8Array(64));
  /** What handing over waits for. */
  taken: Promise<void> = Promise.resolve();
  readonly #pumping: Promise<void>;

  constructor() {
    const [ours, theirs] = makeMemoryPair();
    this.peer = theirs;
    const options = { ...DEFAULT_H2_OPTIONS, frameTimeout: FRAME_MS };
    this.leg = new Leg({ duplex: ours, clock: this.time.clock, options });
    this.leg.target = this;
    this.#pumping = this.leg.pump(this, () => false);
  }

  onFrame() {
    this.leg.ready = true;
    return "pass" as const;
  }
  onBadFrame(): void {}
  onLateFrame(): void {
    this.late++;
  }
  forward(): Promise<void> {
    return this.taken;
  }
  flushed(): Promise<void> {
    return this.taken;
  }

  async send(bytes: Uint8Array): Promise<void> {
    void writeAll(this.peer, bytes);
    await settle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.peer.close();
    await this.#pumping;
    this.leg.end();
    assertEquals(this.time.clock.size, 0);
  }
}

Deno.test("time in which a peer is not read, since the other side takes nothing, is not its own", async () => {
  await using scene = new LegScene();
  await scene.send(settings());
  const block = headers(1);
  await scene.send(block.subarray(0, 10));
  await scene.time.advance(FRAME_MS / 2);
  const { promise, resolve } = Promise.withResolvers<void>();
  scene.taken = promise;
  scene.writer.at = 1;
  await scene.send(block.subarray(10, 11));
  await scene.time.advance(10 * FRAME_MS);
  assertEquals(scene.late, 0);
  scene.writer.at = 0;
  resolve();
  await scene.time.advance(FRAME_MS / 4);
  assertEquals(scene.late, 0, "half of its time was left");
  await scene.time.expire(FRAME_MS / 4);
  assertEquals(scene.late, 1);
});

Deno.test("before the first SETTINGS, and inside DATA, no frame is late", async () => {
  await using scene = new LegScene();
  const greeting = settings([1, 2]);
  await scene.send(greeting.subarray(0, 4));
  await scene.time.advance(2 * FRAME_MS);
  await scene.send(greeting.subarray(4));
  await scene.send(data(1, 100).subarray(0, 50));
  await scene.time.advance(2 * FRAME_MS);
  assertEquals(scene.late, 0);
});

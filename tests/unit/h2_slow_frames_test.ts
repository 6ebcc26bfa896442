import { assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { data, frame, headers, RawPeer, REQUEST, windowUpdate } from "../support/h2_raw.ts";
import { encodeBlock } from "../support/h2_peer.ts";

const FRAME_TIMEOUT = 10_000;
/** A request without END_HEADERS, whose body is to follow. */
const OPEN_BLOCK = 0x0;

/** Sends bytes one at a time until the connection ends; the time that took. */
async function drip(peer: RawPeer, bytes: Uint8Array, interval: number): Promise<number> {
  let time = 0;
  for (const byte of bytes) {
    await peer.send(Uint8Array.of(byte));
    await peer.time.advance(interval);
    time += interval;
    if (peer.abuse.length > 0) break;
  }
  return time;
}

function assertCutOff(peer: RawPeer): void {
  assertEquals(peer.abuse, ["frame_timeout"]);
  assertEquals(peer.goawayCode, H2Code.EnhanceYourCalm);
}

Deno.test("a frame that comes a byte at a time must end in time", async () => {
  const peer = await RawPeer.open();
  const time = await drip(peer, headers(1), 1_000);
  assertEquals(time > FRAME_TIMEOUT && time <= FRAME_TIMEOUT + 1_000, true, `${time}`);
  assertCutOff(peer);
  assertEquals(peer.calls.length, 0);
  await peer.close();
});

Deno.test("so must one beside streams that are open", async () => {
  const peer = await RawPeer.open();
  await peer.send(headers(1, 0x4));
  await peer.time.advance(60_000);
  assertEquals([peer.calls.length, peer.abuse], [1, []], "an open stream may be silent");
  await drip(peer, headers(3), 1_000);
  assertCutOff(peer);
  await peer.close();
});

Deno.test("so must a field block in several frames, whatever its frames take", async () => {
  const peer = await RawPeer.open();
  await peer.send(headers(1, OPEN_BLOCK));
  const more = encodeBlock([["x-more", "1"]]);
  for (let i = 0; i < 3; i++) {
    await peer.time.advance(4_000);
    await peer.send(frame(FrameType.Continuation, 0, 1, more));
  }
  assertCutOff(peer);
  await peer.close();
});

Deno.test("a field block that ends in time is a request like any other", async () => {
  const peer = await RawPeer.open();
  for (let id = 1; id <= 9; id += 2) {
    await peer.send(headers(id, 0x1));
    await peer.time.advance(6_000);
    await peer.send(frame(FrameType.Continuation, 0x4, id, encodeBlock([["x-more", "1"]])));
  }
  assertEquals([peer.calls.length, peer.abuse], [5, []]);
  await peer.close();
});

Deno.test("DATA may take any time, and frames of which each is late by its own do no harm", async () => {
  const peer = await RawPeer.open();
  await peer.send(headers(1, 0x4));
  const body = data(1, 20, 1);
  await peer.send(body.subarray(0, 12));
  for (const byte of body.subarray(12)) {
    await peer.time.advance(5_000);
    await peer.send(Uint8Array.of(byte));
  }
  assertEquals(peer.calls[0]!.received, 20);
  // Every read ends inside a frame, and none of them takes long.
  const update = windowUpdate(0, 1);
  await peer.send(update.subarray(0, 5));
  for (let i = 0; i < 5; i++) {
    await peer.time.advance(4_000);
    await peer.send(update.subarray(5));
    await peer.send(headers(3 + 2 * i).subarray(0, 5));
    await peer.time.advance(4_000);
    await peer.send(headers(3 + 2 * i).subarray(5));
    await peer.send(update.subarray(0, 5));
  }
  assertEquals([peer.calls.length, peer.abuse], [6, []]);
  await peer.close();
});

Deno.test("a peer that is waited for is not blamed for what we write", async () => {
  const peer = await RawPeer.open();
  await peer.send(headers(1).subarray(0, 20));
  await peer.time.advance(FRAME_TIMEOUT - 500);
  await peer.send(headers(1).subarray(20));
  await peer.time.advance(FRAME_TIMEOUT);
  assertEquals([peer.calls.length, peer.abuse], [1, []]);
  assertEquals(peer.calls[0]!.fields.length, REQUEST.length);
  await peer.close();
});

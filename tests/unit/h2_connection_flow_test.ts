import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { data, frame, headers, RawPeer, settings, windowUpdate } from "../support/h2_raw.ts";

const OPEN = 0x4;

Deno.test("no more is sent than the stream's window allows, and the rest when it opens", async () => {
  const peer = await RawPeer.open("server", {}, [Setting.InitialWindowSize, 10]);
  await peer.send(headers(1));
  const [call] = peer.calls;
  call!.head();
  call!.send(new Uint8Array(25));
  call!.end();
  await peer.send();
  assertEquals(peer.received(1), 10);
  await peer.send(windowUpdate(1, 10));
  assertEquals(peer.received(1), 20);
  assertEquals(peer.connection.streams, 1);
  await peer.send(windowUpdate(1, 10));
  assertEquals(peer.received(1), 25);
  // The trailers waited behind the content.
  const order = peer.frames.filter((one) => one.id === 1);
  assertEquals(order.at(-1)!.type, FrameType.Headers);
  assertEquals(order.at(-1)!.flags, 0x5);
  assertEquals(peer.connection.streams, 0);
  await peer.close();
});

Deno.test("the connection's window is shared in turns, and WINDOW_UPDATE on stream 0 lets all go on", async () => {
  const peer = await RawPeer.open("server", {}, [Setting.InitialWindowSize, 1_000_000]);
  await peer.send(headers(1), headers(3));
  for (const call of peer.calls) {
    call.head();
    call.send(new Uint8Array(100_000));
    call.end();
  }
  await peer.send();
  assertEquals(peer.received(1) + peer.received(3), 65_535);
  await peer.send(windowUpdate(0, 60_000));
  assert(peer.received(1) > 65_535 && peer.received(3) > 10_000, "both have moved on");
  assertEquals(peer.received(1) + peer.received(3), 125_535);
  await peer.send(windowUpdate(0, 1_000_000));
  assertEquals(peer.received(1) + peer.received(3), 200_000);
  assertEquals(peer.connection.streams, 0);
  await peer.close();
});

Deno.test("E8 a window that SETTINGS made negative must rise above 0 before anything is sent", async () => {
  const peer = await RawPeer.open("server", {}, [Setting.InitialWindowSize, 100]);
  await peer.send(headers(1));
  const [call] = peer.calls;
  call!.head();
  call!.send(new Uint8Array(300));
  await peer.send();
  assertEquals(peer.received(1), 100);
  await peer.send(settings([Setting.InitialWindowSize, 20])); // -80
  await peer.send(windowUpdate(1, 80)); // 0
  assertEquals(peer.received(1), 100);
  await peer.send(windowUpdate(1, 1));
  assertEquals(peer.received(1), 101);
  await peer.send(settings([Setting.InitialWindowSize, 50]));
  assertEquals(peer.received(1), 131);
  await peer.close();
});

Deno.test("the first SETTINGS hold for streams that were opened before they came", async () => {
  const peer = new RawPeer("client");
  const call = peer.request(false);
  call.stream.sendData(new Uint8Array(40_000), 0, 40_000, false);
  call.stream.sendData(new Uint8Array(40_000), 0, 40_000, true);
  await peer.send();
  assertEquals(peer.received(1), 65_535);
  await peer.send(settings([Setting.InitialWindowSize, 70_000]), windowUpdate(0, 100_000));
  assertEquals(peer.received(1), 70_000);
  await peer.send(windowUpdate(1, 20_000));
  assertEquals(peer.received(1), 80_000);
  await peer.close();
});

Deno.test("frames are never larger than the peer takes, heads go on in CONTINUATION", async () => {
  const peer = await RawPeer.open();
  await peer.send(headers(1));
  peer.calls[0]!.head([[":status", "200"], ["x", "y".repeat(40_000)]]);
  peer.calls[0]!.send(new Uint8Array(40_000));
  await peer.send();
  assert(peer.frames.every((one) => one.payload.length <= 16_384));
  assertEquals(peer.frames.slice(0, 3).map((one) => [one.type, one.flags]), [[1, 0], [9, 0], [
    9,
    4,
  ]]);
  await peer.close();
});

Deno.test("padding counts for both windows and is granted again at once", async () => {
  const peer = await RawPeer.open("server", { streamWindow: 1000, connectionWindow: 65_535 });
  await peer.send(headers(1, OPEN));
  peer.calls[0]!.reads = false;
  for (let i = 0; i < 12; i++) {
    await peer.send(frame(0, 0x8, 1, [100, ...new Uint8Array(110)]));
  }
  // 12 × 111 bytes came; the 101 of padding and its length were given back, the 10 of content are held.
  assertEquals(peer.calls[0]!.received, 120);
  assertEquals(peer.resets, []);
  const granted = peer.grants.filter(([id]) => id === 1).reduce((sum, [, count]) => sum + count, 0);
  assert(granted >= 500 && granted <= 12 * 101, `${granted}`);
  await peer.close();
});

Deno.test("nobody's window opens before the content has gone on", async () => {
  const peer = await RawPeer.open("server", { streamWindow: 1000, connectionWindow: 65_535 });
  await peer.send(headers(1, OPEN));
  const [call] = peer.calls;
  call!.reads = false;
  await peer.send(data(1, 1000));
  assertEquals(peer.grants, []);
  call!.resume();
  await peer.send();
  assertEquals(peer.grants, [[1, 1000]]);
  await peer.send(data(1, 1001));
  assertEquals(peer.resets, [[1, H2Code.FlowControlError]]);
  await peer.close();
});

Deno.test("the connection's own window is enforced", async () => {
  const peer = await RawPeer.open("server", { streamWindow: 65_535, connectionWindow: 65_535 });
  await peer.send(headers(1, OPEN), headers(3, OPEN));
  for (const call of peer.calls) call.reads = false;
  await peer.send(...[1, 1, 3, 3].map((id) => data(id, 16_383)));
  assertEquals(peer.goawayCode, undefined);
  await peer.send(data(3, 10));
  assertEquals(peer.goawayCode, H2Code.FlowControlError);
  await peer.close();
});

Deno.test("a stream that is reset leaves nothing of the connection's window behind", async () => {
  const peer = await RawPeer.open("server", { connectionWindow: 65_535 });
  for (let id = 1; id < 40; id += 2) {
    await peer.send(headers(id, OPEN));
    const call = peer.calls.at(-1)!;
    call.reads = false;
    await peer.send(data(id, 10_000), frame(3, 0, id, [0, 0, 0, 8]));
    assertEquals(call.reset?.code, H2Code.Cancel);
    call.resume();
  }
  assertEquals(peer.goawayCode, undefined, "20 × 10,000 bytes fit into 65,535 again and again");
  await peer.close();
});

Deno.test("what waits to be written is bounded while the peer does not read", async () => {
  const peer = await RawPeer.open("server", {}, [Setting.InitialWindowSize, 0x7fffffff]);
  await peer.send(windowUpdate(0, 0x7fffffff - 65_535));
  await peer.send(headers(1));
  const [call] = peer.calls;
  call!.head();
  let sent = 0;
  const chunk = new Uint8Array(16_384);
  // The peer takes what is under way, but nothing is read in this turn.
  for (let i = 0; i < 200; i++) sent += call!.stream.sendData(chunk, 0, chunk.length, false);
  assert(sent <= 300_000, `${sent} bytes were framed`);
  assertEquals(call!.stream.queued, 200 * 16_384 - sent);
  await peer.send();
  await peer.send();
  assertEquals(peer.received(1), 200 * 16_384);
  assertEquals(call!.stream.queued, 0);
  await peer.close();
});

import { assert, assertEquals } from "@std/assert";
import type { AbuseToken } from "../../lib/http/h2/budget.ts";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { encodeBlock } from "../support/h2_peer.ts";
import {
  data,
  frame,
  headers,
  RawPeer,
  REQUEST,
  rst,
  settings,
  windowUpdate,
} from "../support/h2_raw.ts";

const OPEN = 0x4;
const block = encodeBlock(REQUEST);
const times = (count: number, make: (i: number) => Uint8Array[]): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => make(i)).flat();

/** Floods and the token of each. */
const FLOODS: readonly (readonly [
  name: string,
  token: AbuseToken,
  frames: Uint8Array[],
])[] = [
  ["A1 rapid reset", "rapid_reset", times(2000, (i) => [headers(2 * i + 1), rst(2 * i + 1)])],
  [
    "A2 resets that we are made to send: window overflow",
    "rapid_reset",
    times(500, (i) => [headers(2 * i + 1, OPEN), windowUpdate(2 * i + 1, 0x7fffffff)]),
  ],
  [
    "A2 resets that we are made to send: malformed heads",
    "rapid_reset",
    times(500, (i) => [headers(2 * i + 1, 5, [...REQUEST, ["connection", "x"]])]),
  ],
  [
    "A2 resets that we are made to send: DATA behind the end",
    "rapid_reset",
    times(500, (i) => [headers(2 * i + 1), data(2 * i + 1, 1)]),
  ],
  [
    "A3 CONTINUATION",
    "continuation_flood",
    [frame(1, 1, 1, block), ...times(100, () => [frame(9, 0, 1, [0, 1, 0x78, 1, 0x79])])],
  ],
  [
    "A4 empty CONTINUATION",
    "continuation_flood",
    [frame(1, 1, 1, block), ...times(20_000, () => [frame(9, 0, 1)])],
  ],
  ["A5 PING", "ping_flood", times(20_000, () => [frame(6, 0, 0, new Uint8Array(8))])],
  ["A5 SETTINGS", "settings_flood", times(20_000, () => [settings()])],
  ["A6 empty DATA", "empty_frames", [headers(1, OPEN), ...times(20_000, () => [data(1, 0)])]],
  [
    "A7 PRIORITY",
    "priority_flood",
    times(20_000, () => [frame(2, 0, 3, [0, 0, 0, 1, 1])]),
  ],
  [
    "A8 tiny WINDOW_UPDATEs",
    "window_update_flood",
    [headers(1, OPEN), ...times(20_000, () => [windowUpdate(1, 1)])],
  ],
  ["E13 unknown frames", "unknown_frames", times(20_000, () => [frame(0x33, 0, 0, [1])])],
];

for (const [name, token, frames] of FLOODS) {
  Deno.test(`a flood is cut off, told once and answered ENHANCE_YOUR_CALM: ${name}`, async () => {
    const peer = await RawPeer.open();
    const heap = Deno.memoryUsage().heapUsed;
    await peer.push(...frames);
    assertEquals(peer.abuse, [token]);
    assertEquals(peer.goawayCode, H2Code.EnhanceYourCalm);
    assertEquals(peer.connection.streams, 0);
    assert(peer.calls.length <= 210, `${peer.calls.length} calls were begun`);
    assert(peer.frames.length < 1300, `${peer.frames.length} frames were answered`);
    assert(Deno.memoryUsage().heapUsed - heap < 64 * 1024 * 1024);
    await peer.close();
  });
}

Deno.test("A9 an HPACK bomb is cut off before its fields are made", async () => {
  const peer = await RawPeer.open();
  const value = "v".repeat(3900);
  const entry = [0x40, 1, 0x78, 0x7f, ...[3900 - 127].flatMap((n) => [(n & 127) | 128, n >> 7])];
  const bomb = new Uint8Array(12_000).fill(0xbe);
  await peer.push(
    frame(1, 5, 1, [...block, ...entry, ...new TextEncoder().encode(value)]),
    frame(1, 5, 3, [...block, ...bomb]),
  );
  assertEquals(peer.goawayCode, H2Code.EnhanceYourCalm);
  assertEquals(peer.calls.length, 1);
  await peer.close();
});

Deno.test("A10 more fields than are taken are refused with their own error, cookie crumbs counted", async () => {
  const peer = await RawPeer.open();
  const crumbs = Array.from({ length: 200 }, (_, i) => ["cookie", `c${i}`] as const);
  await peer.send(headers(1, 5, [...REQUEST, ...crumbs]));
  // The call is told to answer (431), nothing is forwarded, and the connection goes on.
  assertEquals(peer.goawayCode, undefined);
  assertEquals(peer.calls.length, 1);
  await peer.close();
});

Deno.test("A4 a HEADERS frame that is all padding counts as empty", async () => {
  const peer = await RawPeer.open();
  const PADDED = 0x8;
  const padding = [200, ...new Uint8Array(200)];
  // An empty block is no request, but 50 resets on their account are not too many.
  const empty = (id: number) => [frame(1, PADDED, id, padding), frame(9, OPEN, id)];
  await peer.push(...times(50, (i) => empty(2 * i + 1)));
  assertEquals([peer.abuse, peer.resets.length], [[], 50]);
  await peer.push(...empty(101));
  assertEquals(peer.abuse, ["empty_frames"]);
  assertEquals(peer.goawayCode, H2Code.EnhanceYourCalm);
  await peer.close();
});

Deno.test("A11 who asks and does not read is cut off when his answers pile up", async () => {
  const peer = new RawPeer("server", { maxConcurrentStreams: 10 }, false);
  await peer.push(CLIENT_PREFACE, settings([Setting.InitialWindowSize, 0x7fffffff]));
  for (let second = 0; second < 40 && peer.abuse.length === 0; second++) {
    await peer.push(...times(100, () => [frame(6, 0, 0, new Uint8Array(8))]));
    await peer.time.advance(10_000);
  }
  assert(peer.abuse.length <= 1);
  // Either the queue or the deadline of the write ends it.
  assert(peer.abuse[0] === "control_queue" || peer.finished);
  await peer.close();
});

Deno.test("an honest client is not taken for a flood", async () => {
  const peer = await RawPeer.open();
  peer.onCall = (call) => call.answer();
  for (let round = 0; round < 50; round++) {
    const ids = Array.from({ length: 40 }, (_, i) => 2 * (40 * round + i) + 1);
    await peer.send(
      ...ids.flatMap((id) => [headers(id, OPEN), data(id, 5, 1)]),
      windowUpdate(0, 200),
      frame(6, 0, 0, new Uint8Array(8)),
    );
    await peer.time.advance(100);
  }
  // And some cancel.
  for (let i = 0; i < 100; i++) await peer.send(headers(5001 + 2 * i, OPEN), rst(5001 + 2 * i));
  assertEquals(peer.abuse, []);
  assertEquals(peer.calls.length, 2100);
  assertEquals(peer.connection.streams, 0);
  await peer.close();
});

Deno.test("a PING for each DATA frame is no flood, not even where the frame is empty", async () => {
  const peer = await RawPeer.open();
  peer.onCall = (call) => {
    call.head();
    call.stream.sendData(new Uint8Array(0), 0, 0, true);
  };
  // Far more than the burst, without any time to earn others.
  for (let i = 0; i < 300; i++) {
    await peer.send(headers(2 * i + 1), frame(6, 0, 0, new Uint8Array(8)));
  }
  assertEquals(peer.abuse, []);
  await peer.close();
});

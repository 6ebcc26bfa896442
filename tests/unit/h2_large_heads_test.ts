import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { DEFAULT_FIELD_LIMITS } from "../../lib/http/h2/hpack/field_list.ts";
import { concat, data, frame, headers, RawPeer, REQUEST, u32 } from "../support/h2_raw.ts";
import { encodeBlock, type Fields } from "../support/h2_peer.ts";

const OPEN = 0x4;
const LARGEST_FRAME = 16_384;
const OK: Fields = [[":status", "200"]];

/** One field of so many bytes. */
function metadata(size: number): Fields[number] {
  return ["x-metadata", "m".repeat(size)];
}

/** A block as one HEADERS and as many CONTINUATION frames as it takes. */
function block(id: number, fields: Fields, flags = 0x1): Uint8Array {
  const bytes = encodeBlock(fields);
  const frames: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += LARGEST_FRAME) {
    const end = Math.min(bytes.length, at + LARGEST_FRAME);
    const last = end === bytes.length ? 0x4 : 0;
    const type = at === 0 ? FrameType.Headers : FrameType.Continuation;
    frames.push(frame(type, (at === 0 ? flags : 0) | last, id, bytes.subarray(at, end)));
  }
  return concat(...frames);
}

Deno.test("a head above the limit is refused on its stream, and the connection goes on", async () => {
  const peer = await RawPeer.open();
  await peer.send(headers(1, OPEN));
  await peer.send(block(3, [...REQUEST, metadata(20 * 1024)]), data(1, 3), headers(5));
  assertEquals(peer.goawayCode, undefined);
  assertEquals(peer.abuse, []);
  assertEquals(peer.heads.map(({ refused, error }) => refused && error), [
    false,
    "head_too_large",
    false,
  ]);
  assertEquals(peer.calls[0]!.received, 3);
  for (const call of peer.calls) call.answer();
  await peer.send();
  assertEquals([1, 3, 5].map((id) => peer.received(id)), [5, 5, 5]);
  await peer.close();
});

Deno.test("whether a head that is too large is that of a call is known wherever its type comes", async () => {
  const grpc = ["content-type", "application/grpc+proto"] as const;
  const json = ["content-type", "application/json"] as const;
  const large = metadata(20 * 1024);
  const many = Array.from({ length: 150 }, (_, i) => [`x-${i}`, "v"] as const);
  const peer = await RawPeer.open();
  const heads: Fields[] = [
    [...REQUEST, grpc, large],
    [...REQUEST, large, grpc],
    [...REQUEST, ...many, grpc],
    [...REQUEST, large, json],
    [...REQUEST, large],
    [...REQUEST, large, json, grpc],
    [...REQUEST, large, ["content-type", `application/grpc;${"x".repeat(200)}`]],
  ];
  for (const [i, head] of heads.entries()) await peer.send(block(2 * i + 1, head));
  assertEquals(peer.heads.map(({ error }) => error), heads.map(() => "head_too_large"));
  assertEquals(peer.heads.map((head) => head.grpc), [true, true, true, false, false, false, false]);
  await peer.close();
});

Deno.test("the type behind the limit is read from the dynamic table too", async () => {
  const peer = await RawPeer.open();
  const name = new TextEncoder().encode("content-type");
  const value = new TextEncoder().encode("application/grpc");
  const learn = [0x40, name.length, ...name, value.length, ...value];
  const large = encodeBlock([...REQUEST, metadata(20 * 1024)]);
  const small = encodeBlock(REQUEST);
  await peer.send(frame(1, 5, 1, [...small, ...learn]));
  await peer.send(
    frame(1, 1, 3, large.subarray(0, LARGEST_FRAME)),
    frame(9, 4, 3, [...large.subarray(LARGEST_FRAME), 0xbe]),
    frame(1, 5, 5, [...small, 0xbe]),
  );
  assertEquals(peer.heads.map(({ error, grpc }) => [error, grpc]), [
    ["", true],
    ["head_too_large", true],
    ["", true],
  ]);
  await peer.close();
});

Deno.test("a head that is too large keeps the compression state: what it adds to the table is there", async () => {
  const peer = await RawPeer.open();
  const large = encodeBlock([...REQUEST, metadata(20 * 1024)]);
  const entry = [0x40, 3, 0x61, 0x62, 0x63, 2, 0x68, 0x69]; // abc: hi
  await peer.send(
    frame(1, 1, 1, large.subarray(0, LARGEST_FRAME)),
    frame(9, 4, 1, [...large.subarray(LARGEST_FRAME), ...entry]),
    frame(1, 5, 3, [...encodeBlock(REQUEST), 0xbe]),
  );
  assertEquals(peer.calls[1]!.fields.at(-1), ["abc", "hi"]);
  await peer.close();
});

Deno.test("a block above the hard limit ends the connection before it is decoded", async () => {
  const { maxBlock } = DEFAULT_FIELD_LIMITS;
  const fits = await RawPeer.open();
  const size = maxBlock - encodeBlock([...REQUEST, metadata(0)]).length - 4;
  await fits.send(block(1, [...REQUEST, metadata(size)]));
  // It is far beyond the list's limit, but was decoded.
  assertEquals(fits.heads.map(({ error }) => error), ["head_too_large"]);
  assertEquals(fits.goawayCode, undefined);
  await fits.close();
  const large = await RawPeer.open();
  const heap = Deno.memoryUsage().heapUsed;
  await large.push(block(1, [...REQUEST, metadata(maxBlock)]));
  assertEquals(large.goawayCode, H2Code.EnhanceYourCalm);
  assertEquals(large.abuse, ["field_block_flood"]);
  assertEquals(large.calls, []);
  assertLessOrEqual(Deno.memoryUsage().heapUsed - heap, 8 * 1024 * 1024);
  await large.close();
});

Deno.test("the limits are those of the options, and the peer is told", async () => {
  const fields = { maxBlock: 200_000, maxListSize: 100_000, maxFields: 3 };
  const peer = new RawPeer("client", { fields });
  await peer.send();
  const [settings] = peer.take(FrameType.Settings);
  const entries = Array.from({ length: settings!.payload.length / 6 }, (_, i) => [
    ...settings!.payload.subarray(6 * i, 6 * i + 6),
  ]);
  assert(entries.some((entry) => `${entry}` === `${[0, 6, ...u32(100_000)]}`), `${entries}`);
  await peer.close();
  const server = await RawPeer.open("server", { fields: { ...fields, maxFields: 5 } });
  await server.send(block(1, [...REQUEST, metadata(90_000)]));
  await server.send(block(3, [...REQUEST, metadata(1), metadata(1)]));
  // More frames than any block needs by default.
  await server.send(block(5, [...REQUEST, metadata(180_000)]));
  assertEquals(server.heads.map(({ error }) => error), ["", "head_too_large", "head_too_large"]);
  assertEquals(server.abuse, []);
  await server.close();
});

Deno.test("an answer or trailers above the limit end their stream only, with a code that says why", async () => {
  const peer = await RawPeer.open("client");
  const [head, trailers, other] = [peer.request(), peer.request(), peer.request()];
  await peer.send(
    headers(3, OPEN, OK),
    headers(5, OPEN, OK),
    block(1, [...OK, metadata(20 * 1024)], 0),
    block(3, [metadata(20 * 1024)]),
    headers(5, 0x5, [["grpc-status", "0"]]),
  );
  assertEquals(peer.goawayCode, undefined);
  assertEquals(peer.resets, [[1, H2Code.EnhanceYourCalm], [3, H2Code.EnhanceYourCalm]]);
  for (const { reset } of [head, trailers]) {
    assertEquals([reset?.code, reset?.unprocessed, reset?.connectionLost], [11, false, false]);
    assertEquals(reset?.detail, "the header fields are too large or too many");
  }
  assertEquals([other.reset, other.trailers], [undefined, [["grpc-status", "0"]]]);
  // However often a backend does that: it costs nobody else's calls.
  for (let i = 0; i < 500; i++) {
    const call = peer.request();
    await peer.send(block(call.stream.id, [...OK, metadata(20 * 1024)], 0));
  }
  assertEquals(peer.goawayCode, undefined);
  await peer.close();
});

import { assert, assertEquals } from "@std/assert";
import { FrameType, readUint31 } from "../../lib/http/h2/frames.ts";
import { type Frame, frame, headers, RawPeer } from "../support/h2_raw.ts";

const OPEN = 0x4;
const AGE = 600_000;

function goaways(peer: RawPeer): [lastId: number, debug: string][] {
  return peer.frames.filter(({ type }) => type === FrameType.Goaway).map(({ payload }: Frame) => [
    readUint31(payload, 0),
    new TextDecoder().decode(payload.subarray(8)),
  ]);
}

/** When the first GOAWAY comes, in milliseconds since the connection began. */
async function ageOf(peer: RawPeer): Promise<number> {
  for (let age = 0; age < 2 * AGE; age += 5_000) {
    if (goaways(peer).length > 0) return age;
    await peer.time.advance(5_000);
  }
  return Infinity;
}

Deno.test("an old connection is drained in two steps, and its streams go on", async () => {
  const peer = await RawPeer.open("server", { maxAge: AGE });
  await peer.send(headers(1, OPEN));
  await peer.time.advance(0.89 * AGE);
  assertEquals(goaways(peer), []);
  await peer.time.advance(0.22 * AGE);
  assertEquals(goaways(peer), [[0x7fffffff, "max_age"]]);
  const ping = peer.frames.find(({ type }) => type === FrameType.Ping)!;
  await peer.send(headers(3, OPEN));
  assertEquals(peer.calls.length, 2, "what crossed the first GOAWAY is served");
  await peer.send(frame(FrameType.Ping, 1, 0, ping.payload));
  assertEquals(goaways(peer).at(-1), [3, ""]);
  await peer.time.advance(100 * AGE);
  assert(!peer.ended, "without a grace that ends, streams may go on for ever");
  for (const call of peer.calls) {
    assertEquals(call.reset, undefined);
    call.answer();
    call.stream.endEarly();
  }
  await peer.send();
  assert(peer.ended);
  await peer.close();
});

Deno.test("streams that go on beyond the grace are lost, and the connection is closed", async () => {
  const peer = await RawPeer.open("server", { maxAge: AGE, maxAgeGrace: 30_000 });
  await peer.send(headers(1, OPEN));
  await peer.time.advance(1.11 * AGE);
  await peer.time.advance(29_000);
  assertEquals([peer.calls[0]!.reset, peer.finished], [undefined, false]);
  await peer.time.expire(1_000);
  assertEquals(peer.calls[0]!.reset?.connectionLost, true);
  assert(peer.finished);
  assertEquals(peer.time.clock.size, 0);
});

Deno.test("an old connection without streams ends at once, a young one stays", async () => {
  const peer = await RawPeer.open("server", { maxAge: AGE, idleTimeout: 10 * AGE });
  await peer.time.advance(1.11 * AGE);
  await peer.time.expire(1_000);
  assert(peer.ended);
  await peer.close();
  const ageless = await RawPeer.open("server", { idleTimeout: 10 * AGE });
  await ageless.time.advance(5 * AGE);
  assertEquals(goaways(ageless), []);
  await ageless.close();
});

Deno.test("connections that began together do not end together, but within a tenth of their age", async () => {
  const ages: number[] = [];
  for (let i = 0; i < 12; i++) {
    const peer = await RawPeer.open("server", { maxAge: AGE, idleTimeout: 10 * AGE });
    ages.push(await ageOf(peer));
    await peer.close();
  }
  assert(ages.every((age) => age >= 0.9 * AGE && age <= 1.1 * AGE + 5_200), `${ages}`);
  assert(new Set(ages).size > 3, `${ages}`);
});

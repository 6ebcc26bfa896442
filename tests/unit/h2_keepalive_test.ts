import { assert, assertEquals } from "@std/assert";
import type { H2Options } from "../../lib/http/h2/connection.ts";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType, readUint31 } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { data, type Frame, frame, headers, RawPeer, settings } from "../support/h2_raw.ts";

const OPEN = 0x4;
const ACK = 0x1;
const RESPONSE = [[":status", "200"]] as const;
const PING = frame(FrameType.Ping, 0, 0, new Uint8Array(8));
const OPTIONS = { keepaliveTime: 10_000, keepaliveTimeout: 5_000, idleTimeout: 3_600_000 };

/** A connection with one open stream on which nothing has been said. */
async function openStream(
  role: "server" | "client",
  options: Partial<H2Options> = {},
): Promise<RawPeer> {
  const peer = await RawPeer.open(role, { ...OPTIONS, ...options });
  if (role === "client") peer.request();
  else await peer.send(headers(1, OPEN));
  await peer.send();
  peer.take();
  return peer;
}

function answer(ping: Frame): Uint8Array {
  return frame(FrameType.Ping, ACK, 0, ping.payload);
}

for (const role of ["server", "client"] as const) {
  Deno.test(`a peer of a ${role} that is silent is asked, and asked again when it has answered`, async () => {
    const peer = await openStream(role);
    await peer.time.advance(9_500);
    assertEquals(peer.take(), []);
    await peer.time.expire(500);
    for (let round = 0; round < 3; round++) {
      const pings = peer.take();
      assertEquals(pings.map(({ type, flags }) => [type, flags]), [[FrameType.Ping, 0]]);
      await peer.send(answer(pings[0]!));
      await peer.time.expire(OPTIONS.keepaliveTimeout);
      assert(!peer.finished);
      await peer.time.expire(OPTIONS.keepaliveTime);
    }
    await peer.close();
  });

  Deno.test(`a peer of a ${role} that stays silent is gone: its streams are lost, the socket is closed`, async () => {
    const peer = await openStream(role);
    const exchanges = role === "client" ? [peer.request()] : peer.calls;
    await peer.time.expire(OPTIONS.keepaliveTime);
    assertEquals(peer.take(FrameType.Ping).length, 1);
    await peer.time.advance(OPTIONS.keepaliveTimeout - 500);
    assert(!peer.finished);
    await peer.time.expire(500);
    assert(peer.finished);
    for (const { reset } of exchanges) {
      assertEquals([reset?.connectionLost, reset?.unprocessed], [true, false]);
      assertEquals(reset?.detail, "no answer to a PING within 5000 ms");
    }
    assertEquals(peer.connection.error?.detail, "no answer to a PING within 5000 ms");
    assertEquals(peer.connection.streams, 0);
    assertEquals(peer.time.clock.size, 0);
  });
}

Deno.test("whatever comes counts as an answer, and puts the next question off", async () => {
  const peer = await openStream("client");
  await peer.time.expire(OPTIONS.keepaliveTime);
  assertEquals(peer.take(FrameType.Ping).length, 1);
  await peer.time.advance(4_000);
  await peer.send(headers(1, OPEN, RESPONSE));
  await peer.time.advance(9_000);
  await peer.send(data(1, 1));
  await peer.time.advance(9_000);
  assertEquals(peer.take(FrameType.Ping), []);
  assert(!peer.finished);
  await peer.time.expire(1_000);
  assertEquals(peer.take(FrameType.Ping).length, 1);
  await peer.close();
});

Deno.test("without streams nobody is asked, unless that is wanted", async () => {
  const quiet = await RawPeer.open("server", OPTIONS);
  for (let i = 0; i < 10; i++) await quiet.time.expire(OPTIONS.keepaliveTime);
  assertEquals(quiet.take(), []);
  await quiet.close();
  const asked = await RawPeer.open("server", { ...OPTIONS, keepaliveIdle: true });
  await asked.time.expire(OPTIONS.keepaliveTime);
  assertEquals(asked.take(FrameType.Ping).length, 1);
  await asked.time.expire(OPTIONS.keepaliveTimeout);
  assert(asked.finished);
});

Deno.test("a peer that takes nothing has the time of a write, not that of a PING", async () => {
  const peer = new RawPeer("server", { ...OPTIONS, writeTimeout: 40_000 }, false);
  await peer.push(CLIENT_PREFACE, settings(), headers(1, OPEN));
  await peer.time.expire(OPTIONS.keepaliveTime);
  await peer.time.expire(OPTIONS.keepaliveTimeout);
  assert(!peer.finished);
  await peer.time.expire(40_000);
  assert(peer.finished);
});

Deno.test("the answer to a question is none to the PING between two GOAWAYs", async () => {
  const peer = await openStream("server");
  await peer.time.expire(OPTIONS.keepaliveTime);
  const [question] = peer.take(FrameType.Ping);
  peer.connection.drain();
  await peer.send(answer(question!));
  assertEquals(peer.take(FrameType.Goaway).length, 1);
  await peer.close();
});

/** Lets a client ping, `pause` milliseconds apart; how many PINGs were answered before it was cut off. */
async function pings(peer: RawPeer, count: number, pause: number): Promise<number> {
  for (let i = 0; i < count && !peer.ended; i++) {
    if (i > 0) await peer.time.advance(pause);
    await peer.send(PING);
  }
  return peer.frames.filter(({ type, flags }) => type === FrameType.Ping && flags === ACK).length;
}

Deno.test("the third PING before its time ends the connection as gRPC does", async () => {
  const peer = await openStream("server", { minPingInterval: 5_000, keepaliveTime: Infinity });
  // One is free, for HEADERS were sent or nothing came before; two more are forgiven.
  assertEquals(await pings(peer, 10, 4_900), 3);
  const goaway = peer.take(FrameType.Goaway).at(-1)!;
  assertEquals(readUint31(goaway.payload, 4), H2Code.EnhanceYourCalm);
  assertEquals(new TextDecoder().decode(goaway.payload.subarray(8)), "too_many_pings");
  assertEquals(peer.abuse, ["too_many_pings"]);
  assertEquals(peer.calls[0]!.reset?.connectionLost, true);
  await peer.close();
});

Deno.test("PINGs in time are never too many, nor are those before which something was sent", async () => {
  const options = { minPingInterval: 5_000, keepaliveTime: Infinity };
  const slow = await openStream("server", options);
  assertEquals(await pings(slow, 50, 5_000), 50);
  await slow.close();
  const busy = await openStream("server", options);
  const [call] = busy.calls;
  call!.head();
  for (let i = 0; i < 50; i++) {
    call!.send("x");
    await busy.send(PING);
    await busy.time.advance(10);
  }
  assertEquals([busy.abuse, busy.ended], [[], false]);
  // What was sent pays for the next one only, and what was forgiven before is forgotten.
  await busy.send(PING, PING, PING);
  assertEquals(busy.abuse, ["too_many_pings"]);
  await busy.close();
});

Deno.test("any number may come when no interval is set; the flood is another matter", async () => {
  const peer = await openStream("server", { keepaliveTime: Infinity });
  assertEquals(await pings(peer, 50, 200), 50);
  await peer.close();
});

Deno.test("without streams PINGs may come as often as with them, or once in two hours", async () => {
  const options = { ...OPTIONS, idleTimeout: 1e9, minPingInterval: 5_000, keepaliveTime: Infinity };
  const lenient = await RawPeer.open("server", options);
  assertEquals(await pings(lenient, 20, 5_000), 20);
  await lenient.close();
  const strict = await RawPeer.open("server", { ...options, permitIdlePings: false });
  assertEquals(await pings(strict, 20, 7_199_000), 3);
  await strict.close();
  const patient = await RawPeer.open("server", { ...options, permitIdlePings: false });
  assertEquals(await pings(patient, 20, 7_200_000), 20);
  await patient.close();
});

Deno.test("GOAWAY is told with its code and the beginning of what it says", async () => {
  const told: [number, string][] = [];
  const peer = await RawPeer.open("client");
  peer.onGoaway = (code, debug) => told.push([code, debug]);
  peer.request();
  const payload = [0, 0, 0, 1, 0, 0, 0, 11, ...new TextEncoder().encode("too_many_pings")];
  await peer.send(frame(FrameType.Goaway, 0, 0, payload));
  const long = [...payload.slice(0, 8), ...new Uint8Array(1000).fill(0x61)];
  await peer.send(frame(FrameType.Goaway, 0, 0, long));
  assertEquals(told, [[11, "too_many_pings"], [11, "a".repeat(256)]]);
  await peer.close();
});

import { assert, assertEquals } from "@std/assert";
import { DEFAULT_H2_OPTIONS } from "../../lib/http/h2/connection.ts";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType, readUint31 } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import {
  data,
  frame,
  goaway,
  headers,
  RawPeer,
  rst,
  settings,
  windowUpdate,
} from "../support/h2_raw.ts";

const OPEN = 0x4;

function lastIds(peer: RawPeer): number[] {
  return peer.frames.filter((one) => one.type === FrameType.Goaway)
    .map((one) => readUint31(one.payload, 0));
}

Deno.test("a server drains in two steps: streams that were on their way are still served", async () => {
  const peer = await RawPeer.open();
  await peer.send(headers(1));
  peer.connection.drain();
  await peer.send();
  assertEquals(lastIds(peer), [0x7fffffff]);
  const ping = peer.take(FrameType.Ping)[0]!;
  await peer.send(headers(3));
  assertEquals(peer.calls.length, 2, "what crossed the first GOAWAY is served");
  await peer.send(frame(FrameType.Ping, 1, 0, ping.payload));
  assertEquals(lastIds(peer), [3]);
  await peer.send(headers(5));
  assertEquals(peer.calls.length, 2, "what comes behind the second is not");
  assert(!peer.ended);
  for (const call of peer.calls) call.answer();
  await peer.send();
  assertEquals([peer.received(1), peer.received(3)], [5, 5]);
  assert(peer.ended, "the connection ends with its last stream");
  await peer.close();
});

Deno.test("a client that does not answer the PING of a drain gets the last GOAWAY all the same", async () => {
  const peer = await RawPeer.open();
  await peer.send(headers(1));
  peer.connection.drain();
  await peer.time.expire(1000);
  assertEquals(lastIds(peer), [0x7fffffff, 1]);
  await peer.close();
});

Deno.test("a connection without streams that drains ends at once when the PING is answered", async () => {
  const peer = await RawPeer.open();
  peer.connection.drain();
  await peer.send(frame(FrameType.Ping, 1, 0, new Uint8Array(8)));
  assertEquals(lastIds(peer), [0x7fffffff], "the answer to another PING is none to this one");
  const ping = peer.take(FrameType.Ping)[0]!;
  await peer.send(frame(FrameType.Ping, 1, 0, ping.payload));
  assertEquals(lastIds(peer), [0]);
  assert(peer.ended);
  await peer.close();
  assert(peer.finished);
});

Deno.test("A13 streams above the last one of a GOAWAY were not processed, the others finish", async () => {
  const peer = await RawPeer.open("client");
  const [first, second] = [peer.request(), peer.request()];
  await peer.send(goaway(1));
  assertEquals(peer.goaways, 1);
  assertEquals(peer.connection.available, false);
  assertEquals(first.reset, undefined);
  assertEquals(second.reset?.unprocessed, true);
  assertEquals(second.reset?.connectionLost, false);
  await peer.send(headers(1, 4, [[":status", "200"]]), data(1, 7, 1));
  assertEquals(first.received, 7);
  assert(first.ended && first.reset === undefined);
  assert(peer.ended, "and then the connection ends");
  await peer.close();
});

Deno.test("REFUSED_STREAM was not processed, other resets may have been", async () => {
  const peer = await RawPeer.open("client");
  const [first, second] = [peer.request(), peer.request()];
  await peer.send(rst(1, H2Code.RefusedStream), rst(3, H2Code.InternalError));
  assertEquals([first.reset?.unprocessed, second.reset?.unprocessed], [true, false]);
  assertEquals(second.reset?.code, H2Code.InternalError);
  assertEquals(peer.connection.streams, 0);
  await peer.close();
});

Deno.test("a client that gets GOAWAY as a server's peer still serves what it has", async () => {
  const peer = await RawPeer.open();
  await peer.send(headers(1), goaway(0));
  assertEquals(peer.calls[0]!.reset, undefined);
  peer.calls[0]!.answer();
  await peer.send();
  assertEquals(peer.received(1), 5);
  assert(peer.ended);
  await peer.close();
});

Deno.test("streams are told when the connection is lost, each once, and none is left", async () => {
  for (const role of ["server", "client"] as const) {
    const peer = await RawPeer.open(role);
    const exchanges = role === "client" ? [peer.request(), peer.request()] : peer.calls;
    if (role === "server") await peer.send(headers(1, OPEN), headers(3, OPEN));
    assertEquals(peer.connection.streams, 2);
    await peer.close();
    assertEquals(exchanges.map((one) => one.reset?.connectionLost), [true, true]);
    assertEquals(peer.connection.streams, 0);
    assertEquals(peer.streamsEnded, 2);
  }
});

Deno.test("a trailers-only answer before the request has ended is followed by RST_STREAM NO_ERROR", async () => {
  const peer = await RawPeer.open();
  await peer.send(headers(1, OPEN));
  const { stream } = peer.calls[0]!;
  peer.calls[0]!.end([[":status", "200"], ["grpc-status", "12"]]);
  stream.endEarly();
  await peer.send();
  const types = peer.frames.map((one) => one.type);
  assert(types.indexOf(FrameType.Headers) < types.indexOf(FrameType.RstStream));
  assertEquals(peer.resets, [[1, H2Code.NoError]]);
  assertEquals(peer.connection.streams, 0);
  await peer.close();
});

Deno.test("a client that says nothing is closed when its preface is due", async () => {
  const peer = new RawPeer();
  await peer.time.expire(DEFAULT_H2_OPTIONS.settingsTimeout);
  await peer.time.expire(1000);
  assertEquals(peer.goawayCode, H2Code.SettingsTimeout);
  assert(peer.finished);
  assertEquals(peer.time.clock.size, 0);
});

Deno.test("a client that sends its preface only is closed when its SETTINGS are due", async () => {
  const peer = new RawPeer();
  await peer.push(CLIENT_PREFACE);
  await peer.time.expire(DEFAULT_H2_OPTIONS.settingsTimeout);
  await peer.time.expire(1000);
  assertEquals(peer.goawayCode, H2Code.SettingsTimeout);
  assert(peer.finished);
});

Deno.test("a client that trickles its preface gains no time", async () => {
  const peer = new RawPeer();
  for (const byte of CLIENT_PREFACE.subarray(0, 12)) {
    await peer.push(new Uint8Array([byte]));
    await peer.time.advance(1000);
  }
  await peer.time.expire(1000);
  assert(peer.finished);
});

Deno.test("an idle connection drains and ends; one with a stream stays", async () => {
  const { idleTimeout } = DEFAULT_H2_OPTIONS;
  const peer = await RawPeer.open();
  await peer.send(headers(1, OPEN));
  await peer.time.expire(10 * idleTimeout);
  assertEquals(peer.frames, []);
  peer.calls[0]!.stream.reset();
  await peer.send();
  await peer.time.expire(idleTimeout);
  assertEquals(lastIds(peer), [0x7fffffff]);
  await peer.time.expire(1000);
  assert(peer.ended);
  await peer.close();
});

Deno.test("a write that nobody takes ends the connection", async () => {
  const peer = await RawPeer.open();
  await peer.close();
  const stalled = new RawPeer("server", {}, false);
  await stalled.push(CLIENT_PREFACE, settings(), headers(1));
  await stalled.time.expire(DEFAULT_H2_OPTIONS.writeTimeout);
  assert(stalled.finished);
  assertEquals(stalled.calls[0]?.reset?.connectionLost, true);
});

Deno.test("GOAWAY is not said to a peer that must not hear it", async () => {
  const peer = await RawPeer.open("server", { sendsGoaway: false });
  await peer.send(headers(1));
  peer.connection.drain();
  await peer.time.expire(1000);
  peer.calls[0]!.answer();
  await peer.send();
  assertEquals(lastIds(peer), []);
  assert(peer.ended);
  await peer.close();
});

/** A connection whose last stream has ended behind GOAWAY, and whose client does not close it. */
async function leave(): Promise<RawPeer> {
  const peer = await RawPeer.open();
  await peer.send(headers(1), goaway(0));
  peer.calls[0]!.answer();
  await peer.send();
  assert(peer.ended && !peer.finished);
  return peer;
}

Deno.test("a client that does not close the connection behind its end has a second", async () => {
  const peer = await leave();
  await peer.time.advance(900);
  assert(!peer.finished);
  await peer.time.expire(100);
  assert(peer.finished);
});

Deno.test("a client that is seen to read what is left is waited for, but not for ever", async () => {
  const peer = await leave();
  const { writeTimeout } = DEFAULT_H2_OPTIONS;
  for (let waited = 0; waited + 1_000 < writeTimeout; waited += 900) {
    await peer.time.advance(900);
    assert(!peer.finished, `${waited}`);
    await peer.send(windowUpdate(0, 1));
  }
  for (let i = 0; i < 3; i++) {
    await peer.time.advance(900);
    await peer.send(windowUpdate(0, 1));
  }
  assert(peer.finished);
});

Deno.test("a client that has said nothing yet may still begin when it is given time to", async () => {
  const peer = new RawPeer();
  peer.connection.drain(500);
  await peer.send(CLIENT_PREFACE, settings(), headers(1));
  assertEquals([lastIds(peer), peer.calls.length], [[0x7fffffff], 1]);
  peer.calls[0]!.answer();
  await peer.send(frame(FrameType.Ping, 1, 0, peer.take(FrameType.Ping)[0]!.payload));
  assert(peer.ended);
  await peer.close();
});

Deno.test("one that says nothing in that time is left, and so is one that is given none", async () => {
  const patient = new RawPeer();
  patient.connection.drain(500);
  await patient.time.expire(400);
  assertEquals([lastIds(patient), patient.ended], [[], false]);
  await patient.time.expire(500);
  assertEquals([lastIds(patient), patient.ended], [[0], true]);
  await patient.close();
  const hasty = new RawPeer();
  hasty.connection.drain();
  await hasty.send();
  assertEquals([lastIds(hasty), hasty.ended], [[0], true]);
  await hasty.close();
});

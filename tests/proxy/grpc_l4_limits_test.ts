/**
 * Limits of a gRPC balancer at layer 4: connections of each backend, and how long a frame may take.
 */
import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { settle } from "../support/fake_clock.ts";
import { GrpcL4Scene, OWN_PREFIX } from "../support/grpc_l4.ts";
import { H2Client, OK } from "../support/h2_peer.ts";
import { concat, data, frame, headers, settings } from "../support/h2_raw.ts";
import { callFields } from "../support/h2_wire.ts";
import { RawEnd } from "../support/raw_end.ts";

const OPEN = 0x4;
const END = 0x5;
/** How long who finds no backend with room may wait, and how long a frame may take; in milliseconds. */
const WAIT_MS = 2_000;
const FRAME_MS = 10_000;
const PING = frame(FrameType.Ping, 0, 0, new Uint8Array(8));

/** Lets everything happen that needs no time, in some turns. */
async function turns(count = 12): Promise<void> {
  for (let i = 0; i < count; i++) await settle();
}

/** Further clients of a scene. */
async function clients(scene: GrpcL4Scene, count: number): Promise<H2Client[]> {
  const all = Array.from(
    { length: count },
    () => new H2Client(scene.connect(), { clock: scene.time.clock }),
  );
  for (const { ready } of all) await ready;
  return all;
}

/** How often the listener has refused something for a reason. */
const refusals = (scene: GrpcL4Scene, reason: string) => scene.listener.refusals.get(reason) ?? 0;

Deno.test("a backend has so many connections; who comes later waits, in order, and is served besides", async () => {
  await using scene = await GrpcL4Scene.open({ maxConnections: 1 });
  const first = scene.client.call("/s.S/M", { content: "ask" });
  await scene.end(first);
  // It is the connection that counts, whether calls are under way or not.
  const [second, third] = await clients(scene, 2) as [H2Client, H2Client];
  const waiting = second.call("/s.S/Second", { content: "ask" });
  await turns();
  const last = third.call("/s.S/Third", { content: "ask" });
  const own = third.call(`${OWN_PREFIX}S/M`);
  await scene.end(own);
  assertEquals([waiting.ended, last.ended, scene.registry.waiting], [false, false, 2]);
  assertEquals([own.value("grpc-status"), scene.inFlight], ["0", 1]);
  scene.client.connection.abort();
  await scene.end(waiting);
  await turns();
  assertEquals([waiting.value("grpc-status"), last.ended, scene.registry.waiting], ["0", false, 1]);
  await second[Symbol.asyncDispose]();
  await scene.end(last);
  assertEquals([last.value("grpc-status"), scene.inFlight], ["0", 1]);
  assertEquals(scene.backend().calls.map(({ path }) => path), [
    "/s.S/M",
    "/s.S/Second",
    "/s.S/Third",
  ]);
  await third[Symbol.asyncDispose]();
});

Deno.test("who waits in vain for a backend with room is told when to come back, and may ask again", async () => {
  await using scene = await GrpcL4Scene.open({ maxConnections: 1, maxWaiting: 1 });
  await scene.end(scene.client.call("/s.S/M"));
  const [second, third] = await clients(scene, 2) as [H2Client, H2Client];
  const late = [1, 2].map(() => second.call("/s.S/M", { content: "ask" }));
  await turns();
  const atOnce = third.call("/s.S/M", { content: "ask" });
  await scene.end(atOnce);
  assertEquals(late.map(({ ended }) => ended), [false, false]);
  await scene.time.expire(WAIT_MS);
  await scene.end(...late);
  for (const call of [atOnce, ...late]) {
    assertEquals([call.value("grpc-status"), call.value("grpc-retry-pushback-ms")], ["14", "1000"]);
  }
  assertEquals([refusals(scene, "overloaded"), scene.registry.waiting], [3, 0]);
  assertEquals(scene.backend().calls.length, 1);
  scene.client.connection.abort();
  await scene.until(() => scene.inFlight === 0, "room");
  const again = second.call("/s.S/M", { content: "ask" });
  await scene.end(again);
  assertEquals(again.value("grpc-status"), "0");
  await second[Symbol.asyncDispose]();
  await third[Symbol.asyncDispose]();
});

Deno.test("a client whose calls are cancelled, or that goes, waits no more", async () => {
  await using scene = await GrpcL4Scene.open({ maxConnections: 1 });
  await scene.end(scene.client.call("/s.S/M"));
  const [second, third] = await clients(scene, 2) as [H2Client, H2Client];
  const cancelled = [1, 2].map(() => second.call("/s.S/M", { content: "ask" }));
  third.call("/s.S/M", { content: "ask" });
  await turns();
  assertEquals(scene.registry.waiting, 2);
  for (const { stream } of cancelled) stream.reset(H2Code.Cancel);
  await turns();
  assertEquals(scene.registry.waiting, 1);
  third.connection.abort();
  await scene.until(() => scene.registry.waiting === 0, "nobody waits");
  const again = second.call("/s.S/M", { content: "ask" });
  await turns();
  assertEquals(scene.registry.waiting, 1);
  scene.client.connection.abort();
  await scene.end(again);
  assertEquals(again.value("grpc-status"), "0");
  await second[Symbol.asyncDispose]();
});

Deno.test("a call that comes in the turn in which the last one is cancelled waits on", async () => {
  await using scene = await GrpcL4Scene.open({ maxConnections: 1 });
  await scene.end(scene.client.call("/s.S/M"));
  await using raw = new RawEnd(scene.connect());
  await raw.send(CLIENT_PREFACE, settings(), headers(1, END, callFields()));
  await scene.until(() => scene.registry.waiting === 1, "it waits");
  await raw.send(frame(FrameType.RstStream, 0, 1, [0, 0, 0, 8]), headers(3, END, callFields()));
  await turns();
  assertEquals(scene.registry.waiting, 1);
  scene.client.connection.abort();
  await scene.until(() => raw.frames.some(({ id }) => id === 3), "the answer");
  assertEquals(scene.backend().calls.map(({ stream }) => stream.id), [1, 3]);
  assertEquals(scene.inFlight, 1);
});

Deno.test("a backend that is reached in vain gives its place back, and another is asked", async () => {
  await using scene = await GrpcL4Scene.open({ backends: ["a:80", "b:80"], maxConnections: 1 });
  scene.down.add("a:80");
  const [second] = await clients(scene, 1) as [H2Client];
  const first = scene.client.call("/s.S/M", { content: "ask" });
  await scene.end(first);
  assertEquals([first.value("grpc-status"), scene.inFlight], ["0", 1]);
  // The one that has room is down, the other has none.
  const waiting = second.call("/s.S/M", { content: "ask" });
  await turns();
  assertEquals([waiting.ended, scene.registry.waiting], [false, 1]);
  scene.client.connection.abort();
  await scene.end(waiting);
  assertEquals(waiting.value("grpc-status"), "0");
  await second[Symbol.asyncDispose]();
});

/** The beginning of a frame, or of a field block in several frames, on a stream. */
const SLOW: readonly (readonly [what: string, begin: (id: number) => Uint8Array])[] = [
  ["the header of a frame", (id) => headers(id, OPEN, callFields()).subarray(0, 5)],
  ["HEADERS", (id) => headers(id, OPEN, callFields()).subarray(0, 30)],
  [
    "a field block",
    (id) => concat(headers(id, 0x1, callFields()), frame(FrameType.Continuation, 0, id)),
  ],
  ["PING", () => PING.subarray(0, 12)],
];

for (const [what, begin] of SLOW) {
  Deno.test(`a client that draws out ${what} is cut off, and no other`, async () => {
    await using scene = await GrpcL4Scene.open();
    await using raw = new RawEnd(scene.connect());
    await raw.send(CLIENT_PREFACE, settings(), headers(1, END, callFields()));
    await scene.until(() => raw.frames.some(({ id }) => id === 1), "an answer");
    const bytes = begin(3);
    await raw.send(PING, bytes.subarray(0, 1));
    // One byte more at a time makes it no quicker.
    for (let at = 1; at < 4; at++) {
      await scene.time.advance(FRAME_MS / 4);
      await raw.send(bytes.subarray(at, at + 1));
    }
    await raw.send(bytes.subarray(4));
    assertEquals(raw.farewell, undefined);
    await scene.time.expire(FRAME_MS / 4);
    await scene.until(() => raw.farewell !== undefined, "GOAWAY");
    assertEquals(raw.farewell, { code: H2Code.EnhanceYourCalm, debug: "frame_timeout" });
    assertEquals(refusals(scene, "frame_timeout"), 1);
    await scene.time.expire(1_000);
    await scene.until(() => raw.ended, "the end of the connection");
    const other = scene.client.call("/s.S/M", { content: "ask" });
    await scene.end(other);
    assertEquals(other.value("grpc-status"), "0");
  });
}

Deno.test("the time of a frame begins with the frame, and ends with it", async () => {
  await using scene = await GrpcL4Scene.open();
  await using raw = new RawEnd(scene.connect());
  await raw.send(CLIENT_PREFACE, settings());
  for (let id = 1; id < 20; id += 2) {
    const block = headers(id, END, callFields());
    await raw.send(block.subarray(0, 20));
    await scene.time.advance(FRAME_MS * 0.6);
    await raw.send(block.subarray(20));
    await scene.until(() => raw.frames.some((one) => one.id === id), "the answer");
    await scene.time.advance(FRAME_MS * 0.6);
  }
  assertEquals([raw.farewell, raw.ended], [undefined, false]);
});

Deno.test("content may come as slowly as it likes, from either side", async () => {
  await using scene = await GrpcL4Scene.open();
  const connected = Promise.withResolvers<RawEnd>();
  scene.backend().serve = (duplex) => {
    connected.resolve(new RawEnd(duplex, CLIENT_PREFACE.length));
    return scene.own.connections.values().next().value!;
  };
  await using raw = new RawEnd(scene.connect());
  await raw.send(CLIENT_PREFACE, settings(), headers(1, OPEN, callFields()));
  await using backend = await connected.promise;
  await backend.send(settings(), headers(1, OPEN, OK));
  const content = data(1, 8);
  await raw.send(content.subarray(0, 9));
  await backend.send(content.subarray(0, 9));
  for (let at = 9; at < content.length; at++) {
    await scene.time.advance(FRAME_MS);
    await raw.send(content.subarray(at, at + 1));
    await backend.send(content.subarray(at, at + 1));
  }
  await scene.until(() => backend.count(FrameType.Data) === 1, "what the client sends");
  await scene.until(() => raw.count(FrameType.Data) === 1, "what the backend sends");
  assertEquals([raw.farewell, backend.farewell], [undefined, undefined]);
});

Deno.test("a backend that draws out a frame is left: its calls end, and it counts as failed", async () => {
  for (const [what, begin] of SLOW) {
    await using scene = await GrpcL4Scene.open();
    const connected = Promise.withResolvers<RawEnd>();
    scene.backend().serve = (duplex) => {
      connected.resolve(new RawEnd(duplex, CLIENT_PREFACE.length));
      return scene.own.connections.values().next().value!;
    };
    const outcomes: string[] = [];
    const [live] = scene.registry.backends;
    live!.onOutcome = (outcome) => outcomes.push(outcome.type === "failed" ? outcome.reason : "");
    const call = scene.client.call("/s.S/M", { content: "ask" });
    await using backend = await connected.promise;
    await backend.send(settings());
    await scene.until(() => backend.count(FrameType.Headers) === 1, "the call");
    await backend.send(begin(1));
    await scene.time.advance(FRAME_MS * 0.9);
    assert(!call.ended, what);
    await scene.time.expire(FRAME_MS * 0.1);
    await scene.end(call);
    assertEquals([call.value("grpc-status"), outcomes], ["14", ["frame_timeout"]], what);
    const [stats] = [...scene.listener.upstreamSeries()].map(([, stats]) => stats);
    assertEquals([...stats!.failures], [["frame_timeout", 1]]);
    await scene.until(() => backend.ended && scene.inFlight === 0, "the end of the connection");
  }
});

Deno.test("a client that is not read is not blamed for the frame that it has begun", async () => {
  await using scene = await GrpcL4Scene.open();
  const open = scene.shut();
  await using raw = new RawEnd(scene.connect());
  await raw.send(CLIENT_PREFACE, settings());
  const big = callFields("/s.S/M", ["x-big", "v".repeat(8_000)]);
  const ids = Array.from({ length: 60 }, (_, i) => 2 * i + 1);
  // So much is not held, so somewhere inside a frame the reading ends.
  await raw.send(concat(...ids.map((id) => headers(id, END, big))));
  await turns();
  assert(raw.unsent > 0);
  await scene.time.advance(3 * FRAME_MS);
  assertEquals(raw.farewell, undefined);
  open();
  await scene.until(() => scene.backend().calls.length === ids.length, "the calls");
  assertEquals([raw.farewell, refusals(scene, "frame_timeout")], [undefined, 0]);
});

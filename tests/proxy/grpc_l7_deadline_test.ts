import { assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { STATUS_LABELS } from "../../lib/observe/grpc_metrics.ts";
import { settle } from "../support/fake_clock.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import { type Call, echo, type Exchange, type Fields } from "../support/h2_peer.ts";

/** Later than a timeout, in milliseconds, when a call has been ended at the latest: the grace and two ticks. */
const LATEST = 300;

function timeout(value: string): { readonly fields: Fields } {
  return { fields: [["grpc-timeout", value]] };
}

async function settled(): Promise<void> {
  for (let i = 0; i < 6; i++) await settle();
}

/** How often each status ended a call. */
function statuses(scene: GrpcL7Scene): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const stats of scene.listener.grpc.series()) {
    for (const [, values] of stats.backends()) {
      for (const [i, count] of values.entries()) {
        if (count > 0) counts[STATUS_LABELS[i]!] = (counts[STATUS_LABELS[i]!] ?? 0) + count;
      }
    }
  }
  return counts;
}

/** The timeout that a backend was given, in milliseconds. */
function given(call: Call): number {
  const value = call.fields.find(([name]) => name === "grpc-timeout")![1];
  const ms = { u: 0.001, m: 1, S: 1000 }[value.at(-1)!]!;
  return Number(value.slice(0, -1)) * ms;
}

function isTrailersOnly(exchange: Exchange, status: string): void {
  assertEquals([exchange.heads.length, exchange.trailers], [1, undefined]);
  assertEquals(exchange.heads[0]!.slice(0, 3), [
    [":status", "200"],
    ["content-type", "application/grpc"],
    ["grpc-status", status],
  ]);
}

Deno.test("a call that nobody ends is ended a moment after its deadline, and cancelled at the backend", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: () => {} });
  const call = scene.client.call("/a.B/C", timeout("2S"));
  await settled();
  const watched = scene.time.clock.size;
  await scene.time.advance(2000);
  await settled();
  assertEquals(call.ended, false, "the backend has the first word at the deadline itself");
  await scene.time.advance(LATEST);
  await scene.end(call);
  isTrailersOnly(call, "4");
  assertEquals(call.value("grpc-message"), "The deadline of the call has passed.");
  assertEquals(scene.backend().calls[0]!.reset?.code, H2Code.Cancel);
  assertEquals(scene.time.clock.size, watched - 1);
  assertEquals(statuses(scene), { DEADLINE_EXCEEDED: 1 });
  assertEquals([...scene.listener.refusals], [["deadline_exceeded", 1]]);
  const upstream = scene.listener.upstream([...scene.registry.backends][0]!.id);
  assertEquals(upstream.failures, new Map([["deadline_exceeded", 1]]));
  assertEquals([...scene.registry.backends][0]!.inFlight, 0);
});

Deno.test("behind a head, the deadline is said in trailers, and what came before them stays", async () => {
  await using scene = await GrpcL7Scene.open({
    onCall: (call) => {
      call.head();
      call.send("part");
    },
  });
  const call = scene.client.call("/a.B/C", { ...timeout("500m"), open: true });
  await settled();
  await scene.time.advance(500 + LATEST);
  await scene.end(call);
  await settled();
  assertEquals([call.heads.length, call.text], [1, "part"]);
  assertEquals(call.trailers![0], ["grpc-status", "4"]);
  assertEquals(call.reset?.code, H2Code.NoError, "and the rest of the request is not wanted");
  assertEquals(scene.backend().calls[0]!.reset?.code, H2Code.Cancel);
  assertEquals(statuses(scene), { DEADLINE_EXCEEDED: 1 });
});

Deno.test("the backend's own word at the deadline is the one that counts", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: () => {} });
  const call = scene.client.call("/a.B/C", timeout("1S"));
  await settled();
  await scene.time.advance(1010);
  scene.backend().calls[0]!.end([
    [":status", "200"],
    ["content-type", "application/grpc"],
    ["grpc-status", "4"],
    ["grpc-message", "its own"],
  ]);
  await scene.end(call);
  assertEquals(call.value("grpc-message"), "its own");
  await scene.time.advance(LATEST);
  assertEquals(statuses(scene), { DEADLINE_EXCEEDED: 1 });
  assertEquals([...scene.listener.refusals], []);
});

Deno.test("a call that has ended in time is not looked at again, and one without timeout never ends", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: echo });
  await scene.end(scene.client.call("/a.B/C", { content: "x" }));
  const before = scene.time.clock.size;
  const quick = scene.client.call("/a.B/C", { ...timeout("1S"), content: "x" });
  await scene.end(quick);
  assertEquals(quick.value("grpc-status"), "0");
  assertEquals(scene.time.clock.size, before);
  const open = scene.client.call("/a.B/C", { open: true });
  const long = scene.client.call("/a.B/C", { ...timeout("99999999H"), open: true });
  await settled();
  assertEquals(scene.time.clock.size, before + 1);
  for (let day = 0; day < 3; day++) await scene.time.advance(86_400_000);
  for (const call of [open, long]) {
    scene.client.send(call, "still here", true);
    await scene.end(call);
    assertEquals([call.text, call.value("grpc-status")], ["still here", "0"]);
  }
});

Deno.test("a timeout that is malformed or there twice is INTERNAL and reaches no backend", async () => {
  await using scene = await GrpcL7Scene.open();
  const malformed = ["", "5", "5s", "-5S", "123456789S", "1 S"];
  for (const value of malformed) {
    const call = await scene.end(scene.client.call("/a.B/C", timeout(value)));
    isTrailersOnly(call, "13");
    assertEquals(call.value("grpc-message"), "The value of grpc-timeout is malformed.");
  }
  const twice = await scene.end(scene.client.call("/a.B/C", {
    fields: [["grpc-timeout", "5S"], ["grpc-timeout", "5S"]],
  }));
  isTrailersOnly(twice, "13");
  assertEquals(scene.backend().calls.length, 0);
  assertEquals([...scene.listener.refusals], [["bad_timeout", malformed.length + 1]]);
  assertEquals(statuses(scene), { INTERNAL: malformed.length + 1 });
});

Deno.test("a call without any time is over at once; in other requests the field means nothing", async () => {
  await using scene = await GrpcL7Scene.open();
  isTrailersOnly(await scene.end(scene.client.call("/a.B/C", timeout("0n"))), "4");
  assertEquals(scene.backend().calls.length, 0);
  const other = scene.client.call("/a", { ...timeout("nonsense"), grpc: false });
  assertEquals((await scene.end(other)).value("grpc-status"), "0");
});

Deno.test("the first backend gets the timeout as it came, the next what is left of it", async () => {
  await using scene = await GrpcL7Scene.open({ backends: ["a:80", "b:80"], onCall: () => {} });
  const call = scene.client.call("/a.B/C", { fields: [["grpc-timeout", "5S"], ["k", "v"]] });
  await settled();
  const [first, second] = [...scene.backends.values()];
  assertEquals(first!.calls[0]!.fields.slice(-2), [["grpc-timeout", "5S"], ["k", "v"]]);
  await scene.time.advance(1500);
  first!.calls[0]!.stream.reset(H2Code.RefusedStream);
  await settled();
  assertEquals(given(second!.calls[0]!), 3500);
  assertEquals(second!.calls[0]!.fields.slice(-2), [["grpc-timeout", "3500000u"], ["k", "v"]]);
  second!.calls[0]!.answer();
  assertEquals((await scene.end(call)).value("grpc-status"), "0");
});

Deno.test("a backend is not asked when the deadline has passed on the way to it", async () => {
  await using scene = await GrpcL7Scene.open({ backends: ["a:80", "b:80"], onCall: () => {} });
  const call = scene.client.call("/a.B/C", timeout("1S"));
  await settled();
  const [first, second] = [...scene.backends.values()];
  await scene.time.advance(1050);
  first!.calls[0]!.stream.reset(H2Code.RefusedStream);
  isTrailersOnly(await scene.end(call), "4");
  assertEquals(second!.calls.length, 0);
});

Deno.test("a client that resets at its deadline was not cancelled by its user", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: () => {} });
  const early = scene.client.call("/a.B/C", timeout("1S"));
  const due = scene.client.call("/a.B/C", timeout("1S"));
  await settled();
  await scene.time.advance(900);
  early.stream.reset(H2Code.Cancel);
  await settled();
  await scene.time.advance(95);
  due.stream.reset(H2Code.Cancel);
  await settled();
  assertEquals(statuses(scene), { CANCELLED: 1, DEADLINE_EXCEEDED: 1 });
  assertEquals(scene.backend().calls.map((call) => call.reset?.code), [
    H2Code.Cancel,
    H2Code.Cancel,
  ]);
});

Deno.test("bytes of a call that its deadline ended come back to the windows of both connections", async () => {
  await using scene = await GrpcL7Scene.open({
    onCall: (call) => {
      call.head();
      call.send(new Uint8Array(60_000));
    },
  });
  for (let i = 0; i < 40; i++) {
    const call = scene.client.call("/a.B/C", {
      ...timeout("100m"),
      open: true,
      content: new Uint8Array(60_000),
    });
    await settled();
    await scene.time.advance(100 + LATEST);
    await scene.end(call);
    assertEquals([call.received, call.value("grpc-status")], [60_000, "4"], `call ${i}`);
    assertEquals(scene.backend().calls[i]!.received, 60_000, `request ${i}`);
    await settled();
  }
});

import { assert, assertEquals } from "@std/assert";
import { RequestRate } from "../../lib/http/l7/rate_limit.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { settle } from "../support/fake_clock.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import type { Exchange } from "../support/h2_peer.ts";

/** What the scene's pools are given. */
const MAX_WAITING = 8;
const WAIT_MS = 2_000;

async function rest(): Promise<void> {
  for (let i = 0; i < 20; i++) await settle();
}

function statuses(calls: readonly Exchange[]): (string | undefined)[] {
  return calls.map((call) => call.value("grpc-status"));
}

Deno.test("at its limit a backend gets no more calls, and the others do", async () => {
  await using scene = await GrpcL7Scene.open({
    backends: ["a:80", "b:80"],
    requests: { maxRequests: 2 },
    onCall: () => {},
  });
  const calls = Array.from({ length: 4 }, () => scene.client.call("/s.S/M"));
  await rest();
  const [a, b] = [scene.backend("a:80"), scene.backend("b:80")];
  assertEquals([a.calls.length, b.calls.length], [2, 2]);
  b.calls[0]!.answer();
  await rest();
  const next = scene.client.call("/s.S/M");
  await rest();
  assertEquals([a.calls.length, b.calls.length], [2, 3]);
  for (const call of [...a.calls, ...b.calls.slice(1)]) call.answer();
  await Promise.all([...calls, next].map((call) => scene.end(call)));
  assertEquals(statuses([...calls, next]), ["0", "0", "0", "0", "0"]);
});

Deno.test("calls wait in order for a backend at its limit, for so long, and are then told to come back", async () => {
  await using scene = await GrpcL7Scene.open({ requests: { maxRequests: 1 }, onCall: () => {} });
  const { client } = scene;
  const first = client.call("/s.S/First");
  const waiting = ["/s.S/Second", "/s.S/Third", "/s.S/Fourth"].map((path) => client.call(path));
  await rest();
  const { calls } = scene.backend();
  assertEquals(calls.map(({ path }) => path), ["/s.S/First"]);
  calls[0]!.answer();
  await rest();
  assertEquals(calls.map(({ path }) => path), ["/s.S/First", "/s.S/Second"]);
  await scene.time.expire(WAIT_MS);
  await rest();
  assertEquals(statuses([first, ...waiting]), ["0", undefined, "14", "14"]);
  const [, late] = waiting;
  assertEquals(late!.heads.length, 1, "Trailers-Only");
  assertEquals(late!.value(":status"), "200");
  assertEquals(late!.value("grpc-retry-pushback-ms"), "1000");
  assertEquals(
    late!.value("grpc-message"),
    "All backends have as many requests as they may have.",
  );
  assertEquals(scene.listener.refusals.get("overloaded"), 2);
  calls[1]!.answer();
  await scene.end(waiting[0]!);
  assertEquals([...scene.registry.backends].map(({ inFlight }) => inFlight), [0]);
});

Deno.test("when too many calls wait already, more are refused at once", async () => {
  await using scene = await GrpcL7Scene.open({ requests: { maxRequests: 1 }, onCall: () => {} });
  const calls = Array.from({ length: 1 + MAX_WAITING }, () => scene.client.call("/s.S/M"));
  await rest();
  assertEquals(scene.registry.waiting, MAX_WAITING);
  const refused = await scene.end(scene.client.call("/s.S/M"));
  assertEquals([refused.value("grpc-status"), refused.value("grpc-retry-pushback-ms")], [
    "14",
    "1000",
  ]);
  const http = await scene.end(scene.client.call("/file", { grpc: false }));
  assertEquals([http.value(":status"), http.value("retry-after")], ["503", "1"]);
  for (const _ of calls) {
    scene.backend().calls.at(-1)!.answer();
    await rest();
  }
  assertEquals(statuses(calls), calls.map(() => "0"));
});

Deno.test("who cancels, or whose deadline passes, waits no more", async () => {
  await using scene = await GrpcL7Scene.open({ requests: { maxRequests: 1 }, onCall: () => {} });
  const { client } = scene;
  const first = client.call("/s.S/First");
  const cancelled = client.call("/s.S/Cancelled");
  const hasty = client.call("/s.S/Hasty", { fields: [["grpc-timeout", "500m"]] });
  const patient = client.call("/s.S/Patient");
  await rest();
  assertEquals(scene.registry.waiting, 3);
  cancelled.stream.reset(8);
  await rest();
  assertEquals(scene.registry.waiting, 2);
  await scene.time.advance(1_000);
  await rest();
  assertEquals([hasty.value("grpc-status"), scene.registry.waiting], ["4", 1]);
  scene.backend().calls[0]!.answer();
  await rest();
  assertEquals(scene.backend().calls.map(({ path }) => path), ["/s.S/First", "/s.S/Patient"]);
  scene.backend().calls[1]!.answer();
  await scene.end(patient);
  assertEquals(statuses([first, patient]), ["0", "0"]);
});

Deno.test("a call whose backend cannot be reached waits for one that can, at its limit", async () => {
  await using scene = await GrpcL7Scene.open({
    backends: ["a:80", "b:80"],
    requests: { maxRequests: 1 },
    onCall: () => {},
  });
  scene.down.add("a:80");
  const first = scene.client.call("/s.S/First");
  await rest();
  const second = scene.client.call("/s.S/Second");
  await rest();
  const { calls } = scene.backend("b:80");
  assertEquals([calls.length, first.ended, second.ended], [1, false, false]);
  calls[0]!.answer();
  await rest();
  assertEquals(calls.length, 2);
  calls[1]!.answer();
  await Promise.all([first, second].map((call) => scene.end(call)));
  assertEquals(statuses([first, second]), ["0", "0"]);
});

Deno.test("calls above the rate of their route are RESOURCE_EXHAUSTED and told when to come back", async () => {
  const limited = new RouteBuilder().service("s.Limited")
    .rateLimit({ rate: 2, burst: 2, key: "metadata:X-User" }).target("a:80").build();
  const free = new RouteBuilder().service("s.Free").target("a:80").build();
  await using scene = await GrpcL7Scene.open({
    routes: [limited, free],
    onCall: (call) => call.answer(),
  });
  const ask = (path: string, user: string) =>
    scene.end(scene.client.call(path, { fields: [["x-user", user]] }));
  for (let i = 0; i < 2; i++) {
    assertEquals((await ask("/s.Limited/M", "a")).value("grpc-status"), "0");
  }
  const refused = await ask("/s.Limited/M", "a");
  assertEquals(refused.heads.length, 1, "Trailers-Only");
  assertEquals(refused.value("grpc-status"), "8");
  assertEquals(refused.value("grpc-retry-pushback-ms"), "500");
  assertEquals(refused.value("grpc-message"), "Requests come faster than they are taken.");
  assertEquals((await ask("/s.Limited/M", "b")).value("grpc-status"), "0");
  for (let i = 0; i < 5; i++) {
    assertEquals((await ask("/s.Free/M", "a")).value("grpc-status"), "0");
  }
  assertEquals(scene.listener.refusals.get("rate_limited"), 1);
  await scene.time.advance(500);
  assertEquals((await ask("/s.Limited/M", "a")).value("grpc-status"), "0");
  assertEquals(scene.backend().calls.length, 9);
});

Deno.test("the rate of a listener counts calls that no route claims, too", async () => {
  const rate = new RequestRate({ rate: 1, burst: 2 }, () => false);
  await using scene = await GrpcL7Scene.open({
    routes: [new RouteBuilder().service("s.S").target("a:80").build()],
    rates: { rate, isTrusted: () => false },
    onCall: (call) => call.answer(),
  });
  const ask = (path: string) => scene.end(scene.client.call(path));
  assertEquals((await ask("/s.S/M")).value("grpc-status"), "0");
  assertEquals((await ask("/s.Other/M")).value("grpc-status"), "12");
  assertEquals((await ask("/s.Other/M")).value("grpc-status"), "8");
  const refused = await ask("/s.S/M");
  assertEquals(refused.value("grpc-status"), "8");
  assert(Number(refused.value("grpc-retry-pushback-ms")) > 0);
  const http = await scene.end(scene.client.call("/s.S/M", { grpc: false }));
  assertEquals([http.value(":status"), http.value("retry-after")], ["429", "1"]);
});

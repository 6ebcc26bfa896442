/**
 * What becomes of requests for whose connections this host has no descriptor, no memory or no port left: the backends
 * have nothing to do with it.
 */
import { assertEquals } from "@std/assert";
import type { LiveBackend } from "../../lib/backend/backend.ts";
import type { Registry } from "../../lib/backend/registry.ts";
import { GrpcL4Scene } from "../support/grpc_l4.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import { GET, HEDGE_MS, hedged, ok } from "../support/hedged.ts";
import { A, B, testL7 } from "../support/l7.ts";
import { A as STREAM_A, B as STREAM_B, testL4 } from "../support/l4.ts";
import { exhaustedFor } from "../support/scripted_backend.ts";

/** What is said of the backends from now on. */
function watch(registry: Registry): string[] {
  const seen: string[] = [];
  for (const backend of registry.backends as Iterable<LiveBackend>) {
    backend.onOutcome = ({ type }) => seen.push(`${backend.addr} ${type}`);
  }
  return seen;
}

function states(registry: Registry): string[] {
  return [...registry.backends].map(({ health }) => health.state.type);
}

testL7("without descriptors a request is answered 503, and no other backend is tried", {
  backends: [A, B],
}, async (lb) => {
  const outcomes = watch(lb.registry);
  lb.at(A).failure = lb.at(B).failure = exhaustedFor("descriptors");
  const client = lb.connect();
  for (let i = 0; i < 10; i++) {
    const answer = await client.ask(GET);
    assertEquals([answer.status, JSON.parse(answer.body).code], [503, "local_exhausted"]);
    assertEquals(answer.get("retry-after"), "1");
  }
  assertEquals([lb.at(A).dials, lb.at(B).dials], [5, 5]);
  assertEquals([outcomes, states(lb.registry)], [[], ["healthy", "healthy"]]);
  assertEquals(lb.upstream(A).failures.get("local_exhausted"), 5);
  assertEquals(lb.listener.refusals.get("local_exhausted"), 10);
});

testL7("without ports to one backend the other is tried, and nothing is held against either", {
  backends: [A, B],
}, async (lb) => {
  const outcomes = watch(lb.registry);
  lb.at(A).failure = exhaustedFor("ports");
  lb.at(B).serve(() => ok("served"));
  const client = lb.connect();
  for (let i = 0; i < 6; i++) assertEquals((await client.ask(GET)).body, "served");
  assertEquals(new Set(outcomes), new Set([`${B} answered`]));
  lb.at(B).failure = exhaustedFor("ports");
  lb.at(B).connections[0]!.reset();
  const answer = await client.ask(GET);
  assertEquals([answer.status, JSON.parse(answer.body).code], [503, "local_exhausted"]);
  assertEquals(states(lb.registry), ["healthy", "healthy"]);
});

testL7("a hedge without a descriptor leaves the first try as it was", hedged(), async (lb) => {
  const outcomes = watch(lb.registry);
  lb.at(B).failure = exhaustedFor("descriptors");
  const asking = lb.connect().ask(GET);
  const first = await lb.accept(A);
  await first.request();
  await lb.time.expire(HEDGE_MS);
  assertEquals([...lb.upstream(B).failures], [["local_exhausted", 1]]);
  await first.send(ok("first"));
  assertEquals((await asking).body, "first");
  assertEquals(outcomes, [`${A} answered`]);
});

for (const lack of ["descriptors", "ports"] as const) {
  testL4(`a connection without ${lack} ends, and nothing is held against a backend`, {
    backends: [STREAM_A, STREAM_B],
  }, async (lb) => {
    const outcomes = watch(lb.registry);
    lb.at(STREAM_A).failure = lb.at(STREAM_B).failure = exhaustedFor(lack);
    for (let i = 0; i < 4; i++) await lb.connect().ended();
    const dials = lack === "ports" ? [4, 4] : [2, 2];
    assertEquals([lb.at(STREAM_A).dials, lb.at(STREAM_B).dials], dials);
    assertEquals([outcomes, states(lb.registry)], [[], ["healthy", "healthy"]]);
    assertEquals(lb.metrics.refusals.get("local_exhausted"), 4);
  });

  for (const Scene of [GrpcL7Scene, GrpcL4Scene]) {
    Deno.test(`${Scene.name}: a call without ${lack} is UNAVAILABLE, and may come again`, async () => {
      await using scene = await Scene.open({ backends: ["a:80", "b:80"] });
      const outcomes = watch(scene.registry);
      scene.prevented = exhaustedFor(lack);
      for (let i = 0; i < 4; i++) {
        const call = scene.client.call("/s.S/M", { content: "ask" });
        await scene.end(call);
        assertEquals(call.value("grpc-status"), "14");
        assertEquals(call.value("grpc-retry-pushback-ms"), "1000");
      }
      const failures = [...scene.listener.upstreamSeries()]
        .flatMap(([, stats]) => [...stats.failures]);
      const tries = lack === "ports" ? 8 : 4;
      assertEquals(new Set(failures.map(([code]) => code)), new Set(["local_exhausted"]));
      assertEquals(failures.reduce((sum, [, count]) => sum + count, 0), tries);
      assertEquals([outcomes, states(scene.registry)], [[], ["healthy", "healthy"]]);
      scene.prevented = undefined;
      const call = scene.client.call("/s.S/M", { content: "ask" });
      await scene.end(call);
      assertEquals(call.value("grpc-status"), "0");
    });
  }
}

import { assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { settle } from "../support/fake_clock.ts";
import { GrpcL4Scene } from "../support/grpc_l4.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import type { Call, Exchange, Fields } from "../support/h2_peer.ts";

/** Interim heads that a backend may send on one stream. */
const ALLOWED = 10;
const HINT: Fields = [[":status", "103"], ["link", "</x>"]];

/** What a backend does that sends so many interim heads. */
function hint(call: Call, count: number): void {
  for (let i = 0; i < count; i++) call.head(HINT);
}

/** The same, and then the answer. */
function hintAndAnswer(call: Call): void {
  hint(call, ALLOWED);
  call.answer();
}

/** How many interim heads came before the answer, and what the answer says. */
function seen(exchange: Exchange): (number | string | undefined)[] {
  const hints = exchange.heads.filter(([first]) => first![1] === "103").length;
  return [hints, exchange.heads.at(-1)![0]![1], exchange.value("grpc-status")];
}

for (const [layer, Scene] of [["7", GrpcL7Scene], ["4", GrpcL4Scene]] as const) {
  Deno.test(`at layer ${layer} as many interim heads pass as over HTTP/1.1`, async () => {
    await using scene = await Scene.open({ onCall: hintAndAnswer });
    const call = scene.client.call("/s.S/M");
    await scene.end(call);
    assertEquals([seen(call), call.text], [[ALLOWED, "200", "0"], "hello"]);
  });

  for (const open of [false, true]) {
    const name = open ? "that goes on" : "that has ended";
    Deno.test(`at layer ${layer} interim heads without end fail a request ${name}`, async () => {
      await using scene = await Scene.open({ onCall: (call) => hint(call, 2 * ALLOWED) });
      const call = scene.client.call("/s.S/M", { open });
      const other = scene.client.call("/file", { open, grpc: false });
      await scene.end(call);
      await scene.end(other);
      assertEquals(seen(call), [ALLOWED, "200", "14"]);
      assertEquals(seen(other), [ALLOWED, "502", undefined]);
      assertEquals(scene.listener.refusals.get("upstream_protocol"), 2);
      for (let i = 0; i < 20; i++) await settle();
      const resets = scene.backend().calls.map(({ reset }) => reset?.code);
      assertEquals(resets, [H2Code.EnhanceYourCalm, H2Code.EnhanceYourCalm]);
      // The connection is as good as before.
      scene.backend().onCall = (call) => call.answer();
      const next = scene.client.call("/s.S/M");
      await scene.end(next);
      assertEquals([seen(next), scene.backend().accepted], [[0, "200", "0"], 1]);
    });
  }
}

Deno.test("a hedge that gets interim heads without end is left, and the first try goes on", async () => {
  const others = ["a:80", "b:80"];
  const route = new RouteBuilder().service("s.S").hedge({ delay: 100 });
  for (const host of others) route.target(host);
  await using scene = await GrpcL7Scene.open({
    backends: [],
    others,
    routes: [route.build()],
    onCall: () => {},
  });
  const call = scene.client.call("/s.S/M");
  for (let i = 0; i < 20; i++) await settle();
  const [first] = others.flatMap((host) => scene.backend(host).calls);
  await scene.time.expire(100);
  for (let i = 0; i < 20; i++) await settle();
  const second = others.flatMap((host) => scene.backend(host).calls).find((it) => it !== first);
  hint(second!, ALLOWED + 1);
  for (let i = 0; i < 20; i++) await settle();
  assertEquals([call.ended, second!.reset?.code], [false, H2Code.EnhanceYourCalm]);
  const failures = [...scene.registry.backends].map(({ id }) =>
    scene.listener.upstream(id).failures.get("upstream_protocol") ?? 0
  );
  assertEquals(failures.toSorted(), [0, 1]);
  first!.answer();
  await scene.end(call);
  assertEquals(seen(call), [0, "200", "0"]);
});

import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import { settle } from "../support/fake_clock.ts";
import { type GrpcL7Options, GrpcL7Scene } from "../support/grpc_l7.ts";
import { type Call, DONE, type Exchange, H2Backend } from "../support/h2_peer.ts";

const LIMIT = 10_000;
/** A window of 64 KiB that is full may take a second for each. */
const FULL = 64_000;
const LARGE = new Uint8Array(200_000);
const H2 = { windowTimeout: LIMIT };

/** Lets time pass until a call has ended; how long that took. */
async function passUntil(scene: GrpcL7Scene, over: () => boolean, most: number): Promise<number> {
  let passed = 0;
  for (; !over() && passed <= most; passed += 1000) {
    await scene.time.advance(1000);
    for (let i = 0; i < 5; i++) await settle();
  }
  return passed;
}

async function ask(scene: GrpcL7Scene): Promise<Exchange> {
  const call = await scene.end(scene.client.call("/s.S/Next", { content: "x" }));
  assertEquals(call.value("grpc-status"), "0");
  return call;
}

function open(options: GrpcL7Options = {}): Promise<GrpcL7Scene> {
  return GrpcL7Scene.open({ context: { h2: H2 }, upstream: H2, ...options });
}

Deno.test("a client that opens no window loses its call, and its backend is told", async () => {
  await using scene = await open();
  scene.backend().onCall = (call: Call) => {
    call.head();
    call.send(LARGE);
    call.end();
  };
  const stuck = scene.client.call("/s.S/Stuck", { content: "x", reads: false });
  const took = await passUntil(scene, () => stuck.ended, 2 * (LIMIT + FULL));
  assert(took >= LIMIT + FULL && took <= LIMIT + FULL + 3000, `it took ${took} ms`);
  assertEquals(stuck.reset?.code, H2Code.EnhanceYourCalm);
  const [call] = scene.backend().calls;
  assertEquals(call!.reset?.code, H2Code.Cancel);
  assertEquals(scene.listener.refusals.get("client_stalled"), 1);
  // Nothing speaks against the backend, and nothing is missing in any window.
  assertEquals(Array.from(scene.registry.backends, ({ inFlight }) => inFlight), [0]);
  stuck.resume();
  const next = await scene.end(scene.client.call("/s.S/Next", { content: "x" }));
  assertEquals([next.received, next.value("grpc-status")], [LARGE.length, "0"]);
  assertEquals(scene.backend().accepted, 1);
});

Deno.test("a client that reads half of its window a minute gets all of its answer", async () => {
  await using scene = await open();
  scene.backend().onCall = (call: Call) => {
    call.head();
    call.send(LARGE);
    call.end(DONE);
  };
  const slow = scene.client.call("/s.S/Slow", { content: "x", reads: false });
  for (let i = 0; i < 20 && !slow.ended; i++) {
    await scene.time.advance(60_000);
    slow.resume();
    slow.reads = false;
    for (let turn = 0; turn < 10; turn++) await settle();
  }
  assertEquals([slow.received, slow.value("grpc-status")], [LARGE.length, "0"]);
});

Deno.test("a backend that takes nothing of a request is given up with UNAVAILABLE, and blamed", async () => {
  await using scene = await open();
  scene.backend().onCall = (call: Call) => {
    call.reads = false;
  };
  const sent = scene.client.call("/s.S/Stuck", { content: LARGE });
  const took = await passUntil(scene, () => sent.ended, 2 * (LIMIT + FULL));
  assert(took >= LIMIT + FULL && took <= LIMIT + FULL + 3000, `it took ${took} ms`);
  assertEquals(sent.value("grpc-status"), String(GrpcStatus.Unavailable));
  assertEquals(scene.backend().calls.map((call) => call.reset?.code), [H2Code.Cancel]);
  assertEquals(scene.listener.refusals.get("upstream_stalled"), 1);
  const [live] = scene.registry.backends;
  assertEquals(scene.listener.upstream(live!.id).failures.get("upstream_stalled"), 1);
  scene.backend().onCall = (call: Call) => call.answer();
  await ask(scene);
});

Deno.test("after the answer has begun that is said behind what has come of it", async () => {
  await using scene = await open();
  scene.backend().onCall = (call: Call) => {
    call.reads = false;
    call.head();
    call.send("begun");
  };
  const sent = scene.client.call("/s.S/Stuck", { content: LARGE });
  await passUntil(scene, () => sent.ended, 2 * (LIMIT + FULL));
  assertEquals([sent.text, sent.value("grpc-status")], ["begun", String(GrpcStatus.Unavailable)]);
});

for (const [on, status] of [[undefined, "14"], [["reset"], "0"]] as const) {
  const what = on === undefined
    ? "it may have acted on what it had"
    : "resets are tried again elsewhere";
  Deno.test(`a request that a backend did not take ends with ${status}: ${what}`, async () => {
    await using scene = await open({
      backends: ["a:80", "b:80"],
      ...(on === undefined ? {} : { recovery: { retries: { on } } }),
    });
    await using stuck = new H2Backend({ clock: scene.time.clock, h2: { streamWindow: 0 } });
    await scene.backend("a:80")[Symbol.asyncDispose]();
    scene.backends.set("a:80", stuck);
    const sent = scene.client.call("/s.S/M", { content: "hello" });
    const took = await passUntil(scene, () => sent.ended, 3 * LIMIT);
    assert(took >= LIMIT, `it took ${took} ms`);
    assertEquals(sent.value("grpc-status"), status);
    assertEquals(stuck.calls.length, 1);
    assertEquals(scene.backend("b:80").calls.length, on === undefined ? 0 : 1);
  });
}

Deno.test("calls that have nothing to send, either way, go on for days", async () => {
  await using scene = await open();
  scene.backend().onCall = (call: Call) => call.head();
  const quiet = scene.client.call("/s.S/Watch", { content: "x", open: true });
  for (let hour = 0; hour < 48; hour++) await scene.time.advance(3_600_000);
  assertEquals([quiet.ended, scene.backend().calls[0]!.reset], [false, undefined]);
  scene.backend().calls[0]!.send("news");
  scene.backend().calls[0]!.end();
  assertEquals((await scene.end(quiet)).text, "news");
});

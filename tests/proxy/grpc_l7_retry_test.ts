import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { LiveBackend } from "../../lib/backend/backend.ts";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { makeKeyReader, parseHashBy } from "../../lib/http/l7/affinity.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import type { RetryCondition } from "../../lib/route/retry.ts";
import { settle } from "../support/fake_clock.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import { answerWhenEnded, type Call, type Exchange, type Fields, OK } from "../support/h2_peer.ts";
import { watchOutcomes } from "../support/recovery.ts";

const A = "a:80";
const B = "b:80";
const C = "c:80";
/** Later than a wait, in milliseconds, when it has ended at the latest: two ticks. */
const LATEST = 200;

async function settled(): Promise<void> {
  for (let i = 0; i < 8; i++) await settle();
}

/** Answers with a status and nothing before it. */
function refuseWith(status: number, ...fields: Fields): (call: Call) => void {
  return (call) => call.end([...OK, ["grpc-status", String(status)], ...fields]);
}

/** A backend as the balancer knows it. */
function live(scene: GrpcL7Scene, host = A): LiveBackend {
  const found = [...scene.registry.backends].find(({ addr }) => addr.endsWith(host));
  assert(found !== undefined);
  return found;
}

/** Calls that the backends have got. */
function tries(scene: GrpcL7Scene): number[] {
  return [...scene.backends.values()].map(({ calls }) => calls.length);
}

function statusOf(exchange: Exchange): string | undefined {
  return exchange.value("grpc-status");
}

function retryOn(...on: RetryCondition[]) {
  return { retries: { on } };
}

/** The timeout that a backend was given, in milliseconds. */
function given(call: Call): number | undefined {
  const value = call.fields.find(([name]) => name === "grpc-timeout")?.[1];
  if (value === undefined) return undefined;
  return Number(value.slice(0, -1)) * { u: 0.001, m: 1, S: 1000 }[value.at(-1)!]!;
}

/**
 * Nothing is held for calls that are over, and nothing is waited for but what both ends of `connections` to
 * backends wait for.
 */
function assertIdle(scene: GrpcL7Scene, watched: number, connections: number): void {
  assertEquals([...scene.registry.backends].some(({ inFlight }) => inFlight > 0), false);
  assertEquals(scene.time.clock.size, watched + 2 * connections);
}

Deno.test("a call that is refused with UNAVAILABLE and no answer before it is tried elsewhere", async () => {
  await using scene = await GrpcL7Scene.open({ backends: [A, B] });
  const outcomes = watchOutcomes(scene.registry);
  scene.backend(A).onCall = refuseWith(14, ["grpc-message", "not now"]);
  const call = await scene.end(scene.client.call("/s.S/M", { content: "ask" }));
  assertEquals([statusOf(call), call.text], ["0", "hello"]);
  assertEquals(call.heads.length, 1, "what the first backend said is not passed on");
  assertEquals(scene.backend(B).calls[0]!.text, "ask");
  assertEquals(outcomes, ["a:grpc_14", "b:ok"]);
  assertEquals(scene.listener.upstream(live(scene).id).failures, new Map([["grpc_14", 1]]));
  assertEquals(scene.listener.upstream(live(scene, B).id).retries, 1);
});

Deno.test("UNAVAILABLE behind a head or in all backends is passed on as it is", async () => {
  await using scene = await GrpcL7Scene.open({ backends: [A, B] });
  const outcomes = watchOutcomes(scene.registry);
  for (const backend of scene.backends.values()) {
    backend.onCall = refuseWith(14, ["grpc-message", "not now"], ["k", "v"]);
  }
  const refused = await scene.end(scene.client.call("/s.S/M"));
  assertEquals([statusOf(refused), refused.value("k")], ["14", "v"]);
  assertEquals([tries(scene), outcomes], [[1, 1], ["a:grpc_14", "b:grpc_14"]]);
  for (const backend of scene.backends.values()) {
    backend.onCall = (call) => {
      call.head();
      call.send("part");
      call.end([["grpc-status", "14"]]);
    };
  }
  outcomes.length = 0;
  const late = await scene.end(scene.client.call("/s.S/M"));
  assertEquals([late.text, statusOf(late)], ["part", "14"]);
  assertEquals([tries(scene), outcomes], [[2, 1], ["a:grpc_14"]]);
});

Deno.test("only what the user chose is tried again, and counts as a failure", async () => {
  await using scene = await GrpcL7Scene.open({
    backends: [A, B],
    recovery: { ...retryOn(8), failureCodes: [8, 13] },
  });
  const outcomes = watchOutcomes(scene.registry);
  scene.backend(A).onCall = refuseWith(8);
  assertEquals(statusOf(await scene.end(scene.client.call("/s.S/M"))), "0");
  scene.backend(A).onCall = refuseWith(14);
  const busy = await scene.end(scene.client.call("/s.S/M"));
  scene.backend(B).onCall = refuseWith(13);
  const broken = await scene.end(scene.client.call("/s.S/M"));
  assertEquals([statusOf(busy), statusOf(broken)].toSorted(), ["13", "14"]);
  assertEquals(outcomes.toSorted(), ["a:grpc_8", "a:ok", "b:grpc_13", "b:ok"]);
});

Deno.test("pushback is honoured: so long is waited, also for the only backend", async () => {
  await using scene = await GrpcL7Scene.open();
  const outcomes = watchOutcomes(scene.registry);
  let refusals = 0;
  scene.backend().onCall = (call) => {
    if (refusals++ > 0) return call.answer();
    refuseWith(14, ["grpc-retry-pushback-ms", "400"])(call);
  };
  const call = scene.client.call("/s.S/M", { content: "ask" });
  await settled();
  await scene.time.advance(400);
  await settled();
  assertEquals(tries(scene), [1], "not before its time");
  await scene.time.advance(LATEST);
  await scene.end(call);
  assertEquals([statusOf(call), tries(scene)], ["0", [2]]);
  assertEquals(outcomes, ["a:grpc_14+400", "a:ok"]);
});

Deno.test("a negative pushback, or one that makes no sense, means never; one past the deadline, too", async () => {
  await using scene = await GrpcL7Scene.open({ backends: [A, B] });
  for (const pushback of ["-1", "soon", "60000"]) {
    for (const backend of scene.backends.values()) {
      backend.onCall = refuseWith(14, ["grpc-retry-pushback-ms", pushback]);
    }
    const before = tries(scene).reduce((sum, count) => sum + count);
    const call = scene.client.call("/s.S/M", { fields: [["grpc-timeout", "5S"]] });
    await scene.end(call);
    assertEquals([statusOf(call), call.value("grpc-retry-pushback-ms")], ["14", pushback]);
    assertEquals(tries(scene).reduce((sum, count) => sum + count), before + 1);
  }
});

Deno.test("a call that waits for its next try ends with its client, and at its deadline", async () => {
  await using scene = await GrpcL7Scene.open();
  scene.backend().onCall = refuseWith(14, ["grpc-retry-pushback-ms", "1000"]);
  const watched = scene.time.clock.size;
  const cancelled = scene.client.call("/s.S/M", { content: "x", open: true });
  await settled();
  cancelled.stream.reset(H2Code.Cancel);
  await settled();
  await scene.time.advance(1500);
  await settled();
  assertEquals(tries(scene), [1], "nobody wants to know any more");
  assertIdle(scene, watched, 1);
  const due = scene.client.call("/s.S/M", { fields: [["grpc-timeout", "1100m"]] });
  await settled();
  scene.backend().onCall = () => {};
  await scene.time.advance(1200);
  await settled();
  await scene.time.advance(300);
  await scene.end(due);
  assertEquals(statusOf(due), "4");
});

Deno.test("further tries wait longer and longer, the first one does not", async () => {
  await using scene = await GrpcL7Scene.open({
    backends: [A, B, C],
    recovery: retryOn(14),
  });
  for (const backend of scene.backends.values()) backend.onCall = refuseWith(14);
  const call = scene.client.call("/s.S/M");
  await settled();
  assertEquals(tries(scene), [1, 1, 0], "the third one waits");
  await scene.time.advance(25 + LATEST);
  await scene.end(call);
  assertEquals([tries(scene), statusOf(call)], [[1, 1, 1], "14"]);
});

Deno.test("a lost connection is tried again only where the user says that calls may run twice", async () => {
  for (const [recovery, status] of [[{}, "14"], [retryOn("reset"), "0"]] as const) {
    await using scene = await GrpcL7Scene.open({ backends: [A, B], recovery });
    const outcomes = watchOutcomes(scene.registry);
    scene.backend(A).onCall = () => scene.backend(A).kill();
    const call = await scene.end(scene.client.call("/s.S/M", { content: "ask" }));
    assertEquals([statusOf(call), outcomes[0]], [status, "a:upstream_closed"]);
    assertEquals(scene.backend(B).calls.length, status === "0" ? 1 : 0);
    // A request that is no call has a method that says whether it may.
    for (const backend of scene.backends.values()) {
      backend.onCall = (call) => call.stream.reset(H2Code.InternalError);
    }
    const before = tries(scene).reduce((sum, count) => sum + count);
    const post = await scene.end(scene.client.call("/s.S/M", { grpc: false }));
    assertEquals(post.reset?.code, H2Code.InternalError);
    assertEquals(tries(scene).reduce((sum, count) => sum + count), before + 1);
  }
});

Deno.test("what is said of a backend: refused streams, resets, lost connections behind a head, deadlines", async () => {
  await using scene = await GrpcL7Scene.open();
  const outcomes = watchOutcomes(scene.registry);
  const backend = scene.backend();
  const say = async (onCall: (call: Call) => void, fields: Fields = []): Promise<string[]> => {
    outcomes.length = 0;
    backend.onCall = onCall;
    const call = scene.client.call("/s.S/M", { fields });
    await settled();
    if (fields.length > 0) {
      await scene.time.advance(1000);
      await scene.time.advance(400);
    }
    await scene.end(call);
    return [...outcomes];
  };
  assertEquals(await say((call) => call.stream.reset(H2Code.RefusedStream)), ["a:upstream_reset"]);
  assertEquals(await say((call) => call.stream.reset(H2Code.InternalError)), ["a:upstream_reset"]);
  assertEquals(await say((call) => call.answer()), ["a:ok"]);
  assertEquals(await say(refuseWith(5)), ["a:ok"]);
  assertEquals(await say((call) => call.head(), [["grpc-timeout", "1S"]]), ["a:expired"]);
  assertEquals(await say(() => {}, [["grpc-timeout", "1S"]]), ["a:expired"]);
  const late = (call: Call) => {
    call.head();
    call.send("part");
    queueMicrotask(() => backend.kill());
  };
  assertEquals(await say(late), ["a:upstream_closed"]);
  scene.down.add(A);
  assertEquals(await say(() => {}), ["a:connect_failed"]);
});

Deno.test("a client that cancels says nothing of a backend that has not answered, and no harm of one that has", async () => {
  await using scene = await GrpcL7Scene.open();
  const outcomes = watchOutcomes(scene.registry);
  for (const onCall of [() => {}, (call: Call) => call.head()]) {
    scene.backend().onCall = onCall;
    const call = scene.client.call("/s.S/M", { open: true });
    await settled();
    call.stream.reset(H2Code.Cancel);
    await settled();
  }
  assertEquals(outcomes, ["a:ok"]);
});

Deno.test("latency is what passes until the answer begins, however long it goes on", async () => {
  await using scene = await GrpcL7Scene.open();
  const latencies: number[] = [];
  live(scene).onOutcome = (_, latency) => latencies.push(latency);
  scene.backend().onCall = () => {};
  const call = scene.client.call("/s.S/M");
  await settled();
  await scene.time.advance(30);
  const [seen] = scene.backend().calls;
  seen!.head();
  await settled();
  await scene.time.advance(5000);
  seen!.end();
  await scene.end(call);
  assertEquals(latencies, [30]);
});

Deno.test("a try has its time: the backend is told of it, then cancelled, and another one is tried", async () => {
  await using scene = await GrpcL7Scene.open({
    backends: [A, B],
    recovery: { retries: { perTryTimeout: 500 } },
  });
  const outcomes = watchOutcomes(scene.registry);
  scene.backend(A).onCall = () => {};
  const timed = scene.client.call("/s.S/M", { fields: [["grpc-timeout", "5S"], ["k", "v"]] });
  await settled();
  assertEquals(given(scene.backend(A).calls[0]!), 500);
  await scene.time.advance(500 + LATEST);
  await scene.end(timed);
  assertEquals(statusOf(timed), "0");
  assertEquals(scene.backend(A).calls[0]!.reset?.code, H2Code.Cancel);
  assertEquals(given(scene.backend(B).calls[0]!), 500);
  assertEquals(outcomes, ["a:upstream_timeout", "b:ok"]);
  const short = await scene.end(
    scene.client.call("/s.S/M", { fields: [["grpc-timeout", "300m"]] }),
  );
  const all = [...scene.backends.values()].flatMap(({ calls }) => calls);
  assertEquals(all.filter((call) => given(call) === 300).length, 1, "less stays as it came");
  assertEquals(short.ended, statusOf(short) === "0");
});

Deno.test("a backend that ends its try with DEADLINE_EXCEEDED before the call is due has used up its try only", async () => {
  await using scene = await GrpcL7Scene.open({
    backends: [A, B],
    recovery: { retries: { perTryTimeout: 500 } },
  });
  scene.backend(A).onCall = refuseWith(4);
  const call = scene.client.call("/s.S/M", { fields: [["grpc-timeout", "5S"]] });
  assertEquals(statusOf(await scene.end(call)), "0");
});

Deno.test("when no try is left, the time of the last one is the answer", async () => {
  await using scene = await GrpcL7Scene.open({
    recovery: { retries: { perTryTimeout: 500 } },
    onCall: () => {},
  });
  const watched = scene.time.clock.size;
  const call = scene.client.call("/s.S/M");
  await settled();
  await scene.time.advance(500 + LATEST);
  await scene.end(call);
  assertEquals([statusOf(call), tries(scene)], ["4", [1]]);
  assertEquals([...scene.listener.refusals], [["upstream_timeout", 1]]);
  assertIdle(scene, watched, 1);
});

Deno.test("a connection that does not come within the time of a try is tried elsewhere", async () => {
  await using scene = await GrpcL7Scene.open({
    backends: [A, B],
    recovery: { retries: { perTryTimeout: 500 } },
    h2: { maxConcurrentStreams: 1 },
    connections: { maxConnections: 1 },
    onCall: () => {},
  });
  const first = scene.client.call("/s.S/M", { content: "1" });
  const second = scene.client.call("/s.S/M", { content: "2" });
  await settled();
  scene.backend(B).onCall = answerWhenEnded;
  scene.backend(B).calls[0]!.answer();
  await scene.end(second);
  // B's turn again for the one after the next, which finds A full.
  const waiting = scene.client.call("/s.S/M", { content: "3" });
  await settled();
  await scene.time.advance(500 + LATEST);
  await settled();
  await scene.time.advance(500 + LATEST);
  await scene.end(waiting);
  await scene.end(first);
  assertEquals([statusOf(second), statusOf(waiting), statusOf(first)], ["0", "0", "0"]);
});

Deno.test("a route has rules of its own for its calls", async () => {
  await using scene = await GrpcL7Scene.open({
    backends: [A],
    routes: [
      new RouteBuilder().service("s.Once").target(A).target(B).retry({ on: [] }).build(),
      new RouteBuilder().service("s.Often").target(A).target(B)
        .retry({ on: [5], attempts: 2, perTryTimeout: 300 }).build(),
    ],
    others: [B],
  });
  for (const backend of scene.backends.values()) backend.onCall = refuseWith(14);
  assertEquals(statusOf(await scene.end(scene.client.call("/s.Once/M"))), "14");
  assertEquals(tries(scene).reduce((sum, count) => sum + count), 1);
  for (const backend of scene.backends.values()) backend.onCall = refuseWith(5);
  const often = await scene.end(
    scene.client.call("/s.Often/M", { fields: [["grpc-timeout", "9S"]] }),
  );
  assertEquals(statusOf(often), "5");
  assertEquals(tries(scene).reduce((sum, count) => sum + count), 3);
  const timed = [...scene.backends.values()].flatMap(({ calls }) => calls.map(given));
  assertEquals(timed.filter((time) => time === 300).length, 2);
});

// Hedging.

function hedged(delay = 100, ...hosts: string[]) {
  const builder = new RouteBuilder().service("s.S").hedge({ delay });
  for (const host of hosts.length === 0 ? [A, B] : hosts) builder.target(host);
  return { routes: [builder.build()], backends: [], others: hosts.length === 0 ? [A, B] : hosts };
}

/** A hedged call whose two tries are both under way. */
async function hedge(scene: GrpcL7Scene): Promise<{ call: Exchange; first: Call; second: Call }> {
  for (const backend of scene.backends.values()) backend.onCall = () => {};
  const call = scene.client.call("/s.S/M", { content: "ask" });
  await settled();
  await scene.time.advance(100 + LATEST);
  await settled();
  const all = [...scene.backends.values()].flatMap(({ calls }) => calls);
  assertEquals(all.length, 2);
  assertEquals(all.map(({ text, ended }) => [text, ended]), [["ask", true], ["ask", true]]);
  const [first, second] = scene.backend(A).calls.length === 1 ? all : all.toReversed();
  return { call, first: first!, second: second! };
}

Deno.test("a call that takes long gets a second try elsewhere, and the first answer wins", async () => {
  for (const winner of ["first", "second"] as const) {
    await using scene = await GrpcL7Scene.open(hedged());
    const outcomes = watchOutcomes(scene.registry);
    const watched = scene.time.clock.size;
    const hedging = await hedge(scene);
    const { call } = hedging;
    const [wins, loses] = winner === "first"
      ? [hedging.first, hedging.second]
      : [hedging.second, hedging.first];
    wins.answer(winner);
    await scene.end(call);
    await settled();
    assertEquals([statusOf(call), call.text, call.heads.length], ["0", winner, 1]);
    assertEquals(loses.reset?.code, H2Code.Cancel, "the other one is cancelled");
    assertEquals(outcomes, [winner === "first" ? "a:ok" : "b:ok"]);
    const [a, b] = [A, B].map((host) => scene.listener.upstream(live(scene, host).id));
    assertEquals([a!.attempts, a!.hedges, b!.attempts, b!.hedges], [1, 0, 1, 1]);
    const series = [...scene.listener.requestSeries()].filter(({ count }) => count > 0);
    assertEquals(series.map(({ backend }) => backend), [
      live(scene, winner === "first" ? A : B).id,
    ]);
    assertIdle(scene, watched, 2);
  }
});

Deno.test("a call that is answered in time has no second try; nor one whose request goes on", async () => {
  await using scene = await GrpcL7Scene.open(hedged());
  await scene.end(scene.client.call("/s.S/M", { content: "ask" }));
  for (const backend of scene.backends.values()) backend.onCall = (call) => call.head();
  const headed = scene.client.call("/s.S/M", { content: "ask" });
  await settled();
  for (const backend of scene.backends.values()) backend.onCall = () => {};
  const open = scene.client.call("/s.S/M", { content: "ask", open: true });
  await settled();
  await scene.time.advance(1000);
  await settled();
  assertEquals(tries(scene).reduce((sum, count) => sum + count), 3);
  assertEquals([headed.ended, open.ended], [false, false]);
  const large = scene.client.call("/s.S/M", { content: new Uint8Array(20_000) });
  await settled();
  await scene.time.advance(1000);
  await settled();
  assertEquals(tries(scene).reduce((sum, count) => sum + count), 4, "too large to be kept");
  assertEquals(large.ended, false);
});

Deno.test("a try that fails leaves the call to the other one", async () => {
  const failures: [string, (call: Call, scene: GrpcL7Scene, host: string) => void][] = [
    ["upstream_reset", (call) => call.stream.reset(H2Code.InternalError)],
    ["upstream_closed", (_, scene, host) => scene.backend(host).kill()],
    ["grpc_14", (call) => refuseWith(14)(call)],
  ];
  for (const [reason, fail] of failures) {
    for (const failing of ["first", "second"] as const) {
      await using scene = await GrpcL7Scene.open(hedged());
      const outcomes = watchOutcomes(scene.registry);
      const hedging = await hedge(scene);
      const host = failing === "first" ? A : B;
      fail(hedging[failing], scene, host);
      await settled();
      assertEquals(hedging.call.ended, false, `${failing} ${reason}`);
      (failing === "first" ? hedging.second : hedging.first).answer("other");
      await scene.end(hedging.call);
      assertEquals([statusOf(hedging.call), hedging.call.text], ["0", "other"]);
      const other = failing === "first" ? "b" : "a";
      assertEquals(outcomes, [`${host[0]}:${reason}`, `${other}:ok`]);
    }
  }
});

Deno.test("when both tries fail, the last one decides what the client gets", async () => {
  for (const order of [["first", "second"], ["second", "first"]] as const) {
    await using scene = await GrpcL7Scene.open(hedged());
    const watched = scene.time.clock.size;
    const hedging = await hedge(scene);
    hedging[order[0]].stream.reset(H2Code.InternalError);
    await settled();
    refuseWith(14, ["from", order[1]])(hedging[order[1]]);
    await scene.end(hedging.call);
    assertEquals([statusOf(hedging.call), hedging.call.value("from")], ["14", order[1]]);
    assertIdle(scene, watched, 2);
  }
});

Deno.test("a client that cancels cancels both tries, and so does the deadline", async () => {
  await using scene = await GrpcL7Scene.open(hedged());
  const outcomes = watchOutcomes(scene.registry);
  const { call, first, second } = await hedge(scene);
  call.stream.reset(H2Code.Cancel);
  await settled();
  assertEquals([first.reset?.code, second.reset?.code], [H2Code.Cancel, H2Code.Cancel]);
  const due = scene.client.call("/s.S/M", { fields: [["grpc-timeout", "1S"]] });
  await settled();
  await scene.time.advance(400);
  await settled();
  await scene.time.advance(1000);
  await scene.end(due);
  assertEquals(statusOf(due), "4");
  assertEquals(outcomes.toSorted(), ["a:expired", "b:expired"]);
  assertEquals([...scene.registry.backends].map(({ inFlight }) => inFlight), [0, 0]);
});

Deno.test("a second try needs another backend, and one that is reached", async () => {
  await using alone = await GrpcL7Scene.open({ ...hedged(100, A), onCall: () => {} });
  const lonely = alone.client.call("/s.S/M", { content: "ask" });
  await settled();
  await alone.time.advance(1000);
  await settled();
  assertEquals(tries(alone), [1]);
  alone.backend(A).calls[0]!.answer();
  assertEquals(statusOf(await alone.end(lonely)), "0");
  await using scene = await GrpcL7Scene.open(hedged());
  scene.down.add(B);
  scene.backend(A).onCall = () => {};
  const call = scene.client.call("/s.S/M", { content: "ask" });
  await settled();
  await scene.time.advance(1000);
  await settled();
  assertEquals(call.ended, false);
  scene.backend(A).calls[0]!.answer();
  assertEquals(statusOf(await scene.end(call)), "0");
});

// The budget.

Deno.test("in an outage of all backends there are less than 1.2 tries for each call", async () => {
  for (const outage of ["refused connections", "UNAVAILABLE", "refused streams"] as const) {
    await using scene = await GrpcL7Scene.open({
      backends: [A, B, C],
      context: { maxAttempts: 8 },
    });
    for (const [host, backend] of scene.backends) {
      if (outage === "refused connections") scene.down.add(host);
      else if (outage === "UNAVAILABLE") backend.onCall = refuseWith(14);
      else backend.onCall = (call) => call.stream.reset(H2Code.RefusedStream);
    }
    const perStep = 100;
    const steps = 60;
    for (let step = 0; step < steps; step++) {
      const calls = Array.from({ length: perStep }, () => scene.client.call("/s.S/M"));
      await settled();
      // Five a second, so 500 calls each second.
      await scene.time.advance(200);
      for (const call of calls) await scene.end(call);
      for (const call of calls) assertEquals(statusOf(call), "14", outage);
    }
    let attempts = 0;
    for (const [, stats] of scene.listener.upstreamSeries()) attempts += stats.attempts;
    const ratio = attempts / (steps * perStep);
    assert(ratio > 1.05 && ratio < 1.2, `${outage}: ${ratio} tries for each call`);
    assert(scene.listener.retryBudgetExhausted > 0);
  }
});

Deno.test("a retry that there is no budget for takes no turn away from the backend that could have had it", async () => {
  await using scene = await GrpcL7Scene.open({
    backends: [A, B],
    recovery: { retries: { budget: { share: 0, floor: 0 } } },
    onCall: answerWhenEnded,
  });
  scene.down.add(A);
  const statuses: string[] = [];
  for (let i = 0; i < 8; i++) {
    statuses.push(statusOf(await scene.end(scene.client.call("/s.S/M")))!);
  }
  assertEquals(statuses, ["14", "0", "14", "0", "14", "0", "14", "0"]);
});

Deno.test("whatever fails and when, retries stay within the share and the floor of the budget", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        share: fc.constantFrom(0, 0.1, 0.5),
        floor: fc.constantFrom(0, 1, 3),
        attempts: fc.integer({ min: 1, max: 4 }),
        steps: fc.array(
          fc.record({
            calls: fc.integer({ min: 0, max: 12 }),
            ms: fc.constantFrom(100, 700, 3000, 11_000),
            failing: fc.subarray([A, B, C]),
            down: fc.subarray([A, B, C]),
          }),
          { minLength: 1, maxLength: 6 },
        ),
      }),
      async ({ share, floor, attempts, steps }) => {
        await using scene = await GrpcL7Scene.open({
          backends: [A, B, C],
          context: { maxAttempts: attempts },
          recovery: { retries: { budget: { share, floor } } },
        });
        const { time, listener } = scene;
        const seen: { readonly second: number; calls: number; retries: number }[] = [];
        let [calls, retries] = [0, 0];
        const note = () => {
          const stats = [...listener.upstreamSeries()].map(([, one]) => one);
          const again = stats.reduce((sum, one) => sum + one.retries, 0);
          const began = stats.reduce((sum, one) => sum + one.attempts, 0) - again;
          const second = Math.floor(time.clock.now() / 1000);
          seen.push({ second, calls: began - calls, retries: again - retries });
          [calls, retries] = [began, again];
        };
        let total = 0;
        for (const step of steps) {
          scene.down.clear();
          for (const host of step.down) scene.down.add(host);
          for (const [host, backend] of scene.backends) {
            backend.onCall = step.failing.includes(host) ? refuseWith(14) : answerWhenEnded;
          }
          total += step.calls;
          const open = Array.from({ length: step.calls }, () => scene.client.call("/s.S/M"));
          await settled();
          note();
          // As many waits as there may be tries; the last one is no wait.
          for (const ms of [step.ms, 300, 300]) {
            await time.advance(ms);
            await settled();
            note();
          }
          for (const call of open) assert(call.ended);
        }
        assertEquals(calls, total, "each call has one first try");
        for (const { second } of seen) {
          const within = seen.filter((one) => one.second > second - 10 && one.second <= second);
          const asked = within.reduce((sum, one) => sum + one.calls, 0);
          const again = within.reduce((sum, one) => sum + one.retries, 0);
          assert(again <= asked * share + floor * 10, `${again} retries for ${asked} calls`);
        }
      },
    ),
    { numRuns: 15, seed: 4 },
  );
});

// Keys.

Deno.test("calls are hashed by what was chosen, and a retry goes to the next on the ring", async () => {
  const keyOf = makeKeyReader(parseHashBy("metadata:x-user"));
  await using scene = await GrpcL7Scene.open({
    backends: [A, B, C],
    strategy: "consistent-hash",
    context: { keyOf },
  });
  const ask = (user: string) =>
    scene.end(scene.client.call("/s.S/M", { fields: [["x-user", user]] }));
  const homes = new Map<string, string>();
  const homeOf = async (user: string) => {
    const before = tries(scene);
    assertEquals(statusOf(await ask(user)), "0");
    const after = tries(scene);
    return [A, B, C][after.findIndex((count, i) => count > before[i]!)]!;
  };
  for (let user = 0; user < 30; user++) homes.set(`u${user}`, await homeOf(`u${user}`));
  assertEquals(new Set(homes.values()).size, 3);
  for (const [user, home] of homes) assertEquals(await homeOf(user), home);
  scene.backend(A).onCall = refuseWith(14);
  for (const [user, home] of homes) {
    const before = tries(scene);
    assertEquals(statusOf(await ask(user)), "0");
    const moved = tries(scene).map((count, i) => count - before[i]!);
    assertEquals(moved[0], home === A ? 1 : 0);
  }
});

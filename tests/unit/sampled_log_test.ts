import { assert, assertEquals, assertLess } from "@std/assert";
import { resetSync } from "@logtape/logtape";
import fc from "fast-check";
import { configureLogging, getLogger } from "../../lib/observe/logger.ts";
import { SampledLog } from "../../lib/observe/sampled_log.ts";
import { Sampler } from "../../lib/observe/sampler.ts";
import { GrpcL4Scene } from "../support/grpc_l4.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import { A, testL7 } from "../support/l7.ts";
import { linesOf } from "../support/log_lines.ts";

const OPTIONS = { window: 1000, maxKinds: 3 };

Deno.test("the first event of a kind is told and the others are counted until the time is over", () => {
  const sampler = new Sampler<string>(OPTIONS);
  const admit = (kind: string, now: number) => sampler.admit(kind, { event: `${kind}${now}`, now });
  assertEquals([admit("a", 0), admit("a", 1), admit("b", 500), admit("a", 999)], [
    true,
    false,
    true,
    false,
  ]);
  assertEquals(sampler.take(999), []);
  assertEquals(sampler.take(1000), [{ first: "a0", count: 2 }]);
  assertEquals([admit("a", 1000), admit("b", 1000)], [true, false]);
  assertEquals(sampler.take(1500), [{ first: "b500", count: 1 }]);
  assertEquals(sampler.take(2000), [], "nothing was left out");
  assertEquals(sampler.size, 0);
});

Deno.test("kinds beyond the limit are counted together", () => {
  const sampler = new Sampler<string>(OPTIONS);
  const admitted = ["a", "b", "c", "d", "e", "f", "a"].filter((kind) =>
    sampler.admit(kind, { event: kind, now: 0 })
  );
  assertEquals(admitted, ["a", "b", "c", "d"]);
  assertEquals(sampler.size, 4);
  assertEquals(sampler.take(1000), [{ first: "a", count: 1 }, { first: undefined, count: 2 }]);
});

Deno.test("whatever comes, every event is told or counted once, and few kinds are held", () => {
  const events = fc.array(fc.record({
    kind: fc.constantFrom("a", "b", "c", "d", "e"),
    wait: fc.integer({ min: 0, max: 700 }),
  }));
  fc.assert(
    fc.property(events, (events) => {
      const sampler = new Sampler<string>(OPTIONS);
      let now = 0;
      let told = 0;
      let counted = 0;
      for (const { kind, wait } of events) {
        now += wait;
        for (const { count } of sampler.take(now)) counted += count;
        if (sampler.admit(kind, { event: kind, now })) told++;
        if (sampler.size > OPTIONS.maxKinds + 1) return false;
      }
      for (const { count } of sampler.take(Infinity)) counted += count;
      return told + counted === events.length;
    }),
    { seed: 14 },
  );
});

Deno.test("a log says how many messages of a kind it has left out, at the latest when it is flushed", async () => {
  const log = new SampledLog(getLogger("test"), { message: "it failed", by: ["code", "backend"] });
  const lines = await linesOf(() => {
    for (let i = 0; i < 214; i++) log.warning({ code: "reset", backend: "a:80", client: `c${i}` });
    log.warning({ code: "reset", backend: "b:80", client: "c" });
  });
  assertEquals(lines, [
    "warning lb.test: it failed code=reset backend=a:80 client=c0",
    "warning lb.test: it failed code=reset backend=b:80 client=c",
    "warning lb.test: it failed (more of the same) code=reset backend=a:80 more=213 seconds=1",
  ]);
});

Deno.test("what was left out is told after a second, although nothing more comes", async () => {
  const log = new SampledLog(getLogger("test"), { message: "it failed", by: [] });
  const told = Promise.withResolvers<string>();
  let lines = 0;
  configureLogging({
    level: "warning",
    format: "text",
    write: (line) => ++lines === 2 && told.resolve(line),
  });
  // The log does not keep a process from ending.
  const alive = setInterval(() => {}, 1000);
  try {
    for (let i = 0; i < 3; i++) log.warning({});
    assertEquals(lines, 1);
    assertEquals(
      (await told.promise).split(": ")[1],
      "it failed (more of the same) more=2 seconds=1",
    );
  } finally {
    clearInterval(alive);
    resetSync();
  }
});

Deno.test("without anybody who reads warnings nothing is counted or waited for", () => {
  const log = new SampledLog(getLogger("test"), { message: "it failed", by: [] });
  for (let i = 0; i < 3; i++) log.warning({});
});

/** How many events lines tell of, each itself or those that it stands for. */
function eventsIn(lines: readonly string[]): number {
  return lines.reduce((sum, line) => sum + Number(/ more=(\d+)/.exec(line)?.[1] ?? 1), 0);
}

testL7("a flood of failed exchanges is a few lines in the log and all of them in the access log", {
  log: true,
}, async (lb) => {
  lb.at(A).refuse();
  const client = lb.connect();
  const lines = await linesOf(async () => {
    for (let i = 0; i < 100; i++) await client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  });
  assertEquals(eventsIn(lines), 100);
  assertLess(lines.length, 20, lines.join("\n"));
  assert(lines[0]!.includes("an exchange failed code=no_backend"));
  assert(lines.every((line) => line.includes(`backend=${A}`)), lines.join("\n"));
  assertEquals((await lb.records()).length, 100);
});

for (const Scene of [GrpcL7Scene, GrpcL4Scene]) {
  Deno.test(`${Scene.name}: a flood of calls that reach no backend is a few lines, which name it`, async () => {
    await using scene = await Scene.open();
    scene.down.add("a:80");
    const lines = await linesOf(async () => {
      for (let i = 0; i < 20; i++) {
        const call = scene.client.call("/s.S/M", { content: "ask" });
        await scene.end(call);
      }
    });
    assertEquals(eventsIn(lines), 20);
    assertLess(lines.length, 10, lines.join("\n"));
    assert(lines.every((line) => /code=connect_failed backend=grpc:..a:80/.test(line)), lines[0]);
  });
}

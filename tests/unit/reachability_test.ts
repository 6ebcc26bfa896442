import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import type { LiveBackend } from "../../lib/backend/backend.ts";
import { openWatched } from "../../lib/backend/connector.ts";
import { Reachability } from "../../lib/backend/health/reachability.ts";
import { Passes } from "../../lib/backend/recovery.ts";
import { Registry } from "../../lib/backend/registry.ts";
import { ProxyError } from "../../lib/common/errors.ts";
import { strategies, type StrategyName } from "../../lib/strategy/registry.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";
import { ScriptedBackends } from "../support/scripted_backend.ts";

const SEED = 20261122;
const STRATEGIES = Object.keys(strategies) as StrategyName[];
const REFUSED = new ProxyError("connect_refused", "upstream", "cannot connect", { retry: "safe" });

/** Backends `a`, `b`, … whose connections are watched. */
class Scene implements AsyncDisposable {
  readonly time = new FakeClock();
  readonly scripts = new ScriptedBackends();
  readonly registry: Registry;
  readonly reachability: Reachability;
  readonly backends: readonly LiveBackend[];

  constructor(
    count: number,
    { strategy = "round-robin", weights = [] }: {
      readonly strategy?: StrategyName;
      readonly weights?: readonly number[];
    } = {},
  ) {
    const { clock } = this.time;
    this.reachability = new Reachability({
      clock,
      connect: this.scripts.connect,
      timeout: 1_000,
      random: () => 0.5,
    });
    this.registry = new Registry({
      strategy,
      scheme: "http",
      fallback: false,
      connections: {
        maxConnections: 4,
        maxWaiting: 0,
        waitTimeout: 1_000,
        idleTimeout: 1_000,
        connectTimeout: 1_000,
      },
      clock,
      connect: this.scripts.connect,
    });
    this.registry.watcher = {
      onBackendAdded: (backend) => this.reachability.add(backend),
      onBackendRemoved: (_, backend) => this.reachability.remove(backend),
      onRouteRemoved: () => {},
    };
    this.backends = Array.from({ length: count }, (_, index) =>
      this.registry.addBackend({
        addr: `http://${letter(index)}:80`,
        weight: weights[index] ?? 1,
      }).value);
  }

  /** A connection that cannot be opened. */
  async lose(index: number): Promise<void> {
    const failed = openWatched(this.backends[index]!.connectWatch, () => Promise.reject(REFUSED));
    await failed.catch(() => {});
  }

  /** One that can. */
  async reach(index: number): Promise<void> {
    await openWatched(this.backends[index]!.connectWatch, () => Promise.resolve());
  }

  /** Who is picked so many times, sorted. */
  picks(count: number): string {
    const picked = Array.from(
      { length: count },
      (_, key) => this.registry.pool.pick(undefined, Math.imul(key, 0x9e3779b1) >>> 0),
    );
    return picked.map((backend) => backend?.addr[7] ?? "-").sort().join("");
  }

  get unreachable(): string {
    return this.backends.flatMap(({ health }, index) => health.reachable ? [] : [letter(index)])
      .join("");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reachability.close();
    assertEquals(this.time.clock.size, 0, "deadlines that are watched");
  }
}

function letter(index: number): string {
  return String.fromCharCode(97 + index);
}

Deno.test("every strategy leaves out who cannot be reached while another one can", async () => {
  for (const strategy of STRATEGIES) {
    await using scene = new Scene(3, { strategy });
    await scene.lose(0);
    await scene.lose(2);
    assertEquals(scene.picks(20), "b".repeat(20), strategy);
    await scene.lose(1);
    assertEquals(new Set(scene.picks(200)), new Set("abc"), `${strategy}: all, as before`);
    await scene.reach(2);
    assertEquals(scene.picks(20), "c".repeat(20), strategy);
  }
});

Deno.test("neither the panic threshold nor a ceiling keeps one that cannot be reached in rotation", async () => {
  await using scene = new Scene(5);
  for (const index of [0, 1, 2, 3]) {
    scene.backends[index]!.health.fail("no answer");
    await scene.lose(index);
  }
  assert(scene.registry.pool.panics);
  assertEquals(scene.picks(10), "e".repeat(10));
});

Deno.test("when nobody who is fit can be reached, ejected ones are better, and failing ones than none", async () => {
  await using scene = new Scene(4);
  scene.backends[1]!.health.eject("5 failures", Infinity);
  scene.backends[2]!.health.fail("no answer");
  assertEquals(scene.picks(4), "aadd");
  await scene.lose(0);
  assertEquals(scene.picks(4), "dddd");
  await scene.lose(3);
  assertEquals(scene.picks(4), "bbbb");
  await scene.lose(1);
  assertEquals(scene.picks(4), "cccc");
  await scene.lose(2);
  assertEquals(scene.picks(4), "aadd", "as if all could be reached");
});

Deno.test("a weight of 0 does not stand in for others", async () => {
  await using scene = new Scene(2, { weights: [0, 1] });
  await scene.lose(1);
  assertEquals(scene.picks(3), "bbb");
});

Deno.test("whatever happens to whom, an unreachable backend is picked only if no other can be reached", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...STRATEGIES),
      fc.array(
        fc.tuple(fc.constantFrom("lose", "reach", "eject", "readmit", "fail", "pass"), fc.nat(4)),
        { maxLength: 40 },
      ),
      async (strategy, events) => {
        await using scene = new Scene(5, { strategy });
        for (const [event, index] of events) {
          const { health } = scene.backends[index]!;
          if (event === "lose") await scene.lose(index);
          else if (event === "reach") await scene.reach(index);
          else if (event === "eject") health.eject("failures", Infinity);
          else if (event === "fail") health.fail("no answer");
          else health[event]();
          const { pool } = scene.registry;
          const any = scene.backends.some(({ health }) => health.reachable);
          const picked = pool.pick(undefined, index * 7919)!;
          assertEquals(picked.health.reachable, any);
          assertEquals(pool.reaches, any);
          assertEquals(pool.outlook(), any ? "reachable" : "unreachable");
          // What fit ones there are that can be reached come first.
          const fit = scene.backends.filter(({ health }) => health.sound && health.reachable);
          if (fit.length > 0 && !pool.panics) assert(fit.includes(picked));
        }
      },
    ),
    { seed: SEED, numRuns: 300 },
  );
});

Deno.test("the rest between two trials doubles up to ten seconds, and each carries nothing", async () => {
  await using scene = new Scene(2);
  const script = scene.scripts.at("http://a:80");
  script.refuse();
  await scene.lose(0);
  const times: number[] = [];
  let before = script.dials;
  for (let ms = 0; ms < 60_000; ms += 100) {
    await scene.time.advance(100);
    if (script.dials > before) times.push(ms + 100);
    before = script.dials;
  }
  const rests = times.map((time, index) => time - (times[index - 1] ?? 0));
  for (const [index, rest] of rests.entries()) {
    const wanted = Math.min(100 * 2 ** index, 10_000);
    // The clock adds one or two of its ticks.
    assert(rest >= wanted && rest <= wanted + 200, `${rests}`);
  }
  assert(times.length >= 9, `${times}`);
  assertEquals(scene.unreachable, "a");
});

Deno.test("a trial that succeeds makes it reachable at once, and its connection is closed", async () => {
  await using scene = new Scene(2);
  const script = scene.scripts.at("http://a:80");
  await scene.lose(0);
  assertEquals(scene.backends[0]!.health.state, {
    type: "unreachable",
    reason: "connect_refused: cannot connect",
  });
  const accepted = script.accept();
  await scene.time.expire(100);
  assertEquals([scene.unreachable, scene.backends[0]!.health.state.type], ["", "healthy"]);
  assert((await accepted).closedByProxy);
  assertEquals(scene.picks(4), "aabb");
  assertEquals(scene.time.clock.size, 0);
});

Deno.test("one that takes nothing but trials rests on, one that stays or is used begins anew", async () => {
  await using scene = new Scene(2);
  const script = scene.scripts.at("http://a:80");
  /** How long it rests until the next trial, in milliseconds; the clock adds one or two of its ticks. */
  const rests = async () => {
    const before = script.dials;
    let ms = 0;
    for (; script.dials === before; ms += 100) await scene.time.advance(100);
    return ms;
  };
  await scene.lose(0);
  for (const rest of [100, 200, 400, 800]) {
    assertLessOrEqual(Math.abs(await rests() - rest - 100), 100, `${rest}`);
    assertEquals(scene.unreachable, "");
    await scene.lose(0);
  }
  await scene.reach(0);
  await scene.lose(0);
  assertLessOrEqual(await rests(), 300);
  await scene.lose(0);
  await rests();
  await scene.time.advance(5_000);
  await scene.lose(0);
  assertLessOrEqual(await rests(), 300);
});

Deno.test("a failure that was begun before another connection was opened is old news", async () => {
  await using scene = new Scene(1);
  const { connectWatch } = scene.backends[0]!;
  const slow = Promise.withResolvers<never>();
  const pending = openWatched(connectWatch, () => slow.promise).catch(() => {});
  await scene.reach(0);
  slow.reject(REFUSED);
  await pending;
  assertEquals(scene.unreachable, "");
});

Deno.test("what is our own fault or the client's says nothing about who can be reached", async () => {
  await using scene = new Scene(1);
  for (
    const error of [
      new ProxyError("local_exhausted", "internal", "no descriptors"),
      new ProxyError("client_closed", "downstream", "gone"),
      new Error("a bug"),
    ]
  ) {
    await openWatched(scene.backends[0]!.connectWatch, () => Promise.reject(error)).catch(() => {});
  }
  assertEquals(scene.unreachable, "");
});

Deno.test("who leaves the registry is tried no more, and a trial that is under way ends", async () => {
  await using scene = new Scene(2);
  const [a] = scene.backends;
  await scene.lose(0);
  scene.registry.removeBackend(a!);
  assertEquals(scene.time.clock.size, 0);
  await scene.time.advance(20_000);
  assertEquals([scene.scripts.at("http://a:80").dials, a!.connectWatch], [0, undefined]);
});

Deno.test("a trial that is under way ends with its backend, with the balancer, and beside no other", async () => {
  const time = new FakeClock();
  const trials: AbortSignal[] = [];
  const reachability = new Reachability({
    clock: time.clock,
    timeout: 1_000,
    random: () => 0.5,
    connect: (_, { signal }) => {
      trials.push(signal!);
      return new Promise((_, reject) =>
        signal!.addEventListener("abort", () => reject(signal!.reason))
      );
    },
  });
  await using scene = new Scene(2);
  for (const backend of scene.backends) {
    reachability.add(backend);
    await openWatched(backend.connectWatch, () => Promise.reject(REFUSED)).catch(() => {});
  }
  for (let ms = 0; ms < 5_000; ms += 100) await time.advance(100);
  assertEquals(trials.map(({ aborted }) => aborted), [false, false]);
  reachability.remove(scene.backends[0]!);
  assertEquals(trials.map(({ aborted }) => aborted), [true, false]);
  await reachability.close();
  assertEquals(trials.map(({ aborted }) => aborted), [true, true]);
  assertEquals([time.clock.size, scene.unreachable], [0, ""]);
});

Deno.test("ending forgets who could not be reached", async () => {
  const scene = new Scene(3);
  await scene.lose(0);
  await scene.lose(1);
  await scene.reachability.close();
  assertEquals([scene.unreachable, scene.time.clock.size], ["", 0]);
  assertEquals(scene.picks(3), "abc");
});

Deno.test("a connection ends an ejection that came of failures to connect, and no other", async () => {
  await using scene = new Scene(3);
  for (const [index, untilReached] of [[0, true], [1, false]] as const) {
    await scene.lose(index);
    scene.backends[index]!.health.eject("5 failures in a row", Infinity, untilReached);
    await scene.reach(index);
  }
  await settle();
  assertEquals(scene.backends.map(({ health }) => health.state.type), [
    "healthy",
    "ejected",
    "healthy",
  ]);
});

Deno.test("a request goes on for nothing from unreachable backends to others, a bounded number of times", async () => {
  await using scene = new Scene(2);
  const [failed] = scene.backends;
  const passes = new Passes();
  assert(!passes.allow(failed!, "reachable"), "it is not known to be unreachable");
  await scene.lose(0);
  for (const outlook of ["unreachable", "full", "none"] as const) {
    assert(!passes.allow(failed!, outlook), outlook);
  }
  let free = 0;
  for (; passes.allow(failed!, "reachable"); free++) passes.pass(free % 2 === 0);
  assertLessOrEqual(free, 10);
  // Those that took their time count as attempts.
  assert(passes.within(2 + free / 2, 3) && !passes.within(3 + free / 2, 3));
});

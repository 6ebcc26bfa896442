import { assert, assertAlmostEquals, assertEquals, assertLess } from "@std/assert";
import fc from "fast-check";
import { AdaptiveLimit } from "../../lib/backend/adaptive_limit.ts";
import type { LiveBackend } from "../../lib/backend/backend.ts";
import { Verdict } from "../../lib/backend/health/verdict.ts";
import {
  type Knowledge,
  KNOWLEDGE_VERSION,
  MAX_KNOWN,
  parseKnowledge,
} from "../../lib/backend/knowledge.ts";
import { ANSWERED, type Outcome } from "../../lib/backend/outcome.ts";
import { RetryBudget } from "../../lib/backend/retry_budget.ts";
import { RateLimiter } from "../../lib/common/rate_limiter.ts";
import { coreOf } from "../../lib/load_balancer/core.ts";
import { PeakLatency } from "../../lib/strategy/peak_latency.ts";
import { HttpL7, type HttpL7Options, Mux, RouteBuilder } from "../../mod.ts";

const FAILED: Outcome = { type: "failed", reason: "status_503" };
const BACKENDS = ["a:1", "b:1", "c:1", "d:1"];

/** A balancer that never listens. */
class Scene implements AsyncDisposable {
  readonly lb: HttpL7;

  constructor(options: HttpL7Options = {}) {
    this.lb = new HttpL7({ backends: BACKENDS, ...options });
  }

  backend(addr: string): LiveBackend {
    for (const backend of coreOf(this.lb).registry.backends) {
      if (backend.addr === `http://${addr}`) return backend;
    }
    throw new Error(`${addr} is no backend`);
  }

  report(addr: string, outcome: Outcome, count = 1): void {
    for (let i = 0; i < count; i++) {
      const lease = this.backend(addr).acquire();
      lease.report(outcome);
      lease.release();
    }
  }

  /** What it knows as it arrives in the next process, and after a while there. */
  pass(elapsed = 0): Knowledge {
    const knowledge = JSON.parse(JSON.stringify(this.lb.collectKnowledge()));
    return { ...knowledge, at: knowledge.at - elapsed };
  }

  states(): string[] {
    return this.lb.backends().map(({ health }) => health.state);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lb.close();
  }
}

type ListedHealth = ReturnType<HttpL7["backends"]>[number]["health"];

Deno.test("who is ejected stays so in the next process, for the rest of its time, and longer the next time", async () => {
  await using first = new Scene();
  first.report("a:1", FAILED, 5);
  await using second = new Scene();
  second.lb.applyKnowledge(first.pass(4_000));
  const { health, now } = second.backend("a:1");
  assertEquals(second.states(), ["ejected", "healthy", "healthy", "healthy"]);
  assertAlmostEquals(health.ejectedUntil! - now, 6_000, 1_000);
  const [{ seconds_left: before, ...was }, { seconds_left: left, ...is }] = [first, second]
    .map(({ lb }) => lb.backends()[0]!.health) as [ListedHealth, ListedHealth];
  assertEquals(is, was);
  assertAlmostEquals(before! - left!, 4, 1);
  health.readmit();
  second.report("a:1", FAILED, 5);
  assertAlmostEquals(health.ejectedUntil! - second.backend("a:1").now, 20_000, 1_000);
});

Deno.test("failures in a row are counted on", async () => {
  await using first = new Scene();
  first.report("b:1", FAILED, 4);
  await using second = new Scene();
  second.lb.applyKnowledge(first.pass());
  second.report("b:1", FAILED);
  assertEquals(second.states(), ["healthy", "ejected", "healthy", "healthy"]);
});

Deno.test("no more are ejected than the next process may eject", async () => {
  await using first = new Scene();
  first.report("a:1", FAILED, 5);
  first.report("b:1", FAILED, 5);
  await using second = new Scene({ backends: ["a:1", "b:1"] });
  second.lb.applyKnowledge(first.pass());
  assertEquals(second.states().sort(), ["ejected", "healthy"]);
  await using none = new Scene({ outlierDetection: false });
  none.lb.applyKnowledge(first.pass());
  assertEquals(new Set(none.states()), new Set(["healthy"]));
});

Deno.test("what a check found holds until the checks of the next process say otherwise, and only for the same check", async () => {
  const known = (id: string): Knowledge => ({
    version: KNOWLEDGE_VERSION,
    at: Date.now(),
    registries: [{
      scheme: "http",
      check: "http:/healthz",
      backends: [{ id, standing: { reason: "status 500", inRow: 1 } }],
    }],
  });
  await using same = new Scene({ healthCheck: { check: "http:/healthz" } });
  const { id } = same.backend("a:1");
  same.lb.applyKnowledge(known(id));
  assertEquals(same.lb.backends()[0]!.health.reason, "status 500");
  assertEquals(same.pass().registries[0]!.backends[0]!.standing, {
    reason: "status 500",
    inRow: 1,
  });
  for (const options of [{ healthCheck: { check: "tcp" } }, {}] as const) {
    await using other = new Scene(options);
    other.lb.applyKnowledge(known(id));
    assertEquals(new Set(other.states()), new Set(["healthy"]));
  }
});

Deno.test("who could not be reached is tried again, as if that had just happened, however often it is passed on", async () => {
  await using first = new Scene();
  first.backend("a:1").health.lose("connect_refused: nobody is there");
  await using second = new Scene();
  const told: string[] = [];
  second.backend("a:1").connectWatch = {
    begin: () => 7,
    onConnected: () => {},
    onUnreached: ({ code, message, side }, begun) => told.push([code, side, message, begun].join()),
  };
  second.lb.applyKnowledge(first.pass());
  assertEquals(told, ["connect_failed,upstream,nobody is there,7"]);
});

Deno.test("an ejection that ends with the next connection ends so in the next process too", async () => {
  await using first = new Scene();
  const { health, now } = first.backend("a:1");
  first.report("a:1", ANSWERED);
  health.lose("connect_refused: nobody is there");
  health.eject("5 failures in a row", now + 10_000, true);
  await using second = new Scene();
  second.lb.applyKnowledge(first.pass());
  const { health: next } = second.backend("a:1");
  assertEquals(next.state.type, "ejected");
  next.lose("connect_refused: nobody is there");
  next.reach();
  assertEquals(next.state.type, "healthy");
});

Deno.test("checks count on where those before have stopped", async () => {
  await using scene = new Scene();
  const backend = scene.backend("a:1");
  const settings = { rise: 2, fall: 3 };
  const before = new Verdict(backend, settings);
  assertEquals(before.standing, undefined, "nobody has asked yet");
  before.count("refused");
  before.count(undefined);
  const failing = new Verdict(backend, settings, before.standing);
  assertEquals([failing.passing, backend.health.usable], [false, false]);
  failing.count(undefined);
  assertEquals([failing.passing, backend.health.usable], [true, true]);
  failing.count("refused");
  failing.count("refused");
  const healthy = new Verdict(backend, settings, failing.standing);
  assertEquals(
    healthy.passing,
    true,
    "the first check of a process decides alone, but this one goes on",
  );
  healthy.count("refused");
  assertEquals([healthy.passing, backend.health.usable], [false, false]);
});

Deno.test("who comes back goes on with its slow start, and nobody else begins one", async () => {
  const options = { slowStart: 60_000 };
  await using first = new Scene(options);
  first.report("a:1", FAILED, 5);
  first.backend("a:1").health.readmit();
  await using second = new Scene(options);
  second.lb.applyKnowledge(first.pass(31_000));
  const shares = ["a:1", "b:1"].map((addr) => second.backend(addr).health.share);
  assertEquals(shares, [0.5, 1]);
  await using quick = new Scene();
  quick.lb.applyKnowledge(first.pass());
  assertEquals(quick.backend("a:1").health.share, 1);
});

Deno.test("latencies are not cold, and age on the way", () => {
  const before = new PeakLatency();
  assertEquals(before.collect(5_000), undefined);
  before.observe(100, 5_000);
  before.punish(10, 6_000, 30_000);
  const after = new PeakLatency();
  after.resume(before.collect(8_000)!, 1_000);
  assertEquals(after.read(1_000), Infinity);
  assertAlmostEquals(after.read(29_500), before.read(36_500), 1e-9);
});

Deno.test("an adaptive limit is kept, within the bounds of the next process, and measured when it was due", () => {
  const before = new AdaptiveLimit({ initial: 100 }, { random: () => 0.5 });
  assertEquals(before.collect(0), undefined);
  for (let i = 0; i < 25; i++) before.observe(10, 1, 1_000);
  const after = new AdaptiveLimit();
  after.resume(before.collect(31_000)!, 500);
  assertEquals([after.limit(500), after.limit(30_499), after.limit(30_500)], [100, 100, 4]);
  const small = new AdaptiveLimit({ max: 50 });
  small.resume(before.collect(31_000)!, 500);
  assertEquals(small.limit(500), 50);
});

Deno.test("what is used of the budget of retries is used in the next process, until it is ten seconds old", () => {
  const options = { share: 0, floor: 1 };
  const before = new RetryBudget(options);
  for (let second = 0; second < 10; second++) assert(before.take(100_000 + second * 1_000));
  assert(!before.take(109_000));
  const state = before.collect(109_000)!;
  const takes = (elapsed: number, now = 3_000) => {
    const after = new RetryBudget(options);
    after.resume(state, now, elapsed);
    let count = 0;
    while (after.take(now)) count++;
    return count;
  };
  assertEquals([takes(0), takes(999), takes(3_500), takes(60_000)], [0, 0, 3, 10]);
  assertEquals(new RetryBudget(options).collect(0), undefined);
});

Deno.test("tokens that are used are used in the next process, of as many keys as are passed on", () => {
  const before = new RateLimiter({ rate: 1, burst: 3 });
  for (const key of ["a", "a", "a", "b", "b", "c"]) before.take(key, 10_000);
  const buckets = before.collect(10_500, 2);
  assertEquals(buckets, [["b", 1_500], ["c", 500]]);
  const after = new RateLimiter({ rate: 1, burst: 3 });
  after.resume([...buckets, ["d", 1e9], ["e", -5]], 100);
  assertEquals([after.take("b", 100), after.take("b", 100) > 0], [0, true]);
  assertEquals(
    [after.take("d", 100), after.take("d", 3_100)],
    [1_000, 0],
    "no emptier than it can be",
  );
  assertEquals(after.size, 3);
});

Deno.test("rates of the balancer and of its routes are kept, each for itself", async () => {
  const options: HttpL7Options = {
    fallback: true,
    rateLimit: { rate: 0.001, burst: 2, key: "all" },
    routes: [
      new RouteBuilder().path("/limited").redirect({ status: 302, path: "/x" })
        .rateLimit({ rate: 0.001, burst: 1, key: "all" }).build(),
    ],
  };
  const statuses = async ({ lb }: Scene) => {
    const found: number[] = [];
    for (const path of ["/limited", "/limited", "/free"]) {
      const response = await lb.fetch(new Request(`http://x${path}`));
      await response.body?.cancel();
      found.push(response.status);
    }
    return found;
  };
  await using first = new Scene({ ...options, backends: [] });
  assertEquals(await statuses(first), [302, 429, 503]);
  await using second = new Scene({ ...options, backends: [] });
  second.lb.applyKnowledge(first.pass());
  assertEquals(await statuses(second), [429, 429, 503]);
  await using third = new Scene({ ...options, backends: [] });
  third.lb.applyKnowledge(second.pass());
  assertEquals(await statuses(third), [429, 429, 429]);
});

Deno.test("a mux passes on what each side knows", async () => {
  const options = { http: { backends: BACKENDS }, grpc: { backends: BACKENDS } };
  const [first, second] = [new Mux(options), new Mux(options)];
  const [backend] = coreOf(first.grpc).registry.backends;
  for (let i = 0; i < 5; i++) {
    const lease = backend!.acquire();
    lease.report(FAILED);
    lease.release();
  }
  second.applyKnowledge(JSON.parse(JSON.stringify(first.collectKnowledge())));
  const ejected = second.backends().filter(({ health }) => health.state === "ejected");
  assertEquals(ejected.map(({ addr }) => addr), ["grpc://a:1"]);
  await first.close();
  await second.close();
});

Deno.test("of very many backends those that must not be picked are passed on first", async () => {
  // Each in a route of its own, as a pool of so many takes long to make.
  const routes = Array.from(
    { length: MAX_KNOWN + 5 },
    (_, i) => new RouteBuilder().path(`/${i}`).target(`b${i}:1`).build(),
  );
  await using scene = new Scene({ backends: [], routes });
  const last = scene.backend(`b${MAX_KNOWN + 4}:1`);
  last.health.fail("it is down");
  const { backends } = scene.pass().registries[0]!;
  assertEquals([backends.length, backends[0]!.id], [MAX_KNOWN, last.id]);
});

Deno.test("fields of another version are ignored, missing ones default, and nonsense is nothing", async () => {
  const id = "x";
  const registries = [{
    scheme: "http",
    invented: true,
    backends: [
      { id, outlier: { inRow: -1, ejected: { left: "soon" } }, latency: [], limit: null, new: {} },
      { standing: {} },
      "text",
      null,
    ],
    rates: [{ route: "r", buckets: [["k", 5], ["k"], 7, [1, 2], ["k".repeat(501), 5]] }, {}],
  }];
  const parsed = parseKnowledge({ version: KNOWLEDGE_VERSION, at: 5, registries, later: [] })!;
  const [backend, ...others] = parsed.registries[0]!.backends;
  assertEquals(others, []);
  assertEquals(backend!.outlier!.inRow, 0);
  assertEquals(backend!.outlier!.ejected, {
    reason: "ejected by the process before",
    left: 0,
    untilReached: false,
  });
  assertEquals(parsed.registries[0]!.rates, [{ route: "r", buckets: [["k", 5]] }]);
  assertEquals(parseKnowledge({ version: KNOWLEDGE_VERSION, at: 5 })!.registries, []);
  for (const value of [undefined, null, 7, "text", [], { version: 2, at: 5, registries }]) {
    assertEquals(parseKnowledge(value), undefined);
  }
  await using scene = new Scene();
  scene.lb.applyKnowledge(undefined);
  scene.lb.applyKnowledge(parsed);
  assertEquals(new Set(scene.states()), new Set(["healthy"]));
});

Deno.test("whatever is passed on, the next process works", () => {
  const lb = new HttpL7({
    backends: BACKENDS,
    slowStart: 1_000,
    healthCheck: { check: "tcp" },
    limits: { adaptive: true },
    rateLimit: { rate: 10 },
  });
  const [known] = coreOf(lb).registry.backends;
  const number = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(-1, 1e300, 2 ** 31));
  const part = (...names: string[]) =>
    fc.option(
      fc.record(Object.fromEntries(names.map((name) => [name, fc.oneof(number, fc.jsonValue())]))),
      { nil: undefined },
    );
  const backend = fc.record({
    id: fc.constantFrom(known!.id, "other"),
    standing: part("reason", "inRow"),
    outlier: fc.oneof(
      part("total", "ejections", "inRow", "requests", "failures", "interval"),
      fc.record({ ejected: part("reason", "left") }),
    ),
    warming: number,
    latency: part("average", "age", "pause"),
    limit: part("limit", "base", "probe"),
  });
  const registry = fc.record({
    scheme: fc.constantFrom("http", "grpc"),
    check: fc.constantFrom("tcp", undefined),
    backends: fc.array(backend, { maxLength: 4 }),
    retries: fc.option(fc.record({ requests: fc.array(number), retries: fc.array(number) })),
    rates: fc.array(
      fc.record({
        route: fc.constantFrom("", "r"),
        buckets: fc.array(fc.tuple(fc.string(), number), { maxLength: 5 }),
      }),
      { maxLength: 2 },
    ),
  });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.jsonValue(),
        fc.record({
          version: fc.constant(KNOWLEDGE_VERSION),
          at: number,
          registries: fc.array(registry, { maxLength: 3 }),
        }),
      ),
      (value) => {
        lb.applyKnowledge(value);
        const { health, latency, limit, now } = known!;
        assert(health.share > 0 && health.share <= 1);
        assert(latency.read(now) >= 0);
        assert(limit!.limit(now) >= 1);
        const lease = known!.acquire();
        lease.report(ANSWERED);
        lease.release();
        assertLess(known!.inFlight, 1);
      },
    ),
    { seed: 4, numRuns: 500 },
  );
  return lb.close();
});

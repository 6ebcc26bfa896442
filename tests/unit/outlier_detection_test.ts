import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LiveBackend } from "../../lib/backend/backend.ts";
import { H1Pool } from "../../lib/backend/h1_pool.ts";
import { H2Pool } from "../../lib/backend/h2_pool.ts";
import {
  OutlierDetection,
  type OutlierOptions,
} from "../../lib/backend/health/outlier_detection.ts";
import { ANSWERED, EXPIRED, type Outcome } from "../../lib/backend/outcome.ts";
import { Pool } from "../../lib/backend/pool.ts";
import { parseAddress } from "../../lib/common/address.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { linesOf } from "../support/log_lines.ts";
import { ScriptedBackend } from "../support/scripted_backend.ts";

const FAILED: Outcome = { type: "failed", reason: "status_503" };
const LIMITS = {
  maxConnections: 4,
  maxWaiting: 0,
  waitTimeout: 1000,
  idleTimeout: 1000,
  connectTimeout: 1000,
};

class Scene implements Disposable {
  readonly time = new FakeClock();
  readonly backends: LiveBackend[];
  readonly detection: OutlierDetection;

  constructor(count: number, options: OutlierOptions = {}) {
    this.detection = new OutlierDetection(this.time.clock, options);
    const pool = new Pool("test", { strategy: "round-robin" });
    this.backends = Array.from({ length: count }, (_, index) => {
      const addr = `http://b${index}:80`;
      const address = parseAddress(addr);
      const script = new ScriptedBackend();
      const { clock } = this.time;
      const parts = { address, addr, clock, connect: () => script.connect() };
      const backend = new LiveBackend(`id-${index}`, address, {
        http: new H1Pool(parts, LIMITS),
        h2: new H2Pool(parts, LIMITS),
        clock,
      });
      backend.health.onChange(() => pool.refresh());
      pool.set(backend, 1);
      this.detection.add(backend);
      return backend;
    });
  }

  /** Reports so many outcomes of one backend. */
  report(index: number, outcome: Outcome, count = 1): void {
    for (let i = 0; i < count; i++) {
      const lease = this.backends[index]!.acquire();
      lease.report(outcome);
      lease.release();
    }
  }

  get ejected(): number[] {
    return this.backends.flatMap(({ health }, index) => health.usable ? [] : [index]);
  }

  [Symbol.dispose](): void {
    this.detection.close();
  }
}

Deno.test("five failures in a row eject a backend; an answer between them does not let them add up", () => {
  using scene = new Scene(3);
  scene.report(0, FAILED, 4);
  scene.report(0, ANSWERED);
  scene.report(0, FAILED, 4);
  assertEquals(scene.ejected, []);
  scene.report(0, FAILED);
  assertEquals(scene.ejected, [0]);
  const { state } = scene.backends[0]!.health;
  assert(state.type === "ejected");
  assertEquals(state.reason, "5 failures in a row, the last status_503");
});

Deno.test("half of at least 20 requests within an interval eject a backend", async () => {
  using scene = new Scene(3);
  for (let request = 0; request < 9; request++) {
    scene.report(1, FAILED);
    scene.report(1, ANSWERED);
  }
  assertEquals(scene.ejected, []);
  await scene.time.advance(10_100); // the interval is over, so they count no more
  for (let request = 0; request < 9; request++) {
    scene.report(1, ANSWERED);
    scene.report(1, FAILED);
  }
  scene.report(1, ANSWERED);
  assertEquals(scene.ejected, []);
  scene.report(1, FAILED);
  assertEquals(scene.ejected, [1]);
});

Deno.test("each further ejection lasts longer, up to a bound, and quiet intervals take that back", async () => {
  using scene = new Scene(2, { maxEjectionTime: 25_000 });
  const lasts = async () => {
    scene.report(0, FAILED, 5);
    assertEquals(scene.ejected, [0]);
    for (let seconds = 1;; seconds++) {
      await scene.time.advance(1000);
      if (scene.ejected.length === 0) return seconds;
    }
  };
  const first = await lasts();
  const second = await lasts();
  const third = await lasts();
  const close = (actual: number, expected: number) =>
    assertLessOrEqual(Math.abs(actual - expected), 1, `${actual} s`);
  close(first, 10);
  close(second, 20);
  close(third, 25);
  for (let interval = 0; interval < 5; interval++) {
    scene.report(0, ANSWERED);
    await scene.time.advance(10_100);
  }
  close(await lasts(), 10);
});

Deno.test("no more than half of a pool is ejected, and the only backend never is", () => {
  for (const [count, most] of [[1, 0], [2, 1], [3, 1], [5, 2]] as const) {
    using scene = new Scene(count);
    for (let index = 0; index < count; index++) scene.report(index, FAILED, 100);
    assertEquals(scene.ejected.length, most, `${count} backends`);
  }
});

Deno.test("the ceiling holds whatever fails in whatever order", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.array(fc.tuple(fc.nat(7), fc.boolean()), { maxLength: 300 }),
      (count, maxEjected, outcomes) => {
        using scene = new Scene(count, { maxEjected, consecutiveFailures: 2 });
        for (const [index, failed] of outcomes) {
          scene.report(index % count, failed ? FAILED : ANSWERED);
          assertLessOrEqual(scene.ejected.length, Math.floor(count * maxEjected));
        }
      },
    ),
    { seed: 20261122, numRuns: 100 },
  );
});

Deno.test("failures that were under way when a backend was ejected do not prolong it", async () => {
  using scene = new Scene(2);
  scene.report(0, FAILED, 5);
  scene.report(0, FAILED, 50);
  await scene.time.advance(10_200);
  assertEquals(scene.ejected, []);
});

Deno.test("a backend that is watched no more is not ejected, and nothing is left on the clock", () => {
  const scene = new Scene(2);
  scene.report(1, FAILED, 5);
  scene.detection.remove(scene.backends[0]!);
  scene.report(0, FAILED, 50);
  assertEquals(scene.ejected, [1]);
  scene.detection.close();
  assertEquals([scene.time.clock.size, scene.ejected], [0, []]);
});

Deno.test("deadlines of clients eject nobody, and no failures before them are forgotten for them", () => {
  using scene = new Scene(3);
  scene.report(0, EXPIRED, 100);
  assertEquals(scene.ejected, []);
  scene.report(0, FAILED, 4);
  scene.report(0, EXPIRED, 10);
  scene.report(0, FAILED);
  assertEquals(scene.ejected, [0]);
});

Deno.test("an ejection that came of refused connections alone ends with the first that is not refused", () => {
  const refused: Outcome = { type: "failed", reason: "connect_refused" };
  for (const [first, ends] of [[refused, true], [FAILED, false]] as const) {
    using scene = new Scene(3);
    const { health } = scene.backends[0]!;
    scene.report(0, first);
    health.lose("connect_refused");
    scene.report(0, refused, 4);
    assertEquals(health.state.type, "ejected");
    health.reach();
    assertEquals(health.state.type, ends ? "healthy" : "ejected");
  }
});

Deno.test("each pool is judged for itself: one that cannot do without a backend picks it on", () => {
  using scene = new Scene(3);
  const [a, b] = scene.backends;
  const [only, pair] = ["only", "pair"].map((name) => new Pool(name, { strategy: "round-robin" }));
  only!.set(a!, 1);
  for (const backend of [a!, b!]) pair!.set(backend, 1);
  const picks = (pool: Pool) =>
    Array.from({ length: 6 }, () => pool.pick()!.addr.slice(7, 9)).sort().join(" ");
  scene.report(0, FAILED, 5);
  assertEquals(scene.ejected, [0]);
  for (const pool of [only!, pair!]) pool.refresh();
  const [all] = [...b!.pools];
  assertEquals([picks(all as Pool), picks(pair!), picks(only!)], [
    "b1 b1 b1 b2 b2 b2",
    "b1 b1 b1 b1 b1 b1",
    "b0 b0 b0 b0 b0 b0",
  ]);
  // Half of three and half of two is one.
  scene.report(1, FAILED, 100);
  assertEquals(scene.ejected, [0]);
});

Deno.test("in no pool more than its share is done without, whatever fails in whatever order", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 6 }),
      fc.array(fc.uniqueArray(fc.nat(5), { minLength: 1 }), { minLength: 1, maxLength: 4 }),
      fc.array(fc.nat(5), { maxLength: 60 }),
      (count, groups, failures) => {
        using scene = new Scene(count, { consecutiveFailures: 1 });
        const pools = groups.map((group, index) => {
          const pool = new Pool(`pool ${index}`, { strategy: "round-robin", panicThreshold: 0 });
          for (const member of group) pool.set(scene.backends[member % count]!, 1);
          return pool;
        });
        for (const backend of scene.backends) {
          backend.health.onChange(() => pools.forEach((pool) => pool.refresh()));
        }
        for (const index of failures) {
          scene.report(index % count, FAILED);
          for (const pool of pools) {
            const without = [...pool.members].filter(({ picked }) => !picked).length;
            assertLessOrEqual(without, Math.floor(pool.size * 0.5));
          }
        }
      },
    ),
    { seed: 20261122, numRuns: 200 },
  );
});

Deno.test("options out of their range are refused with their name and value", () => {
  const { clock } = new FakeClock();
  const cases: [OutlierOptions, string][] = [
    [{ consecutiveFailures: -1 }, "consecutiveFailures -1"],
    [{ minRequests: 1.5 }, "minRequests 1.5"],
    [{ failureShare: 1.1 }, "failureShare 1.1"],
    [{ maxEjected: NaN }, "maxEjected NaN"],
    [{ ejectionTime: 0 }, "ejectionTime 0"],
    [{ interval: Infinity }, "interval Infinity"],
  ];
  for (const [options, message] of cases) {
    assertThrows(() => new OutlierDetection(clock, options), TypeError, message);
  }
});

Deno.test("who is kept because the ceiling is reached is said once, and again after it was well", async () => {
  using scene = new Scene(2);
  const lines = await linesOf(async () => {
    scene.report(0, FAILED, 5);
    scene.report(1, FAILED, 50);
    // An interval with failures, and one without.
    for (let i = 0; i < 2; i++) {
      await scene.time.expire(10_000);
      scene.report(1, ANSWERED);
      if (i === 0) scene.report(1, FAILED);
    }
    scene.report(0, FAILED, 5);
    await scene.time.expire(10_000);
    scene.report(1, ANSWERED);
    await scene.time.expire(10_000);
    scene.report(0, FAILED, 5);
    scene.report(1, FAILED, 5);
  });
  const kept =
    "warning lb.health: a backend would be ejected, but the ceiling of ejection is reached " +
    'backend=http://b1:80 reason="5 failures in a row, the last status_503"';
  assertEquals(lines.filter((line) => line.includes("b1")), [kept, kept]);
});

Deno.test("a backend of weight 0 does not raise the ceiling of ejection", () => {
  using scene = new Scene(4);
  const [pool] = scene.backends[0]!.pools;
  for (const index of [2, 3]) pool!.set(scene.backends[index]!, 0);
  for (const index of [0, 1]) scene.report(index, FAILED, 5);
  assertEquals(scene.ejected, [0]);
});

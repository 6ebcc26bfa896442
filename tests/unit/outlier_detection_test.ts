import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LiveBackend } from "../../lib/backend/backend.ts";
import { H1Pool } from "../../lib/backend/h1_pool.ts";
import { H2Pool } from "../../lib/backend/h2_pool.ts";
import {
  OutlierDetection,
  type OutlierOptions,
} from "../../lib/backend/health/outlier_detection.ts";
import { ANSWERED, type Outcome } from "../../lib/backend/outcome.ts";
import { Pool } from "../../lib/backend/pool.ts";
import { parseAddress } from "../../lib/common/address.ts";
import { FakeClock } from "../support/fake_clock.ts";
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

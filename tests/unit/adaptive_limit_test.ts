import { assert, assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import { AdaptiveLimit } from "../../lib/backend/adaptive_limit.ts";
import { Random } from "../support/prng.ts";

/** Latency of a backend that serves so many at a time and lets the rest wait. */
function latencyAt(inFlight: number, capacity: number, random: Random): number {
  return 10 * Math.max(1, inFlight / capacity) * (0.9 + random.next() * 0.2);
}

/** A backend that always has as much to do as it may have; each answer is a millisecond after the last. */
class Saturated {
  readonly #random: Random;
  readonly adaptive: AdaptiveLimit;
  now = 0;

  constructor(adaptive: AdaptiveLimit, seed: number) {
    this.adaptive = adaptive;
    this.#random = new Random(seed);
  }

  /** The lowest and the last limit over so many answers, those of measurements left out. */
  run(answers: number, capacity: number, factor = 1): { lowest: number; last: number } {
    let lowest = Infinity;
    let last = 0;
    for (let i = 0; i < answers; i++, this.now++) {
      const limit = this.adaptive.limit(this.now);
      this.adaptive.observe(factor * latencyAt(limit, capacity, this.#random), limit, this.now);
      if (limit === 4) continue;
      lowest = Math.min(lowest, limit);
      last = limit;
    }
    return { lowest, last };
  }
}

Deno.test("the limit settles a little above what the backend can do at a time, and stays there", () => {
  for (const capacity of [10, 50, 200]) {
    const backend = new Saturated(new AdaptiveLimit(), 1);
    backend.run(40_000, capacity);
    const { lowest, last } = backend.run(400_000, capacity);
    assertGreater(lowest, capacity * 1.2, `capacity ${capacity}`);
    assertLess(last, capacity * 2.2, `capacity ${capacity}`);
  }
});

Deno.test("the limit falls when the backend can do less, and rises again with it", () => {
  const backend = new Saturated(new AdaptiveLimit(), 2);
  const before = backend.run(40_000, 100).last;
  const overloaded = backend.run(3_000, 10);
  assertLess(overloaded.lowest, before / 3);
  assertGreater(backend.run(40_000, 100).last, before * 0.8);
});

Deno.test("a backend that has little to do keeps its limit", () => {
  const limit = new AdaptiveLimit({ initial: 40 });
  const random = new Random(3);
  for (let i = 0; i < 5000; i++) limit.observe(10 + random.next() * 40, 2, i);
  assertEquals(limit.limit(5000), 40);
});

Deno.test("the base latency is measured with the least limit, at first and each minute", () => {
  const limit = new AdaptiveLimit({ initial: 40 }, { random: () => 0.5 });
  const probes: boolean[] = [];
  for (let second = 0; second < 200; second++) {
    const now = second * 1000;
    probes.push(limit.limit(now) === 4);
    for (let i = 0; i < 100; i++) limit.observe(10, 3, now);
  }
  const times = probes.flatMap((probing, second) => probing ? [second] : []);
  assertEquals(times, [0, 60, 120, 180]);
});

Deno.test("measurements are a tenth of their interval earlier or later at random", () => {
  for (const [random, due] of [[0, 54_000], [0.5, 60_000], [1 - Number.EPSILON, 66_000]] as const) {
    const limit = new AdaptiveLimit({ initial: 40 }, { random: () => random });
    for (let i = 0; i < 25; i++) limit.observe(10, 1, 0);
    assertEquals([limit.limit(due - 1), limit.limit(due)], [40, 4]);
  }
});

Deno.test("who must not measure yet keeps its limit, and asks again", () => {
  let may = false;
  const limit = new AdaptiveLimit({ initial: 40 }, { mayMeasure: () => may });
  // Nothing is known that latency could be compared with.
  for (let i = 0; i < 100; i++) limit.observe(10 + i, 40, i);
  assertEquals(limit.limit(100), 40);
  may = true;
  assertEquals(limit.limit(200), 4);
});

Deno.test("a measurement that gets few answers ends, with what it has got if that is enough", () => {
  for (const [answers, knows] of [[4, false], [5, true]] as const) {
    const limit = new AdaptiveLimit();
    assertEquals(limit.limit(0), 4);
    for (let i = 0; i < answers; i++) limit.observe(10, 1, 5_000);
    assert(limit.stillMeasures(9_999) && !limit.stillMeasures(10_000));
    assertEquals(limit.collect(10_000) !== undefined, knows);
    assertEquals(limit.limit(10_000), 20);
  }
});

Deno.test("each loss takes a tenth away, never below the least", () => {
  const limit = new AdaptiveLimit({ initial: 100 });
  for (let i = 0; i < 25; i++) limit.observe(10, 1, 0);
  assertEquals(limit.limit(0), 100);
  limit.drop();
  assertEquals(limit.limit(0), 90);
  for (let i = 0; i < 200; i++) limit.drop();
  assertEquals(limit.limit(0), 4);
});

Deno.test("the limit never leaves its bounds", () => {
  const limit = new AdaptiveLimit({ initial: 10, min: 5, max: 30 });
  const random = new Random(4);
  for (let i = 0; i < 20_000; i++) {
    if (random.next() < 0.01) limit.drop();
    limit.observe(random.next() * 1000, limit.limit(i), i);
    assert(limit.limit(i) >= 5 && limit.limit(i) <= 30);
  }
});

Deno.test("options out of their range are refused with their value", () => {
  for (
    const options of [{ min: 0 }, { min: 30 }, { max: 10 }, { tolerance: 0.9 }, { max: Infinity }, {
      probeInterval: 0,
    }]
  ) {
    assertThrows(() => new AdaptiveLimit(options), TypeError, "adaptive limit");
  }
});

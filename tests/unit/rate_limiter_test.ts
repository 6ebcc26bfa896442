import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertLessOrEqual,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { RateLimiter } from "../../lib/common/rate_limiter.ts";

Deno.test("a key has its burst at once and then its rate, and is told how long to wait", () => {
  const limiter = new RateLimiter({ rate: 10, burst: 3 });
  assertEquals([1, 2, 3].map(() => limiter.take("a", 0)), [0, 0, 0]);
  assertAlmostEquals(limiter.take("a", 0), 100, 1e-9);
  assertAlmostEquals(limiter.take("a", 40), 60, 1e-9);
  assertEquals(limiter.take("a", 100), 0);
  assert(limiter.take("a", 100) > 0);
  assertEquals([1, 2, 3].map(() => limiter.take("a", 10_000)), [0, 0, 0]);
});

Deno.test("a rate below one per second lets one through", () => {
  const limiter = new RateLimiter({ rate: 0.5 });
  assertEquals(limiter.take("a", 0), 0);
  assertAlmostEquals(limiter.take("a", 500), 1500, 1e-9);
  assertEquals(limiter.take("a", 2000), 0);
});

Deno.test("keys do not touch each other", () => {
  const limiter = new RateLimiter({ rate: 1, burst: 1 });
  assertEquals([limiter.take("a", 0), limiter.take("b", 0)], [0, 0]);
  assert(limiter.take("a", 0) > 0);
});

Deno.test("what is let through never exceeds burst plus rate times time, and what is refused would have", () => {
  const options = fc.record({
    rate: fc.double({ min: 0.5, max: 100, noNaN: true }),
    burst: fc.integer({ min: 1, max: 20 }),
  });
  fc.assert(
    fc.property(options, fc.array(fc.nat(400), { maxLength: 300 }), ({ rate, burst }, pauses) => {
      const limiter = new RateLimiter({ rate, burst });
      const passed: number[] = [];
      let now = 0;
      for (const pause of pauses) {
        now += pause;
        const wait = limiter.take("k", now);
        if (wait === 0) passed.push(now);
        else assertLessOrEqual(wait, 1000 / rate + 1e-6);
        for (const [index, since] of passed.entries()) {
          const allowed = burst + rate * (now - since) / 1000;
          assertLessOrEqual(passed.length - index, allowed + 1e-6);
        }
      }
    }),
    { seed: 20261122, numRuns: 60 },
  );
});

Deno.test("a client who makes up keys cannot make it remember more than the bound", () => {
  const limiter = new RateLimiter({ rate: 0.001, burst: 1, maxKeys: 1000 });
  for (let index = 0; index < 50_000; index++) limiter.take(`key-${index}`, index);
  assertLessOrEqual(limiter.size, 1000);
  assertEquals(limiter.take("new", 50_000), 0);
});

Deno.test("keys whose bucket is full again are forgotten as others come", () => {
  const limiter = new RateLimiter({ rate: 10, burst: 1 });
  for (let index = 0; index < 10_000; index++) limiter.take(`key-${index}`, index * 10);
  assertLessOrEqual(limiter.size, 20);
});

Deno.test("options out of their range are refused with their name and value", () => {
  for (
    const [options, message] of [
      [{ rate: 0 }, "rate 0"],
      [{ rate: Infinity }, "rate Infinity"],
      [{ rate: 1, burst: 0.5 }, "burst 0.5"],
      [{ rate: 1, maxKeys: 0 }, "maxKeys 0"],
    ] as const
  ) assertThrows(() => new RateLimiter(options), TypeError, message);
});

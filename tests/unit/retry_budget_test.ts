import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import fc from "fast-check";
import { RetryBudget } from "../../lib/backend/retry_budget.ts";

Deno.test("a retry for each ten requests is allowed beside the floor", () => {
  const budget = new RetryBudget({ share: 0.1, floor: 0 });
  for (let request = 0; request < 29; request++) budget.request(5000);
  assertEquals([budget.take(5000), budget.take(5000), budget.take(5000)], [true, true, false]);
  budget.request(5000);
  assertEquals([budget.take(5000), budget.take(5000)], [true, false]);
});

Deno.test("the floor allows retries without requests, for ten seconds together", () => {
  const budget = new RetryBudget({ share: 0, floor: 0.2 });
  assertEquals([budget.take(0), budget.take(100), budget.take(9999)], [true, true, false]);
  assertEquals([budget.take(10_000), budget.take(10_000), budget.take(10_000)], [
    true,
    true,
    false,
  ]);
});

Deno.test("what is older than ten seconds counts no more", () => {
  const budget = new RetryBudget({ share: 1, floor: 0 });
  for (let request = 0; request < 5; request++) budget.request(500);
  assert(budget.take(9900));
  assert(!budget.take(10_000));
  budget.request(1_000_000);
  assertEquals([budget.take(1_000_000), budget.take(1_000_000)], [true, false]);
});

Deno.test("in any ten seconds there are no more retries than the budget says", () => {
  const event = fc.record({ pause: fc.nat(1500), requests: fc.nat(20), retries: fc.nat(20) });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 200 }), (events) => {
      const budget = new RetryBudget({ share: 0.2, floor: 1 });
      const log: { second: number; requests: number; retries: number }[] = [];
      let now = 0;
      for (const { pause, requests, retries } of events) {
        now += pause;
        let made = 0;
        for (let i = 0; i < requests; i++) budget.request(now);
        for (let i = 0; i < retries; i++) if (budget.take(now)) made++;
        log.push({ second: Math.floor(now / 1000), requests, retries: made });
        const recent = log.filter(({ second }) => second > Math.floor(now / 1000) - 10);
        const sum = (key: "requests" | "retries") =>
          recent.reduce((sum, entry) => sum + entry[key], 0);
        assertLessOrEqual(sum("retries"), sum("requests") * 0.2 + 10);
        // and what is allowed is given
        if (made < retries) assert(sum("retries") + 1 > sum("requests") * 0.2 + 10);
      }
    }),
    { seed: 20261122 },
  );
});

Deno.test("options out of their range are refused with their name and value", () => {
  for (const options of [{ share: -1 }, { share: NaN }, { floor: Infinity }]) {
    assertThrows(() => new RetryBudget(options), TypeError, "retry budget");
  }
});

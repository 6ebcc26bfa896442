/** The abuse budget of a connection: what just fits, and what is one too many. */
import { assertEquals } from "@std/assert";
import { AbuseBudget, type AbuseToken, DEFAULT_BUDGET_LIMITS } from "../../lib/http/h2/budget.ts";

/** How often `count` may be called before it is refused, and the token then. */
function countUntilRefused(count: () => AbuseToken | undefined, most = 100_000): [number, string] {
  for (let done = 0; done < most; done++) {
    const token = count();
    if (token !== undefined) return [done, token];
  }
  return [most, ""];
}

Deno.test("streams that lived for a second may be reset at will, and each that ended in order makes up for one reset", () => {
  const budget = new AbuseBudget();
  assertEquals(countUntilRefused(() => budget.countCancel(5000, 4000), 10_000)[1], "");
  assertEquals(countUntilRefused(() => budget.countCancel(5000, 4001)), [100, "rapid_reset"]);
  for (let ended = 0; ended < 30; ended++) budget.countEnded();
  assertEquals(countUntilRefused(() => budget.countCancel(5000, 5000)), [30, "rapid_reset"]);
  for (let ended = 0; ended < 1000; ended++) budget.countEnded();
  assertEquals(countUntilRefused(() => budget.countCancel(5000, 5000)), [100, "rapid_reset"]);
});

Deno.test("A1: 100 resets at once are taken, then 20 each second", () => {
  const budget = new AbuseBudget();
  assertEquals(countUntilRefused(() => budget.countReset(0)), [100, "rapid_reset"]);
  assertEquals(countUntilRefused(() => budget.countReset(1000)), [20, "rapid_reset"]);
  assertEquals(countUntilRefused(() => budget.countReset(1049)), [0, "rapid_reset"]);
  assertEquals(countUntilRefused(() => budget.countReset(1050)), [1, "rapid_reset"]);
  assertEquals(countUntilRefused(() => budget.countReset(3_600_000)), [100, "rapid_reset"]);
});

Deno.test("A1: a stream reset every 50 ms is never too much", () => {
  const budget = new AbuseBudget();
  let now = 0;
  assertEquals(countUntilRefused(() => budget.countReset(now += 50), 10_000)[1], "");
});

Deno.test("a clock that goes back neither gives nor takes", () => {
  const budget = new AbuseBudget();
  assertEquals(countUntilRefused(() => budget.countReset(10_000)), [100, "rapid_reset"]);
  assertEquals(countUntilRefused(() => budget.countReset(0)), [0, "rapid_reset"]);
  assertEquals(countUntilRefused(() => budget.countReset(10_050)), [1, "rapid_reset"]);
});

Deno.test("A3: a field block may have 8 CONTINUATION frames, each block anew", () => {
  const budget = new AbuseBudget();
  for (let block = 0; block < 3; block++) {
    assertEquals(budget.countHeaders(10, false), undefined);
    assertEquals(countUntilRefused(() => budget.countContinuation(10)), [8, "continuation_flood"]);
  }
});

Deno.test("A4 and A6: 100 frames without content in a row are taken, any content starts anew", () => {
  const budget = new AbuseBudget();
  assertEquals(countUntilRefused(() => budget.countData(0, false)), [100, "empty_frames"]);
  assertEquals(budget.countData(1, false), undefined);
  assertEquals(countUntilRefused(() => budget.countHeaders(0, false)), [100, "empty_frames"]);
  assertEquals(budget.countData(0, true), undefined);
  budget.countHeaders(0, false);
  budget.countContinuation(0);
  assertEquals(countUntilRefused(() => budget.countData(0, false)), [98, "empty_frames"]);
});

Deno.test("A5: 1000 frames may wait to be written", () => {
  const budget = new AbuseBudget();
  assertEquals(countUntilRefused(() => budget.countQueued()), [1000, "control_queue"]);
  budget.clearQueued();
  assertEquals(countUntilRefused(() => budget.countQueued()), [1000, "control_queue"]);
});

Deno.test("A5: PING and SETTINGS have a burst of 100 each, then 10 each second", () => {
  const budget = new AbuseBudget();
  assertEquals(countUntilRefused(() => budget.countPing(0, 1)), [100, "ping_flood"]);
  assertEquals(countUntilRefused(() => budget.countSettings(0)), [100, "settings_flood"]);
  assertEquals(countUntilRefused(() => budget.countPing(1000, 1)), [10, "ping_flood"]);
  assertEquals(countUntilRefused(() => budget.countSettings(1000)), [10, "settings_flood"]);
});

Deno.test("a peer that measures the bandwidth with one PING for each DATA frame is never refused", () => {
  const budget = new AbuseBudget();
  const exchange = () => {
    budget.countDataSent();
    return budget.countPing(0, 1);
  };
  assertEquals(countUntilRefused(exchange, 10_000)[1], "");
  for (let i = 0; i < 1000; i++) budget.countDataSent();
  assertEquals(countUntilRefused(() => budget.countPing(0, 1)), [100, "ping_flood"]);
});

Deno.test("A7: PRIORITY may come 100 times for each stream and the connection", () => {
  const budget = new AbuseBudget();
  assertEquals(countUntilRefused(() => budget.countPriority()), [100, "priority_flood"]);
  const busy = new AbuseBudget();
  busy.countStream();
  busy.countStream();
  assertEquals(countUntilRefused(() => busy.countPriority()), [300, "priority_flood"]);
});

Deno.test("E13: frames of unknown types are counted like PRIORITY, apart from it", () => {
  const budget = new AbuseBudget();
  budget.countStream();
  assertEquals(countUntilRefused(() => budget.countUnknown()), [200, "unknown_frames"]);
  assertEquals(budget.countPriority(), undefined);
});

Deno.test("A8: WINDOW_UPDATE may come 5 + 2 × (streams + 10 × DATA sent) times", () => {
  const budget = new AbuseBudget();
  assertEquals(countUntilRefused(() => budget.countWindowUpdate()), [5, "window_update_flood"]);
  const busy = new AbuseBudget();
  for (let i = 0; i < 3; i++) busy.countStream();
  for (let i = 0; i < 4; i++) busy.countDataSent();
  assertEquals(
    countUntilRefused(() => busy.countWindowUpdate()),
    [5 + 2 * (3 + 40), "window_update_flood"],
  );
});

Deno.test("limits can be changed one by one", () => {
  const budget = new AbuseBudget({ ...DEFAULT_BUDGET_LIMITS, resetBurst: 3, continuations: 0 });
  assertEquals(countUntilRefused(() => budget.countReset(0)), [3, "rapid_reset"]);
  assertEquals(budget.countContinuation(1), "continuation_flood");
});

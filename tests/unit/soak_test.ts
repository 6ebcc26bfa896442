import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { fitLine } from "../../scripts/soak/fit.ts";
import { judgeSoak, renderSoak } from "../../scripts/soak/report.ts";
import type { SoakReport } from "../../scripts/soak/run.ts";
import { growthOf, isLeak, type Sample } from "../../scripts/soak/sample.ts";
import { Tally } from "../../scripts/load/tally.ts";

const MIB = 2 ** 20;

function sample(at: number, heap: number): Sample {
  return {
    at,
    heap,
    external: MIB,
    resident: 80 * MIB,
    descriptors: 30,
    connections: 0,
    upstream: 0,
  };
}

Deno.test("a line goes through points that lie on one", () => {
  const { slope, error } = fitLine([[0, 1], [1, 3], [2, 5], [5, 11]]);
  assertAlmostEquals(slope, 2, 1e-12);
  assertAlmostEquals(error, 0, 1e-7);
});

Deno.test("a line through points about it has the textbook's standard error", () => {
  // y = 1, 3, 2, 4 over x = 0..3: slope 0.8, residuals -0.3, 0.9, -0.9, 0.3, so s² = 1.8 / 2 and Σ(x-x̄)² = 5.
  const { slope, error } = fitLine([[0, 1], [1, 3], [2, 2], [3, 4]]);
  assertAlmostEquals(slope, 0.8, 1e-12);
  assertAlmostEquals(error, Math.sqrt(0.9 / 5), 1e-12);
});

Deno.test("no line goes through one point, or through points above each other", () => {
  assertEquals(fitLine([[1, 5]]), { slope: 0, error: 0 });
  assertEquals(fitLine([[1, 5], [1, 9]]), { slope: 0, error: 0 });
});

Deno.test("growth is that of the second half", () => {
  // It grows while it gets warm, and then stays.
  const samples = Array.from({ length: 20 }, (_, i) => sample(i * 5, Math.min(i, 10) * MIB));
  const { growth, perHour, mean } = growthOf("heap", samples);
  assertEquals([growth, perHour, mean], [0, 0, 10 * MIB]);
});

Deno.test("what grows by more than is allowed is a leak, unless chance explains it", () => {
  const grow = (step: (i: number) => number) =>
    growthOf("heap", Array.from({ length: 40 }, (_, i) => sample(i * 5, 10 * MIB + step(i))));
  assertEquals(isLeak(grow((i) => i * MIB)), true);
  assertEquals(isLeak(grow((i) => i * 100)), false);
  // A saw as high as what would be a leak.
  assertEquals(isLeak(grow((i) => (i % 4) * 4 * MIB)), false);
});

function makeReport(change: (report: SoakReport) => SoakReport = (report) => report): SoakReport {
  const tally = new Tally();
  tally.note({ type: "answered" }, 1);
  const samples = [sample(5, MIB), sample(10, MIB), sample(15, MIB), sample(20, MIB)];
  return change({
    seconds: 20,
    lines: [{ name: "HTTP GET", counts: tally.counts }],
    balancers: [{
      name: "mux",
      before: sample(0, MIB),
      after: sample(20, MIB),
      growths: (["heap", "external", "resident"] as const).map((kind) => growthOf(kind, samples)),
      samples,
      complaints: [],
    }],
  });
}

Deno.test("a soak that leaves nothing behind is well, and its report says so", () => {
  const report = makeReport();
  assertEquals(judgeSoak(report), []);
  const text = renderSoak(report);
  for (
    const line of ["HTTP GET  1, as promised 1", "descriptors  30 → 30", "fitted growth 0.0 KiB"]
  ) {
    assert(text.includes(line), text);
  }
});

Deno.test("a soak that leaves anything behind is not well", () => {
  const [balancer] = makeReport().balancers;
  const judge = (change: Partial<typeof balancer>) =>
    judgeSoak(makeReport((report) => ({ ...report, balancers: [{ ...balancer!, ...change }] })));
  const after = { ...balancer!.after, descriptors: 31 };
  assertEquals(judge({ after }), [
    "mux: connections or descriptors did not return to where they began",
  ]);
  const grown = Array.from({ length: 20 }, (_, i) => sample(i * 5, i * MIB));
  assertEquals(judge({ growths: [growthOf("heap", grown)] }), ["mux: heap grew by 9.0 MiB"]);
  assertEquals(judge({ complaints: ["now error lb: oh"] }), ["mux logged: now error lb: oh"]);
  const lines = [{ name: "HTTP GET", counts: new Tally().counts }];
  assertEquals(judgeSoak(makeReport((report) => ({ ...report, lines }))), [
    "HTTP GET: nothing was done",
  ]);
});

/**
 * Backends that are killed and come back, balancers that are restarted and configurations that change, each under a
 * constant load: `deno task outage` on a small scale, with all of them in processes of their own.
 */
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { Processes } from "../../scripts/bench/process.ts";
import type { Mode } from "../../scripts/outage/disturb.ts";
import { judgeReport, ratioOf, renderReport, type Report } from "../../scripts/outage/report.ts";
import { type OutageOptions, runOutage } from "../../scripts/outage/run.ts";
import { COUNTS_DESCRIPTORS } from "../support/net.ts";

/** A test of an outage. */
function outage(
  name: string,
  mode: Mode,
  options: Partial<OutageOptions>,
  judge: (report: Report) => void,
): void {
  Deno.test({
    name,
    // Restarts and the looks at processes need Linux.
    ignore: !COUNTS_DESCRIPTORS,
    async fn() {
      const folder = await Deno.makeTempDir({ prefix: "lb-outage-" });
      const processes = new Processes(folder);
      try {
        const report = await runOutage({
          mode,
          seconds: 4,
          rate: 200,
          posts: 20,
          every: 2,
          down: 1,
          changes: 120,
          outside: false,
          processes,
          folder,
          ...options,
        });
        assertEquals(judgeReport(report), [], renderReport(report));
        for (const { name, counts } of report.parts) {
          assert(counts.requests > 100 || name === "HTTP POST", renderReport(report));
        }
        judge(report);
      } finally {
        await processes.stopAll();
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

outage(
  "no request fails that may be retried while backends are killed with SIGKILL and come back",
  "kill",
  // So few that all which a busy machine sends late, in one burst, are within the retries that are always allowed.
  { seconds: 6, rate: 60 },
  (report) => {
    assertEquals(report.disturbance, "2 kills");
    for (const { name, counts } of report.parts) {
      // Only what was under way at one of them can be lost.
      assertLess(counts.final, 2 * 10, `${name}\n${renderReport(report)}`);
    }
  },
);

outage(
  "with all backends gone retries and ejections keep to their limits, and all is well behind it",
  "total",
  // So many that the retries which are always allowed, ten per second for ten seconds, are a small part.
  { rate: 500 },
  (report) => {
    for (const upstream of report.upstreams) {
      assert(upstream.attempts > 0 && ratioOf(upstream) < 1.2, renderReport(report));
      assert(upstream.mostEjected <= 1, renderReport(report));
    }
    for (const { counts } of report.parts) {
      // It lasts half of the time.
      assert(counts.answered > counts.requests / 4, renderReport(report));
      assert(counts.retriable > counts.requests / 4, renderReport(report));
    }
  },
);

outage("no request fails while both balancers are restarted", "restart", {}, (report) => {
  assertMatch(report.disturbance, /^[1-9] restarts of each$/);
});

outage("no request fails while the configuration changes", "churn", { seconds: 3 }, (report) => {
  assertEquals(report.disturbance, "120 changes of each");
});

import { assert, assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import { answerTo } from "../../lib/http/problem.ts";
import { parseMetrics, sumOf } from "../../scripts/load/fleet.ts";
import { judge } from "../../scripts/load/grpc_client.ts";
import { keepPace } from "../../scripts/load/pace.ts";
import { percentiles, Tally } from "../../scripts/load/tally.ts";
import { readGhz, readH2load } from "../../scripts/outage/outside.ts";
import {
  judgeReport,
  ratioOf,
  renderReport,
  type Report,
  type Upstream,
} from "../../scripts/outage/report.ts";
import { ScriptError } from "../../scripts/script.ts";

const H2LOAD = `finished in 4.01s, 500.00 req/s, 57.13KB/s
requests: 5 total, 5 started, 5 done, 4 succeeded, 1 failed, 0 errored, 0 timeout
`;

Deno.test("each response that h2load logs is counted, and those without a line too", () => {
  const log = ["1\t200\t1000", "2\t200\t3000", "3\t503\t500", "4\t200\t2000", ""].join("\n");
  const { requests, answered, retriable, final, failures, latency } = readH2load(H2LOAD, log);
  assertEquals([requests, answered, retriable, final], [5, 3, 2, 0]);
  assertEquals(failures.map(({ reason, count }) => [reason, count]), [
    ["GET 503", 1],
    ["GET without a response", 1],
  ]);
  assertEquals([latency.p50, latency.max], [1, 3]);
  assertThrows(() => readH2load("no", log), ScriptError, "not a result of h2load: no");
});

Deno.test("calls that ghz saw fail are told apart by whether they had gone to a backend", () => {
  const error = (code: "no_backend" | "upstream_closed") =>
    `rpc error: code = Unavailable desc = ${answerTo(code).detail}`;
  const { requests, answered, retriable, final, latency } = readGhz(JSON.stringify({
    count: 10,
    errorDistribution: { [error("no_backend")]: 2, [error("upstream_closed")]: 1 },
    details: [{ latency: 1e6, status: "OK" }, { latency: 2e6, status: "OK" }],
  }));
  assertEquals([requests, answered, retriable, final], [10, 7, 2, 1]);
  assertEquals([latency.p50, latency.max], [1, 2]);
  assertThrows(() => readGhz("oh"), ScriptError, "not a result of ghz: oh");
});

Deno.test("a call is well only with its status and its message", () => {
  const end = { status: "0", message: "", reset: undefined, unprocessed: false, received: 5 };
  assertEquals(judge(end).type, "answered");
  assertEquals(judge({ ...end, received: 0 }).type, "failed");
  const lost = judge({ ...end, status: undefined, reset: "RST_STREAM 7", unprocessed: true });
  assertEquals(lost, { type: "failed", reason: "RST_STREAM 7", retriable: true });
  const detail = answerTo("upstream_closed").detail;
  assertEquals(judge({ ...end, status: "14", message: detail }), {
    type: "failed",
    reason: `status 14 ${JSON.stringify(detail)}`,
    retriable: false,
  });
});

Deno.test("shares of times are whole ones: nearest rank", () => {
  const times = Array.from({ length: 1000 }, (_, i) => 1000 - i);
  assertEquals(percentiles(times), { p50: 500, p90: 900, p99: 990, p999: 999, max: 1000 });
  assertEquals(percentiles([]), { p50: 0, p90: 0, p99: 0, p999: 0, max: 0 });
});

Deno.test("requests begin at their rate while none of them ends", async () => {
  const stop = new AbortController();
  const { promise, resolve } = Promise.withResolvers<void>();
  const due: number[] = [];
  const started = performance.now();
  const done = keepPace({
    rate: 200,
    signal: stop.signal,
    begin: (moment) => {
      due.push(moment - started);
      if (due.length === 40) stop.abort();
      return promise;
    },
  });
  await new Promise<void>((resolve) => stop.signal.addEventListener("abort", () => resolve()));
  resolve();
  await done;
  const took = performance.now() - started;
  assertGreater(took, 190);
  assertLess(took, 20_000);
  for (const [i, moment] of due.slice(1, 40).entries()) {
    assert(Math.abs(moment - due[0]! - (i + 1) * 5) < 0.01, `${moment}`);
  }
});

Deno.test("samples of a metric are summed, those of others are not", () => {
  const metrics = parseMetrics(
    '# HELP a_total x\na_total{b="1"} 2\na_total{b="2",c="x y"} 3\na_total_more 7\nplain 4\n',
  );
  assertEquals([sumOf(metrics, "a_total"), sumOf(metrics, "plain"), sumOf(metrics, "none")], [
    5,
    4,
    0,
  ]);
});

function makeReport(
  mode: Report["mode"],
  failed: { readonly retriable?: number; readonly final?: number } = {},
  upstream: Partial<Upstream> = {},
): Report {
  const tally = new Tally();
  for (let i = 0; i < 90; i++) tally.note({ type: "answered" }, i);
  if (failed.retriable) tally.fail("GET 503 no_backend", true, failed.retriable);
  if (failed.final) tally.fail("GET cut inside the response", false, failed.final);
  return {
    mode,
    seconds: 10,
    disturbance: "3 kills",
    parts: [{ name: "HTTP GET", generator: "own client", counts: tally.counts }],
    upstreams: [{
      balancer: "http-l7",
      requests: 100,
      attempts: 105,
      retries: 5,
      ejections: 1,
      mostEjected: 1,
      ceiling: 1,
      ...upstream,
    }],
  };
}

Deno.test("what may be retried must not fail, unless there is nobody to send it to", () => {
  assertEquals(judgeReport(makeReport("kill", { final: 2 })), []);
  assertEquals(judgeReport(makeReport("kill", { retriable: 1 })), [
    "HTTP GET: 1 failed that may be retried",
  ]);
  assertEquals(judgeReport(makeReport("total", { retriable: 50 })), []);
  assertEquals(judgeReport(makeReport("restart", { final: 1 })), ["HTTP GET: 1 failed"]);
  assertEquals(judgeReport(makeReport("churn", { final: 1 })), ["HTTP GET: 1 failed"]);
});

Deno.test("attempts and ejections have their limits in every mode", () => {
  assertEquals(judgeReport(makeReport("total", {}, { attempts: 121 })), [
    "http-l7: 1.210 attempts a request, above 1.2",
  ]);
  assertEquals(judgeReport(makeReport("kill", {}, { mostEjected: 2 })), [
    "http-l7: 2 backends were ejected at a time, 1 may be",
  ]);
  assertEquals(ratioOf(makeReport("kill", {}, { requests: 0 }).upstreams[0]!), 0);
});

Deno.test("the report names every count", () => {
  const text = renderReport(makeReport("kill", { retriable: 3, final: 2 }));
  for (
    const line of [
      "mode kill, 10 s: 3 kills",
      "  requests                  95",
      "  answered                  90",
      "  failed, may be retried    3",
      "  failed, may not           2",
      "    2 × GET cut inside the response",
      "  attempts                  105, 1.0500 a request",
      "  ejections                 1, at most 1 at a time (1 may be)",
    ]
  ) assert(text.includes(line), `${line}\n${text}`);
});

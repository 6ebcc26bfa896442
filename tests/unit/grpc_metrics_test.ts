import { assert, assertEquals, assertStrictEquals, assertStringIncludes } from "@std/assert";
import {
  GrpcMethodStats,
  GrpcMetrics,
  MAX_METHODS,
  NO_STATUS,
  provesMethod,
  splitMethod,
  STATUS_LABELS,
} from "../../lib/observe/grpc_metrics.ts";
import { DURATION_BOUNDS, Metrics } from "../../lib/observe/metrics.ts";
import { PrometheusExporter } from "../../lib/observe/prometheus.ts";

/** The statuses of a backend that have come up, by label. */
function statuses(stats: GrpcMethodStats, backend: string): Record<string, number> {
  const counts = new Map(stats.backends()).get(backend) ?? new Float64Array(0);
  return Object.fromEntries(
    Array.from(counts, (count, i) => [STATUS_LABELS[i]!, count] as const)
      .filter(([, count]) => count > 0),
  );
}

Deno.test("service and method are split at the second slash, and only a path of two parts has them", () => {
  assertEquals(splitMethod("/a.B/C"), { service: "a.B", method: "C" });
  assertEquals(splitMethod("/B/C"), { service: "B", method: "C" });
  for (const path of ["", "/", "*", "//", "//C", "/a", "/a/", "/a/b/", "/a/b/c", "a/b"]) {
    assertEquals(splitMethod(path), undefined, path);
  }
});

Deno.test("OK and the codes that libraries do not make prove that a backend knows the method", () => {
  const proved = STATUS_LABELS.slice(0, 17).filter((_, code) => provesMethod(code));
  assertEquals(proved, [
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "DATA_LOSS",
  ]);
  assertEquals([provesMethod(NO_STATUS), provesMethod(99)], [false, false]);
});

Deno.test("calls are counted by backend and status, what is no code and what is missing included", () => {
  const stats = new GrpcMethodStats("a.B", "C");
  for (const status of [0, 0, 14, 16, 17, 999, NO_STATUS]) stats.record("b1", status, 0.002);
  stats.record("", 14, -1);
  stats.record("b2", 4, NaN);
  assertEquals(statuses(stats, "b1"), {
    OK: 2,
    UNAVAILABLE: 1,
    UNAUTHENTICATED: 1,
    invalid: 2,
    missing: 1,
  });
  assertEquals([statuses(stats, ""), statuses(stats, "b2")], [{ UNAVAILABLE: 1 }, {
    DEADLINE_EXCEEDED: 1,
  }]);
  assertEquals([stats.count, stats.buckets[0]], [9, 2]);
  assertEquals(stats.buckets[DURATION_BOUNDS.indexOf(0.0025)], 7);
  assertEquals(Number(stats.sum.toFixed(6)), 0.014);
});

Deno.test("a name has series of its own once it is admitted, and the same at every call", () => {
  const grpc = new GrpcMetrics();
  assertEquals(grpc.find("/a.B/C"), undefined);
  const stats = grpc.admit("/a.B/C");
  assertEquals([stats.service, stats.method], ["a.B", "C"]);
  assertStrictEquals(grpc.admit("/a.B/C"), stats);
  assertStrictEquals(grpc.find("/a.B/C"), stats);
  assertEquals([...grpc.series()], [stats]);
});

Deno.test("paths that name no method, and very long ones, are counted with the others", () => {
  const grpc = new GrpcMetrics();
  for (const path of ["*", "/", "/a", "/a/b/c", `/a.B/${"x".repeat(300)}`]) {
    assertStrictEquals(grpc.admit(path), grpc.other, path);
    assertEquals(grpc.find(path), undefined);
  }
  assertEquals([...grpc.series()], []);
  grpc.other.active++;
  assertEquals([...grpc.series()], [grpc.other]);
});

Deno.test("a service that a route names has series for its methods that have none, within the same limit", () => {
  const grpc = new GrpcMetrics();
  const stats = grpc.admitService("a.B");
  assertEquals([stats.service, stats.method], ["a.B", "other"]);
  assertStrictEquals(grpc.admitService("a.B"), stats);
  assertEquals(grpc.admit("/a.B/C") === stats, false);
  assertStrictEquals(grpc.admitService("x".repeat(300)), grpc.other);
  for (let i = 0; i < 2 * MAX_METHODS; i++) grpc.admitService(`s${i}`);
  assertEquals([...grpc.series()].length, MAX_METHODS);
});

Deno.test("100,000 names make no more than the series there may be, even if a backend takes any name", () => {
  const grpc = new GrpcMetrics();
  const first = grpc.admit("/known.Service/Method");
  for (let i = 0; i < 100_000; i++) {
    // A name that nobody vouches for is looked for and not found, which leaves nothing behind.
    const path = `/attack.S${i}/M`;
    assertEquals(grpc.find(path), undefined);
    grpc.other.record("b1", 12, 0);
  }
  assertEquals([...grpc.series()].length, 2);
  for (let i = 0; i < 100_000; i++) grpc.admit(`/attack.S${i}/M`).record("b1", 0, 0);
  assertEquals([...grpc.series()].length, MAX_METHODS + 1);
  assertEquals(statuses(grpc.other, "b1"), {
    OK: 100_000 - (MAX_METHODS - 1),
    UNIMPLEMENTED: 100_000,
  });
  assertStrictEquals(grpc.admit("/known.Service/Method"), first);
});

Deno.test("a backend that is gone takes its series along, and methods that only it has answered", () => {
  const metrics = new Metrics();
  const { grpc } = metrics.listener("l");
  const both = grpc.admit("/s/Both");
  const one = grpc.admit("/s/One");
  const busy = grpc.admit("/s/Busy");
  for (const stats of [both, one, busy, grpc.other]) stats.record("b1", 0, 0);
  both.record("b2", 0, 0);
  one.record("", 14, 0);
  busy.active++;
  metrics.forgetBackend("b1");
  assertEquals([...grpc.series()], [both, busy, grpc.other]);
  assertEquals([...grpc.other.backends()], []);
  assertEquals(Array.from(both.backends(), ([backend]) => backend), ["b2"]);
  busy.active--;
  metrics.forgetBackend("b1");
  assertEquals([...grpc.series()], [both, grpc.other]);
});

Deno.test("methods come out by service, method, backend and status", async () => {
  const metrics = new Metrics();
  const { grpc } = metrics.listener("edge");
  const stats = grpc.admit("/shop.Orders/Find");
  stats.record("b1", 0, 0.004);
  stats.record("b1", 5, 0.4);
  stats.active = 3;
  [stats.messagesReceived, stats.messagesSent] = [7, 8];
  [stats.bytesReceived, stats.bytesSent] = [700, 800];
  grpc.other.record("", 14, 0);
  metrics.listener("http").requests("-", "").record(200, 0, 0, 0);
  const text = await new PrometheusExporter(metrics, { version: "1" }).render();
  const lines = text.split("\n");
  const own = 'listener="edge",service="shop.Orders",method="Find"';
  const others = 'listener="edge",service="other",method="other"';
  for (
    const line of [
      `lb_grpc_calls_total{grpc_status="OK",${own},backend="b1"} 1`,
      `lb_grpc_calls_total{grpc_status="NOT_FOUND",${own},backend="b1"} 1`,
      `lb_grpc_calls_total{grpc_status="UNAVAILABLE",${others},backend=""} 1`,
      `lb_grpc_call_duration_seconds_bucket{le="0.005",${own}} 1`,
      `lb_grpc_call_duration_seconds_bucket{le="+Inf",${own}} 2`,
      `lb_grpc_call_duration_seconds_count{${own}} 2`,
      `lb_grpc_active_calls{${own}} 3`,
      `lb_grpc_messages_received_total{${own}} 7`,
      `lb_grpc_messages_sent_total{${own}} 8`,
      `lb_grpc_received_bytes_total{${own}} 700`,
      `lb_grpc_sent_bytes_total{${own}} 800`,
    ]
  ) assert(lines.includes(line), `${line}\nis missing in\n${text}`);
  assertEquals(lines.filter((line) => line.startsWith("lb_grpc_calls_total{")).length, 3);
  assertStringIncludes(text, "# TYPE lb_grpc_call_duration_seconds histogram");
  assert(!lines.some((line) => line.startsWith("lb_grpc_") && line.includes('listener="http"')));
});

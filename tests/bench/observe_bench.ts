/** What observing costs per request. Run with `deno bench tests/bench/observe_bench.ts`. */

import {
  AccessLog,
  type AccessRecord,
  formatCombined,
  formatJson,
} from "../../lib/observe/access_log.ts";
import { Metrics } from "../../lib/observe/metrics.ts";
import { PrometheusExporter } from "../../lib/observe/prometheus.ts";

const metrics = new Metrics();
const listener = metrics.listener("main");
const routes = Array.from({ length: 100 }, (_, i) => `route-${i}`);
const backends = Array.from({ length: 10 }, (_, i) => `http://10.0.0.${i}:8080`);
for (const route of routes) for (const backend of backends) listener.requests(route, backend);
let turn = 0;

Deno.bench("requests().record, 1000 series, 0.1 to 100 ms", { group: "metrics" }, () => {
  turn++;
  listener.requests(routes[turn % 100]!, backends[turn % 10]!)
    .record(200, (turn % 1000) / 10_000, 200, 1000);
});

const held = listener.requests(routes[0]!, backends[0]!);
Deno.bench("record on a held series, 0.4 ms", { group: "metrics" }, () => {
  held.record(200, 0.0004, 200, 1000);
});
Deno.bench("record on a held series, 70 s", { group: "metrics" }, () => {
  held.record(200, 70, 200, 1000);
});

const exporter = new PrometheusExporter(metrics, { version: "0" });
Deno.bench("render 1000 series", { group: "prometheus" }, async () => {
  await exporter.render();
});

const record: AccessRecord = {
  time: Date.now(),
  listener: "main",
  client: "192.0.2.7",
  method: "GET",
  target: "/api/users/42?fields=name,mail",
  protocol: "HTTP/1.1",
  status: 200,
  bytesIn: 300,
  bytesOut: 1200,
  durationMs: 1.25,
  route: "route-1",
  backend: "http://10.0.0.1:8080",
  attempts: 1,
  requestId: "9f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e",
  host: "www.example.com",
  userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
  referer: "https://www.example.com/start",
  error: "",
};

const log = new AccessLog({
  format: "json",
  sink: { write: () => Promise.resolve(), close: () => Promise.resolve() },
  maxQueued: 64 * 1024 * 1024,
});

/** As many records as one batch holds, so that formatting and handing over are paid for. */
const BATCH = 120;
Deno.bench(`AccessLog.write and flush, ${BATCH} records`, { group: "access log" }, async () => {
  for (let i = 0; i < BATCH; i++) log.write(record);
  await log.flush();
});
Deno.bench("formatJson", { group: "access log" }, () => void formatJson(record));
Deno.bench("formatCombined", { group: "access log" }, () => void formatCombined(record));

/** What observing costs per request. Run with `deno bench tests/bench/observe_bench.ts`. */

import {
  AccessLog,
  type AccessRecord,
  formatCombined,
  formatJson,
} from "../../lib/observe/access_log.ts";
import { MessageCounter } from "../../lib/grpc/message_counter.ts";
import { parseTimeout } from "../../lib/grpc/timeout.ts";
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

const { grpc } = listener;
const paths = Array.from({ length: 100 }, (_, i) => `/shop.v1.Service${i % 10}/Method${i}`);
for (const path of paths) for (const backend of backends) grpc.admit(path).record(backend, 0, 0);
const unknown = Array.from({ length: 1000 }, (_, i) => `/attack.Service/Method${i}`);

/** What a unary call costs beside that: its series, two messages, its end. */
Deno.bench("a gRPC call, 100 methods, 10 backends", { group: "gRPC" }, () => {
  turn++;
  const stats = grpc.find(paths[turn % 100]!)!;
  stats.active++;
  stats.messagesReceived++;
  stats.bytesReceived += 9;
  stats.messagesSent++;
  stats.bytesSent += 9;
  stats.active--;
  stats.record(backends[turn % 10]!, 0, 0.0004);
});
Deno.bench("a gRPC call of a name that nobody knows", { group: "gRPC" }, () => {
  turn++;
  const stats = grpc.find(unknown[turn % 1000]!) ?? grpc.other;
  stats.active++;
  stats.active--;
  stats.record(backends[turn % 10]!, 12, 0.0004);
});

const message = new Uint8Array(14);
message[4] = 9;
const counter = new MessageCounter();
Deno.bench("counting a message of 9 bytes in one frame", { group: "gRPC" }, () => {
  counter.push(message, 0, message.length);
});
const large = new Uint8Array(16_384);
large[1] = 1;
Deno.bench("counting in 16 KiB of a long message", { group: "gRPC" }, () => {
  new MessageCounter().push(large, 0, large.length);
});
const empty = new Uint8Array(16_384);
Deno.bench("counting 3276 empty messages in 16 KiB", { group: "gRPC" }, () => {
  new MessageCounter().push(empty, 0, empty.length);
});
const timeout = new TextEncoder().encode("4999912u");
Deno.bench("parseTimeout", { group: "gRPC" }, () => void parseTimeout(timeout, 0, timeout.length));

const exporter = new PrometheusExporter(metrics, { version: "0" });
Deno.bench(
  "render 1000 series of requests and 100 methods on 10 backends",
  { group: "prometheus" },
  async () => {
    await exporter.render();
  },
);

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
const call: AccessRecord = {
  ...record,
  method: "POST",
  target: "/shop.v1.Service1/Method1",
  grpc: { status: 0, message: "", messagesIn: 1, messagesOut: 1, timeout: "4999912u" },
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
Deno.bench("formatJson of a call", { group: "access log" }, () => void formatJson(call));
Deno.bench("formatCombined of a call", { group: "access log" }, () => void formatCombined(call));

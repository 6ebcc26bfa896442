import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import fc from "fast-check";
import { DURATION_BOUNDS, Metrics } from "../../lib/observe/metrics.ts";
import { type GaugeFamily, PrometheusExporter } from "../../lib/observe/prometheus.ts";

interface ParsedSample {
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly value: number;
}

interface ParsedFamily {
  readonly help: string;
  readonly type: string;
  readonly samples: ParsedSample[];
}

/** A strict parser of the text format 0.0.4; throws on anything that Prometheus would refuse. */
function parseExposition(text: string): Map<string, ParsedFamily> {
  assert(text.endsWith("\n"), "the last line must end in a line feed");
  const families = new Map<string, ParsedFamily>();
  let current: { name: string; family: ParsedFamily } | undefined;
  let help: { name: string; text: string } | undefined;
  for (const line of text.slice(0, -1).split("\n")) {
    const head = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (head !== null) {
      const [, kind, name, rest] = head as unknown as [string, string, string, string];
      assert(!families.has(name), `${name} appears twice`);
      if (kind === "HELP") help = { name, text: rest };
      else {
        assertEquals(help?.name, name, "HELP comes before TYPE");
        current = { name, family: { help: help!.text, type: rest, samples: [] } };
        families.set(name, current.family);
      }
      continue;
    }
    assert(current !== undefined, `a sample before any family: ${line}`);
    const sample = parseSample(line);
    const suffix = sample.name.slice(current.name.length);
    const allowed = current.family.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    assert(
      sample.name.startsWith(current.name) && allowed.includes(suffix),
      `${sample.name} does not belong to ${current.name}`,
    );
    current.family.samples.push(sample);
  }
  return families;
}

function parseSample(line: string): ParsedSample {
  const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[^"]|"(?:[^"\\]|\\.)*")*)\})? (\S+)$/.exec(
    line,
  );
  assert(match !== null, `not a sample: ${line}`);
  const labels: Record<string, string> = {};
  let rest = match[2] ?? "";
  while (rest !== "") {
    const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/.exec(rest);
    assert(label !== null, `not a label: ${rest}`);
    const [whole, name, value] = label as unknown as [string, string, string];
    assert(!(name in labels), `label ${name} twice: ${line}`);
    labels[name] = value.replace(/\\([\\"n])/g, (_, c) => c === "n" ? "\n" : c);
    rest = rest.slice(whole.length);
  }
  const value = match[3] === "+Inf" ? Infinity : Number(match[3]);
  return { name: match[1]!, labels, value };
}

/** The value of the one sample with this name and these labels. */
function valueOf(
  families: Map<string, ParsedFamily>,
  name: string,
  labels: Record<string, string> = {},
): number {
  const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ""));
  const key = (of: Record<string, string>) => JSON.stringify(Object.entries(of).sort());
  const found = family?.samples.filter((s) => s.name === name && key(s.labels) === key(labels));
  assertEquals(found?.length, 1, `${name} ${JSON.stringify(labels)}`);
  return found![0]!.value;
}

async function scrape(metrics: Metrics, gauges?: () => Iterable<GaugeFamily>) {
  const options = gauges === undefined ? { version: "1.2.3" } : { version: "1.2.3", gauges };
  return parseExposition(await new PrometheusExporter(metrics, options).render());
}

Deno.test("the content type is that of the text format 0.0.4", () => {
  const exporter = new PrometheusExporter(new Metrics(), { version: "1" });
  assertEquals(exporter.contentType, "text/plain; version=0.0.4; charset=utf-8");
});

Deno.test("without any listener the exposition is valid and tells of build and process", async () => {
  const families = await scrape(new Metrics());
  const labels = { version: "1.2.3", deno: Deno.version.deno };
  assertEquals(valueOf(families, "lb_build_info", labels), 1);
  assertGreater(valueOf(families, "process_resident_memory_bytes"), 1e6);
  assertGreater(valueOf(families, "process_cpu_seconds_total"), 0);
  const age = Date.now() / 1000 - valueOf(families, "process_start_time_seconds");
  assert(age >= 0 && age < 3600, `started ${age} s ago`);
  assertEquals(families.get("lb_requests_total")?.samples, []);
});

Deno.test({
  name: "open descriptors and their limit are reported where they can be read",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const before = await scrape(new Metrics());
    const held = Array.from({ length: 64 }, () => Deno.openSync("/dev/null"));
    const after = await scrape(new Metrics());
    for (const file of held) file.close();
    const open = valueOf(before, "process_open_fds");
    // The runtime's own threads may open or close a few in between.
    assertAlmostEquals(valueOf(after, "process_open_fds"), open + 64, 8);
    assertGreater(valueOf(before, "process_max_fds"), open);
  },
});

Deno.test("the counters of a listener come out under their names", async () => {
  const metrics = new Metrics();
  const main = metrics.listener("main");
  main.connectionsAccepted = 12;
  main.connectionsActive = 3;
  main.connectionsRefused = 2;
  main.acceptErrors = 1;
  main.bytesReceived = 4_000_000_000_000;
  main.bytesSent = 9_007_199_254_740_991;
  main.refused("no_route");
  metrics.listener("other").connectionsAccepted = 7;
  const families = await scrape(metrics);
  const listener = { listener: "main" };
  assertEquals(valueOf(families, "lb_connections_accepted_total", listener), 12);
  assertEquals(valueOf(families, "lb_connections_accepted_total", { listener: "other" }), 7);
  assertEquals(valueOf(families, "lb_connections", listener), 3);
  assertEquals(families.get("lb_connections")?.type, "gauge");
  assertEquals(valueOf(families, "lb_connections_refused_total", listener), 2);
  assertEquals(valueOf(families, "lb_accept_errors_total", listener), 1);
  assertEquals(valueOf(families, "lb_received_bytes_total", listener), 4_000_000_000_000);
  assertEquals(valueOf(families, "lb_sent_bytes_total", listener), 9_007_199_254_740_991);
  assertEquals(valueOf(families, "lb_refusals_total", { ...listener, reason: "no_route" }), 1);
});

Deno.test("requests come out by route, backend and class of status", async () => {
  const metrics = new Metrics();
  const stats = metrics.listener("main").requests("r1", "http://10.0.0.1:80");
  stats.record(200, 0.1, 10, 20);
  stats.record(201, 0.1, 10, 20);
  stats.record(502, 0.1, 10, 20);
  stats.record(0, 0.1, 10, 20);
  const families = await scrape(metrics);
  const series = { listener: "main", route: "r1", backend: "http://10.0.0.1:80" };
  const codes = ["aborted", "1xx", "2xx", "3xx", "4xx", "5xx"]
    .map((code) => valueOf(families, "lb_requests_total", { ...series, code }));
  assertEquals(codes, [1, 0, 2, 0, 0, 1]);
  assertEquals(valueOf(families, "lb_request_bytes_total", series), 40);
  assertEquals(valueOf(families, "lb_response_bytes_total", series), 80);
});

Deno.test("the histogram is cumulative and its +Inf bucket equals the count", async () => {
  const metrics = new Metrics();
  const stats = metrics.listener("main").requests("r1", "b1");
  for (const seconds of [0.0001, 0.0005, 0.004, 0.004, 1.5, 100]) stats.record(200, seconds, 0, 0);
  const families = await scrape(metrics);
  const series = { listener: "main", route: "r1", backend: "b1" };
  const bucket = (le: string) =>
    valueOf(families, "lb_request_duration_seconds_bucket", { ...series, le });
  assertEquals(families.get("lb_request_duration_seconds")?.type, "histogram");
  assertEquals(bucket("0.0005"), 2);
  assertEquals(bucket("0.0025"), 2);
  assertEquals(bucket("0.005"), 4);
  assertEquals(bucket("1"), 4);
  assertEquals(bucket("2.5"), 5);
  assertEquals(bucket("60"), 5);
  assertEquals(bucket("+Inf"), 6);
  assertEquals(valueOf(families, "lb_request_duration_seconds_count", series), 6);
  assertAlmostEquals(valueOf(families, "lb_request_duration_seconds_sum", series), 101.5086);
});

Deno.test("for any durations the buckets never fall and end in the count", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.double({ min: 0, max: 100, noNaN: true })), async (durations) => {
      const metrics = new Metrics();
      const stats = metrics.listener("l").requests("r", "b");
      for (const seconds of durations) stats.record(200, seconds, 0, 0);
      const { samples } = (await scrape(metrics)).get("lb_request_duration_seconds")!;
      const buckets = samples.filter((s) => s.name.endsWith("_bucket"));
      assertEquals(buckets.map((s) => s.labels.le), [...DURATION_BOUNDS.map(String), "+Inf"]);
      for (const [i, { labels, value }] of buckets.entries()) {
        const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
        assertEquals(value, durations.filter((seconds) => seconds <= bound).length);
        assert(i === 0 || value >= buckets[i - 1]!.value);
      }
      assertEquals(buckets.at(-1)?.value, samples.find((s) => s.name.endsWith("_count"))?.value);
    }),
    { seed: 20261122, numRuns: 25 },
  );
});

Deno.test("the counters of a backend come out by listener and backend", async () => {
  const metrics = new Metrics();
  const upstream = metrics.listener("main").upstream("b1");
  Object.assign(upstream, {
    attempts: 1,
    retries: 2,
    connects: 3,
    reuses: 4,
    active: 5,
    idle: 6,
    bytesSent: 7,
    bytesReceived: 8,
  });
  upstream.failed("connect_refused");
  upstream.failed("connect_timeout");
  upstream.failed("connect_timeout");
  const families = await scrape(metrics);
  const series = { listener: "main", backend: "b1" };
  assertEquals(valueOf(families, "lb_upstream_attempts_total", series), 1);
  assertEquals(valueOf(families, "lb_upstream_retries_total", series), 2);
  assertEquals(valueOf(families, "lb_upstream_connects_total", series), 3);
  assertEquals(valueOf(families, "lb_upstream_reuses_total", series), 4);
  assertEquals(valueOf(families, "lb_upstream_connections", { ...series, state: "active" }), 5);
  assertEquals(valueOf(families, "lb_upstream_connections", { ...series, state: "idle" }), 6);
  assertEquals(valueOf(families, "lb_upstream_sent_bytes_total", series), 7);
  assertEquals(valueOf(families, "lb_upstream_received_bytes_total", series), 8);
  const failures = (reason: string) =>
    valueOf(families, "lb_upstream_failures_total", { ...series, reason });
  assertEquals([failures("connect_refused"), failures("connect_timeout")], [1, 2]);
});

Deno.test("names follow the guide: counters end in _total, nothing else does", async () => {
  for (const [name, { type, help }] of await scrape(new Metrics())) {
    assertMatch(name, /^(lb|process)_[a-z_]+$/);
    assertEquals(name.endsWith("_total"), type === "counter", name);
    assertMatch(help, /^[A-Z].*\.$/, name);
  }
});

Deno.test("label values with quotes, backslashes and line feeds come back as they were", async () => {
  const metrics = new Metrics();
  const route = 'a"b\\c\nd",listener="forged"} 1\n# TYPE x counter';
  metrics.listener("l\\n").requests(route, "back\\").record(200, 1, 1, 1);
  const families = await scrape(metrics);
  const series = { listener: "l\\n", route, backend: "back\\" };
  assertEquals(valueOf(families, "lb_requests_total", { ...series, code: "2xx" }), 1);
  assertEquals(valueOf(families, "lb_request_duration_seconds_count", series), 1);
});

Deno.test("any names survive the way through the text", async () => {
  const name = fc.string({ unit: "binary", maxLength: 12 }).filter((s) => s.isWellFormed());
  await fc.assert(
    fc.asyncProperty(name, name, name, async (listener, route, backend) => {
      const metrics = new Metrics();
      metrics.listener(listener).requests(route, backend).record(200, 1, 1, 1);
      const families = await scrape(metrics);
      assertEquals(valueOf(families, "lb_request_bytes_total", { listener, route, backend }), 1);
    }),
    { seed: 20261122, numRuns: 50 },
  );
});

Deno.test("series whose joined labels read alike stay apart", async () => {
  const metrics = new Metrics();
  metrics.listener("l").requests("a,backend:b", "c").record(200, 1, 1, 1);
  metrics.listener("l").requests("a", "b,backend:c").record(200, 1, 2, 2);
  const families = await scrape(metrics);
  const bytes = (route: string, backend: string) =>
    valueOf(families, "lb_request_bytes_total", { listener: "l", route, backend });
  assertEquals([bytes("a,backend:b", "c"), bytes("a", "b,backend:c")], [1, 2]);
});

Deno.test("a second scrape shows the new values, and forgotten series are gone", async () => {
  const metrics = new Metrics();
  const exporter = new PrometheusExporter(metrics, { version: "1" });
  const listener = metrics.listener("main");
  listener.requests("r1", "b1").record(200, 1, 5, 0);
  listener.upstream("b1").attempts = 1;
  const series = { listener: "main", route: "r1", backend: "b1" };
  const first = parseExposition(await exporter.render());
  assertEquals(valueOf(first, "lb_request_bytes_total", series), 5);
  listener.requests("r1", "b1").record(200, 1, 5, 0);
  const second = parseExposition(await exporter.render());
  assertEquals(valueOf(second, "lb_request_bytes_total", series), 10);
  metrics.forgetBackend("b1");
  assert(!(await exporter.render()).includes("b1"));
});

Deno.test("a large exposition gives other work its turn and has every series exactly once", async () => {
  const metrics = new Metrics();
  const listener = metrics.listener("main");
  for (let i = 0; i < 300; i++) listener.requests(`r${i}`, "b").record(200, 0.1, i, 0);
  let turns = 0;
  const ticker = setInterval(() => turns++, 0);
  const text = await new PrometheusExporter(metrics, { version: "1" }).render();
  clearInterval(ticker);
  assertGreater(turns, 3);
  const families = parseExposition(text);
  const histogram = families.get("lb_request_duration_seconds")!.samples;
  assertEquals(histogram.length, 300 * (DURATION_BOUNDS.length + 3));
  for (let i = 0; i < 300; i++) {
    const series = { listener: "main", route: `r${i}`, backend: "b" };
    assertEquals(valueOf(families, "lb_request_bytes_total", series), i);
  }
});

Deno.test("a series that is forgotten during a scrape does not spoil it", async () => {
  const metrics = new Metrics();
  const listener = metrics.listener("main");
  for (let i = 0; i < 300; i++) listener.requests(`r${i}`, `b${i}`).record(200, 0.1, 1, 1);
  const rendering = new PrometheusExporter(metrics, { version: "1" }).render();
  for (let i = 0; i < 300; i++) metrics.forgetBackend(`b${i}`);
  parseExposition(await rendering);
  assertEquals([...listener.requestSeries()], []);
});

Deno.test("two scrapes at once do not disturb each other", async () => {
  const metrics = new Metrics();
  for (let i = 0; i < 100; i++) metrics.listener("l").requests(`r${i}`, "b").record(200, 1, 1, 1);
  const exporter = new PrometheusExporter(metrics, { version: "1" });
  const [one, two] = await Promise.all([exporter.render(), exporter.render()]);
  const lines = (text: string) => text.split("\n").filter((line) => line.startsWith("lb_"));
  assertEquals(lines(one), lines(two));
});

Deno.test("gauges from outside are asked at each scrape", async () => {
  let healthy = 1;
  const gauges = () => [{
    name: "lb_backends",
    help: "Backends by state.",
    samples: [
      { labels: { pool: "p", state: "healthy" }, value: healthy },
      { labels: { pool: "p", state: "ejected" }, value: 0 },
    ],
  }, {
    name: "lb_access_log_dropped_total",
    help: "Lines not written.",
    type: "counter" as const,
    samples: [{ value: 9 }],
  }];
  const exporter = new PrometheusExporter(new Metrics(), { version: "1", gauges });
  const labels = { pool: "p", state: "healthy" };
  const first = parseExposition(await exporter.render());
  assertEquals(valueOf(first, "lb_backends", labels), 1);
  assertEquals(first.get("lb_backends")?.type, "gauge");
  assertEquals(valueOf(first, "lb_access_log_dropped_total"), 9);
  assertEquals(first.get("lb_access_log_dropped_total")?.type, "counter");
  healthy = 4;
  assertEquals(valueOf(parseExposition(await exporter.render()), "lb_backends", labels), 4);
});

Deno.test("a gauge from outside with a bad or taken name is refused with the reason", async () => {
  const render = (family: Partial<GaugeFamily>) =>
    scrape(new Metrics(), () => [{ name: "lb_x", help: "X.", samples: [], ...family }]);
  const error = await assertRejects(() => render({ name: "lb-x y" }), TypeError);
  assertStringIncludes(error.message, 'invalid metric name "lb-x y"');
  await assertRejects(
    () => render({ samples: [{ labels: { "a b": "c" }, value: 1 }] }),
    TypeError,
    'invalid label name "a b" of lb_x',
  );
  await assertRejects(() => render({ name: "lb_connections" }), Error, "lb_connections");
});

/**
 * The metrics in the Prometheus text format 0.0.4. The numbers are read from {@linkcode Metrics} when
 * somebody asks; prom-client does the naming rules, the escaping and the text.
 *
 * Loading this module loads prom-client, so import it only where metrics are served.
 *
 * @module
 */

import { type Metric, Registry, validateMetricName } from "prom-client";
import { type Family, histogramSamples, type Labels, type Sample } from "./family.ts";
import { grpcFamilies } from "./grpc_families.ts";
import type { ListenerMetrics, Metrics, RequestStats, UpstreamStats } from "./metrics.ts";
import { readProcessStats } from "./process_stats.ts";

export type { Labels } from "./family.ts";

/** A gauge or counter that somebody else keeps. */
export interface GaugeFamily {
  /** The metric's name, e.g. `lb_backends`; unique. */
  readonly name: string;
  /** What it says, in a sentence. */
  readonly help: string;
  /** `gauge` unless given. */
  readonly type?: "gauge" | "counter";
  /** Its values now. */
  readonly samples: Iterable<{ readonly labels?: Labels; readonly value: number }>;
}

/** What {@linkcode PrometheusExporter} needs beside the metrics. */
export interface PrometheusOptions {
  /** The version of lb, for `lb_build_info`. */
  readonly version: string;
  /** Asked at each scrape for what the metrics do not know, such as backends by state. */
  readonly gauges?: () => Iterable<GaugeFamily>;
}

/**
 * So many values are formatted in one turn, which takes one or two milliseconds. A scrape of
 * thousands of series would otherwise hold up every exchange.
 */
const SAMPLES_PER_TURN = 500;

/** One family as a metric that prom-client's registry accepts; each `get` gives the next part of it. */
class FamilyMetric {
  readonly name: string;
  readonly help: string;
  readonly type: Family["type"];
  readonly #groups: Iterator<readonly Sample[]>;
  done = false;

  constructor(family: Family) {
    this.name = family.name;
    this.help = family.help;
    this.type = family.type;
    this.#groups = family.groups[Symbol.iterator]();
  }

  get(): Promise<{ name: string; help: string; type: string; values: Sample[] }> {
    const values: Sample[] = [];
    while (values.length < SAMPLES_PER_TURN) {
      const next = this.#groups.next();
      if (next.done) {
        this.done = true;
        break;
      }
      values.push(...next.value);
    }
    return Promise.resolve({ name: this.name, help: this.help, type: this.type, values });
  }
}

/** How the classes of {@linkcode RequestStats.codes} are called in the label `code`. */
const CODE_LABELS: readonly Labels[] = ["aborted", "1xx", "2xx", "3xx", "4xx", "5xx"]
  .map((code) => ({ code }));
const DURATION = "lb_request_duration_seconds";
const ACTIVE: Labels = { state: "active" };
const IDLE: Labels = { state: "idle" };

const LABEL_NAME = /^(?!__)[A-Za-z_][A-Za-z0-9_]*$/;

/** Writes the metrics as text. */
export class PrometheusExporter {
  /** The value for the `Content-Type` of the response. */
  readonly contentType: string = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #metrics: Metrics;
  readonly #version: string;
  readonly #gauges: () => Iterable<GaugeFamily>;
  /** Labels by series, so that the registry formats them once and not at every scrape. */
  readonly #labels = new WeakMap<object, Labels>();

  /** Makes an exporter that reads the metrics at each {@linkcode render}. */
  constructor(metrics: Metrics, options: PrometheusOptions) {
    this.#metrics = metrics;
    this.#version = options.version;
    this.#gauges = options.gauges ?? (() => []);
  }

  /**
   * The whole exposition. Values of one histogram series belong to one instant; those of different
   * series may be some milliseconds apart.
   *
   * @throws `TypeError` when a family from outside has an invalid name or label, `Error` when its name
   * is taken.
   */
  async render(): Promise<string> {
    const families = [
      ...this.#listenerFamilies(),
      ...this.#requestFamilies(),
      ...this.#upstreamFamilies(),
      ...grpcFamilies(this.#metrics, (series, make) => this.#labelsOf(series, make)),
      ...await this.#processFamilies(),
      ...Array.from(this.#gauges(), outsideFamily),
    ].map((family) => new FamilyMetric(family));
    const registry = new Registry();
    // The registry needs no more of a metric than FamilyMetric has; its type names its own classes.
    for (const family of families) registry.registerMetric(family as unknown as Metric);

    const parts: string[] = [];
    for (const family of families) {
      parts.push(await registry.getSingleMetricAsString(family.name));
      while (!family.done) {
        await nextTurn();
        const part = withoutHead(await registry.getSingleMetricAsString(family.name));
        if (part !== "") parts.push(part);
      }
    }
    return `${parts.join("\n")}\n`;
  }

  #listenerFamilies(): Family[] {
    const family = (
      name: string,
      type: "gauge" | "counter",
      help: string,
      read: (listener: ListenerMetrics) => number,
    ) => this.#perListener(name, type, help, (listener) => [{ value: read(listener) }]);
    return [
      family("lb_connections", "gauge", "Open connections of clients.", (l) => l.connectionsActive),
      family(
        "lb_connections_accepted_total",
        "counter",
        "Connections accepted from clients.",
        (l) => l.connectionsAccepted,
      ),
      family(
        "lb_connections_refused_total",
        "counter",
        "Connections closed at once because a limit was reached.",
        (l) => l.connectionsRefused,
      ),
      family(
        "lb_accept_errors_total",
        "counter",
        "Failures to accept a connection, such as running out of descriptors.",
        (l) => l.acceptErrors,
      ),
      family(
        "lb_received_bytes_total",
        "counter",
        "All bytes received from clients.",
        (l) => l.bytesReceived,
      ),
      family("lb_sent_bytes_total", "counter", "All bytes sent to clients.", (l) => l.bytesSent),
      family(
        "lb_retry_budget_exhausted_total",
        "counter",
        "Retries and hedges that were not made because the budget for them was used up.",
        (l) => l.retryBudgetExhausted,
      ),
      this.#perListener(
        "lb_refusals_total",
        "counter",
        "Requests and connections refused by the proxy itself, by error code.",
        (listener) => byReason(listener.refusals),
      ),
      this.#perListener(
        "lb_connections_closed_total",
        "counter",
        "Connections of clients that lb ended for a time or a limit without refusing anything, by reason.",
        (listener) => byReason(listener.closes),
      ),
    ];
  }

  #requestFamilies(): Family[] {
    const family = (
      name: string,
      type: Family["type"],
      help: string,
      read: (stats: RequestStats, labels: Labels) => Sample[],
    ): Family => ({ name, type, help, groups: this.#requestGroups(read) });
    return [
      family(
        "lb_requests_total",
        "counter",
        "Finished requests by class of status; aborted: ended without a status.",
        (stats, sharedLabels) =>
          CODE_LABELS.map((labels, i) => ({ labels, sharedLabels, value: stats.codes[i]! })),
      ),
      family(
        DURATION,
        "histogram",
        "Time from the first byte of the request to the last byte of the response.",
        (stats, labels) => histogramSamples(DURATION, stats, labels),
      ),
      family(
        "lb_request_bytes_total",
        "counter",
        "Bytes received from clients for requests.",
        (stats, sharedLabels) => [{ sharedLabels, value: stats.bytesIn }],
      ),
      family(
        "lb_response_bytes_total",
        "counter",
        "Bytes sent to clients for responses.",
        (stats, sharedLabels) => [{ sharedLabels, value: stats.bytesOut }],
      ),
    ];
  }

  #upstreamFamilies(): Family[] {
    const counter = (name: string, help: string, read: (stats: UpstreamStats) => number): Family =>
      this.#perUpstream(name, "counter", help, (stats) => [{ value: read(stats) }]);
    return [
      counter("lb_upstream_attempts_total", "Tries of a request on a backend.", (u) => u.attempts),
      counter(
        "lb_upstream_retries_total",
        "Tries that were not the first of their request.",
        (u) => u.retries,
      ),
      counter(
        "lb_upstream_hedges_total",
        "Tries beside one that had not been answered yet.",
        (u) => u.hedges,
      ),
      this.#perUpstream(
        "lb_upstream_failures_total",
        "counter",
        "Failed tries by error code.",
        (stats) => byReason(stats.failures),
      ),
      counter("lb_upstream_connects_total", "Connections opened to backends.", (u) => u.connects),
      counter(
        "lb_upstream_reuses_total",
        "Tries that found an open connection in the pool.",
        (u) => u.reuses,
      ),
      this.#perUpstream(
        "lb_upstream_connections",
        "gauge",
        "Open connections to backends, in use or waiting in the pool.",
        (stats) => [{ labels: ACTIVE, value: stats.active }, { labels: IDLE, value: stats.idle }],
      ),
      counter("lb_upstream_sent_bytes_total", "Bytes sent to backends.", (u) => u.bytesSent),
      counter(
        "lb_upstream_received_bytes_total",
        "Bytes received from backends.",
        (u) => u.bytesReceived,
      ),
    ];
  }

  async #processFamilies(): Promise<Family[]> {
    const stats = await readProcessStats();
    const build: Labels = { version: this.#version, deno: Deno.version.deno };
    return [
      single("lb_build_info", "gauge", "Always 1; the labels tell what is running.", 1, build),
      single(
        "lb_internal_errors_total",
        "counter",
        "Faults of lb itself outside of any exchange; the log tells each with its stack.",
        this.#metrics.internalErrors,
      ),
      single(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory size in bytes.",
        stats.residentMemoryBytes,
      ),
      single(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since the epoch in seconds.",
        stats.startTimeSeconds,
      ),
      single(
        "process_cpu_seconds_total",
        "counter",
        "User and system CPU time spent in seconds.",
        stats.cpuSeconds,
      ),
      single("process_open_fds", "gauge", "Number of open file descriptors.", stats.openFds),
      single("process_max_fds", "gauge", "Maximum number of open file descriptors.", stats.maxFds),
    ].filter((family) => family !== undefined);
  }

  #perListener(
    name: string,
    type: "gauge" | "counter",
    help: string,
    read: (listener: ListenerMetrics) => Sample[],
  ): Family {
    const groups = function* (exporter: PrometheusExporter): Generator<Sample[]> {
      for (const listener of exporter.#metrics.listeners()) {
        const sharedLabels = exporter.#labelsOf(listener, () => ({ listener: listener.name }));
        yield read(listener).map((sample) => ({ ...sample, sharedLabels }));
      }
    };
    return { name, type, help, groups: groups(this) };
  }

  #perUpstream(
    name: string,
    type: "gauge" | "counter",
    help: string,
    read: (stats: UpstreamStats) => Sample[],
  ): Family {
    const groups = function* (exporter: PrometheusExporter): Generator<Sample[]> {
      for (const listener of exporter.#metrics.listeners()) {
        for (const [backend, stats] of listener.upstreamSeries()) {
          const sharedLabels = exporter.#labelsOf(
            stats,
            () => ({ listener: listener.name, backend }),
          );
          yield read(stats).map((sample) => ({ ...sample, sharedLabels }));
        }
      }
    };
    return { name, type, help, groups: groups(this) };
  }

  *#requestGroups(
    read: (stats: RequestStats, labels: Labels) => Sample[],
  ): Generator<Sample[]> {
    for (const listener of this.#metrics.listeners()) {
      for (const stats of listener.requestSeries()) {
        const { route, backend } = stats;
        yield read(
          stats,
          this.#labelsOf(stats, () => ({ listener: listener.name, route, backend })),
        );
      }
    }
  }

  #labelsOf(series: object, make: () => Labels): Labels {
    let labels = this.#labels.get(series);
    if (labels === undefined) this.#labels.set(series, labels = make());
    return labels;
  }
}

function byReason(counts: ReadonlyMap<string, number>): Sample[] {
  return Array.from(counts, ([reason, value]) => ({ labels: { reason }, value }));
}

/** A family with one value; `undefined` when the value is not known. */
function single(
  name: string,
  type: "gauge" | "counter",
  help: string,
  value: number | undefined,
  labels: Labels = {},
): Family | undefined {
  return value === undefined ? undefined : { name, type, help, groups: [[{ labels, value }]] };
}

function outsideFamily(family: GaugeFamily): Family {
  const { name, help } = family;
  if (!validateMetricName(name)) {
    throw new TypeError(`invalid metric name "${name}": it must match [a-zA-Z_:][a-zA-Z0-9_:]*`);
  }
  const values = Array.from(family.samples, ({ labels = {}, value }) => {
    for (const label of Object.keys(labels)) {
      if (!LABEL_NAME.test(label)) {
        throw new TypeError(
          `invalid label name "${label}" of ${name}: it must match [a-zA-Z_][a-zA-Z0-9_]* ` +
            "and not begin with __",
        );
      }
    }
    return [{ labels, value }];
  });
  return { name, help, type: family.type ?? "gauge", groups: values };
}

/** The text of a family without its `# HELP` and `# TYPE`, which only the first part may have. */
function withoutHead(text: string): string {
  const endOfHelp = text.indexOf("\n");
  const endOfType = text.indexOf("\n", endOfHelp + 1);
  return endOfType === -1 ? "" : text.slice(endOfType + 1);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

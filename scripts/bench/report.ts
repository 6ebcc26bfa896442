/**
 * From samples to medians, ratios and tables.
 *
 * @module
 */
import type { Sample } from "./load.ts";
import type { Scenario } from "./scenario.ts";

/** All samples of one proxy, one for each round. */
export interface Series {
  name: string;
  samples: readonly Sample[];
}

/** What one proxy did in a scenario: medians over the rounds. NaN where nothing was measured. */
export interface Row {
  name: string;
  requestsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  cpuMicroseconds: number;
  residentMiB: number;
  /** Sum over the rounds. */
  errors: number;
}

/** How lb compares with another proxy: the median of the ratios within each round. */
export interface Ratio {
  name: string;
  /** Requests per second of lb divided by those of the other: higher is better. */
  requests: number;
  /** CPU time per request of lb divided by that of the other: lower is better. */
  cpu: number;
}

/** The result of one scenario. */
export interface ScenarioReport {
  scenario: Scenario;
  rows: Row[];
  ratios: Ratio[];
  /** Proxies that took no part, with the reason. */
  skipped: string[];
}

/** The result of all scenarios and what they ran on. */
export interface Report {
  machine: {
    cpu: string;
    cores: number;
    system: string;
    versions: Record<string, string>;
    /** Whether the proxies had a CPU of their own. */
    pinned: boolean;
  };
  rounds: number;
  seconds: number;
  scenarios: ScenarioReport[];
}

/** The middle value, NaN values left out; of two middle ones their mean. NaN if there is none. */
export function median(values: readonly number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]!
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

/** The medians of one proxy. */
export function summarize({ name, samples }: Series): Row {
  const of = (key: keyof Sample): number => median(samples.map((sample) => sample[key]));
  return {
    name,
    requestsPerSecond: of("requestsPerSecond"),
    p50Ms: of("p50Ms"),
    p99Ms: of("p99Ms"),
    cpuMicroseconds: of("cpuMicroseconds"),
    residentMiB: of("residentBytes") / 2 ** 20,
    errors: samples.reduce((sum, { errors }) => sum + errors, 0),
  };
}

/** Compares lb with another proxy, round by round, so that a slow round of the machine counts for both. */
export function compare(lb: Series, other: Series): Ratio {
  const of = (key: "requestsPerSecond" | "cpuMicroseconds"): number =>
    median(lb.samples.map((sample, round) => sample[key] / (other.samples[round]?.[key] ?? NaN)));
  return { name: other.name, requests: of("requestsPerSecond"), cpu: of("cpuMicroseconds") };
}

const HEADINGS = [
  "proxy",
  "requests/s",
  "p50 ms",
  "p99 ms",
  "CPU µs/request",
  "memory MiB",
  "errors",
  "lb: requests",
  "lb: CPU",
];

function format(value: number | undefined, digits: number): string {
  return value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);
}

/** One line of a table for each proxy, in the order of {@linkcode HEADINGS}. */
function cells({ rows, ratios }: ScenarioReport): string[][] {
  return rows.map((row) => {
    const ratio = ratios.find(({ name }) => name === row.name);
    return [
      row.name,
      format(row.requestsPerSecond, 0),
      format(row.p50Ms, 2),
      format(row.p99Ms, 2),
      format(row.cpuMicroseconds, 1),
      format(row.residentMiB, 1),
      String(row.errors),
      ratio === undefined ? "" : `×${format(ratio.requests, 2)}`,
      ratio === undefined ? "" : `×${format(ratio.cpu, 2)}`,
    ];
  });
}

function title({ name, path, bodyBytes, connections, stateless }: Scenario): string {
  const encoder = stateless ? ", client without a dynamic table" : "";
  return `${name}: GET ${path}, ${bodyBytes} bytes, ${connections} connections${encoder}`;
}

/** A table for the terminal, its columns aligned. */
export function renderText(report: ScenarioReport): string {
  const lines = [HEADINGS, ...cells(report)];
  const widths = HEADINGS.map((_, column) =>
    Math.max(...lines.map((line) => line[column]!.length))
  );
  const table = lines.map((line) =>
    line.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
    ).join("  ").trimEnd()
  );
  const skipped = report.skipped.map((reason) => `skipped ${reason}`);
  return [title(report.scenario), ...table, ...skipped].join("\n");
}

/** Tables for the README, with what they were measured on. */
export function renderMarkdown({ machine, rounds, seconds, scenarios }: Report): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const pinning = machine.pinned
    ? "Proxies take turns on one CPU; backends and load generator share another."
    : "Proxies, backends and load generator shared all CPUs.";
  const parts = [
    `${machine.cpu}, ${machine.cores} cores, ${machine.system}; ${
      versions.join(", ")
    }. ${pinning} ` +
    `Median of ${rounds} round${
      rounds === 1 ? "" : "s"
    } of ${seconds} s. *lb: requests* (higher is better) and ` +
    `*lb: CPU* (lower is better) are those of lb divided by the proxy's.`,
  ];
  for (const report of scenarios) {
    const lines = [HEADINGS, HEADINGS.map((_, i) => i === 0 ? "---" : "---:"), ...cells(report)];
    const table = lines.map((line) => `| ${line.join(" | ")} |`).join("\n");
    const skipped = report.skipped.map((reason) => `Skipped ${reason}.`).join(" ");
    parts.push(`**${title(report.scenario)}**`, table, ...(skipped ? [skipped] : []));
  }
  return parts.join("\n\n") + "\n";
}

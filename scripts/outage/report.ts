/**
 * What an outage did to requests, and whether that is as it must be.
 *
 * @module
 */
import type { Counts } from "../load/tally.ts";
import type { Mode } from "./disturb.ts";

/** What came of one kind of requests. */
export interface Part {
  /** `HTTP GET`, `HTTP POST` or `gRPC unary`. */
  readonly name: string;
  /** What made them. */
  readonly generator: string;
  readonly counts: Counts;
}

/** What one balancer counted. */
export interface Upstream {
  /** Its command. */
  readonly balancer: string;
  /** Requests that clients made. */
  readonly requests: number;
  readonly attempts: number;
  readonly retries: number;
  /** How often a backend was ejected. */
  readonly ejections: number;
  /** The most backends that were ejected at a time. */
  readonly mostEjected: number;
  /** How many may be. */
  readonly ceiling: number;
}

/** All of it. */
export interface Report {
  readonly mode: Mode;
  readonly seconds: number;
  /** What was done. */
  readonly disturbance: string;
  readonly parts: readonly Part[];
  /** Empty where balancers were restarted or backends removed: their counters are gone with them. */
  readonly upstreams: readonly Upstream[];
}

/** Attempts for each request that may at most be made while all backends are away. */
export const MAX_ATTEMPTS_RATIO = 1.2;

/** Attempts for each request. */
export function ratioOf({ attempts, requests }: Upstream): number {
  return requests === 0 ? 0 : attempts / requests;
}

/** What is not as it must be. */
export function judgeReport({ mode, parts, upstreams }: Report): string[] {
  const wrong: string[] = [];
  for (const { name, counts: { requests, answered, retriable, final } } of parts) {
    if (answered === 0) wrong.push(`${name}: none of ${requests} was answered`);
    if (mode !== "total" && retriable > 0) {
      wrong.push(`${name}: ${retriable} failed that may be retried`);
    }
    if ((mode === "restart" || mode === "churn" || mode === "none") && final > 0) {
      wrong.push(`${name}: ${final} failed`);
    }
  }
  for (const upstream of upstreams) {
    const { balancer, mostEjected, ceiling } = upstream;
    if (ratioOf(upstream) > MAX_ATTEMPTS_RATIO) {
      wrong.push(
        `${balancer}: ${
          ratioOf(upstream).toFixed(3)
        } attempts a request, above ${MAX_ATTEMPTS_RATIO}`,
      );
    }
    if (mostEjected > ceiling) {
      wrong.push(`${balancer}: ${mostEjected} backends were ejected at a time, ${ceiling} may be`);
    }
  }
  return wrong;
}

const whole = (count: number) => count.toLocaleString("en-US");
const ms = (time: number) => (time < 10 ? time.toFixed(2) : time.toFixed(0));

/** The report as text. */
export function renderReport(report: Report): string {
  const { mode, seconds, disturbance, parts, upstreams } = report;
  const lines = [`mode ${mode}, ${seconds} s: ${disturbance}`, ""];
  for (const { name, generator, counts } of parts) {
    const { requests, answered, retriable, final, failures, latency } = counts;
    lines.push(
      `${name} (${generator}, ${whole(Math.round(requests / seconds))}/s)`,
      `  requests                  ${whole(requests)}`,
      `  answered                  ${whole(answered)}`,
      `  failed, may be retried    ${whole(retriable)}`,
      `  failed, may not           ${whole(final)}`,
      ...failures.map(({ count, reason }) => `    ${whole(count)} × ${reason}`),
      `  p50 p90 p99 p99.9 max     ${
        [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(ms).join("  ")
      } ms`,
    );
  }
  for (const upstream of upstreams) {
    const { balancer, attempts, retries, ejections, mostEjected, ceiling } = upstream;
    lines.push(
      `${balancer} to its backends`,
      `  attempts                  ${whole(attempts)}, ${ratioOf(upstream).toFixed(4)} a request`,
      `  retries                   ${whole(retries)}`,
      `  ejections                 ${ejections}, at most ${mostEjected} at a time (${ceiling} may be)`,
    );
  }
  return lines.join("\n");
}

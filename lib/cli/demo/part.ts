/**
 * What both parts of the demo have in common.
 *
 * @module
 */
import type { LoadBalancer, Server } from "../../../mod.ts";
import type { Style } from "../style.ts";
import { formatTable } from "../table.ts";

/** One balancer with its backends. */
export interface DemoPart extends AsyncDisposable {
  /** Who listens where, and which routes there are. */
  describe(style: Style): string;
  /** Sends requests through the balancer. */
  run(): Promise<readonly Result[]>;
  /** Lines for the user to try, each with what it means. */
  readonly suggestions: readonly (readonly [meaning: string, line: string])[];
}

/** What came of requests of one kind. */
export interface Result {
  /** What the route is about. */
  readonly route: string;
  /** What was asked. */
  readonly request: string;
  /** Who answered how often, and what. */
  readonly answers: string;
  /** Milliseconds of each request. */
  readonly times: readonly number[];
  /** Whether all was as it must be. */
  readonly right: boolean;
}

/** Numbers by what they count, as text: `blue 2, green 1`. */
export function formatCounts(counts: ReadonlyMap<string, number>): string {
  return Array.from(counts, ([what, count]) => `${what} ${count}`).join(", ");
}

/** Counts one more. */
export function countUp(counts: Map<string, number>, what: string, by = 1): void {
  counts.set(what, (counts.get(what) ?? 0) + by);
}

/** Whether two counts are the same. */
export function isSame(
  counts: ReadonlyMap<string, number>,
  expected: Readonly<Record<string, number>>,
): boolean {
  const entries = Object.entries(expected);
  return counts.size === entries.length &&
    entries.every(([what, count]) => counts.get(what) === count);
}

/** Results as a table. */
export function formatResults(results: readonly Result[], style: Style): string {
  const rows = results.map(({ route, request, answers, times, right }) => {
    const sorted = times.toSorted((a, b) => a - b);
    return [
      route,
      request,
      answers + (right ? "" : "  WRONG"),
      percentile(sorted, 0.5).toFixed(2),
      percentile(sorted, 0.99).toFixed(2),
    ];
  });
  const [head = "", ...lines] = formatTable([
    { title: "ROUTE" },
    { title: "REQUEST" },
    { title: "ANSWERED BY" },
    { title: "P50 MS", align: "right" },
    { title: "P99 MS", align: "right" },
  ], rows).split("\n");
  const marked = lines.map((line, i) => results[i]!.right ? line : style.red(line));
  return [style.bold(head), ...marked].join("\n");
}

/** The smallest value that so large a share of all is not above (the nearest rank). */
function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

/** Listens on an address, or on a free port when that is taken. */
export async function startPreferably(
  balancer: LoadBalancer,
  address: string,
): Promise<Server> {
  try {
    return await balancer.start(address);
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    return await balancer.start("127.0.0.1:0");
  }
}

/** Where a server listens, as text. */
export function hostOf(server: Server): string {
  const { hostname, port } = server.addr as Deno.NetAddr;
  return `${hostname}:${port}`;
}

/** A balancer and its backends, a line each. */
export function formatAddresses(
  balancer: { readonly name: string; readonly addr: string; readonly preferred: string },
  backends: Readonly<Record<string, string>>,
  style: Style,
): string[] {
  const { name, addr, preferred } = balancer;
  const taken = addr.endsWith(preferred) ? "" : style.dim(`  (${preferred} is taken)`);
  return [
    `${style.bold(name)}  ${addr}${taken}`,
    ...Object.entries(backends).map(([backend, addr]) => `${backend.padEnd(name.length)}  ${addr}`),
  ];
}

/**
 * The load generators, wrk for HTTP and h2load for gRPC, and what they measured.
 *
 * @module
 */
import { ScriptError } from "../script.ts";
import { cpuSeconds, findProgram, type Processes, residentBytes } from "./process.ts";
import type { Scenario } from "./scenario.ts";

/** What one run of the load generator measured of one proxy. NaN where it could not be measured. */
export interface Sample {
  /** Requests answered in a second. */
  requestsPerSecond: number;
  /** Median of the response times, in milliseconds. */
  p50Ms: number;
  /** Response time that 99 of 100 requests keep, in milliseconds. */
  p99Ms: number;
  /** CPU time of the proxy for one request, in microseconds. */
  cpuMicroseconds: number;
  /** Resident memory of the proxy after the run, in bytes. */
  residentBytes: number;
  /** Responses with an error status and connections that failed. */
  errors: number;
}

/** What a run of wrk printed. */
export interface WrkResult {
  requestsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** Requests that were answered. */
  requests: number;
  errors: number;
}

/** Milliseconds in each unit that wrk prints. */
const UNITS: Record<string, number> = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Turns a time as wrk prints it, such as `1.25ms`, into milliseconds. */
function parseTime(text: string | undefined): number {
  const [, number, unit] = /^([\d.]+)([a-z]+)$/.exec(text ?? "") ?? [];
  return Number(number) * (UNITS[unit ?? ""] ?? NaN);
}

/**
 * Reads what wrk prints with `--latency`.
 *
 * @throws {SyntaxError} If it is no result of wrk.
 */
export function parseWrk(text: string): WrkResult {
  const match = (pattern: RegExp): string | undefined => pattern.exec(text)?.[1];
  const requestsPerSecond = Number(match(/^Requests\/sec:\s+([\d.]+)/m));
  const requests = Number(match(/^\s*(\d+) requests in /m));
  if (Number.isNaN(requestsPerSecond + requests)) {
    throw new SyntaxError(`not a result of wrk: ${text.trim()}`);
  }
  const socketErrors = /connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  return {
    requestsPerSecond,
    p50Ms: parseTime(match(/^\s+50%\s+(\S+)/m)),
    p99Ms: parseTime(match(/^\s+99%\s+(\S+)/m)),
    requests,
    errors: Number(match(/Non-2xx or 3xx responses: (\d+)/) ?? 0) +
      (socketErrors?.slice(1).reduce((sum, count) => sum + Number(count), 0) ?? 0),
  };
}

/**
 * Reads what h2load prints. It gives no percentiles: the mean stands for the median, the maximum for the
 * 99th percentile.
 *
 * @throws {SyntaxError} If it is no result of h2load.
 */
export function parseH2load(text: string): WrkResult {
  const match = (pattern: RegExp): string | undefined => pattern.exec(text)?.[1];
  const requestsPerSecond = Number(match(/^finished in [\d.]+m?s, ([\d.]+) req\/s/m));
  const counts = /(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/.exec(text);
  if (Number.isNaN(requestsPerSecond) || counts === null) {
    throw new SyntaxError(`not a result of h2load: ${text.trim()}`);
  }
  const [succeeded, failed, , timeout] = counts.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
  ];
  const times = /^time for request:\s+\S+\s+(\S+)\s+(\S+)/m.exec(text);
  return {
    requestsPerSecond,
    p50Ms: parseTime(times?.[2]),
    p99Ms: parseTime(times?.[1]),
    requests: succeeded,
    // What is still open when the time is up is counted as failed and errored by h2load; only the
    // answers with an error status and those that never came are errors here.
    errors: failed + timeout,
  };
}

/** What {@linkcode measure} puts under load. */
export interface Measured {
  port: number;
  /** The process whose CPU time and memory count; none for a backend that is asked directly. */
  pid?: number;
}

/**
 * Puts one proxy under load and measures it.
 *
 * @throws {ScriptError} If the load generator fails.
 */
export async function measure(
  processes: Processes,
  { port, pid }: Measured,
  { scenario, seconds, cpu }: { scenario: Scenario; seconds: number; cpu: number },
): Promise<Sample> {
  const before = pid === undefined ? NaN : cpuSeconds(pid);
  const url = `http://127.0.0.1:${port}${scenario.path}`;
  const { command, parse } = generator(scenario, { url, seconds });
  const load = processes.spawn(command, { cpu });
  const { success } = await load.finished;
  const output = await Deno.readTextFile(load.log);
  if (!success) throw new ScriptError(`${command[0]} failed: ${output.trim()}`);
  const { requests, ...result } = parse(output);
  const used = pid === undefined ? NaN : cpuSeconds(pid) - before;
  return {
    ...result,
    cpuMicroseconds: requests === 0 ? NaN : used * 1e6 / requests,
    residentBytes: pid === undefined ? NaN : residentBytes(pid),
  };
}

/** The command that makes the load of a scenario, and the parser of what it prints. */
function generator(
  { connections, streams, stateless }: Scenario,
  { url, seconds }: { url: string; seconds: number },
): { command: string[]; parse: (text: string) => WrkResult } {
  if (streams === undefined) {
    const options = ["-t1", `-c${connections}`, `-d${seconds}s`, "--latency"];
    return { command: [findProgram("wrk")!, ...options, url], parse: parseWrk };
  }
  const options = ["-t1", `-c${connections}`, `-m${streams}`, "-D", String(seconds)];
  if (stateless) options.push("--encoder-header-table-size=0");
  const headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"];
  return { command: [findProgram("h2load")!, ...options, ...headers, url], parse: parseH2load };
}

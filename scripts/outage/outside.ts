/**
 * Programs of others that make requests at a constant rate and say what came of them: h2load for HTTP/1.1, ghz for
 * gRPC. Where one is not installed, the client of this project does it.
 *
 * @module
 */
import type { Processes } from "../bench/process.ts";
import { findOutsideProgram } from "../load/fleet.ts";
import { GrpcLoadClient } from "../load/grpc_client.ts";
import { LOAD_PROTO, METHOD } from "../load/grpc_service.ts";
import { HttpClient, type HttpRequest } from "../load/http_client.ts";
import { keepPace } from "../load/pace.ts";
import { type Counts, isUnsentCall, percentiles, Tally } from "../load/tally.ts";
import { ScriptError } from "../script.ts";

/** A load under way. */
export interface Load {
  /** What makes it. */
  readonly generator: string;
  /** What came of it, when it has ended. */
  readonly counts: Promise<Counts>;
}

/** What a load is made of. */
export interface LoadOptions {
  readonly processes: Processes;
  readonly folder: string;
  readonly port: number;
  /** Requests per second. */
  readonly rate: number;
  readonly seconds: number;
  /** Whether a program of others makes it, if it is installed. */
  readonly outside: boolean;
}

/** Connections of the programs. */
const CONNECTIONS = 20;
/** Calls that ghz has under way at most. */
const CONCURRENCY = 200;
const HOSTNAME = "127.0.0.1";

/** GETs at a constant rate. */
export function loadHttp(options: LoadOptions): Load {
  const program = options.outside ? findOutsideProgram("h2load") : undefined;
  if (program === undefined) {
    const request: HttpRequest = { method: "GET", path: "/load", expected: "ok" };
    return { generator: "own client", counts: runOwnHttp(options, request) };
  }
  return { generator: "h2load", counts: runH2load(program, options) };
}

/** POSTs at a constant rate: they may not be sent twice, so some may fail. */
export function loadPosts(options: LoadOptions): Load {
  const request: HttpRequest = { method: "POST", path: "/load", expected: "ok" };
  return { generator: "own client", counts: runOwnHttp(options, request) };
}

/** Unary calls at a constant rate. */
export function loadGrpc(options: LoadOptions): Load {
  const program = options.outside ? findOutsideProgram("ghz") : undefined;
  return program === undefined
    ? { generator: "own client", counts: runOwnGrpc(options) }
    : { generator: "ghz", counts: runGhz(program, options) };
}

async function runOwnHttp(
  { port, rate, seconds }: LoadOptions,
  request: HttpRequest,
): Promise<Counts> {
  const client = new HttpClient({ hostname: HOSTNAME, port });
  const tally = new Tally();
  await keepPace({
    rate,
    signal: AbortSignal.timeout(seconds * 1000),
    begin: async (due) => {
      const outcome = await client.request(request);
      tally.note(outcome, performance.now() - due);
    },
  });
  client.close();
  return tally.counts;
}

async function runOwnGrpc({ port, rate, seconds }: LoadOptions): Promise<Counts> {
  const client = new GrpcLoadClient({ hostname: HOSTNAME, port, connections: CONNECTIONS });
  const tally = new Tally();
  await keepPace({
    rate,
    signal: AbortSignal.timeout(seconds * 1000),
    begin: async (due) => {
      const outcome = await client.call(METHOD.unary);
      tally.note(outcome, performance.now() - due);
    },
  });
  await client.close();
  return tally.counts;
}

async function runH2load(
  program: string,
  { processes, folder, port, rate, seconds }: LoadOptions,
): Promise<Counts> {
  const file = `${folder}/h2load.tsv`;
  const child = processes.spawn([
    program,
    "--h1",
    ...["-c", String(CONNECTIONS), "--rps", String(rate / CONNECTIONS)],
    ...["-D", String(seconds), `--log-file=${file}`],
    `http://${HOSTNAME}:${port}/load`,
  ]);
  const { success } = await child.finished;
  const output = await Deno.readTextFile(child.log);
  if (!success) throw new ScriptError(`h2load failed: ${output.trim()}`);
  return readH2load(output, await Deno.readTextFile(file));
}

/**
 * Reads what h2load says: each line of its log is a response with its time of start, status and duration in
 * microseconds.
 *
 * @throws {ScriptError} If it is no result of h2load.
 */
export function readH2load(output: string, log: string): Counts {
  const totals = /(\d+) total, (\d+) started, (\d+) done, \d+ succeeded/.exec(output);
  if (totals === null) throw new ScriptError(`not a result of h2load: ${output.trim()}`);
  const [, done] = totals.slice(2).map(Number) as [number, number];
  const tally = new Tally();
  let rows = 0;
  for (const line of log.split("\n")) {
    if (line === "") continue;
    rows++;
    const [, status, microseconds] = line.split("\t");
    if (status === "200") tally.note({ type: "answered" }, Number(microseconds) / 1000);
    else tally.note(failed(`GET ${status}`), Number(microseconds) / 1000);
  }
  // Some failures are counted without a line.
  if (done > rows) tally.fail("GET without a response", true, done - rows);
  return tally.counts;
}

const failed = (reason: string) => ({ type: "failed", reason, retriable: true }) as const;

async function runGhz(
  program: string,
  { processes, folder, port, rate, seconds }: LoadOptions,
): Promise<Counts> {
  const proto = `${folder}/load.proto`;
  await Deno.writeTextFile(proto, LOAD_PROTO);
  const child = processes.spawn([
    program,
    "--insecure",
    ...["--proto", proto, "--call", "load.Load.Unary", "-d", "{}"],
    ...["-r", String(rate), "-c", String(CONCURRENCY), `--connections=${CONNECTIONS}`],
    ...["-z", `${seconds}s`, "--duration-stop=wait", "-O", "json"],
    `${HOSTNAME}:${port}`,
  ]);
  const { success } = await child.finished;
  const output = await Deno.readTextFile(child.log);
  if (!success) throw new ScriptError(`ghz failed: ${output.trim()}`);
  return readGhz(output);
}

/** What ghz says, as far as it is read. */
interface GhzResult {
  readonly count: number;
  readonly errorDistribution: Readonly<Record<string, number>>;
  readonly details: readonly { readonly latency: number; readonly status: string }[];
}

/**
 * Reads the JSON that ghz prints; durations are in nanoseconds.
 *
 * @throws {ScriptError} If it is none.
 */
export function readGhz(output: string): Counts {
  let result: GhzResult;
  try {
    result = JSON.parse(output);
  } catch {
    throw new ScriptError(`not a result of ghz: ${output.slice(0, 500).trim()}`);
  }
  const { count, errorDistribution = {}, details } = result;
  const tally = new Tally();
  let failures = 0;
  for (const [error, times] of Object.entries(errorDistribution)) {
    const [, code, message = error] = /code = (\w+) desc = (.*)$/s.exec(error) ?? [];
    tally.fail(`${code ?? "error"} ${JSON.stringify(message)}`, isUnsentCall(message), times);
    failures += times;
  }
  const { failures: list } = tally.counts;
  const latency = percentiles(details.map(({ latency }) => latency / 1e6));
  const retriable = sum(list.filter((one) => one.retriable).map((one) => one.count));
  return {
    requests: count,
    answered: count - failures,
    retriable,
    final: failures - retriable,
    failures: list,
    latency,
  };
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0);

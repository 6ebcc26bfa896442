/**
 * Restarts lb under load, again and again, and counts what is lost: nothing may be.
 *
 * One balancer for HTTP and gRPC serves requests at a constant rate: on connections that are kept, on a new one each,
 * and gRPC calls; wrk adds as much as it can where it is installed. SIGUSR2 to the process that serves makes it hand
 * over to a new one. None of the clients sends anything twice.
 *
 * ```sh
 * deno task restart
 * deno task restart --restarts 100 --rate 500
 * ```
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { parseWrk } from "./bench/load.ts";
import { type Child, endOnSignal, findProgram, Processes } from "./bench/process.ts";
import { Backend, Balancer } from "./load/fleet.ts";
import { GrpcLoadClient } from "./load/grpc_client.ts";
import { METHOD } from "./load/grpc_service.ts";
import { HttpClient, type HttpRequest } from "./load/http_client.ts";
import { keepPace } from "./load/pace.ts";
import { type Counts, Tally } from "./load/tally.ts";
import { parseWhole, refuseUnknown, runScript, ScriptError } from "./script.ts";

const USAGE = `Restarts lb under load and counts what is lost.

usage: deno task restart [options]

  --restarts N    how often (default: 20)
  --rate N        requests per second of each kind (default: 200)
  --interval MS   from one restart to the next at least (default: 1000)
  --no-wrk        without the load of wrk
  --help          show this text`;

const HOSTNAME = "127.0.0.1";
/** Connections that calls take turns on. */
const GRPC_CONNECTIONS = 4;
const WRK_CONNECTIONS = 4;
/** How long a restart may take until the process before is gone, in milliseconds. */
const RESTART_MS = 60_000;
const POLL_MS = 10;

/** What is made of the command line. */
export interface RestartOptions {
  readonly restarts: number;
  readonly rate: number;
  readonly interval: number;
  readonly wrk: boolean;
}

/**
 * Reads the command line; `undefined` when help is asked for.
 *
 * @throws {ScriptError} If it cannot be understood.
 */
export function parseRestartOptions(args: readonly string[]): RestartOptions | undefined {
  const { _: operands, ...values } = parseArgs([...args], {
    string: ["restarts", "rate", "interval"],
    boolean: ["help", "wrk"],
    negatable: ["wrk"],
    default: { wrk: true },
    unknown: refuseUnknown,
  });
  if (values["help"]) return undefined;
  if (operands.length > 0) refuseUnknown(String(operands[0]));
  const whole = (name: string, fallback: number, max: number) =>
    values[name] === undefined ? fallback : parseWhole(name, values[name], 1, max);
  return {
    restarts: whole("restarts", 20, 100_000),
    rate: whole("rate", 200, 100_000),
    interval: whole("interval", 1000, 600_000),
    wrk: values["wrk"] === true,
  };
}

/** One kind of load and what came of it. */
interface Load {
  readonly name: string;
  readonly counts: Promise<Counts>;
}

const REQUEST: HttpRequest = { method: "GET", path: "/restart", expected: "ok" };
/** It may not be sent twice, so no client and no proxy can hide that it was lost. */
const POST: HttpRequest = { ...REQUEST, method: "POST" };

function makeLoads(port: number, rate: number, signal: AbortSignal): Load[] {
  const where = { hostname: HOSTNAME, port };
  const run = async (
    begin: () => Promise<Parameters<Tally["note"]>[0]>,
    close: () => void | Promise<void>,
  ): Promise<Counts> => {
    const tally = new Tally();
    await keepPace({
      rate,
      signal,
      begin: async (due) => tally.note(await begin(), performance.now() - due),
    });
    await close();
    return tally.counts;
  };
  const kept = new HttpClient(where);
  const grpc = new GrpcLoadClient({ ...where, connections: GRPC_CONNECTIONS });
  return [
    {
      name: "POST, connections kept",
      counts: run(() => kept.request(POST), () => kept.close()),
    },
    {
      name: "GET, a new connection each",
      counts: run(async () => {
        const client = new HttpClient(where);
        const outcome = await client.request(REQUEST);
        client.close();
        return outcome;
      }, () => {}),
    },
    {
      name: "gRPC calls",
      counts: run(() => grpc.call(METHOD.unary), () => grpc.close()),
    },
  ];
}

function isAlive(pid: number): boolean {
  try {
    // A child that has ended but was not waited for has no more memory.
    return !/^State:\tZ/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false; // it is gone
  }
}

async function waitFor(what: string, done: () => boolean): Promise<void> {
  const deadline = performance.now() + RESTART_MS;
  while (!done()) {
    if (performance.now() > deadline) {
      throw new ScriptError(`${what} did not happen in ${RESTART_MS} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Hands over once; the milliseconds until another process serves, and until the one before is gone. */
async function restart(balancer: Balancer): Promise<{ serves: number; gone: number }> {
  const before = balancer.pid;
  const started = performance.now();
  await balancer.restart();
  const serves = performance.now() - started;
  await waitFor(`the end of process ${before}`, () => !isAlive(before));
  return { serves, gone: performance.now() - started };
}

function startWrk(processes: Processes, port: number): Child | undefined {
  const program = findProgram("wrk");
  if (program === undefined) return undefined;
  // It is interrupted at the end, and prints what it has by then.
  const args = ["-t1", `-c${WRK_CONNECTIONS}`, "-d24h", "--latency"];
  return processes.spawn([program, ...args, `http://${HOSTNAME}:${port}${REQUEST.path}`]);
}

async function stopWrk(child: Child): Promise<void> {
  Deno.kill(child.pid, "SIGINT");
  await child.finished;
}

function describe(
  name: string,
  requests: number,
  failed: number,
  p50: number,
  p99: number,
): string {
  return [
    name.padEnd(28),
    String(requests).padStart(10),
    String(failed).padStart(8),
    p50.toFixed(2).padStart(10),
    p99.toFixed(2).padStart(10),
  ].join("");
}

/**
 * Runs the restarts and prints what came of all requests.
 *
 * @returns How many failed.
 */
export async function run(
  { restarts, rate, interval, wrk }: RestartOptions,
  processes: Processes,
  folder: string,
): Promise<number> {
  const backends = await Promise.all(["one", "two"].map((name) => Backend.start(processes, name)));
  const balancer = await Balancer.start(processes, {
    command: "mux",
    args: backends.flatMap(({ httpPort, grpcPort }) => [
      ...["--http-backend", `${HOSTNAME}:${httpPort}`],
      ...["--grpc-backend", `${HOSTNAME}:${grpcPort}`],
    ]),
    folder,
  });
  await waitFor("the file with the process id", () => isThere(() => balancer.pid));
  const stop = new AbortController();
  const loads = makeLoads(balancer.port, rate, stop.signal);
  const outside = wrk ? startWrk(processes, balancer.port) : undefined;
  const times: { serves: number; gone: number }[] = [];
  try {
    for (let i = 0; i < restarts; i++) {
      await new Promise((resolve) => setTimeout(resolve, interval));
      times.push(await restart(balancer));
    }
    await new Promise((resolve) => setTimeout(resolve, interval));
  } finally {
    stop.abort();
    await Promise.all(loads.map(({ counts }) => counts));
    if (outside !== undefined) await stopWrk(outside);
    await balancer.stop();
  }
  const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!.toFixed(0);
  console.log(
    `${restarts} restarts; until the new process serves ${
      median(times.map(({ serves }) => serves))
    } ms, ` +
      `until the old one is gone ${median(times.map(({ gone }) => gone))} ms (medians)\n`,
  );
  console.log(
    `${"".padEnd(28)}${"requests".padStart(10)}${"failed".padStart(8)}    P50 MS    P99 MS`,
  );
  let lost = 0;
  for (const { name, counts } of loads) {
    const { requests, answered, failures, latency } = await counts;
    lost += requests - answered;
    console.log(describe(name, requests, requests - answered, latency.p50, latency.p99));
    for (const { reason, count } of failures) console.log(`  ${count} times ${reason}`);
  }
  if (outside !== undefined) {
    const { requests, errors, p50Ms, p99Ms } = parseWrk(await Deno.readTextFile(outside.log));
    lost += errors;
    console.log(describe("wrk, connections kept", requests, errors, p50Ms, p99Ms));
  }
  if (balancer.log !== "") console.log(`\nlb printed:\n${balancer.log}`);
  return lost;
}

function isThere(pid: () => number): boolean {
  try {
    return pid() > 0;
  } catch {
    return false; // not written yet
  }
}

async function main(): Promise<void> {
  const options = parseRestartOptions(Deno.args);
  if (options === undefined) return console.log(USAGE);
  if (Deno.build.os !== "linux") {
    throw new ScriptError(`sockets are handed over on Linux only, and this is ${Deno.build.os}`);
  }
  const folder = await Deno.makeTempDir({ prefix: "lb-restart-" });
  const processes = new Processes(folder);
  const cleanUp = async () => {
    await processes.stopAll();
    await Deno.remove(folder, { recursive: true });
  };
  const signalled = endOnSignal(cleanUp);
  let lost: number;
  try {
    lost = await run(options, processes, folder);
  } finally {
    await signalled();
    await cleanUp();
  }
  if (lost > 0) throw new ScriptError(`${lost} requests failed`);
}

if (import.meta.main) await runScript("restart", main);

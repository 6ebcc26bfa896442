/**
 * Backends and balancers as processes of their own, that can be killed and brought back.
 *
 * @module
 */
import {
  type Child,
  findProgram,
  freePort,
  type Processes,
  waitForPort,
} from "../bench/process.ts";
import { PROJECT_ROOT } from "../module_graph.ts";
import { isFile, ScriptError } from "../script.ts";

/** How long a restart may take, in milliseconds. */
const RESTART_MS = 30_000;
/** How long a balancer has to end, in milliseconds. */
const STOP_MS = 10_000;
/** Milliseconds between two looks. */
const POLL_MS = 20;

/** A backend with a port for each protocol. */
export class Backend {
  readonly #processes: Processes;
  readonly #name: string;
  readonly #faulty: boolean;
  #child: Child | undefined;
  readonly httpPort: number = freePort();
  readonly grpcPort: number = freePort();
  /** Where HTTP goes wrong as the path says. */
  readonly faultPort: number = freePort();

  private constructor(processes: Processes, name: string, faulty: boolean) {
    this.#processes = processes;
    this.#name = name;
    this.#faulty = faulty;
  }

  /** Starts one, with the port for faults if it is to have that. */
  static async start(processes: Processes, name: string, faulty = false): Promise<Backend> {
    const backend = new Backend(processes, name, faulty);
    await backend.start();
    return backend;
  }

  /** Whether it runs. */
  get alive(): boolean {
    return this.#child !== undefined && !this.#child.ended;
  }

  /** Starts it (again), on the same ports. */
  async start(): Promise<void> {
    const child = this.#child = this.#processes.spawn([
      Deno.execPath(),
      "run",
      "--no-lock",
      "--no-check",
      "-A",
      `${PROJECT_ROOT}/scripts/load/backend.ts`,
      ...["--http", String(this.httpPort), "--grpc", String(this.grpcPort)],
      ...this.#faulty ? ["--faults", String(this.faultPort)] : [],
    ]);
    await waitForPort(this.grpcPort, `backend ${this.#name}`, child);
    await waitForPort(this.httpPort, `backend ${this.#name}`, child);
  }

  /** Kills it with SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.ended) return;
    Deno.kill(child.pid, "SIGKILL");
    await child.finished;
  }
}

/** Samples of `/metrics` by name and labels, as text. */
export type Metrics = ReadonlyMap<string, number>;

/** Sums the samples of one metric. */
export function sumOf(metrics: Metrics, name: string): number {
  let sum = 0;
  for (const [sample, value] of metrics) {
    if (sample === name || sample.startsWith(`${name}{`)) sum += value;
  }
  return sum;
}

/** Parses the text format of Prometheus, as far as counting needs it. */
export function parseMetrics(text: string): Metrics {
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [, name, value] = /^([a-z_]\w*(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
    if (name !== undefined) samples.set(name, Number(value));
  }
  return samples;
}

/** How a balancer is started. */
export interface BalancerOptions {
  /** The command, such as `http-l7`. */
  readonly command: string;
  /** Further arguments. */
  readonly args: readonly string[];
  /** A module that is loaded before the program. */
  readonly preload?: string;
  readonly env?: Record<string, string>;
  /** A folder for its files. */
  readonly folder: string;
}

/** The balancer as its users start it. */
export class Balancer {
  readonly #options: BalancerOptions;
  #child!: Child;
  readonly port: number = freePort();
  readonly adminPort: number = freePort();

  private constructor(options: BalancerOptions) {
    this.#options = options;
  }

  /** Starts one and waits until it listens. */
  static async start(processes: Processes, options: BalancerOptions): Promise<Balancer> {
    const balancer = new Balancer(options);
    const { command, args, preload, env = {} } = options;
    const child = balancer.#child = processes.spawn([
      Deno.execPath(),
      "run",
      "--no-lock",
      "--no-check",
      "-A",
      ...preload === undefined ? [] : ["--preload", preload],
      `${PROJECT_ROOT}/main.ts`,
      command,
      ...["--listen", `127.0.0.1:${balancer.port}`, "--admin", `127.0.0.1:${balancer.adminPort}`],
      ...["--log-level", "warning", "--pid-file", balancer.#pidFile],
      ...args,
    ], { env });
    await waitForPort(balancer.port, command, child);
    return balancer;
  }

  get #pidFile(): string {
    return `${this.#options.folder}/${this.name}.pid`;
  }

  /** Its command. */
  get name(): string {
    return this.#options.command;
  }

  /** The id of the process that serves: another one after each restart. */
  get pid(): number {
    return Number(Deno.readTextFileSync(this.#pidFile));
  }

  /**
   * Lets a new process take over (SIGUSR2) and waits until it serves; the old one ends when it has nothing left.
   *
   * @throws {ScriptError} If none takes over in time.
   */
  async restart(): Promise<void> {
    const before = this.pid;
    Deno.kill(before, "SIGUSR2");
    const deadline = performance.now() + RESTART_MS;
    while (this.pid === before) {
      if (performance.now() > deadline) {
        throw new ScriptError(`${this.name} did not hand over:\n${this.log}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Ends it, whichever process serves now. */
  async stop(): Promise<void> {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      let pid: number;
      try {
        pid = this.pid;
        Deno.kill(pid, signal);
      } catch {
        return; // the file goes with the process
      }
      const deadline = performance.now() + STOP_MS;
      while (isFile(`/proc/${pid}/status`) && performance.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    }
  }

  /** What it has printed. */
  get log(): string {
    return Deno.readTextFileSync(this.#child.log);
  }

  /** Reads `/metrics`. */
  async metrics(): Promise<Metrics> {
    const response = await fetch(`http://127.0.0.1:${this.adminPort}/metrics`);
    return parseMetrics(await response.text());
  }
}

/** The path of a program of others, in the cache of this project or on the PATH. */
export function findOutsideProgram(name: string): string | undefined {
  const cached = `${PROJECT_ROOT}/.cache/bin/${name}`;
  return isFile(cached) ? cached : findProgram(name);
}

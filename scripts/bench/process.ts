/**
 * Child processes of the benchmarks: pinned to a CPU, measured through `/proc`, ended by pid.
 *
 * @module
 */
import { isFile, readable, ScriptError } from "../script.ts";

/** Milliseconds that a server has to open its port. */
const START_TIMEOUT_MS = 20_000;
/** Milliseconds between two attempts to reach a port. */
const PORT_POLL_MS = 25;
/** Milliseconds that a process has to end after SIGTERM. */
const STOP_TIMEOUT_MS = 5_000;
/** Clock ticks in a second, the unit of `/proc/PID/stat`; the kernel's interface fixes it. */
const TICKS_PER_SECOND = 100;

/** How a child is started. */
export interface SpawnOptions {
  /** The CPU that the child may run on, counted from 0; any unless given. Not pinned where the system cannot. */
  cpu?: number;
  /** Variables added to the environment. */
  env?: Record<string, string>;
}

/** A running child. */
export interface Child {
  pid: number;
  /** File with all that the child printed. */
  log: string;
  /** Becomes true when the process has ended, whoever ended it. */
  ended: boolean;
  /** Resolves when the process has ended. */
  finished: Promise<Deno.CommandStatus>;
  /** Ends the process: SIGTERM, then SIGKILL if it does not follow. */
  stop(): Promise<void>;
}

/** Starts children and ends every one of them. */
export class Processes {
  readonly #folder: string;
  readonly #children: Child[] = [];
  readonly #canPin: boolean;

  /** @param folder Where the logs of the children go. */
  constructor(folder: string) {
    this.#folder = folder;
    this.#canPin = findProgram("taskset") !== undefined && navigator.hardwareConcurrency > 1;
  }

  /** Whether children stay on the CPU that they are given. */
  get canPin(): boolean {
    return this.#canPin;
  }

  /** The command line that keeps a program on one CPU. */
  pin(cpu: number | undefined, command: readonly string[]): string[] {
    return this.#canPin && cpu !== undefined
      ? ["taskset", "-c", String(cpu), ...command]
      : [...command];
  }

  /** Starts a program with its output in a log file. */
  spawn(command: readonly string[], { cpu, env = {} }: SpawnOptions = {}): Child {
    const log = `${this.#folder}/${this.#children.length}.log`;
    const [program, ...args] = this.pin(cpu, [
      // exec keeps the pid, and a file takes the output without a reader in this process
      ...["sh", "-c", 'log=$0; exec "$@" >"$log" 2>&1', log],
      ...command,
    ]);
    const process = new Deno.Command(program!, {
      args,
      env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const child: Child = {
      pid: process.pid,
      log,
      ended: false,
      finished: process.status,
      stop: () => stop(process, child),
    };
    process.status.then(() => child.ended = true);
    this.#children.push(child);
    return child;
  }

  /** Ends every child that still runs. */
  async stopAll(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.stop()));
  }
}

async function stop(process: Deno.ChildProcess, child: Child): Promise<void> {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    if (child.ended) return;
    try {
      process.kill(signal);
    } catch {
      return; // it ended between the look and the signal
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise((resolve) => timer = setTimeout(resolve, STOP_TIMEOUT_MS));
    await Promise.race([process.status, timeout]);
    clearTimeout(timer);
  }
}

/**
 * Ends this script in an orderly way when the user interrupts it.
 *
 * @param cleanUp Called once, before the script ends with code 130.
 * @returns Takes the handlers away; once a signal has come it waits for the end of the script, so that
 * failures which the signal caused are not reported.
 */
export function endOnSignal(cleanUp: () => Promise<void>): () => Promise<void> {
  let ending: Promise<void> | undefined;
  const end = (): void => {
    ending ??= cleanUp().finally(() => Deno.exit(130));
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, end);
  return async () => {
    for (const signal of signals) Deno.removeSignalListener(signal, end);
    await ending;
  };
}

/** Folders of servers that the PATH of ordinary users often leaves out. */
const SERVER_FOLDERS = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/** The full path of a program on the PATH or in a folder of servers. */
export function findProgram(program: string): string | undefined {
  for (const folder of [...(Deno.env.get("PATH") ?? "").split(":"), ...SERVER_FOLDERS]) {
    const path = `${folder}/${program}`;
    if (isFile(path)) return path;
  }
  return undefined;
}

/** The least port that is looked for. */
const FIRST_PORT = 10_000;
/** Where the ports begin that the system gives to clients, unless it says so itself (RFC 6335, section 6). */
const FIRST_DYNAMIC_PORT = 49_152;
/** The ports that were given out here. */
const given = new Set<number>();

/** Where the ports begin that the system gives to clients and to listeners on port 0. */
function firstDynamicPort(): number {
  try {
    return Number.parseInt(Deno.readTextFileSync("/proc/sys/net/ipv4/ip_local_port_range"));
  } catch {
    // Only Linux has this file.
    return FIRST_DYNAMIC_PORT;
  }
}

/**
 * A TCP port on loopback that is free and stays so: no client gets it by chance, not even while its server is away.
 */
export function freePort(): number {
  const count = Math.max(firstDynamicPort() - FIRST_PORT, 1000);
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * count);
    if (given.has(port)) continue;
    given.add(port);
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

/**
 * Waits until a child listens on a port of loopback.
 *
 * @throws {ScriptError} If it ends first or takes longer than 20 s, with what it printed.
 */
export async function waitForPort(port: number, name: string, child: Child): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline && !child.ended) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, PORT_POLL_MS)); // not open yet
    }
  }
  const output = readable(await Deno.readFile(child.log));
  throw new ScriptError(`${name} did not open port ${port}. It printed:\n${output.slice(-2000)}`);
}

/** A process and all its descendants. */
function processTree(pid: number): number[] {
  const tree = [pid];
  try {
    for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
      const children = Deno.readTextFileSync(`/proc/${pid}/task/${name}/children`).trim();
      for (const child of children.split(" ")) if (child) tree.push(...processTree(Number(child)));
    }
  } catch {
    return tree; // it ended while being looked at, or the system has no /proc
  }
  return tree;
}

/** Text of a file below `/proc`, empty if the process is gone or the system has no `/proc`. */
function readProc(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

/** CPU seconds that a process and its descendants have used so far; NaN without `/proc`. */
export function cpuSeconds(pid: number): number {
  let ticks = NaN;
  for (const process of processTree(pid)) {
    const used = parseCpuTicks(readProc(`/proc/${process}/stat`));
    if (!Number.isNaN(used)) ticks = (Number.isNaN(ticks) ? 0 : ticks) + used;
  }
  return ticks / TICKS_PER_SECOND;
}

/**
 * User and system time in clock ticks, fields 14 and 15 of `/proc/PID/stat` (proc(5)). The second
 * field is a name in brackets and may hold anything, so fields are counted from the last bracket.
 */
export function parseCpuTicks(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

/** Resident memory in bytes of a process and its descendants; NaN without `/proc`. */
export function residentBytes(pid: number): number {
  let bytes = NaN;
  for (const process of processTree(pid)) {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readProc(`/proc/${process}/status`))?.[1];
    if (kib !== undefined) bytes = (Number.isNaN(bytes) ? 0 : bytes) + Number(kib) * 1024;
  }
  return bytes;
}

/**
 * Measures how much memory lb keeps for an idle keep-alive connection.
 *
 * Opens many connections to `http-l7`, sends one request on each, lets them rest and compares the
 * resident memory of lb with that before. A request on every tenth shows that they are alive.
 *
 * ```sh
 * deno task bench:idle
 * deno task bench:idle --connections 2000
 * ```
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import {
  type Child,
  endOnSignal,
  freePort,
  Processes,
  residentBytes,
  waitForPort,
} from "./bench/process.ts";
import { PROJECT_ROOT } from "./module_graph.ts";
import {
  mebibytes,
  parseWhole,
  readable,
  refuseUnknown,
  runScript,
  ScriptError,
  splitCommand,
} from "./script.ts";

const USAGE = `Measures how much memory lb keeps for an idle keep-alive connection.

usage: deno task bench:idle [options]

  --connections N    connections to open (default: 10000, or what the limit of open files allows)
  --settle SECONDS   rest before the memory is read (default: 3)
  --lb CMD           the command that starts lb (default: this checkout with this Deno)
  --json FILE        also write the result as JSON
  --help             show this text`;

const DEFAULT_CONNECTIONS = 10_000;
/** Descriptors that lb and this script need besides one for each connection. */
const OTHER_DESCRIPTORS = 512;
/** Connections that are opened, or asked, at the same time. */
const AT_ONCE = 64;
/** Requests on each of the first connections, before anything is measured: code and pools get warm. */
const WARM_UP_REQUESTS = 50;
/** Every how-manieth connection is asked again after the rest. */
const SAMPLE_STEP = 10;

const BODY = "ok\n";
const REQUEST = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: idle.test\r\n\r\n");

/** The backend: `Deno.serve` in a process of its own. */
const BACKEND = `const port = Number(Deno.args[0]);
Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, () => new Response(${
  JSON.stringify(BODY)
}));`;

/** The limit of open files of this process and its children, which Deno raises to the hard limit. */
async function openFilesLimit(): Promise<number> {
  const { stdout } = await new Deno.Command("sh", { args: ["-c", "ulimit -Hn"] }).output();
  const text = new TextDecoder().decode(stdout).trim();
  return text === "unlimited" ? Infinity : Number(text);
}

/**
 * How many connections are opened.
 *
 * @param asked Connections that the user wants, if they said so.
 * @param limit Open files that a process may have.
 * @throws {ScriptError} If the limit does not allow what was asked.
 */
export function chooseConnections(asked: number | undefined, limit: number): number {
  const possible = limit - OTHER_DESCRIPTORS;
  if (asked !== undefined && asked > possible) {
    throw new ScriptError(
      `${asked} connections need a limit of ${
        asked + OTHER_DESCRIPTORS
      } open files; it is ${limit}. ` +
        `Raise it with 'ulimit -n', or ask for at most ${Math.max(possible, 0)}.`,
    );
  }
  if (possible < 1) {
    throw new ScriptError(`a limit of ${limit} open files is too low; raise it with 'ulimit -n'`);
  }
  return asked ?? Math.min(DEFAULT_CONNECTIONS, possible);
}

/** Sends one request and reads the response to its end; false if it is not the expected one. */
async function ask(connection: Deno.Conn): Promise<boolean> {
  let sent = 0;
  while (sent < REQUEST.length) sent += await connection.write(REQUEST.subarray(sent));
  const buffer = new Uint8Array(2048);
  const decoder = new TextDecoder();
  let text = "";
  while (!text.endsWith(`\r\n\r\n${BODY}`)) {
    const count = await connection.read(buffer);
    if (count === null) return false;
    text += decoder.decode(buffer.subarray(0, count));
  }
  return text.startsWith("HTTP/1.1 200 ");
}

/** Does the work of every index below a count, a few at a time; counts those that succeed. */
async function countSuccesses(
  count: number,
  work: (index: number) => Promise<boolean>,
): Promise<number> {
  let next = 0;
  let successes = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      try {
        if (await work(next++)) successes++;
      } catch {
        continue; // refused or cut: not a success, and the caller reports the number
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return successes;
}

const rest = (seconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** What was measured. */
interface Result {
  connections: number;
  /** Connections whose first request was answered. */
  answered: number;
  /** Connections that were asked again, and those of them that answered. */
  sampled: number;
  alive: number;
  beforeBytes: number;
  afterBytes: number;
  bytesPerConnection: number;
}

interface RunOptions {
  connections: number;
  /** Seconds of rest before the memory is read. */
  settle: number;
  /** The command that starts lb. */
  lb: readonly string[];
  /** An empty folder. */
  folder: string;
}

async function run(
  processes: Processes,
  { connections, settle, lb, folder }: RunOptions,
): Promise<Result> {
  const [backendPort, port] = [freePort(), freePort()];
  const script = `${folder}/backend.ts`;
  await Deno.writeTextFile(script, BACKEND);
  const backend = processes.spawn(
    [Deno.execPath(), "run", "--no-config", "--allow-net", script, String(backendPort)],
    { cpu: 1 },
  );
  await waitForPort(backendPort, "the backend", backend);
  const child: Child = processes.spawn(
    [
      ...lb,
      "http-l7",
      "--listen",
      `127.0.0.1:${port}`,
      "--backend",
      `http://127.0.0.1:${backendPort}`,
    ],
    { cpu: 0 },
  );
  await waitForPort(port, "lb", child);

  const open: Deno.Conn[] = [];
  const connect = async (): Promise<Deno.Conn> => {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    open.push(connection);
    return connection;
  };
  try {
    const warm = await countSuccesses(AT_ONCE, async () => {
      const connection = await connect();
      for (let i = 0; i < WARM_UP_REQUESTS; i++) if (!await ask(connection)) return false;
      return true;
    });
    if (warm < AT_ONCE) throw new ScriptError("lb does not answer with what the backend sends");
    for (const connection of open.splice(0)) connection.close();
    await rest(settle);
    const beforeBytes = residentBytes(child.pid);

    const answered = await countSuccesses(connections, async () => ask(await connect()));
    await rest(settle);
    if (child.ended) {
      const output = readable(await Deno.readFile(child.log)).slice(-2000);
      throw new ScriptError(`lb ended with ${answered} of ${connections} connections:\n${output}`);
    }
    const afterBytes = residentBytes(child.pid);

    const sample = open.filter((_, index) => index % SAMPLE_STEP === 0);
    const alive = await countSuccesses(sample.length, (index) => ask(sample[index]!));
    return {
      connections,
      answered,
      sampled: sample.length,
      alive,
      beforeBytes,
      afterBytes,
      bytesPerConnection: (afterBytes - beforeBytes) / connections,
    };
  } finally {
    for (const connection of open) connection.close();
  }
}

async function main(): Promise<void> {
  const args = parseArgs(Deno.args, {
    boolean: ["help"],
    string: ["connections", "settle", "lb", "json"],
    default: { settle: "3" },
    unknown: refuseUnknown,
  });
  if (args.help) return console.log(USAGE);
  if (Deno.build.os !== "linux") throw new ScriptError("needs /proc, which only Linux has");
  const asked = args.connections === undefined
    ? undefined
    : parseWhole("connections", args.connections, 1, 1_000_000);
  const limit = await openFilesLimit();
  const connections = chooseConnections(asked, limit);
  if (asked === undefined && connections < DEFAULT_CONNECTIONS) {
    console.log(`the limit of ${limit} open files allows ${connections} connections`);
  }
  const settle = parseWhole("settle", args.settle, 0, 600);
  const lb = args.lb === undefined
    ? [Deno.execPath(), "run", "-A", `${PROJECT_ROOT}/main.ts`]
    : splitCommand(String(args.lb));

  const folder = await Deno.makeTempDir({ prefix: "lb-idle-" });
  const processes = new Processes(folder);
  let cleaning: Promise<void> | undefined;
  const cleanUp = (): Promise<void> =>
    cleaning ??= processes.stopAll().then(() => Deno.remove(folder, { recursive: true }));
  const release = endOnSignal(cleanUp);
  try {
    const result = await run(processes, { connections, settle, lb, folder });
    const { beforeBytes, afterBytes, bytesPerConnection, answered, sampled, alive } = result;
    console.log(`memory before           ${mebibytes(beforeBytes)}`);
    console.log(`memory with idle        ${mebibytes(afterBytes)}`);
    console.log(`per idle connection     ${(bytesPerConnection / 1024).toFixed(2)} KiB`);
    console.log(`answered at first       ${answered} of ${connections}`);
    console.log(`answered after the rest ${alive} of ${sampled} asked again`);
    if (args.json !== undefined) {
      await Deno.writeTextFile(String(args.json), JSON.stringify(result, null, 2) + "\n");
    }
    if (answered < connections || alive < sampled) {
      throw new ScriptError(
        `${connections - answered} connections got no answer at first and ${
          sampled - alive
        } none later, ` +
          `so the memory above is not that of ${connections}; does lb allow as many?`,
      );
    }
  } finally {
    await cleanUp();
    await release();
  }
}

if (import.meta.main) await runScript("bench:idle", main);

/**
 * gRPC servers and clients of others, and balancers between them, each in a process of its own.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { ChildProgram, type Ended, Program } from "./program.ts";

/** How long a client may take for all that it is asked for, in milliseconds. */
const CLIENT_MS = 60_000;

function start(
  program: string,
  args: readonly string[],
  env: Record<string, string> = {},
): ChildProgram {
  return new ChildProgram(
    new Deno.Command(program, {
      args: [...args],
      env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }),
  );
}

/** Starts a client that goes on while the test does something else. */
export function startClient(program: string, args: readonly string[]): ChildProgram {
  return start(program, args);
}

/** Runs a client to its end. */
export async function runClient(program: string, args: readonly string[]): Promise<Ended> {
  await using client = start(program, args);
  return await client.ended(CLIENT_MS);
}

/** Runs a client that prints one JSON value, and gives it; it must end well. */
// deno-lint-ignore no-explicit-any
export async function runForJson(program: string, args: readonly string[]): Promise<any> {
  await using client = start(program, args);
  return await outcomeOf(client);
}

/** The last line that a client printed, which is what came of it; it must end well. */
// deno-lint-ignore no-explicit-any
export async function outcomeOf(client: ChildProgram): Promise<any> {
  const { code, stdout, stderr } = await client.ended(CLIENT_MS);
  assertEquals(code, 0, stderr);
  return JSON.parse(stdout.trimEnd().split("\n").at(-1)!);
}

/** A running server and where it listens. */
export class Listening implements AsyncDisposable {
  /** The server. */
  readonly program: ChildProgram;
  /** `127.0.0.1:port` */
  readonly addr: string;

  /** Takes over a program that listens. */
  constructor(program: ChildProgram, addr: string) {
    this.program = program;
    this.addr = addr;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]();
  }
}

/** Options of `tests/support/go/grpc_backend`. */
export interface BackendOptions {
  /** What its answers call it. */
  readonly name?: string;
  /** Where it listens, if not on a free port. */
  readonly addr?: string;
  /** Streams of a connection at a time. */
  readonly maxStreams?: number;
  /** After which a connection gets GOAWAY, in milliseconds. */
  readonly maxConnectionAge?: number;
}

async function listening(program: ChildProgram, find: () => Promise<string>): Promise<Listening> {
  try {
    return new Listening(program, await find());
  } catch (error) {
    await program[Symbol.asyncDispose]();
    throw error;
  }
}

/** Starts a server of the project's own, made with grpc-go. */
export function startBackend(program: string, options: BackendOptions = {}): Promise<Listening> {
  const { name, addr, maxStreams, maxConnectionAge } = options;
  const backend = start(program, [
    ...(name === undefined ? [] : ["-name", name]),
    ...(addr === undefined ? [] : ["-addr", addr]),
    ...(maxStreams === undefined ? [] : ["-max-streams", String(maxStreams)]),
    ...(maxConnectionAge === undefined ? [] : ["-max-connection-age", `${maxConnectionAge}ms`]),
  ]);
  return listening(backend, () => backend.find(/"addr":"([^"]+)"/, "stdout"));
}

/** Starts the server of grpc-go's interop suite. */
export function startInteropServer(program: string): Promise<Listening> {
  const server = start(program, ["-port", "0"], { GRPC_GO_LOG_SEVERITY_LEVEL: "info" });
  return listening(
    server,
    async () => `127.0.0.1:${await server.find(/interop server listening on \S+:(\d+)/)}`,
  );
}

/** The balancer as a program. */
export class Balancer extends Listening {
  readonly #admin: string;

  private constructor(program: ChildProgram, addr: string, admin: string) {
    super(program, addr);
    this.#admin = admin;
  }

  /** Starts it. */
  static async start(
    kind: "grpc-l4" | "grpc-l7",
    backends: readonly Listening[],
    args: readonly string[] = [],
  ): Promise<Balancer> {
    const program = new Program([
      kind,
      ...["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
      ...backends.flatMap(({ addr }) => ["--backend", addr]),
      ...args,
    ]);
    try {
      const addr = await program.find(/: listening addr=(\S+)/);
      const admin = await program.find(/admin listener is open addr=(\S+)/);
      return new Balancer(program, addr, admin);
    } catch (error) {
      await program[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #get(path: string): Promise<string> {
    const response = await fetch(`http://${this.#admin}${path}`);
    const text = await response.text();
    assert(response.ok, text);
    return text;
  }

  /** The sum of those samples of a metric that have all of some labels. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    let sum = 0;
    for (const line of (await this.#get("/metrics")).split("\n")) {
      const [, all, value] = /^(\w+{.*}) (\S+)$/.exec(line) ?? [];
      if (!all?.startsWith(`${name}{`)) continue;
      if (wanted.every((label) => all.includes(label))) sum += Number(value);
    }
    return sum;
  }

  /** How many calls a backend has answered with OK. */
  async served({ addr }: Listening): Promise<number> {
    const { backends } = JSON.parse(await this.#get("/lb/backends"));
    for (const backend of backends) {
      if (backend.addr !== `grpc://${addr}`) continue;
      return await this.metric("lb_grpc_calls_total", {
        backend: backend.id,
        grpc_status: "OK",
      });
    }
    throw new Error(`${addr} is no backend`);
  }

  /** Ends it with SIGTERM, which it must obey in order. */
  async stop(): Promise<void> {
    const { code, stderr } = await this.program.stop();
    assertEquals(code, 0, stderr);
  }
}

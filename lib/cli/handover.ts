/**
 * Handing over to a new process of the same program: it inherits the listening sockets, which are never closed, so
 * no connection that is queued in them is lost.
 *
 * @module
 */
import { LinuxSockets } from "../common/linux_sockets.ts";
import { describeError } from "../common/errors.ts";
import type { RunTimeChanges } from "../control/run_time_changes.ts";
import { getLogger } from "../observe/logger.ts";
import {
  HANDOVER_VARIABLE,
  HandoverChannel,
  type HandoverState,
  READY,
} from "./handover_channel.ts";

/** How long the new process has to begin to serve, in milliseconds. */
const READY_MS = 60_000;
/** How long one that is not wanted has to end by itself, in milliseconds. */
const END_MS = 5_000;
/** Set by the portable file: what is to be started in its place. */
const PROGRAM_VARIABLE = "LB_PROGRAM";

const log = getLogger("cli");

/** Why a handover came to nothing. */
export class HandoverError extends Error {
  override readonly name = "HandoverError";
}

/** What is handed over. */
export interface HandoverParts {
  /** Gives a descriptor of each socket that the new process is to inherit. */
  share(): Iterable<number>;
  /** What the new process is told, of these descriptors. */
  state(fds: readonly number[]): HandoverState;
}

/** The process that serves now. */
export class Successor implements Disposable {
  /** Its id. */
  readonly pid: number;
  readonly #channel: HandoverChannel;

  /** Made by {@linkcode handOver}. */
  constructor(pid: number, channel: HandoverChannel) {
    this.pid = pid;
    this.#channel = channel;
  }

  /** Tells it of changes that were made here. */
  async tell(changes: RunTimeChanges): Promise<void> {
    try {
      await this.#channel.writeLine(JSON.stringify(changes));
    } catch (error) {
      log.warning("the new process could not be told of a change", { error: describeError(error) });
    }
  }

  /** Leaves it alone. */
  [Symbol.dispose](): void {
    this.#channel[Symbol.dispose]();
  }
}

/**
 * Starts the program anew and waits until it serves.
 *
 * @param signal Gives up.
 * @throws {HandoverError} When it does not; everything is as before then.
 * @throws {SocketError} When sockets cannot be passed on here.
 */
export async function handOver(parts: HandoverParts, signal: AbortSignal): Promise<Successor> {
  if (Deno.pid === 1) {
    throw new HandoverError("this is the first process of a container, which ends with it");
  }
  using sockets = new LinuxSockets();
  const folder = await Deno.makeTempDir({ prefix: "lb-" });
  const fds: number[] = [];
  // As late as can be: what is known of the backends is old when the new process begins to serve.
  const describe = () => JSON.stringify(parts.state(fds));
  try {
    const path = `${folder}/handover`;
    using listener = Deno.listen({ transport: "unix", path });
    const command = await findProgram(path);
    let child: Deno.ChildProcess;
    try {
      for (const fd of parts.share()) fds.push(fd);
      child = command.spawn();
    } finally {
      for (const fd of fds) sockets.close(fd);
    }
    return await startUp(child, listener, { describe, signal });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The same program with the same arguments. */
async function findProgram(path: string): Promise<Deno.Command> {
  const options = {
    env: { [HANDOVER_VARIABLE]: path },
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  } as const;
  const program = Deno.env.get(PROGRAM_VARIABLE);
  if (program !== undefined) return new Deno.Command(program, { ...options, args: Deno.args });
  const [, ...args] = (await Deno.readTextFile("/proc/self/cmdline")).split("\0").slice(0, -1);
  // A file that was replaced while it runs: its name leads to the new one.
  const self = Deno.execPath().replace(/ \(deleted\)$/, "");
  return new Deno.Command(self, { ...options, args });
}

async function startUp(
  child: Deno.ChildProcess,
  listener: Deno.Listener,
  { describe, signal }: { readonly describe: () => string; readonly signal: AbortSignal },
): Promise<Successor> {
  const failed = Promise.withResolvers<never>();
  const fail = (reason: string) => failed.reject(new HandoverError(reason));
  const timer = setTimeout(
    () => fail(`the new process did not serve within ${READY_MS} ms`),
    READY_MS,
  );
  const onAbort = () => fail("this process was told to end");
  signal.addEventListener("abort", onAbort);
  void child.status.then(({ code, signal }) =>
    fail(`the new process ended with ${signal ?? `code ${code}`}; it has said why`)
  );
  let channel: HandoverChannel | undefined;
  const meet = async (): Promise<HandoverChannel> => {
    channel = new HandoverChannel(await listener.accept());
    await channel.writeLine(describe());
    const said = await channel.readLine();
    if (said === READY) return channel;
    // Whoever ends without a word has its exit code to tell.
    if (said === undefined) return await failed.promise;
    throw new HandoverError(`the new process said ${JSON.stringify(said)}`);
  };
  const met = meet();
  try {
    const ready = await Promise.race([met, failed.promise]);
    child.unref();
    return new Successor(child.pid, ready);
  } catch (error) {
    // It fails when what it waits for is closed, and nobody waits for it any more.
    void met.catch(() => {});
    channel?.[Symbol.dispose]();
    await end(child);
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

/** It may serve already, so it is asked first. */
async function end(child: Deno.ChildProcess): Promise<void> {
  const kill = (signal: Deno.Signal) => {
    try {
      child.kill(signal);
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof TypeError)) throw error;
    }
  };
  kill("SIGTERM");
  const timer = setTimeout(() => kill("SIGKILL"), END_MS);
  await child.status;
  clearTimeout(timer);
}

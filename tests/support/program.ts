/**
 * The program as a child process.
 *
 * @module
 */
import { PROJECT_ROOT } from "../../scripts/module_graph.ts";

/** How long a program may take to do what is waited for, in milliseconds. */
const PATIENCE_MS = 20_000;

/** How a program ended and what it printed. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function makeCommand(
  args: readonly string[],
  env: Record<string, string>,
  script: string,
): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-lock", "-A", script, ...args],
    cwd: PROJECT_ROOT,
    env: { NO_COLOR: "1", LB_ADMIN_TOKEN: "", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

/** Runs the program to its end. */
export async function runProgram(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Ended> {
  const program = new Program(args, env);
  return await program.ended();
}

/** A program of whatever kind, running. */
export class ChildProgram implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #output = { stdout: "", stderr: "" };
  readonly #drained: Promise<unknown>;
  #over = false;
  #wake: (() => void) | undefined;

  /** Starts it; both of its outputs must be piped. */
  constructor(command: Deno.Command) {
    this.#child = command.spawn();
    this.#drained = Promise.all([this.#collect("stdout"), this.#collect("stderr")])
      .finally(() => {
        this.#over = true;
        this.#wake?.();
      });
  }

  async #collect(name: "stdout" | "stderr"): Promise<void> {
    for await (const text of this.#child[name].pipeThrough(new TextDecoderStream())) {
      this.#output[name] += text;
      this.#wake?.();
    }
  }

  /** Waits for the text that an expression matches in what is printed, and gives its first group. */
  async find(expression: RegExp, stream: "stdout" | "stderr" = "stderr"): Promise<string> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const found = expression.exec(this.#output[stream]);
      if (found !== null) return found[1] ?? found[0];
      if (this.#over || performance.now() > deadline) {
        throw new Error(`${expression} did not appear in:\n${this.#output[stream]}`);
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, 100);
      this.#wake = resolve;
      await promise;
      clearTimeout(timer);
    }
  }

  /** Sends a signal. */
  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits for its end; it is killed when it takes longer than `ms`. */
  async ended(ms: number = PATIENCE_MS): Promise<Ended> {
    const timer = setTimeout(() => this.signal("SIGKILL"), ms);
    const { code } = await this.#child.status;
    clearTimeout(timer);
    await this.#drained;
    return { code, ...this.#output };
  }

  /** Ends it with a signal, if it has not ended. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<Ended> {
    this.#end(signal);
    return await this.ended();
  }

  #end(signal: Deno.Signal): void {
    try {
      this.signal(signal);
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  /** Kills it if it still runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#over) this.#end("SIGKILL");
    await this.ended();
  }
}

/** The program, running. */
export class Program extends ChildProgram {
  /**
   * Starts it.
   *
   * @param script What is started instead of the program, for a test that needs one of its own.
   */
  constructor(
    args: readonly string[],
    env: Record<string, string> = {},
    script = "main.ts",
  ) {
    super(makeCommand(args, env, script));
  }
}

/**
 * The program as an operator sees it who restarts it: by the file with its process id, whichever process that is.
 *
 * @module
 */
import { Program } from "./program.ts";

/** How long a change of process may take, in milliseconds. */
const PATIENCE_MS = 30_000;

/** The program, and all that took its place. */
export class ServedProgram implements AsyncDisposable {
  /** What was started first; its output is that of all. */
  readonly first: Program;
  readonly #folder: string;

  private constructor(first: Program, folder: string) {
    this.first = first;
    this.#folder = folder;
  }

  /** Starts it and waits until it serves. */
  static async start(
    args: readonly string[],
    env: Record<string, string> = {},
  ): Promise<ServedProgram> {
    const folder = await Deno.makeTempDir();
    const served = new ServedProgram(
      new Program([...args, "--pid-file", `${folder}/pid`], env),
      folder,
    );
    await served.#until("the file with the process id", () => served.#read() > 0);
    return served;
  }

  #read(): number {
    try {
      return Number(Deno.readTextFileSync(`${this.#folder}/pid`));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return 0;
      throw error;
    }
  }

  /** The process that serves. */
  get pid(): number {
    return this.#read();
  }

  async #until(what: string, done: () => boolean): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!done()) {
      if (performance.now() > deadline) throw new Error(`${what}: not within ${PATIENCE_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Resolves when a process is gone. */
  gone(pid: number): Promise<void> {
    return this.#until(`the end of process ${pid}`, () => !isAlive(pid));
  }

  /** Lets it hand over; resolves when the process before is gone. */
  async restart(): Promise<void> {
    const { pid } = this;
    Deno.kill(pid, "SIGUSR2");
    await this.#until("a handover", () => this.#read() !== pid);
    await this.gone(pid);
  }

  /** Ends the process that serves. */
  async end(): Promise<void> {
    const { pid } = this;
    if (pid === 0 || !isAlive(pid)) return;
    Deno.kill(pid, "SIGTERM");
    await this.gone(pid);
  }

  /** Ends it, and whatever of it is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.end();
    } finally {
      await this.first[Symbol.asyncDispose]();
      await Deno.remove(this.#folder, { recursive: true });
    }
  }
}

/** Whether a process runs; one that has ended and was not waited for does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * What the process that ends and the one that takes its place tell each other, over a Unix socket in a folder that
 * only their user may enter: lines of JSON from the one that ends, and the word `ready` from the other one.
 *
 * The first line is a {@linkcode HandoverState}. What management still changes in the process that ends follows as
 * {@linkcode RunTimeChanges}, line by line, until it is gone.
 *
 * @module
 */
import type { RunTimeChanges } from "../control/run_time_changes.ts";
import type { HandedOver } from "./endpoints.ts";

/** Names the socket to the new process. */
export const HANDOVER_VARIABLE = "LB_HANDOVER";

/**
 * The form of {@linkcode HandoverState}; a process takes over from none that speaks another one. Fields that it does
 * not know it ignores, and all but the first three may be missing, so another one is needed only where these change.
 */
export const HANDOVER_FORMAT = 1;

/** The longest line that is taken, in UTF-16 code units; what 10,000 backends and routes need is a fifth of it. */
const MAX_LINE = 64 * 1024 * 1024;

/** What the new process says when it serves. */
export const READY = "ready";

/** What the process that ends passes on. */
export interface HandoverState {
  /** {@linkcode HANDOVER_FORMAT} */
  readonly format: number;
  /** The kind of balancer, for which the changes are. */
  readonly balancer: string;
  /** Its listening sockets. */
  readonly sockets: readonly HandedOver[];
  /** What management has changed. */
  readonly changes: RunTimeChanges;
  /** What is known of the backends; whoever reads it looks whether it is what it should be. */
  readonly knowledge?: unknown;
}

/**
 * Reads what another process passes on.
 *
 * @throws {Error} When it is not what it should be; the message says what.
 */
export function parseHandover(line: string): HandoverState {
  const state: unknown = JSON.parse(line);
  if (typeof state !== "object" || state === null) throw new Error("it is no JSON object");
  const { format, balancer, sockets, changes, knowledge } = state as Partial<HandoverState>;
  if (format !== HANDOVER_FORMAT) {
    throw new Error(
      `its form of passing on is ${format}, accepted is ${HANDOVER_FORMAT}: ` +
        "end it and start this one in the ordinary way",
    );
  }
  if (typeof balancer !== "string") throw new Error("it does not say what it balances");
  if (!Array.isArray(sockets) || !sockets.every(isSocket)) {
    throw new Error("it does not say which sockets it passes on");
  }
  return { format, balancer, sockets, changes: parseChanges(changes), knowledge };
}

/** What another process has changed; nothing where it says nothing. */
export function parseChanges(changes: unknown): RunTimeChanges {
  const { registries = [] } = (changes ?? {}) as Partial<RunTimeChanges>;
  if (!Array.isArray(registries)) throw new Error("its changes are no list");
  return {
    registries: registries.map((registry) => ({
      removedBackends: [],
      removedRoutes: [],
      routes: [],
      backends: [],
      ...registry,
    })),
  };
}

function isSocket({ role, key, fd, file }: Partial<HandedOver>): boolean {
  return (role === "listen" || role === "admin") && typeof key === "string" &&
    Number.isInteger(fd) && (file === undefined || typeof file === "string");
}

/** One end of the connection between both. */
export class HandoverChannel implements Disposable {
  readonly #conn: Deno.Conn;
  readonly #decoder = new TextDecoder();
  readonly #buffer = new Uint8Array(64 * 1024);
  #text = "";
  #written: Promise<void> = Promise.resolve();

  /** Takes a connection over. */
  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Writes a line, after all that was written before. */
  writeLine(text: string): Promise<void> {
    return this.#written = this.#written.then(() => this.#write(text));
  }

  async #write(text: string): Promise<void> {
    const bytes = new TextEncoder().encode(`${text}\n`);
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  /** Reads the next line; `undefined` when the other side has ended. */
  async readLine(): Promise<string | undefined> {
    const pieces: string[] = [];
    let length = 0;
    for (let text = this.#text;;) {
      const end = text.indexOf("\n");
      if (end >= 0) {
        this.#text = text.slice(end + 1);
        return pieces.join("") + text.slice(0, end);
      }
      pieces.push(text);
      length += text.length;
      if (length > MAX_LINE) throw new Error(`it has said more than ${MAX_LINE} characters`);
      const count = await this.#conn.read(this.#buffer);
      if (count === null) return undefined;
      text = this.#decoder.decode(this.#buffer.subarray(0, count), { stream: true });
    }
  }

  /** Closes the connection. */
  [Symbol.dispose](): void {
    this.#conn.close();
  }
}

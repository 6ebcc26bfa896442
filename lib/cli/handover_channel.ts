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

/** The form of {@linkcode HandoverState}; a process takes over from none that speaks another one. */
export const HANDOVER_FORMAT = 1;

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
    let end: number;
    while ((end = this.#text.indexOf("\n")) < 0) {
      const count = await this.#conn.read(this.#buffer);
      if (count === null) return undefined;
      this.#text += this.#decoder.decode(this.#buffer.subarray(0, count), { stream: true });
    }
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    return line;
  }

  /** Closes the connection. */
  [Symbol.dispose](): void {
    this.#conn.close();
  }
}

/**
 * A client that does nothing wrong, beside those that do.
 *
 * @module
 */
import { RawClient } from "./raw_http.ts";
import { statusOf } from "./raw_message.ts";

/** Milliseconds between an answer and the next request. */
const PAUSE_MS = 3;

/**
 * Asks for one path after another on one connection, until it is stopped, and wants each answer to name
 * the request line that it was asked with.
 */
export class SteadyClient {
  readonly #client: RawClient;
  readonly #prefix: string;
  readonly #run: Promise<void>;
  #stopped = false;
  /** Requests that were answered as they should be. */
  answered = 0;
  /** What went wrong. */
  readonly errors: string[] = [];

  private constructor(client: RawClient, prefix: string) {
    this.#client = client;
    this.#prefix = prefix;
    this.#run = this.#ask();
  }

  /** Begins to ask the listener on a port of loopback; each path begins with `prefix`. */
  static async start(port: number, prefix: string): Promise<SteadyClient> {
    return new SteadyClient(await RawClient.connect(port), prefix);
  }

  async #ask(): Promise<void> {
    for (let count = 1; !this.#stopped && this.errors.length === 0; count++) {
      const line = `GET ${this.#prefix}${count} HTTP/1.1`;
      try {
        await this.#client.send(`${line}\r\nHost: steady\r\n\r\n`);
        const response = await this.#client.response();
        if (statusOf(response) !== 200 || response.body !== line) {
          this.errors.push(`${line}: ${response.startLine}, ${JSON.stringify(response.body)}`);
        } else this.answered++;
      } catch (error) {
        this.errors.push(`${line}: ${error}`);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  /** Ends after the answer that is due. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#run;
    await this.#client.close();
  }
}

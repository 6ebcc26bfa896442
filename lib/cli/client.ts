/**
 * Calls the management API of a running balancer.
 *
 * @module
 */

import { describeError } from "../common/errors.ts";
import { CommandError } from "./command.ts";
import { flag, inSection, one, type Values } from "./options.ts";
import { TOKEN_VARIABLE } from "./server_options.ts";
import { readToken } from "./server_values.ts";
import { parseDuration } from "./values.ts";

const DEFAULT_SERVER = "http://localhost:8080";
const DEFAULT_TIMEOUT = 10_000;

/** The options of every command that talks to a running balancer. */
export const clientOptions = inSection("Balancer", {
  server: one(
    "URL",
    `where the balancer, or its admin listener, is (default ${DEFAULT_SERVER})`,
    parseServer,
  ),
  "admin-token-file": one(
    "FILE",
    `a file with the token to call with (or the variable ${TOKEN_VARIABLE})`,
    (text) => text,
  ),
  timeout: one(
    "TIME",
    "how long a call may take, e.g. 500ms or 10s (default 10s)",
    (text) => parseDuration(text),
  ),
  json: flag("print the answers as JSON"),
});

/** The values of {@linkcode clientOptions}. */
export type ClientValues = Values<typeof clientOptions>;

function parseServer(text: string): string {
  const url = URL.parse(text);
  if (
    url === null || !/^https?:$/.test(url.protocol) || url.pathname !== "/" || url.search !== "" ||
    url.username !== ""
  ) {
    throw new TypeError(
      `${JSON.stringify(text)} is not accepted; accepted is a URL such as ${DEFAULT_SERVER}`,
    );
  }
  return url.origin;
}

/** A running balancer. */
export class ManagementClient implements Disposable {
  readonly #server: string;
  readonly #token: string | undefined;
  readonly #timeout: number;
  readonly #http = Deno.createHttpClient({});

  /** Connects when something is asked. */
  constructor(values: ClientValues) {
    this.#server = values.server ?? DEFAULT_SERVER;
    this.#token = readToken(values["admin-token-file"]);
    this.#timeout = values.timeout ?? DEFAULT_TIMEOUT;
  }

  /**
   * Calls the API.
   *
   * @param path The path with `/lb/` in front, encoded.
   * @param body Sent as JSON unless it is `undefined`.
   * @returns The answer's JSON.
   * @throws {CommandError} when the balancer cannot be reached, or refuses.
   */
  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const url = this.#server + path;
    let response: Response;
    let text: string;
    try {
      response = await fetch(url, {
        method,
        client: this.#http,
        signal: AbortSignal.timeout(this.#timeout),
        redirect: "manual",
        headers: {
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
          ...(this.#token === undefined ? {} : { Authorization: `Bearer ${this.#token}` }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      text = await response.text();
    } catch (error) {
      throw new CommandError(
        `no answer from ${this.#server} (${describeError(error)}); is a balancer running there? ` +
          "--server says where",
        { cause: error },
      );
    }
    const value = parseAnswer(text);
    if (response.ok && value !== undefined) return value as T;
    throw new CommandError(describeRefusal(url, response, value));
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.#http.close();
  }
}

function parseAnswer(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Whoever answers something else is no balancer, and gets told so by its caller.
    return undefined;
  }
}

function describeRefusal(url: string, { status }: Response, value: unknown): string {
  if (typeof value === "object" && value !== null && "detail" in value && "code" in value) {
    return `${value.detail} (${status} ${value.code})`;
  }
  return `${url} was answered with ${status} and not by a balancer; ` +
    "--server says where one is, and its --no-management moves this to the admin listener";
}

/**
 * An HTTP/1.1 client that knows what came of each request: `fetch` retries by itself and hides how a connection
 * ended.
 *
 * @module
 */
import { ANSWERED, isUnsent, type Outcome } from "./tally.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("latin1");

/** Methods whose requests may be sent twice (RFC 9110, section 9.2.2), of those that are made here. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET"]);

/** A response in full. */
interface Response {
  readonly status: number;
  readonly body: string;
  readonly closes: boolean;
}

/** The connection ended inside a response, or before one. */
class Cut extends Error {
  /** Bytes of the response that had come. */
  readonly received: number;

  constructor(received: number) {
    super(`the connection ended behind ${received} bytes of a response`);
    this.received = received;
  }
}

/** A request. */
export interface HttpRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** What it must be answered with. */
  readonly expected: string;
}

/** One connection. A read is always pending, so that an end is seen when it comes. */
class Connection {
  readonly #conn: Deno.TcpConn;
  #text = "";
  #ended = false;
  #wake: (() => void) | undefined;
  /** Whether it has carried a request. */
  used = false;

  constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
    conn.setNoDelay(true);
    void this.#read();
  }

  get ended(): boolean {
    return this.#ended;
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(16 * 1024);
    try {
      for (;;) {
        const count = await this.#conn.read(buffer);
        if (count === null) break;
        this.#text += decoder.decode(buffer.subarray(0, count));
        this.#wake?.();
      }
    } catch {
      // A reset is an end like any other: what was due is missing.
    }
    this.#ended = true;
    this.#wake?.();
  }

  async send(text: string): Promise<void> {
    this.used = true;
    const bytes = encoder.encode(text);
    try {
      for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
    } catch {
      // An answer may have been sent before the end; that is what counts.
    }
  }

  async response(): Promise<Response> {
    const headEnd = await this.#find("\r\n\r\n");
    const head = this.#text.slice(0, headEnd);
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    const end = headEnd + 4 + length;
    while (this.#text.length < end) await this.#more();
    const body = this.#text.slice(headEnd + 4, end);
    this.#text = this.#text.slice(end);
    return { status, body, closes: /\r\nconnection: *close/i.test(head) };
  }

  async #find(mark: string): Promise<number> {
    for (;;) {
      const at = this.#text.indexOf(mark);
      if (at >= 0) return at;
      await this.#more();
    }
  }

  async #more(): Promise<void> {
    if (this.#ended) throw new Cut(this.#text.length);
    await new Promise<void>((resolve) => this.#wake = resolve);
    this.#wake = undefined;
  }

  close(): void {
    this.#conn.close();
  }
}

/** How a client is made. */
export interface HttpClientOptions {
  readonly hostname: string;
  readonly port: number;
}

/** A client with as many connections as it needs. */
export class HttpClient {
  readonly #options: HttpClientOptions;
  readonly #idle: Connection[] = [];
  readonly #open = new Set<Connection>();

  /** Opens nothing yet. */
  constructor(options: HttpClientOptions) {
    this.#options = options;
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#open.size;
  }

  /** Makes a request and says what came of it. Never rejects. */
  async request(request: HttpRequest): Promise<Outcome> {
    const idempotent = IDEMPOTENT.has(request.method);
    const failed = (reason: string, retriable: boolean): Outcome => ({
      type: "failed",
      reason: `${request.method} ${reason}`,
      retriable,
    });
    let connection: Connection;
    try {
      connection = await this.#take();
    } catch (error) {
      return failed(`cannot connect: ${error}`, true);
    }
    try {
      const { status, body, closes } = await this.#exchange(connection, request);
      if (closes) this.#close(connection);
      else this.#idle.push(connection);
      if (status === 200 && body === request.expected) return ANSWERED;
      const code = /"code":"(\w+)"/.exec(body)?.[1] ?? "";
      return failed(`${status} ${code}`, idempotent || isUnsent(code));
    } catch (error) {
      this.#close(connection);
      if (!(error instanceof Cut)) throw error;
      // What has been begun cannot be taken back.
      return error.received > 0
        ? failed("cut inside the response", false)
        : failed("closed without a response", idempotent);
    }
  }

  /** Makes a request whose answer must be a fault; what came: a status, or `cut`. */
  async fault(path: string): Promise<number | "cut"> {
    const connection = await this.#take();
    try {
      const { status } = await this.#exchange(connection, { method: "GET", path });
      return status;
    } catch (error) {
      if (error instanceof Cut) return "cut";
      throw error;
    } finally {
      this.#close(connection);
    }
  }

  async #exchange(
    connection: Connection,
    { method, path }: Pick<HttpRequest, "method" | "path">,
  ): Promise<Response> {
    const content = method === "POST" ? "Content-Length: 4\r\n\r\nbody" : "\r\n";
    await connection.send(`${method} ${path} HTTP/1.1\r\nHost: load.test\r\n${content}`);
    return await connection.response();
  }

  async #take(): Promise<Connection> {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (!idle.ended) return idle;
      this.#close(idle);
    }
    const connection = new Connection(await Deno.connect(this.#options));
    this.#open.add(connection);
    return connection;
  }

  #close(connection: Connection): void {
    if (this.#open.delete(connection)) connection.close();
  }

  /** Closes the connections that carry nothing. */
  closeIdle(): void {
    for (const connection of this.#idle.splice(0)) this.#close(connection);
  }

  /** Closes all connections; nothing may be under way. */
  close(): void {
    for (const connection of [...this.#open]) this.#close(connection);
  }
}

/**
 * HTTP/1.1 as a peer of the balancer sees it, read in the plainest way. It shares no code with the codec
 * under test.
 *
 * @module
 */
import { type Duplex, writeAll } from "../../lib/common/duplex.ts";

/** Bytes of a text in which every character is one byte. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** How many arguments a call takes at a time. */
const SLICE = 4096;

/** The text of bytes, one character for each. */
export function textOf(bytes: Uint8Array): string {
  if (bytes.length <= SLICE) return String.fromCharCode(...bytes);
  let text = "";
  for (let at = 0; at < bytes.length; at += SLICE) text += textOf(bytes.subarray(at, at + SLICE));
  return text;
}

/** A message as it came. */
export class Message {
  /** The request line or the status line. */
  readonly start: string;
  /** The fields in their order, as they were spelt. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** The content. */
  body = "";
  /** The lines of the trailer section. */
  trailers: readonly string[] = [];

  /** Takes the text of a head apart. */
  constructor(head: string) {
    const [start = "", ...lines] = head.split("\r\n");
    this.start = start;
    this.fields = lines.map((line) => {
      const colon = line.indexOf(": ");
      if (colon < 1) {
        throw new Error(`a field line has no colon and space: ${JSON.stringify(line)}`);
      }
      return [line.slice(0, colon), line.slice(colon + 2)];
    });
  }

  /** The values of a field, by its name in lower case. */
  all(name: string): string[] {
    return this.fields.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value);
  }

  /** The only value of a field; `undefined` when it is absent. */
  get(name: string): string | undefined {
    const values = this.all(name);
    if (values.length > 1) throw new Error(`${name} stands there ${values.length} times`);
    return values[0];
  }

  /** The status code of a response. */
  get status(): number {
    return Number(this.start.split(" ")[1]);
  }
}

/** Where a connection ended before the message did. */
export class Truncated extends Error {}

/** One end of a connection that reads and writes messages as text. */
export class Peer {
  /** The connection. */
  readonly duplex: Duplex;
  /** Bytes that have come so far. */
  received = 0;
  #text = "";
  #ended = false;

  /** Takes an end over; nothing is read until it is asked for. */
  constructor(duplex: Duplex) {
    this.duplex = duplex;
  }

  /** Writes a text; says whether all of it was taken. */
  async send(text: string): Promise<boolean> {
    try {
      await writeAll(this.duplex, bytesOf(text));
      return true;
    } catch {
      // The other side has closed: whoever cares looks at the answer.
      return false;
    }
  }

  /** Tells the other side that nothing more will come. */
  end(): Promise<void> {
    return this.duplex.closeWrite();
  }

  /** Closes the connection. */
  close(): void {
    this.duplex.close();
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    const into = new Uint8Array(64 * 1024);
    let count: number | null;
    try {
      count = await this.duplex.read(into);
    } catch {
      // A connection that failed has ended, too.
      count = null;
    }
    if (count === null) this.#ended = true;
    else {
      this.received += count;
      this.#text += textOf(into.subarray(0, count));
    }
    return count !== null;
  }

  async #until(found: () => number, what: string): Promise<number> {
    for (;;) {
      const at = found();
      if (at >= 0) return at;
      if (!await this.#more()) {
        throw new Truncated(`ended inside ${what}, behind ${JSON.stringify(this.#text)}`);
      }
    }
  }

  #take(length: number): string {
    const text = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    return text;
  }

  /** The next `length` characters. */
  async read(length: number): Promise<string> {
    await this.#until(() => this.#text.length >= length ? 0 : -1, `${length} bytes`);
    return this.#take(length);
  }

  /** All that still comes. */
  async rest(): Promise<string> {
    while (await this.#more());
    return this.#take(this.#text.length);
  }

  /** The next line, without its end. */
  async #line(what: string): Promise<string> {
    const end = await this.#until(() => this.#text.indexOf("\r\n"), what);
    return this.#take(end + 2).slice(0, -2);
  }

  /** The next head; `undefined` when the connection ended in order before it. */
  async head(): Promise<Message | undefined> {
    if (this.#text === "" && !await this.#more()) return undefined;
    const end = await this.#until(() => this.#text.indexOf("\r\n\r\n"), "a head");
    return new Message(this.#take(end + 4).slice(0, -4));
  }

  /** Reads the content of a message whose head has been read. */
  async content(message: Message, toEnd: boolean): Promise<Message> {
    const length = message.get("content-length");
    if (message.get("transfer-encoding") !== undefined) {
      for (;;) {
        const size = parseInt(await this.#line("a chunk size"), 16);
        if (size === 0) break;
        message.body += await this.read(size);
        if (await this.read(2) !== "\r\n") throw new Error("a chunk does not end in CRLF");
      }
      const trailers: string[] = [];
      for (;;) {
        const line = await this.#line("the trailers");
        if (line === "") break;
        trailers.push(line);
      }
      message.trailers = trailers;
    } else if (length !== undefined) message.body = await this.read(Number(length));
    else if (toEnd) message.body = await this.rest();
    return message;
  }

  /** The next request; `undefined` when the connection ended in order before it. */
  async request(): Promise<Message | undefined> {
    const head = await this.head();
    return head === undefined ? undefined : await this.content(head, false);
  }

  /** The next response, interim ones included. `noBody` is for the answer to HEAD. */
  async response(noBody = false): Promise<Message> {
    const head = await this.head();
    if (head === undefined) throw new Truncated("ended without a response");
    const { status } = head;
    if (noBody || status < 200 || status === 204 || status === 304) return head;
    return await this.content(head, true);
  }

  /** Whether the connection ended and nothing more came before. */
  async ended(): Promise<boolean> {
    return await this.rest() === "";
  }
}

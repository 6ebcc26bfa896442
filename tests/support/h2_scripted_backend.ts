/**
 * A backend in memory that speaks frames as the test says: it may change how many streams it takes, say
 * GOAWAY, or nothing at all.
 *
 * @module
 */
import type { Duplex } from "../../lib/common/duplex.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { FRAME_HEADER_SIZE, FrameType, readUint31 } from "../../lib/http/h2/frames.ts";
import { Decoder } from "../../lib/http/h2/hpack/decoder.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { DONE, type Fields, OK } from "./h2_peer.ts";
import { concat, frame, headers, settings, u32 } from "./h2_raw.ts";
import { listOf } from "./hpack.ts";

const END_STREAM = 0x1;
const END_HEADERS = 0x4;

/** One connection of it. */
export class ScriptedH2Connection {
  /** Streams whose head has come and that have not been answered or reset, in order. */
  readonly open: number[] = [];
  /** How many streams have begun. */
  begun = 0;
  /** The value of `:path` of each stream that has begun. */
  readonly paths: Map<number, string> = new Map();
  /** The last stream that it acts on, once it has said GOAWAY. */
  last = Infinity;
  /** The highest stream that it has answered. */
  answered = 0;
  /** How many PINGs have come. */
  pings = 0;
  /** Whether the proxy has ended the connection. */
  ended = false;
  /** Called when a head has come. */
  onHead: ((id: number) => void) | undefined;
  /** Called when the head of a stream has come, or was there, that GOAWAY says it does not act on. */
  onRefused: ((id: number) => void) | undefined;
  readonly #duplex: Duplex;
  #buffer: Uint8Array = new Uint8Array(0);
  readonly #decoder = new Decoder();
  #preface = CLIENT_PREFACE.length;
  #sending: Promise<void> = Promise.resolve();

  /**
   * Greets with the number of streams that it takes.
   *
   * @param leaves Whether it says GOAWAY in the same breath.
   */
  constructor(duplex: Duplex, limit: number, leaves = false) {
    this.#duplex = duplex;
    const greeting = settings([Setting.MaxConcurrentStreams, limit]);
    this.send(greeting, ...leaves ? [frame(FrameType.Goaway, 0, 0, new Uint8Array(8))] : []);
    void this.#read();
  }

  async #read(): Promise<void> {
    const into = new Uint8Array(65_536);
    try {
      for (;;) {
        const count = await this.#duplex.read(into);
        if (count === null) break;
        this.#buffer = concat(this.#buffer, into.subarray(0, count));
        this.#split();
      }
    } catch {
      // The proxy closed the connection; that is an end like any other here.
    }
    this.ended = true;
    this.#duplex.close();
  }

  #split(): void {
    const skipped = Math.min(this.#preface, this.#buffer.length);
    this.#preface -= skipped;
    this.#buffer = this.#buffer.slice(skipped);
    for (;;) {
      const bytes = this.#buffer;
      if (bytes.length < FRAME_HEADER_SIZE) return;
      const end = FRAME_HEADER_SIZE + (bytes[0]! << 16 | bytes[1]! << 8 | bytes[2]!);
      if (bytes.length < end) return;
      this.#buffer = bytes.slice(end);
      this.#onFrame(
        bytes[3]!,
        bytes[4]!,
        readUint31(bytes, 5),
        bytes.slice(FRAME_HEADER_SIZE, end),
      );
    }
  }

  #onFrame(type: number, flags: number, id: number, payload: Uint8Array): void {
    if (type === FrameType.Headers && !this.open.includes(id)) this.#onHeaders(id, payload);
    else if (type === FrameType.RstStream) this.#forget(id);
    else if (type === FrameType.Ping && (flags & 1) === 0) this.pings++;
  }

  /** Of a block that goes on in CONTINUATION frames nothing is read. */
  #onHeaders(id: number, block: Uint8Array): void {
    const list = listOf(block);
    this.#decoder.decode(list);
    this.paths.set(id, list.get(":path") ?? "");
    this.begun++;
    if (id > this.last) return this.onRefused?.(id);
    this.open.push(id);
    this.onHead?.(id);
  }

  #forget(id: number): void {
    const index = this.open.indexOf(id);
    if (index >= 0) this.open.splice(index, 1);
  }

  /** Sends bytes behind what is being sent. */
  send(...parts: readonly Uint8Array[]): void {
    this.#sending = this.#sending.then(async () => {
      const bytes = concat(...parts);
      try {
        for (let at = 0; at < bytes.length;) at += await this.#duplex.write(bytes.subarray(at));
      } catch {
        // The proxy has closed the connection; the test looks at that.
      }
    });
  }

  /** Says how many streams it takes from now on. */
  limit(count: number): void {
    this.send(settings([Setting.MaxConcurrentStreams, count]));
  }

  /** Answers a stream in full; the oldest that is open unless another is named. */
  answer(id: number = this.open[0]!, head: Fields = OK): void {
    this.#forget(id);
    this.answered = Math.max(this.answered, id);
    this.send(headers(id, END_HEADERS, head), headers(id, END_HEADERS | END_STREAM, DONE));
  }

  /** Says GOAWAY; streams above that are not acted on. */
  goaway(lastId: number, code = 0, debug = ""): void {
    this.last = lastId;
    for (const id of this.open.filter((id) => id > lastId)) {
      this.#forget(id);
      this.onRefused?.(id);
    }
    const payload = [...u32(lastId), ...u32(code), ...new TextEncoder().encode(debug)];
    this.send(frame(FrameType.Goaway, 0, 0, payload));
  }

  /**
   * Ends our side behind what is being sent; the rest when the proxy has ended its own: on a socket that is closed
   * with bytes unread, what was said last might be lost.
   */
  close(): void {
    this.#sending = this.#sending.then(async () => {
      try {
        await this.#duplex.closeWrite();
      } catch {
        // The proxy has closed the connection already.
      }
    });
  }
}

/** The backend: its connections. */
export class ScriptedH2Backend {
  /** All connections, in the order in which they were opened. */
  readonly connections: ScriptedH2Connection[] = [];
  /** How many streams the next connection takes. */
  limit = 100;
  /** Whether the next connections are refused. */
  refuses = false;
  /** On how many of the next connections it says GOAWAY at once. */
  leaves = 0;
  /** Called when a connection was opened. */
  onConnection: ((connection: ScriptedH2Connection) => void) | undefined;

  /** Opens a connection. */
  readonly connect = (): Promise<Duplex> => {
    if (this.refuses) return Promise.reject(new Error("refused"));
    const [ours, theirs] = makeMemoryPair();
    const connection = new ScriptedH2Connection(theirs, this.limit, this.leaves-- > 0);
    this.connections.push(connection);
    this.onConnection?.(connection);
    return Promise.resolve(ours);
  };

  /** The connection that was opened last. */
  get last(): ScriptedH2Connection {
    return this.connections.at(-1)!;
  }

  /** Ends all connections. */
  close(): void {
    for (const connection of this.connections) connection.close();
  }
}

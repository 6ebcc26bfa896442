/**
 * A connection of our engine over memory whose peer is the test: it sends frames as it likes and sees what comes
 * back.
 *
 * @module
 */
import type { ErrorCode } from "../../lib/common/errors.ts";
import type { Duplex } from "../../lib/common/duplex.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import type { AbuseToken } from "../../lib/http/h2/budget.ts";
import {
  H2Connection,
  type H2Handler,
  type H2Options,
  type Role,
} from "../../lib/http/h2/connection.ts";
import { putFrameHeader } from "../../lib/http/h2/frame_writer.ts";
import { FRAME_HEADER_SIZE, FrameType, readUint31, readUint32 } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { FakeClock, settle } from "./fake_clock.ts";
import { Call, encodeBlock, Exchange, type Fields, readFields } from "./h2_peer.ts";

/** A frame as it came. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Uint8Array;
}

/** Puts bytes together. */
export function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A frame as it is sent. */
export function frame(
  type: number,
  flags: number,
  id: number,
  payload: Uint8Array | readonly number[] = [],
): Uint8Array {
  const header = new Uint8Array(FRAME_HEADER_SIZE);
  putFrameHeader(header, 0, payload.length, type, flags, id);
  return concat(header, payload);
}

/** Four bytes. */
export function u32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

/** A SETTINGS frame with these identifiers and values. */
export function settings(...entries: readonly (readonly [id: number, value: number])[]) {
  return frame(FrameType.Settings, 0, 0, entries.flatMap(([id, value]) => [0, id, ...u32(value)]));
}

/** A WINDOW_UPDATE frame. */
export function windowUpdate(id: number, increment: number): Uint8Array {
  return frame(FrameType.WindowUpdate, 0, id, u32(increment));
}

/** An RST_STREAM frame. */
export function rst(id: number, code = 8): Uint8Array {
  return frame(FrameType.RstStream, 0, id, u32(code));
}

/** The head of a request. */
export const REQUEST: Fields = [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/a"],
  [":authority", "test"],
];

/** A HEADERS frame; END_STREAM and END_HEADERS unless other flags are given. */
export function headers(id: number, flags = 0x5, fields: Fields = REQUEST): Uint8Array {
  return frame(FrameType.Headers, flags, id, encodeBlock(fields));
}

/** A DATA frame. */
export function data(id: number, length: number, flags = 0): Uint8Array {
  return frame(FrameType.Data, flags, id, new Uint8Array(length).fill(0x61));
}

/** A GOAWAY frame. */
export function goaway(lastId: number, code = 0): Uint8Array {
  return frame(FrameType.Goaway, 0, 0, [...u32(lastId), ...u32(code)]);
}

/** The engine on one end, the test on the other. */
export class RawPeer {
  readonly time: FakeClock = new FakeClock();
  readonly connection: H2Connection;
  /** What came and was not taken. */
  readonly frames: Frame[] = [];
  /** Calls that a server got. */
  readonly calls: Call[] = [];
  /** What the engine said of their heads. */
  readonly heads: {
    readonly refused: boolean;
    readonly error: ErrorCode | "";
    readonly grpc: boolean;
  }[] = [];
  /** Refusals that the engine told. */
  readonly abuse: AbuseToken[] = [];
  /** Whether the engine has ended its side. */
  ended = false;
  /** Whether the engine is done. */
  finished = false;
  /** What becomes of calls. */
  onCall: (call: Call) => void = () => {};
  /** How often the engine said that streams end and that the peer goes away. */
  streamsEnded = 0;
  goaways = 0;
  /** Told what the peer says when it goes away. */
  onGoaway: ((code: number, debug: string) => void) | undefined;
  readonly #duplex: Duplex;
  #buffer: Uint8Array = new Uint8Array(0);
  #reading = true;
  #wake: (() => void) | undefined;

  constructor(role: Role = "server", options: Partial<H2Options> = {}, reads = true) {
    const [ours, theirs] = makeMemoryPair();
    this.#duplex = ours;
    this.#reading = reads;
    const handler: H2Handler = {
      onRequest: (stream, head, { endStream, refused }) => {
        this.heads.push({ refused, error: refused ? head.error : "", grpc: head.grpc });
        const call = new Call(stream, readFields(head.fields), 0);
        call.ended = endStream;
        this.calls.push(call);
        queueMicrotask(() => this.onCall(call));
        return call;
      },
      onAbuse: (token) => this.abuse.push(token),
      onGoaway: (code, debug) => {
        this.goaways++;
        this.onGoaway?.(code, debug);
      },
      onStreamEnded: () => this.streamsEnded++,
    };
    this.connection = new H2Connection({
      role,
      duplex: theirs,
      clock: this.time.clock,
      handler,
      options,
    });
    void this.connection.run().then(() => this.finished = true);
    void this.#read();
  }

  /** A connection on which both sides have sent their SETTINGS; what that took is not among the frames. */
  static async open(
    role: Role = "server",
    options: Partial<H2Options> = {},
    ...entries: readonly (readonly [id: number, value: number])[]
  ): Promise<RawPeer> {
    const peer = new RawPeer(role, options);
    await peer.send(...(role === "server" ? [CLIENT_PREFACE] : []), settings(...entries));
    await peer.send(frame(FrameType.Settings, 1, 0));
    peer.take();
    return peer;
  }

  async #read(): Promise<void> {
    const into = new Uint8Array(65_536);
    try {
      for (;;) {
        while (!this.#reading) await new Promise<void>((resolve) => this.#wake = resolve);
        const count = await this.#duplex.read(into);
        if (count === null) break;
        this.#buffer = concat(this.#buffer, into.subarray(0, count));
        this.#split();
      }
    } catch {
      // The engine closed the connection; that is an end like any other here.
    }
    this.ended = true;
  }

  #split(): void {
    if (this.connection.role === "client" && !this.#prefaced) {
      this.#buffer = this.#buffer.slice(CLIENT_PREFACE.length);
      this.#prefaced = true;
    }
    for (;;) {
      const bytes = this.#buffer;
      if (bytes.length < FRAME_HEADER_SIZE) return;
      const length = bytes[0]! << 16 | bytes[1]! << 8 | bytes[2]!;
      const end = FRAME_HEADER_SIZE + length;
      if (bytes.length < end) return;
      this.frames.push({
        type: bytes[3]!,
        flags: bytes[4]!,
        id: readUint31(bytes, 5),
        payload: bytes.slice(FRAME_HEADER_SIZE, end),
      });
      this.#buffer = bytes.slice(end);
    }
  }
  #prefaced = false;

  /** Reads again after a beginning without. */
  read(): void {
    this.#reading = true;
    this.#wake?.();
  }

  /** Sends bytes, as far as the engine takes them, and lets it answer. */
  async send(...parts: readonly Uint8Array[]): Promise<void> {
    await this.#write(concat(...parts));
    await settle();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    try {
      let at = 0;
      while (at < bytes.length) at += await this.#duplex.write(bytes.subarray(at));
    } catch {
      // The engine has closed the connection; the test looks at that.
    }
  }

  /** Sends bytes that the engine may not take; nothing is waited for. */
  push(...parts: readonly Uint8Array[]): Promise<void> {
    void this.#write(concat(...parts));
    return settle();
  }

  /** Takes what has come. */
  take(type?: number): Frame[] {
    const all = this.frames.splice(0);
    return type === undefined ? all : all.filter((one) => one.type === type);
  }

  /** The code of the last GOAWAY that came, or `undefined`. */
  get goawayCode(): number | undefined {
    const last = this.frames.filter((one) => one.type === FrameType.Goaway).at(-1);
    return last === undefined ? undefined : readUint32(last.payload, 4);
  }

  /** The streams that were reset, with their codes. */
  get resets(): [id: number, code: number][] {
    return this.frames.filter((one) => one.type === FrameType.RstStream)
      .map((one) => [one.id, readUint32(one.payload, 0)]);
  }

  /** The windows that were granted. */
  get grants(): [id: number, increment: number][] {
    return this.frames.filter((one) => one.type === FrameType.WindowUpdate)
      .map((one) => [one.id, readUint32(one.payload, 0)]);
  }

  /** The bytes of content that came on a stream. */
  received(id: number): number {
    return this.frames.filter((one) => one.type === FrameType.Data && one.id === id)
      .reduce((sum, one) => sum + one.payload.length, 0);
  }

  /** Begins a request; client role. */
  request(endStream = true, fields: Fields = REQUEST): Exchange {
    const exchange = new Exchange();
    exchange.stream = this.connection.openStream(encodeBlock(fields), {
      endStream,
      noBody: false,
      listener: exchange,
    });
    return exchange;
  }

  /** Ends the connection as the peer. */
  async close(): Promise<void> {
    this.read();
    this.#duplex.close();
    await this.connection.finished;
  }
}

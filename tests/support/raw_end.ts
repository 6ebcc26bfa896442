/**
 * One end of an HTTP/2 connection over any duplex that the test speaks frame by frame; it answers nothing by itself.
 *
 * @module
 */
import { type Duplex, writeAll } from "../../lib/common/duplex.ts";
import { FRAME_HEADER_SIZE, FrameType, readUint31, readUint32 } from "../../lib/http/h2/frames.ts";
import { settle } from "./fake_clock.ts";
import { concat, type Frame } from "./h2_raw.ts";

const ACK = 1;

/** One end. */
export class RawEnd {
  /** All frames that came. */
  readonly frames: Frame[] = [];
  /** Whether the other side has ended the connection. */
  ended = false;
  /** Bytes that the other side has not taken. */
  unsent = 0;
  readonly #duplex: Duplex;
  readonly #reading: Promise<void>;
  #sending: Promise<void> = Promise.resolve();

  /** Takes an end over, behind `skip` bytes that are no frames. */
  constructor(duplex: Duplex, skip = 0) {
    this.#duplex = duplex;
    this.#reading = this.#read(skip);
  }

  async #read(skip: number): Promise<void> {
    const into = new Uint8Array(64 * 1024);
    let rest: Uint8Array = new Uint8Array(0);
    for (;;) {
      // A reset is an end like any other.
      const count = await this.#duplex.read(into).catch(() => null);
      if (count === null) break;
      rest = concat(rest, into.subarray(0, count));
      const skipped = Math.min(skip, rest.length);
      skip -= skipped;
      rest = this.#split(rest.subarray(skipped));
    }
    this.ended = true;
  }

  #split(bytes: Uint8Array): Uint8Array {
    let at = 0;
    while (bytes.length - at >= FRAME_HEADER_SIZE) {
      const start = at + FRAME_HEADER_SIZE;
      const end = start + (bytes[at]! << 16 | bytes[at + 1]! << 8 | bytes[at + 2]!);
      if (bytes.length < end) break;
      const payload = bytes.slice(start, end);
      const [type, flags] = [bytes[at + 3]!, bytes[at + 4]!];
      this.frames.push({ type, flags, id: readUint31(bytes, at + 5), payload });
      at = end;
    }
    return bytes.slice(at);
  }

  /** Sends bytes behind what is being sent, and lets everything happen that needs no time. */
  async send(...parts: readonly Uint8Array[]): Promise<void> {
    const bytes = concat(...parts);
    this.unsent += bytes.length;
    this.#sending = this.#sending
      .then(() => writeAll(this.#duplex, bytes))
      .then(() => void (this.unsent -= bytes.length))
      // The other side has closed the connection; the test looks at that.
      .catch(() => {});
    await settle();
  }

  /** How many frames of a type came, acknowledgements or others. */
  count(type: number, ack = false): number {
    return this.frames.filter((one) => one.type === type && (one.flags & ACK) === (ack ? ACK : 0))
      .length;
  }

  /** The codes of the streams that were reset. */
  get resets(): Map<number, number> {
    return new Map(
      this.frames.filter(({ type }) => type === FrameType.RstStream)
        .map(({ id, payload }) => [id, readUint32(payload, 0)]),
    );
  }

  /** What the last GOAWAY said. */
  get farewell(): { readonly code: number; readonly debug: string } | undefined {
    const last = this.frames.findLast(({ type }) => type === FrameType.Goaway);
    if (last === undefined) return undefined;
    const debug = new TextDecoder().decode(last.payload.subarray(8));
    return { code: readUint32(last.payload, 4), debug };
  }

  /** Ends the connection. */
  async close(): Promise<void> {
    this.#duplex.close();
    await this.#reading;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

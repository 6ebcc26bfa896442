/**
 * What a client has sent for its backend before there is one: whole frames, in order. Its windows bound the
 * content, and {@linkcode HOLD_LIMIT} all of it.
 *
 * @module
 */
import { ByteWriter } from "../../http/h1/writer.ts";
import { Flag, FRAME_HEADER_SIZE, FrameType, readUint31 } from "../../http/h2/frames.ts";
import { Decoder } from "../../http/h2/hpack/decoder.ts";
import { type FieldLimits, FieldList } from "../../http/h2/hpack/field_list.ts";
import type { BlockRelay } from "./block_relay.ts";

/** Bytes that are held before the client is read no further; what one read has brought may come on top. */
export const HOLD_LIMIT = 256 * 1024;
/** Bytes of the deprecated priority fields (RFC 9113, section 6.3). */
const PRIORITY_SIZE = 5;
const EMPTY = new Uint8Array(0);
const NOW: Promise<void> = Promise.resolve();

/** Where the frames of one side go. */
export interface Sink {
  /** Where frames are put. */
  readonly writer: ByteWriter;
  /** Takes the frames `bytes[start..end)`; resolves when more may come. Until then they must stay as they are. */
  forward(bytes: Uint8Array, start: number, end: number): Promise<void>;
  /** Resolves when what was put into the writer lets more come. */
  flushed(): Promise<void>;
}

/** The content among what was held. */
export interface HeldContent {
  /** Bytes that it takes of windows. */
  readonly flow: number;
  /** DATA frames. */
  readonly frames: number;
}

/** Holds frames until they are released, stream by stream given up, or all of them. */
export class Hold implements Sink {
  writer: ByteWriter = new ByteWriter(EMPTY);
  readonly #blocks: BlockRelay;
  readonly #limits: FieldLimits;
  /** Streams with a block that the far end must see, so that it understands the later ones. */
  readonly #indexing = new Set<number>();
  #room: PromiseWithResolvers<void> | undefined;

  /**
   * Begins empty.
   *
   * @param blocks What judges the blocks that are held.
   * @param limits Those of the blocks.
   */
  constructor(blocks: BlockRelay, limits: FieldLimits) {
    this.#blocks = blocks;
    this.#limits = limits;
  }

  /** A block of this stream is held, or will be when its run is handed over, that changes the far end's table. */
  noteIndexing(id: number): void {
    this.#indexing.add(id);
  }

  forward(bytes: Uint8Array, start: number, end: number): Promise<void> {
    this.writer.range(bytes, start, end);
    return this.flushed();
  }

  flushed(): Promise<void> {
    if (this.writer.at < HOLD_LIMIT) return NOW;
    return (this.#room ??= Promise.withResolvers()).promise;
  }

  /** Who waits for room goes on. */
  #letGo(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** Gives all of it to the backend. */
  release(out: ByteWriter): HeldContent {
    const bytes = this.#take();
    out.bytes(bytes);
    return countContent(bytes);
  }

  /** Forgets all of it: the blocks will reach nobody. */
  clear(): HeldContent {
    if (this.#indexing.size > 0 || this.#blocks.decoupled) this.#blocks.decouple();
    return countContent(this.#take());
  }

  #take(): Uint8Array {
    const bytes = this.writer.written;
    this.writer = new ByteWriter(EMPTY);
    this.#indexing.clear();
    this.#letGo();
    return bytes;
  }

  /**
   * Forgets what is held of one stream, as if the client had never sent it. If later blocks depend on its own, all
   * are encoded anew.
   *
   * @returns How many bytes it had taken from the windows.
   */
  drop(id: number): number {
    const bytes = this.writer.written;
    if (bytes.length === 0) return 0;
    this.writer = new ByteWriter(new Uint8Array(bytes.length));
    // What has been encoded without a table may have begun with a size update, which is to come again.
    if (this.#indexing.has(id) || this.#blocks.decoupled) this.#blocks.decouple();
    const flow = this.#indexing.has(id) ? this.#recode(bytes, id) : this.#copy(bytes, id);
    if (this.writer.at < HOLD_LIMIT) this.#letGo();
    return flow;
  }

  #copy(bytes: Uint8Array, without: number): number {
    let flow = 0;
    for (let at = 0; at < bytes.length;) {
      const next = behind(bytes, at);
      if (streamOf(bytes, at) !== without) this.writer.range(bytes, at, next);
      else if (bytes[at + 3] === FrameType.Data) flow += next - at - FRAME_HEADER_SIZE;
      at = next;
    }
    return flow;
  }

  /** The same, with all blocks taken apart and encoded without a table. */
  #recode(bytes: Uint8Array, without: number): number {
    const decoder = new Decoder();
    const list = new FieldList(this.#limits);
    let endStream = false;
    let flow = 0;
    for (let at = 0; at < bytes.length;) {
      const next = behind(bytes, at);
      const type = bytes[at + 3]!;
      const flags = bytes[at + 4]!;
      const id = streamOf(bytes, at);
      if (type === FrameType.Headers || type === FrameType.Continuation) {
        if (type === FrameType.Headers) {
          list.reset();
          endStream = (flags & Flag.EndStream) !== 0;
        }
        const { start, end } = fragment(bytes, at, next);
        list.append(bytes, start, end);
        if ((flags & Flag.EndHeaders) !== 0) {
          // It has been decoded once, with the same limits.
          decoder.decode(list);
          if (id !== without) this.#blocks.encode(this.writer, list, id, endStream);
        }
      } else if (id !== without) this.writer.range(bytes, at, next);
      else if (type === FrameType.Data) flow += next - at - FRAME_HEADER_SIZE;
      at = next;
    }
    this.#indexing.clear();
    return flow;
  }
}

/** The index behind the frame that begins at `at`. */
function behind(bytes: Uint8Array, at: number): number {
  const length = bytes[at]! << 16 | bytes[at + 1]! << 8 | bytes[at + 2]!;
  return at + FRAME_HEADER_SIZE + length;
}

function streamOf(bytes: Uint8Array, at: number): number {
  return readUint31(bytes, at + 5);
}

/** Where the block, or its part, is in a frame that has been judged good. */
function fragment(bytes: Uint8Array, at: number, next: number): { start: number; end: number } {
  const flags = bytes[at + 4]!;
  let start = at + FRAME_HEADER_SIZE;
  let end = next;
  if (bytes[at + 3] === FrameType.Headers) {
    if ((flags & Flag.Padded) !== 0) end -= bytes[start++]!;
    if ((flags & Flag.Priority) !== 0) start += PRIORITY_SIZE;
  }
  return { start, end };
}

function countContent(bytes: Uint8Array): HeldContent {
  let flow = 0;
  let frames = 0;
  for (let at = 0; at < bytes.length;) {
    const next = behind(bytes, at);
    if (bytes[at + 3] === FrameType.Data) {
      frames++;
      flow += next - at - FRAME_HEADER_SIZE;
    }
    at = next;
  }
  return { flow, frames };
}

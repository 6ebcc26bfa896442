/**
 * Moves one body from the connection it is read from to the one it is written to.
 *
 * @module
 */
import { bodyBuffers } from "../../common/buffer_pool.ts";
import type { ByteReader } from "../../common/byte_reader.ts";
import { type Duplex, writeAll } from "../../common/duplex.ts";
import type { ErrorCode } from "../../common/errors.ts";
import { ChunkedDecoder, encodeChunkSize, LAST_CHUNK } from "../h1/chunked.ts";
import type { Framing } from "../h1/framing.ts";
import { ByteWriter } from "../h1/writer.ts";

/** How a transfer ended. */
export type TransferEnd =
  /** The whole body was moved. */
  | { readonly type: "done" }
  /** The side it comes from ended early, or its read failed. */
  | { readonly type: "source"; readonly cause: unknown }
  /** The body is malformed. */
  | { readonly type: "malformed"; readonly code: ErrorCode }
  /** The side it goes to takes no more. */
  | { readonly type: "sink"; readonly cause: unknown };

/** Told that a transfer goes on. */
export interface TransferWatcher {
  /** Bytes were read or written. */
  onProgress(): void;
}

const DONE: TransferEnd = { type: "done" };

/** `ffff` CRLF, the longest size line here: buffers hold 64 KiB at most. */
const SIZE_LINE = 6;
/** CRLF behind a chunk, then the last chunk and the empty line. */
const CHUNK_TAIL = 2 + 5;

/**
 * One body on its way. Backpressure is the awaited write: nothing more is read while the receiver is
 * slow, so at most one buffer of each side is held.
 */
export class BodyTransfer {
  readonly #reader: ByteReader;
  readonly #decoder: ChunkedDecoder | undefined;
  /** Whether the body is written in chunks; otherwise its bytes are written as they are. */
  readonly #chunked: boolean;
  /** Content bytes that are still to come; `Infinity` while the end is not known. */
  #remaining: number;
  /** Whether the whole body has been read and handed over. */
  done = false;
  /** Set when the body is malformed. */
  malformed: ErrorCode | undefined;
  /** Content bytes moved so far. */
  bytes = 0;
  /** Where all that {@linkcode run} writes is kept too, as long as it fits. */
  kept: ByteWriter | undefined;
  /** Which side is waited for, so that a stall is blamed on the right one; first the head must be taken. */
  waiting: "source" | "sink" = "sink";

  /**
   * @param reader Where the body comes from.
   * @param framing How it is framed there.
   * @param chunked Whether it goes out in chunks.
   */
  constructor(reader: ByteReader, framing: Framing, chunked: boolean) {
    this.#reader = reader;
    this.#chunked = chunked;
    this.#decoder = framing.type === "chunked" ? new ChunkedDecoder() : undefined;
    this.#remaining = framing.type === "length"
      ? framing.length
      : framing.type === "none"
      ? 0
      : Infinity;
    if (this.#remaining === 0) this.done = true;
  }

  /**
   * Asked when nothing has moved for long: whether `to` is waited for, and takes what was written all the same. The
   * system wakes a writer when a third of its send buffer is free, which a slow reader may take minutes for.
   */
  isTakenBy(to: Duplex | undefined): boolean {
    return this.waiting === "sink" && to?.isTaking?.() === true;
  }

  /** Appends what has been read already, as far as it fits into the buffer of `out` as it is. */
  copyTo(out: ByteWriter): void {
    if (this.done || this.#reader.available === 0) return;
    if (!this.#chunked) {
      this.#copyData(out, out.buffer.length);
      return;
    }
    const opening = out.at;
    const limit = out.buffer.length - CHUNK_TAIL;
    if (limit - opening <= SIZE_LINE) return;
    const data = out.at = opening + SIZE_LINE;
    this.#copyData(out, limit);
    const size = out.at - data;
    if (size === 0) out.at = opening;
    else {
      const begin = encodeChunkSize(size, out.buffer, opening);
      if (begin < data) out.buffer.copyWithin(begin, data, data + size);
      out.at = begin + size;
      out.line();
    }
    if (this.done) this.#close(out);
  }

  #copyData(out: ByteWriter, limit: number): void {
    const reader = this.#reader;
    const decoder = this.#decoder;
    if (decoder === undefined) {
      const count = Math.min(reader.available, this.#remaining, limit - out.at);
      out.range(reader.buffer, reader.start, reader.start + count);
      this.#consume(count);
      return;
    }
    while (reader.available > 0 && !decoder.done && limit > out.at) {
      const end = Math.min(reader.end, reader.start + limit - out.at);
      reader.start = decoder.next(reader.buffer, reader.start, end);
      if (decoder.refused) {
        this.malformed = decoder.error;
        return;
      }
      out.range(reader.buffer, decoder.dataStart, decoder.dataEnd);
      this.bytes += decoder.dataEnd - decoder.dataStart;
    }
    if (decoder.done) this.done = true;
  }

  #keep(bytes: Uint8Array): void {
    const { kept } = this;
    if (kept === undefined) return;
    if (kept.at + bytes.length <= kept.buffer.length) kept.bytes(bytes);
    else this.kept = undefined;
  }

  #consume(count: number): void {
    this.#reader.start += count;
    this.bytes += count;
    this.#remaining -= count;
    if (this.#remaining === 0) this.done = true;
  }

  #close(out: ByteWriter): void {
    out.bytes(LAST_CHUNK);
    if (this.#decoder !== undefined) out.bytes(this.#decoder.trailers);
    out.line();
  }

  /**
   * Moves the rest. Never rejects.
   *
   * @param to Where the body goes.
   * @param watcher Told whenever bytes were read or written.
   */
  async run(to: Duplex, watcher: TransferWatcher): Promise<TransferEnd> {
    if (this.done) return DONE;
    const reader = this.#reader;
    if (this.#remaining > reader.buffer.length) reader.grow(bodyBuffers.size);
    const direct = this.#decoder === undefined && !this.#chunked;
    const scratch = direct ? undefined : bodyBuffers.acquire();
    try {
      while (!this.done) {
        if (reader.available === 0) {
          this.waiting = "source";
          if (!await reader.fill()) {
            const { ended } = reader;
            if (
              this.#remaining !== Infinity || this.#decoder !== undefined || ended?.type !== "eof"
            ) {
              return { type: "source", cause: ended?.type === "error" ? ended.error : undefined };
            }
            // RFC 9112, section 6.3: without framing, the end of the connection ends the body.
            this.done = true;
          }
          watcher.onProgress();
        }
        const end = scratch === undefined
          ? await this.#writeDirect(to)
          : await this.#writeFramed(to, scratch);
        if (end !== undefined) return end;
        watcher.onProgress();
      }
      return DONE;
    } finally {
      if (scratch !== undefined) bodyBuffers.release(scratch);
      reader.shrink();
    }
  }

  async #writeDirect(to: Duplex): Promise<TransferEnd | undefined> {
    const { buffer, start } = this.#reader;
    const count = Math.min(this.#reader.available, this.#remaining);
    if (count === 0) return undefined;
    this.waiting = "sink";
    const bytes = buffer.subarray(start, start + count);
    this.#keep(bytes);
    try {
      await writeAll(to, bytes);
    } catch (cause) {
      return { type: "sink", cause };
    }
    this.#consume(count);
    return undefined;
  }

  async #writeFramed(to: Duplex, scratch: Uint8Array): Promise<TransferEnd | undefined> {
    const out = new ByteWriter(scratch);
    if (this.done) {
      if (this.#chunked) this.#close(out);
    } else this.copyTo(out);
    if (this.malformed !== undefined) return { type: "malformed", code: this.malformed };
    if (out.at === 0) return undefined;
    this.#keep(out.written);
    this.waiting = "sink";
    try {
      await writeAll(to, out.written);
    } catch (cause) {
      return { type: "sink", cause };
    }
    return undefined;
  }
}

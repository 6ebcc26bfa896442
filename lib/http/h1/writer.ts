/**
 * Puts the bytes of a head together in one buffer.
 *
 * @module
 */
import { CR, LF } from "./chars.ts";

/** Below this, a loop beats making a view and calling `set`; see `tests/bench/h1_bench.ts`. */
const LOOP_BELOW = 48;

/** Appends to a buffer, which it replaces by a larger one when it is full. */
export class ByteWriter {
  /** What is written to; the bytes before `at` count. */
  buffer: Uint8Array;
  /** How many bytes have been written. */
  at = 0;

  /** Begins at the start of `buffer`. */
  constructor(buffer: Uint8Array) {
    this.buffer = buffer;
  }

  /** Makes sure that `size` more bytes fit. */
  reserve(size: number): void {
    const needed = this.at + size;
    if (needed <= this.buffer.length) return;
    const larger = new Uint8Array(Math.max(needed, this.buffer.length * 2));
    larger.set(this.buffer.subarray(0, this.at));
    this.buffer = larger;
  }

  /** Appends bytes. */
  bytes(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** Appends `from[start..end)`. */
  range(from: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.reserve(length);
    const { buffer, at } = this;
    if (length < LOOP_BELOW) {
      for (let i = 0; i < length; i++) buffer[at + i] = from[start + i]!;
    } else {
      buffer.set(from.subarray(start, end), at);
    }
    this.at = at + length;
  }

  /** Appends a text whose characters are bytes (ISO 8859-1). */
  text(text: string): void {
    const { length } = text;
    this.reserve(length);
    const { buffer, at } = this;
    for (let i = 0; i < length; i++) buffer[at + i] = text.charCodeAt(i);
    this.at = at + length;
  }

  /** Appends a whole number in decimal digits. */
  number(value: number): void {
    this.text(String(value));
  }

  /** Appends CRLF. */
  line(): void {
    this.reserve(2);
    this.buffer[this.at++] = CR;
    this.buffer[this.at++] = LF;
  }

  /** What has been written. It is a view: the buffer must stay as it is while it is used. */
  get written(): Uint8Array {
    return this.buffer.subarray(0, this.at);
  }
}

/**
 * The chunked transfer coding: RFC 9112, section 7.1.
 *
 * @module
 */
import type { ErrorCode } from "../../common/errors.ts";
import { ascii, CR, FIELD_VALUE, HEX, latin1, LF, TOKEN } from "./chars.ts";
import { FieldTable, INCOMPLETE, Known } from "./fields.ts";
import { DEFAULT_HEAD_LIMITS } from "./limits.ts";

/** Digits of a chunk size, leading zeros included; 13 of them reach every safe integer. */
const MAX_SIZE_DIGITS = 16;
/** Bytes of chunk extensions in one body; RFC 9112, section 7.1.1 asks for a limit. */
const MAX_EXTENSIONS = 16 * 1024;
/** Bytes of the trailer section. */
const MAX_TRAILERS = 16 * 1024;

const SEMICOLON = 0x3b;

type State =
  | "size"
  | "extension-name"
  | "extension"
  | "size-lf"
  | "data"
  | "data-cr"
  | "data-lf"
  | "trailer"
  | "done"
  | "refused";

/**
 * Takes a chunked body apart as it arrives, at whatever borders. Extensions are checked and dropped
 * ("A recipient MUST ignore unrecognized chunk extensions"), trailers kept.
 */
export class ChunkedDecoder {
  #state: State = "size";
  #size = 0;
  #digits = 0;
  #remaining = 0;
  #extensions = 0;
  #trailer: Uint8Array | undefined;
  #trailerLength = 0;
  /** Where the data lies that the last {@linkcode next} found; empty when `dataStart` equals `dataEnd`. */
  dataStart = 0;
  /** The index behind that data. */
  dataEnd = 0;
  /** Why the body is refused. */
  error: ErrorCode = "bad_chunk";
  /** Trailer fields that may be passed on, as lines that each end in CRLF; set once done. */
  trailers: Uint8Array = NO_TRAILERS;

  /** Whether the whole body has been seen. */
  get done(): boolean {
    return this.#state === "done";
  }

  /** Whether the body is malformed; `error` says in which way. */
  get refused(): boolean {
    return this.#state === "refused";
  }

  /**
   * Goes on at `buffer[at..end)` to the next piece of data, the end of the body or the end of the
   * bytes, whichever comes first.
   *
   * @returns The index behind what was consumed.
   */
  next(buffer: Uint8Array, at: number, end: number): number {
    this.dataStart = this.dataEnd = at;
    let i = at;
    while (i < end) {
      switch (this.#state) {
        case "size":
          i = this.#takeSize(buffer, i, end);
          break;
        case "extension-name":
          // `chunk-ext = *( BWS ";" BWS chunk-ext-name [ … ] )`: a name must follow.
          if (TOKEN[buffer[i]!] !== 1) return this.#refuse(i);
          this.#state = "extension";
          break;
        case "extension":
          i = this.#takeExtension(buffer, i, end);
          break;
        case "size-lf":
          if (buffer[i] !== LF) return this.#refuse(i);
          i++;
          this.#digits = 0;
          this.#remaining = this.#size;
          this.#state = this.#size === 0 ? "trailer" : "data";
          this.#size = 0;
          break;
        case "data": {
          const count = Math.min(end - i, this.#remaining);
          this.dataStart = i;
          this.dataEnd = i + count;
          this.#remaining -= count;
          if (this.#remaining === 0) this.#state = "data-cr";
          return i + count;
        }
        case "data-cr":
          if (buffer[i] !== CR) return this.#refuse(i);
          i++;
          this.#state = "data-lf";
          break;
        case "data-lf":
          if (buffer[i] !== LF) return this.#refuse(i);
          i++;
          this.#state = "size";
          break;
        case "trailer":
          return this.#takeTrailer(buffer, i, end);
        case "done":
        case "refused":
          return i;
      }
    }
    return i;
  }

  #takeSize(buffer: Uint8Array, at: number, end: number): number {
    let i = at;
    for (; i < end; i++) {
      const byte = buffer[i]!;
      const digit = HEX[byte]!;
      if (digit === 255) {
        if (this.#digits === 0) return this.#refuse(i);
        if (byte === CR) this.#state = "size-lf";
        else if (byte === SEMICOLON) this.#state = "extension-name";
        else return this.#refuse(i);
        return i + 1;
      }
      // RFC 9112, section 7.1: "recipients MUST anticipate potentially large hexadecimal numerals".
      if (++this.#digits > MAX_SIZE_DIGITS) return this.#refuse(i);
      this.#size = this.#size * 16 + digit;
      if (this.#size > Number.MAX_SAFE_INTEGER) return this.#refuse(i, "body_too_large");
    }
    return i;
  }

  #takeExtension(buffer: Uint8Array, at: number, end: number): number {
    let i = at;
    while (i < end && FIELD_VALUE[buffer[i]!] === 1) {
      i++;
      if (++this.#extensions > MAX_EXTENSIONS) return this.#refuse(i);
    }
    if (i === end) return i;
    if (buffer[i] !== CR) return this.#refuse(i);
    this.#state = "size-lf";
    return i + 1;
  }

  #takeTrailer(buffer: Uint8Array, at: number, end: number): number {
    // Nearly always the section is empty and in one piece.
    if (this.#trailerLength === 0 && buffer[at] === CR && at + 1 < end && buffer[at + 1] === LF) {
      this.#state = "done";
      return at + 2;
    }
    const known = this.#trailerLength;
    const held = this.#trailer ??= new Uint8Array(MAX_TRAILERS);
    const count = Math.min(end - at, MAX_TRAILERS - known);
    held.set(buffer.subarray(at, at + count), known);
    const table = new FieldTable(TRAILER_LIMITS);
    table.reset(held, 0);
    const next = table.parse(0, known + count);
    if (next === INCOMPLETE && known + count < MAX_TRAILERS) {
      this.#trailerLength += count;
      return at + count;
    }
    if (next < 0) return this.#refuse(at, next === INCOMPLETE ? "head_too_large" : table.error);
    this.trailers = encodeTrailers(table);
    this.#trailer = undefined;
    this.#state = "done";
    return at + next - known;
  }

  #refuse(at: number, error: ErrorCode = "bad_chunk"): number {
    this.error = error;
    this.#state = "refused";
    return at;
  }
}

const NO_TRAILERS = new Uint8Array(0);
const TRAILER_LIMITS = { ...DEFAULT_HEAD_LIMITS, maxHead: MAX_TRAILERS };

/**
 * Fields that must not come as trailers, for they frame, route, authenticate or describe the
 * content (RFC 9110, section 6.5.1): dropped.
 */
const FORBIDDEN_TRAILERS = new Set([
  "authorization",
  "cache-control",
  "content-encoding",
  "content-range",
  "content-type",
  "cookie",
  "proxy-authenticate",
  "proxy-authorization",
  "set-cookie",
  "www-authenticate",
]);

function encodeTrailers(table: FieldTable): Uint8Array {
  const lines: string[] = [];
  for (let i = 0; i < table.count; i++) {
    if (table.known[i] !== Known.Other || FORBIDDEN_TRAILERS.has(table.name(i).toLowerCase())) {
      continue;
    }
    lines.push(`${table.name(i)}: ${table.value(i)}\r\n`);
  }
  const text = lines.join("");
  return latin1(text);
}

/** The most bytes that {@linkcode encodeChunkSize} writes. */
export const MAX_CHUNK_SIZE_LINE = 16;
/** What ends a chunked body that has no trailers, without the empty line: `0` CRLF. */
export const LAST_CHUNK: Uint8Array = ascii("0\r\n");

const DIGITS = ascii("0123456789abcdef");

/** Writes the line that opens a chunk of `size` bytes at `out[at…]` and returns the index behind it. */
export function encodeChunkSize(size: number, out: Uint8Array, at: number): number {
  let digits = 1;
  for (let rest = size; rest >= 16; rest = Math.floor(rest / 16)) digits++;
  for (let i = at + digits - 1, rest = size; i >= at; i--, rest = Math.floor(rest / 16)) {
    out[i] = DIGITS[rest % 16]!;
  }
  out[at + digits] = CR;
  out[at + digits + 1] = LF;
  return at + digits + 2;
}

/** What ends a chunked body that has no trailers: `0` CRLF CRLF. */
export const BODY_END: Uint8Array = ascii("0\r\n\r\n");

/** One chunk with `from[start..end)` as its data, which must not be empty. */
export function encodeChunk(from: Uint8Array, start = 0, end: number = from.length): Uint8Array {
  const size = end - start;
  const chunk = new Uint8Array(MAX_CHUNK_SIZE_LINE + size + 2);
  const data = encodeChunkSize(size, chunk, 0);
  chunk.set(from.subarray(start, end), data);
  chunk[data + size] = CR;
  chunk[data + size + 1] = LF;
  return chunk.subarray(0, data + size + 2);
}

/**
 * Encodes field blocks without ever using the dynamic table: a field is an index of the static table or
 * a literal that is not indexed.
 *
 * So a block that this encoder makes means the same to every decoder at every time, and blocks of
 * a peer whose table is switched off can be copied into it as they came.
 *
 * @module
 */
import { latin1 } from "../../h1/chars.ts";
import type { ByteWriter } from "../../h1/writer.ts";
import { DEFAULT_TABLE_SIZE } from "./dynamic_table.ts";
import { FIELD_STRIDE, FieldFlag, type FieldList } from "./field_list.ts";
import { encodeHuffman, huffmanLength } from "./huffman.ts";
import { putInteger } from "./integer.ts";
import { nameId, OTHER_NAME } from "./names.ts";
import { STATIC_INDEX_OF_NAME } from "./static_table.ts";

/** The most bytes that an integer takes. */
const MAX_INTEGER = 6;

// RFC 7541, sections 5.2, 6.2.2, 6.2.3 and 6.3.
const RAW_STRING = { mask: 0x7f, pattern: 0x00 };
const HUFFMAN_STRING = { mask: 0x7f, pattern: 0x80 };
const NOT_INDEXED = { mask: 0x0f, pattern: 0x00 };
const NEVER_INDEXED = { mask: 0x0f, pattern: 0x10 };
const INDEXED = 0x80;
const SIZE_UPDATE_ZERO = 0x20;

/** The prefix of the name's index in a literal with indexing (RFC 7541, section 6.2.1). */
const INCREMENTAL_MASK = 0x3f;

/** Statuses that have an entry of their own in the static table. */
const STATUS_INDEX: ReadonlyMap<number, number> = new Map([
  [200, 8],
  [204, 9],
  [206, 10],
  [304, 11],
  [400, 12],
  [404, 13],
  [500, 14],
]);
const STATUS_NAME = 8;

/** A field name as it is written in front of a value; see {@linkcode encodeName}. */
export interface EncodedName {
  /** The beginning of a literal representation, up to the value. */
  readonly bytes: Uint8Array;
}

/**
 * Prepares a name in lower case for {@linkcode Encoder.field}.
 *
 * @param neverIndexed For values that must not be put at risk by compression, by anybody on the way
 * (RFC 7541, section 7.1.3).
 */
export function encodeName(name: string, neverIndexed = false): EncodedName {
  const form = neverIndexed ? NEVER_INDEXED : NOT_INDEXED;
  const bytes = new Uint8Array(2 * MAX_INTEGER + name.length);
  const index = STATIC_INDEX_OF_NAME[nameId(name)]!;
  let at = putInteger(bytes, 0, index, form);
  if (index === 0) {
    at = putInteger(bytes, at, name.length, RAW_STRING);
    bytes.set(latin1(name), at);
    at += name.length;
  }
  return { bytes: bytes.slice(0, at) };
}

/** Which fields of a list are left out when it is copied. */
export interface FieldFilter {
  /** 1 at the number of each name (`nameFlags`) that is left out. */
  readonly skip: Uint8Array;
  /** Further names in lower case. */
  readonly drop?: ReadonlySet<string> | undefined;
}

/** What an {@linkcode Encoder} may be told. */
export interface EncoderOptions {
  /** Whether values are Huffman-coded where that is shorter. Default false: see `hpack_bench.ts`. */
  readonly huffman?: boolean;
}

/**
 * The encoder of one direction of one connection. Its only state is whether the peer waits for a size
 * update.
 */
export class Encoder {
  readonly #huffman: boolean;
  #peerTableSize = DEFAULT_TABLE_SIZE;
  #updateDue = false;

  /** Makes an encoder. */
  constructor(options: EncoderOptions = {}) {
    this.#huffman = options.huffman ?? false;
  }

  /**
   * Takes the peer's `SETTINGS_HEADER_TABLE_SIZE`, when its SETTINGS are acknowledged. Where it is
   * lower than before, the next block begins with a size update to 0; our table is always empty, but
   * decoders such as nghttp2's insist on it (RFC 9113, section 4.3.1).
   */
  limitTable(size: number): void {
    if (size < this.#peerTableSize) this.#updateDue = true;
    this.#peerTableSize = size;
  }

  /** To be called in front of each block: writes the size update if one is due. */
  begin(out: ByteWriter): void {
    if (!this.#updateDue) return;
    this.#updateDue = false;
    out.reserve(1);
    out.buffer[out.at++] = SIZE_UPDATE_ZERO;
  }

  /** Writes the entry of the static table with this index, name and value. */
  indexed(out: ByteWriter, index: number): void {
    out.reserve(1);
    out.buffer[out.at++] = INDEXED | index;
  }

  /** Writes `:status`; a number of three digits. */
  status(out: ByteWriter, status: number): void {
    const index = STATUS_INDEX.get(status);
    if (index !== undefined) return this.indexed(out, index);
    out.reserve(5);
    const { buffer, at } = out;
    buffer[at] = STATUS_NAME;
    buffer[at + 1] = 3;
    buffer[at + 2] = 0x30 + Math.floor(status / 100);
    buffer[at + 3] = 0x30 + Math.floor(status / 10) % 10;
    buffer[at + 4] = 0x30 + status % 10;
    out.at = at + 5;
  }

  /** Writes a field whose value is text of which each character is a byte (ISO 8859-1). */
  field(out: ByteWriter, name: EncodedName, value: string): void {
    if (this.#huffman) {
      const bytes = latin1(value);
      return this.fieldRange(out, name, bytes, 0, bytes.length);
    }
    out.bytes(name.bytes);
    out.reserve(MAX_INTEGER);
    out.at = putInteger(out.buffer, out.at, value.length, RAW_STRING);
    out.text(value);
  }

  /** Writes a field whose value is `from[start..end)`. */
  fieldRange(
    out: ByteWriter,
    name: EncodedName,
    from: Uint8Array,
    start: number,
    end: number,
  ): void {
    out.bytes(name.bytes);
    this.#string(out, from, start, end);
  }

  /**
   * Writes a field whose name and value are ranges of `from`, offsets as {@linkcode FieldList} and the
   * HTTP/1.1 `FieldTable` have them, relative to `base`. The name is put in lower case (RFC 9113,
   * section 8.2).
   */
  anyField(
    out: ByteWriter,
    from: Uint8Array,
    offsets: Int32Array,
    options: { readonly slot: number; readonly base: number; readonly neverIndexed: boolean },
  ): void {
    const { slot, base, neverIndexed } = options;
    const nameStart = base + offsets[slot]!;
    const nameLength = base + offsets[slot + 1]! - nameStart;
    out.reserve(2 * MAX_INTEGER + nameLength);
    const { buffer } = out;
    let at = putInteger(buffer, out.at, 0, neverIndexed ? NEVER_INDEXED : NOT_INDEXED);
    at = putInteger(buffer, at, nameLength, RAW_STRING);
    for (let i = 0; i < nameLength; i++) {
      const byte = from[nameStart + i]!;
      buffer[at + i] = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    }
    out.at = at + nameLength;
    this.#string(out, from, base + offsets[slot + 2]!, base + offsets[slot + 3]!);
  }

  #string(out: ByteWriter, from: Uint8Array, start: number, end: number): void {
    if (this.#huffman) {
      const length = huffmanLength(from, start, end);
      if (length < end - start) {
        out.reserve(MAX_INTEGER + length);
        const at = putInteger(out.buffer, out.at, length, HUFFMAN_STRING);
        out.at = encodeHuffman(from, { start, end }, out.buffer, at);
        return;
      }
    }
    out.reserve(MAX_INTEGER);
    out.at = putInteger(out.buffer, out.at, end - start, RAW_STRING);
    out.range(from, start, end);
  }

  /**
   * Writes the fields `from..to` of a decoded list that the filter lets pass. What does not depend on the
   * state of the connection that it came over is copied as it came, runs of such fields in one
   * piece; the rest is encoded anew. "Never indexed" stays so (RFC 7541, section 6.2.3).
   */
  copy(
    out: ByteWriter,
    list: FieldList,
    filter: FieldFilter,
    { from = 0, to = list.count }: { readonly from?: number; readonly to?: number } = {},
  ): void {
    const { bytes, names, flags, representations } = list;
    const { skip, drop } = filter;
    let runStart = 0;
    let runEnd = 0;
    for (let i = from; i < to; i++) {
      const id = names[i]!;
      if (skip[id] === 1 || (drop !== undefined && drop.has(list.name(i)))) continue;
      const start = representations[i]!;
      if ((flags[i]! & (FieldFlag.Dynamic | FieldFlag.Incremental)) === 0) {
        if (start !== runEnd) {
          if (runEnd > runStart) out.range(bytes, runStart, runEnd);
          runStart = start;
        }
        runEnd = representations[i + 1]!;
        continue;
      }
      if (runEnd > runStart) out.range(bytes, runStart, runEnd);
      runStart = runEnd = 0;
      if ((flags[i]! & FieldFlag.Dynamic) === 0) this.#copyIncremental(out, list, i);
      else this.#encodeAnew(out, list, i);
    }
    if (runEnd > runStart) out.range(bytes, runStart, runEnd);
  }

  /** Copies a literal that asks to be indexed as one that does not: only its first byte is different. */
  #copyIncremental(out: ByteWriter, list: FieldList, index: number): void {
    const start = list.representations[index]!;
    const end = list.representations[index + 1]!;
    out.reserve(MAX_INTEGER);
    // An index of the static table fits into the prefix of six bits, so it is that one byte.
    const name = list.bytes[start]! & INCREMENTAL_MASK;
    out.at = putInteger(out.buffer, out.at, name, NOT_INDEXED);
    out.range(list.bytes, start + 1, end);
  }

  #encodeAnew(out: ByteWriter, list: FieldList, index: number): void {
    const { bytes, offsets } = list;
    const slot = index * FIELD_STRIDE;
    const neverIndexed = (list.flags[index]! & FieldFlag.NeverIndexed) !== 0;
    const id = list.names[index]!;
    const name = id === OTHER_NAME ? 0 : STATIC_INDEX_OF_NAME[id]!;
    if (name === 0) return this.anyField(out, bytes, offsets, { slot, base: 0, neverIndexed });
    out.reserve(MAX_INTEGER);
    out.at = putInteger(out.buffer, out.at, name, neverIndexed ? NEVER_INDEXED : NOT_INDEXED);
    this.#string(out, bytes, offsets[slot + 2]!, offsets[slot + 3]!);
  }
}

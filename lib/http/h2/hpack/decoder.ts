/**
 * Decodes field blocks: RFC 7541.
 *
 * @module
 */
import { decodeLatin1 } from "../../h1/chars.ts";
import { BYTE_CLASS, NOT_IN_NAME, NOT_IN_VALUE } from "./byte_class.ts";
import { DEFAULT_TABLE_SIZE, DynamicTable, ENTRY_OVERHEAD } from "./dynamic_table.ts";
import { FIELD_STRIDE, FieldFlag, type FieldList } from "./field_list.ts";
import { BAD_HUFFMAN, HUFFMAN_SLACK, HuffmanDecoder, maxHuffmanOutput } from "./huffman.ts";
import { BAD_INTEGER, IntegerReader } from "./integer.ts";
import { identifyName, knownNameId, NAME_END, NAME_START, OTHER_NAME } from "./names.ts";
import { STATIC_COUNT, STATIC_NAME, STATIC_VALUE_END, STATIC_VALUE_START } from "./static_table.ts";

/**
 * What came of a block.
 *
 * - `ok`: all fields are in the list.
 * - `too_large`: more or larger fields than the limits of the list; the list holds those before that.
 *   The state is right, so the connection may go on.
 * - `excessive`: so far beyond the limits that decoding was given up. The state is lost: a connection error,
 *   ENHANCE_YOUR_CALM.
 * - `compression`: the block is invalid; a connection error, COMPRESSION_ERROR (RFC 9113, section 4.3).
 */
export type DecodeVerdict = "ok" | "too_large" | "excessive" | "compression";

/**
 * How many times the allowed list size is decoded for the sake of the state alone. Beyond that a block is
 * no honest mistake but a bomb (RFC 7541, section 7.3), of which each byte could cost 4 KiB of copying.
 */
const MAX_EXCESS = 8;

/** Flags that an entry of the dynamic table keeps: they speak of its bytes, not of one representation. */
const VERDICT_FLAGS = FieldFlag.BadName | FieldFlag.BadValue;

/** The largest content type that is kept behind the limits, as a field counts. */
const MAX_TYPE = 128;
const CONTENT_TYPE = knownNameId("content-type");

const SP = 0x20;
const HTAB = 0x09;

/** What the parts of {@linkcode Decoder} answer instead of an index when the block is invalid. */
const FAILED = -1;

/**
 * The decoder of one direction of one connection. After `compression` or `excessive` it must not be used
 * again.
 */
export class Decoder {
  readonly #table: DynamicTable;
  readonly #huffman = new HuffmanDecoder();
  readonly #integer = new IntegerReader();
  /** The size that the peer may use at most: what we announced and it acknowledged. */
  #limit: number;
  /** The next block must begin with an update to at most this size; `Infinity` when none is due. */
  #updateDue = Infinity;

  // The field being decoded, as the methods below leave it: name, value, and `FieldFlag`s.
  #nameId = OTHER_NAME;
  #nameStart = 0;
  #nameEnd = 0;
  #valueStart = 0;
  #valueEnd = 0;
  #flags = 0;
  /** The last string. */
  #start = 0;
  #end = 0;
  /** What the bytes of the last string may not be part of. */
  #classes = 0;

  /**
   * Makes a decoder with an empty table.
   *
   * @param tableSize The most that the dynamic table may hold until {@linkcode limitTable}; in HTTP/2
   * always {@linkcode DEFAULT_TABLE_SIZE}, for a connection begins with it.
   */
  constructor(tableSize: number = DEFAULT_TABLE_SIZE) {
    this.#limit = tableSize;
    this.#table = new DynamicTable(tableSize);
  }

  /**
   * Sets how much the dynamic table may hold. To be called when the peer acknowledges the SETTINGS that
   * announced it, not before: until then its blocks follow the old value.
   *
   * RFC 9113, section 4.3.1: where the new maximum is "below the current size of the dynamic table", the
   * next block MUST begin with a size update. That is asked for only if entries would be lost: encoders
   * that never use the table (those of nginx and HAProxy) send none.
   */
  limitTable(size: number): void {
    this.#limit = size;
    if (this.#table.size > size) this.#updateDue = Math.min(this.#updateDue, size);
    else if (this.#table.maxSize > size) this.#table.resize(size);
  }

  /**
   * Whether no block can depend on another one: the peer has acknowledged a table of size 0 and has none.
   * A block may then be skipped without decoding it.
   */
  get stateless(): boolean {
    return this.#limit === 0 && this.#table.count === 0;
  }

  /** Bytes that the dynamic table counts for now (RFC 7541, section 4.1). */
  get tableSize(): number {
    return this.#table.size;
  }

  /** How many entries the dynamic table has. */
  get tableCount(): number {
    return this.#table.count;
  }

  /** Decodes the block of `list`. Never throws, whatever the bytes are. */
  decode(list: FieldList): DecodeVerdict {
    const { maxListSize, maxFields } = list.limits;
    const end = list.blockEnd;
    // Fields that are taken over have nothing to do with the state; a size update never is.
    let i = list.takeOver(this.#updateDue === Infinity);
    let size = list.size;
    if (list.count === 0) {
      i = this.#sizeUpdates(list.bytes, i, end);
      if (i === FAILED) return "compression";
    }
    // All that Huffman strings of this block can decode to; only entries of the dynamic table need more.
    list.ensure(list.textEnd + maxHuffmanOutput(end - i) + HUFFMAN_SLACK);
    let verdict: DecodeVerdict = "ok";
    while (i < end) {
      const textEnd = list.textEnd;
      const index = list.count;
      const room = verdict === "ok" && index < maxFields ? maxListSize - size : 0;
      const next = this.#field(list, i, end, Math.max(room, MAX_TYPE));
      if (next === FAILED) return "compression";
      const fieldSize = this.#nameEnd - this.#nameStart + this.#valueEnd - this.#valueStart +
        ENTRY_OVERHEAD;
      size += fieldSize;
      if (fieldSize <= room) {
        this.#store(list, i, next);
        list.size = size;
      } else {
        verdict = "too_large";
        if (this.#nameId === CONTENT_TYPE && fieldSize <= MAX_TYPE) {
          list.lateType ??= decodeLatin1(list.bytes, this.#valueStart, this.#valueEnd);
        }
        if (size > maxListSize * MAX_EXCESS) return "excessive";
      }
      if ((this.#flags & FieldFlag.Incremental) !== 0) this.#insert(list);
      if (verdict !== "ok") list.textEnd = textEnd;
      i = next;
    }
    return verdict;
  }

  /**
   * RFC 7541, section 4.2: size updates "MUST occur at the beginning of the first header block following
   * the change to the dynamic table size"; section 6.3: a size above the limit is a decoding error.
   */
  #sizeUpdates(bytes: Uint8Array, at: number, end: number): number {
    let i = at;
    while (i < end && (bytes[i]! & 0xe0) === 0x20) {
      const size = this.#integer.read(bytes, i, end, 0x1f);
      if (size === BAD_INTEGER || size > this.#limit || size > this.#updateDue) return FAILED;
      this.#table.resize(size);
      this.#updateDue = Infinity;
      i = this.#integer.next;
    }
    return this.#updateDue < Infinity ? FAILED : i;
  }

  /** Reads one representation. What it refers to is copied only if it takes at most `room`. */
  #field(list: FieldList, at: number, end: number, room: number): number {
    const byte = list.bytes[at]!;
    if (byte >= 0x80) {
      // Indexed (section 6.1); 0 is not used.
      const index = byte - 0x80;
      if (index === 0 || index > STATIC_COUNT) return this.#indexed(list, at, end, room);
      this.#flags = 0;
      const id = this.#nameId = STATIC_NAME[index]!;
      this.#nameStart = NAME_START[id]!;
      this.#nameEnd = NAME_END[id]!;
      this.#valueStart = STATIC_VALUE_START[index]!;
      this.#valueEnd = STATIC_VALUE_END[index]!;
      return at + 1;
    }
    // Literal (section 6.2).
    let mask = 0x0f;
    this.#flags = 0;
    if (byte >= 0x40) {
      mask = 0x3f;
      this.#flags = FieldFlag.Incremental;
    } else if (byte >= 0x20) {
      return FAILED; // a size update behind a field
    } else if (byte >= 0x10) {
      this.#flags = FieldFlag.NeverIndexed;
    }
    const next = this.#name(list, at, end, mask);
    return next === FAILED ? FAILED : this.#value(list, next, end);
  }

  #indexed(list: FieldList, at: number, end: number, room: number): number {
    const index = this.#integer.read(list.bytes, at, end, 0x7f);
    if (index <= STATIC_COUNT) return FAILED; // 0, or a bad integer
    const table = this.#table;
    const entry = table.find(index - STATIC_COUNT - 1);
    if (entry < 0) return FAILED;
    const nameLength = table.nameLength(entry);
    const length = nameLength + table.valueLength(entry);
    this.#nameId = table.nameId(entry);
    this.#flags = FieldFlag.Dynamic | table.flags(entry);
    const start = list.textEnd;
    if (length + ENTRY_OVERHEAD <= room) this.#copy(list, table.offset(entry), length, end - at);
    this.#nameStart = start;
    this.#nameEnd = this.#valueStart = start + nameLength;
    this.#valueEnd = start + length;
    return this.#integer.next;
  }

  /** Copies from the dynamic table; `rest` bytes of the block are still to be decoded. */
  #copy(list: FieldList, offset: number, length: number, rest: number): void {
    const at = list.textEnd;
    list.ensure(at + length + maxHuffmanOutput(rest) + HUFFMAN_SLACK);
    list.bytes.set(this.#table.bytes.subarray(offset, offset + length), at);
    list.textEnd = at + length;
  }

  #name(list: FieldList, at: number, end: number, mask: number): number {
    const prefix = list.bytes[at]! & mask;
    let index = prefix;
    let next = at + 1;
    if (prefix === mask) {
      index = this.#integer.read(list.bytes, at, end, mask);
      if (index === BAD_INTEGER) return FAILED;
      next = this.#integer.next;
    }
    if (index === 0) return this.#literalName(list, next, end);
    if (index <= STATIC_COUNT) {
      const id = this.#nameId = STATIC_NAME[index]!;
      this.#nameStart = NAME_START[id]!;
      this.#nameEnd = NAME_END[id]!;
      return next;
    }
    const table = this.#table;
    const entry = table.find(index - STATIC_COUNT - 1);
    if (entry < 0) return FAILED;
    // Copied whether there is room or not, for the entry may be evicted by the new one (section 4.4).
    this.#nameStart = list.textEnd;
    this.#copy(list, table.offset(entry), table.nameLength(entry), end - at);
    this.#nameEnd = list.textEnd;
    this.#nameId = table.nameId(entry);
    this.#flags |= FieldFlag.Dynamic | (table.flags(entry) & FieldFlag.BadName);
    return next;
  }

  #literalName(list: FieldList, at: number, end: number): number {
    const next = this.#string(list, at, end);
    if (next === FAILED) return FAILED;
    const start = this.#nameStart = this.#start;
    const nameEnd = this.#nameEnd = this.#end;
    const id = this.#nameId = identifyName(list.bytes, start, nameEnd);
    // Of the known names, the pseudo-fields have a colon, and may.
    if (id === OTHER_NAME && (start === nameEnd || (this.#classes & NOT_IN_NAME) !== 0)) {
      this.#flags |= FieldFlag.BadName;
    }
    return next;
  }

  #value(list: FieldList, at: number, end: number): number {
    const next = this.#string(list, at, end);
    if (next === FAILED) return FAILED;
    const start = this.#valueStart = this.#start;
    const valueEnd = this.#valueEnd = this.#end;
    if (start === valueEnd) return next;
    const { bytes } = list;
    const first = bytes[start]!;
    const last = bytes[valueEnd - 1]!;
    // RFC 9113, section 8.2.1: "A field value MUST NOT start or end with an ASCII whitespace character".
    if (
      (this.#classes & NOT_IN_VALUE) !== 0 || first === SP || first === HTAB || last === SP ||
      last === HTAB
    ) this.#flags |= FieldFlag.BadValue;
    return next;
  }

  /** Reads a string (section 5.2); where it lies is left in `#start` and `#end`. */
  #string(list: FieldList, at: number, end: number): number {
    if (at >= end) return FAILED;
    const { bytes } = list;
    const byte = bytes[at]!;
    let length = byte & 0x7f;
    let start = at + 1;
    if (length === 0x7f) {
      length = this.#integer.read(bytes, at, end, 0x7f);
      if (length === BAD_INTEGER) return FAILED;
      start = this.#integer.next;
    }
    if (length > end - start) return FAILED;
    const next = start + length;
    if (byte < 0x80) {
      let classes = 0;
      for (let i = start; i < next; i++) classes |= BYTE_CLASS[bytes[i]!]!;
      this.#start = start;
      this.#end = next;
      this.#classes = classes;
      return next;
    }
    const to = list.textEnd;
    const textEnd = this.#huffman.decode(bytes, start, next, to);
    if (textEnd === BAD_HUFFMAN) return FAILED;
    this.#start = to;
    this.#end = list.textEnd = textEnd;
    this.#classes = this.#huffman.classes;
    return next;
  }

  #store(list: FieldList, representation: number, next: number): void {
    const index = list.count;
    if (index === list.names.length) list.growFields();
    const { offsets, representations } = list;
    const slot = index * FIELD_STRIDE;
    offsets[slot] = this.#nameStart;
    offsets[slot + 1] = this.#nameEnd;
    offsets[slot + 2] = this.#valueStart;
    offsets[slot + 3] = this.#valueEnd;
    representations[index] = representation;
    representations[index + 1] = next;
    list.textEnds[index] = list.textEnd;
    list.names[index] = this.#nameId;
    list.flags[index] = this.#flags;
    list.allFlags |= this.#flags;
    list.count = index + 1;
  }

  #insert(list: FieldList): void {
    // The usual case: without a table there is nothing to keep, and nothing to evict.
    if (this.#table.maxSize === 0) return;
    this.#table.add({
      bytes: list.bytes,
      nameStart: this.#nameStart,
      nameEnd: this.#nameEnd,
      valueStart: this.#valueStart,
      valueEnd: this.#valueEnd,
      nameId: this.#nameId,
      flags: this.#flags & VERDICT_FLAGS,
    });
  }
}

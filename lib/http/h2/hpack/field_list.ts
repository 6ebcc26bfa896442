/**
 * One field section: the block as it came, and what it decodes to, as ranges of one buffer.
 *
 * @module
 */
import { decodeLatin1 } from "../../h1/chars.ts";
import { ENTRY_OVERHEAD } from "./dynamic_table.ts";
import { nameId, nameOf, OTHER_NAME } from "./names.ts";
import { STATIC_TEXT } from "./static_table.ts";

/** How much of a field section is taken. */
export interface FieldLimits {
  /**
   * Bytes of the block, all fragments together: what is larger cannot be decoded, so the connection ends.
   * Default 65536.
   */
  readonly maxBlock: number;
  /**
   * Bytes of the decoded list: names, values and 32 for each field (RFC 9113, section 6.5.2,
   * `SETTINGS_MAX_HEADER_LIST_SIZE`). What is larger is decoded for the state and refused. Default 16384.
   */
  readonly maxListSize: number;
  /** Fields, each `cookie` crumb counted. Default 100. */
  readonly maxFields: number;
}

/** Limits that suit browsers and gRPC, and bound what a small block can grow to. */
export const DEFAULT_FIELD_LIMITS: FieldLimits = {
  maxBlock: 65_536,
  maxListSize: 16_384,
  maxFields: 100,
};

/** What is known of a field and of how it was represented; bits of {@linkcode FieldList.flags}. */
export const FieldFlag = {
  /** Never to be indexed, by us neither (RFC 7541, section 6.2.3). */
  NeverIndexed: 1,
  /** The representation adds to the dynamic table of whoever decodes it. */
  Incremental: 2,
  /** The representation refers to the dynamic table: it means nothing to anybody else. */
  Dynamic: 4,
  /** The name is empty, or has a byte that no field name has; unknown pseudo-fields too. */
  BadName: 8,
  /** The value has a byte that no field value has, or white space at its start or end. */
  BadValue: 16,
} as const;

/** Bytes of the buffer of a new list; enough for nearly all blocks of up to 400 bytes. */
const INITIAL_SIZE = 2048;
/** Where the block begins. */
const BLOCK_START = STATIC_TEXT.length;
/** Bytes for the block are reserved in steps of this; what is decoded begins behind them. */
const BLOCK_STEP = 512;
/** A buffer that has grown larger than this is not kept for the next block. */
const KEEP_SIZE = 16_384;
/** Fields that a new list has room for. */
const INITIAL_FIELDS = 32;
/** Offsets that are kept for each field: name start, name end, value start, value end. */
export const FIELD_STRIDE = 4;

const COOKIE = nameId("cookie");
/** Fields whose representation does not mean the same at any time and on any connection. */
const STATE_FLAGS = FieldFlag.Dynamic | FieldFlag.Incremental;

function grown<T extends Int32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/**
 * A block and its fields. It owns its bytes, so it stays valid whatever becomes of the buffer that the
 * block was read into, until {@linkcode reset}. Use: `reset`, `append` each fragment,
 * `Decoder.decode`.
 *
 * The buffer holds {@linkcode STATIC_TEXT}, then the block, then what had to be decoded. Memory is at most
 * twice 2.6 × `maxBlock` + `maxListSize` + 26 × `maxFields` + 2 KiB; usually 3 KiB.
 *
 * Clients repeat themselves: one block often begins with the same fields as the one before, or is the same.
 * So a list that is used for block after block keeps the fields of the one before as long as the bytes are the
 * same. It does so only where no field depends on the state of the decoder or changes it.
 */
export class FieldList {
  /** What is taken. */
  readonly limits: FieldLimits;
  /** What all ranges are in. It may be replaced by {@linkcode append} and by decoding. */
  bytes: Uint8Array;
  /** The index behind the block, which begins behind {@linkcode STATIC_TEXT}. */
  blockEnd: number = BLOCK_START;
  /** Where decoded strings begin. */
  textStart: number = BLOCK_START + BLOCK_STEP;
  /** The index behind all decoded strings. */
  textEnd: number = BLOCK_START + BLOCK_STEP;
  /** How many fields there are. */
  count = 0;
  /** Bytes of names and values and 32 for each field. */
  size = 0;
  /** Four offsets a field: name start, name end, value start, value end. */
  offsets: Int32Array = new Int32Array(INITIAL_FIELDS * FIELD_STRIDE);
  /** Where the representation of each field begins in the block; of the last, also where it ends. */
  representations: Int32Array = new Int32Array(INITIAL_FIELDS + 1);
  /** The index behind all strings that were decoded for the fields up to each. */
  textEnds: Int32Array = new Int32Array(INITIAL_FIELDS);
  /** The number of each name (`names.ts`), or {@linkcode OTHER_NAME}. */
  names: Uint8Array = new Uint8Array(INITIAL_FIELDS);
  /** {@linkcode FieldFlag}s of each field. */
  flags: Uint8Array = new Uint8Array(INITIAL_FIELDS);
  /** The flags of all fields together. */
  allFlags = 0;
  /** The content type, where it came behind what the limits allow; so much is needed to answer the request. */
  lateType: string | undefined;
  /** Changes with every block that is not the same as the one before. */
  generation = 0;
  /** What somebody has made of the fields and keeps for when they come again; gone when others come. */
  memo: object | undefined;

  /** How many fields of the block before may be kept. */
  #oldCount = 0;
  /** Up to where this block is known to be the same. */
  #sameEnd = BLOCK_START;

  /** Makes an empty list. */
  constructor(limits: FieldLimits = DEFAULT_FIELD_LIMITS) {
    this.limits = limits;
    this.bytes = new Uint8Array(INITIAL_SIZE);
    this.bytes.set(STATIC_TEXT);
  }

  /** Forgets the block and its fields. */
  reset(): void {
    const keep = this.count > 0 && (this.allFlags & STATE_FLAGS) === 0 &&
      this.representations[0] === BLOCK_START;
    this.#oldCount = keep ? this.count : 0;
    if (this.bytes.length > KEEP_SIZE) {
      this.bytes = new Uint8Array(INITIAL_SIZE);
      this.bytes.set(STATIC_TEXT);
      this.#moveText(BLOCK_START + BLOCK_STEP);
    }
    this.blockEnd = this.#sameEnd = BLOCK_START;
    this.textEnd = this.textStart;
    this.count = this.size = 0;
    this.allFlags = 0;
    this.lateType = undefined;
  }

  /** Lets decoded strings begin elsewhere; those of the block before are lost. */
  #moveText(start: number): void {
    this.textStart = this.textEnd = start;
    this.#oldCount = 0;
  }

  /**
   * Adds the next fragment of the block.
   *
   * @returns `false` when the block is larger than the limit; nothing is added then.
   */
  append(from: Uint8Array, start: number, end: number): boolean {
    let at = this.blockEnd;
    const next = at + end - start;
    if (next - BLOCK_START > this.limits.maxBlock) return false;
    if (next > this.textStart) {
      this.#moveText(BLOCK_START + Math.ceil((next - BLOCK_START) / BLOCK_STEP) * BLOCK_STEP);
    }
    this.ensure(this.textStart);
    const { bytes } = this;
    let i = start;
    if (this.#oldCount > 0 && at === this.#sameEnd) {
      while (at < next && bytes[at] === from[i]) {
        at++;
        i++;
      }
      this.#sameEnd = at;
    }
    if (i < end) bytes.set(from.subarray(i, end), at);
    this.blockEnd = next;
    return true;
  }

  /**
   * Takes over what can be kept of the block before; for the decoder. The generation changes unless that is
   * all.
   *
   * @param allowed Whether anything may be kept.
   * @returns Where the block is still to be decoded.
   */
  takeOver(allowed: boolean): number {
    const { offsets, representations, flags } = this;
    const old = allowed ? this.#oldCount : 0;
    let count = 0;
    let size = 0;
    let allFlags = 0;
    while (count < old && representations[count + 1]! <= this.#sameEnd) {
      const slot = count * FIELD_STRIDE;
      size += offsets[slot + 1]! - offsets[slot]! + offsets[slot + 3]! - offsets[slot + 2]!;
      allFlags |= flags[count++]!;
    }
    this.size = size + count * ENTRY_OVERHEAD;
    this.allFlags = allFlags;
    const next = count === 0 ? BLOCK_START : representations[count]!;
    const same = count > 0 && count === this.#oldCount && next === this.blockEnd;
    if (!same) {
      this.generation++;
      this.memo = undefined;
    }
    this.count = count;
    this.textEnd = count === 0 ? this.textStart : this.textEnds[count - 1]!;
    return next;
  }

  /** Makes sure that the buffer has `size` bytes. */
  ensure(size: number): void {
    if (size <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(size, this.bytes.length * 2));
    larger.set(this.bytes);
    this.bytes = larger;
  }

  /** Makes room for twice as many fields, up to the limit. */
  growFields(): void {
    const size = Math.min(this.names.length * 2, Math.max(this.limits.maxFields, INITIAL_FIELDS));
    this.offsets = grown(this.offsets, new Int32Array(size * FIELD_STRIDE));
    this.representations = grown(this.representations, new Int32Array(size + 1));
    this.textEnds = grown(this.textEnds, new Int32Array(size));
    this.names = grown(this.names, new Uint8Array(size));
    this.flags = grown(this.flags, new Uint8Array(size));
  }

  /** Where the value of the field at `index` begins in {@linkcode bytes}. */
  valueStart(index: number): number {
    return this.offsets[index * FIELD_STRIDE + 2]!;
  }

  /** The index behind the value of the field at `index`. */
  valueEnd(index: number): number {
    return this.offsets[index * FIELD_STRIDE + 3]!;
  }

  /** The name of the field at `index`. */
  name(index: number): string {
    const id = this.names[index]!;
    if (id !== OTHER_NAME) return nameOf(id);
    const slot = index * FIELD_STRIDE;
    return decodeLatin1(this.bytes, this.offsets[slot]!, this.offsets[slot + 1]!);
  }

  /** The value of the field at `index`. */
  value(index: number): string {
    return decodeLatin1(this.bytes, this.valueStart(index), this.valueEnd(index));
  }

  /** The first field with the number `id` at or behind `from`, or -1. Not for {@linkcode OTHER_NAME}. */
  find(id: number, from = 0): number {
    const { names, count } = this;
    for (let i = from; i < count; i++) if (names[i] === id) return i;
    return -1;
  }

  /** Whether the field at `index` has this name, which is in lower case and none of the known ones. */
  #isNamed(index: number, name: string): boolean {
    if (this.names[index] !== OTHER_NAME) return false;
    const slot = index * FIELD_STRIDE;
    const start = this.offsets[slot]!;
    if (this.offsets[slot + 1]! - start !== name.length) return false;
    for (let i = 0; i < name.length; i++) {
      if (this.bytes[start + i] !== name.charCodeAt(i)) return false;
    }
    return true;
  }

  /**
   * All values of the fields with this name, given in lower case: joined by `, ` (RFC 9110, section 5.3),
   * `cookie` by `; ` (RFC 9113, section 8.2.3); `undefined` when there is none.
   */
  get(name: string): string | undefined {
    const id = nameId(name);
    const separator = id === COOKIE ? "; " : ", ";
    let text: string | undefined;
    for (let i = 0; i < this.count; i++) {
      if (id === OTHER_NAME ? !this.#isNamed(i, name) : this.names[i] !== id) continue;
      text = text === undefined ? this.value(i) : `${text}${separator}${this.value(i)}`;
    }
    return text;
  }
}

/**
 * The dynamic table of a decoder: RFC 7541, sections 2.3.2 and 4.
 *
 * @module
 */

/** `SETTINGS_HEADER_TABLE_SIZE` until it is changed (RFC 9113, section 6.5.2). */
export const DEFAULT_TABLE_SIZE = 4096;

/** What an entry costs beside its name and value (RFC 7541, section 4.1). */
export const ENTRY_OVERHEAD = 32;

/** Numbers kept for each entry: where its bytes are, their lengths, and what is known of the name. */
const STRIDE = 5;
const OFFSET = 0;
const NAME_LENGTH = 1;
const VALUE_LENGTH = 2;
const NAME_ID = 3;
const FLAGS = 4;

/** Where an entry to be added lies, and what is known of it. */
export interface NewEntry {
  /** What both ranges are in. */
  readonly bytes: Uint8Array;
  /** Where the name begins. */
  readonly nameStart: number;
  /** The index behind the name. */
  readonly nameEnd: number;
  /** Where the value begins. */
  readonly valueStart: number;
  /** The index behind the value. */
  readonly valueEnd: number;
  /** The number of the name (`names.ts`). */
  readonly nameId: number;
  /** Verdicts on the name and value, kept for every field that refers to the entry. */
  readonly flags: number;
}

/**
 * Entries in the order in which they came, the oldest evicted first. Storage is allocated with the first
 * entry and freed when the maximum size falls to 0; it takes less than four times the maximum size.
 */
export class DynamicTable {
  /** Bytes of all entries in one run; twice the maximum size, so that it is moved to the front seldom. */
  #bytes = EMPTY_BYTES;
  #bytesEnd = 0;
  /** A ring of entries. */
  #entries = EMPTY_ENTRIES;
  /** Position of the oldest entry in the ring. */
  #first = 0;
  #maxSize: number;
  /** How many entries there are. */
  count = 0;
  /** The size of all entries as RFC 7541, section 4.1 counts it. */
  size = 0;

  /** Makes an empty table. */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  /** The size that the entries may have together. */
  get maxSize(): number {
    return this.#maxSize;
  }

  /** Changes the maximum size; entries that no longer fit are evicted (RFC 7541, section 4.3). */
  resize(maxSize: number): void {
    if (maxSize === this.#maxSize) return;
    this.#evict(maxSize);
    this.#maxSize = maxSize;
    // Storage for the new size is made when the next entry comes; what is left moves there then.
    if (this.count === 0) this.#free();
  }

  /** The bytes that offsets of entries refer to; valid until the table changes. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /**
   * The position of an entry for the functions below: `index` 0 is the newest. -1 when there is none.
   */
  find(index: number): number {
    if (index >= this.count) return -1;
    const slots = this.#entries.length / STRIDE;
    return (this.#first + this.count - 1 - index) % slots * STRIDE;
  }

  /** Where the name of the entry begins in {@linkcode bytes}; the value follows it. */
  offset(position: number): number {
    return this.#entries[position + OFFSET]!;
  }

  /** Length of the name of the entry. */
  nameLength(position: number): number {
    return this.#entries[position + NAME_LENGTH]!;
  }

  /** Length of the value of the entry. */
  valueLength(position: number): number {
    return this.#entries[position + VALUE_LENGTH]!;
  }

  /** The number of the name of the entry. */
  nameId(position: number): number {
    return this.#entries[position + NAME_ID]!;
  }

  /** The verdicts that were given with the entry. */
  flags(position: number): number {
    return this.#entries[position + FLAGS]!;
  }

  /** Adds an entry as the newest. One that is larger than the table empties it (RFC 7541, section 4.4). */
  add(entry: NewEntry): void {
    const nameLength = entry.nameEnd - entry.nameStart;
    const valueLength = entry.valueEnd - entry.valueStart;
    const size = nameLength + valueLength + ENTRY_OVERHEAD;
    this.#evict(this.#maxSize - size);
    if (size > this.#maxSize) return;
    this.#makeRoom(nameLength + valueLength);
    const slots = this.#entries.length / STRIDE;
    const at = (this.#first + this.count) % slots * STRIDE;
    const entries = this.#entries;
    entries[at + OFFSET] = this.#bytesEnd;
    entries[at + NAME_LENGTH] = nameLength;
    entries[at + VALUE_LENGTH] = valueLength;
    entries[at + NAME_ID] = entry.nameId;
    entries[at + FLAGS] = entry.flags;
    this.#bytes.set(entry.bytes.subarray(entry.nameStart, entry.nameEnd), this.#bytesEnd);
    this.#bytesEnd += nameLength;
    this.#bytes.set(entry.bytes.subarray(entry.valueStart, entry.valueEnd), this.#bytesEnd);
    this.#bytesEnd += valueLength;
    this.count++;
    this.size += size;
  }

  #evict(size: number): void {
    const slots = this.#entries.length / STRIDE;
    while (this.count > 0 && this.size > size) {
      const at = this.#first * STRIDE;
      this.size -= this.#entries[at + NAME_LENGTH]! + this.#entries[at + VALUE_LENGTH]! +
        ENTRY_OVERHEAD;
      this.#first = (this.#first + 1) % slots;
      this.count--;
    }
    if (this.count === 0) this.#first = this.#bytesEnd = 0;
  }

  #free(): void {
    this.#bytes = EMPTY_BYTES;
    this.#entries = EMPTY_ENTRIES;
  }

  /** Makes sure that there is a slot and that `length` bytes fit behind the others. */
  #makeRoom(length: number): void {
    const capacity = 2 * this.#maxSize;
    const slots = Math.floor(this.#maxSize / ENTRY_OVERHEAD);
    const sized = this.#bytes.length === capacity;
    if (sized && this.#bytesEnd + length <= capacity) return;
    const bytes = sized ? this.#bytes : new Uint8Array(capacity);
    const entries = sized ? this.#entries : new Int32Array(slots * STRIDE);
    const from = this.count === 0 ? 0 : this.#entries[this.#first * STRIDE + OFFSET]!;
    bytes.set(this.#bytes.subarray(from, this.#bytesEnd));
    this.#bytesEnd -= from;
    const oldSlots = this.#entries.length / STRIDE;
    for (let i = 0; i < this.count; i++) {
      const old = (this.#first + i) % oldSlots * STRIDE;
      this.#entries[old + OFFSET]! -= from;
      if (!sized) entries.set(this.#entries.subarray(old, old + STRIDE), i * STRIDE);
    }
    if (!sized) this.#first = 0;
    this.#bytes = bytes;
    this.#entries = entries;
  }
}

const EMPTY_BYTES = new Uint8Array(0);
const EMPTY_ENTRIES = new Int32Array(0);

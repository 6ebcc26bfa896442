/**
 * The open streams of a connection by their identifiers.
 *
 * @module
 */
/** What is known by the identifier of a stream. */
export interface Identified {
  /** The identifier of the stream. */
  readonly id: number;
}

/** Slots of a new table, a power of two. */
const INITIAL_SLOTS = 16;

/**
 * A hash table with open addressing. It is no `Map`, because a `Map` that changes all the time is written anew again and
 * again, and V8 links each discarded table to the one that took its place: once a discarded one has reached the old
 * generation, all that come after it survive every minor collection, and with them the streams that were open when
 * they were discarded, and all of their calls (`tests/bench/h2_churn_bench.ts`).
 *
 * Identifiers are handed out in turn, every second number, so the lower bits of their halves are as good as any hash:
 * streams that are open at a time meet in a slot only where one is much older than the other.
 */
export class StreamTable<S extends Identified> {
  #slots: (S | undefined)[] = new Array(INITIAL_SLOTS).fill(undefined);
  #mask = INITIAL_SLOTS - 1;
  /** How many streams there are. */
  size = 0;

  /** The stream with this identifier, if there is one. */
  get(id: number): S | undefined {
    const slots = this.#slots;
    const mask = this.#mask;
    for (let at = (id >>> 1) & mask;; at = (at + 1) & mask) {
      const stream = slots[at];
      if (stream === undefined || stream.id === id) return stream;
    }
  }

  /** Adds a stream, whose identifier must not be in the table. */
  add(stream: S): void {
    // At most half full, so that a search ends soon.
    if (++this.size * 2 > this.#slots.length) this.#grow();
    this.#put(stream);
  }

  #put(stream: S): void {
    const slots = this.#slots;
    const mask = this.#mask;
    let at = (stream.id >>> 1) & mask;
    while (slots[at] !== undefined) at = (at + 1) & mask;
    slots[at] = stream;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Array(old.length * 2).fill(undefined);
    this.#mask = this.#slots.length - 1;
    for (const stream of old) if (stream !== undefined) this.#put(stream);
  }

  /** Takes the stream with this identifier out; whether it was in. */
  delete(id: number): boolean {
    const slots = this.#slots;
    const mask = this.#mask;
    let hole = (id >>> 1) & mask;
    for (;;) {
      const stream = slots[hole];
      if (stream === undefined) return false;
      if (stream.id === id) break;
      hole = (hole + 1) & mask;
    }
    this.size--;
    // Whoever lies behind the hole and would not be found beyond it moves into it (Knuth, TAOCP 3, 6.4, algorithm R).
    for (let at = (hole + 1) & mask; slots[at] !== undefined; at = (at + 1) & mask) {
      const stream = slots[at]!;
      const wanted = (stream.id >>> 1) & mask;
      if (((at - wanted) & mask) < ((at - hole) & mask)) continue;
      slots[hole] = stream;
      hole = at;
    }
    slots[hole] = undefined;
    return true;
  }

  /** All streams that are open now, in no order; streams may come and go while the list is walked. */
  list(): S[] {
    return this.#slots.filter((stream) => stream !== undefined);
  }
}

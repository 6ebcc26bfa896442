/**
 * Members of a set that come and go all the time.
 *
 * @module
 */

/** Where a member stands; what {@linkcode Members.add} returns and {@linkcode Members.delete} takes. */
export interface Place<T> {
  /** The member. */
  readonly member: T;
  /** Its index, which changes as others leave; -1 when it has left. */
  at: number;
}

/**
 * An array in which each member has a place that it leaves by. It is no `Set`, because V8 links each table that a `Set`
 * has discarded to the next one: once one has reached the old generation, all that ever came after it survives every
 * minor collection (`tests/bench/h2_churn_bench.ts`).
 */
export class Members<T> {
  readonly #places: Place<T>[] = [];

  /** How many there are. */
  get size(): number {
    return this.#places.length;
  }

  /** Adds a member, which must not be one already: it would be one twice. */
  add(member: T): Place<T> {
    const place = { member, at: this.#places.length };
    this.#places.push(place);
    return place;
  }

  /** Takes out who stands at this place of this set; whether there still was anybody. */
  delete(place: Place<T>): boolean {
    const { at } = place;
    if (at < 0) return false;
    place.at = -1;
    const last = this.#places.pop()!;
    if (last === place) return true;
    this.#places[at] = last;
    last.at = at;
    return true;
  }

  /** All members as they are now, in no order; they may come and go while the list is walked. */
  list(): T[] {
    return this.#places.map(({ member }) => member);
  }
}

/**
 * The routes that stand at one place of the path index: the best one that matches is found without
 * looking at most of the others.
 *
 * A bucket holds a few routes in a list, sorted by rank. Further ones go into an index by one of
 * their conditions, each value of which has a bucket of its own, where the same begins anew with the
 * conditions that remain. So ten thousand routes that differ in the value of one header, parameter or
 * method cost one look-up in a map.
 *
 * What cannot be indexed is compared one by one: routes without exact conditions on the same path,
 * such as many expressions on one header. Routes that each ask for a header of another name cost a
 * look at each of these names.
 *
 * @module
 */

import type { Check } from "./compile.ts";
import type { Lookup } from "./lookup.ts";

/** So many routes that could be indexed stay in the list of a bucket. */
const LIST_SIZE = 2;
/** An index by another condition is begun only once the value in the existing ones has so many routes. */
const NEW_INDEX_COST = 4;

type Indexable = Extract<Check, { kind: "header" | "param" | "method" }>;

/** A route that matches, and what decides between it and others. */
export interface Found<E> {
  /** What the route table finds. */
  readonly entry: E;
  /** The higher, the more specific. */
  readonly rank: number;
  /** The lower, the older; the older route wins between equals. */
  readonly age: number;
}

/** Where a route was put, so that it can be taken out again. */
export interface Placement {
  /** Takes the route out of its bucket, and buckets that are empty then out of theirs. */
  remove(): void;
}

const NO_CHECKS: readonly Check[] = [];

/** One route in one bucket. A look-up reads few objects, for in a large table each is far from the cache. */
class Item<E> implements Found<E>, Placement {
  readonly entry: E;
  readonly rank: number;
  readonly age: number;
  /** What its place does not already imply. */
  readonly checks: readonly Check[];
  /** The item that comes after it in the list of the bucket. */
  next: Item<E> | undefined = undefined;
  readonly #home: Bucket<E>;

  constructor(found: Found<E>, checks: readonly Check[], home: Bucket<E>) {
    this.entry = found.entry;
    this.rank = found.rank;
    this.age = found.age;
    this.checks = checks.length === 0 ? NO_CHECKS : checks;
    this.#home = home;
  }

  /** Whether it comes before another one that matches too. */
  precedes(other: Found<E>): boolean {
    return this.rank > other.rank || (this.rank === other.rank && this.age < other.age);
  }

  /** Whether the request meets what must still be checked. */
  accepts(lookup: Lookup): boolean {
    const { checks } = this;
    for (let i = 0; i < checks.length; i++) if (!meets(checks[i]!, lookup)) return false;
    return true;
  }

  remove(): void {
    this.#home.remove(this);
  }
}

/** The buckets of one condition by its values. */
class Index<E> {
  readonly kind: Indexable["kind"];
  /** Name of the header or parameter; empty for methods. */
  readonly name: string;
  readonly values = new Map<string, Bucket<E>>();
  /** Routes that are satisfied by several values, or that test them by an expression. */
  any: Bucket<E> | undefined = undefined;

  constructor(kind: Indexable["kind"], name: string) {
    this.kind = kind;
    this.name = name;
  }
}

/** The routes at one place, and an index of those that are too many to compare. */
export class Bucket<E> {
  /** The items that are compared one by one, the best first. */
  #first: Item<E> | undefined = undefined;
  #last: Item<E> | undefined = undefined;
  #listed = 0;
  /** Indexes by method and by header. */
  #indexes: Index<E>[] | undefined = undefined;
  /** Indexes by parameter. */
  #params: Map<string, Index<E>> | undefined = undefined;
  #size = 0;
  /** The bucket in whose index this one stands, and where; undefined at the top. */
  readonly #above: Bucket<E> | undefined;
  readonly #index: Index<E> | undefined;
  readonly #value: string | undefined;

  constructor(above?: Bucket<E>, index?: Index<E>, value?: string) {
    this.#above = above;
    this.#index = index;
    this.#value = value;
  }

  /** Number of routes here and below; one with several values counts for each. */
  get size(): number {
    return this.#size;
  }

  /** Adds a route with what must hold besides the path, and appends where it was put to `placements`. */
  add(found: Found<E>, checks: readonly Check[], placements: Placement[]): void {
    const keys = checks.filter((check) => check.kind !== "grpc" && check.kind !== "path");
    this.#put(found, checks, keys, placements);
  }

  /** Takes an item out; called by the item. */
  remove(item: Item<E>): void {
    let previous: Item<E> | undefined;
    for (let other = this.#first; other !== item; other = other?.next) previous = other;
    if (previous === undefined) this.#first = item.next;
    else previous.next = item.next;
    if (this.#last === item) this.#last = previous;
    this.#listed--;
    this.#count(-1);
  }

  /** The best route that the request matches, or `best` if that comes before it. */
  match(lookup: Lookup, best?: Found<E>): Found<E> | undefined {
    for (let item = this.#first; item !== undefined; item = item.next) {
      if (best !== undefined && !item.precedes(best)) break;
      if (item.accepts(lookup)) {
        best = item;
        break;
      }
    }
    if (this.#indexes !== undefined) best = this.#matchIndexes(this.#indexes, lookup, best);
    if (this.#params !== undefined) best = this.#matchParams(this.#params, lookup, best);
    return best;
  }

  #matchIndexes(
    indexes: readonly Index<E>[],
    lookup: Lookup,
    best: Found<E> | undefined,
  ): Found<E> | undefined {
    for (let i = 0; i < indexes.length; i++) {
      const { kind, name, values, any } = indexes[i]!;
      const value = kind === "method" ? lookup.method : lookup.header(name);
      if (value === undefined) continue;
      const bucket = values.get(value);
      if (bucket !== undefined) best = bucket.match(lookup, best);
      if (any !== undefined) best = any.match(lookup, best);
    }
    return best;
  }

  #matchParams(
    indexes: ReadonlyMap<string, Index<E>>,
    lookup: Lookup,
    best: Found<E> | undefined,
  ): Found<E> | undefined {
    const { names, values } = lookup.params;
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!;
      const index = indexes.get(name);
      if (index === undefined) continue;
      const bucket = index.values.get(values[i]!);
      if (bucket !== undefined) best = bucket.match(lookup, best);
      // Those that ask for any value look at all of them, so once is enough.
      if (index.any !== undefined && names.indexOf(name) === i) {
        best = index.any.match(lookup, best);
      }
    }
    return best;
  }

  #put(
    found: Found<E>,
    checks: readonly Check[],
    keys: readonly Indexable[],
    placements: Placement[],
  ): void {
    const key = this.#listed < LIST_SIZE ? undefined : this.#cheapestKey(keys);
    if (key === undefined) {
      const item = new Item(found, checks, this);
      this.#insert(item);
      placements.push(item);
      return;
    }
    const index = this.#find(key) ?? this.#begin(key);
    const values = valuesOf(key);
    const others = keys.filter((other) => other !== key);
    // What the place of a bucket implies needs no check there.
    const implied = values !== undefined || (key.kind !== "method" && key.present);
    const left = implied ? checks.filter((check) => check !== key) : checks;
    for (const value of values ?? [undefined]) {
      let bucket = value === undefined ? index.any : index.values.get(value);
      if (bucket === undefined) {
        bucket = new Bucket(this, index, value);
        if (value === undefined) index.any = bucket;
        else index.values.set(value, bucket);
      }
      bucket.#put(found, left, others, placements);
    }
  }

  /** The condition by which a route shares its place with the fewest others. */
  #cheapestKey(keys: readonly Indexable[]): Indexable | undefined {
    let best: Indexable | undefined;
    let lowest = Infinity;
    for (const key of keys) {
      const index = this.#find(key);
      const values = valuesOf(key);
      let cost = values?.length ?? 1;
      if (index === undefined) cost += NEW_INDEX_COST;
      else if (values === undefined) cost += index.any?.size ?? 0;
      else cost += Math.max(...values.map((value) => index.values.get(value)?.size ?? 0));
      if (cost < lowest) [best, lowest] = [key, cost];
    }
    return best;
  }

  #find(key: Indexable): Index<E> | undefined {
    const name = nameOf(key);
    return key.kind === "param"
      ? this.#params?.get(name)
      : this.#indexes?.find((index) => index.kind === key.kind && index.name === name);
  }

  #begin(key: Indexable): Index<E> {
    const index = new Index<E>(key.kind, nameOf(key));
    if (key.kind === "param") (this.#params ??= new Map()).set(index.name, index);
    else (this.#indexes ??= []).push(index);
    return index;
  }

  #insert(item: Item<E>): void {
    this.#listed++;
    this.#count(1);
    const last = this.#last;
    if (last === undefined) {
      this.#first = this.#last = item;
    } else if (!item.precedes(last)) {
      this.#last = last.next = item;
    } else {
      let previous: Item<E> | undefined;
      let next = this.#first;
      for (; next !== undefined && !item.precedes(next); next = next.next) previous = next;
      item.next = next;
      if (previous === undefined) this.#first = item;
      else previous.next = item;
    }
  }

  /** Counts an item in or out, here and above; drops what is empty then. */
  #count(change: 1 | -1): void {
    this.#size += change;
    const [above, index, value] = [this.#above, this.#index, this.#value];
    if (above === undefined || index === undefined) return;
    if (this.#size === 0) {
      if (value === undefined) index.any = undefined;
      else index.values.delete(value);
      if (index.values.size === 0 && index.any === undefined) above.#end(index);
    }
    above.#count(change);
  }

  #end(index: Index<E>): void {
    if (index.kind === "param") {
      this.#params?.delete(index.name);
      if (this.#params?.size === 0) this.#params = undefined;
    } else {
      this.#indexes = this.#indexes?.filter((other) => other !== index);
      if (this.#indexes?.length === 0) this.#indexes = undefined;
    }
  }
}

function nameOf(key: Indexable): string {
  return key.kind === "method" ? "" : key.name;
}

/** The values that meet a condition, if these can be listed. */
function valuesOf(key: Indexable): readonly string[] | undefined {
  if (key.kind === "method") return key.values;
  return key.present || key.regexes.length > 0 ? undefined : key.values;
}

function meets(check: Check, lookup: Lookup): boolean {
  switch (check.kind) {
    case "grpc":
      return lookup.grpc;
    case "path":
      return check.regex.test(lookup.path);
    case "method":
      return check.values.includes(lookup.method);
    case "header": {
      const value = lookup.header(check.name);
      return value !== undefined && meetsValue(check, value);
    }
    case "param": {
      const { names, values } = lookup.params;
      for (let i = 0; i < names.length; i++) {
        if (names[i] === check.name && meetsValue(check, values[i]!)) return true;
      }
      return false;
    }
  }
}

function meetsValue(check: Extract<Check, { name: string }>, value: string): boolean {
  return check.present || check.values.includes(value) ||
    check.regexes.some((regex) => regex.test(value));
}

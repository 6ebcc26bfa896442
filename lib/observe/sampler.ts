/**
 * Tells the first of many events of one kind and counts the rest.
 *
 * @module
 */

/** What a {@linkcode Sampler} is told of. */
export interface SamplerOptions {
  /** How long events of one kind are counted together, in milliseconds. */
  readonly window: number;
  /** How many kinds are told apart at a time; what is beyond is one kind more. */
  readonly maxKinds: number;
}

/** Events that were left out. */
export interface LeftOut<T> {
  /** What the first of their kind, which was told, came with; `undefined` for those of too many kinds. */
  readonly first: T | undefined;
  /** How many. */
  readonly count: number;
}

interface Kind<T> {
  readonly first: T | undefined;
  readonly ends: number;
  count: number;
}

/** The kind of all that are too many. */
const OTHERS = Symbol("others");

/** Counts events by kind, of which it holds no more than it is allowed. Times are in milliseconds of any clock. */
export class Sampler<T> {
  readonly #options: SamplerOptions;
  /** In the order in which they end, as all last as long. */
  readonly #kinds = new Map<string | typeof OTHERS, Kind<T>>();

  /** Knows of no event. */
  constructor(options: SamplerOptions) {
    this.#options = options;
  }

  /** How many kinds are held. */
  get size(): number {
    return this.#kinds.size;
  }

  /**
   * Counts an event; says whether it is to be told. Those of a kind whose time is over must have been
   * taken before.
   *
   * @param event What is given back with those that are left out.
   */
  admit(kind: string, { event, now }: { readonly event: T; readonly now: number }): boolean {
    const { maxKinds, window } = this.#options;
    const known = this.#kinds.has(kind) || this.#kinds.size < maxKinds ? kind : OTHERS;
    const running = this.#kinds.get(known);
    if (running !== undefined) {
      running.count++;
      return false;
    }
    const first = known === OTHERS ? undefined : event;
    this.#kinds.set(known, { first, ends: now + window, count: 0 });
    return true;
  }

  /** What was left out of the kinds whose time is over; they are forgotten. */
  take(now: number): LeftOut<T>[] {
    const found: LeftOut<T>[] = [];
    for (const [kind, { first, ends, count }] of this.#kinds) {
      if (ends > now) break;
      this.#kinds.delete(kind);
      if (count > 0) found.push({ first, count });
    }
    return found;
  }
}

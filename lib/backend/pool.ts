/**
 * A pool: a set of backends with a strategy.
 *
 * @module
 */
import type { Candidate, Strategy } from "../strategy/strategy.ts";
import { hasWeight, shareOf } from "../strategy/share.ts";
import { createStrategy, type StrategyName } from "../strategy/registry.ts";
import type { Admission, Waiting } from "./admission.ts";
import type { LiveBackend, Membership } from "./backend.ts";

/** A backend in a pool, with the share it has there. */
export class Member implements Candidate {
  /** The backend. */
  readonly backend: LiveBackend;
  /** Its weight as it was given. */
  configured: number;

  /** Made by {@linkcode Pool.set}. */
  constructor(backend: LiveBackend, weight: number) {
    this.backend = backend;
    this.configured = weight;
  }

  /** Its weight now: less than was given while it comes back slowly. */
  get weight(): number {
    return this.configured * this.backend.health.share;
  }

  get addr(): string {
    return this.backend.addr;
  }

  get inFlight(): number {
    return this.backend.inFlight;
  }

  get latency(): number {
    return this.backend.peakLatency;
  }
}

/** How a pool picks. */
export interface PoolRules {
  /** The strategy. */
  readonly strategy: StrategyName;
  /**
   * The part of the active members, from 0 to 1, below which health counts no more: when so few are left, all
   * are picked, since the few would break under the load of all. Default 0.25.
   */
  readonly panicThreshold?: number;
  /** Where requests wait while all members are at their limit; there are no limits unless given. */
  readonly admission?: Admission | undefined;
}

/** More requests in flight than any backend has. */
const FAR_BEHIND = 2 ** 32;

/** The default of {@linkcode PoolRules.panicThreshold}. */
export const DEFAULT_PANIC_THRESHOLD = 0.25;

/** Picks a backend for each request. */
export class Pool implements Membership {
  /** Its name, for the log and the metrics. */
  readonly name: string;
  readonly #members = new Map<LiveBackend, Member>();
  readonly #strategyName: StrategyName;
  readonly #panicThreshold: number;
  readonly #admission: Admission | undefined;
  /** Those that the strategy picks from. */
  #picked: readonly Member[] = [];
  #strategy: Strategy<Member>;
  #weighted = false;
  #panics = false;

  /**
   * Makes an empty pool. With `round-robin`, members of different weights are picked by weight, as
   * users of nginx know it.
   */
  constructor(
    name: string,
    { strategy, panicThreshold = DEFAULT_PANIC_THRESHOLD, admission }: PoolRules,
  ) {
    this.name = name;
    this.#admission = admission;
    this.#strategyName = strategy;
    this.#panicThreshold = panicThreshold;
    this.#strategy = createStrategy<Member>(strategy, []);
  }

  /** All members, those included that are not picked. */
  get members(): Iterable<Member> {
    return this.#members.values();
  }

  get backends(): Iterable<LiveBackend> {
    return this.#members.keys();
  }

  /** How many members there are, those included that are not picked. */
  get size(): number {
    return this.#members.size;
  }

  /** The member for a backend. */
  get(backend: LiveBackend): Member | undefined {
    return this.#members.get(backend);
  }

  /** Puts a backend in with a weight, or changes the weight it has. */
  set(backend: LiveBackend, weight: number): void {
    const member = this.#members.get(backend);
    if (member === undefined) this.#members.set(backend, new Member(backend, weight));
    else member.configured = weight;
    backend.pools.add(this);
    this.refresh();
  }

  /** Takes a backend out; says whether it was in. */
  delete(backend: LiveBackend): boolean {
    backend.pools.delete(this);
    const found = this.#members.delete(backend);
    if (found) this.refresh();
    return found;
  }

  /** Whether so few members are healthy that all are picked. */
  get panics(): boolean {
    return this.#panics;
  }

  /** Takes note that the state, the health or the weight of a member has changed. */
  refresh(): void {
    const active = [...this.#members.values()].filter(({ backend }) => backend.state === "active");
    const healthy = active.filter(({ backend }) => backend.health.usable);
    this.#panics = healthy.length < active.length &&
      (healthy.length === 0 || healthy.length < active.length * this.#panicThreshold);
    const picked = this.#picked = this.#panics ? active : healthy;
    this.#pickFrom(picked);
    this.#admission?.serve([this]);
  }

  #pickFrom(picked: readonly Member[]): void {
    if (this.#strategyName === "round-robin") {
      const weighted = picked.some(({ weight }) => weight !== picked[0]!.weight);
      if (weighted !== this.#weighted) {
        this.#weighted = weighted;
        const name = weighted ? "weighted-round-robin" : "round-robin";
        this.#strategy = createStrategy<Member>(name, picked);
        return;
      }
    }
    this.#strategy.update(picked);
  }

  /**
   * The backend for the next attempt, or `undefined` when there is none that `skip` lets through.
   *
   * @param key What requests have in common that are to meet the same backend, for strategies that hash.
   */
  pick(skip?: (member: Member) => boolean, key?: number): LiveBackend | undefined {
    const picked = this.#strategy.next(this.#admission === undefined ? skip : orFull(skip), key);
    if (picked !== undefined || skip === undefined) return picked?.backend;
    // For one that is fit and has too much to do, it is better to wait.
    if (this.serves(skip)) return undefined;
    return this.#lastResort(skip)?.backend;
  }

  /**
   * Where all that are fit have failed a request, one that is not known to be well is better than none: it may have
   * come back, and the others may be on their way down, as in a rolling restart. Ejected ones come before those
   * whose checks fail, and of them the one that has least to do.
   */
  #lastResort(skip: (member: Member) => boolean): Member | undefined {
    let best: Member | undefined;
    let bestRank = Infinity;
    for (const member of this.#members.values()) {
      const { backend, configured } = member;
      if (backend.state !== "active" || backend.full || configured === 0 || skip(member)) continue;
      const rank = member.inFlight + (backend.health.state.type === "failing" ? FAR_BEHIND : 0);
      if (rank < bestRank) [best, bestRank] = [member, rank];
    }
    return best;
  }

  /** Whether there is a backend that would be picked if none were at its limit. */
  serves(skip?: (member: Member) => boolean): boolean {
    const picked = this.#picked;
    const weighted = picked.some(hasWeight);
    return picked.some((member) => shareOf(member, weighted) > 0 && !skip?.(member));
  }

  /**
   * Waits for a backend when {@linkcode pick} has found none; `undefined` where no limit can be the reason.
   * The parameters are those of `pick`.
   */
  wait(skip?: (member: Member) => boolean, key?: number): Waiting | undefined {
    return this.#admission?.wait(this, { skip, key });
  }
}

const isFull = ({ backend }: Member) => backend.full;

function orFull(skip: ((member: Member) => boolean) | undefined): (member: Member) => boolean {
  return skip === undefined ? isFull : (member) => isFull(member) || skip(member);
}

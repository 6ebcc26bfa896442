/**
 * A pool: a set of backends with a strategy.
 *
 * @module
 */
import { getLogger } from "../observe/logger.ts";
import type { Candidate, Strategy } from "../strategy/strategy.ts";
import { hasWeight, shareOf } from "../strategy/share.ts";
import { createStrategy, type StrategyName } from "../strategy/registry.ts";
import type { Admission, Waiting } from "./admission.ts";
import type { LiveBackend, Membership } from "./backend.ts";

const log = getLogger("health");

/** A backend in a pool, with the share it has there. */
export class Member implements Candidate {
  /** The backend. */
  readonly backend: LiveBackend;
  /** Its weight as it was given. */
  configured: number;
  /** Whether it is a member only because a name stands for it. */
  followed: boolean;
  /** Whether its pool does not do without it although it is ejected. */
  spared = false;
  /** Whether it is among those that the strategy picks from. */
  picked = false;

  /** Made by {@linkcode Pool.set}. */
  constructor(backend: LiveBackend, weight: number, followed: boolean) {
    this.backend = backend;
    this.configured = weight;
    this.followed = followed;
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

/**
 * What a pick would come to.
 *
 * - `reachable`: a backend that can be connected to, as far as that is known.
 * - `unreachable`: one that could not be connected to, for there is no other.
 * - `full`: none before one of those that would do has less to do.
 * - `none`: none.
 */
export type Outlook = "reachable" | "unreachable" | "full" | "none";

/** The default of {@linkcode PoolRules.panicThreshold}. */
export const DEFAULT_PANIC_THRESHOLD = 0.25;

/** Picks a backend for each request. */
export class Pool implements Membership {
  /** Its name, for the log and the metrics. */
  readonly name: string;
  /** The names of backends that it has, with the weight of their addresses; they keep this themselves. */
  readonly names: Map<string, number> = new Map();
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

  /**
   * Puts a backend in with a weight, or changes the weight it has.
   *
   * @param followed Whether it is there only because a name stands for it; as before unless given.
   */
  set(backend: LiveBackend, weight: number, followed?: boolean): void {
    const member = this.#members.get(backend);
    if (member === undefined) {
      this.#members.set(backend, new Member(backend, weight, followed ?? false));
    } else {
      member.configured = weight;
      member.followed = followed ?? member.followed;
    }
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

  spare(backend: LiveBackend, share: number): boolean {
    let active = 0;
    let ejected = 1;
    for (const { backend: other, configured, spared } of this.#members.values()) {
      if (other.state !== "active" || configured === 0) continue;
      active++;
      if (other.health.state.type === "ejected" && !spared) ejected++;
    }
    const does = ejected <= Math.floor(active * share);
    const member = this.#members.get(backend);
    if (member !== undefined) member.spared = !does;
    return does;
  }

  /** Takes note that the state, the health or the weight of a member has changed. */
  refresh(): void {
    const active = [...this.#members.values()].filter(({ backend }) => backend.state === "active");
    const healthy = active.filter(isSound);
    this.#judgePanic(active);
    for (const member of this.#picked) member.picked = false;
    const picked = this.#picked = chooseReachable(this.#panics ? active : healthy, active);
    for (const member of picked) member.picked = true;
    this.#pickFrom(picked);
    this.#admission?.serve([this]);
  }

  /** Who has weight 0 gets nothing of what the others cannot take, and so does not count among them. */
  #judgePanic(active: readonly Member[]): void {
    const weighted = active.filter(({ configured }) => configured > 0);
    const counted = weighted.length > 0 ? weighted : active;
    const healthy = counted.filter(isSound).length;
    const panics = healthy < counted.length &&
      (healthy === 0 || healthy < counted.length * this.#panicThreshold);
    if (panics === this.#panics) return;
    this.#panics = panics;
    const fields = { pool: this.name, healthy, backends: counted.length };
    if (panics) log.warning("too few backends of a pool are healthy: all are picked", fields);
    else log.info("enough backends of a pool are healthy again: only they are picked", fields);
  }

  /** Whether a member is among those that are picked. */
  picks(backend: LiveBackend): boolean {
    return this.#members.get(backend)?.picked === true;
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

  /** What {@linkcode pick} would come to; nobody loses a turn. */
  outlook(skip?: (member: Member) => boolean): Outlook {
    const picked = this.#picked;
    const weighted = picked.some(hasWeight);
    let full = false;
    for (const member of picked) {
      if (shareOf(member, weighted) === 0 || skip?.(member)) continue;
      // Those that are picked are all reachable, or none of them is.
      if (!isFull(member)) return isReachable(member) ? "reachable" : "unreachable";
      full = true;
    }
    if (full) return "full";
    const last = skip && this.#lastResort(skip);
    return last === undefined ? "none" : isReachable(last) ? "reachable" : "unreachable";
  }

  /** Whether any member that a request may be sent to can be connected to, as far as that is known. */
  get reaches(): boolean {
    // Those that can be reached are picked before all others.
    return this.serves(isUnreachable);
  }

  /**
   * Where all that are fit have failed a request, one that is not known to be well is better than none: it may have
   * come back, and the others may be on their way down, as in a rolling restart. Those that can be reached come before
   * those that cannot, ejected ones before those whose checks fail, and of them the one that has least to do.
   */
  #lastResort(skip: (member: Member) => boolean): Member | undefined {
    let best: Member | undefined;
    let bestRank = Infinity;
    for (const member of this.#members.values()) {
      const { backend, configured } = member;
      if (backend.state !== "active" || backend.full || configured === 0 || skip(member)) continue;
      const rank = member.inFlight + FAR_BEHIND * badness(member);
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
const isReachable = ({ backend }: Member) => backend.health.reachable;
const isUnreachable = (member: Member) => !isReachable(member);
const isFailing = ({ backend }: Member) => backend.health.state.type === "failing";

/** Whether checks and ejection let it be picked. */
function isSound({ backend: { health }, spared }: Member): boolean {
  return health.sound || (spared && health.state.type === "ejected");
}

/** How little is thought of one that is not picked: 0 to 3. */
function badness(member: Member): number {
  return (isReachable(member) ? 0 : 2) + (isFailing(member) ? 1 : 0);
}

/**
 * Of those that are fit, those that can be reached. When there are none, ejected ones that can be reached are better,
 * and one whose checks fail is still better than none: who cannot be reached does not answer at all. Members of weight
 * 0 do not stand in for others here either.
 */
function chooseReachable(fit: readonly Member[], active: readonly Member[]): readonly Member[] {
  if (fit.every(isReachable)) return fit;
  for (const members of [fit, active.filter((member) => !isFailing(member)), active]) {
    const reachable = members.filter(isReachable);
    if (reachable.some(hasWeight)) return reachable;
  }
  return fit.some(hasWeight) || !fit.some(isReachable) ? fit : fit.filter(isReachable);
}

function orFull(skip: ((member: Member) => boolean) | undefined): (member: Member) => boolean {
  return skip === undefined ? isFull : (member) => isFull(member) || skip(member);
}

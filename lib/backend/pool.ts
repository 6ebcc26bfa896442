/**
 * A pool: a set of backends with a strategy.
 *
 * @module
 */
import type { Candidate, Strategy } from "../strategy/strategy.ts";
import { createStrategy, type StrategyName } from "../strategy/registry.ts";
import type { LiveBackend, Membership } from "./backend.ts";

/** A backend in a pool, with the share it has there. */
export class Member implements Candidate {
  /** The backend. */
  readonly backend: LiveBackend;
  /** Its share. */
  weight: number;

  /** Made by {@linkcode Pool.set}. */
  constructor(backend: LiveBackend, weight: number) {
    this.backend = backend;
    this.weight = weight;
  }

  get addr(): string {
    return this.backend.addr;
  }

  get inFlight(): number {
    return this.backend.inFlight;
  }
}

/** Picks a backend for each request. */
export class Pool implements Membership {
  /** Its name, for the log and the metrics. */
  readonly name: string;
  readonly #members = new Map<LiveBackend, Member>();
  readonly #strategyName: StrategyName;
  #strategy: Strategy<Member>;
  #weighted = false;

  /**
   * Makes an empty pool. With `round-robin`, members of different weights are picked by weight, as
   * users of nginx know it.
   */
  constructor(name: string, strategy: StrategyName) {
    this.name = name;
    this.#strategyName = strategy;
    this.#strategy = createStrategy<Member>(strategy, []);
  }

  /** All members, those included that are not picked. */
  get members(): Iterable<Member> {
    return this.#members.values();
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
    else member.weight = weight;
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

  /** Takes note that the state or the weight of a member has changed. */
  refresh(): void {
    const active = [...this.#members.values()].filter(({ backend }) => backend.state === "active");
    if (this.#strategyName === "round-robin") {
      const weighted = active.some(({ weight }) => weight !== active[0]!.weight);
      if (weighted !== this.#weighted) {
        this.#weighted = weighted;
        const name = weighted ? "weighted-round-robin" : "round-robin";
        this.#strategy = createStrategy<Member>(name, active);
        return;
      }
    }
    this.#strategy.update(active);
  }

  /** The backend for the next attempt, or `undefined` when there is none that `skip` lets through. */
  pick(skip?: (member: Member) => boolean): LiveBackend | undefined {
    return this.#strategy.next(skip)?.backend;
  }
}

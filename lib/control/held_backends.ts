/**
 * Backends that are in for as long as somebody holds them: those that registered themselves over a stream.
 *
 * @module
 */
import type { Clock, Timed } from "../common/clock.ts";

/** How long whoever held a backend in the process before has to come to this one, in milliseconds. */
export const REJOIN_MS = 60_000;

/** Counts who holds what in one balancer. */
export class HeldBackends {
  /** How many hold each backend that is in because of them alone; 0 while whoever held it may still come. */
  readonly #held = new Map<string, number>();
  #suspended = false;
  #orphans: Orphans | undefined;

  /** Somebody has added a backend; whether it was `created` by that. Says whether it must {@linkcode leave}. */
  hold(id: string, created: boolean): boolean {
    const count = this.#held.get(id);
    // What somebody else has put in stays when the stream ends.
    if (count === undefined && !created) return false;
    this.#held.set(id, (count ?? 0) + 1);
    return true;
  }

  /** Who held a backend has gone. Says whether it was the last one, so that the backend is to be removed. */
  leave(id: string): boolean {
    const count = this.#held.get(id)! - 1;
    if (count > 0 || this.#suspended) {
      this.#held.set(id, count);
      return false;
    }
    this.#held.delete(id);
    return true;
  }

  /** From now on nobody who goes takes a backend along: we send them away, and what is under way needs the backends. */
  suspend(): void {
    this.#suspended = true;
  }

  /** The ids of all that are held. */
  ids(): Iterable<string> {
    return this.#held.keys();
  }

  /**
   * Takes over what was held in the process before: `remove` is called for each that nobody holds in
   * {@linkcode REJOIN_MS}.
   */
  adopt(ids: readonly string[], remove: (id: string) => void, clock: Clock): void {
    for (const id of ids) if (!this.#held.has(id)) this.#held.set(id, 0);
    if (ids.length === 0) return;
    this.#orphans?.end();
    this.#orphans = new Orphans(clock, () => this.#expire(remove));
  }

  #expire(remove: (id: string) => void): void {
    for (const [id, count] of this.#held) {
      if (count > 0) continue;
      this.#held.delete(id);
      remove(id);
    }
  }

  /** Nothing is under way any more: `remove` is called for each that nobody holds. */
  close(remove: (id: string) => void): void {
    this.#orphans?.end();
    this.#suspended = false;
    this.#expire(remove);
  }
}

/** Waits for those who may still come. */
class Orphans implements Timed {
  deadline = Infinity;
  readonly #clock: Clock;
  readonly #expire: () => void;

  constructor(clock: Clock, expire: () => void) {
    this.#clock = clock;
    this.#expire = expire;
    clock.watch(this);
    clock.arm(this, REJOIN_MS);
  }

  onDeadline(): void {
    this.end();
    this.#expire();
  }

  end(): void {
    this.#clock.unwatch(this);
  }
}

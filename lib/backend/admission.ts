/**
 * Requests that wait because all backends that could have them are at their limit.
 *
 * @module
 */
import type { Clock, Timed } from "../common/clock.ts";
import { ProxyError } from "../common/errors.ts";
import type { Lease, LiveBackend } from "./backend.ts";

/** How many may wait, and how long. */
export interface AdmissionOptions {
  /** Requests that may wait for the backends of one pool; 0 for none. */
  readonly maxWaiting: number;
  /** How long each may wait, in milliseconds. */
  readonly waitTimeout: number;
}

/** A pool, as far as those who wait for its backends know it. */
export interface Waited<M> {
  /** Its name, for messages. */
  readonly name: string;
  /** A backend that is not at its limit. */
  pick(skip?: (member: M) => boolean, key?: number): LiveBackend | undefined;
  /** Whether there is any that would be picked if no backend were at its limit. */
  serves(skip?: (member: M) => boolean): boolean;
}

/** What a request asks of the backend that it waits for. */
export interface Wish<M> {
  /** Backends that are out of the question. */
  readonly skip?: ((member: M) => boolean) | undefined;
  /** The key, for strategies that hash. */
  readonly key?: number | undefined;
}

/** What has a line. */
interface Named {
  readonly name: string;
}

/** A request that waits. */
export interface Waiting {
  /**
   * Resolves to a lease that holds the place: the attempt takes its own and then gives this one back.
   * Rejects with a {@linkcode ProxyError}: `overloaded` when too many wait or the wait took too long,
   * `no_backend` when there is none any more, `client_closed` when it was cancelled.
   */
  readonly lease: Promise<Lease>;
  /** Waits no more: the client has gone. A lease that was given meanwhile is given back. */
  cancel(): void;
}

/** What is asked for whoever waits. */
interface Errand {
  /** A backend that has room. */
  pick(): LiveBackend | undefined;
  /** Whether there is any backend at all. */
  serves(): boolean;
  /** Whether others may have backends that this one may not. */
  readonly picky: boolean;
  /** Leaves the line. */
  leave(waiter: Waiter): void;
  /** Why it was refused when its time is over. */
  late(): ProxyError;
}

/** One that waits, in its line. */
class Waiter implements Timed, Waiting {
  deadline = Infinity;
  readonly order: number;
  readonly errand: Errand;
  readonly lease: Promise<Lease>;
  readonly #resolve: (lease: Lease) => void;
  readonly #reject: (error: ProxyError) => void;
  #given: Lease | undefined;

  constructor(order: number, errand: Errand) {
    this.order = order;
    this.errand = errand;
    const { promise, resolve, reject } = Promise.withResolvers<Lease>();
    this.lease = promise;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  give(lease: Lease): void {
    this.#given = lease;
    this.#resolve(lease);
  }

  refuse(error: ProxyError): void {
    this.#reject(error);
  }

  onDeadline(): void {
    this.errand.leave(this);
    this.refuse(this.errand.late());
  }

  cancel(): void {
    this.errand.leave(this);
    this.refuse(new ProxyError("client_closed", "downstream", "the client has gone"));
    // Nobody will use it any more; where it was used and given back already, this does nothing.
    this.#given?.release();
  }
}

/**
 * First come, first served, for each pool. A backend that has room again is offered to the oldest of those who
 * wait for any of its pools. Whoever waits is passed over only by requests that may have backends which he may not,
 * so a request that finds a backend with room need not look whether others wait.
 */
export class Admission {
  readonly #clock: Clock;
  readonly #options: AdmissionOptions;
  /** Who waits, by pool; a pool nobody waits for is not there. */
  readonly #lines = new Map<unknown, Set<Waiter>>();
  #order = 0;

  /** Begins with nobody waiting. */
  constructor(clock: Clock, options: AdmissionOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** How many wait. */
  get waiting(): number {
    let count = 0;
    for (const line of this.#lines.values()) count += line.size;
    return count;
  }

  /** Waits for a backend of a pool, of which none has room. */
  wait<M>(pool: Waited<M>, { skip, key }: Wish<M>): Waiting {
    const { maxWaiting, waitTimeout } = this.#options;
    const waiter = new Waiter(this.#order++, {
      pick: () => pool.pick(skip, key),
      serves: () => pool.serves(skip),
      picky: skip !== undefined,
      leave: (waiter) => this.#forget(pool, waiter),
      late: () => overloaded(pool.name, `none had room within ${waitTimeout} ms`),
    });
    const line = this.#lines.get(pool);
    if (!pool.serves(skip)) waiter.refuse(noBackend(pool.name));
    else if ((line?.size ?? 0) >= maxWaiting) {
      waiter.refuse(overloaded(pool.name, `${maxWaiting} requests wait already`));
    } else {
      if (line === undefined) this.#lines.set(pool, new Set([waiter]));
      else line.add(waiter);
      this.#clock.watch(waiter);
      this.#clock.arm(waiter, waitTimeout);
    }
    return waiter;
  }

  #forget(pool: unknown, waiter: Waiter): void {
    const line = this.#lines.get(pool);
    if (line === undefined || !line.delete(waiter)) return;
    this.#clock.unwatch(waiter);
    if (line.size === 0) this.#lines.delete(pool);
  }

  /** Backends of these pools may have room again, or there are others: gives them to those who wait. */
  serve(pools: Iterable<Named>): void {
    if (this.#lines.size === 0) return;
    const left = new Set<Named>(pools);
    for (let pool = this.#oldest(left); pool !== undefined; pool = this.#oldest(left)) {
      if (!this.#serveOne(pool)) left.delete(pool);
    }
  }

  /** Whose first one waits longest. */
  #oldest(pools: ReadonlySet<Named>): Named | undefined {
    let oldest: Named | undefined;
    let order = Infinity;
    for (const pool of pools) {
      const first = this.#lines.get(pool)?.values().next().value;
      if (first === undefined || first.order > order) continue;
      order = first.order;
      oldest = pool;
    }
    return oldest;
  }

  /** Helps the first one who can be helped; `false` when nobody of the line can be. */
  #serveOne(pool: Named): boolean {
    for (const waiter of this.#lines.get(pool)!) {
      const { errand } = waiter;
      const backend = errand.pick();
      if (backend !== undefined) {
        this.#forget(pool, waiter);
        waiter.give(backend.acquire());
        return true;
      }
      if (!errand.serves()) {
        this.#forget(pool, waiter);
        waiter.refuse(noBackend(pool.name));
        return true;
      }
      // There is no room for anybody.
      if (!errand.picky) return false;
    }
    return false;
  }
}

function overloaded(pool: string, why: string): ProxyError {
  return new ProxyError(
    "overloaded",
    "upstream",
    `the backends of pool ${pool} have as many requests as they may have, and ${why}`,
    { retry: "safe" },
  );
}

function noBackend(pool: string): ProxyError {
  return new ProxyError("no_backend", "upstream", `pool ${pool} has no active backend`, {
    retry: "safe",
  });
}

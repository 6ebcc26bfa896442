/**
 * Passive health: backends whose requests fail are not picked for a while.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import { getLogger } from "../../observe/logger.ts";
import type { LiveBackend } from "../backend.ts";
import type { OutlierKnowledge } from "../knowledge.ts";
import { isUnreached, type Outcome } from "../outcome.ts";

/** When a backend is ejected, and for how long. Times are in milliseconds. */
export interface OutlierOptions {
  /** Failures in a row after which a backend is ejected; 0 for never. Default 5. */
  readonly consecutiveFailures?: number;
  /** The share of failures within an interval, above 0 up to 1, from which it is ejected; 0 for never. Default 0.5. */
  readonly failureShare?: number;
  /** Requests within an interval below which that share says nothing. Default 20. */
  readonly minRequests?: number;
  /** How long failures are counted together. Default 10,000. */
  readonly interval?: number;
  /** How long the first ejection lasts; each further one is that much longer. Default 10,000. */
  readonly ejectionTime?: number;
  /** The longest. Default 300,000. */
  readonly maxEjectionTime?: number;
  /**
   * The share of the backends of a pool that may be ejected at a time, from 0 to 1. Each pool is judged for itself: one
   * that cannot do without a backend goes on with it while others do not. A pool of one backend keeps it with any share
   * below 1. Default 0.5.
   */
  readonly maxEjected?: number;
}

/** The defaults of {@linkcode OutlierOptions}. */
export const DEFAULT_OUTLIER: Required<OutlierOptions> = {
  consecutiveFailures: 5,
  failureShare: 0.5,
  minRequests: 20,
  interval: 10_000,
  ejectionTime: 10_000,
  maxEjectionTime: 300_000,
  maxEjected: 0.5,
};

/** What is remembered of one backend. */
interface Record {
  /** Failures since the last answer. */
  inRow: number;
  /** Of these, the last ones in which no connection could be opened. */
  unreached: number;
  /** Requests and failures of the present interval. */
  requests: number;
  failures: number;
  intervalEnds: number;
  /** How often it was ejected; a quiet interval takes one away. */
  ejections: number;
  /** Whether it was said that it is kept because too many others are ejected; an interval without failures ends that. */
  kept: boolean;
}

const log = getLogger("health");

/** Watches the outcomes of the backends of one registry and ejects those that stand out. */
export class OutlierDetection implements Timed {
  readonly #options: Required<OutlierOptions>;
  readonly #clock: Clock;
  readonly #records = new Map<LiveBackend, Record>();
  deadline = Infinity;

  /**
   * Watches nobody yet.
   *
   * @throws {TypeError} When an option is out of its range.
   */
  constructor(clock: Clock, options: OutlierOptions = {}) {
    this.#clock = clock;
    this.#options = { ...DEFAULT_OUTLIER, ...options };
    check(this.#options);
  }

  /** Begins to watch a backend. */
  add(backend: LiveBackend): void {
    const record: Record = {
      inRow: 0,
      unreached: 0,
      requests: 0,
      failures: 0,
      intervalEnds: 0,
      ejections: 0,
      kept: false,
    };
    this.#records.set(backend, record);
    backend.onOutcome = (outcome) => this.#note(backend, record, outcome);
  }

  /** Watches a backend no more. */
  remove(backend: LiveBackend): void {
    backend.onOutcome = undefined;
    this.#records.delete(backend);
    if (this.#records.size === 0) this.#clock.unwatch(this);
  }

  #note(backend: LiveBackend, record: Record, outcome: Outcome): void {
    if (outcome.type === "expired") return;
    const { consecutiveFailures, failureShare, minRequests, interval } = this.#options;
    const now = this.#clock.time;
    if (now >= record.intervalEnds) {
      const quiet = Math.floor((now - record.intervalEnds) / interval) +
        (record.failures === 0 ? 1 : 0);
      if (backend.health.sound) record.ejections = Math.max(record.ejections - quiet, 0);
      if (record.failures === 0) record.kept = false;
      record.requests = record.failures = 0;
      record.intervalEnds = now + interval;
    }
    record.requests++;
    if (outcome.type !== "failed") {
      record.inRow = record.unreached = 0;
      return;
    }
    record.inRow++;
    record.failures++;
    record.unreached = isUnreached(outcome) ? record.unreached + 1 : 0;
    // What was sent before the ejection may still fail.
    if (!backend.health.sound) return;
    if (consecutiveFailures > 0 && record.inRow >= consecutiveFailures) {
      this.#eject(backend, record, `${record.inRow} failures in a row, the last ${outcome.reason}`);
    } else if (
      failureShare > 0 && record.requests >= minRequests &&
      record.failures >= record.requests * failureShare
    ) {
      const { failures, requests } = record;
      this.#eject(
        backend,
        record,
        `${failures} of ${requests} requests failed, the last ${outcome.reason}`,
      );
    }
  }

  /** What is remembered of a backend, for the process that goes on; `undefined` while nothing is. */
  collect(backend: LiveBackend): OutlierKnowledge | undefined {
    const record = this.#records.get(backend);
    const { health } = backend;
    if (record === undefined || (record.intervalEnds === 0 && health.ejections === 0)) {
      return undefined;
    }
    const now = this.#clock.now();
    const { inRow, unreached, requests, failures, ejections, intervalEnds } = record;
    const { state } = health;
    const until = health.ejectedUntil;
    return {
      total: health.ejections,
      ejections,
      inRow,
      unreached,
      requests,
      failures,
      interval: Math.max(intervalEnds - now, 0),
      ...(until === undefined ? {} : {
        ejected: {
          reason: state.type === "ejected" ? state.reason : "its requests have failed",
          left: Math.max(until - now, 0),
          untilReached: health.ejectedUntilReached,
        },
      }),
    };
  }

  /**
   * Goes on with what another process has collected; a backend that is ejected stays so for the rest of its time,
   * unless it would be one too many here.
   */
  resume(backend: LiveBackend, { total, ejected, interval, ...counts }: OutlierKnowledge): void {
    const record = this.#records.get(backend);
    if (record === undefined) return;
    const now = this.#clock.now();
    Object.assign(record, counts, { intervalEnds: now + interval });
    if (ejected !== undefined && this.#mayEject(backend)) {
      const left = Math.min(ejected.left, this.#options.maxEjectionTime);
      this.#ejectFor(backend, ejected.reason, left, ejected.untilReached);
    }
    backend.health.ejections = total;
  }

  #eject(backend: LiveBackend, record: Record, reason: string): void {
    if (!this.#mayEject(backend)) {
      if (!record.kept) {
        record.kept = true;
        log.warning("a backend would be ejected, but the ceiling of ejection is reached", {
          backend: backend.addr,
          reason,
        });
      }
      return;
    }
    record.kept = false;
    const { ejectionTime, maxEjectionTime, interval } = this.#options;
    record.ejections++;
    const untilReached = record.unreached === record.inRow;
    record.inRow =
      record.unreached =
      record.requests =
      record.failures =
        0;
    const time = Math.min(ejectionTime * record.ejections, maxEjectionTime);
    // The time in which it gets no requests is no quiet one.
    record.intervalEnds = this.#clock.now() + time + interval;
    this.#ejectFor(backend, reason, time, untilReached);
    log.warning("a backend is ejected", { backend: backend.addr, reason, seconds: time / 1000 });
  }

  /** @param untilReached Whether a connection that can be opened ends it. */
  #ejectFor(backend: LiveBackend, reason: string, time: number, untilReached = false): void {
    const until = this.#clock.now() + time;
    backend.health.eject(reason, until, untilReached);
    this.#clock.watch(this);
    if (until < this.deadline) this.#clock.arm(this, time);
  }

  /** Whether a pool that it is in can do without it; those that cannot pick it on. */
  #mayEject(backend: LiveBackend): boolean {
    const { maxEjected } = this.#options;
    let may = backend.pools.size === 0;
    for (const pool of backend.pools) may = pool.spare(backend, maxEjected) || may;
    return may;
  }

  /** Readmits whose time has come. */
  onDeadline(): void {
    const now = this.#clock.time;
    let next = Infinity;
    for (const backend of this.#records.keys()) {
      const until = backend.health.ejectedUntil;
      if (until === undefined) continue;
      if (until <= now) {
        backend.health.readmit();
        log.info("a backend is tried again", { backend: backend.addr });
      } else next = Math.min(next, until);
    }
    if (next === Infinity) this.#clock.unwatch(this);
    else this.#clock.arm(this, next - now);
  }

  /** Readmits everybody, so that nothing is left to wait for. */
  close(): void {
    for (const backend of this.#records.keys()) backend.health.readmit();
    this.#clock.disarm(this);
    this.#clock.unwatch(this);
  }
}

function check(options: Required<OutlierOptions>): void {
  const { consecutiveFailures, minRequests, ...rest } = options;
  for (const [name, value] of Object.entries({ consecutiveFailures, minRequests })) {
    if (!Number.isInteger(value) || value < 0) {
      throw new TypeError(`${name} ${value}: an integer from 0 is accepted`);
    }
  }
  const { failureShare, maxEjected, ...times } = rest;
  for (const [name, value] of Object.entries({ failureShare, maxEjected })) {
    if (!(value >= 0 && value <= 1)) {
      throw new TypeError(`${name} ${value}: a number from 0 to 1 is accepted`);
    }
  }
  for (const [name, value] of Object.entries(times)) {
    if (!(value > 0 && Number.isFinite(value))) {
      throw new TypeError(`${name} ${value}: milliseconds above 0 are accepted`);
    }
  }
}

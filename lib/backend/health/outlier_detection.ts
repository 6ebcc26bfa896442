/**
 * Passive health: backends whose requests fail are not picked for a while.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import { getLogger } from "../../observe/logger.ts";
import type { LiveBackend } from "../backend.ts";
import type { Outcome } from "../outcome.ts";

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
   * The share of the backends of any pool that may be ejected at a time, from 0 to 1. A pool of one backend keeps
   * it with any share below 1. Default 0.5.
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
  /** Requests and failures of the present interval. */
  requests: number;
  failures: number;
  intervalEnds: number;
  /** How often it was ejected; a quiet interval takes one away. */
  ejections: number;
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
    const record: Record = { inRow: 0, requests: 0, failures: 0, intervalEnds: 0, ejections: 0 };
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
    const { consecutiveFailures, failureShare, minRequests, interval } = this.#options;
    const now = this.#clock.time;
    if (now >= record.intervalEnds) {
      const quiet = Math.floor((now - record.intervalEnds) / interval) +
        (record.failures === 0 ? 1 : 0);
      if (backend.health.usable) record.ejections = Math.max(record.ejections - quiet, 0);
      record.requests = record.failures = 0;
      record.intervalEnds = now + interval;
    }
    record.requests++;
    if (outcome.type !== "failed") {
      record.inRow = 0;
      return;
    }
    record.inRow++;
    record.failures++;
    // What was sent before the ejection may still fail.
    if (!backend.health.usable) return;
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

  #eject(backend: LiveBackend, record: Record, reason: string): void {
    if (!this.#mayEject(backend)) return;
    const { ejectionTime, maxEjectionTime, interval } = this.#options;
    record.ejections++;
    record.inRow = record.requests = record.failures = 0;
    const time = Math.min(ejectionTime * record.ejections, maxEjectionTime);
    const until = this.#clock.now() + time;
    // The time in which it gets no requests is no quiet one.
    record.intervalEnds = until + interval;
    backend.health.eject(reason, until);
    log.warning("a backend is ejected", { backend: backend.addr, reason, seconds: time / 1000 });
    this.#clock.watch(this);
    if (until < this.deadline) this.#clock.arm(this, time);
  }

  /** Whether each pool that it is in keeps enough backends without it. */
  #mayEject(backend: LiveBackend): boolean {
    for (const pool of backend.pools) {
      let active = 0;
      let ejected = 1;
      for (const member of pool.backends) {
        if (member.state !== "active") continue;
        active++;
        if (member.health.state.type === "ejected") ejected++;
      }
      if (ejected > Math.floor(active * this.#options.maxEjected)) return false;
    }
    return true;
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

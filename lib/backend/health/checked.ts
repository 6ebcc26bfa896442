/**
 * A backend that is asked again and again.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import { describeError, ProxyError } from "../../common/errors.ts";
import { getLogger } from "../../observe/logger.ts";
import type { LiveBackend } from "../backend.ts";
import { CheckFailure, type CheckSettings } from "./check.ts";
import type { Probe } from "./probe.ts";
import type { Verdict } from "./verdict.ts";

/** Follows the health of one backend from when it is made. */
export interface Checker {
  /** Ends that; resolves when nothing is under way. */
  close(): Promise<void>;
}

/** What every {@linkcode Checker} is made of. */
export interface CheckerParts {
  /** For all deadlines. */
  readonly clock: Clock;
  /** Chance from 0 up to but not 1. */
  readonly random: () => number;
  /** When checks are made. */
  readonly settings: CheckSettings;
  /** What they say together. */
  readonly verdict: Verdict;
}

/** What a {@linkcode Checked} is made of. */
export interface CheckedParts extends CheckerParts {
  /** Makes one check. */
  readonly probe: Probe;
  /** Told of each check that fails. */
  readonly onFailed?: () => void;
}

/** The part of an interval by which checks are moved, so that those of many backends do not all meet. */
const JITTER = 0.1;

/** The interval, in milliseconds, a tenth more or less at random. */
export function jitter(interval: number, random: () => number): number {
  return interval * (1 + JITTER * (2 * random() - 1));
}

/** Whether it is not the backend's fault that a check could not be made, so that nothing is known of it. */
export function isOwnFault(error: unknown): boolean {
  return error instanceof ProxyError && error.side === "internal";
}

/** What came of a check. */
type CheckEnd =
  | { readonly type: "passed" }
  | { readonly type: "failed"; readonly reason: string }
  | { readonly type: "prevented"; readonly error: unknown };

const PASSED: CheckEnd = { type: "passed" };

function endOf(error: unknown): CheckEnd {
  if (isOwnFault(error)) return { type: "prevented", error };
  const reason = error instanceof CheckFailure ? error.message : describeError(error);
  return { type: "failed", reason };
}

const log = getLogger("health");

/** Makes one check after the other. */
export class Checked implements Checker, Timed {
  readonly #backend: LiveBackend;
  readonly #parts: CheckedParts;
  #asking: { readonly abort: AbortController; readonly end: Promise<void> } | undefined;
  #closed = false;
  deadline = Infinity;

  /** Makes the first check at once. */
  constructor(backend: LiveBackend, parts: CheckedParts) {
    this.#backend = backend;
    this.#parts = parts;
    parts.clock.watch(this);
    this.#ask();
  }

  #ask(): void {
    const { probe, settings: { timeout }, clock } = this.#parts;
    const abort = new AbortController();
    clock.arm(this, timeout);
    const late: CheckEnd = { type: "failed", reason: `no answer within ${timeout} ms` };
    const end = probe(this.#backend, { timeout, signal: abort.signal }).then(
      () => this.#settle(abort.signal.aborted ? late : PASSED),
      (error) => this.#settle(abort.signal.aborted ? late : endOf(error)),
    );
    this.#asking = { abort, end };
  }

  onDeadline(): void {
    if (this.#asking === undefined) this.#ask();
    else this.#asking.abort.abort();
  }

  #settle(end: CheckEnd): void {
    this.#asking = undefined;
    if (this.#closed) return;
    const { settings, clock, random, verdict, onFailed } = this.#parts;
    if (end.type === "prevented") {
      log.debug("a health check could not be made", {
        backend: this.#backend.addr,
        error: describeError(end.error),
      });
    } else verdict.count(end.type === "failed" ? end.reason : undefined);
    const calm = verdict.passing && !verdict.disputed;
    clock.arm(this, jitter(calm ? settings.interval : settings.downInterval, random));
    if (end.type === "failed") onFailed?.();
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#parts.clock.unwatch(this);
    this.#asking?.abort.abort();
    return this.#asking?.end ?? Promise.resolve();
  }
}

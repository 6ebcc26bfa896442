/**
 * What counts as a failure of a backend, and what is done for requests that met one.
 *
 * @module
 */
import type { Clock } from "../common/clock.ts";
import type { ErrorCode } from "../common/errors.ts";
import { STATUS_LABELS } from "../observe/grpc_metrics.ts";
import {
  checkRetryConditions,
  checkTime,
  type HedgeRule,
  isErrorCode,
  isErrorStatus,
  type RetryCondition,
  type RetryRule,
} from "../route/retry.ts";
import type { LiveBackend } from "./backend.ts";
import { ANSWERED, type Outcome } from "./outcome.ts";
import type { Outlook, Pool } from "./pool.ts";
import { RetryBudget, type RetryBudgetOptions, type RetryBudgetState } from "./retry_budget.ts";

/**
 * After what requests over HTTP are sent again: when nothing was sent, or when they are idempotent and no byte
 * of an answer came. Statuses are the application's to judge, as HAProxy and Envoy have it too.
 */
export const HTTP_RETRY_ON: readonly RetryCondition[] = [
  "connect-failure",
  "refused",
  "reset",
  "timeout",
];
/**
 * The same for gRPC, where nothing says which calls are idempotent: a call whose connection was lost may have
 * been acted on. UNAVAILABLE without an answer before it says that it was not (grpc/doc/statuscodes.md).
 */
export const GRPC_RETRY_ON: readonly RetryCondition[] = [
  "connect-failure",
  "refused",
  "timeout",
  STATUS_LABELS.indexOf("UNAVAILABLE"),
];

/** Statuses of HTTP that count as failures of a backend. */
export const FAILURE_STATUSES: readonly number[] = [502, 503, 504];
/** Codes of gRPC that do. */
export const FAILURE_CODES: readonly number[] = [STATUS_LABELS.indexOf("UNAVAILABLE")];
/** RFC 6585, section 4. It is not the backend that fails, but it should get less. */
const TOO_MANY_REQUESTS = 429;

/** How requests are sent again; what is left out has its default. */
export interface RetryOptions extends Omit<RetryRule, "attempts"> {
  /** How many retries and hedges there may be; what is left out has its default. */
  readonly budget?: RetryBudgetOptions;
}

/** What a {@linkcode Recovery} is told by the user. */
export interface RecoveryOptions {
  /** How requests are sent again. */
  readonly retries?: RetryOptions;
  /** See {@linkcode FAILURE_STATUSES}. */
  readonly failureStatuses?: readonly number[];
  /** See {@linkcode FAILURE_CODES}. */
  readonly failureCodes?: readonly number[];
}

/** How the requests of one route are sent again. */
export interface RetryRules {
  /** After what. */
  readonly on: ReadonlySet<RetryCondition>;
  /** Tries for each request; as the listener has it unless given. */
  readonly attempts: number | undefined;
  /** How long a try may take until its answer begins, in milliseconds; `Infinity` for no such limit. */
  readonly perTryTimeout: number;
  /** How long the first try is waited for before there is a second beside it, in milliseconds; else `Infinity`. */
  readonly hedgeDelay: number;
}

/** Rules with what a route changes in them; the same object when it changes nothing. */
export function adaptRules(
  base: RetryRules,
  retry: RetryRule | undefined,
  hedge: HedgeRule | undefined,
): RetryRules {
  if (retry === undefined && hedge === undefined) return base;
  const { on, attempts, perTryTimeout } = retry ?? {};
  return {
    on: on === undefined ? base.on : new Set(on),
    attempts: attempts ?? base.attempts,
    perTryTimeout: perTryTimeout ?? base.perTryTimeout,
    hedgeDelay: hedge?.delay ?? base.hedgeDelay,
  };
}

/** The wait before the first retry that waits, in milliseconds; each further one may be twice as long. */
const BACKOFF_MS = 25;
/** The longest such wait. */
const MAX_BACKOFF_MS = 250;

/**
 * How long to wait before a further try: exponential with full jitter (M. Brooker, "Exponential Backoff And Jitter").
 * The first retry does not wait, because it goes to another backend.
 *
 * @param attempts Tries so far.
 * @param random Chance from 0 up to but not 1.
 * @returns Milliseconds.
 */
export function backoff(attempts: number, random: () => number): number {
  if (attempts < 2) return 0;
  return random() * Math.min(BACKOFF_MS * 2 ** (attempts - 2), MAX_BACKOFF_MS);
}

/** What a {@linkcode Recovery} is made of. */
export interface RecoveryParts {
  /** Counts the budget. */
  readonly clock: Pick<Clock, "now">;
  /** Waits between tries and for hedges: finer than the one for deadlines. */
  readonly waits: Clock;
  /** After what requests are sent again unless the user says. */
  readonly on: readonly RetryCondition[];
  /** Chance from 0 up to but not 1; `Math.random` unless given. */
  readonly random?: () => number;
}

/** Counts the retries that there was no budget for. */
interface Refusals {
  retryBudgetExhausted: number;
}

/** What all listeners of one balancer share to judge answers and to send requests again. */
export class Recovery {
  /** For requests whose route has no rules of its own. */
  readonly rules: RetryRules;
  /** For waits between tries. */
  readonly waits: Clock;
  /** Chance, for such waits. */
  readonly random: () => number;
  readonly #clock: Pick<Clock, "now">;
  readonly #budget: RetryBudget;
  readonly #failures: ReadonlyMap<number, Outcome>;
  readonly #codes: ReadonlyMap<number, Outcome>;

  /**
   * Begins with a budget of which nothing is used.
   *
   * @throws {TypeError} When an option is out of its range.
   */
  constructor(parts: RecoveryParts, options: RecoveryOptions = {}) {
    const { retries = {}, failureStatuses = FAILURE_STATUSES, failureCodes = FAILURE_CODES } =
      options;
    this.#clock = parts.clock;
    this.waits = parts.waits;
    this.random = parts.random ?? Math.random;
    this.#budget = new RetryBudget(retries.budget);
    this.rules = {
      on: new Set(checkRetryConditions(retries.on ?? parts.on)),
      attempts: undefined,
      perTryTimeout: retries.perTryTimeout === undefined
        ? Infinity
        : checkTime("perTryTimeout", retries.perTryTimeout),
      hedgeDelay: Infinity,
    };
    this.#failures = new Map(failureStatuses.map((status) => {
      if (!isErrorStatus(status)) {
        throw new TypeError(`failureStatuses ${status}: a status from 400 to 599 is accepted`);
      }
      return [status, { type: "failed", reason: `status_${status}` }];
    }));
    this.#codes = new Map(failureCodes.map((code) => {
      if (!isErrorCode(code)) {
        throw new TypeError(`failureCodes ${code}: a status of gRPC from 1 to 16 is accepted`);
      }
      return [code, { type: "failed", reason: `grpc_${code}` }];
    }));
  }

  /** Counts a request that goes to a backend, not its retries. `now` is a time of the clock. */
  count(now: number): void {
    this.#budget.request(now);
  }

  /**
   * Whether the budget has a retry or a hedge left; counted when it has not. To be asked before a backend is picked:
   * what is picked in vain loses its turn, and is then passed over when it is needed.
   */
  has(refusals: Refusals): boolean {
    if (this.#budget.has(this.#clock.now())) return true;
    refusals.retryBudgetExhausted++;
    return false;
  }

  /** Takes a retry or a hedge out of the budget; `false`, and counted, when nothing is left. */
  take(refusals: Refusals): boolean {
    return this.has(refusals) && this.#budget.take(this.#clock.now());
  }

  /** What is used of the budget, for another process that goes on with it. */
  collect(): RetryBudgetState | undefined {
    return this.#budget.collect(this.#clock.now());
  }

  /** Goes on with what another process has used `elapsed` milliseconds ago. */
  resume(state: RetryBudgetState, elapsed: number): void {
    this.#budget.resume(state, this.#clock.now(), elapsed);
  }

  /**
   * What an answer says of its backend.
   *
   * @param status The status of HTTP.
   * @param readRetryAfter Reads how long the backend wants to be left alone, in milliseconds; asked only where
   * that counts.
   */
  judgeStatus(status: number, readRetryAfter: () => number | undefined): Outcome {
    const failure = this.#failures.get(status);
    if (failure !== undefined) return withPause(failure, readRetryAfter());
    return status === TOO_MANY_REQUESTS ? withPause(BUSY, readRetryAfter()) : ANSWERED;
  }

  /** The same for the status of a call. */
  judgeCode(code: number, readPushback: () => number | undefined): Outcome {
    const failure = this.#codes.get(code);
    return failure === undefined ? ANSWERED : withPause(failure, readPushback());
  }
}

/** What is told of an error when nobody can be reached: as a whole, the service is not available. */
export function toldAs(code: ErrorCode, pool: Pick<Pool, "reaches">): ErrorCode {
  const refused = code === "connect_refused" || code === "connect_failed";
  return refused && !pool.reaches ? "no_backend" : code;
}

/** How often a request goes on for nothing from backends that could not be reached. */
const MAX_PASSES = 10;

/**
 * The tries of one request that have reached no backend. Nothing was sent in them, so the next one is no additional
 * load for anybody: it costs nothing of the budget as long as it goes from a backend that is known to be unreachable to
 * one that is not. In an outage of all backends there is none to go to, and the budget holds.
 */
export class Passes {
  #count = 0;
  #uncounted = 0;

  /** Whether the next try is free. `failed` is where nothing could be sent. */
  allow(failed: LiveBackend, outlook: Outlook): boolean {
    return outlook === "reachable" && !failed.health.reachable && this.#count < MAX_PASSES;
  }

  /**
   * Goes on for nothing.
   *
   * @param quick Whether that it failed has taken no time, so that it counts for nothing.
   */
  pass(quick: boolean): void {
    this.#count++;
    if (quick) this.#uncounted++;
  }

  /** Whether there may be another try after `attempts`, when there may be `most`. */
  within(attempts: number, most: number): boolean {
    return attempts < most + this.#uncounted;
  }
}

const BUSY: Outcome = { type: "busy", reason: `status_${TOO_MANY_REQUESTS}` };

function withPause(outcome: Outcome, retryAfter: number | undefined): Outcome {
  return retryAfter === undefined || outcome.type === "answered" || outcome.type === "expired"
    ? outcome
    : { ...outcome, retryAfter };
}

/** The outcome of a try that got no answer. */
export function failedBy(reason: string): Outcome {
  return { type: "failed", reason };
}

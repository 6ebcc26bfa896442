/**
 * Whether and where one call is tried again: gRFC A6. Made when the first try fails, or before it where tries have a
 * time.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import type { Member } from "../../backend/pool.ts";
import { backoff, Passes, type RetryRules } from "../../backend/recovery.ts";
import { Alarm } from "../../common/alarm.ts";
import type { ProxyPlan } from "../../http/l7/plan.ts";
import { isIdempotent } from "../../http/methods.ts";
import type { RetryCondition } from "../../route/retry.ts";
import type { CallRecord } from "./call_record.ts";
import type { GrpcContext } from "./context.ts";
import type { CallDeadline } from "./deadline.ts";

/** Why a try is over that got no answer. */
export interface Failure {
  /** After what it may be followed by another one. */
  readonly after: RetryCondition;
  /** Whether the backend is as good as the others for the next try. */
  readonly again?: boolean;
  /** Whether it has taken no time to learn that the backend cannot be reached. */
  readonly quick?: boolean;
  /** How long the backend wants to be left alone, in milliseconds; negative for ever. */
  readonly pushback?: number | undefined;
}

/** Another try. */
export interface Next {
  /** Where; `undefined` when all backends that may have it are at their limit. */
  readonly backend: LiveBackend | undefined;
  /** Milliseconds to wait before it. */
  readonly wait: number;
}

/** What it is about. */
export interface CallRetriesParts {
  readonly context: GrpcContext;
  readonly plan: ProxyPlan;
  /** What the call is hashed by. */
  readonly key: number | undefined;
  /** Counts the tries. */
  readonly record: CallRecord;
  /** The deadline of the call, if it has one. */
  readonly deadline: CallDeadline | undefined;
}

/** The tries of one call behind, or beside, its first. */
export class CallRetries {
  readonly #parts: CallRetriesParts;
  readonly #rules: RetryRules;
  readonly #tried = new Set<LiveBackend>();
  /** The end of the time that the try has, or of the wait between two tries. */
  #alarm: Alarm | undefined;
  #hedgeAlarm: Alarm | undefined;
  /** Whether a stream of the call came too late for its connection before. */
  #wasLate = false;
  /** Tries that have reached no backend. */
  readonly #passes = new Passes();

  /** Nothing has been tried yet. */
  constructor(parts: CallRetriesParts) {
    this.#parts = parts;
    this.#rules = parts.plan.retries;
  }

  get #mayTry(): boolean {
    const { context, record } = this.#parts;
    return this.#passes.within(record.attempts, this.#rules.attempts ?? context.maxAttempts);
  }

  /** Nothing says that a call may run twice but that the user wants it; of other requests the method does. */
  get #mayRunTwice(): boolean {
    const { grpc, method } = this.#parts.record;
    return grpc || isIdempotent(method);
  }

  #pick(skip = this.#isTried): LiveBackend | undefined {
    const { plan, key } = this.#parts;
    return plan.pool.pick(skip, key);
  }

  readonly #isTried = ({ backend }: Member) => this.#tried.has(backend);

  /** Says which backends have failed, once one has. */
  get skip(): ((member: Member) => boolean) | undefined {
    return this.#tried.size === 0 ? undefined : this.#isTried;
  }

  /** A backend has failed; another is picked as long as there is one. */
  add(backend: LiveBackend): void {
    this.#tried.add(backend);
  }

  /** Where the call goes after `failed` has, if it may be tried again; what that costs is taken from the budget. */
  next(
    failed: LiveBackend,
    { after, again = false, quick = false, pushback }: Failure,
  ): Next | undefined {
    const { deadline, record, context: { recovery, metrics } } = this.#parts;
    const untouched = after === "connect-failure" || after === "refused";
    if (
      !this.#rules.on.has(after) || !this.#mayTry || !(untouched || this.#mayRunTwice) ||
      (pushback !== undefined && pushback < 0)
    ) return undefined;
    if (!again) this.add(failed);
    const outlook = this.#parts.plan.pool.outlook(this.#isTried);
    // One that says when it wants to be asked again may be asked again.
    if (outlook === "none" && !again && pushback === undefined) return undefined;
    const wait = pushback ??
      (again || after === "connect-failure" ? 0 : backoff(record.attempts, recovery.random));
    if (wait > 0 && deadline !== undefined && deadline.left <= wait) return undefined;
    // As gRFC A6 has it, a backend that has not seen the call costs nothing, once.
    const free = again && !this.#wasLate;
    this.#wasLate ||= again;
    const passes = after === "connect-failure" && this.#passes.allow(failed, outlook);
    if (!(free || passes || recovery.take(metrics))) return undefined;
    if (passes) this.#passes.pass(quick);
    return { backend: this.#pick() ?? (outlook === "full" ? undefined : failed), wait };
  }

  /** Waits before a try, then says where it goes; nowhere if the backends have gone meanwhile, or are full. */
  wait({ backend, wait }: Next, go: (backend: LiveBackend | undefined) => void): void {
    this.#alarm = new Alarm(this.#parts.context.recovery.waits, wait, () => {
      this.#alarm = undefined;
      go(this.#pick() ?? (backend?.state === "active" ? backend : undefined));
    });
  }

  /** A try begins, or goes on alone: it has its time from now on. */
  startTimer(onExpired: () => void): void {
    const { perTryTimeout } = this.#rules;
    if (perTryTimeout === Infinity) return;
    this.stopTimer();
    this.#alarm = new Alarm(this.#parts.context.recovery.waits, perTryTimeout, onExpired);
  }

  /** A try is over. */
  stopTimer(): void {
    this.#alarm?.stop();
    this.#alarm = undefined;
  }

  /** Calls when the first try has taken long. */
  startHedging(onDue: () => void): void {
    const { hedgeDelay } = this.#rules;
    if (hedgeDelay === Infinity) return;
    this.#hedgeAlarm = new Alarm(this.#parts.context.recovery.waits, hedgeDelay, onDue);
  }

  /** Where there may be a try beside that on `first`; what it costs is taken from the budget. */
  beside(first: LiveBackend): LiveBackend | undefined {
    const { recovery, metrics } = this.#parts.context;
    if (!this.#mayTry || !this.#mayRunTwice) return undefined;
    const skip = (member: Member) => member.backend === first || this.#isTried(member);
    if (this.#parts.plan.pool.outlook(skip) === "none" || !recovery.has(metrics)) return undefined;
    const other = this.#pick(skip);
    return other !== undefined && recovery.take(metrics) ? other : undefined;
  }

  /** Nothing is waited for any more. */
  stop(): void {
    this.stopTimer();
    this.#hedgeAlarm?.stop();
    this.#hedgeAlarm = undefined;
  }
}

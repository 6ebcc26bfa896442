/**
 * What a process has learnt of its backends, for the one that takes its place: plain data, read with care, since the
 * other process may be of an older or a newer version.
 *
 * A field that is not known is ignored; one that is missing or not what it should be means that nothing is known. Only
 * what means something else than before gets another {@linkcode KNOWLEDGE_VERSION}, and is then not used at all. All
 * times are durations in milliseconds, as two processes have no clock in common.
 *
 * @module
 */
import type { LatencyState } from "../strategy/peak_latency.ts";
import type { AdaptiveLimitState } from "./adaptive_limit.ts";
import type { RetryBudgetState } from "./retry_budget.ts";

/** The meaning of {@linkcode Knowledge}. */
export const KNOWLEDGE_VERSION = 1;
/** The most backends, and the most rates' keys, of one registry that are passed on and read. */
export const MAX_KNOWN = 10_000;
/** The longest reason or key, in UTF-16 code units. */
const MAX_TEXT = 500;
/** Durations and counts above this are nonsense: 24 days, or the counts of half of 32 bits. */
const MAX_NUMBER = 2 ** 31;

/** What one balancer has learnt. */
export interface Knowledge {
  /** {@linkcode KNOWLEDGE_VERSION} */
  readonly version: number;
  /** When it was collected, in milliseconds since 1970. */
  readonly at: number;
  /** That of each of its registries. */
  readonly registries: readonly RegistryKnowledge[];
}

/** What is known in one registry. */
export interface RegistryKnowledge {
  /** Which registry. */
  readonly scheme: string;
  /** How backends were checked; what was found says nothing to another check. */
  readonly check?: string | undefined;
  /** Its backends, those only of which there is something to tell. */
  readonly backends: readonly BackendKnowledge[];
  /** How much of the budget of retries is used. */
  readonly retries?: RetryBudgetState | undefined;
  /** What is used of rates: that of a route by its id, that of all others under the empty one. */
  readonly rates?: readonly RateKnowledge[] | undefined;
}

/** What is known of one backend. */
export interface BackendKnowledge {
  /** Its id, which its address has in every process. */
  readonly id: string;
  /** What its checks have said. */
  readonly standing?: Standing | undefined;
  /** How it has answered. */
  readonly outlier?: OutlierKnowledge | undefined;
  /** Why no connection to it could be opened when that was last tried; absent when one could. */
  readonly unreachable?: string | undefined;
  /** How long ago it came back, if it has not its whole share yet. */
  readonly warming?: number | undefined;
  /** How quick it is. */
  readonly latency?: LatencyState | undefined;
  /** How many requests it bears. */
  readonly limit?: AdaptiveLimitState | undefined;
}

/** What the checks of a backend have said so far. */
export interface Standing {
  /** Why it is not well; absent when it is. */
  readonly reason?: string | undefined;
  /** Checks in a row that have said the opposite. */
  readonly inRow: number;
}

/** What ejection goes by. */
export interface OutlierKnowledge {
  /** How often it was ejected in all. */
  readonly total: number;
  /** How often, as far as that makes the next ejection longer. */
  readonly ejections: number;
  /** Failures since the last answer. */
  readonly inRow: number;
  /** Of these, the last ones in which no connection could be opened. */
  readonly unreached: number;
  /** Requests of the present interval. */
  readonly requests: number;
  /** Failures among them. */
  readonly failures: number;
  /** How long the interval still lasts. */
  readonly interval: number;
  /** Why it is ejected, and for how long still; absent when it is not. */
  readonly ejected?: EjectionKnowledge | undefined;
}

/** An ejection. */
export interface EjectionKnowledge {
  /** Why, for people. */
  readonly reason: string;
  /** How long it still lasts. */
  readonly left: number;
  /** Whether a connection that can be opened ends it earlier. */
  readonly untilReached: boolean;
}

/** What is used of one rate. */
export interface RateKnowledge {
  /** The id of the route; empty for the rate of all that have none of their own. */
  readonly route: string;
  /** Keys whose buckets are not full, and in how long they will be. */
  readonly buckets: readonly (readonly [key: string, left: number])[];
}

/** Reads what another process has passed on; `undefined` when it cannot be understood as a whole. */
export function parseKnowledge(value: unknown): Knowledge | undefined {
  const { version, at, registries } = fields(value);
  if (version !== KNOWLEDGE_VERSION || typeof at !== "number" || !Number.isFinite(at)) {
    return undefined;
  }
  return { version, at, registries: list(registries, parseRegistry) };
}

function parseRegistry(value: unknown): RegistryKnowledge | undefined {
  const { scheme, check, backends, retries, rates } = fields(value);
  if (typeof scheme !== "string") return undefined;
  return {
    scheme,
    check: text(check),
    backends: list(backends, parseBackend),
    retries: given(retries, (retries) => ({
      requests: list(retries["requests"], count),
      retries: list(retries["retries"], count),
    })),
    rates: list(rates, parseRate),
  };
}

function parseBackend(value: unknown): BackendKnowledge | undefined {
  const { id, standing, outlier, unreachable, warming, latency, limit } = fields(value);
  if (typeof id !== "string") return undefined;
  return {
    id,
    standing: given(standing, ({ reason, inRow }) => ({
      reason: text(reason),
      inRow: count(inRow) ?? 0,
    })),
    outlier: given(outlier, parseOutlier),
    unreachable: text(unreachable),
    warming: number(warming),
    latency: given(latency, ({ average, age, pause }) => ({
      average: number(average) ?? 0,
      age: number(age) ?? 0,
      pause: number(pause) ?? 0,
    })),
    limit: given(limit, ({ limit, base, probe }) => ({
      limit: number(limit) ?? 0,
      base: number(base) ?? 0,
      probe: number(probe) ?? 0,
    })),
  };
}

function parseOutlier(fields: Fields): OutlierKnowledge {
  const { total, ejections, inRow, unreached, requests, failures, interval, ejected } = fields;
  return {
    total: count(total) ?? 0,
    ejections: count(ejections) ?? 0,
    inRow: count(inRow) ?? 0,
    unreached: count(unreached) ?? 0,
    requests: count(requests) ?? 0,
    failures: count(failures) ?? 0,
    interval: number(interval) ?? 0,
    ejected: given(ejected, ({ reason, left, untilReached }) => ({
      reason: text(reason) ?? "ejected by the process before",
      left: number(left) ?? 0,
      untilReached: untilReached === true,
    })),
  };
}

function parseRate(value: unknown): RateKnowledge | undefined {
  const { route, buckets } = fields(value);
  if (typeof route !== "string") return undefined;
  return {
    route,
    buckets: list(buckets, (bucket) => {
      const [key, left] = Array.isArray(bucket) ? bucket : [];
      const milliseconds = number(left);
      return typeof key === "string" && key.length <= MAX_TEXT && milliseconds !== undefined
        ? [key, milliseconds] as const
        : undefined;
    }),
  };
}

type Fields = Readonly<Record<string, unknown>>;

function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null ? value as Fields : {};
}

function given<T>(value: unknown, parse: (fields: Fields) => T): T | undefined {
  return typeof value === "object" && value !== null ? parse(value as Fields) : undefined;
}

function list<T>(value: unknown, parse: (value: unknown) => T | undefined): T[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MAX_KNOWN).map(parse).filter((entry) => entry !== undefined);
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && value >= 0 && value <= MAX_NUMBER ? value : undefined;
}

function count(value: unknown): number | undefined {
  return Number.isInteger(value) ? number(value) : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value.slice(0, MAX_TEXT) : undefined;
}

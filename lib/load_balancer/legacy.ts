/**
 * What a process knows of its backends, from one balancer to the one that takes its place.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import {
  type BackendKnowledge,
  type Knowledge,
  KNOWLEDGE_VERSION,
  MAX_KNOWN,
  parseKnowledge,
  type RateKnowledge,
  type RegistryKnowledge,
} from "../backend/knowledge.ts";
import type { Recovery } from "../backend/recovery.ts";
import type { Registry } from "../backend/registry.ts";
import type { Clock } from "../common/clock.ts";
import type { Rates } from "../http/l7/plan.ts";
import { rateOfRoute, type RequestRate } from "../http/l7/rate_limit.ts";
import { getLogger } from "../observe/logger.ts";
import type { Resilience } from "./resilience.ts";

/** The longest that may pass from one process to the other, in milliseconds; what the wall clock says beyond is wrong. */
const MAX_ELAPSED_MS = 60_000;

/** Where a balancer has what it knows. */
export interface Learned {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly resilience: Resilience;
  readonly recovery: Recovery;
  readonly rates: Rates;
}

const log = getLogger("handover");

/** What balancers know now. */
export function collectKnowledge(all: readonly Learned[]): Knowledge {
  return { version: KNOWLEDGE_VERSION, at: Date.now(), registries: all.map(collectFrom) };
}

function collectFrom(learned: Learned): RegistryKnowledge {
  const { registry, resilience, recovery } = learned;
  return {
    scheme: registry.scheme,
    check: resilience.check,
    backends: [...registry.backends].sort(unfitFirst).slice(0, MAX_KNOWN)
      .map((backend) => describe(backend, resilience)),
    retries: recovery.collect(),
    rates: collectRates(learned),
  };
}

/** Where there are too many, those count most that must not be picked. */
function unfitFirst({ health: a }: LiveBackend, { health: b }: LiveBackend): number {
  return Number(a.usable) - Number(b.usable);
}

function describe(backend: LiveBackend, resilience: Resilience): BackendKnowledge {
  const { id, now, latency, limit } = backend;
  return {
    id,
    ...resilience.collect(backend),
    latency: latency.collect(now),
    limit: limit?.collect(now),
  };
}

/** The rates of routes by their id, that of all others under the empty one. */
function* ratesOf({ registry, rates }: Learned): Generator<[route: string, rate: RequestRate]> {
  if (rates.rate !== undefined) yield ["", rates.rate];
  for (const route of registry.routes) {
    const rate = rateOfRoute(route, rates.isTrusted);
    if (rate !== undefined) yield [route.id, rate];
  }
}

function collectRates(learned: Learned): RateKnowledge[] {
  const now = learned.clock.now();
  let left = MAX_KNOWN;
  const found: RateKnowledge[] = [];
  for (const [route, rate] of ratesOf(learned)) {
    if (left === 0) break;
    const buckets = rate.collect(now, left);
    left -= buckets.length;
    if (buckets.length > 0) found.push({ route, buckets });
  }
  return found;
}

/**
 * Goes on with what another process knew, before the first listener opens. Backends that are not there are left out,
 * and so is what cannot be understood.
 */
export function applyKnowledge(all: readonly Learned[], value: unknown): void {
  const knowledge = parseKnowledge(value);
  if (knowledge === undefined) {
    log.info("what the process before knew of its backends is not known here, which begins anew");
    return;
  }
  const elapsed = Math.min(Math.max(Date.now() - knowledge.at, 0), MAX_ELAPSED_MS);
  for (const known of knowledge.registries) {
    const learned = all.find(({ registry }) => registry.scheme === known.scheme);
    if (learned !== undefined) applyTo(learned, known, elapsed);
  }
}

function applyTo(learned: Learned, known: RegistryKnowledge, elapsed: number): void {
  const { registry, resilience, recovery, clock } = learned;
  const now = clock.now();
  const sameCheck = known.check === resilience.check;
  for (const { standing, ...rest } of known.backends) {
    const backend = registry.backend(rest.id);
    if (backend === undefined) continue;
    const { latency, limit } = rest;
    resilience.resume(backend, sameCheck ? { ...rest, standing } : rest, elapsed);
    if (latency !== undefined) {
      const { average, age, pause } = latency;
      backend.latency.resume({ average, age: age + elapsed, pause: pause - elapsed }, now);
    }
    if (limit !== undefined) {
      backend.limit?.resume({ ...limit, probe: Math.max(limit.probe - elapsed, 0) }, now);
    }
  }
  if (known.retries !== undefined) recovery.resume(known.retries, elapsed);
  for (const [route, rate] of ratesOf(learned)) {
    const { buckets = [] } = known.rates?.find((entry) => entry.route === route) ?? {};
    rate.resume(buckets.map(([key, left]) => [key, left - elapsed] as const), now);
  }
}

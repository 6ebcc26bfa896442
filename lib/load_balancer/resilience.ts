/**
 * What keeps a balancer working while backends do not: checks, ejection, slow start, and names that are followed.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import type { Connect } from "../backend/connector.ts";
import { DnsFollower } from "../backend/discovery/dns.ts";
import { type DnsName, type Resolve, resolveBySystem } from "../backend/discovery/resolver.ts";
import { ActiveChecks } from "../backend/health/active_checks.ts";
import { resolveHealthCheck } from "../backend/health/check.ts";
import { OutlierDetection } from "../backend/health/outlier_detection.ts";
import { SlowStart } from "../backend/health/slow_start.ts";
import type { Registry } from "../backend/registry.ts";
import type { Clock } from "../common/clock.ts";
import { makeGrpcProbe } from "../grpc/health_probe.ts";
import type { LoadBalancerOptions } from "./options.ts";

/** How long a start waits for names to be resolved the first time, in milliseconds. */
const FIRST_ANSWER_MS = 2_000;

/** What a {@linkcode Resilience} is made of. */
export interface ResilienceParts {
  /** Backends and routes. */
  readonly registry: Registry;
  /** For all deadlines. */
  readonly clock: Clock;
  /** Opens connections for checks. */
  readonly connect: Connect;
  /** What the user chose. */
  readonly options: LoadBalancerOptions;
  /** Finds what names stand for; the system unless given. */
  readonly resolve?: Resolve;
}

/** A name and the weight of its addresses. */
interface Followed {
  readonly name: DnsName;
  readonly weight: number;
}

/** Watches the backends of one registry. */
export class Resilience {
  readonly #parts: ResilienceParts;
  readonly #outliers: OutlierDetection | undefined;
  readonly #slowStart: SlowStart | undefined;
  readonly #names: Followed[] = [];
  readonly #followers: DnsFollower[] = [];
  /** Addresses that were given as such, and stay whatever a name stands for. */
  readonly #given = new Set<LiveBackend>();
  #checks: ActiveChecks | undefined;
  #starts = 0;

  /**
   * Ejection works at once, the rest from {@linkcode start} to {@linkcode stop}.
   *
   * @throws {TypeError} When an option is out of its range.
   */
  constructor(parts: ResilienceParts) {
    this.#parts = parts;
    const { clock, options: { outlierDetection, slowStart = 0, healthCheck } } = parts;
    if (!(slowStart >= 0 && slowStart < Infinity)) {
      throw new TypeError(`slowStart ${slowStart}: milliseconds from 0 are accepted`);
    }
    if (outlierDetection !== false) this.#outliers = new OutlierDetection(clock, outlierDetection);
    if (slowStart > 0) this.#slowStart = new SlowStart(clock, slowStart);
    // Bad options are refused here, not when the first listener opens.
    if (healthCheck !== undefined) resolveHealthCheck(healthCheck);
  }

  /** A backend is there. */
  add(backend: LiveBackend): void {
    this.#outliers?.add(backend);
    const slowStart = this.#slowStart;
    if (slowStart === undefined) return;
    backend.health.onChange((now) => {
      if (now.type === "healthy") slowStart.add(backend);
    });
  }

  /** A backend is gone. */
  remove(backend: LiveBackend): void {
    this.#outliers?.remove(backend);
    this.#given.delete(backend);
  }

  /** A backend was given by its address. */
  keep(backend: LiveBackend): void {
    this.#given.add(backend);
  }

  /** Follows a name: all its addresses are backends of the default pool. */
  follow(name: DnsName, weight: number): void {
    this.#names.push({ name, weight });
    if (this.#starts > 0) this.#followers.push(this.#makeFollower({ name, weight }));
  }

  #makeFollower({ name, weight }: Followed): DnsFollower {
    const { registry, clock, options, resolve = resolveBySystem } = this.#parts;
    const members = new Map<string, LiveBackend>();
    return new DnsFollower({
      name,
      resolve,
      clock,
      sink: {
        add(addr, found) {
          const share = name.type === "srv" ? found : weight;
          members.set(addr, registry.addBackend({ addr, weight: share }).value);
        },
        remove: (addr) => {
          const backend = members.get(addr);
          members.delete(addr);
          if (backend !== undefined && !this.#given.has(backend)) registry.withdraw(backend);
        },
      },
    }, options.dns);
  }

  /** Begins to check and to follow; waits a little for the addresses of names. */
  async start(): Promise<void> {
    if (this.#starts++ > 0) return;
    const { registry, clock, connect, options } = this.#parts;
    const { healthCheck, caCerts } = options;
    if (healthCheck !== undefined) {
      this.#checks = new ActiveChecks({
        backends: () => registry.backends,
        onChange: (listener) => registry.onChange(listener),
        clock,
        connect,
        ...(caCerts === undefined ? {} : { caCerts }),
        grpc: (service) => makeGrpcProbe(service, clock),
      }, healthCheck);
    }
    this.#followers.push(...this.#names.map((followed) => this.#makeFollower(followed)));
    if (this.#followers.length === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, FIRST_ANSWER_MS));
    const answers = Promise.all(this.#followers.map((follower) => follower.settled));
    await Promise.race([answers, late]);
    clearTimeout(timer);
  }

  /** The counterpart of {@linkcode start}; the last one ends checking and following. */
  async stop(): Promise<void> {
    if (--this.#starts > 0) return;
    const checks = this.#checks;
    this.#checks = undefined;
    const followers = this.#followers.splice(0);
    await Promise.all([checks?.close(), ...followers.map((follower) => follower.close())]);
  }

  /** Ends what works without a start. */
  close(): void {
    this.#outliers?.close();
    this.#slowStart?.close();
  }
}

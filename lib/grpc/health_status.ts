/**
 * Which services can be served, as `grpc.health.v1.Health` says it.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import { canServe } from "../backend/readiness.ts";
import type { Registry } from "../backend/registry.ts";

/** Whether a service can be served now. */
export type ServingStatus = "SERVING" | "NOT_SERVING";

/** What a {@linkcode HealthStatus} looks at. */
export interface HealthStatusOptions {
  /** Backends and routes. */
  readonly registry: Registry;
  /** All registries of the balancer, for the health of the whole; only that one unless given. */
  readonly registries?: readonly Registry[];
  /** The services of the balancer itself. */
  readonly own: readonly string[];
  /** The services that backends list by reflection, as far as that is known by now. */
  readonly listed: () => Iterable<readonly [backend: LiveBackend, services: readonly string[]]>;
}

/**
 * The health of the whole, under the empty name, and of every service: a service is served by the targets of
 * the routes that name it, and by the backends that list it.
 */
export class HealthStatus {
  readonly #options: HealthStatusOptions;

  /** Looks at a registry. */
  constructor(options: HealthStatusOptions) {
    this.#options = options;
  }

  /** All that is known, the whole included. */
  all(): Map<string, ServingStatus> {
    const { registry, registries = [registry], own, listed } = this.#options;
    const statuses = new Map<string, ServingStatus>();
    const add = (service: string, backends: Iterable<LiveBackend>) => {
      if (statuses.get(service) === "SERVING") return;
      statuses.set(service, isServing(backends) ? "SERVING" : "NOT_SERVING");
    };
    statuses.set("", registries.some(canServe) ? "SERVING" : "NOT_SERVING");
    for (const service of own) statuses.set(service, "SERVING");
    for (const { route, pool } of registry.routes) {
      const { services = [], fullMethods = [] } = route.match;
      const targets = Array.from(pool.members, ({ backend }) => backend);
      for (const service of services) add(service, targets);
      for (const method of fullMethods) add(serviceOf(method), targets);
    }
    for (const [backend, services] of listed()) {
      for (const service of services) add(service, [backend]);
    }
    return statuses;
  }
}

/** What a {@linkcode HealthLookup} looks at. */
export interface HealthLookupOptions {
  /** All that is known. */
  readonly status: HealthStatus;
  /** Asks backends for what is not known yet; bounded in time. */
  readonly refresh: () => Promise<void>;
}

/** Finds the health of services, for `grpc.health.v1` and for `/readyz`. */
export class HealthLookup {
  readonly #options: HealthLookupOptions;
  readonly #listeners = new Set<() => void>();
  #leaving = false;

  /** Asks nobody yet. */
  constructor(options: HealthLookupOptions) {
    this.#options = options;
  }

  /** All that is known by now. */
  all(): Map<string, ServingStatus> {
    const statuses = this.#options.status.all();
    if (this.#leaving) {
      for (const service of statuses.keys()) {
        statuses.set(service, "NOT_SERVING");
      }
    }
    return statuses;
  }

  /** Says of everything that it is not served any more, because we are about to end; or the truth again. */
  setLeaving(leaving: boolean): void {
    if (this.#leaving === leaving) return;
    this.#leaving = leaving;
    for (const listener of [...this.#listeners]) listener();
  }

  /**
   * Calls `listener` when that changes; it must not throw.
   *
   * @returns Ends it.
   */
  onLeaving(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Asks backends for what is not known yet; bounded in time. */
  refresh(): Promise<void> {
    return this.#options.refresh();
  }

  /**
   * The health of a service, or of the whole under the empty name; `undefined` for a service that nobody is
   * known to have. Backends are asked before that, or something bad, is said of a service.
   */
  async find(service: string): Promise<ServingStatus | undefined> {
    const known = this.all().get(service);
    if (known === "SERVING" || service === "" || (this.#leaving && known !== undefined)) {
      return known;
    }
    await this.refresh();
    return this.all().get(service);
  }
}

function isServing(backends: Iterable<LiveBackend>): boolean {
  for (const { state, health } of backends) if (state === "active" && health.usable) return true;
  return false;
}

/** The service in `/package.Service/Method`, with or without the first slash. */
function serviceOf(method: string): string {
  const start = method.startsWith("/") ? 1 : 0;
  return method.slice(start, method.indexOf("/", start));
}

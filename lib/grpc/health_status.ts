/**
 * Which services can be served, as `grpc.health.v1.Health` says it.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import type { Registry } from "../backend/registry.ts";

/** Whether a service can be served now. */
export type ServingStatus = "SERVING" | "NOT_SERVING";

/** What a {@linkcode HealthStatus} looks at. */
export interface HealthStatusOptions {
  /** Backends and routes. */
  readonly registry: Registry;
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
    const { registry, own, listed } = this.#options;
    const statuses = new Map<string, ServingStatus>();
    const add = (service: string, backends: Iterable<LiveBackend>) => {
      if (statuses.get(service) === "SERVING") return;
      statuses.set(service, isServing(backends) ? "SERVING" : "NOT_SERVING");
    };
    add("", registry.backends);
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

function isServing(backends: Iterable<LiveBackend>): boolean {
  for (const { state } of backends) if (state === "active") return true;
  return false;
}

/** The service in `/package.Service/Method`, with or without the first slash. */
function serviceOf(method: string): string {
  const start = method.startsWith("/") ? 1 : 0;
  return method.slice(start, method.indexOf("/", start));
}

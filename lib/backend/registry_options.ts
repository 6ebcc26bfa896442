/**
 * How a registry is made, and what it tells.
 *
 * @module
 */
import type { Scheme } from "../common/address.ts";
import type { Clock } from "../common/clock.ts";
import type { StrategyName } from "../strategy/registry.ts";
import type { LiveBackend } from "./backend.ts";
import type { Connect } from "./connector.ts";
import type { H2PoolOptions } from "./h2_pool.ts";
import type { RequestLimitOptions } from "./limits.ts";

/** How a registry is made. */
export interface RegistryOptions {
  /** How backends are picked. */
  readonly strategy: StrategyName;
  /** The protocol of addresses that name none. */
  readonly scheme: Scheme;
  /** The part of the members of a pool below which their health counts no more. */
  readonly panicThreshold?: number;
  /** How long a backend that comes back takes to its whole share, in milliseconds. Default 0: at once. */
  readonly slowStart?: number;
  /** Spread requests that match no route over the default pool even when there are routes. */
  readonly fallback: boolean;
  /**
   * Whether services are discovered: `always` those of all backends of the default pool but for those that are
   * not to be, `asked` those of backends that are to be, and no others; `never` unless given.
   */
  readonly discovery?: "always" | "asked" | "never";
  /** Limits and times of the connections to each backend. */
  readonly connections: H2PoolOptions;
  /** Limits of the requests of each backend; none unless given. */
  readonly requests?: RequestLimitOptions;
  /** Watches those times. */
  readonly clock: Clock;
  /** Opens connections. */
  readonly connect: Connect;
}

/** Told of what comes, and of what is gone for good, so that series and caches can be dropped. */
export interface RegistryWatcher {
  /** A backend is there. */
  onBackendAdded?(backend: LiveBackend): void;
  /** A backend was removed. */
  onBackendRemoved(id: string, backend: LiveBackend): void;
  /** A route was removed. */
  onRouteRemoved(id: string): void;
}

/** What adding answers. */
export interface Added<T> {
  /** What is there now. */
  readonly value: T;
  /** `false` when the same thing was there already. */
  readonly created: boolean;
}

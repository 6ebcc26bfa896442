/**
 * Options against too many requests and connections, and what they mean.
 *
 * @module
 */

import {
  DEFAULT_BODY_GRACE,
  DEFAULT_POOL,
  type HttpL7Options,
  type Limits,
} from "../load_balancer/options.ts";
import { parseRateLimit } from "../route/rate_limit.ts";
import { flag, inSection, one, UsageError, type Values } from "./options.ts";
import {
  formatDuration,
  MAX_COUNT,
  parseCount,
  parseDuration,
  parseSize,
  parseWhole,
} from "./values.ts";

const SECTION = "Overload";

/** What every balancer has. */
export const clientLimits = inSection(SECTION, {
  "max-connections-per-client": one(
    "N",
    "connections of one client address, IPv6 by /64; more are refused (default: no limit)",
    parseCount,
  ),
});

/** What balancers at layer 4 have whose connections are one backend's each. */
export const connectionLimits = inSection(SECTION, {
  "max-upstream-connections": one(
    "N",
    "connections to one backend at a time; at its limit another one is picked, and when all are, " +
      "connections wait (default: no limit)",
    parseCount,
  ),
  "max-waiting": one(
    "N",
    `connections that may wait for a backend, 0 for none (default ${DEFAULT_POOL.maxWaiting})`,
    (text) => parseWhole(text, 0, MAX_COUNT),
  ),
  "pool-wait-timeout": one(
    "TIME",
    `how long each may wait (default ${formatDuration(DEFAULT_POOL.waitTimeout)})`,
    parseDuration,
  ),
});

/** What balancers have that see requests. */
export const requestLimits = inSection(SECTION, {
  "max-requests": one(
    "N",
    "requests of one backend at a time; at its limit another one is picked, and when all are, " +
      "requests wait (default: no limit)",
    parseCount,
  ),
  "adaptive-limit": flag("find such a limit for each backend from how long its answers take"),
  "rate-limit": one(
    "RATE",
    "requests taken where the route does not say (rate=): 100/s, 100/s,burst=20 or " +
      "100/m,by=header:NAME; by may be address (the default), header:NAME, cookie:NAME, path or all",
    parseRateLimit,
  ),
});

/** What balancers have beside that where bodies are read. */
export const bodyLimits = inSection(SECTION, {
  "min-body-rate": one(
    "SIZE",
    "bytes per second at which a client must send a body (default: any)",
    parseSize,
  ),
  "body-grace": one(
    "TIME",
    `what a body may take beside that (default ${formatDuration(DEFAULT_BODY_GRACE)})`,
    (text) => parseDuration(text, 0),
  ),
});

const all = { ...clientLimits, ...requestLimits, ...bodyLimits };

/** The values of these options; a command has some of them. */
export type OverloadValues = Partial<Values<typeof all>>;

/**
 * The limits that they stand for.
 *
 * @throws {UsageError} When one means nothing without another.
 */
export function toOverloadLimits(values: OverloadValues): Limits {
  const maxRequests = values["max-requests"];
  const maxConnectionsPerClient = values["max-connections-per-client"];
  const minBodyRate = values["min-body-rate"];
  const bodyGrace = values["body-grace"];
  if (bodyGrace !== undefined && minBodyRate === undefined) {
    throw new UsageError("--body-grace is given without --min-body-rate");
  }
  return {
    ...(maxRequests === undefined ? {} : { maxRequests }),
    ...(values["adaptive-limit"] ? { adaptive: true } : {}),
    ...(maxConnectionsPerClient === undefined ? {} : { maxConnectionsPerClient }),
    ...(minBodyRate === undefined ? {} : { minBodyRate }),
    ...(bodyGrace === undefined ? {} : { bodyGrace }),
  };
}

/** The rate that they stand for. */
export function toRateLimit(values: OverloadValues): Pick<HttpL7Options, "rateLimit"> {
  const rateLimit = values["rate-limit"];
  return rateLimit === undefined ? {} : { rateLimit };
}

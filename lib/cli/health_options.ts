/**
 * Options that say when a backend is fit to be picked, and what they mean.
 *
 * @module
 */

import { DEFAULT_DNS } from "../backend/discovery/dns.ts";
import { parseNameServer } from "../backend/discovery/name_server.ts";
import { parseHealthCheck, parseStatuses } from "../backend/health/check.ts";
import { DEFAULT_OUTLIER } from "../backend/health/outlier_detection.ts";
import { DEFAULT_PANIC_THRESHOLD } from "../backend/pool.ts";
import type { LoadBalancerOptions } from "../load_balancer/options.ts";
import { inSection, negatedFlag, one, UsageError, type Values } from "./options.ts";
import {
  formatDuration,
  formatPercent,
  parseCount,
  parseDuration,
  parsePercent,
  parseWhole,
} from "./values.ts";

const SECTION = "Health of backends";

/** Checks, ejection and names. */
export const healthOptions = inSection(SECTION, {
  "health-check": one(
    "CHECK",
    "ask every backend whether it is well: tcp, http:/path, grpc[:package.Service], or " +
      "grpc-watch[:package.Service] on a stream that stays open",
    parseHealthCheck,
  ),
  "health-interval": one(
    "TIME",
    "from one check to the next, give or take a tenth (default 5s; 1s, or less, after a failure)",
    parseDuration,
  ),
  "health-timeout": one("TIME", "how long a check may take (default 2s)", parseDuration),
  "health-rise": one("N", "successes in a row that end a failure (default 2)", parseCount),
  "health-fall": one("N", "failures in a row that make one (default 3)", parseCount),
  "health-status": one(
    "CODES",
    "what an http check takes for good: 200, 200-299 or several with commas (default 200-399)",
    parseStatuses,
  ),
  "health-method": one(
    "METHOD",
    "the method of an http check, such as HEAD or OPTIONS (default GET)",
    parseMethod,
  ),
  "health-host": one("HOST", "the Host field of an http check (default: the address)", parseText),
  "health-body": one(
    "TEXT",
    "what the body of the answer to an http check must contain",
    parseText,
  ),
  ejection: negatedFlag("pick backends again at once, however many requests to them fail"),
  "ejection-failures": one(
    "N",
    `failures in a row that eject a backend, 0 for none (default ${DEFAULT_OUTLIER.consecutiveFailures})`,
    (text) => parseWhole(text, 0, 1_000_000),
  ),
  "ejection-share": one(
    "PERCENT",
    "failures among at least 20 requests in 10s that eject a backend " +
      `(default ${formatPercent(DEFAULT_OUTLIER.failureShare)})`,
    parsePercent,
  ),
  "ejection-time": one(
    "TIME",
    "the first ejection; each further one is that much longer, up to 5m " +
      `(default ${formatDuration(DEFAULT_OUTLIER.ejectionTime)})`,
    parseDuration,
  ),
  "max-ejected": one(
    "PERCENT",
    `of the backends of a pool that may be ejected (default ${
      formatPercent(DEFAULT_OUTLIER.maxEjected)
    })`,
    parsePercent,
  ),
  "panic-threshold": one(
    "PERCENT",
    "of the backends of a pool that must be healthy, or all are picked " +
      `(default ${formatPercent(DEFAULT_PANIC_THRESHOLD)})`,
    parsePercent,
  ),
  "slow-start": one(
    "TIME",
    "how long a backend that comes back takes to its whole share (default: at once)",
    parseDuration,
  ),
  "dns-interval": one(
    "TIME",
    "how often the addresses of a backend dns:name:port or srv:name are looked up " +
      `(default ${formatDuration(DEFAULT_DNS.interval)})`,
    parseDuration,
  ),
  "dns-server": one(
    "ADDR[:PORT]",
    "the only name server that is asked for them, such as 127.0.0.1:8600 (default: the system)",
    parseServer,
  ),
});

/** Kept as text, as the library takes it. */
function parseServer(text: string): string {
  parseNameServer(text);
  return text;
}

function parseText(text: string): string {
  // deno-lint-ignore no-control-regex
  if (text !== "" && !/[\x00-\x1f\x7f]/.test(text)) return text;
  throw new TypeError(`${JSON.stringify(text)} is not accepted; accepted is text on one line`);
}

/** A token (RFC 9110, section 9.1); CONNECT would ask for a tunnel. */
function parseMethod(text: string): string {
  if (/^[!#$%&'*+.^_`|~\w-]{1,32}$/.test(text) && text !== "CONNECT") return text;
  throw new TypeError(
    `${JSON.stringify(text)} is not accepted; accepted is a method such as GET, HEAD or OPTIONS`,
  );
}

type HealthValues = Partial<Values<typeof healthOptions>>;

/** The settings of a check, by the option that each stands for. */
const HTTP_ONLY = ["health-method", "health-status", "health-host", "health-body"] as const;
const CHECK_ONLY = [
  "health-interval",
  "health-timeout",
  "health-rise",
  "health-fall",
  ...HTTP_ONLY,
] as const;
const EJECTION_ONLY = [
  "ejection-failures",
  "ejection-share",
  "ejection-time",
  "max-ejected",
] as const;

/**
 * What the options mean to the library.
 *
 * @throws {UsageError} When an option is given that another one makes meaningless.
 */
export function toHealthOptions(
  values: HealthValues,
): Pick<
  LoadBalancerOptions,
  "healthCheck" | "outlierDetection" | "slowStart" | "panicThreshold" | "dns"
> {
  const slowStart = values["slow-start"];
  const panicThreshold = values["panic-threshold"];
  const interval = values["dns-interval"];
  const server = values["dns-server"];
  const healthCheck = toHealthCheck(values);
  const outlierDetection = toOutlierDetection(values);
  return {
    ...(healthCheck === undefined ? {} : { healthCheck }),
    ...(outlierDetection === undefined ? {} : { outlierDetection }),
    ...(slowStart === undefined ? {} : { slowStart }),
    ...(panicThreshold === undefined ? {} : { panicThreshold }),
    ...(interval === undefined && server === undefined ? {} : {
      dns: {
        ...(interval === undefined ? {} : { interval }),
        ...(server === undefined ? {} : { server }),
      },
    }),
  };
}

function toHealthCheck(values: HealthValues): LoadBalancerOptions["healthCheck"] {
  let check = values["health-check"];
  if (check === undefined) {
    refuseAny(values, CHECK_ONLY, "without --health-check");
    return undefined;
  }
  if (check.type === "http") {
    const method = values["health-method"];
    const statuses = values["health-status"];
    const host = values["health-host"];
    const body = values["health-body"];
    check = {
      ...check,
      ...(method === undefined ? {} : { method }),
      ...(statuses === undefined ? {} : { statuses }),
      ...(host === undefined ? {} : { host }),
      ...(body === undefined ? {} : { body }),
    };
  } else refuseAny(values, HTTP_ONLY, `with a --health-check over ${check.type}`);
  const interval = values["health-interval"];
  const timeout = values["health-timeout"];
  const rise = values["health-rise"];
  const fall = values["health-fall"];
  return {
    check,
    ...(interval === undefined ? {} : { interval }),
    ...(timeout === undefined ? {} : { timeout }),
    ...(rise === undefined ? {} : { rise }),
    ...(fall === undefined ? {} : { fall }),
  };
}

function toOutlierDetection(values: HealthValues): LoadBalancerOptions["outlierDetection"] {
  if (values.ejection === false) {
    refuseAny(values, EJECTION_ONLY, "with --no-ejection");
    return false;
  }
  const consecutiveFailures = values["ejection-failures"];
  const failureShare = values["ejection-share"];
  const ejectionTime = values["ejection-time"];
  const maxEjected = values["max-ejected"];
  const options = {
    ...(consecutiveFailures === undefined ? {} : { consecutiveFailures }),
    ...(failureShare === undefined ? {} : { failureShare }),
    ...(ejectionTime === undefined ? {} : { ejectionTime }),
    ...(maxEjected === undefined ? {} : { maxEjected }),
  };
  return Object.keys(options).length === 0 ? undefined : options;
}

function refuseAny(
  values: HealthValues,
  names: readonly (keyof HealthValues)[],
  why: string,
): void {
  const given = names.find((name) => values[name] !== undefined);
  if (given !== undefined) throw new UsageError(`--${given} is given ${why}`);
}

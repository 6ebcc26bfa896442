/**
 * The options that the balancers have in common, and the library's options that they mean.
 *
 * @module
 */

import { parseTokenFile } from "../control/access.ts";
import { DEFAULT_HEAD_LIMITS } from "../http/h1/limits.ts";
import { DEFAULT_HTTP_TIMEOUTS } from "../http/l7/context.ts";
import { MIN_UPSTREAM_KEEPALIVE } from "../load_balancer/h2_options.ts";
import {
  DEFAULT_CALLER_PORT,
  DEFAULT_KEEPALIVE,
  DEFAULT_MAX_ATTEMPTS,
  DEFAULT_POOL,
  DEFAULT_SHUTDOWN,
  type Keepalive,
  type Limits,
  type LoadBalancerOptions,
  type ManagementOptions,
  type Timeouts,
} from "../load_balancer/options.ts";
import { type RetryValues, toRetryOptions } from "./retry_options.ts";
import { strategies, type StrategyName } from "../strategy/registry.ts";
import { healthOptions, toHealthOptions } from "./health_options.ts";
import type { Wanted } from "./endpoints.ts";
import {
  flag,
  inSection,
  many,
  negatedFlag,
  one,
  oneOf,
  UsageError,
  type Values,
} from "./options.ts";
import { clientLimits, type OverloadValues, toOverloadLimits } from "./overload_options.ts";
import {
  checkListen,
  checkNetwork,
  formatDuration,
  parseBackend,
  parseCount,
  parseDuration,
  parsePort,
  parseSize,
} from "./values.ts";

/** Where balancers listen unless told otherwise. */
export const DEFAULT_LISTEN = ":8080";

const DEFAULT_DRAIN_DELAY = 0;
const DEFAULT_DRAIN_IDLE = 1_000;

/** The variable with the token of the management API. */
export const TOKEN_VARIABLE = "LB_ADMIN_TOKEN";

const STRATEGIES = Object.keys(strategies) as StrategyName[];

/** Listening and balancing. */
export const balanceOptions = {
  listen: many(
    "ADDR",
    "where to listen: :port, host:port, [::1]:port, unix:/path, or fd:N or fd:NAME for a socket that " +
      `was passed, as systemd does (default all that were passed, or ${DEFAULT_LISTEN})`,
    checkListen,
  ),
  "pid-file": one(
    "FILE",
    "a file with the id of the process that serves; SIGUSR2 to it starts the program anew and hands over",
    (text) => text,
  ),
  backend: many(
    "ADDR[,weight=N]",
    "a backend: host:port, http://…, https://…, unix:/path, or dns:name:port or srv:name for all " +
      "addresses of a name; there may be none, they can be added at run time",
    parseBackend,
  ),
  strategy: oneOf(
    "NAME",
    `how a backend is picked: ${STRATEGIES.join(", ")} (default ${STRATEGIES[0]})`,
    STRATEGIES,
  ),
  "ca-file": many(
    "FILE",
    "certificates in PEM that https backends may have, beside those of well-known authorities",
    (text) => text,
  ),
  ...healthOptions,
};

/** Management and the admin listener. */
export const adminOptions = inSection("Management", {
  admin: one(
    "ADDR",
    "open the admin listener there: management, /metrics, /healthz and /readyz",
    checkListen,
  ),
  "admin-allow": many(
    "CIDR",
    "a network whose callers may manage without token; callers on this machine always may",
    checkNetwork,
  ),
  "admin-token-file": one(
    "FILE",
    `a file with the token that lets anybody else manage (or the variable ${TOKEN_VARIABLE})`,
    (text) => text,
  ),
  "admin-open-metrics": flag("let everybody who reaches the admin listener read /metrics"),
});

/** Management on the listeners themselves, for balancers that speak HTTP. */
export const managementOptions = inSection("Management", {
  management: negatedFlag("answer /lb/add and its kin on the admin listener only"),
});

/** Backends that register themselves without naming a port. */
export const registerOptions = inSection("Management", {
  "default-port": one(
    "N",
    `the port of a caller that registers itself without naming one (default ${DEFAULT_CALLER_PORT})`,
    parsePort,
  ),
});

/** Logs. */
export const logOptions = inSection("Logs", {
  "access-log": one(
    "FILE",
    "write a line per exchange to a file, or to standard output with -; SIGHUP opens the file again",
    (text) => text,
  ),
  "access-log-format": oneOf("FORMAT", "json or combined (default json)", ["json", "combined"]),
  "log-level": oneOf("LEVEL", "debug, info, warning or error (default info)", [
    "debug",
    "info",
    "warning",
    "error",
  ]),
  "log-format": oneOf("FORMAT", "text or json, on standard error (default text)", ["text", "json"]),
});

const TIMEOUTS = "Timeouts, as 500ms, 10s, 5m or 1h";

function duration(help: string, fallback: number, min?: number) {
  return one(
    "TIME",
    `${help} (default ${formatDuration(fallback)})`,
    (text) => parseDuration(text, min),
  );
}

/** Times that every balancer keeps. */
export const commonTimeouts = inSection(TIMEOUTS, {
  "connect-timeout": duration(
    "opening a connection to a backend, TLS included",
    DEFAULT_POOL.connectTimeout,
  ),
  "tunnel-idle-timeout": duration(
    "silence in a tunnel, or in a connection at layer 4",
    DEFAULT_HTTP_TIMEOUTS.tunnelIdle,
  ),
  "half-closed-timeout": duration(
    "silence there once one side has ended",
    DEFAULT_HTTP_TIMEOUTS.halfClosed,
  ),
  "drain-delay": duration(
    "serving on after SIGTERM while /readyz and grpc.health.v1 say that nothing is served",
    DEFAULT_DRAIN_DELAY,
    0,
  ),
  "drain-idle-timeout": duration(
    "then, a client connection without a request, which may have one on its way",
    DEFAULT_DRAIN_IDLE,
    0,
  ),
  "drain-timeout": duration("then, finishing what is under way", DEFAULT_SHUTDOWN, 0),
});

/** Times of connections whose requests are read. */
export const requestTimeouts = inSection(TIMEOUTS, {
  "request-head-timeout": duration(
    "from the first byte of a request to the end of its head",
    DEFAULT_HTTP_TIMEOUTS.requestHead,
  ),
});

/** Times of exchanges at layer 7. */
export const exchangeTimeouts = inSection(TIMEOUTS, {
  "idle-timeout": duration(
    "a client connection waiting for its next request",
    DEFAULT_HTTP_TIMEOUTS.idle,
  ),
  "body-stall-timeout": duration(
    "either side neither sending nor taking a byte of a body",
    DEFAULT_HTTP_TIMEOUTS.bodyStall,
  ),
  "response-timeout": duration(
    "from the end of a request to the head of its response",
    DEFAULT_HTTP_TIMEOUTS.response,
  ),
  "expect-continue-timeout": duration(
    "a backend not answering Expect: 100-continue, before the body is sent anyway",
    DEFAULT_HTTP_TIMEOUTS.expectContinue,
  ),
  "upstream-idle-timeout": duration(
    "keeping an unused connection to a backend",
    DEFAULT_POOL.idleTimeout,
  ),
  "pool-wait-timeout": duration(
    "a request waiting for a free connection to its backend",
    DEFAULT_POOL.waitTimeout,
  ),
});

/** Times of pooled connections to backends. */
export const poolTimeouts = {
  "upstream-idle-timeout": exchangeTimeouts["upstream-idle-timeout"],
  "pool-wait-timeout": exchangeTimeouts["pool-wait-timeout"],
};

const OFF = "off";

/** A duration, or `off` for none. */
function durationOrOff(help: string, fallback: number, min?: number) {
  const named = fallback === Infinity ? OFF : formatDuration(fallback);
  return one("TIME", `${help}, or ${OFF} (default ${named})`, (text) => {
    if (text === OFF) return Infinity;
    const time = parseDuration(text);
    if (min === undefined || time >= min) return time;
    throw new TypeError(
      `${text} is too short; accepted is ${formatDuration(min)} or more, or ${OFF}`,
    );
  });
}

/** Times of HTTP/2 connections. */
export const h2Timeouts = inSection(TIMEOUTS, {
  "keepalive-time": durationOrOff(
    "silence of a client with calls under way before it is asked with a PING",
    DEFAULT_KEEPALIVE.time,
  ),
  "upstream-keepalive-time": durationOrOff(
    "the same for backends, which may refuse more than they allow, often once in 5m",
    DEFAULT_KEEPALIVE.upstreamTime,
    MIN_UPSTREAM_KEEPALIVE,
  ),
  "keepalive-timeout": duration(
    "either not answering such a PING before its connection is closed",
    DEFAULT_KEEPALIVE.timeout,
  ),
  "keepalive-without-calls": flag("send such PINGs where no call is under way too"),
  "min-ping-interval": duration(
    "between two PINGs of a client to which nothing is sent; the third that comes too early " +
      "ends its connection",
    DEFAULT_KEEPALIVE.minPingInterval,
    0,
  ),
  "max-connection-age": durationOrOff(
    "a client connection before it is asked to go, a tenth more or less at random",
    Infinity,
  ),
  "max-connection-age-grace": durationOrOff(
    "calls going on then before they are cut",
    Infinity,
  ),
});

/** Limits that every balancer has. */
export const commonLimits = inSection("Limits", {
  "max-connections": one(
    "N",
    "client connections per listener (default: by the limit of open files)",
    parseCount,
  ),
  "max-attempts": one(
    "N",
    `tries per request or connection, the first included (default ${DEFAULT_MAX_ATTEMPTS})`,
    parseCount,
  ),
  ...clientLimits,
});

/** Limits of exchanges at layer 7. */
export const exchangeLimits = inSection("Limits", {
  "max-upstream-connections": one(
    "N",
    `connections to one backend at a time (default ${DEFAULT_POOL.maxConnections})`,
    parseCount,
  ),
  "max-waiting": one(
    "N",
    `requests that may wait for a connection to one backend (default ${DEFAULT_POOL.maxWaiting})`,
    parseCount,
  ),
  "max-request-line-size": one(
    "SIZE",
    `bytes of a request line (default ${DEFAULT_HEAD_LIMITS.maxRequestLine})`,
    parseSize,
  ),
  "max-field-size": one(
    "SIZE",
    `bytes of a header field (default ${DEFAULT_HEAD_LIMITS.maxFieldLine})`,
    parseSize,
  ),
  "max-head-size": one(
    "SIZE",
    `bytes of the whole head of a message (default ${DEFAULT_HEAD_LIMITS.maxHead})`,
    parseSize,
  ),
  "max-fields": one(
    "N",
    `header fields of a message (default ${DEFAULT_HEAD_LIMITS.maxFields})`,
    parseCount,
  ),
});

/** Limits of calls. */
export const callLimits = {
  "max-upstream-connections": exchangeLimits["max-upstream-connections"],
  "max-waiting": exchangeLimits["max-waiting"],
  "max-head-size": exchangeLimits["max-head-size"],
  "max-fields": exchangeLimits["max-fields"],
};

const everyOption = {
  ...balanceOptions,
  ...adminOptions,
  ...managementOptions,
  ...registerOptions,
  ...logOptions,
  ...commonTimeouts,
  ...requestTimeouts,
  ...exchangeTimeouts,
  ...h2Timeouts,
  ...commonLimits,
  ...exchangeLimits,
};

/** The values of all of these options; a command has some of them. */
export type ServerValues = Partial<Values<typeof everyOption>> & OverloadValues & RetryValues;

/**
 * What the options mean to the library, but for the access log.
 *
 * @throws {UsageError} when a file that an option names cannot be read or is not what it should be.
 */
export function toLoadBalancerOptions(values: ServerValues): LoadBalancerOptions {
  return defined<LoadBalancerOptions>({
    backends: values.backend,
    strategy: values.strategy,
    caCerts: values["ca-file"]?.map(readCertificates),
    timeouts: toTimeouts(values),
    keepalive: toKeepalive(values),
    ...toHealthOptions(values),
    ...toRetryOptions(values),
    limits: toLimits(values),
    management: toManagement(values),
  });
}

/** Where the program is to listen. */
export function toWanted({ listen = [], admin }: ServerValues): Wanted {
  return { listen, admin, fallback: DEFAULT_LISTEN };
}

/** How the balancer is to end when nobody takes its place. */
export function toShutdown(
  values: ServerValues,
): { readonly delay: number; readonly idle: number } {
  return {
    delay: values["drain-delay"] ?? DEFAULT_DRAIN_DELAY,
    idle: values["drain-idle-timeout"] ?? DEFAULT_DRAIN_IDLE,
  };
}

function toTimeouts(values: ServerValues): Timeouts {
  return defined<Timeouts>({
    connect: values["connect-timeout"],
    requestHead: values["request-head-timeout"],
    idle: values["idle-timeout"],
    bodyStall: values["body-stall-timeout"],
    response: values["response-timeout"],
    expectContinue: values["expect-continue-timeout"],
    tunnelIdle: values["tunnel-idle-timeout"],
    halfClosed: values["half-closed-timeout"],
    upstreamIdle: values["upstream-idle-timeout"],
    poolWait: values["pool-wait-timeout"],
    maxConnectionAge: values["max-connection-age"],
    maxConnectionAgeGrace: values["max-connection-age-grace"],
    shutdown: values["drain-timeout"],
  });
}

function toKeepalive(values: ServerValues): Keepalive {
  return defined<Keepalive>({
    time: values["keepalive-time"],
    upstreamTime: values["upstream-keepalive-time"],
    timeout: values["keepalive-timeout"],
    withoutCalls: values["keepalive-without-calls"],
    minPingInterval: values["min-ping-interval"],
  });
}

function toLimits(values: ServerValues): Limits {
  return defined<Limits>({
    maxConnections: values["max-connections"],
    maxUpstreamConnections: values["max-upstream-connections"],
    maxWaiting: values["max-waiting"],
    maxAttempts: values["max-attempts"],
    maxRequestLine: values["max-request-line-size"],
    maxFieldLine: values["max-field-size"],
    maxHead: values["max-head-size"],
    maxFields: values["max-fields"],
    ...toOverloadLimits(values),
  });
}

function toManagement(values: ServerValues): ManagementOptions {
  return defined<ManagementOptions>({
    onListeners: values.management,
    allow: values["admin-allow"],
    token: readToken(values["admin-token-file"]),
    defaultPort: values["default-port"],
  });
}

/**
 * The token in the file, or else in the variable of the environment; an empty variable counts as none.
 *
 * @throws {UsageError} when the file cannot be read, or the token is not acceptable.
 */
export function readToken(file: string | undefined): string | undefined {
  const variable = Deno.env.get(TOKEN_VARIABLE);
  if (file === undefined && !variable) return undefined;
  const source = file === undefined ? TOKEN_VARIABLE : `--admin-token-file ${file}`;
  const text = file === undefined ? variable! : readFile("admin-token-file", file);
  try {
    return parseTokenFile(text);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new UsageError(`${source}: ${error.message}`);
  }
}

function readCertificates(file: string): string {
  const text = readFile("ca-file", file);
  if (!text.includes("-----BEGIN CERTIFICATE-----")) {
    throw new UsageError(`--ca-file ${file} has no certificate; accepted is PEM`);
  }
  return text;
}

function readFile(option: string, file: string): string {
  try {
    return Deno.readTextFileSync(file);
  } catch (error) {
    throw new UsageError(
      `--${option} ${file} cannot be read: ${error instanceof Error ? error.message : error}`,
    );
  }
}

/** The object without what is not there. */
function defined<T extends object>(object: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}

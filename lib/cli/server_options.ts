/**
 * The options that the balancers have in common.
 *
 * @module
 */

import { DEFAULT_HEAD_LIMITS } from "../http/h1/limits.ts";
import { DEFAULT_H2_OPTIONS } from "../http/h2/options.ts";
import { DEFAULT_HTTP_TIMEOUTS } from "../http/l7/context.ts";
import { MIN_UPSTREAM_KEEPALIVE } from "../load_balancer/h2_options.ts";
import {
  DEFAULT_CALLER_PORT,
  DEFAULT_KEEPALIVE,
  DEFAULT_MAX_ATTEMPTS,
  DEFAULT_POOL,
  DEFAULT_SHUTDOWN,
} from "../load_balancer/options.ts";
import type { RetryValues } from "./retry_options.ts";
import { strategies, type StrategyName } from "../strategy/registry.ts";
import { healthOptions } from "./health_options.ts";
import { flag, inSection, many, negatedFlag, one, oneOf, type Values } from "./options.ts";
import { clientLimits, type OverloadValues } from "./overload_options.ts";
import {
  checkListen,
  checkNetwork,
  formatDuration,
  MAX_COUNT,
  parseBackend,
  parseCount,
  parseDuration,
  parsePort,
  parseSize,
  parseWhole,
} from "./values.ts";

/** Where balancers listen unless told otherwise. */
export const DEFAULT_LISTEN = ":8080";

/** How long a balancer serves on once it was told to end, in milliseconds. */
export const DEFAULT_DRAIN_DELAY = 0;
/** How long it then leaves client connections without a request open, in milliseconds. */
export const DEFAULT_DRAIN_IDLE = 1_000;

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
  "drain-timeout": duration(
    "then, finishing what is under way; what is left, such as connections at layer 4, is cut",
    DEFAULT_SHUTDOWN,
    0,
  ),
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

/** Times of client connections over HTTP/2. */
export const callTimeouts = inSection(TIMEOUTS, {
  "idle-timeout": duration("a client connection without a call", DEFAULT_H2_OPTIONS.idleTimeout),
});

/** Times of client connections over either version of HTTP. */
export const mixedTimeouts = inSection(TIMEOUTS, {
  "idle-timeout": one(
    "TIME",
    `a client connection without a request (default ${
      formatDuration(DEFAULT_HTTP_TIMEOUTS.idle)
    }, or ${formatDuration(DEFAULT_H2_OPTIONS.idleTimeout)} over HTTP/2)`,
    parseDuration,
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

/** Times of HTTP/2 streams that are joined here. */
export const streamTimeouts = inSection(TIMEOUTS, {
  "window-stall-timeout": durationOrOff(
    "an HTTP/2 peer leaving a window shut that something waits for, beside what it needs to take " +
      "what it has got at 1 KiB a second",
    DEFAULT_H2_OPTIONS.windowTimeout,
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
    "requests that may wait for a connection to one backend, 0 for none " +
      `(default ${DEFAULT_POOL.maxWaiting})`,
    (text) => parseWhole(text, 0, MAX_COUNT),
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
  ...streamTimeouts,
  ...commonLimits,
  ...exchangeLimits,
};

/** The values of all of these options; a command has some of them. */
export type ServerValues = Partial<Values<typeof everyOption>> & OverloadValues & RetryValues;

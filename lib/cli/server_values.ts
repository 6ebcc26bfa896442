/**
 * What the values of the options of a balancer mean to the library.
 *
 * @module
 */

import { parseTokenFile } from "../control/access.ts";
import type {
  Keepalive,
  Limits,
  LoadBalancerOptions,
  ManagementOptions,
  Timeouts,
} from "../load_balancer/options.ts";
import type { Wanted } from "./endpoints.ts";
import { toHealthOptions } from "./health_options.ts";
import { UsageError } from "./options.ts";
import { toOverloadLimits } from "./overload_options.ts";
import { toRetryOptions } from "./retry_options.ts";
import {
  DEFAULT_DRAIN_DELAY,
  DEFAULT_DRAIN_IDLE,
  DEFAULT_LISTEN,
  type ServerValues,
  TOKEN_VARIABLE,
} from "./server_options.ts";

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
    windowStall: values["window-stall-timeout"],
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

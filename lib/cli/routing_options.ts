/**
 * Options of commands that balance per request, and what they mean.
 *
 * @module
 */

import type { ForwardedMode } from "../http/forwarded.ts";
import { DEFAULT_DISCOVERY_INTERVAL, MAX_DISCOVERY_INTERVAL } from "../grpc/discovery.ts";
import type {
  GrpcL7Options,
  HttpL7Options,
  LoadBalancerOptions,
} from "../load_balancer/options.ts";
import type { Route } from "../route/route.ts";
import { parseRule } from "../route/rule_text.ts";
import { type RetryValues, toAffinityOptions } from "./retry_options.ts";
import { flag, inSection, many, one, oneOf, UsageError } from "./options.ts";
import { type OverloadValues, toRateLimit } from "./overload_options.ts";
import { checkNetwork, checkViaName, formatDuration, parseDuration } from "./values.ts";

const FORWARDED: readonly ForwardedMode[] = ["x-forwarded", "forwarded", "both", "off"];

/** Routes. */
export const routeOptions = {
  route: many(
    "RULE",
    "send matching requests elsewhere, as in 'path=/api header=X-Version:v2 -> http://host:port'",
    parseRule,
  ),
  fallback: flag("spread requests that match no route over the backends instead of answering 404"),
};

/** What backends are told of clients. */
export const forwardingOptions = inSection("Forwarding", {
  forwarded: oneOf(
    "MODE",
    `which fields tell backends of the client: ${FORWARDED.join(", ")} (default ${FORWARDED[0]})`,
    FORWARDED,
  ),
  "trusted-proxy": many(
    "CIDR",
    "a network of proxies in front, whose forwarding fields are believed and extended",
    checkNetwork,
  ),
});

/** The name in Via, for HTTP. */
export const viaOption = inSection("Forwarding", {
  via: one("NAME", "add the field Via with this name", checkViaName),
});

/** Routes that follow from what backends say of themselves, for gRPC. */
export const discoveryOptions = {
  "discover-services": flag(
    "read the services of the backends from their reflection and route calls to those that have them",
  ),
  "discover-interval": one(
    "TIME",
    "how often, at least, a backend is asked for its services " +
      `(default ${formatDuration(DEFAULT_DISCOVERY_INTERVAL)})`,
    (text) => parseDiscoverInterval(text),
  ),
};

function parseDiscoverInterval(text: string): number {
  const interval = parseDuration(text);
  if (interval <= MAX_DISCOVERY_INTERVAL) return interval;
  const longest = formatDuration(MAX_DISCOVERY_INTERVAL);
  throw new TypeError(`${JSON.stringify(text)} is too long; accepted is up to ${longest}`);
}

/** The options of a gRPC balancer that they stand for. */
export function toDiscoveryOptions(values: {
  readonly "discover-services": boolean;
  readonly "discover-interval": number | undefined;
}): Pick<GrpcL7Options, "discoverServices" | "discoverInterval"> {
  const interval = values["discover-interval"];
  return {
    discoverServices: values["discover-services"],
    ...(interval === undefined ? {} : { discoverInterval: interval }),
  };
}

/** The values of these options. */
interface RoutingValues extends Pick<OverloadValues, "rate-limit">, RetryValues {
  readonly route: readonly Route[];
  readonly fallback: boolean;
  readonly "trusted-proxy": readonly string[];
  readonly forwarded: ForwardedMode | undefined;
}

/**
 * The options of a balancer that they stand for.
 *
 * @throws {UsageError} When an option is given that another one makes meaningless.
 */
export function toRoutingOptions(
  common: LoadBalancerOptions,
  values: RoutingValues,
): HttpL7Options {
  if (values["hash-by"] !== undefined && common.strategy !== "consistent-hash") {
    throw new UsageError("--hash-by is given without --strategy consistent-hash");
  }
  return {
    ...common,
    routes: values.route,
    fallback: values.fallback,
    trustedProxies: values["trusted-proxy"],
    ...toRateLimit(values),
    ...toAffinityOptions(values),
    ...(values.forwarded === undefined ? {} : { forwarded: values.forwarded }),
  };
}

/**
 * Options of commands that balance per request, and what they mean.
 *
 * @module
 */

import type { ForwardedMode } from "../http/forwarded.ts";
import type { HttpL7Options, LoadBalancerOptions } from "../load_balancer/options.ts";
import type { Route } from "../route/route.ts";
import { parseRule } from "../route/rule_text.ts";
import { flag, inSection, many, one, oneOf } from "./options.ts";
import { checkNetwork, checkViaName } from "./values.ts";

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

/** The values of these options. */
interface RoutingValues {
  readonly route: readonly Route[];
  readonly fallback: boolean;
  readonly "trusted-proxy": readonly string[];
  readonly forwarded: ForwardedMode | undefined;
}

/** The options of a balancer that they stand for. */
export function toRoutingOptions(
  common: LoadBalancerOptions,
  values: RoutingValues,
): HttpL7Options {
  return {
    ...common,
    routes: values.route,
    fallback: values.fallback,
    trustedProxies: values["trusted-proxy"],
    ...(values.forwarded === undefined ? {} : { forwarded: values.forwarded }),
  };
}

/**
 * `lb http-l7`
 *
 * @module
 */

import type { ForwardedMode } from "../http/forwarded.ts";
import { HttpL7 } from "../load_balancer.ts";
import type { HttpL7Options } from "../load_balancer/options.ts";
import { parseRule } from "../route/rule_text.ts";
import { makeCommand } from "./command.ts";
import { flag, inSection, many, one, oneOf } from "./options.ts";
import { serve } from "./serve.ts";
import {
  adminOptions,
  balanceOptions,
  commonLimits,
  commonTimeouts,
  exchangeLimits,
  exchangeTimeouts,
  logOptions,
  managementOptions,
  requestTimeouts,
} from "./server_options.ts";
import { checkNetwork, checkViaName } from "./values.ts";

const FORWARDED: readonly ForwardedMode[] = ["x-forwarded", "forwarded", "both", "off"];

const routeOptions = {
  route: many(
    "RULE",
    "send matching requests elsewhere, as in 'path=/api header=X-Version:v2 -> http://host:port'",
    parseRule,
  ),
  fallback: flag("spread requests that match no route over the backends instead of answering 404"),
};

const forwardingOptions = inSection("Forwarding", {
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
  via: one("NAME", "add the field Via with this name", checkViaName),
});

/** Balances HTTP per request. */
export const command = makeCommand({
  usage: "lb http-l7 [options]",
  description: "Balances HTTP per request: each goes to a backend of its route, or to one of the " +
    "backends if there are no routes. Backends and routes can be added at run time (see lb add).",
  examples: [
    [
      "lb http-l7 --backend http://localhost:8081 --backend http://localhost:8082",
      "two backends in turn",
    ],
    [
      "lb http-l7 --listen 127.0.0.1:8080 --admin 127.0.0.1:9090",
      "no backend yet, and an admin listener with metrics",
    ],
    [
      "lb http-l7 --route 'path=/api header=X-Version:v2 -> http://localhost:8083' \\\n" +
      "      --route 'path=/api -> http://localhost:8081 weight=9, http://localhost:8082'",
      "routes by path, header and weight",
    ],
  ],
  options: {
    ...balanceOptions,
    ...routeOptions,
    ...forwardingOptions,
    ...managementOptions,
    ...adminOptions,
    ...logOptions,
    ...commonTimeouts,
    ...requestTimeouts,
    ...exchangeTimeouts,
    ...commonLimits,
    ...exchangeLimits,
  },
  run: (values) =>
    serve(values, (common) => {
      const options: HttpL7Options = {
        ...common,
        routes: values.route,
        fallback: values.fallback,
        trustedProxies: values["trusted-proxy"],
        ...(values.forwarded === undefined ? {} : { forwarded: values.forwarded }),
        ...(values.via === undefined ? {} : { via: values.via }),
      };
      return new HttpL7(options);
    }),
});

/**
 * `lb http-l7`
 *
 * @module
 */

import { HttpL7 } from "../load_balancer.ts";
import { makeCommand } from "./command.ts";
import { bodyLimits, requestLimits } from "./overload_options.ts";
import { forwardingOptions, routeOptions, toRoutingOptions, viaOption } from "./routing_options.ts";
import { failureStatuses, hashOption, retryOptions, stickyOption } from "./retry_options.ts";
import { serve } from "./serve.ts";
import {
  adminOptions,
  balanceOptions,
  commonLimits,
  commonTimeouts,
  exchangeLimits,
  exchangeTimeouts,
  h2Timeouts,
  logOptions,
  managementOptions,
  requestTimeouts,
} from "./server_options.ts";

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
    ...hashOption,
    ...stickyOption,
    ...routeOptions,
    ...forwardingOptions,
    ...viaOption,
    ...managementOptions,
    ...adminOptions,
    ...logOptions,
    ...retryOptions,
    ...failureStatuses,
    ...commonTimeouts,
    ...requestTimeouts,
    ...exchangeTimeouts,
    "max-connection-age": h2Timeouts["max-connection-age"],
    ...commonLimits,
    ...requestLimits,
    ...bodyLimits,
    ...exchangeLimits,
  },
  run: (values) =>
    serve(values, (common) =>
      new HttpL7({
        ...toRoutingOptions(common, values),
        ...(values.via === undefined ? {} : { via: values.via }),
      })),
});

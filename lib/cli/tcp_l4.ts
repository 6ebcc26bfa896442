/**
 * `lb tcp-l4`
 *
 * @module
 */

import { TcpL4 } from "../load_balancer.ts";
import { makeCommand } from "./command.ts";
import { connectionLimits } from "./overload_options.ts";
import { retryBudget } from "./retry_options.ts";
import { serve } from "./serve.ts";
import {
  adminOptions,
  balanceOptions,
  commonLimits,
  commonTimeouts,
  logOptions,
  registerOptions,
} from "./server_options.ts";

/** Balances TCP connections. */
export const command = makeCommand({
  usage: "lb tcp-l4 [options]",
  description:
    "Balances TCP connections of any protocol, TLS passed through included. Nothing is " +
    "looked at, so backends can be added at run time on the admin listener only.",
  examples: [
    ["lb tcp-l4 --listen :5432 --backend db1:5432 --backend db2:5432", "a database"],
    [
      "lb tcp-l4 --listen :443 --backend 10.0.0.5:443 --strategy least-connections",
      "TLS that the backends end",
    ],
  ],
  options: {
    ...balanceOptions,
    ...registerOptions,
    ...adminOptions,
    ...logOptions,
    ...retryBudget,
    ...commonTimeouts,
    ...commonLimits,
    ...connectionLimits,
  },
  run: (values) => serve(values, (options) => new TcpL4(options)),
});

/**
 * `lb http-l4`
 *
 * @module
 */

import { HttpL4 } from "../load_balancer.ts";
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
  managementOptions,
  registerOptions,
  requestTimeouts,
} from "./server_options.ts";

/** Balances HTTP per connection. */
export const command = makeCommand({
  usage: "lb http-l4 [options]",
  description:
    "Balances HTTP per connection: each goes to one backend, byte for byte. Only requests " +
    "to /lb/add and its kin are answered here, so that backends can register themselves.",
  examples: [
    ["lb http-l4 --backend localhost:8081 --backend localhost:8082,weight=2", "two backends"],
    [
      "lb http-l4 --listen :80 --default-port 8081 --admin-allow 10.0.0.0/8",
      "backends of a network register themselves with curl -X POST http://lb/lb/add",
    ],
  ],
  options: {
    ...balanceOptions,
    ...managementOptions,
    ...registerOptions,
    ...adminOptions,
    ...logOptions,
    ...retryBudget,
    ...commonTimeouts,
    ...requestTimeouts,
    ...commonLimits,
    ...connectionLimits,
  },
  run: (values) => serve(values, (options) => new HttpL4(options)),
});

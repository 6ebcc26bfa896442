/**
 * `lb grpc-l4`
 *
 * @module
 */

import { GrpcL4 } from "../load_balancer.ts";
import { makeCommand } from "./command.ts";
import { connectionLimits } from "./overload_options.ts";
import { retryBudget } from "./retry_options.ts";
import { serve } from "./serve.ts";
import {
  adminOptions,
  balanceOptions,
  callLimits,
  callTimeouts,
  commonLimits,
  commonTimeouts,
  h2Timeouts,
  logOptions,
  managementOptions,
  poolTimeouts,
  registerOptions,
} from "./server_options.ts";

/** Balances gRPC per connection. */
export const command = makeCommand({
  usage: "lb grpc-l4 [options]",
  description:
    "Balances gRPC per connection: all calls of a client connection go to one backend. " +
    "Clients speak HTTP/2 without TLS.",
  examples: [
    [
      "lb grpc-l4 --listen :9090 --backend localhost:50051 --backend localhost:50052",
      "two backends",
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
    ...callTimeouts,
    "upstream-idle-timeout": poolTimeouts["upstream-idle-timeout"],
    ...h2Timeouts,
    ...commonLimits,
    ...connectionLimits,
    "max-head-size": callLimits["max-head-size"],
    "max-fields": callLimits["max-fields"],
  },
  run: (values) => serve(values, (options) => new GrpcL4(options)),
});

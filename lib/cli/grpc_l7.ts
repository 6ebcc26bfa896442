/**
 * `lb grpc-l7`
 *
 * @module
 */

import { GrpcL7 } from "../load_balancer.ts";
import { makeCommand } from "./command.ts";
import { requestLimits } from "./overload_options.ts";
import {
  discoveryOptions,
  forwardingOptions,
  routeOptions,
  toDiscoveryOptions,
  toRoutingOptions,
} from "./routing_options.ts";
import { failureCodes, hashOption, retryOptions } from "./retry_options.ts";
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
  streamTimeouts,
} from "./server_options.ts";

/** Balances gRPC per call. */
export const command = makeCommand({
  usage: "lb grpc-l7 [options]",
  description:
    "Balances gRPC per call, whatever connection it comes over: each goes to a backend " +
    "of its route, by service, method and metadata, or to one of the backends if there are no " +
    "routes. Clients speak HTTP/2 without TLS.",
  examples: [
    [
      "lb grpc-l7 --listen :9090 --backend localhost:50051 --backend localhost:50052",
      "two backends in turn",
    ],
    [
      "lb grpc-l7 --listen :9090 --backend localhost:50051 --fallback \\\n" +
      "      --route 'service=myapp.UserService method=Login -> localhost:50055'",
      "one method elsewhere",
    ],
    [
      "lb grpc-l7 --listen :9090 --backend localhost:50051 --backend localhost:50052 \\\n" +
      "      --discover-services",
      "each call to the backends that have its service, without a route",
    ],
  ],
  options: {
    ...balanceOptions,
    ...hashOption,
    ...routeOptions,
    ...discoveryOptions,
    ...forwardingOptions,
    ...managementOptions,
    ...adminOptions,
    ...logOptions,
    ...retryOptions,
    ...failureCodes,
    ...commonTimeouts,
    ...callTimeouts,
    ...poolTimeouts,
    ...h2Timeouts,
    ...streamTimeouts,
    ...commonLimits,
    ...requestLimits,
    ...callLimits,
  },
  run: (values) =>
    serve(
      values,
      (common) =>
        new GrpcL7({ ...toRoutingOptions(common, values), ...toDiscoveryOptions(values) }),
    ),
});

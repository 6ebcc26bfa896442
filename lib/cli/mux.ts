/**
 * `lb mux`
 *
 * @module
 */

import { checkProtocol, type Protocol, protocolOfRoute } from "../control/protocol.ts";
import { Mux } from "../load_balancer.ts";
import { quote } from "../route/pattern.ts";
import { parseRule } from "../route/rule_text.ts";
import { makeCommand } from "./command.ts";
import { many } from "./options.ts";
import { bodyLimits, requestLimits } from "./overload_options.ts";
import {
  discoveryOptions,
  forwardingOptions,
  routeOptions,
  toDiscoveryOptions,
  toRoutingOptions,
  viaOption,
} from "./routing_options.ts";
import {
  failureCodes,
  failureStatuses,
  hashOption,
  retryOptions,
  stickyOption,
} from "./retry_options.ts";
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
  mixedTimeouts,
  requestTimeouts,
  streamTimeouts,
} from "./server_options.ts";
import { parseBackend } from "./values.ts";

const { listen, backend: _backend, ...commonBalance } = balanceOptions;
const { route: _route, ...commonRouting } = routeOptions;

function backendOption(protocol: Protocol, help: string) {
  return many("ADDR[,weight=N]", help, (text) => {
    const backend = parseBackend(text);
    checkProtocol(backend.addr, protocol);
    return backend;
  });
}

/** Balances HTTP and gRPC on one port. */
export const command = makeCommand({
  usage: "lb mux [options]",
  description:
    "Balances HTTP/1.1, HTTP/2 and gRPC on one port: gRPC calls, told by their content " +
    "type, go to gRPC backends, all other requests to HTTP backends, which speak HTTP/1.1. Clients speak " +
    "HTTP/2 without TLS and with prior knowledge. The conditions of a route, or the schemes of its " +
    "targets, say for which of both it is.",
  examples: [
    [
      "lb mux --http-backend localhost:8081 --http-backend localhost:8082 \\\n" +
      "      --grpc-backend localhost:50051",
      "two HTTP backends and one for gRPC",
    ],
    [
      "lb mux --http-backend localhost:8081 --grpc-backend localhost:50051 --fallback \\\n" +
      "      --route 'path=/api -> localhost:8083' \\\n" +
      "      --route 'service=myapp.UserService -> localhost:50055'",
      "a route for HTTP and one for gRPC",
    ],
    ["lb add --backend-addr grpc://localhost:50054", "one more for gRPC, while it runs"],
  ],
  options: {
    listen,
    "http-backend": backendOption(
      "http",
      "a backend for HTTP: host:port, http://…, https://… or unix:/path; there may be none, they can be " +
        "added at run time",
    ),
    "grpc-backend": backendOption(
      "grpc",
      "a backend for gRPC: host:port, grpc://…, grpcs://… or unix:/path; there may be none",
    ),
    ...commonBalance,
    route: many(
      "RULE",
      "send matching requests elsewhere, as in 'path=/api -> host:port' for HTTP and " +
        "'service=myapp.UserService -> host:port' for gRPC",
      parseMuxRule,
    ),
    ...commonRouting,
    ...hashOption,
    ...stickyOption,
    ...discoveryOptions,
    ...forwardingOptions,
    ...viaOption,
    ...managementOptions,
    ...adminOptions,
    ...logOptions,
    ...retryOptions,
    ...failureStatuses,
    ...failureCodes,
    ...commonTimeouts,
    ...requestTimeouts,
    ...exchangeTimeouts,
    ...mixedTimeouts,
    ...h2Timeouts,
    ...streamTimeouts,
    ...commonLimits,
    ...requestLimits,
    ...bodyLimits,
    ...exchangeLimits,
  },
  run: (values) =>
    serve(values, (common) =>
      new Mux({
        ...toRoutingOptions(common, values),
        ...(values.via === undefined ? {} : { via: values.via }),
        http: { backends: values["http-backend"] },
        grpc: { backends: values["grpc-backend"], ...toDiscoveryOptions(values) },
      })),
});

function parseMuxRule(text: string) {
  const route = parseRule(text);
  if (protocolOfRoute(route) !== undefined) return route;
  throw new TypeError(
    `rule ${
      quote(text)
    }: nothing says whether it is for HTTP or gRPC; accepted is a condition of ` +
      "one of both, or http:// or grpc:// in front of the target",
  );
}

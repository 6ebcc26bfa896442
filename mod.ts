/**
 * A load balancer for HTTP at layer 4 (per connection) and layer 7 (per request), as a library.
 *
 * @example Two backends behind one port, and routes to one of them
 * ```ts
 * import { HttpL7, RouteBuilder } from "@atlastore/lb";
 *
 * const lb = new HttpL7({
 *   backends: [{ addr: "http://localhost:8081" }, { addr: "http://localhost:8082" }],
 * });
 * lb.addRoute(new RouteBuilder().path("/api").target("http://localhost:8081").build());
 * const server = await lb.start("127.0.0.1:0");
 * console.log(server.addr);
 * await server.shutdown();
 * ```
 *
 * @module
 */
export type { Backend, BackendState } from "./lib/backend/backend.ts";
export {
  type ErrorCode,
  ProxyError,
  type ProxyErrorOptions,
  type Retry,
  type Side,
} from "./lib/common/errors.ts";
export {
  HttpL4,
  HttpL7,
  type HttpL7Options,
  type Limits,
  type LoadBalancerOptions,
  type ManagementOptions,
  type Server,
  type StartOptions,
  TcpL4,
  type Timeouts,
} from "./lib/load_balancer.ts";
export { RouteBuilder } from "./lib/route/builder.ts";
export type {
  FieldChanges,
  PathMatch,
  PathRewrite,
  Redirect,
  Route,
  RouteMatch,
  RouteTarget,
  ValueMatch,
} from "./lib/route/route.ts";
/** Balancing strategies, usable alone. */
export * as strategy from "./lib/strategy/mod.ts";

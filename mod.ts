/**
 * A load balancer for HTTP and gRPC, at layer 4 (per connection) and layer 7 (per request, per call), as
 * a library.
 *
 * @example Two backends behind one port, and a route to one of them
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
export type { BackendCounts } from "./lib/backend/readiness.ts";
export {
  type ErrorCode,
  ProxyError,
  type ProxyErrorOptions,
  type Retry,
  type Side,
} from "./lib/common/errors.ts";
export { type AdminOptions, AdminServer } from "./lib/control/admin.ts";
export { ManagementApi } from "./lib/control/http_api.ts";
export { Management } from "./lib/control/management.ts";
export { ManagementError, type ManagementErrorCode } from "./lib/control/management_error.ts";
export type { ServingPhase } from "./lib/control/readiness.ts";
export type { Conditions, ValuesByName } from "./lib/control/conditions.ts";
export type {
  BackendChange,
  KnownAddresses,
  NameChange,
  RegistryChanges,
  RunTimeChanges,
} from "./lib/control/run_time_changes.ts";
export type * from "./lib/control/model.ts";
export type { ForwardedMode } from "./lib/http/forwarded.ts";
export type { LocalHandler } from "./lib/http/l7/context.ts";
export {
  type Address,
  type InheritedAddress,
  type ListenAddress,
  parseListenAddress,
  type Scheme,
  type TcpAddress,
  type UnixAddress,
} from "./lib/common/address.ts";
export type { PeerAddress } from "./lib/common/duplex.ts";
export { SocketError } from "./lib/common/linux_sockets.ts";
export type { DnsOptions } from "./lib/backend/discovery/dns.ts";
export type { HealthCheck, HealthCheckOptions } from "./lib/backend/health/check.ts";
export type { OutlierOptions } from "./lib/backend/health/outlier_detection.ts";
export type { AdaptiveLimitOptions } from "./lib/backend/adaptive_limit.ts";
export type { RetryOptions } from "./lib/backend/recovery.ts";
export type { RetryBudgetOptions } from "./lib/backend/retry_budget.ts";
export type { StickyOptions } from "./lib/http/l7/sticky.ts";
export type { RateLimitRule } from "./lib/route/rate_limit.ts";
export type { HedgeRule, RetryCondition, RetryRule } from "./lib/route/retry.ts";
export type { HeadLimits } from "./lib/http/h1/limits.ts";
export {
  GrpcL4,
  GrpcL7,
  HttpL4,
  HttpL7,
  LoadBalancer,
  Mux,
  RoutingBalancer,
  TcpL4,
} from "./lib/load_balancer.ts";
export type {
  GrpcL7Options,
  HttpL7Options,
  Keepalive,
  Limits,
  LoadBalancerOptions,
  ManagementOptions,
  MuxGrpcOptions,
  MuxOptions,
  MuxSideOptions,
  Server,
  ShutdownOptions,
  StartOptions,
  Timeouts,
} from "./lib/load_balancer/options.ts";
export {
  AccessLog,
  type AccessLogOptions,
  type AccessRecord,
  type ByteSink,
  FileSink,
  fileSink,
  type GrpcAccessRecord,
  stdoutSink,
} from "./lib/observe/access_log.ts";
export type { DurationHistogram } from "./lib/observe/duration.ts";
export type { CloseReason } from "./lib/observe/close_reason.ts";
export { GrpcMethodStats, GrpcMetrics } from "./lib/observe/grpc_metrics.ts";
export { ListenerMetrics, Metrics, RequestStats, UpstreamStats } from "./lib/observe/metrics.ts";
export { RouteBuilder, type TargetOptions } from "./lib/route/builder.ts";
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
export type { StrategyName } from "./lib/strategy/registry.ts";

/**
 * Balancers for gRPC.
 *
 * @module
 */
import type { Duplex } from "../common/duplex.ts";
import { TunnelConnection } from "../grpc/l4/connection.ts";
import type { TunnelContext } from "../grpc/l4/context.ts";
import { GrpcConnection } from "../grpc/l7/connection.ts";
import { HttpConnection } from "../http/l7/connection.ts";
import type { HttpContext } from "../http/l7/context.ts";
import type { Served } from "../mux/listener.ts";
import { SniffedConnection } from "../mux/sniffed_connection.ts";
import type { ListenerMetrics } from "../observe/metrics.ts";
import { LoadBalancer, RoutingBalancer } from "./balancer.ts";
import type { Acceptor } from "./composition.ts";
import { Core, keepCore, makeManagementScratch } from "./core.ts";
import { backendConnections } from "./h2_options.ts";
import type { GrpcL7Options, HttpL7Options, LoadBalancerOptions } from "./options.ts";

/**
 * What serves the connections of a gRPC listener: HTTP/2 with prior knowledge, and on the same port the
 * management API over HTTP/1.1.
 */
function grpcAcceptor(
  core: Core,
  options: HttpL7Options,
  makeServer: (metrics: ListenerMetrics) => (duplex: Duplex) => Served,
): Acceptor {
  return (metrics) => {
    const h2 = makeServer(metrics);
    const http: HttpContext = { ...core.httpContext(metrics, options), closeAfterFirst: true };
    const scratch = makeManagementScratch(http);
    return (duplex) =>
      new SniffedConnection(duplex, {
        clock: core.clock,
        timeout: http.timeouts.requestHead,
        metrics,
        h2,
        http1: (duplex) => new HttpConnection(duplex, http, scratch),
      });
  };
}

/**
 * Balances gRPC per call: every call goes to the backend that its service, method and metadata, or the
 * strategy of the default pool, pick. Clients speak HTTP/2 with prior knowledge (h2c).
 *
 * @example
 * ```ts
 * import { GrpcL7, RouteBuilder } from "@atlastore/lb";
 *
 * const lb = new GrpcL7({ backends: ["localhost:50051", "localhost:50052"] });
 * lb.addRoute(new RouteBuilder().service("myapp.UserService").target("localhost:50051").build());
 * const server = await lb.start("127.0.0.1:0");
 * await server.shutdown();
 * ```
 */
export class GrpcL7 extends RoutingBalancer {
  /**
   * Makes a balancer; {@linkcode GrpcL7.start} makes it listen.
   *
   * @throws {TypeError} When an address, a weight, a route, an interval, a network or the token is not valid.
   */
  constructor(options: GrpcL7Options = {}) {
    const core = new Core(
      { name: "grpc-l7", layer: "l7", scheme: "grpc", descriptorShare: 0.75, busy: undefined },
      options,
      options.fallback,
    );
    super(
      core,
      grpcAcceptor(core, options, (metrics) => {
        const context = core.grpcContext(metrics, options);
        return (duplex) => new GrpcConnection(duplex, context);
      }),
      options.routes,
    );
    keepCore(this, core);
  }
}

/** What the connections of a gRPC listener at layer 4 share. */
function tunnelContext(
  core: Core,
  metrics: ListenerMetrics,
  options: LoadBalancerOptions,
): TunnelContext {
  const { pool, connect, connectTimeout, caCerts, hashed = false } = core.streamContext(
    metrics,
    undefined,
  );
  return {
    calls: core.grpcContext(metrics, options),
    pool,
    connect,
    connectTimeout,
    caCerts,
    h2: backendConnections(options),
    hashed,
    onBackends: (listener) => core.registry.onChange(listener),
  };
}

/** Balances gRPC per connection: all calls of one client connection go to one backend. */
export class GrpcL4 extends LoadBalancer {
  /**
   * Makes a balancer; {@linkcode GrpcL4.start} makes it listen.
   *
   * @throws {TypeError} When an address, a weight, a network or the token is not valid.
   */
  constructor(options: LoadBalancerOptions = {}) {
    const core = new Core(
      { name: "grpc-l4", layer: "l4", scheme: "grpc", descriptorShare: 0.75, busy: undefined },
      options,
    );
    super(
      core,
      grpcAcceptor(core, options, (metrics) => {
        const context = tunnelContext(core, metrics, options);
        return (duplex) => new TunnelConnection(duplex, context);
      }),
    );
  }
}

/**
 * Balancers for HTTP and for TCP.
 *
 * @module
 */
import type { ErrorCode } from "../common/errors.ts";
import { StreamConnection } from "../http/l4/connection.ts";
import { HttpConnection } from "../http/l7/connection.ts";
import type { HttpContext } from "../http/l7/context.ts";
import { type FetchHandler, makeFetchHandler } from "../http/l7/fetch.ts";
import { encodeError } from "../http/problem.ts";
import { Metrics } from "../observe/metrics.ts";
import { LoadBalancer, RoutingBalancer } from "./balancer.ts";
import { Core, keepCore, makeManagementScratch, makeScratch } from "./core.ts";
import type { HttpL7Options, LoadBalancerOptions } from "./options.ts";

/** What clients above the limit of connections are told where they are known to speak HTTP. */
const busy = (reason: ErrorCode) => encodeError(reason, { noBody: false, close: true });

/**
 * Balances HTTP per request: every request goes to the backend that its route, or the strategy of the
 * default pool, picks.
 *
 * @example
 * ```ts
 * import { HttpL7, RouteBuilder } from "@atlastore/lb";
 *
 * const lb = new HttpL7({ backends: ["http://localhost:8081", "http://localhost:8082"] });
 * lb.addRoute(new RouteBuilder().path("/api").target("http://localhost:8081").build());
 * const server = await lb.start("127.0.0.1:0");
 * await server.shutdown();
 * ```
 */
export class HttpL7 extends RoutingBalancer {
  /**
   * A handler for `Deno.serve`: the same routes, strategies and pools inside a server of one's own. It
   * is bound, so it can be passed as it stands. Upgrades are answered 501: use {@linkcode HttpL7.start}
   * for them. Without a listener, names are followed and backends checked from its first request, which waits at
   * most 2 seconds for the addresses of names, until {@linkcode HttpL7.close}.
   */
  readonly fetch: (request: Request, info?: Deno.ServeHandlerInfo) => Promise<Response>;

  /**
   * Makes a balancer; {@linkcode HttpL7.start} makes it listen.
   *
   * @throws {TypeError} When an address, a weight, a route, a network or the token is not valid.
   */
  constructor(options: HttpL7Options = {}) {
    const core = new Core(
      { name: "http-l7", layer: "l7", scheme: "http", descriptorShare: 0.75, busy },
      options,
      options.fallback,
    );
    super(core, (metrics) => {
      const context = core.httpContext(metrics, options);
      const scratch = makeScratch(context);
      return (duplex) => new HttpConnection(duplex, context, scratch);
    }, options.routes);
    keepCore(this, core);
    const listener = `${this.name}-fetch`;
    // Its series are not in the metrics before there is a request.
    const context = core.httpContext(new Metrics().listener(listener), options);
    let handle: FetchHandler | undefined;
    this.fetch = async (request, info) => {
      handle ??= makeFetchHandler(
        { ...context, metrics: this.metrics.listener(listener) },
        makeScratch,
      );
      await core.watch();
      return await handle(request, info);
    };
  }
}

/**
 * Balances HTTP per connection: each connection goes to one backend, byte for byte, and only requests to
 * the management API are answered here.
 */
export class HttpL4 extends LoadBalancer {
  /**
   * Makes a balancer; {@linkcode HttpL4.start} makes it listen.
   *
   * @throws {TypeError} When an address, a weight, a network or the token is not valid.
   */
  constructor(options: LoadBalancerOptions = {}) {
    const core = new Core(
      { name: "http-l4", layer: "l4", scheme: "http", descriptorShare: 0.45, busy },
      options,
    );
    super(core, (metrics) => {
      const http: HttpContext = { ...core.httpContext(metrics), closeAfterFirst: true };
      const scratch = makeManagementScratch(http);
      const context = core.streamContext(
        metrics,
        core.control.local && ((duplex) => new HttpConnection(duplex, http, scratch)),
      );
      return (duplex) => new StreamConnection(duplex, context);
    });
  }
}

/** Balances any TCP protocol per connection, TLS passed through included; nothing is looked at. */
export class TcpL4 extends LoadBalancer {
  /**
   * Makes a balancer; {@linkcode TcpL4.start} makes it listen.
   *
   * @throws {TypeError} When an address or a weight is not valid.
   */
  constructor(options: LoadBalancerOptions = {}) {
    const core = new Core(
      { name: "tcp-l4", layer: "l4", scheme: "tcp", descriptorShare: 0.45, busy: undefined },
      options,
    );
    super(core, (metrics) => {
      const context = core.streamContext(metrics, undefined);
      return (duplex) => new StreamConnection(duplex, context);
    });
  }
}

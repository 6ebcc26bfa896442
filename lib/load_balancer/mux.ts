/**
 * HTTP and gRPC on one port.
 *
 * @module
 */
import type { Backend } from "../backend/backend.ts";
import type { Knowledge } from "../backend/knowledge.ts";
import { makeNetworkFilter } from "../common/networks.ts";
import type { ManagementApi } from "../control/http_api.ts";
import type { Management } from "../control/management.ts";
import { checkProtocol, type Protocol, protocolOfRoute } from "../control/protocol.ts";
import type { ServingPhase } from "../control/readiness.ts";
import { Registries } from "../control/registries.ts";
import type { RunTimeChanges } from "../control/run_time_changes.ts";
import { GrpcConnection } from "../grpc/l7/connection.ts";
import type { GrpcContext } from "../grpc/l7/context.ts";
import { HttpConnection } from "../http/l7/connection.ts";
import type { HttpContext } from "../http/l7/context.ts";
import { H2Http } from "../http/l7/h2_exchange.ts";
import { SniffedConnection } from "../mux/sniffed_connection.ts";
import { Metrics } from "../observe/metrics.ts";
import type { Route } from "../route/route.ts";
import { RoutingBalancer } from "./balancer.ts";
import { Control } from "./control.ts";
import type { Composition } from "./composition.ts";
import { type Core, coreOf, makeScratch } from "./core.ts";
import { GrpcL7 } from "./grpc.ts";
import { HttpL7 } from "./http.ts";
import { applyKnowledge, collectKnowledge } from "./legacy.ts";
import type {
  HttpL7Options,
  LoadBalancerOptions,
  MuxOptions,
  MuxSideOptions,
  ShutdownOptions,
} from "./options.ts";

/** The name in logs and metrics unless another is given. */
const NAME = "mux";
/** As of the other balancers at layer 7. */
const DESCRIPTOR_SHARE = 0.75;

/**
 * Balances HTTP/1.1, HTTP/2 with prior knowledge (h2c) and gRPC on one port. Connections are told apart by
 * their first bytes, the requests of an HTTP/2 connection by their content type: `application/grpc` and its
 * kin go to gRPC backends, all others (gRPC-Web too) to HTTP backends, which speak HTTP/1.1.
 *
 * Management sees both sides. The scheme of an address says which side it is for, then the conditions of a route
 * do, then the protocol of the call. Where both have a backend at `host:port`, an address without scheme means that
 * of the protocol of the call; ids are always distinct.
 *
 * @example
 * ```ts
 * import { Mux, RouteBuilder } from "@atlastore/lb";
 *
 * const mux = new Mux({
 *   http: { backends: ["localhost:8081", "localhost:8082"] },
 *   grpc: { backends: ["localhost:50051"] },
 * });
 * mux.addRoute(new RouteBuilder().path("/api").target("localhost:8083").build());
 * mux.addRoute(new RouteBuilder().service("myapp.UserService").target("localhost:50055").build());
 * const server = await mux.start("127.0.0.1:0");
 * await server.shutdown();
 * ```
 */
export class Mux extends RoutingBalancer {
  /** The HTTP side: backends and routes that are added here are for HTTP, and its `fetch` serves them too. */
  readonly http: HttpL7;
  /** The gRPC side. */
  readonly grpc: GrpcL7;

  /**
   * Makes a balancer; {@linkcode Mux.start} makes it listen.
   *
   * @throws {TypeError} When an address, a weight, a route, a network or the token is not valid, or a backend or
   * route is for the other protocol, or nothing says for which one it is.
   */
  constructor(options: MuxOptions = {}) {
    const { name = NAME, metrics = new Metrics() } = options;
    const httpOptions = sideOptions("http", { ...options, name, metrics }, options.http);
    const grpcOptions = sideOptions("grpc", { ...options, name, metrics }, options.grpc);
    const http = new HttpL7(httpOptions);
    const grpc = new GrpcL7(grpcOptions);
    const core = new MuxCore(options, { name, metrics, http: coreOf(http), grpc: coreOf(grpc) });
    // One rate for both sides counts the requests of both.
    const shared = grpcOptions.rateLimit === httpOptions.rateLimit;
    const { rates } = shared ? core.http : core.grpc;
    super(core, (metrics) => {
      const context: HttpContext = {
        ...core.http.httpContext(metrics, httpOptions),
        local: core.control.local,
      };
      const calls: GrpcContext = {
        ...core.grpc.grpcContext(metrics, grpcOptions, rates),
        services: core.control.services,
        http: new H2Http(context, makeScratch),
      };
      const scratch = makeScratch(context);
      return (duplex) =>
        new SniffedConnection(duplex, {
          clock: context.clock,
          timeout: context.timeouts.requestHead,
          metrics,
          h2: (duplex) => new GrpcConnection(duplex, calls),
          http1: (duplex) => new HttpConnection(duplex, context, scratch),
        });
    }, options.routes);
    this.http = http;
    this.grpc = grpc;
    for (const backend of options.backends ?? []) this.addBackend(backend);
  }

  /**
   * Puts a backend into the default pool of the side that the scheme of its address names.
   *
   * @returns Its id.
   * @throws {TypeError} When the address or the weight is not valid, or the address names neither side: then use
   * {@linkcode Mux.http} or {@linkcode Mux.grpc}.
   */
  override addBackend(backend: Backend | string): string {
    return super.addBackend(backend);
  }

  /**
   * Adds a route to the side that its targets name, or else its conditions: services, methods and metadata are of
   * gRPC, all others of HTTP.
   *
   * @returns Its id.
   * @throws {TypeError} When the rule is malformed or contradicts itself, or nothing says for which side it is: then
   * use {@linkcode Mux.http} or {@linkcode Mux.grpc}.
   */
  override addRoute(route: Route): string {
    return super.addRoute(route);
  }

  /** How far it is, by its listeners and those of either side. */
  override get phase(): ServingPhase {
    const phases = [super.phase, this.http.phase, this.grpc.phase];
    if (phases.includes("serving")) return "serving";
    return phases.includes("leaving") ? "leaving" : "stopped";
  }

  /** Shuts all listeners down, those of either side too, and closes what is pooled. */
  override async close(options?: ShutdownOptions): Promise<void> {
    await super.close(options);
    await Promise.all([this.http.close(options), this.grpc.close(options)]);
  }
}

/** The options of one side: what both have in common, and its own. */
function sideOptions(
  protocol: Protocol,
  common: MuxOptions & { readonly name: string },
  own: MuxSideOptions = {},
): HttpL7Options {
  for (const backend of own.backends ?? []) {
    checkProtocol(typeof backend === "string" ? backend : backend.addr, protocol);
  }
  for (const route of own.routes ?? []) {
    for (const { addr } of route.targets) checkProtocol(addr, protocol);
    if (protocol === "http") protocolOfRoute({ ...route, targets: [HTTP_TARGET] });
  }
  const { http: _http, grpc: _grpc, backends: _backends, routes: _routes, ...shared } = common;
  return { ...shared, ...own, name: `${common.name}-${protocol}` };
}

/** Any address for HTTP: what it contradicts is for gRPC only. */
const HTTP_TARGET = { addr: "http://localhost", weight: 1 };

interface MuxParts {
  readonly name: string;
  readonly metrics: Metrics;
  readonly http: Core;
  readonly grpc: Core;
}

/** Two cores under one management. */
class MuxCore implements Composition {
  readonly kind = { descriptorShare: DESCRIPTOR_SHARE, busy: undefined };
  readonly options: LoadBalancerOptions;
  readonly name: string;
  readonly metrics: Metrics;
  readonly http: Core;
  readonly grpc: Core;
  readonly control: Control;
  readonly isTrusted: (address: string) => boolean;
  readonly #registries: Registries;

  constructor(options: MuxOptions, { name, metrics, http, grpc }: MuxParts) {
    this.options = options;
    this.name = name;
    this.metrics = metrics;
    this.http = http;
    this.grpc = grpc;
    this.isTrusted = makeNetworkFilter(options.trustedProxies ?? []);
    const registries = [http.registry, grpc.registry];
    this.#registries = new Registries(registries);
    this.control = new Control({
      layer: "l7",
      registries,
      grpc: grpc.registry,
      reflection: grpc.reflection,
      discovery: grpc.discovery,
      options: options.management,
      clock: grpc.clock,
    });
  }

  get management(): Management {
    return this.control.management;
  }

  get managementApi(): ManagementApi {
    return this.control.api;
  }

  addBackend(backend: Backend): string {
    const targets = [{ addr: backend.addr, weight: 1 }];
    const registry = this.#registries.place({ match: {}, targets });
    return (registry === this.http.registry ? this.http : this.grpc).addBackend(backend);
  }

  addRoute(route: Route): string {
    return this.#registries.place(route).addRoute(route).value.id;
  }

  async start(): Promise<void> {
    await Promise.all([this.http.start(), this.grpc.start()]);
  }

  async stop(): Promise<void> {
    await Promise.all([this.http.stop(), this.grpc.stop()]);
  }

  setLeaving(leaving: boolean): void {
    this.control.setLeaving(leaving);
  }

  endStreams(): void {
    this.control.endStreams();
  }

  applyChanges(changes: RunTimeChanges): void {
    this.control.applyChanges(changes);
  }

  collectKnowledge(): Knowledge {
    return collectKnowledge([this.http, this.grpc]);
  }

  applyKnowledge(knowledge: unknown): void {
    applyKnowledge([this.http, this.grpc], knowledge);
  }

  set onExhausted(makeRoom: (() => void) | undefined) {
    this.http.onExhausted = makeRoom;
    this.grpc.onExhausted = makeRoom;
  }

  shedIdle(): void {
    this.http.shedIdle();
    this.grpc.shedIdle();
  }

  async close(): Promise<void> {
    await this.control.close();
    await this.http.close();
    await this.grpc.close();
  }
}

/**
 * What every kind of balancer is made of, put together once.
 *
 * @module
 */
import { connect } from "../backend/connector.ts";
import { Registry } from "../backend/registry.ts";
import type { Scheme } from "../common/address.ts";
import { Clock } from "../common/clock.ts";
import type { Duplex } from "../common/duplex.ts";
import { makeNetworkFilter } from "../common/networks.ts";
import { AccessPolicy } from "../control/access.ts";
import { ManagementApi } from "../control/http_api.ts";
import { Management } from "../control/management.ts";
import type { GrpcContext } from "../grpc/l7/context.ts";
import { LocalServices } from "../grpc/services/local_services.ts";
import { DEFAULT_HEAD_LIMITS } from "../http/h1/limits.ts";
import { RequestHead } from "../http/h1/request.ts";
import { ResponseHead } from "../http/h1/response.ts";
import { DEFAULT_STREAM_TIMEOUTS, type StreamContext } from "../http/l4/context.ts";
import { DEFAULT_HTTP_TIMEOUTS, type HttpContext, type LocalHandler } from "../http/l7/context.ts";
import type { Scratch } from "../http/l7/downstream.ts";
import { Planner } from "../http/l7/plan.ts";
import type { Served } from "../mux/listener.ts";
import { type ListenerMetrics, Metrics } from "../observe/metrics.ts";
import {
  DEFAULT_CALLER_PORT,
  DEFAULT_MAX_ATTEMPTS,
  DEFAULT_POOL,
  type HttpL7Options,
  type LoadBalancerOptions,
} from "./options.ts";
import { HEALTH, LOAD_BALANCER, REFLECTION, REFLECTION_ALPHA } from "./service_names.ts";

/** What differs between the kinds of balancers. */
export interface Kind {
  /** The name unless another is given. */
  readonly name: string;
  /** Whether requests or connections are balanced. */
  readonly layer: "l4" | "l7";
  /** The protocol of addresses that name none. */
  readonly scheme: Scheme;
  /** The share of the descriptor limit that client connections may take. */
  readonly descriptorShare: number;
  /** What a connection above the limit is told. */
  readonly busy: Uint8Array | undefined;
}

/** Makes what serves the connections of a listener. */
export type Acceptor = (metrics: ListenerMetrics) => (duplex: Duplex) => Served;

/** Registry, clock, management and metrics of one balancer. */
export class Core {
  /** What differs between the kinds of balancers. */
  readonly kind: Kind;
  /** The options as given. */
  readonly options: LoadBalancerOptions;
  /** The name in logs and metrics. */
  readonly name: string;
  /** The counters. */
  readonly metrics: Metrics;
  /** All deadlines. */
  readonly clock: Clock = new Clock();
  /** Backends and routes. */
  readonly registry: Registry;
  /** The use cases of the management API. */
  readonly management: Management;
  /** Answers management requests. */
  readonly managementApi: ManagementApi;
  /** The gRPC services of the balancer itself; not started before the first call. */
  readonly services: LocalServices;

  /**
   * Puts the parts together.
   *
   * @throws {TypeError} When a backend, a network or the token is not valid.
   */
  constructor(kind: Kind, options: LoadBalancerOptions, fallback = false) {
    const { timeouts = {}, limits = {}, management = {} } = options;
    this.kind = kind;
    this.options = options;
    this.name = options.name ?? kind.name;
    this.metrics = options.metrics ?? new Metrics();
    this.registry = new Registry({
      strategy: options.strategy ?? "round-robin",
      scheme: kind.scheme,
      fallback,
      clock: this.clock,
      connect,
      connections: {
        maxConnections: limits.maxUpstreamConnections ?? DEFAULT_POOL.maxConnections,
        maxWaiting: limits.maxWaiting ?? DEFAULT_POOL.maxWaiting,
        waitTimeout: timeouts.poolWait ?? DEFAULT_POOL.waitTimeout,
        idleTimeout: timeouts.upstreamIdle ?? DEFAULT_POOL.idleTimeout,
        connectTimeout: timeouts.connect ?? DEFAULT_POOL.connectTimeout,
        ...(options.caCerts === undefined ? {} : { caCerts: options.caCerts }),
      },
    });
    this.registry.watcher = {
      onBackendRemoved: (id) => this.metrics.forgetBackend(id),
      onRouteRemoved: (id) => this.metrics.forgetRoute(id),
    };
    this.management = new Management(this.registry, {
      layer: kind.layer,
      defaultPort: management.defaultPort ?? DEFAULT_CALLER_PORT,
    });
    const access = new AccessPolicy({
      ...(management.allow === undefined ? {} : { allow: management.allow }),
      ...(management.token === undefined ? {} : { token: management.token }),
    });
    this.managementApi = new ManagementApi(this.management, access);
    const onListeners = management.onListeners !== false;
    const { clock, registry } = this;
    this.services = new LocalServices({
      names: [HEALTH, REFLECTION, REFLECTION_ALPHA, ...onListeners ? [LOAD_BALANCER] : []],
      clock,
      start: async () => {
        const { startOwnServices } = await import("./own_services.ts");
        const management = onListeners ? this.management : undefined;
        return startOwnServices({ registry, management, access, clock });
      },
    });
    for (const backend of options.backends ?? []) {
      this.registry.addBackend(typeof backend === "string" ? { addr: backend } : backend);
    }
  }

  /** The handler for management requests on the listeners, unless they are not answered there. */
  get local(): LocalHandler | undefined {
    return this.options.management?.onListeners === false ? undefined : this.managementApi;
  }

  /** What the connections of an HTTP listener share. */
  httpContext(metrics: ListenerMetrics, options: HttpL7Options = this.options): HttpContext {
    const { timeouts = {}, limits = {} } = options;
    return {
      registry: this.registry,
      clock: this.clock,
      timeouts: {
        requestHead: timeouts.requestHead ?? DEFAULT_HTTP_TIMEOUTS.requestHead,
        idle: timeouts.idle ?? DEFAULT_HTTP_TIMEOUTS.idle,
        bodyStall: timeouts.bodyStall ?? DEFAULT_HTTP_TIMEOUTS.bodyStall,
        response: timeouts.response ?? DEFAULT_HTTP_TIMEOUTS.response,
        tunnelIdle: timeouts.tunnelIdle ?? DEFAULT_HTTP_TIMEOUTS.tunnelIdle,
        expectContinue: timeouts.expectContinue ?? DEFAULT_HTTP_TIMEOUTS.expectContinue,
      },
      limits: {
        maxRequestLine: limits.maxRequestLine ?? DEFAULT_HEAD_LIMITS.maxRequestLine,
        maxFieldLine: limits.maxFieldLine ?? DEFAULT_HEAD_LIMITS.maxFieldLine,
        maxHead: limits.maxHead ?? DEFAULT_HEAD_LIMITS.maxHead,
        maxFields: limits.maxFields ?? DEFAULT_HEAD_LIMITS.maxFields,
      },
      forwarded: options.forwarded ?? "x-forwarded",
      isTrusted: makeNetworkFilter(options.trustedProxies ?? []),
      via: options.via,
      maxAttempts: limits.maxAttempts ?? DEFAULT_MAX_ATTEMPTS,
      local: this.local,
      metrics,
      accessLog: options.accessLog,
    };
  }

  /** What the connections of a layer 4 listener share. */
  streamContext(
    metrics: ListenerMetrics,
    management: StreamContext["management"],
  ): StreamContext {
    const { timeouts = {}, limits = {}, caCerts, accessLog } = this.options;
    return {
      pool: this.registry.pool,
      connect,
      connectTimeout: timeouts.connect ?? DEFAULT_POOL.connectTimeout,
      caCerts,
      maxAttempts: limits.maxAttempts ?? DEFAULT_MAX_ATTEMPTS,
      clock: this.clock,
      timeouts: {
        firstByte: timeouts.requestHead ?? DEFAULT_STREAM_TIMEOUTS.firstByte,
        idle: timeouts.tunnelIdle ?? DEFAULT_STREAM_TIMEOUTS.idle,
      },
      metrics,
      accessLog,
      management,
    };
  }

  /** What the connections of a gRPC listener share. */
  grpcContext(metrics: ListenerMetrics, options: HttpL7Options = this.options): GrpcContext {
    return {
      services: this.services,
      bound: this.kind.layer === "l4",
      planner: new Planner(this.registry),
      clock: this.clock,
      h2: {},
      forwarded: options.forwarded ?? "x-forwarded",
      isTrusted: makeNetworkFilter(options.trustedProxies ?? []),
      maxAttempts: options.limits?.maxAttempts ?? DEFAULT_MAX_ATTEMPTS,
      metrics,
      accessLog: options.accessLog,
    };
  }

  /** Ends the own services and closes what is pooled and unused. */
  async close(): Promise<void> {
    await this.services.close();
    for (const backend of this.registry.backends) backend.closeIdle();
  }
}

/** Makes what the connections of one HTTP listener parse into and plan with. */
export function makeScratch(context: HttpContext): Scratch {
  return {
    request: new RequestHead(context.limits),
    response: new ResponseHead(context.limits),
    planner: new Planner(context.registry),
  };
}

/** The same for connections on which only the management API is answered, and nothing is proxied. */
export function makeManagementScratch(context: HttpContext): Scratch {
  return { ...makeScratch(context), planner: { plan: () => ({ type: "no_route" }) } };
}

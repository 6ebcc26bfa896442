/**
 * What every kind of balancer is made of, put together once.
 *
 * @module
 */
import type { Backend } from "../backend/backend.ts";
import { type Connect, makeConnect } from "../backend/connector.ts";
import { GRPC_RETRY_ON, HTTP_RETRY_ON, Recovery } from "../backend/recovery.ts";
import type { Knowledge } from "../backend/knowledge.ts";
import type { RequestLimitOptions } from "../backend/limits.ts";
import { Registry } from "../backend/registry.ts";
import { Clock } from "../common/clock.ts";
import { isDnsName } from "../common/dns_name.ts";
import { makeNetworkFilter } from "../common/networks.ts";
import type { ManagementApi } from "../control/http_api.ts";
import type { Management } from "../control/management.ts";
import type { RunTimeChanges } from "../control/run_time_changes.ts";
import {
  DEFAULT_DISCOVERY_INTERVAL,
  Discovery,
  MAX_DISCOVERY_INTERVAL,
} from "../grpc/discovery.ts";
import type { GrpcContext } from "../grpc/l7/context.ts";
import { DEFAULT_HEAD_LIMITS } from "../http/h1/limits.ts";
import { RequestHead } from "../http/h1/request.ts";
import { ResponseHead } from "../http/h1/response.ts";
import { DEFAULT_STREAM_TIMEOUTS, type StreamContext } from "../http/l4/context.ts";
import { DEFAULT_HTTP_TIMEOUTS, type HttpContext } from "../http/l7/context.ts";
import { type KeyReader, makeKeyReader, parseHashBy } from "../http/l7/affinity.ts";
import { checkBodyRate } from "../http/l7/body_rate.ts";
import type { Scratch } from "../http/l7/downstream.ts";
import { Planner, type Rates } from "../http/l7/plan.ts";
import { RequestRate } from "../http/l7/rate_limit.ts";
import { Stickiness } from "../http/l7/sticky.ts";
import { type ListenerMetrics, Metrics } from "../observe/metrics.ts";
import type { Route } from "../route/route.ts";
import type { Composition, Kind } from "./composition.ts";
import { Control } from "./control.ts";
import { backendConnections, clientConnections } from "./h2_options.ts";
import {
  DEFAULT_BODY_GRACE,
  DEFAULT_MAX_ATTEMPTS,
  DEFAULT_POOL,
  type GrpcL7Options,
  type HttpL7Options,
  type Limits,
  type LoadBalancerOptions,
} from "./options.ts";
import { applyKnowledge, collectKnowledge } from "./legacy.ts";
import { SharedReflection } from "./reflection.ts";
import { Resilience } from "./resilience.ts";

/** How finely waits between tries are measured, in milliseconds; a hedge may have a delay of a few. */
const WAIT_RESOLUTION_MS = 5;

/** Registry, clock, management and metrics of one balancer. */
export class Core implements Composition {
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
  /** The reflection of the backends. */
  readonly reflection: SharedReflection;
  /** Routes calls to the services that backends have. */
  readonly discovery: Discovery;
  /** Checks, ejection, and names that are followed. */
  readonly resilience: Resilience;
  /** How answers are judged and requests sent again. */
  readonly recovery: Recovery;
  /** What requests are hashed by, if they are. */
  readonly keyOf: KeyReader | undefined;
  /** Keeps clients at their backend, if that is wanted. */
  readonly sticky: Stickiness | undefined;
  /** How many requests are taken, where their route does not say. */
  readonly rates: Rates;
  /** Management and the own services. */
  readonly control: Control;
  onExhausted: (() => void) | undefined;
  /** Set from the first call of {@linkcode watch} on. */
  #watching: Promise<void> | undefined;
  /** Opens connections to backends. */
  readonly #connect: Connect = makeConnect(() => this.onExhausted?.());

  /**
   * Puts the parts together.
   *
   * @throws {TypeError} When a backend, a network or the token is not valid.
   */
  constructor(kind: Kind, options: GrpcL7Options, fallback = false) {
    const { timeouts = {}, limits = {} } = options;
    this.kind = kind;
    this.options = options;
    this.name = options.name ?? kind.name;
    this.metrics = options.metrics ?? new Metrics();
    this.registry = new Registry({
      strategy: options.strategy ?? "round-robin",
      ...(options.panicThreshold === undefined ? {} : { panicThreshold: options.panicThreshold }),
      slowStart: options.slowStart ?? 0,
      scheme: kind.scheme,
      fallback,
      discovery: kind.layer === "l4" || kind.scheme !== "grpc"
        ? "never"
        : options.discoverServices
        ? "always"
        : "asked",
      clock: this.clock,
      connect: this.#connect,
      connections: {
        maxConnections: limits.maxUpstreamConnections ?? DEFAULT_POOL.maxConnections,
        maxWaiting: limits.maxWaiting ?? DEFAULT_POOL.maxWaiting,
        waitTimeout: timeouts.poolWait ?? DEFAULT_POOL.waitTimeout,
        idleTimeout: timeouts.upstreamIdle ?? DEFAULT_POOL.idleTimeout,
        connectTimeout: timeouts.connect ?? DEFAULT_POOL.connectTimeout,
        ...(options.caCerts === undefined ? {} : { caCerts: options.caCerts }),
        h2: backendConnections(options),
      },
      requests: requestLimits(kind, limits),
    });
    const isTrusted = makeNetworkFilter(options.trustedProxies ?? []);
    this.rates = {
      rate: options.rateLimit && new RequestRate(options.rateLimit, isTrusted),
      isTrusted,
    };
    this.resilience = new Resilience({
      registry: this.registry,
      clock: this.clock,
      connect: this.#connect,
      options,
    });
    this.registry.watcher = {
      onBackendAdded: (backend) => this.resilience.add(backend),
      onBackendRemoved: (id, backend) => {
        this.resilience.remove(backend);
        this.metrics.forgetBackend(id);
      },
      onRouteRemoved: (id) => this.metrics.forgetRoute(id),
    };
    this.registry.names.watcher = {
      onNameAdded: (name) => this.resilience.follow(name),
      onNameRemoved: (name) => this.resilience.unfollow(name),
    };
    this.recovery = new Recovery({
      clock: this.clock,
      waits: new Clock({ resolution: WAIT_RESOLUTION_MS }),
      on: kind.scheme === "grpc" ? GRPC_RETRY_ON : HTTP_RETRY_ON,
    }, options);
    this.keyOf = readerOf(options);
    this.sticky = options.sticky && new Stickiness(options.sticky);
    this.reflection = new SharedReflection(this.registry, this.clock);
    this.discovery = new Discovery({
      registry: this.registry,
      clock: this.clock,
      lister: () => this.reflection.load(),
      interval: checkInterval(options.discoverInterval),
    });
    this.control = new Control({
      layer: kind.layer,
      registries: [this.registry],
      grpc: this.registry,
      reflection: this.reflection,
      discovery: this.discovery,
      options: options.management,
      clock: this.clock,
    });
    for (const backend of options.backends ?? []) {
      this.addBackend(typeof backend === "string" ? { addr: backend } : backend);
    }
  }

  get management(): Management {
    return this.control.management;
  }

  get managementApi(): ManagementApi {
    return this.control.api;
  }

  get isTrusted(): (address: string) => boolean {
    return this.rates.isTrusted;
  }

  addBackend(backend: Backend): string {
    const { registry } = this;
    return isDnsName(backend.addr)
      ? registry.names.add(backend.addr, registry.pool, backend).value.id
      : registry.addBackend(backend).value.id;
  }

  addRoute(route: Route): string {
    return this.registry.addRoute(route).value.id;
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
        halfClosed: timeouts.halfClosed ?? DEFAULT_HTTP_TIMEOUTS.halfClosed,
        expectContinue: timeouts.expectContinue ?? DEFAULT_HTTP_TIMEOUTS.expectContinue,
        maxAge: timeouts.maxConnectionAge ?? Infinity,
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
      recovery: this.recovery,
      keyOf: this.keyOf,
      sticky: this.sticky,
      rates: this.rates,
      bodyRate: limits.minBodyRate === undefined ? undefined : checkBodyRate({
        rate: limits.minBodyRate,
        grace: limits.bodyGrace ?? DEFAULT_BODY_GRACE,
      }),
      local: this.control.local,
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
      connect: this.#connect,
      connectTimeout: timeouts.connect ?? DEFAULT_POOL.connectTimeout,
      caCerts,
      maxAttempts: limits.maxAttempts ?? DEFAULT_MAX_ATTEMPTS,
      recovery: this.recovery,
      hashed: this.options.strategy === "consistent-hash",
      clock: this.clock,
      timeouts: {
        firstByte: timeouts.requestHead ?? DEFAULT_STREAM_TIMEOUTS.firstByte,
        idle: timeouts.tunnelIdle ?? DEFAULT_STREAM_TIMEOUTS.idle,
        halfClosed: timeouts.halfClosed ?? DEFAULT_STREAM_TIMEOUTS.halfClosed,
      },
      metrics,
      accessLog,
      management,
    };
  }

  /** What the connections of a gRPC listener share. */
  grpcContext(
    metrics: ListenerMetrics,
    options: HttpL7Options = this.options,
    rates: Rates = this.rates,
  ): GrpcContext {
    return {
      services: this.control.services,
      planner: new Planner(this.registry, this.recovery.rules, rates),
      clock: this.clock,
      h2: clientConnections(options),
      forwarded: options.forwarded ?? "x-forwarded",
      isTrusted: makeNetworkFilter(options.trustedProxies ?? []),
      maxAttempts: options.limits?.maxAttempts ?? DEFAULT_MAX_ATTEMPTS,
      recovery: this.recovery,
      keyOf: this.keyOf,
      metrics,
      accessLog: options.accessLog,
    };
  }

  async start(): Promise<void> {
    await this.resilience.start();
    await this.discovery.start();
  }

  /** Does what {@linkcode start} does for whoever has no listener, once; until {@linkcode close}. */
  watch(): Promise<void> {
    return this.#watching ??= this.start();
  }

  async stop(): Promise<void> {
    this.discovery.stop();
    await this.resilience.stop();
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
    return collectKnowledge([this]);
  }

  applyKnowledge(knowledge: unknown): void {
    applyKnowledge([this], knowledge);
  }

  shedIdle(): void {
    for (const backend of this.registry.backends) backend.shedIdle();
  }

  async close(): Promise<void> {
    const watching = this.#watching;
    this.#watching = undefined;
    if (watching !== undefined) {
      await watching;
      await this.stop();
    }
    await this.control.close();
    await this.resilience.close();
    this.reflection.cancel();
    for (const backend of this.registry.backends) backend.closeIdle();
  }
}

/** At layer 4 each connection of a client has one of a backend, and is what a backend has in flight. */
function requestLimits({ layer }: Kind, limits: Limits): RequestLimitOptions {
  if (layer === "l4") return { maxRequests: limits.maxUpstreamConnections ?? Infinity };
  const { maxRequests = Infinity, adaptive = false } = limits;
  if (adaptive === false) return { maxRequests };
  return { maxRequests, adaptive: adaptive === true ? {} : adaptive };
}

function readerOf({ strategy, hashBy }: HttpL7Options): KeyReader | undefined {
  if (strategy === "consistent-hash") return makeKeyReader(parseHashBy(hashBy ?? "address"));
  if (hashBy === undefined) return undefined;
  throw new TypeError(
    `hashBy ${JSON.stringify(hashBy)}: it is accepted with the strategy consistent-hash only`,
  );
}

function checkInterval(interval = DEFAULT_DISCOVERY_INTERVAL): number {
  if (interval >= 1 && interval <= MAX_DISCOVERY_INTERVAL) return interval;
  throw new TypeError(
    `discoverInterval ${interval}: a number of milliseconds from 1 to ${MAX_DISCOVERY_INTERVAL} is accepted`,
  );
}

const cores = new WeakMap<object, Core>();

/** Remembers what a balancer is made of, for balancers that are made of balancers. */
export function keepCore(balancer: object, core: Core): void {
  cores.set(balancer, core);
}

/** What {@linkcode keepCore} was told of a balancer. */
export function coreOf(balancer: object): Core {
  return cores.get(balancer)!;
}

/** Makes what the connections of one HTTP listener parse into and plan with. */
export function makeScratch(context: HttpContext): Scratch {
  return {
    request: new RequestHead(context.limits),
    response: new ResponseHead(context.limits),
    planner: new Planner(context.registry, context.recovery.rules, context.rates),
  };
}

const NOTHING = { type: "no_route", rate: undefined } as const;

/** The same for connections on which only the management API is answered, and nothing is proxied. */
export function makeManagementScratch(context: HttpContext): Scratch {
  return { ...makeScratch(context), planner: { plan: () => NOTHING } };
}

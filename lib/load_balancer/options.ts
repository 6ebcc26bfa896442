/**
 * What users of the library choose.
 *
 * @module
 */
import type { Backend } from "../backend/backend.ts";
import type { AdaptiveLimitOptions } from "../backend/adaptive_limit.ts";
import type { DnsOptions } from "../backend/discovery/dns.ts";
import type { PoolOptions } from "../backend/h1_pool.ts";
import type { HealthCheckOptions } from "../backend/health/check.ts";
import type { OutlierOptions } from "../backend/health/outlier_detection.ts";
import type { RetryOptions } from "../backend/recovery.ts";
import type { ForwardedMode } from "../http/forwarded.ts";
import type { HeadLimits } from "../http/h1/limits.ts";
import type { StickyOptions } from "../http/l7/sticky.ts";
import type { AccessLog } from "../observe/access_log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { RateLimitRule } from "../route/rate_limit.ts";
import type { Route } from "../route/route.ts";
import type { StrategyName } from "../strategy/registry.ts";

/** Limits and times of the connections to each backend. */
export const DEFAULT_POOL: PoolOptions = {
  maxConnections: 1024,
  maxWaiting: 1024,
  waitTimeout: 5_000,
  idleTimeout: 30_000,
  connectTimeout: 5_000,
};
/** How long `shutdown()` waits for what is under way, in milliseconds. */
export const DEFAULT_SHUTDOWN = 30_000;
/** Attempts per request or connection. */
export const DEFAULT_MAX_ATTEMPTS = 8;
/** How long a body may take beside what its least rate allows, in milliseconds. */
export const DEFAULT_BODY_GRACE = 10_000;
/** The port of a caller that registers itself without naming one. */
export const DEFAULT_CALLER_PORT = 80;

/** How long things may take, in milliseconds; what is left out has its default. */
export interface Timeouts {
  /** Opening a connection to a backend, TLS included; then another backend is tried. Default 5,000. */
  readonly connect?: number;
  /** From the first byte of a request to the end of its head; then 408. Default 10,000. */
  readonly requestHead?: number;
  /**
   * How long a client connection may wait for its next request. Default 60,000, and 300,000 over HTTP/2, where it ends
   * with GOAWAY.
   */
  readonly idle?: number;
  /**
   * How long either side may neither send nor take a byte of a body over HTTP. Default 60,000. What a side takes is seen
   * by the system's acknowledgements on Linux with the permission for FFI; elsewhere it is seen when a third of the
   * send buffer is free, for which a slow reader may need longer. A client that reads over HTTP/2 has the time of
   * `windowStall` for what it has got beside this.
   */
  readonly bodyStall?: number;
  /**
   * How long a peer of a gRPC balancer may leave an HTTP/2 window shut that something waits for, and a second more for
   * each KiB that it has got and not granted again: slow readers say nothing for minutes. Then the stream is reset, and
   * a connection whose own window it was is drained. Streams without content that waits are never looked at. Default
   * 300,000; `Infinity`: for ever.
   */
  readonly windowStall?: number;
  /** From the end of the request to the head of the response; then 504. Default 60,000. */
  readonly response?: number;
  /** How long a backend may take to send `100 Continue` before the body is sent anyway. Default 1,000. */
  readonly expectContinue?: number;
  /** How long a tunnel, or a connection at layer 4, may be silent. Default 3,600,000. */
  readonly tunnelIdle?: number;
  /** The same once one side has ended, so that the rest of an answer may still come. Default 60,000. */
  readonly halfClosed?: number;
  /** How long an unused connection to a backend stays open. Default 30,000. */
  readonly upstreamIdle?: number;
  /** How long a request may wait for a free connection to its backend; then 503. Default 5,000. */
  readonly poolWait?: number;
  /**
   * How old a connection of a client gets at HTTP layer 7 or over HTTP/2, a tenth more or less at random, before it
   * is asked to go: with GOAWAY, or with `Connection: close` in the next answer. What is under way goes on. Default
   * `Infinity`.
   */
  readonly maxConnectionAge?: number;
  /** How long calls may then go on before they are cut. Default `Infinity`. */
  readonly maxConnectionAgeGrace?: number;
  /** How long `shutdown()` waits for what is under way. Default 30,000. */
  readonly shutdown?: number;
}

/**
 * PINGs on HTTP/2 connections, in milliseconds; what is left out has its default. They find peers that are gone
 * without a word, such as a host that lost its power (gRFC A8, gRFC A9).
 */
export interface Keepalive {
  /** How long a client with calls under way may be silent before it is asked. Default 300,000; `Infinity`: never. */
  readonly time?: number;
  /**
   * The same for backends, at least 10,000. Default `Infinity`: gRPC servers cut off whoever asks more often than
   * they allow, by default once in 300,000.
   */
  readonly upstreamTime?: number;
  /** How long either may take to answer before its connection is closed. Default 20,000. */
  readonly timeout?: number;
  /** Ask also where no call is under way. Default `false`. */
  readonly withoutCalls?: boolean;
  /**
   * How often a client may ask while nothing is sent to it. The third PING that comes too early ends its
   * connection, as gRPC has it: GOAWAY with ENHANCE_YOUR_CALM and `too_many_pings`. Default 5,000, half of what
   * gRPC clients have at least; 0 allows any.
   */
  readonly minPingInterval?: number;
  /** Let clients ask also where no call is under way; else once in two hours. Default `true`. */
  readonly permitWithoutCalls?: boolean;
}

/** The default of each of {@linkcode Keepalive}. */
export const DEFAULT_KEEPALIVE: Required<Keepalive> = {
  time: 300_000,
  upstreamTime: Infinity,
  timeout: 20_000,
  withoutCalls: false,
  minPingInterval: 5_000,
  permitWithoutCalls: true,
};

/** How much is taken; what is left out has its default. */
export interface Limits extends Partial<HeadLimits> {
  /**
   * Connections per listener; above that the answer is 503. The default follows the limit of
   * descriptors: three quarters of it at layer 7, 45 of 100 at layer 4, where each connection needs two.
   */
  readonly maxConnections?: number;
  /**
   * Connections of one client address to all listeners, IPv6 by /64; above that the answer is 503, or none where the protocol has
   * none. Trusted proxies and clients of Unix sockets are not counted. Default `Infinity`.
   */
  readonly maxConnectionsPerClient?: number;
  /**
   * Connections to one backend at a time. Default 1,024. At layer 4 that is a limit of the clients that it has; there
   * is none unless it is given, and when one is reached it is as with `maxRequests`.
   */
  readonly maxUpstreamConnections?: number;
  /**
   * Requests of one backend at a time, at layer 7. At its limit another one is picked; when all are, requests wait in
   * the order in which they came, up to `maxWaiting` for as long as `timeouts.poolWait`, and then get 503 with
   * `Retry-After`, or UNAVAILABLE with `grpc-retry-pushback-ms`. Default `Infinity`.
   */
  readonly maxRequests?: number;
  /** Find such a limit for each backend from how long its answers take; `true` with the defaults. Default `false`. */
  readonly adaptive?: boolean | AdaptiveLimitOptions;
  /** Requests that may wait for a connection to one backend, or for any backend of a route. Default 1,024. */
  readonly maxWaiting?: number;
  /**
   * Bytes per second at which a client must send the body of a request over HTTP, beside `bodyGrace`; slower ones
   * are answered 408. Default: any.
   */
  readonly minBodyRate?: number;
  /** How long a body may take beside that, in milliseconds. Default 10,000. */
  readonly bodyGrace?: number;
  /** Attempts per request or connection, the first included. Default 8. */
  readonly maxAttempts?: number;
}

/** Who may call the management API, and where it is answered. */
export interface ManagementOptions {
  /** Answer `/lb/…` on the listeners of the balancer. Default `true`; the admin listener always does. */
  readonly onListeners?: boolean;
  /** Networks whose callers need no token, e.g. `10.0.0.0/8`; loopback needs none anyway. */
  readonly allow?: readonly string[];
  /** The bearer token that lets anybody in; at least 16 visible ASCII characters. */
  readonly token?: string;
  /** The port of a caller that registers itself without naming one. Default 80. */
  readonly defaultPort?: number;
}

/** What every balancer takes. */
export interface LoadBalancerOptions {
  /** Backends of the default pool. */
  readonly backends?: readonly (Backend | string)[];
  /** How a backend is picked. Default `round-robin`, which heeds weights when they differ. */
  readonly strategy?: StrategyName;
  /** The name in logs and metrics. Default: the kind of balancer. */
  readonly name?: string;
  /** How long things may take. */
  readonly timeouts?: Timeouts;
  /** PINGs on HTTP/2 connections. */
  readonly keepalive?: Keepalive;
  /** How backends are asked whether they are well; they are not unless given. Begins with the first listener. */
  readonly healthCheck?: HealthCheckOptions;
  /** When backends whose requests fail are not picked for a while; `false` for never. */
  readonly outlierDetection?: OutlierOptions | false;
  /** How long a backend that comes back takes to its whole share, in milliseconds. Default 0: at once. */
  readonly slowStart?: number;
  /**
   * The part of the active backends of a pool, from 0 to 1, below which health counts no more: when so few are
   * healthy, all are picked, since the few would break under the load of all. Default 0.25.
   */
  readonly panicThreshold?: number;
  /** How names are followed: backends as `dns:name:port` or `srv:name`. */
  readonly dns?: DnsOptions;
  /** How much is taken. */
  readonly limits?: Limits;
  /** How requests are sent again that met a failure. At layer 4 only the budget counts. */
  readonly retries?: RetryOptions;
  /** Who may call the management API. */
  readonly management?: ManagementOptions;
  /** Certificates in PEM that backends with `https` may have beside those of well-known authorities. */
  readonly caCerts?: readonly string[];
  /** Where exchanges are logged; nowhere unless given. */
  readonly accessLog?: AccessLog;
  /** Counters to share with other balancers; own ones unless given. */
  readonly metrics?: Metrics;
}

/** What a balancer at HTTP layer 7 takes beside that. */
export interface HttpL7Options extends LoadBalancerOptions {
  /** Statuses of HTTP that count as failures of their backend. Default 502, 503 and 504. */
  readonly failureStatuses?: readonly number[];
  /** Statuses of gRPC, as numbers, that count as failures of their backend. Default 14, UNAVAILABLE. */
  readonly failureCodes?: readonly number[];
  /**
   * What requests have in common that are to meet the same backend, with the strategy `consistent-hash`: `address`,
   * `path`, `header:NAME`, `metadata:NAME` or `cookie:NAME`. Default `address`. Where a request has none, chance
   * decides.
   */
  readonly hashBy?: string;
  /** Keeps clients at their backend by a cookie, as long as it is fit; HTTP only. */
  readonly sticky?: StickyOptions;
  /**
   * How many requests are taken, for each client address unless another key is given, where their route does not
   * say; those above that are answered 429, or RESOURCE_EXHAUSTED to calls of gRPC. All listeners count together.
   * Default: any number.
   */
  readonly rateLimit?: RateLimitRule;
  /** Routes, the same as by {@linkcode HttpL7.addRoute}. */
  readonly routes?: readonly Route[];
  /**
   * Spread requests that match no route over the default pool even when there are routes. Default
   * `false`: a route that demands a secret header must not be bypassed by leaving the header out.
   */
  readonly fallback?: boolean;
  /** Which forwarding fields backends get. Default `x-forwarded`. */
  readonly forwarded?: ForwardedMode;
  /** Networks of proxies in front whose forwarding fields are believed and extended, e.g. `10.0.0.0/8`. */
  readonly trustedProxies?: readonly string[];
  /** The name to give in `Via` (RFC 9110, section 7.6.3); none is written unless given. */
  readonly via?: string;
}

/** What a gRPC balancer at layer 7 takes beside that. */
export interface GrpcL7Options extends HttpL7Options {
  /**
   * Read the services of the backends of the default pool from their reflection and route calls to those that
   * have them; {@linkcode Backend.discoverServices} says otherwise of a single one. Routes that are written come
   * first. Calls of services that nobody lists go to backends that have not been asked with success yet, and
   * are answered UNIMPLEMENTED once all have, unless there is a fallback. Default `false`.
   */
  readonly discoverServices?: boolean;
  /**
   * How often each backend is asked for its services, in milliseconds, 10 % more or less; at most a day. When its
   * connection has ended or another one was opened, it is asked at once. Default 30,000.
   */
  readonly discoverInterval?: number;
}

/**
 * What one side of a {@linkcode Mux} takes, each instead of what both have in common. What belongs to the
 * listener is not its own.
 */
export type MuxSideOptions = Omit<HttpL7Options, "name" | "metrics" | "management">;

/** The same for the gRPC side. */
export type MuxGrpcOptions = Omit<GrpcL7Options, "name" | "metrics" | "management">;

/**
 * What a {@linkcode Mux} takes: what both sides have in common, and what each has of its own. Backends and routes
 * that are given here go to the side that their addresses and conditions name.
 */
export interface MuxOptions extends HttpL7Options {
  /** The side for HTTP. */
  readonly http?: MuxSideOptions;
  /** The side for gRPC. */
  readonly grpc?: MuxGrpcOptions;
}

/** What {@linkcode HttpL7.start} and its kin take. */
export interface StartOptions {
  /** Shuts the server down when it is aborted. */
  readonly signal?: AbortSignal;
  /** The file of an inherited Unix socket (`fd:N`) that is to be removed at the end, as its owner would. */
  readonly file?: string;
}

/** How a server ends; times are in milliseconds. */
export interface ShutdownOptions {
  /**
   * How long everything is served as before while `grpc.health.v1` says NOT_SERVING, so that whoever sends requests
   * here can learn of it and send them elsewhere. Default 0.
   */
  readonly delay?: number;
  /**
   * How long a client whose connection carries nothing may still begin a request on it. Over HTTP/1.1 a client
   * learns of the end with an answer only: what it sends while the connection is being closed is lost to it.
   * Default 0: such connections are closed at once.
   */
  readonly idle?: number;
  /** Another process listens on the socket by now: the file of a Unix socket stays. Default `false`. */
  readonly passedOn?: boolean;
}

/** A running listener. */
export interface Server {
  /** Where it listens, with the port that the system chose. */
  readonly addr: Deno.Addr;
  /** Resolves when the listener has ended and nothing is under way any more. */
  readonly finished: Promise<void>;
  /**
   * Accepts no more, lets what is under way finish for at most the shutdown timeout, then cuts it.
   * Resolves with `finished`. The first call says how.
   */
  shutdown(options?: ShutdownOptions): Promise<void>;
  /**
   * Another descriptor of the socket, for a program that is started next and is to take it over with
   * `start("fd:N")`. It is inherited by all programs that are started; the caller closes it. Linux only, with
   * the permissions for FFI and for `/proc`.
   *
   * @throws {SocketError} When sockets cannot be passed on here.
   */
  share(): number;
}

/**
 * Counters of the data plane: plain numbers that the hot path adds to and that an exporter reads.
 * Nothing is allocated per request once a series exists, and nothing here knows of a text format.
 *
 * @module
 */

import type { CloseReason } from "./close_reason.ts";
import { bucketOf, type DurationHistogram, makeBuckets } from "./duration.ts";
import { GrpcMetrics } from "./grpc_metrics.ts";

export { DURATION_BOUNDS } from "./duration.ts";

/** Status classes 1xx to 5xx, and 0 for an exchange that ended without a status. */
const STATUS_CLASSES = 6;

/** Requests of one listener that matched one route and went to one backend. */
export class RequestStats implements DurationHistogram {
  /** The route's id; empty when no route had a part in it. */
  readonly route: string;
  /** The backend's address; empty when no backend was reached. */
  readonly backend: string;
  /** Requests by class of status: index 1 to 5 for 1xx to 5xx, 0 for ended without a status. */
  readonly codes: Float64Array = new Float64Array(STATUS_CLASSES);
  /** Requests by duration. */
  readonly buckets: Float64Array = makeBuckets();
  /** Seconds spent, over all requests. */
  sum = 0;
  /** Requests recorded. */
  count = 0;
  /** Bytes of request bodies and heads, as the caller counts them. */
  bytesIn = 0;
  /** Bytes of response bodies and heads, as the caller counts them. */
  bytesOut = 0;

  /** Makes a series without any request. */
  constructor(route: string, backend: string) {
    this.route = route;
    this.backend = backend;
  }

  /**
   * Counts one finished request. Recording to a forgotten series does no harm: nobody reads it.
   *
   * A status above 599 counts as 5xx, as RFC 9110 (section 15) wants invalid ones treated. A duration
   * that is negative or not a number counts as 0, so that a clock that stepped cannot spoil the sum.
   *
   * @param status The final status; 0 when the exchange ended without one.
   * @param seconds From the first byte of the request to the last byte of the response.
   * @param bytesIn Bytes received from the client for it.
   * @param bytesOut Bytes sent to the client for it.
   */
  record(status: number, seconds: number, bytesIn: number, bytesOut: number): void {
    const statusClass = (status / 100) | 0;
    this.codes[statusClass < 0 ? 0 : statusClass > 5 ? 5 : statusClass]! += 1;
    const duration = seconds > 0 ? seconds : 0;
    this.buckets[bucketOf(duration)]! += 1;
    this.sum += duration;
    this.count += 1;
    this.bytesIn += bytesIn;
    this.bytesOut += bytesOut;
  }
}

/** What one listener does to one backend. */
export class UpstreamStats {
  /** Tries of a request, or of a connection at layer 4. */
  attempts = 0;
  /** Attempts that were not the first of their request, hedges included. */
  retries = 0;
  /** Attempts beside one that had not been answered yet. */
  hedges = 0;
  /** Connections opened. */
  connects = 0;
  /** Attempts that found a pooled connection. */
  reuses = 0;
  /** Connections in use now. */
  active = 0;
  /** Connections that wait in the pool now. */
  idle = 0;
  /** Bytes sent to the backend. */
  bytesSent = 0;
  /** Bytes received from the backend. */
  bytesReceived = 0;
  /** Failed attempts by error code. */
  readonly failures: Map<string, number> = new Map();

  /** Counts a failed attempt under its error code. */
  failed(code: string): void {
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }
}

/** What one listener sees of its clients, and its series by route and backend. */
export class ListenerMetrics {
  /** The listener's name. */
  readonly name: string;
  /** Connections accepted. */
  connectionsAccepted = 0;
  /** Connections open now. */
  connectionsActive = 0;
  /** Connections closed at once because a limit was reached. */
  connectionsRefused = 0;
  /** Failures of `accept` itself, such as running out of descriptors. */
  acceptErrors = 0;
  /** All bytes received from clients. */
  bytesReceived = 0;
  /** All bytes sent to clients. */
  bytesSent = 0;
  /** Retries and hedges that were not made because too many had been. */
  retryBudgetExhausted = 0;
  /** Requests and connections refused by the proxy itself, by error code. */
  readonly refusals: Map<string, number> = new Map();
  /** Connections that lb ended on its own account, by what they ran into. */
  readonly closes: Map<CloseReason, number> = new Map();
  /** gRPC calls by service and method. */
  readonly grpc: GrpcMetrics = new GrpcMetrics();
  readonly #requests = new Map<string, Map<string, RequestStats>>();
  readonly #upstreams = new Map<string, UpstreamStats>();

  /** Makes a listener's metrics; {@linkcode Metrics.listener} is the usual way to get one. */
  constructor(name: string) {
    this.name = name;
  }

  /** Counts a refusal under its error code. */
  refused(code: string): void {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
  }

  /** Counts connections that lb has ended; `undefined`, that one has ended by itself, counts for nothing. */
  closed(reason: CloseReason | undefined, count = 1): void {
    if (reason === undefined || count === 0) return;
    this.closes.set(reason, (this.closes.get(reason) ?? 0) + count);
  }

  /**
   * The series of a route and a backend, made at the first call.
   *
   * Ask for it when the attempt begins and keep it until the request is recorded: a call after the
   * backend or the route was forgotten would make the series anew and leave it behind.
   */
  requests(route: string, backend: string): RequestStats {
    let byBackend = this.#requests.get(route);
    if (byBackend === undefined) this.#requests.set(route, byBackend = new Map());
    let stats = byBackend.get(backend);
    if (stats === undefined) byBackend.set(backend, stats = new RequestStats(route, backend));
    return stats;
  }

  /** The series of a backend, made at the first call; keep it as {@linkcode requests} says. */
  upstream(backend: string): UpstreamStats {
    let stats = this.#upstreams.get(backend);
    if (stats === undefined) this.#upstreams.set(backend, stats = new UpstreamStats());
    return stats;
  }

  /** Every series of requests. Series may be added or forgotten while this is read. */
  *requestSeries(): Generator<RequestStats, void, undefined> {
    for (const byBackend of this.#requests.values()) yield* byBackend.values();
  }

  /** Every backend's series. Series may be added or forgotten while this is read. */
  upstreamSeries(): Iterable<[backend: string, stats: UpstreamStats]> {
    return this.#upstreams.entries();
  }

  /** Drops the series of a backend. */
  forgetBackend(backend: string): void {
    this.#upstreams.delete(backend);
    this.grpc.forgetBackend(backend);
    for (const [route, byBackend] of this.#requests) {
      byBackend.delete(backend);
      if (byBackend.size === 0) this.#requests.delete(route);
    }
  }

  /** Drops the series of a route. */
  forgetRoute(route: string): void {
    this.#requests.delete(route);
  }
}

/** The metrics of all listeners of one data plane. */
export class Metrics {
  /** Faults of lb itself that belong to no exchange; whoever catches them counts them. */
  internalErrors = 0;
  readonly #listeners = new Map<string, ListenerMetrics>();

  /** The metrics of a listener, made at the first call. */
  listener(name: string): ListenerMetrics {
    let metrics = this.#listeners.get(name);
    if (metrics === undefined) this.#listeners.set(name, metrics = new ListenerMetrics(name));
    return metrics;
  }

  /** The metrics of every listener. */
  listeners(): Iterable<ListenerMetrics> {
    return this.#listeners.values();
  }

  /**
   * Drops every series of a backend that is gone from the whole configuration, so that the coming and
   * going of backends leaves nothing behind. A request still in flight may go on recording.
   */
  forgetBackend(backend: string): void {
    for (const listener of this.#listeners.values()) listener.forgetBackend(backend);
  }

  /** Drops every series of a removed route, as {@linkcode forgetBackend} does for a backend. */
  forgetRoute(route: string): void {
    for (const listener of this.#listeners.values()) listener.forgetRoute(route);
  }
}

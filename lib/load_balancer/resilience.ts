/**
 * What keeps a balancer working while backends do not: checks, ejection, slow start, and names that are followed.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import type { Connect } from "../backend/connector.ts";
import { DnsFollower } from "../backend/discovery/dns.ts";
import type { FollowedName } from "../backend/discovery/names.ts";
import { parseNameServer } from "../backend/discovery/name_server.ts";
import { type Resolve, resolveByServer, resolveBySystem } from "../backend/discovery/resolver.ts";
import { ActiveChecks } from "../backend/health/active_checks.ts";
import { formatHealthCheck, resolveHealthCheck } from "../backend/health/check.ts";
import { OutlierDetection } from "../backend/health/outlier_detection.ts";
import { Reachability } from "../backend/health/reachability.ts";
import { SlowStart } from "../backend/health/slow_start.ts";
import type { BackendKnowledge, OutlierKnowledge, Standing } from "../backend/knowledge.ts";
import type { Registry } from "../backend/registry.ts";
import type { Clock } from "../common/clock.ts";
import { ProxyError } from "../common/errors.ts";
import { makeGrpcProbe } from "../grpc/health_probe.ts";
import { makeGrpcWatch } from "../grpc/health_watch.ts";
import { DEFAULT_POOL, type LoadBalancerOptions } from "./options.ts";

/** How long a start waits for names to be resolved the first time, in milliseconds. */
const FIRST_ANSWER_MS = 2_000;

/** What a {@linkcode Resilience} is made of. */
export interface ResilienceParts {
  /** Backends and routes. */
  readonly registry: Registry;
  /** For all deadlines. */
  readonly clock: Clock;
  /** Opens connections for checks. */
  readonly connect: Connect;
  /** What the user chose. */
  readonly options: LoadBalancerOptions;
  /** Finds what names stand for; the server of the options, or the system, unless given. */
  readonly resolve?: Resolve;
}

/** Watches the backends of one registry. */
export class Resilience {
  readonly #parts: ResilienceParts;
  readonly #resolve: Resolve;
  readonly #outliers: OutlierDetection | undefined;
  readonly #reachability: Reachability;
  readonly #slowStart: SlowStart | undefined;
  readonly #followers = new Map<FollowedName, DnsFollower>();
  #checks: ActiveChecks | undefined;
  /** What checks of another process have said, of backends that are not checked here yet. */
  readonly #standings = new Map<LiveBackend, Standing>();
  #starts = 0;

  /**
   * Ejection works at once, as does avoiding those that cannot be reached; the rest from {@linkcode start} to {@linkcode stop}.
   *
   * @throws {TypeError} When an option is out of its range.
   */
  constructor(parts: ResilienceParts) {
    this.#parts = parts;
    const { clock, connect, options } = parts;
    const { outlierDetection, slowStart = 0, healthCheck, caCerts, timeouts = {} } = options;
    const server = options.dns?.server;
    this.#resolve = parts.resolve ??
      (server === undefined ? resolveBySystem : resolveByServer(parseNameServer(server)));
    if (!(slowStart >= 0 && slowStart < Infinity)) {
      throw new TypeError(`slowStart ${slowStart}: milliseconds from 0 are accepted`);
    }
    if (outlierDetection !== false) this.#outliers = new OutlierDetection(clock, outlierDetection);
    if (slowStart > 0) this.#slowStart = new SlowStart(clock, slowStart);
    this.#reachability = new Reachability({
      clock,
      connect,
      timeout: timeouts.connect ?? DEFAULT_POOL.connectTimeout,
      ...(caCerts === undefined ? {} : { caCerts }),
    });
    // Bad options are refused here, not when the first listener opens.
    if (healthCheck !== undefined) resolveHealthCheck(healthCheck);
  }

  /** A backend is there. */
  add(backend: LiveBackend): void {
    this.#outliers?.add(backend);
    this.#reachability.add(backend);
    const slowStart = this.#slowStart;
    if (slowStart === undefined) return;
    backend.health.onChange((now) => {
      if (now.type === "healthy") slowStart.add(backend);
    });
  }

  /** A backend is gone. */
  remove(backend: LiveBackend): void {
    this.#outliers?.remove(backend);
    this.#reachability.remove(backend);
    this.#standings.delete(backend);
  }

  /** How backends are checked; `undefined` when they are not. */
  get check(): string | undefined {
    const { healthCheck } = this.#parts.options;
    return healthCheck && formatHealthCheck(resolveHealthCheck(healthCheck).check);
  }

  /** What is known of a backend, for the process that goes on. */
  collect(backend: LiveBackend): Omit<BackendKnowledge, "id" | "latency" | "limit"> {
    return {
      standing: this.#checks?.standing(backend) ?? this.#standings.get(backend),
      outlier: this.#outliers?.collect(backend),
      unreachable: unreachableBy(backend),
      warming: backend.health.warming,
    };
  }

  /** Goes on with what another process knew, `elapsed` milliseconds ago; to be called before {@linkcode start}. */
  resume(backend: LiveBackend, known: BackendKnowledge, elapsed: number): void {
    const { standing, outlier, unreachable, warming } = known;
    if (standing !== undefined && this.check !== undefined) {
      this.#standings.set(backend, standing);
      if (standing.reason !== undefined) backend.health.fail(standing.reason);
    }
    if (outlier !== undefined) this.#outliers?.resume(backend, age(outlier, elapsed));
    const watch = backend.connectWatch;
    if (unreachable !== undefined && watch !== undefined) {
      // As if it had just been tried here, so that it is tried again.
      const why = unreachable.replace(/^[a-z_]+: /, "");
      const error = new ProxyError("connect_failed", "upstream", why, { retry: "safe" });
      watch.onUnreached(error, watch.begin());
    }
    if (warming !== undefined && this.#slowStart !== undefined && backend.health.usable) {
      backend.health.warmUp(warming + elapsed);
      for (const pool of backend.pools) pool.refresh();
      this.#slowStart.add(backend);
    }
  }

  /** A name has its first pool. */
  follow(followed: FollowedName): void {
    if (this.#starts === 0) return;
    const { clock, options: { dns: { server: _, ...times } = {} } } = this.#parts;
    const { name, found } = followed;
    const resolve = this.#resolve;
    this.#followers.set(
      followed,
      new DnsFollower({ name, resolve, clock, sink: followed, known: found }, times),
    );
  }

  /** A name has left the last one. */
  unfollow(name: FollowedName): void {
    const follower = this.#followers.get(name);
    this.#followers.delete(name);
    void follower?.close();
  }

  /** Begins to check and to follow; waits a little for the addresses of names. */
  async start(): Promise<void> {
    if (this.#starts++ > 0) return;
    const { registry, clock, connect, options } = this.#parts;
    const { healthCheck, caCerts } = options;
    if (healthCheck !== undefined) {
      this.#checks = new ActiveChecks({
        backends: () => registry.backends,
        onChange: (listener) => registry.onChange(listener),
        clock,
        connect,
        ...(caCerts === undefined ? {} : { caCerts }),
        standing: (backend) => this.#takeStanding(backend),
        grpc: (service) => makeGrpcProbe(service, clock),
        grpcWatch: (service) =>
          makeGrpcWatch(service, {
            clock,
            connect,
            ...(caCerts === undefined ? {} : { caCerts }),
          }),
      }, healthCheck);
    }
    for (const name of registry.names) this.follow(name);
    // A name whose addresses another process has passed on need not be waited for.
    const unknown = [...this.#followers].filter(([{ found }]) => found.size === 0);
    if (unknown.length === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, FIRST_ANSWER_MS));
    const answers = Promise.all(unknown.map(([, follower]) => follower.settled));
    await Promise.race([answers, late]);
    clearTimeout(timer);
  }

  #takeStanding(backend: LiveBackend): Standing | undefined {
    const standing = this.#standings.get(backend);
    this.#standings.delete(backend);
    return standing;
  }

  /** The counterpart of {@linkcode start}; the last one ends checking and following. */
  async stop(): Promise<void> {
    if (--this.#starts > 0) return;
    const checks = this.#checks;
    this.#checks = undefined;
    // Whoever begins anew goes on with what these have said; health does not forget either.
    for (const backend of this.#parts.registry.backends) {
      const standing = checks?.standing(backend);
      if (standing !== undefined) this.#standings.set(backend, standing);
    }
    const followers = [...this.#followers.values()];
    this.#followers.clear();
    await Promise.all([checks?.close(), ...followers.map((follower) => follower.close())]);
  }

  /** Ends what works without a start; resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#outliers?.close();
    this.#slowStart?.close();
    await this.#reachability.close();
  }
}

function unreachableBy({ health }: LiveBackend): string | undefined {
  if (health.reachable) return undefined;
  return health.state.type === "unreachable" ? health.state.reason : "no connection was opened";
}

/** What is left after a while of what was collected. */
function age(outlier: OutlierKnowledge, elapsed: number): OutlierKnowledge {
  const { interval, ejected } = outlier;
  return {
    ...outlier,
    interval: Math.max(interval - elapsed, 0),
    ...(ejected === undefined
      ? {}
      : { ejected: { ...ejected, left: Math.max(ejected.left - elapsed, 0) } }),
  };
}

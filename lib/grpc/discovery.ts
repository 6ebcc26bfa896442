/**
 * Reflection-driven routing: reads the services of backends from their reflection, and keeps the routes that
 * follow from them up to date.
 *
 * A backend is asked at once when it comes, when a connection to it has ended or another one was opened, and
 * otherwise at an interval; one that does not answer is asked again soon, then less and less often. What
 * was last known of it stays until it says something else, so that calls to a backend that is down fail as
 * such. Nobody waits for any of this but the start of the balancer, and that not for long.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import { isInfrastructure } from "../backend/discovered_routes.ts";
import type { Registry } from "../backend/registry.ts";
import type { Clock, Timed } from "../common/clock.ts";
import { describeError } from "../common/errors.ts";
import { getLogger } from "../observe/logger.ts";
import { parseServiceName } from "../route/pattern.ts";
import type { Answer } from "./reflection/source.ts";
import { GrpcStatus } from "./status.ts";

/** How often a backend is asked for its services unless another interval is chosen, in milliseconds. */
export const DEFAULT_DISCOVERY_INTERVAL = 30_000;
/** The longest interval, a day, in milliseconds. */
export const MAX_DISCOVERY_INTERVAL = 86_400_000;
/** How long the start waits for backends to be asked the first time, in milliseconds. */
const FIRST_ROUND_MS = 2_000;
/** How soon after an answer or a failure a backend is asked again, in milliseconds; doubled each time. */
const SOON_MS = 250;
/** The longest pause before a backend that has failed is asked again, in milliseconds. */
const MAX_RETRY_MS = 2_000;
/** How often a pause is doubled at most; any limit is reached by then. */
const MAX_DOUBLINGS = 16;
/** After so long without being asked a backend counts as quiet, in milliseconds. */
const QUIET_MS = 10_000;
/** Pauses vary by this part in either direction, so that backends are not all asked at once. */
const JITTER = 0.1;
/** The most services that are taken from one backend. */
const MAX_SERVICES = 1_000;

const log = getLogger("discovery");

/** Who asks a backend; {@linkcode AggregatedReflection} does. */
export interface ServiceLister {
  /** Its services, or an error; `undefined` for a backend that is gone. Bounded in time, never rejects. */
  list(backend: LiveBackend): Promise<Answer | undefined>;
}

/** What {@linkcode Discovery} is made of. */
export interface DiscoveryOptions {
  /** The backends, and where their services are put. */
  readonly registry: Registry;
  /** Watches the time. */
  readonly clock: Clock;
  /** Makes who asks, when the first backend is to be asked. */
  readonly lister: () => Promise<ServiceLister>;
  /** How often a backend is asked, in milliseconds. */
  readonly interval: number;
  /** From 0 to below 1; `Math.random` unless given. */
  readonly random?: () => number;
}

/** Asks the backends whose services are to be discovered, from {@linkcode start} to {@linkcode stop}. */
export class Discovery {
  readonly #options: DiscoveryOptions;
  readonly #probes = new Map<LiveBackend, Probe>();
  #unsubscribe: (() => void) | undefined;
  /** How many have begun it and not ended it. */
  #users = 0;

  /** Asks nobody yet. */
  constructor(options: DiscoveryOptions) {
    this.#options = options;
  }

  /**
   * Begins, unless it has begun. Resolves when every backend of now has been asked, answer or not, or after two
   * seconds.
   */
  async start(): Promise<void> {
    this.#users++;
    this.#unsubscribe ??= this.#options.registry.onChange(() => this.#reconcile());
    this.#reconcile();
    const asked = Array.from(this.#probes.values(), ({ first }) => first);
    if (asked.length === 0) return;
    const { clock } = this.#options;
    const late = Promise.withResolvers<void>();
    const timed: Timed = { deadline: Infinity, onDeadline: late.resolve };
    clock.watch(timed);
    clock.arm(timed, FIRST_ROUND_MS);
    await Promise.race([Promise.all(asked), late.promise]);
    clock.unwatch(timed);
  }

  /** Ends with the last of those who have begun it; what is known stays. */
  stop(): void {
    if (--this.#users > 0) return;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    for (const probe of this.#probes.values()) probe.stop();
    this.#probes.clear();
  }

  /** How often each backend has failed to answer, by its id, since it was asked first. */
  *failures(): Iterable<readonly [backend: string, count: number]> {
    for (const [{ id }, { failures }] of this.#probes) yield [id, failures];
  }

  #reconcile(): void {
    const gone = new Set(this.#probes.keys());
    for (const backend of this.#options.registry.discovered.backends) {
      if (gone.delete(backend)) continue;
      const probe = new Probe(backend, this.#options);
      this.#probes.set(backend, probe);
      probe.ask();
    }
    for (const backend of gone) {
      this.#probes.get(backend)!.stop();
      this.#probes.delete(backend);
    }
  }
}

/** Asks one backend again and again. */
class Probe implements Timed {
  deadline = Infinity;
  /** How often it has failed. */
  failures = 0;
  readonly #backend: LiveBackend;
  readonly #options: DiscoveryOptions;
  readonly #first = Promise.withResolvers<void>();
  #asking = false;
  #askedAt = -Infinity;
  /** Failures since the last answer. */
  #failing = 0;
  /** How often it was asked out of turn since it was quiet, and whether it is now. */
  #hurried = 0;
  #hurry = false;
  readonly #warned = new Set<string>();
  #stopped = false;

  constructor(backend: LiveBackend, options: DiscoveryOptions) {
    this.#backend = backend;
    this.#options = options;
    options.clock.watch(this);
    backend.h2.onConnection = (event) => this.#onConnection(event);
  }

  /** Resolves when it has been asked once. */
  get first(): Promise<void> {
    return this.#first.promise;
  }

  stop(): void {
    this.#stopped = true;
    this.#options.clock.unwatch(this);
    this.#backend.h2.onConnection = undefined;
    this.#first.resolve();
  }

  onDeadline(): void {
    this.ask();
  }

  /** Asks now, unless that is being done. */
  ask(): void {
    if (this.#asking || this.#stopped) return;
    this.#asking = true;
    if (this.#hurry) this.#hurried++;
    this.#hurry = false;
    this.#options.clock.disarm(this);
    void this.#ask();
  }

  async #ask(): Promise<void> {
    const { clock, lister, interval } = this.#options;
    let pause = interval;
    try {
      const answer = await (await lister()).list(this.#backend);
      if (answer === undefined || this.#stopped) return;
      if (answer.type === "services") this.#onServices(answer.names);
      else if (answer.type === "error") pause = this.#onFailure(answer.code, answer.message);
    } catch (error) {
      pause = this.#onFailure(GrpcStatus.Internal, describeError(error));
    } finally {
      this.#asking = false;
      this.#askedAt = clock.now();
      this.#first.resolve();
      if (!this.#stopped) this.#arm(pause);
    }
  }

  #arm(pause: number): void {
    const { clock, random = Math.random } = this.#options;
    clock.arm(this, pause * (1 - JITTER + 2 * JITTER * random()));
  }

  #onServices(names: readonly string[]): void {
    const services = new Set<string>();
    for (const name of names) {
      if (isInfrastructure(name)) continue;
      if (!isServiceName(name)) {
        this.#warn("a backend lists what is no name of a service", { name });
      } else if (services.size < MAX_SERVICES) services.add(name);
      else this.#warn("a backend lists too many services; the rest is left out", { MAX_SERVICES });
    }
    if (this.#failing > 0) {
      this.#failing = 0;
      this.#warned.clear();
      log.info("a backend lists its services again", { backend: this.#backend.addr });
    }
    this.#options.registry.setServices(this.#backend, services);
  }

  /** How long to wait then. */
  #onFailure(code: number, reason: string): number {
    this.failures++;
    const kept = this.#options.registry.servicesOf(this.#backend);
    this.#warn("the services of a backend cannot be read", {
      reason,
      kept: kept === undefined ? "none was known" : kept.size,
    });
    const { interval } = this.#options;
    const retries = this.#failing++;
    // Who is there and refuses will do so for a while.
    return code === GrpcStatus.Unavailable || code === GrpcStatus.DeadlineExceeded
      ? Math.min(interval, MAX_RETRY_MS, SOON_MS * 2 ** Math.min(retries, MAX_DOUBLINGS))
      : interval;
  }

  /** A backend that goes on with the same is not logged again. */
  #warn(message: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    log.warning(message, { backend: this.#backend.addr, ...fields });
  }

  /**
   * A connection that has ended may mean that the backend was started anew, and one that was opened that it
   * can be reached again.
   */
  #onConnection(event: "opened" | "ended"): void {
    // While it is asked the connections are its own. One that does not answer is asked in its turn.
    if (this.#asking || (event === "ended" && this.#failing > 0)) return;
    const { clock, interval } = this.#options;
    const quiet = clock.now() - this.#askedAt;
    if (quiet >= Math.min(interval, QUIET_MS)) this.#hurried = 0;
    const pause = Math.min(interval, SOON_MS * 2 ** Math.min(this.#hurried, MAX_DOUBLINGS)) - quiet;
    if (clock.time + pause >= this.deadline) return;
    this.#hurry = true;
    if (pause <= 0) this.ask();
    else this.#arm(pause);
  }
}

function isServiceName(name: string): boolean {
  try {
    parseServiceName(name);
    return true;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

/**
 * A backend: one address that serves, as configured and as it lives.
 *
 * @module
 */
import { type Address, formatAddress } from "../common/address.ts";
import type { Clock } from "../common/clock.ts";
import { PeakLatency } from "../strategy/peak_latency.ts";
import type { ConnectWatch } from "./connector.ts";
import type { H1Pool } from "./h1_pool.ts";
import type { H2Pool } from "./h2_pool.ts";
import { BackendHealth } from "./health/backend_health.ts";
import type { RequestLimit } from "./limits.ts";
import type { Outcome, OutcomeListener } from "./outcome.ts";

/** A backend as it is configured. */
export interface Backend {
  /**
   * `host:port`, `http://…`, `https://…`, `[::1]:port` or `unix:/path`. `https` connects with TLS and
   * checks the certificate for the host. All addresses of a name are used and followed: `dns:name:port`,
   * `dns+https://name[:port]` or another scheme, whose certificates must be for the name, `srv:_service._proto.name`
   * or `srv+https://…`.
   */
  readonly addr: string;
  /** Share of the traffic relative to the others, an integer from 0 to 65535; 1 unless given. */
  readonly weight?: number;
  /**
   * Whether its services are read from its reflection and routed to it, on a gRPC balancer at layer 7; as the
   * balancer does with all backends unless given.
   */
  readonly discoverServices?: boolean;
}

/**
 * Where a backend stands.
 *
 * - `active`: it is picked.
 * - `draining`: it finishes what it has and is not picked.
 * - `removed`: it has left the configuration and finishes what it has.
 */
export type BackendState = "active" | "draining" | "removed";

/** A set that backends are members of, as far as a backend knows it; {@linkcode Pool} is the only kind. */
export interface Membership {
  /** Its name. */
  readonly name: string;
  /** How many members it has. */
  readonly size: number;
  /** Its members, those included that are not picked. */
  readonly backends: Iterable<LiveBackend>;
  /** Puts a backend in with a weight, or changes the weight it has. */
  set(backend: LiveBackend, weight: number): void;
  /** Takes a backend out; says whether it was in. */
  delete(backend: LiveBackend): boolean;
  /** Takes note that the state of a member has changed. */
  refresh(): void;
  /**
   * Judges whether it can do without a member that is to be ejected, when it may do without `share` of the active ones;
   * where it cannot, the member is picked on here.
   */
  spare(backend: LiveBackend, share: number): boolean;
}

/** What a {@linkcode LiveBackend} is made of. */
export interface BackendParts {
  /** Pooled HTTP/1.1 connections. */
  readonly http: H1Pool;
  /** Shared HTTP/2 connections. */
  readonly h2: H2Pool;
  /** Measures latency. */
  readonly clock: Pick<Clock, "now" | "time">;
  /** How long it takes to its whole share after it came back, in milliseconds; 0, at once, unless given. */
  readonly slowStart?: number;
  /** How many requests it may have in flight; any number unless given. */
  readonly limit?: RequestLimit | undefined;
}

/**
 * One address with what belongs to it at run time, shared by every pool and route that names it. A
 * {@linkcode Lease} counts each use.
 */
export class LiveBackend {
  /** Stable name, made from the address: the same address has the same id after a restart. */
  readonly id: string;
  /** The address in its normal form. */
  readonly addr: string;
  /** The address, parsed. */
  readonly address: Address;
  /** Pooled HTTP/1.1 connections. */
  readonly http: H1Pool;
  /** Shared HTTP/2 connections. */
  readonly h2: H2Pool;
  /** Whether it is picked. */
  state: BackendState = "active";
  /** Whether its services are to be discovered; `undefined` when nobody has said so of this one. */
  discovers: boolean | undefined;
  /** Whether it is fit to be picked. */
  readonly health: BackendHealth;
  /** How long it takes to answer. */
  readonly latency: PeakLatency = new PeakLatency();
  /** Told what came of each attempt. */
  onOutcome: OutcomeListener | undefined;
  /** How many requests it may have in flight. */
  readonly limit: RequestLimit | undefined;
  /** Told when it has one request less; where there is a limit only. */
  onRoom: ((backend: LiveBackend) => void) | undefined;
  /** The pools it is a member of; they keep this themselves. */
  readonly pools: Set<Membership> = new Set();
  /** Requests, or connections at layer 4, that it serves now. */
  inFlight = 0;
  readonly #now: () => number;
  #idle: (() => void)[] = [];
  #connectWatch: ConnectWatch | undefined;

  /** Made by the registry. */
  constructor(id: string, address: Address, parts: BackendParts) {
    this.id = id;
    this.addr = formatAddress(address);
    this.address = address;
    this.http = parts.http;
    this.h2 = parts.h2;
    this.#now = () => parts.clock.now();
    this.limit = parts.limit;
    if (this.limit !== undefined) this.limit.mayMeasure = (now) => !this.#neighbourMeasures(now);
    const { slowStart = 0 } = parts;
    this.health = new BackendHealth({ now: () => parts.clock.time, slowStart });
  }

  /** The estimate of its latency now, in milliseconds, for strategies that ask. */
  get peakLatency(): number {
    return this.latency.read(this.#now());
  }

  /** Whether it has as many requests as it may have. */
  get full(): boolean {
    return this.limit !== undefined && this.inFlight >= this.limit.limit(this.#now());
  }

  /** Watches whether connections to it can be opened, pooled ones and others. */
  get connectWatch(): ConnectWatch | undefined {
    return this.#connectWatch;
  }

  set connectWatch(watch: ConnectWatch | undefined) {
    this.#connectWatch = this.http.watch = this.h2.watch = watch;
  }

  /** Whether another member of one of its pools has its limit measured, so that the others have to do more. */
  #neighbourMeasures(now: number): boolean {
    for (const pool of this.pools) {
      for (const other of pool.backends) {
        if (other !== this && other.limit?.measures(now) === true) return true;
      }
    }
    return false;
  }

  /** Takes the right to use this backend for one attempt. */
  acquire(): Lease {
    this.inFlight++;
    return new Lease(this, this.#now());
  }

  /** The time of the clock. */
  get now(): number {
    return this.#now();
  }

  /**
   * Called by the lease: what came of an attempt that began at `started`.
   *
   * @param answered When its answer began; now unless given.
   */
  report(outcome: Outcome, started: number, answered?: number): void {
    const now = this.#now();
    const latency = (answered ?? now) - started;
    if (outcome.type === "answered") this.latency.observe(latency, now);
    else if (outcome.type !== "expired") this.latency.punish(latency, now, outcome.retryAfter);
    else if (latency > this.latency.read(now)) this.latency.observe(latency, now);
    this.limit?.observe(outcome, latency, this.inFlight, now);
    this.onOutcome?.(outcome, latency);
  }

  /** Called by the lease. */
  settle(): void {
    this.inFlight--;
    this.onRoom?.(this);
    if (this.inFlight > 0) return;
    if (this.state !== "active") this.closeIdle();
    if (this.#idle.length > 0) {
      const waiting = this.#idle;
      this.#idle = [];
      for (const resolve of waiting) resolve();
    }
  }

  /** Closes what is pooled and unused; connections whose streams are under way end after them. */
  closeIdle(): void {
    this.http.closeIdle();
    this.h2.drain();
  }

  /**
   * Gives back descriptors of which there are too few. A connection of each kind stays: the descriptor that the last
   * one leaves goes to whoever waits to come in, and those who are in could be served no more.
   */
  shedIdle(): void {
    this.http.closeIdle(1);
    this.h2.shedIdle();
  }

  /** Resolves when nothing is in flight. */
  whenIdle(): Promise<void> {
    if (this.inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }
}

/** The right to use one backend for one attempt; given back exactly once. */
export class Lease {
  /** The backend. */
  readonly backend: LiveBackend;
  readonly #started: number;
  #answered: number | undefined;
  #reported = false;
  #held = true;

  /** Made by {@linkcode LiveBackend.acquire}. */
  constructor(backend: LiveBackend, started: number) {
    this.backend = backend;
    this.#started = started;
  }

  /** Whether an answer has begun. */
  get answered(): boolean {
    return this.#answered !== undefined;
  }

  /** An answer has begun whose end will tell what came of the attempt; latency is what has passed until now. */
  answering(): void {
    this.#answered = this.backend.now;
  }

  /**
   * Says what came of the attempt, as soon as that is known: for an answer, when its head is there. The first
   * report counts. An attempt that says nothing about the backend is not reported.
   */
  report(outcome: Outcome): void {
    if (this.#reported) return;
    this.#reported = true;
    this.backend.report(outcome, this.#started, this.#answered);
  }

  /** Gives the right back; later calls do nothing. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.backend.settle();
  }
}

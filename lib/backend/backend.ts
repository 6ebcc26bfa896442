/**
 * A backend: one address that serves, as configured and as it lives.
 *
 * @module
 */
import { type Address, formatAddress } from "../common/address.ts";
import type { H1Pool } from "./h1_pool.ts";
import type { H2Pool } from "./h2_pool.ts";

/** A backend as it is configured. */
export interface Backend {
  /**
   * `host:port`, `http://…`, `https://…`, `[::1]:port` or `unix:/path`. `https` connects with TLS and
   * checks the certificate for the host.
   */
  readonly addr: string;
  /** Share of the traffic relative to the others, an integer from 0 to 65535; 1 unless given. */
  readonly weight?: number;
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
  /** Puts a backend in with a weight, or changes the weight it has. */
  set(backend: LiveBackend, weight: number): void;
  /** Takes a backend out; says whether it was in. */
  delete(backend: LiveBackend): boolean;
  /** Takes note that the state of a member has changed. */
  refresh(): void;
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
  /** The pools it is a member of; they keep this themselves. */
  readonly pools: Set<Membership> = new Set();
  /** Requests, or connections at layer 4, that it serves now. */
  inFlight = 0;
  #idle: (() => void)[] = [];

  /** Made by the registry. */
  constructor(
    id: string,
    address: Address,
    pools: { readonly http: H1Pool; readonly h2: H2Pool },
  ) {
    this.id = id;
    this.addr = formatAddress(address);
    this.address = address;
    this.http = pools.http;
    this.h2 = pools.h2;
  }

  /** Takes the right to use this backend for one attempt. */
  acquire(): Lease {
    this.inFlight++;
    return new Lease(this);
  }

  /** Called by the lease. */
  settle(): void {
    this.inFlight--;
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
  #held = true;

  /** Made by {@linkcode LiveBackend.acquire}. */
  constructor(backend: LiveBackend) {
    this.backend = backend;
  }

  /** Gives the right back; later calls do nothing. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.backend.settle();
  }
}

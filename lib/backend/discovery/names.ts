/**
 * Names in pools: the addresses that a name stands for are members of every pool that has the name.
 *
 * @module
 */
import { type DnsName, formatDnsName, parseDnsName, serverNameOf } from "../../common/dns_name.ts";
import { stableId } from "../../common/stable_id.ts";
import type { LiveBackend } from "../backend.ts";
import type { Pool } from "../pool.ts";
import type { Added } from "../registry_options.ts";
import { checkWeight, MAX_WEIGHT } from "../weight.ts";
import type { DnsSink } from "./dns.ts";

/** Told which names are to be followed. */
export interface NameWatcher {
  /** A name has its first pool. */
  onNameAdded(name: FollowedName): void;
  /** It has left the last one. */
  onNameRemoved(name: FollowedName): void;
}

/** What names do to backends; the registry does it for them. */
export interface NameHost {
  /** With the ids of names. */
  readonly scheme: string;
  /** The backend at an address, made if it is not there. */
  ensure(addr: string, serverName: string | undefined): LiveBackend;
  /** Picks a backend, again if it was draining. */
  activate(backend: LiveBackend): void;
  /** Picks a backend no more. */
  drain(backend: LiveBackend): void;
  /** A name has left a backend alone; it goes unless something else names it. */
  release(backend: LiveBackend): void;
  /** @throws {TypeError} When services cannot be discovered. */
  checkDiscovery(discovers: boolean): void;
  /** Says whether the services of a backend are to be discovered. */
  setDiscovery(backend: LiveBackend, discovers: boolean): void;
  /** A name was taken out of a pool, which may be empty now. */
  onLeft(pool: Pool): void;
  /** Something has changed. */
  onChange(): void;
}

/** How a name is put into a pool. */
export interface NameSettings {
  /** The weight of each of its addresses; 1 unless given, or what it has. */
  readonly weight?: number | undefined;
  /** As of {@linkcode Backend}. */
  readonly discoverServices?: boolean | undefined;
}

/** A backend that a name stands for. */
interface Entry {
  readonly backend: LiveBackend;
  /** As it was found. */
  readonly weight: number;
}

/** One name, shared by all pools that have it. */
export class FollowedName implements DnsSink {
  /** Stable, as those of backends. */
  readonly id: string;
  /** The name as text. */
  readonly text: string;
  /** The name. */
  readonly name: DnsName;
  /** The pools that have it. */
  readonly pools: Set<Pool> = new Set();
  /** The last good answer: weights by address. Whoever follows the name keeps it. */
  readonly found: Map<string, number> = new Map();
  /** Whether its addresses are picked. */
  state: "active" | "draining" = "active";
  /** Whether the services of its addresses are to be discovered, if somebody has said so. */
  discovers: boolean | undefined;
  readonly #host: NameHost;
  readonly #all: Names;
  readonly #entries = new Map<string, Entry>();

  /** Made by {@linkcode Names}. */
  constructor(name: DnsName, host: NameHost, all: Names) {
    this.name = name;
    this.text = formatDnsName(name);
    this.id = stableId("d", `${host.scheme} ${this.text}`);
    this.#host = host;
    this.#all = all;
  }

  /** The backends that it stands for now, but for those that were taken out by hand. */
  get backends(): LiveBackend[] {
    return Array.from(this.#entries.values(), ({ backend }) => backend);
  }

  /** Whether a backend is one of them. */
  has(backend: LiveBackend): boolean {
    return this.#find(backend) !== undefined;
  }

  #find(backend: LiveBackend): Entry | undefined {
    for (const entry of this.#entries.values()) if (entry.backend === backend) return entry;
    return undefined;
  }

  add(addr: string, weight: number): void {
    const entry = { backend: this.#host.ensure(addr, serverNameOf(this.name)), weight };
    this.#entries.set(addr, entry);
    for (const pool of this.pools) this.#put(pool, entry);
    if (this.discovers !== undefined) this.#host.setDiscovery(entry.backend, this.discovers);
    // One that was drained by hand stays so.
    if (this.state === "draining") this.#host.drain(entry.backend);
    else if (entry.backend.state === "active") this.#host.activate(entry.backend);
    this.#host.onChange();
  }

  remove(addr: string): void {
    const entry = this.#entries.get(addr);
    if (entry === undefined) return;
    this.#entries.delete(addr);
    for (const pool of this.pools) this.#take(pool, entry.backend);
    this.#host.release(entry.backend);
  }

  /** A backend is gone for good. It stays out until the name has lost it and has it again. */
  forget(backend: LiveBackend): void {
    for (const [addr, entry] of this.#entries) {
      if (entry.backend === backend) this.#entries.delete(addr);
    }
  }

  /** Begins with an answer that another process had, unless it has one. */
  resume(found: Iterable<readonly [addr: string, weight: number]>): void {
    if (this.found.size > 0) return;
    for (const [addr, weight] of found) {
      this.found.set(addr, weight);
      this.add(addr, weight);
    }
  }

  /** Enters a pool, or gets another weight there. */
  enter(pool: Pool, weight: number): void {
    this.pools.add(pool);
    pool.names.set(this.text, weight);
    for (const entry of this.#entries.values()) this.#put(pool, entry);
  }

  /** Leaves a pool. */
  leave(pool: Pool): void {
    this.pools.delete(pool);
    pool.names.delete(this.text);
    for (const { backend } of [...this.#entries.values()]) {
      this.#take(pool, backend);
      this.#host.release(backend);
    }
  }

  /** A backend that a pool was given by its address has the weight that it was given with. */
  #put(pool: Pool, { backend, weight }: Entry): void {
    if (pool.get(backend)?.followed === false) return;
    const share = pool.names.get(this.text)!;
    pool.set(
      backend,
      this.name.type === "srv" ? Math.min(weight * share, MAX_WEIGHT) : share,
      true,
    );
  }

  #take(pool: Pool, backend: LiveBackend): void {
    if (pool.get(backend)?.followed !== true) return;
    const other = this.#all.of(pool).find((name) => name !== this && name.has(backend));
    if (other === undefined) pool.delete(backend);
    else other.#put(pool, other.#find(backend)!);
  }
}

/** The names of one registry. */
export class Names implements Iterable<FollowedName> {
  readonly #host: NameHost;
  readonly #names = new Map<string, FollowedName>();
  /** Follows them. */
  watcher: NameWatcher | undefined;

  /** There are none yet. */
  constructor(host: NameHost) {
    this.#host = host;
  }

  [Symbol.iterator](): Iterator<FollowedName> {
    return this.#names.values();
  }

  /** The name that an id or a text means. */
  find(text: string): FollowedName | undefined {
    const known = this.#names.get(text);
    if (known !== undefined) return known;
    for (const name of this) if (name.id === text) return name;
    return undefined;
  }

  /** The names that a pool has. */
  of(pool: Pool): FollowedName[] {
    return Array.from(pool.names.keys(), (text) => this.#names.get(text)!);
  }

  /** The names that stand for a backend. */
  withBackend(backend: LiveBackend): FollowedName[] {
    return [...this].filter((name) => name.has(backend));
  }

  /**
   * Puts a name into a pool, or sets its weight there; where it is draining, its addresses are picked again.
   *
   * @throws {TypeError} When it is no name, or a setting is not valid.
   */
  add(text: string, pool: Pool, settings: NameSettings = {}): Added<FollowedName> {
    const { weight, discoverServices } = settings;
    const name = parseDnsName(text);
    if (weight !== undefined) checkWeight(weight);
    if (discoverServices !== undefined) this.#host.checkDiscovery(discoverServices);
    const normal = formatDnsName(name);
    const known = this.#names.get(normal);
    const current = pool.names.get(normal);
    const followed = known ?? new FollowedName(name, this.#host, this);
    this.#names.set(normal, followed);
    followed.enter(pool, weight ?? current ?? 1);
    followed.state = "active";
    followed.discovers = discoverServices ?? followed.discovers;
    for (const backend of followed.backends) {
      if (discoverServices !== undefined) this.#host.setDiscovery(backend, discoverServices);
      this.#host.activate(backend);
    }
    if (known === undefined) this.watcher?.onNameAdded(followed);
    this.#host.onChange();
    return { value: followed, created: current === undefined };
  }

  /** Picks the addresses of a name no more, those that it gets later included. */
  drain(name: FollowedName): void {
    name.state = "draining";
    for (const backend of name.backends) this.#host.drain(backend);
    this.#host.onChange();
  }

  /**
   * Sets the weight of the addresses of a name in every pool that has it.
   *
   * @throws {TypeError} When the weight is not valid.
   */
  setWeight(name: FollowedName, weight: number): void {
    checkWeight(weight);
    for (const pool of name.pools) name.enter(pool, weight);
    this.#host.onChange();
  }

  /** Takes a name out of a pool; it is followed no more when that was the last one. */
  leave(name: FollowedName, pool: Pool): void {
    name.leave(pool);
    if (name.pools.size === 0 && this.#names.delete(name.text)) this.watcher?.onNameRemoved(name);
    this.#host.onChange();
  }

  /** Takes a name out of everything; its addresses go with it unless something else names them. */
  remove(name: FollowedName): void {
    for (const pool of [...name.pools]) {
      this.leave(name, pool);
      this.#host.onLeft(pool);
    }
  }

  /** A backend is gone for good. */
  forget(backend: LiveBackend): void {
    for (const name of this) name.forget(backend);
  }
}

/**
 * Backends that are given by name: all addresses of the name are used, and followed as they change.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import { type DnsName, formatDnsName } from "../../common/dns_name.ts";
import { describeError } from "../../common/errors.ts";
import { getLogger } from "../../observe/logger.ts";
import type { Resolve, Resolved } from "./resolver.ts";

/** What a name is followed for. */
export interface DnsSink {
  /** An address is there, or has another weight. Must not throw. */
  add(addr: string, weight: number): void;
  /** An address is gone. Must not throw. */
  remove(addr: string): void;
}

/** How names are followed. Times are in milliseconds. */
export interface DnsOptions {
  /** From one answer to the next question, give or take a tenth. Default 30,000. */
  readonly interval?: number;
  /** The same after a failure; doubled with each one up to the interval. Default 1,000. */
  readonly retryInterval?: number;
  /** How long an answer may take. Default 5,000. */
  readonly timeout?: number;
  /**
   * The only name server that is asked, for A, AAAA and SRV records: an IP address, with a port if that is not 53, such
   * as `127.0.0.1:8600`. Unless given the system is asked, which has a hosts file and servers of its own.
   */
  readonly server?: string;
}

/** When names are asked for. */
export type DnsTimes = Omit<DnsOptions, "server">;

/** The defaults of {@linkcode DnsTimes}. */
export const DEFAULT_DNS: Required<DnsTimes> = {
  interval: 30_000,
  retryInterval: 1_000,
  timeout: 5_000,
};

/** What following is made of. */
export interface DnsParts {
  /** The name. */
  readonly name: DnsName;
  /** Finds what it stands for. */
  readonly resolve: Resolve;
  /** Told what it stands for. */
  readonly sink: DnsSink;
  /** The last good answer, weights by address, of which the sink knows; it is kept up to date. None unless given. */
  readonly known?: Map<string, number>;
  /** For all deadlines. */
  readonly clock: Clock;
  /** Chance from 0 up to but not 1; `Math.random` unless given. */
  readonly random?: () => number;
}

const JITTER = 0.1;

const log = getLogger("dns");

/**
 * Follows one name. A failure, or an answer without addresses, changes nothing: the last good answer holds until there
 * is another one, because a name server that is down says nothing about the backends.
 */
export class DnsFollower implements Timed {
  readonly #parts: DnsParts;
  readonly #options: Required<DnsTimes>;
  readonly #known: Map<string, number>;
  #asking: { readonly abort: AbortController; readonly end: Promise<void> } | undefined;
  #failures = 0;
  #closed = false;
  deadline = Infinity;

  /**
   * Asks for the first time.
   *
   * @throws {TypeError} When an option is out of its range.
   */
  constructor(parts: DnsParts, options: DnsTimes = {}) {
    this.#parts = parts;
    this.#known = parts.known ?? new Map();
    this.#options = { ...DEFAULT_DNS, ...options };
    for (const [name, value] of Object.entries(this.#options)) {
      if (!(value > 0 && Number.isFinite(value))) {
        throw new TypeError(`dns ${name} ${value}: milliseconds above 0 are accepted`);
      }
    }
    parts.clock.watch(this);
    this.#ask();
  }

  /** Resolves when the question that is under way has been answered, or has failed. */
  get settled(): Promise<void> {
    return this.#asking?.end ?? Promise.resolve();
  }

  #ask(): void {
    const { name, resolve, clock } = this.#parts;
    const { timeout } = this.#options;
    const abort = new AbortController();
    clock.arm(this, timeout);
    // Not every resolver can be interrupted; what comes late is ignored.
    const aborted = new Promise<never>((_, reject) => {
      abort.signal.addEventListener(
        "abort",
        () => reject(new Error(`no answer within ${timeout} ms`)),
      );
    });
    const end = Promise.race([resolve(name, abort.signal), aborted]).then(
      (found) => this.#settle(found),
      (error) => this.#settle(undefined, error),
    );
    this.#asking = { abort, end };
  }

  onDeadline(): void {
    if (this.#asking === undefined) this.#ask();
    else this.#asking.abort.abort();
  }

  #settle(found: readonly Resolved[] | undefined, error?: unknown): void {
    this.#asking = undefined;
    if (this.#closed) return;
    const { clock, random = Math.random } = this.#parts;
    const { interval, retryInterval } = this.#options;
    if (found !== undefined && found.length > 0) {
      if (this.#failures > 0) log.info("a name is resolved again", { name: this.#name });
      this.#failures = 0;
      this.#take(found);
    } else if (this.#failures++ === 0) {
      log.warning("a name cannot be resolved; its last addresses are kept", {
        name: this.#name,
        addresses: this.#known.size,
        error: error === undefined ? "the answer is empty" : describeError(error),
      });
    }
    const delay = this.#failures === 0
      ? interval
      : Math.min(retryInterval * 2 ** Math.min(this.#failures - 1, 20), interval);
    clock.arm(this, delay * (1 + JITTER * (2 * random() - 1)));
  }

  get #name(): string {
    return formatDnsName(this.#parts.name);
  }

  #take(found: readonly Resolved[]): void {
    const { sink } = this.#parts;
    const weights = new Map<string, number>();
    for (const { addr, weight } of found) weights.set(addr, (weights.get(addr) ?? 0) + weight);
    // First in, then out: there is no moment without any.
    for (const [addr, weight] of weights) {
      if (this.#known.get(addr) === weight) continue;
      if (!this.#known.has(addr)) log.info("a name has an address", { name: this.#name, addr });
      this.#known.set(addr, weight);
      sink.add(addr, weight);
    }
    for (const addr of [...this.#known.keys()]) {
      if (weights.has(addr)) continue;
      log.info("a name has an address no more", { name: this.#name, addr });
      this.#known.delete(addr);
      sink.remove(addr);
    }
  }

  /** Follows it no more; the addresses stay. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#parts.clock.unwatch(this);
    this.#asking?.abort.abort();
    await this.settled;
  }
}

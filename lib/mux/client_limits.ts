/**
 * How many connections each client may have.
 *
 * @module
 */
import { clientKey } from "../common/client_key.ts";
import type { Duplex } from "../common/duplex.ts";

/** How a {@linkcode ClientLimits} is made. */
export interface ClientLimitsOptions {
  /** Connections of one address at a time, IPv6 addresses counted by /64; an integer of at least 1. */
  readonly maxConnections: number;
  /** Whether a peer stands for many clients, such as a proxy in front, and is not limited. */
  readonly isExempt: (address: string) => boolean;
}

/** Counts the connections of each client of a listener. What it holds is bounded by the connections there are. */
export class ClientLimits {
  readonly #max: number;
  readonly #isExempt: (address: string) => boolean;
  readonly #counts = new Map<string, number>();

  /**
   * Begins with no connection.
   *
   * @throws {TypeError} When an option is out of its range.
   */
  constructor({ maxConnections, isExempt }: ClientLimitsOptions) {
    if (!Number.isInteger(maxConnections) || maxConnections < 1) {
      throw new TypeError(
        `maxConnectionsPerClient ${maxConnections}: an integer of at least 1 is accepted`,
      );
    }
    this.#max = maxConnections;
    this.#isExempt = isExempt;
  }

  /** How many clients have connections that are counted. */
  get size(): number {
    return this.#counts.size;
  }

  /**
   * Counts a connection in.
   *
   * @returns What {@linkcode leave} is to be told when it ends; `""` when it is not counted, and `undefined` when it
   * is one too many.
   */
  enter({ remote: { hostname } }: Pick<Duplex, "remote">): string | undefined {
    // All clients of a Unix socket look alike, and they are on this machine.
    if (hostname === "unix" || this.#isExempt(hostname)) return "";
    const key = clientKey(hostname);
    const count = this.#counts.get(key) ?? 0;
    if (count >= this.#max) return undefined;
    this.#counts.set(key, count + 1);
    return key;
  }

  /** Counts a connection out. */
  leave(key: string): void {
    const count = this.#counts.get(key);
    if (count === undefined) return;
    if (count === 1) this.#counts.delete(key);
    else this.#counts.set(key, count - 1);
  }
}

/**
 * The addresses of the hosts that SRV records name (RFC 2782).
 *
 * @module
 */
import { describeError } from "../../common/errors.ts";
import { getLogger } from "../../observe/logger.ts";

/** What one SRV record says. */
export interface SrvRecord {
  /** The host. */
  readonly target: string;
  /** The port. */
  readonly port: number;
  /** Its share among those of its priority, from 0 to 65535. */
  readonly weight: number;
  /** Lower ones come first. */
  readonly priority: number;
}

/** A record with the addresses of its host, at least one. */
export interface FoundTarget extends SrvRecord {
  /** The addresses. */
  readonly hosts: readonly string[];
}

/** Finds the addresses of a host. Rejects when there are none. */
export type FindHosts = (host: string) => Promise<readonly string[]>;

/** What is remembered of a host. */
interface Target {
  /** Its last addresses; none once it was said that it is not there. */
  hosts: readonly string[];
  /** Why the last question failed, if it did. */
  error: unknown;
}

const log = getLogger("dns");

/** Follows the hosts of one name. One that cannot be resolved does not stand in the way of the others. */
export class SrvTargets {
  readonly #findHosts: FindHosts;
  #known = new Map<string, Target>();

  /** Knows of no host. */
  constructor(findHosts: FindHosts) {
    this.#findHosts = findHosts;
  }

  /**
   * The records of the lowest priority of which any has an address. A host that cannot be asked about keeps its last
   * addresses, as a name does; one that is said not to be there has none.
   *
   * @throws {Error} When no host has an address.
   */
  async find(records: readonly SrvRecord[]): Promise<FoundTarget[]> {
    const before = this.#known;
    this.#known = new Map();
    const priorities = new Set(records.map(({ priority }) => priority));
    for (const priority of [...priorities].sort((a, b) => a - b)) {
      const chosen = records.filter((record) => record.priority === priority);
      const found = await Promise.all(chosen.map(async (record) => {
        const { hosts } = await this.#ask(record.target, before.get(record.target));
        return { ...record, hosts };
      }));
      const usable = found.filter(({ hosts }) => hosts.length > 0);
      if (usable.length > 0) return usable;
    }
    const reasons = Array.from(
      this.#known,
      ([target, { error }]) => `${target}: ${describeError(error)}`,
    );
    throw new Error(`no host of ${records.length} records has an address (${reasons.join("; ")})`);
  }

  async #ask(name: string, before: Target | undefined): Promise<Target> {
    const target: Target = { hosts: before?.hosts ?? [], error: undefined };
    this.#known.set(name, target);
    try {
      target.hosts = await this.#findHosts(name.replace(/\.$/, ""));
      if (before?.error !== undefined) {
        log.info("a host of a name is resolved again", { host: name });
      }
    } catch (error) {
      target.error = error;
      if (isGone(error)) target.hosts = [];
      if (before?.error === undefined) {
        log.warning("a host of a name cannot be resolved; the others are used", {
          host: name,
          addresses: target.hosts.length,
          error: describeError(error),
        });
      }
    }
    return target;
  }
}

/** Whether it was said that there is no such host, and not only nothing. */
function isGone(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOTFOUND";
}

/**
 * Names of backends: what they look like, and what they stand for.
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import { formatHostPort } from "../../common/address.ts";

/** A name whose addresses are all used and followed. */
export type DnsName =
  /** All addresses of a host. */
  | { readonly type: "host"; readonly host: string; readonly port: number }
  /** All targets of a service (RFC 2782): port and weight come from the records. */
  | { readonly type: "srv"; readonly name: string };

/** One address that a name stands for. */
export interface Resolved {
  /** `host:port`, an IPv6 address in brackets. */
  readonly addr: string;
  /** Its share, from 0 to 65535. */
  readonly weight: number;
}

/**
 * Finds what a name stands for; never empty.
 *
 * @throws {Error} When the name is not there, has no address, or no server answers.
 */
export type Resolve = (name: DnsName, signal: AbortSignal) => Promise<readonly Resolved[]>;

const ACCEPTED = "dns:name:port, such as dns:app.internal:8080, or srv:_service._proto.name";
/** RFC 1035, section 2.3.4. */
const MAX_NAME = 253;
const LABELS =
  /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?$/i;

/** Whether a text wants to be a name that is followed, and not the address of one backend. */
export function isDnsName(text: string): boolean {
  return /^(?:dns|srv):/i.test(text);
}

/**
 * Parses `dns:name:port` or `srv:name`.
 *
 * @throws {TypeError} When it is anything else.
 */
export function parseDnsName(text: string): DnsName {
  const [, kind, name = "", port] = /^(dns|srv):([^:]*)(?::(\d{1,5}))?$/i.exec(text) ?? [];
  if (LABELS.test(name) && name.length <= MAX_NAME) {
    if (kind?.toLowerCase() === "srv" && port === undefined) {
      return { type: "srv", name: name.toLowerCase() };
    }
    const number = Number(port);
    if (kind?.toLowerCase() === "dns" && number >= 1 && number <= 65535) {
      return { type: "host", host: name.toLowerCase(), port: number };
    }
  }
  throw new TypeError(`name ${JSON.stringify(text)} is not accepted; accepted is ${ACCEPTED}`);
}

/** The name as text, as {@linkcode parseDnsName} takes it. */
export function formatDnsName(name: DnsName): string {
  return name.type === "srv" ? `srv:${name.name}` : `dns:${name.host}:${name.port}`;
}

/** Asks the system, which knows its hosts file and its name servers; SRV records are asked of the servers. */
export const resolveBySystem: Resolve = async (name, signal) => {
  if (name.type === "host") {
    const hosts = await addressesOf(name.host);
    return hosts.map((host) => ({ addr: formatHostPort(host, name.port), weight: 1 }));
  }
  const records = await Deno.resolveDns(name.name, "SRV", { signal });
  // RFC 2782: "A client MUST attempt to contact the target host with the lowest-numbered priority it can reach".
  const best = Math.min(...records.map(({ priority }) => priority));
  const chosen = records.filter(({ priority }) => priority === best);
  const groups = await Promise.all(chosen.map(async ({ target, port, weight }) => {
    const hosts = await addressesOf(target.replace(/\.$/, ""));
    return hosts.map((host) => ({ addr: formatHostPort(host, port), weight }));
  }));
  return groups.flat();
};

async function addressesOf(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true });
  if (found.length === 0) throw new Error(`${host} has no address`);
  return found.map(({ address }) => address);
}

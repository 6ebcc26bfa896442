/**
 * What names of backends stand for.
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import { type DnsName, formatMember } from "../../common/dns_name.ts";
import { askAddresses, type NameServerAddress } from "./name_server.ts";
import { SrvTargets } from "./srv_targets.ts";

/** One address that a name stands for. */
export interface Resolved {
  /** `host:port`, an IPv6 address in brackets, after the scheme of the name if it has one. */
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

/** Finds the addresses of a host. Rejects when there are none. */
type FindHosts = (host: string, signal: AbortSignal) => Promise<readonly string[]>;

/** Asks the system, which knows its hosts file and its name servers; SRV records are asked of the servers. */
export const resolveBySystem: Resolve = makeResolve(async (host) => {
  const found = await lookup(host, { all: true });
  if (found.length === 0) throw new Error(`${host} has no address`);
  return found.map(({ address }) => address);
});

/** Asks one name server for everything; neither the hosts file nor the servers of the system play a part. */
export function resolveByServer(nameServer: NameServerAddress): Resolve {
  return makeResolve((host, signal) => askAddresses(host, nameServer, signal), nameServer);
}

/** What was found for a service that is followed, and the signal of the question under way. */
interface Service {
  readonly targets: SrvTargets;
  signal: AbortSignal;
}

function makeResolve(findHosts: FindHosts, nameServer?: NameServerAddress): Resolve {
  const services = new WeakMap<DnsName, Service>();
  const serviceOf = (name: DnsName, signal: AbortSignal): Service => {
    const known = services.get(name);
    if (known !== undefined) {
      known.signal = signal;
      return known;
    }
    const service: Service = {
      targets: new SrvTargets((host) => findHosts(host, service.signal)),
      signal,
    };
    services.set(name, service);
    return service;
  };
  return async (name, signal) => {
    if (name.type === "host") {
      const hosts = await findHosts(name.host, signal);
      return hosts.map((host) => ({ addr: formatMember(name, host, name.port), weight: 1 }));
    }
    const options = nameServer === undefined ? { signal } : { signal, nameServer };
    const records = await Deno.resolveDns(name.name, "SRV", options);
    // RFC 2782: "A client MUST attempt to contact the target host with the lowest-numbered priority it can reach".
    const found = await serviceOf(name, signal).targets.find(records);
    return found.flatMap(({ hosts, port, weight }) =>
      hosts.map((host) => ({ addr: formatMember(name, host, port), weight }))
    );
  };
}

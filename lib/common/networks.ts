/**
 * Networks as IP addresses and CIDR prefixes (RFC 4632, RFC 4291), and whether an address is in one.
 *
 * @module
 */

import ipaddr from "ipaddr.js";
import { parseIp } from "./address.ts";

/** A network: its address and the count of leading bits that must agree. */
type Network = readonly [address: ipaddr.IPv4 | ipaddr.IPv6, bits: number];

/** How much of a refused text a message repeats, in UTF-16 code units. */
const MAX_QUOTE = 120;

/**
 * Compiles networks, e.g. `10.0.0.0/8`, `fd00::/8` or `192.0.2.7`, to a test of an IP address as text.
 * An IPv4-mapped IPv6 address is taken as the IPv4 address that it stands for; what is no IP address
 * is in no network.
 *
 * @throws {TypeError} if a network cannot be read, or has bits set after its prefix.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 *
 * const isInside = makeNetworkFilter(["10.0.0.0/8", "::1"]);
 * assert(isInside("10.1.2.3"));
 * assert(isInside("::ffff:10.1.2.3"));
 * assert(!isInside("192.0.2.1"));
 * ```
 */
export function makeNetworkFilter(networks: readonly string[]): (address: string) => boolean {
  const parsed = networks.map(parseNetwork);
  if (parsed.length === 0) return () => false;
  return (address) => {
    const ip = parseIp(address);
    return ip !== undefined &&
      parsed.some(([network, bits]) => network.kind() === ip.kind() && ip.match([network, bits]));
  };
}

function parseNetwork(text: string): Network {
  const [address = "", prefix, ...rest] = text.split("/");
  const ip = parseIp(address);
  const refuse = (problem: string): never => {
    throw new TypeError(
      `network ${JSON.stringify(text.slice(0, MAX_QUOTE))}: ${problem}; ` +
        `accepted is an IP address or a CIDR prefix, as in 10.0.0.0/8 or fd00::/8`,
    );
  };
  if (ip === undefined || rest.length > 0) return refuse("it does not begin with an IP address");
  const width = ip.kind() === "ipv4" ? 32 : 128;
  if (prefix === undefined) return [ip, width];

  if (ip.kind() === "ipv4" && address.includes(":")) {
    return refuse("an IPv4-mapped network must be written as the IPv4 network");
  }
  if (!/^(?:0|[1-9]\d{0,2})$/.test(prefix) || Number(prefix) > width) {
    return refuse(`the prefix length ${JSON.stringify(prefix)} is not 0 to ${width}`);
  }
  const family = ip.kind() === "ipv4" ? ipaddr.IPv4 : ipaddr.IPv6;
  const network = family.networkAddressFromCIDR(`${ip}/${prefix}`);
  if (network.toString() !== ip.toString()) {
    return refuse(`it has bits set after the prefix, did you mean ${network}/${prefix}?`);
  }
  return [ip, Number(prefix)];
}

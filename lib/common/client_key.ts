/**
 * What tells one client from another by its address.
 *
 * @module
 */
import ipaddr from "ipaddr.js";
import { parseIp } from "./address.ts";

/** Groups of 16 bits of an IPv6 address that name a network; the rest is the host's to choose. */
const NETWORK_GROUPS = 4;

/**
 * The key by which a client is counted: an IPv4 address as it is, and of an IPv6 address the first 64 bits. A host
 * has all addresses of its /64 to itself (RFC 4291, section 2.5.4; RFC 8981), so counting each would be no limit.
 * Text that is no IP address is its own key.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(clientKey("192.0.2.7"), "192.0.2.7");
 * assertEquals(clientKey("2001:db8:0:1:a::1"), "2001:db8:0:1::/64");
 * ```
 */
export function clientKey(address: string): string {
  if (!address.includes(":")) return address;
  const ip = parseIp(address);
  if (ip === undefined) return address;
  if (!(ip instanceof ipaddr.IPv6)) return ip.toString();
  const groups = ip.parts.slice(0, NETWORK_GROUPS).map((group) => group.toString(16));
  return `${groups.join(":")}::/64`;
}

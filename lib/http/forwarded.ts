/**
 * What a backend is told of the client: `X-Forwarded-*`, as nearly all understand it, and `Forwarded`
 * (RFC 7239).
 *
 * @module
 */

/** Which fields are written. `off` writes none and passes those of the client on as they are. */
export type ForwardedMode = "x-forwarded" | "forwarded" | "both" | "off";

/** Whom the fields speak of. */
export interface Client {
  /** IP address, or `unix`. */
  readonly address: string;
  /** The scheme of the request as it reached us. */
  readonly scheme: "http" | "https";
}

/** What backends are told of the client of one connection; made once per connection. */
export interface Forwarding {
  /** The mode. */
  readonly mode: ForwardedMode;
  /** Whether the peer is a proxy whose own forwarding fields are believed and extended. */
  readonly trusted: boolean;
  /** The client. */
  readonly client: Client;
  /** The authority for a request that names none (HTTP/1.0): the one the client reached. */
  readonly authority: string;
}

/**
 * A node of `Forwarded`: RFC 7239, section 6: "Note that an IPv6 address is always enclosed in square
 * brackets", and then the colon needs quotes. A peer without an IP address is `unknown`.
 */
function forwardedNode(address: string): string {
  if (address.includes(":")) return `"[${address}]"`;
  return /^[\d.]+$/.test(address) ? address : "unknown";
}

/** The element of `Forwarded` for this hop. */
export function forwardedElement(client: Client, authority: string): string {
  const element = `for=${forwardedNode(client.address)};proto=${client.scheme}`;
  return authority === "" ? element : `${element};host=${forwardedHost(authority)}`;
}

/** A host as a value of `Forwarded`, quoted where it is no token. */
function forwardedHost(host: string): string {
  return /^[\w.-]+$/.test(host) ? host : `"${host}"`;
}

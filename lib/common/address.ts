/**
 * Addresses of backends and listeners: parsed strictly, written in one normal form.
 *
 * Nothing here touches the network: whether a name resolves is seen when it is dialled.
 *
 * @module
 */

import ipaddr from "ipaddr.js";

/** What an address says about the protocol behind it; `""` leaves that to the pool. */
export type Scheme = "http" | "https" | "grpc" | "grpcs" | "tcp" | "";

/** A host and a port. */
export interface TcpAddress {
  /** TCP, whatever runs over it. */
  readonly transport: "tcp";
  /** The protocol, if the address named one; `https` and `grpcs` mean TLS. */
  readonly scheme: Scheme;
  /** A DNS name in lower case, an IPv4 address or an IPv6 address in its canonical form, without brackets. */
  readonly host: string;
  /** 1 to 65535; 0 only for a listener, where the system then chooses. */
  readonly port: number;
  /** The name that the certificate must be for, of an address that was found by it; the host unless given. */
  readonly serverName?: string;
}

/** A socket in the file system. */
export interface UnixAddress {
  /** A Unix socket of the stream kind. */
  readonly transport: "unix";
  /** A socket file names no protocol. */
  readonly scheme: "";
  /** The absolute path, at most 107 bytes. */
  readonly path: string;
}

/** Where a backend or a listener is. */
export type Address = TcpAddress | UnixAddress;

/** A listening socket that the process was given when it was started. */
export interface InheritedAddress {
  /** A descriptor, whatever it is bound to. */
  readonly transport: "fd";
  /** Its number, 3 or more. */
  readonly fd: number;
}

/** Where a listener is, or what it listens on. */
export type ListenAddress = Address | InheritedAddress;

/** What {@linkcode parseAddress} may be told. */
export interface ParseAddressOptions {
  /** The port, 1 to 65535, of an address that has none and whose scheme implies none. */
  readonly defaultPort?: number;
}

/** The port that a scheme implies. gRPC runs over HTTP and takes its ports, as grpc-java does. */
const SCHEME_PORTS: ReadonlyMap<string, number | undefined> = new Map([
  ["http", 80],
  ["https", 443],
  ["grpc", 80],
  ["grpcs", 443],
  ["tcp", undefined],
]);

const ACCEPTED_ADDRESS =
  "host:port, http://host[:port] (or https, grpc, grpcs), tcp://host:port or unix:/path, IPv6 in brackets";
const ACCEPTED_LISTEN_ADDRESS = ":port, host:port, unix:/path or fd:N, IPv6 in brackets";

/**
 * All IPv4 interfaces. `::` would serve IPv6 too on most Linux machines, but it serves only IPv6 on
 * others, fails where IPv6 is off, and shows IPv4 callers as `::ffff:1.2.3.4`. Who wants it says `[::]:port`.
 */
const ANY_HOST = "0.0.0.0";

/** `sun_path` of unix(7) has 108 bytes, the closing NUL included. */
const MAX_UNIX_PATH = 107;

/** RFC 1035, section 2.3.4, as text without the root's dot. */
const MAX_NAME = 253;

/** A label of letters, digits and hyphens (RFC 1123, section 2.1); `_` is tolerated, container networks use it. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/** A last label that makes a resolver read the whole name as a number, e.g. `127.1` or `0x7f.1`. */
const NUMERIC_LABEL = /^(?:\d+|0x[\da-f]*)$/i;

/** How much of a refused text a message repeats, in UTF-16 code units. */
const MAX_QUOTE = 120;

/** Throws the error of one parse, with the text and what is accepted around the problem. */
type Refuse = (problem: string) => never;

/**
 * Parses the address of a backend: `host:port`, `[IPv6]:port`, `http://`, `https://`, `grpc://`,
 * `grpcs://` or `tcp://` before either, or `unix:/path`. A lone `/` at the end is tolerated.
 *
 * The result is normal: schemes and names in lower case, IP addresses canonical, an IPv4-mapped
 * IPv6 address as the IPv4 address that it stands for (RFC 4291, section 2.5.5.2).
 *
 * @throws {TypeError} if it is none of these, or has user information, a path, a query, a fragment,
 *   white space, a zone id, an unusual IPv4 form or a bad port.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatAddress, parseAddress } from "./address.ts";
 *
 * assertEquals(formatAddress(parseAddress("HTTP://Backend.example")), "http://backend.example:80");
 * assertEquals(formatAddress(parseAddress("[0:0:0:0:0:0:0:1]:8080")), "[::1]:8080");
 * ```
 */
export function parseAddress(text: string, options: ParseAddressOptions = {}): Address {
  const refuse = refusal("address", text, ACCEPTED_ADDRESS);
  checkText(text, refuse);
  const unix = parseUnix(text, refuse);
  if (unix !== undefined) return unix;

  const [scheme, authority] = splitScheme(text, refuse);
  const { host, port } = splitAuthority(authority, refuse);
  if (host === "") refuse("the host is empty");
  return {
    transport: "tcp",
    scheme,
    host: normalHost(host, refuse),
    port: port === undefined
      ? impliedPort(scheme, options.defaultPort, refuse)
      : parsePort(port, 1, refuse),
  };
}

/**
 * Parses where to listen: as {@linkcode parseAddress} without a scheme, and also `:port` for all IPv4
 * interfaces (`[::]:port` adds IPv6 where the system binds both). Port 0 lets the system choose. `fd:N` is a
 * listening socket that the process has inherited.
 *
 * @throws {TypeError} if it is none of these.
 */
export function parseListenAddress(text: string): ListenAddress {
  const refuse = refusal("listen address", text, ACCEPTED_LISTEN_ADDRESS);
  checkText(text, refuse);
  const unix = parseUnix(text, refuse);
  if (unix !== undefined) return unix;
  if (text.startsWith("fd:")) return parseInherited(text.slice("fd:".length), refuse);

  if (text.includes("://")) refuse("a listener takes no scheme");
  const { host, port } = splitAuthority(text, refuse);
  if (port === undefined) return refuse("the port is missing");
  return {
    transport: "tcp",
    scheme: "",
    host: host === "" ? ANY_HOST : normalHost(host, refuse),
    port: parsePort(port, 0, refuse),
  };
}

/**
 * The normal text of an address, which parses to the same address; the port is always there. A server name has no
 * part in it.
 */
export function formatAddress(address: ListenAddress): string {
  if (address.transport === "unix") return `unix:${address.path}`;
  if (address.transport === "fd") return `fd:${address.fd}`;
  const hostPort = formatHostPort(address.host, address.port);
  return address.scheme === "" ? hostPort : `${address.scheme}://${hostPort}`;
}

/** `host:port`, with an IPv6 address in brackets. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Parses an IP address without brackets or zone id; an IPv4-mapped one gives the IPv4 address. IPv4 is
 * four decimal numbers without leading zeros, nothing else that `inet_aton` knows. `undefined` if it is none.
 */
export function parseIp(text: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  if (!text.includes(":")) return parseIpv4(text);

  // The library reads `::1.2.3.4` as mapped and lets octal through, so IPv4 tails are rewritten first.
  const tail = text.slice(text.lastIndexOf(":") + 1);
  if (tail.includes(".")) {
    const [a, b, c, d] = parseIpv4(tail)?.octets ?? [];
    if (a === undefined || b === undefined || c === undefined || d === undefined) return undefined;
    const groups = `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
    text = text.slice(0, -tail.length) + groups;
  }
  if (text.includes("%") || !ipaddr.IPv6.isValid(text)) return undefined;
  const ip = ipaddr.IPv6.parse(text);
  return ip.isIPv4MappedAddress() ? ip.toIPv4Address() : ip;
}

/** Whether an IP text is a loopback address: 127.0.0.0/8, `::1`, or the former mapped into IPv6. Names are not. */
export function isLoopback(host: string): boolean {
  return parseIp(host)?.range() === "loopback";
}

function refusal(what: string, text: string, accepted: string): Refuse {
  return (problem) => {
    // A password must not reach a log.
    const shown = text.replace(/^.*@/s, "…@").slice(0, MAX_QUOTE);
    throw new TypeError(`${what} ${JSON.stringify(shown)}: ${problem}; accepted is ${accepted}`);
  };
}

function checkText(text: string, refuse: Refuse): void {
  if (text === "") refuse("it is empty");
  if (/[\s\p{Cc}\p{Cs}]/u.test(text)) refuse("it has white space or control characters");
}

/** The address, or `undefined` if the text does not begin as that of a socket file. */
function parseUnix(text: string, refuse: Refuse): UnixAddress | undefined {
  if (!/^unix:/i.test(text)) return undefined;

  const path = text.slice("unix:".length);
  if (!path.startsWith("/")) refuse("the path of a socket must be absolute");
  if (/\/\.?$/.test(path)) refuse("the path of a socket must name a file");
  // Only what never changes the file that is meant: `a/../b` may differ from `b` behind a symbolic link.
  const segments = path.split("/").filter((segment) => segment !== "" && segment !== ".");
  const normal = `/${segments.join("/")}`;
  const bytes = new TextEncoder().encode(normal).length;
  if (bytes > MAX_UNIX_PATH) {
    refuse(`the path has ${bytes} bytes, a socket's may have ${MAX_UNIX_PATH}`);
  }
  return { transport: "unix", scheme: "", path: normal };
}

/** The first three descriptors are standard input, output and error; Linux has no more than 2^20 at a time by default. */
function parseInherited(text: string, refuse: Refuse): InheritedAddress {
  const fd = Number(text);
  if (!/^[1-9]\d{0,6}$/.test(text) || fd < 3) {
    return refuse(`the descriptor ${JSON.stringify(text)} is not a whole number from 3 on`);
  }
  return { transport: "fd", fd };
}

function splitScheme(text: string, refuse: Refuse): [scheme: Scheme, authority: string] {
  const end = text.indexOf("://");
  if (end < 0) return ["", text];
  const scheme = text.slice(0, end).toLowerCase();
  if (!SCHEME_PORTS.has(scheme)) refuse(`the scheme ${JSON.stringify(scheme)} is not known`);
  return [scheme as Scheme, text.slice(end + "://".length)];
}

function splitAuthority(
  authority: string,
  refuse: Refuse,
): { host: string; port: string | undefined } {
  if (authority.includes("@")) refuse("user information is not accepted");
  if (authority.includes("?")) refuse("a query is not accepted");
  if (authority.includes("#")) refuse("a fragment is not accepted");
  if (authority.endsWith("/")) authority = authority.slice(0, -1);
  if (authority.includes("/")) refuse("a path is not accepted");

  // The brackets stay with the host: they say that it must be IPv6.
  const match = /^(\[[^\]]*\]|[^:[\]]*)(?::(.*))?$/.exec(authority);
  if (match?.[1] !== undefined && !match[2]?.includes(":")) {
    return { host: match[1], port: match[2] };
  }
  if (authority.includes("[") || authority.includes("]")) {
    refuse("brackets must enclose the host and be followed by nothing but a port");
  }
  return refuse("an IPv6 address must stand in brackets, as in [::1]:8080");
}

function normalHost(host: string, refuse: Refuse): string {
  if (host.startsWith("[")) {
    const text = host.slice(1, -1);
    if (text.includes("%")) {
      refuse("a zone id (the part from %) is not accepted, it means something on one machine only");
    }
    const ip = text.includes(":") ? parseIp(text) : undefined;
    return ip?.toString() ?? refuse(`${host} is no IPv6 address`);
  }
  const labels = host.replace(/\.$/, "").split(".");
  if (NUMERIC_LABEL.test(labels.at(-1) ?? "")) {
    return parseIpv4(host)?.toString() ?? refuse(
      "a host that ends in a number must be four decimal numbers from 0 to 255 without leading zeros",
    );
  }
  if (/\P{ASCII}/u.test(host)) refuse("a name must be ASCII, in the xn-- form of IDNA");
  if (labels.join(".").length > MAX_NAME) {
    refuse(`the name has more than ${MAX_NAME} characters`);
  }
  const bad = labels.find((label) => !LABEL.test(label));
  if (bad !== undefined) {
    refuse(
      `the label ${
        JSON.stringify(bad)
      } of the host is not 1 to 63 letters, digits, hyphens within or underscores`,
    );
  }
  return host.toLowerCase();
}

function parseIpv4(text: string): ipaddr.IPv4 | undefined {
  return ipaddr.IPv4.isValidFourPartDecimal(text) ? ipaddr.IPv4.parse(text) : undefined;
}

function impliedPort(scheme: Scheme, defaultPort: number | undefined, refuse: Refuse): number {
  const port = SCHEME_PORTS.get(scheme) ?? defaultPort;
  return port === undefined ? refuse("the port is missing") : parsePort(String(port), 1, refuse);
}

function parsePort(text: string, lowest: 0 | 1, refuse: Refuse): number {
  if (text === "") return refuse('the port is missing after ":"');
  if (!/^\d+$/.test(text)) return refuse(`the port ${JSON.stringify(text)} is not a number`);
  if (/^0\d/.test(text)) return refuse(`the port ${text} has a leading zero`);
  const port = Number(text);
  if (port < lowest || port > 65535) return refuse(`the port ${text} is not ${lowest} to 65535`);
  return port;
}

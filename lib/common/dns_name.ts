/**
 * Names that stand for backends: all their addresses are used and followed. What they look like.
 *
 * Nothing here touches the network.
 *
 * @module
 */
import { formatAddress, formatHostPort, parseAddress, type Scheme } from "./address.ts";

/** A name whose addresses are all used and followed. */
export type DnsName =
  /** All addresses of a host. */
  | {
    readonly type: "host";
    /** The protocol of its addresses; `""` leaves that to the pool. */
    readonly scheme: Scheme;
    readonly host: string;
    readonly port: number;
  }
  /** All targets of a service (RFC 2782): port and weight come from the records. */
  | { readonly type: "srv"; readonly scheme: Scheme; readonly name: string };

const ACCEPTED = "dns:name:port, such as dns:app.internal:8080, srv:_service._proto.name, " +
  "or with a scheme dns+https://name[:port] and srv+https://_service._proto.name";
/** RFC 1035, section 2.3.4. */
const MAX_NAME = 253;
const LABELS =
  /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?$/i;
const FORM = /^(dns|srv)(?::|\+(https?|grpcs?|tcp):\/\/)([^:/]*)(?::(\d{1,5}))?$/i;

/** Whether a text wants to be a name that is followed, and not the address of one backend. */
export function isDnsName(text: string): boolean {
  return /^(?:dns|srv)(?::|\+)/i.test(text);
}

/**
 * Parses `dns:name:port` or `srv:name`, or with a scheme `dns+https://name[:port]` or `srv+https://name`.
 *
 * @throws {TypeError} When it is anything else.
 */
export function parseDnsName(text: string): DnsName {
  const [, kind, prefix, name = "", port] = FORM.exec(text) ?? [];
  if (!LABELS.test(name) || name.length > MAX_NAME) return refuse(text);
  const lower = name.toLowerCase();
  const scheme = (prefix ?? "").toLowerCase() as Scheme;
  if (kind!.toLowerCase() === "srv") {
    return port === undefined ? { type: "srv", scheme, name: lower } : refuse(text);
  }
  const number = port === undefined ? impliedPort(scheme) : Number(port);
  if (number === undefined || number < 1 || number > 65535) return refuse(text);
  return { type: "host", scheme, host: lower, port: number };
}

/** The same as of addresses. */
function impliedPort(scheme: Scheme): number | undefined {
  if (scheme === "" || scheme === "tcp") return undefined;
  const address = parseAddress(`${scheme}://a`);
  return address.transport === "tcp" ? address.port : undefined;
}

function refuse(text: string): never {
  throw new TypeError(`name ${JSON.stringify(text)} is not accepted; accepted is ${ACCEPTED}`);
}

/** The name as text, as {@linkcode parseDnsName} takes it. */
export function formatDnsName(name: DnsName): string {
  const where = name.type === "srv" ? name.name : `${name.host}:${name.port}`;
  const kind = name.type === "srv" ? "srv" : "dns";
  return name.scheme === "" ? `${kind}:${where}` : `${kind}+${name.scheme}://${where}`;
}

/**
 * The name that the certificates of its addresses must be for, where they have any. Of a service it is the domain
 * without the service and the protocol: the targets of SRV records come from a name server that may lie (RFC 9525,
 * section 6.1).
 */
export function serverNameOf(name: DnsName): string | undefined {
  if (name.scheme !== "https" && name.scheme !== "grpcs") return undefined;
  const host = name.type === "host" ? name.host : name.name.replace(/^(?:_[^.]*\.)+/, "");
  return host.replace(/\.$/, "");
}

/** The address of one of its backends, as `parseAddress` takes it. */
export function formatMember({ scheme }: DnsName, host: string, port: number): string {
  const hostPort = formatHostPort(host, port);
  return scheme === "" ? hostPort : `${scheme}://${hostPort}`;
}

/**
 * What a backend was given by, in its normal form: an address, or a name that is followed.
 *
 * @throws {TypeError} When it is neither.
 */
export function normalizeTarget(text: string): string {
  return isDnsName(text) ? formatDnsName(parseDnsName(text)) : formatAddress(parseAddress(text));
}

/**
 * The protocol that an address or a name says.
 *
 * @throws {TypeError} When it is neither.
 */
export function schemeOf(text: string): Scheme {
  return isDnsName(text) ? parseDnsName(text).scheme : parseAddress(text).scheme;
}

/**
 * A name server of the user's choice: where it is, and its answers.
 *
 * @module
 */
import { parseIp } from "../../common/address.ts";

/** Where a name server listens, over UDP, and over TCP for answers that are too large for it. */
export interface NameServerAddress {
  /** An IPv4 or IPv6 address, without brackets. */
  readonly ipAddr: string;
  /** From 1 to 65535. */
  readonly port: number;
}

/** RFC 1035, section 4.2. */
const DEFAULT_PORT = 53;
const FORM = /^(?:\[([^[\]]*:[^[\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/;

/**
 * Parses `10.0.0.53`, `127.0.0.1:8600`, `::1` or `[::1]:8600`; the port is 53 unless given.
 *
 * @throws {TypeError} When it is anything else: names are not accepted, as there would be nobody to ask for them.
 */
export function parseNameServer(text: string): NameServerAddress {
  const bare = parseIp(text);
  const [, v6, v4 = "", digits = String(DEFAULT_PORT)] = FORM.exec(text) ?? [];
  const ip = bare ?? parseIp(v6 ?? v4);
  const port = bare === undefined ? Number(digits) : DEFAULT_PORT;
  if (ip !== undefined && port >= 1 && port <= 65535) return { ipAddr: ip.toString(), port };
  throw new TypeError(
    `name server ${JSON.stringify(text)} is not accepted; accepted is an IP address, ` +
      "with a port if that is not 53, such as 10.0.0.53, 127.0.0.1:8600 or [::1]:8600",
  );
}

/**
 * All addresses of a host that a server knows, IPv4 first; an IP address is its own. What has been answered counts
 * when only one of the two questions is: there are servers that say nothing of AAAA (RFC 4074, section 4.1).
 *
 * @throws {Error} When none is found, with the reason of the question that was not answered, if one was not. The
 * runtime makes no difference between SERVFAIL and a name that does not exist: both are `Deno.errors.NotFound`.
 */
export async function askAddresses(
  host: string,
  nameServer: NameServerAddress,
  signal: AbortSignal,
): Promise<string[]> {
  if (parseIp(host) !== undefined) return [host];
  const options = { nameServer, signal };
  const answers = await Promise.allSettled([
    Deno.resolveDns(host, "A", options),
    Deno.resolveDns(host, "AAAA", options),
  ]);
  const found = answers.flatMap((answer) => answer.status === "fulfilled" ? answer.value : []);
  if (found.length > 0) return found;
  const reasons = answers.flatMap((answer) => answer.status === "rejected" ? [answer.reason] : []);
  throw reasons.find((reason) => !(reason instanceof Deno.errors.NotFound)) ??
    new Deno.errors.NotFound(`${host} has no address`);
}

/**
 * Who may call the management API: callers on this machine or in an allowed network, and bearers of the
 * token. Web pages are kept out of what is open by address alone.
 *
 * @module
 */

import { createHash, timingSafeEqual } from "node:crypto";
import { isLoopback, parseIp } from "../common/address.ts";
import { makeNetworkFilter } from "../common/networks.ts";

/** The `WWW-Authenticate` value that a 401 must carry (RFC 9110, section 11.6.1; RFC 6750, section 3). */
export const BEARER_CHALLENGE = 'Bearer realm="lb"';

/** What an {@linkcode AccessPolicy} is built from. */
export interface AccessOptions {
  /** Networks whose callers need no token: IP addresses or CIDR prefixes, e.g. `10.0.0.0/8`. */
  readonly allow?: readonly string[];
  /** The token that lets anybody in: at least 16 visible ASCII characters. */
  readonly token?: string;
}

/** What the policy sees of a call. */
export interface AccessRequest {
  /** The peer of the socket, never what a proxy header says; the host name `unix` is a Unix socket. */
  readonly remote: { readonly hostname: string };
  /** The method, for the reason of a refusal. */
  readonly method: string;
  /** The `Authorization` field. */
  readonly authorization: string | undefined;
  /** The `Host` field or `:authority`; empty counts as absent. */
  readonly host: string | undefined;
  /** The `Origin` field. */
  readonly origin: string | undefined;
}

/** The verdict on a call. A 401 goes out with {@linkcode BEARER_CHALLENGE}. */
export type AccessDecision =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly status: 401 | 403; readonly reason: string };

const ALLOWED: AccessDecision = { allowed: true };

const MIN_TOKEN = 16;

/** How much of a foreign field value a reason repeats, in UTF-16 code units. */
const MAX_QUOTE = 120;

/**
 * Decides who may call the management API. Without options: callers on loopback or a Unix socket only.
 *
 * A caller who sends credentials is judged by them alone, wherever it is. Others are judged by their
 * address; since any web page can make the browser on this machine call loopback, such a call must also
 * not come from another origin, nor through a DNS name that an attacker can point here (DNS rebinding).
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 *
 * const policy = new AccessPolicy({ allow: ["10.0.0.0/8"] });
 * const call = { method: "GET", authorization: undefined, host: "10.0.0.1", origin: undefined };
 * assert(policy.check({ ...call, remote: { hostname: "10.1.2.3" } }).allowed);
 * assert(!policy.check({ ...call, remote: { hostname: "192.0.2.1" } }).allowed);
 * ```
 */
export class AccessPolicy {
  readonly #isAllowed: (address: string) => boolean;
  /** The digest is kept, not the token: it has a fixed length to compare, and a dump does not show the token. */
  readonly #tokenDigest: Uint8Array | undefined;

  /**
   * Compiles the options.
   *
   * @throws {TypeError} if a network or the token is not acceptable.
   */
  constructor(options: AccessOptions = {}) {
    this.#isAllowed = makeNetworkFilter(options.allow ?? []);
    if (options.token !== undefined) {
      checkToken(options.token);
      this.#tokenDigest = digest(options.token);
    }
  }

  /** Decides on one call. */
  check(request: AccessRequest): AccessDecision {
    if (request.authorization !== undefined) return this.#checkToken(request.authorization);
    if (this.#isTrusted(request.remote.hostname)) return checkBrowser(request);
    return this.#tokenDigest === undefined
      ? refuse(403, "callers from this address are not allowed and no token is configured")
      : refuse(401, "a bearer token is needed from this address");
  }

  #checkToken(authorization: string): AccessDecision {
    if (this.#tokenDigest === undefined) {
      return refuse(403, "credentials were sent, but no token is configured to check them against");
    }
    // The scheme is matched without case (RFC 9110, section 11.1).
    const token = /^bearer +(\S+)$/i.exec(authorization)?.[1];
    if (token === undefined) return refuse(401, "the credentials are not a bearer token");
    return timingSafeEqual(digest(token), this.#tokenDigest)
      ? ALLOWED
      : refuse(401, "the token is wrong");
  }

  #isTrusted(hostname: string): boolean {
    return hostname === "unix" || isLoopback(hostname) || this.#isAllowed(hostname);
  }
}

/**
 * The token in the text of a token file, which may end in one line break.
 *
 * @throws {TypeError} if the token is not acceptable.
 */
export function parseTokenFile(text: string): string {
  const token = text.replace(/\r?\n$/, "");
  checkToken(token);
  return token;
}

function refuse(status: 401 | 403, reason: string): AccessDecision {
  return { allowed: false, status, reason };
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

/** Says nothing of the token but its length and where it is wrong: it must not reach a log. */
function checkToken(token: string): void {
  const bad = token.search(/[^\x21-\x7e]/);
  if (bad >= 0) {
    throw new TypeError(
      `the token has a character at position ${bad + 1} that is not visible ASCII; ` +
        `accepted are ${MIN_TOKEN} or more of ! to ~, without white space`,
    );
  }
  if (token.length < MIN_TOKEN) {
    throw new TypeError(
      `the token has ${token.length} characters; accepted are ${MIN_TOKEN} or more of ! to ~`,
    );
  }
}

/** Keeps web pages from a caller that is let in by its address alone. */
function checkBrowser({ method, host, origin }: AccessRequest): AccessDecision {
  const name = host ? /^(\[[^\]]*\]|[^:]*)(?::\d*)?$/.exec(host)?.[1] : undefined;
  if (host && !isUnspoofable(name ?? "")) {
    return refuse(
      403,
      `the host ${quote(host)} is a name that others may point here; ` +
        `use an IP address, localhost or a token`,
    );
  }
  if (origin !== undefined && !isSameHost(origin, host)) {
    return refuse(
      403,
      `a page of the origin ${quote(origin)} may not send ${quote(method)} here; ` +
        `use a page of this host or a token`,
    );
  }
  return ALLOWED;
}

/** Whether a name means the same address to everybody: an IP literal, or a name of this machine (RFC 6761, section 6.3). */
function isUnspoofable(name: string): boolean {
  if (/^(?:.+\.)?localhost$/i.test(name)) return true;
  const literal = name.startsWith("[") ? name.slice(1, -1) : name;
  return parseIp(literal) !== undefined && name.startsWith("[") === literal.includes(":");
}

/** Whether host and port of an origin are those that were called; a port that the origin's scheme implies may be left out. */
function isSameHost(origin: string, host: string | undefined): boolean {
  const from = URL.parse(origin);
  if (from === null || from.host === "" || !host) return false;
  return URL.parse(`${from.protocol}//${host}`)?.host === from.host;
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, MAX_QUOTE));
}

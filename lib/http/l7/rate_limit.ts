/**
 * How many requests are taken, by what they have in common.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { LiveRoute } from "../../backend/live_route.ts";
import { parseIp } from "../../common/address.ts";
import { clientKey } from "../../common/client_key.ts";
import { RateLimiter } from "../../common/rate_limiter.ts";
import { checkRateLimit, parseRateLimitKey, type RateLimitRule } from "../../route/rate_limit.ts";
import type { Forwarding } from "../forwarded.ts";
import type { RequestView } from "../message.ts";
import { readCookie } from "./affinity.ts";

/**
 * Longer keys are remembered by their hash, so that 100,000 of them, each from a client, take 20 MB or so at most
 * whatever clients send.
 */
const MAX_KEY = 64;

/** What there is to a request's key, or `undefined` when the request does not have it. */
type ReadKey = (view: RequestView) => string | undefined;

/** Takes requests up to a rate, for each client or whatever else they are counted by. */
export class RequestRate {
  readonly #limiter: RateLimiter;
  readonly #read: ReadKey | undefined;
  readonly #isTrusted: (address: string) => boolean;
  #refused = 0;

  /**
   * Begins with nothing counted.
   *
   * @param isTrusted Whether an address is that of a proxy in front, which names the client.
   * @throws {TypeError} When the rule is not valid.
   */
  constructor(rule: RateLimitRule, isTrusted: (address: string) => boolean) {
    const { rate, burst, key } = checkRateLimit(rule);
    this.#limiter = new RateLimiter({ rate, burst });
    this.#read = makeReader(key);
    this.#isTrusted = isTrusted;
  }

  /** How many clients are remembered. */
  get size(): number {
    return this.#limiter.size;
  }

  /** How many requests were not taken. */
  get refused(): number {
    return this.#refused;
  }

  /**
   * Takes a request.
   *
   * @param now In milliseconds; never goes back.
   * @returns 0, or when it is one too many in how many milliseconds one would be taken.
   */
  take(view: RequestView, forwarding: Forwarding, now: number): number {
    const value = this.#read?.(view);
    // Who leaves the field out must not get past the limit, nor use up what is for others.
    const key = value === undefined || value === ""
      ? `a${clientKey(clientAddress(view, forwarding, this.#isTrusted))}`
      : `k${value}`;
    const wait = this.#limiter.take(shorten(key), now);
    if (wait > 0) this.#refused++;
    return wait;
  }

  /** What is used of it, for another process that goes on with it; see {@linkcode RateLimiter.collect}. */
  collect(now: number, most: number): [key: string, left: number][] {
    return this.#limiter.collect(now, most);
  }

  /** Goes on with what another process has collected. */
  resume(buckets: Iterable<readonly [key: string, left: number]>, now: number): void {
    this.#limiter.resume(buckets, now);
  }
}

function makeReader(key: string): ReadKey | undefined {
  const by = parseRateLimitKey(key);
  switch (by.type) {
    case "address":
      return undefined;
    case "all":
      return () => "all";
    case "path":
      return ({ path }) => path;
    case "header": {
      const { name } = by;
      return (view) => view.header(name);
    }
    case "cookie": {
      const { name } = by;
      return (view) => readCookie(view.header("cookie"), name);
    }
  }
}

function shorten(key: string): string {
  return key.length <= MAX_KEY ? key : `h${createHash("sha256").update(key).digest("base64")}`;
}

/**
 * The client's address: that of the peer, or where the peer is a trusted proxy, the last one in `X-Forwarded-For`
 * that is not itself a trusted proxy's. What stands before it may be made up.
 */
export function clientAddress(
  view: RequestView,
  { client, trusted }: Forwarding,
  isTrusted: (address: string) => boolean,
): string {
  if (!trusted) return client.address;
  const hops = view.header("x-forwarded-for")?.split(",") ?? [];
  for (const hop of hops.reverse()) {
    const address = hop.trim().replace(PORT, "").replace(BRACKETS, "$1");
    if (parseIp(address) === undefined) break;
    if (!isTrusted(address)) return address;
  }
  return client.address;
}

/** A port behind an IPv4 address or an IPv6 address in brackets, as some proxies write it. */
const PORT = /(?<=^[\d.]+|\]):\d+$/;
const BRACKETS = /^\[(.*)\]$/;

const OF_ROUTE = new WeakMap<LiveRoute, RequestRate>();

/** The rate of a route, if it has one of its own; the same on all listeners and for all protocols. */
export function rateOfRoute(
  live: LiveRoute,
  isTrusted: (address: string) => boolean,
): RequestRate | undefined {
  const { rateLimit } = live.route;
  if (rateLimit === undefined) return undefined;
  let rate = OF_ROUTE.get(live);
  if (rate === undefined) OF_ROUTE.set(live, rate = new RequestRate(rateLimit, isTrusted));
  return rate;
}

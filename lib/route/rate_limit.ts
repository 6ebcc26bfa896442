/**
 * How many requests may come in a time, for each client or whatever else they are counted by.
 *
 * @module
 */
import { parseFieldName, quote, refuse } from "./pattern.ts";

/** How many requests may come; what is above is answered 429 (RFC 6585, section 4) or RESOURCE_EXHAUSTED. */
export interface RateLimitRule {
  /** Requests per second in the long run, from 0.0001 to 1,000,000. */
  readonly rate: number;
  /** Requests at once, an integer from 1 to 1,000,000; those of a second, at least 1, unless given. */
  readonly burst?: number;
  /**
   * What requests are counted by; `address` unless given.
   *
   * - `address`: the client's address, IPv6 by /64. Of a trusted proxy, the client that it names.
   * - `header:NAME`, or `metadata:NAME` for gRPC: the value of a field. Requests without it are counted by address.
   * - `cookie:NAME`: the value of a cookie, likewise.
   * - `path`: the path without the query.
   * - `all`: all requests together.
   */
  readonly key?: string;
}

/** A rule in its normal form. */
export type NormalRateLimit = Required<RateLimitRule>;

/** What requests are counted by. */
export type RateLimitKey =
  | { readonly type: "address" | "path" | "all" }
  /** The name in lower case. */
  | { readonly type: "header"; readonly name: string }
  | { readonly type: "cookie"; readonly name: string };

/** Less than one request in nearly three hours; and no number in this range is written with an exponent. */
const MIN_RATE = 0.0001;
const MAX_RATE = 1_000_000;
const MAX_BURST = 1_000_000;
/** Seconds by the letter of the unit. */
const UNITS: ReadonlyMap<string, number> = new Map([["s", 1], ["m", 60], ["h", 3600]]);

const KEYS = "address, header:NAME, metadata:NAME, cookie:NAME, path or all";
const ACCEPTED = "RATE/s, /m or /h, then burst=N and by=KEY if need be, as in " +
  "100/s,burst=20,by=header:X-User";

/**
 * Parses what requests are counted by.
 *
 * @throws {TypeError} When it is not known.
 */
export function parseRateLimitKey(text: string): RateLimitKey {
  if (text === "address" || text === "path" || text === "all") return { type: text };
  const [, kind, name = ""] = /^(header|metadata|cookie):(.*)$/s.exec(text) ?? [];
  switch (kind) {
    case "header":
    case "metadata":
      return { type: "header", name: parseFieldName(`${kind} to limit the rate by`, name) };
    case "cookie":
      // The name of a cookie is a token too (RFC 6265, section 4.1.1), but its case counts.
      parseFieldName("cookie to limit the rate by", name);
      return { type: "cookie", name };
    default:
      return refuse("rate limit by", text, "it is not known", KEYS);
  }
}

/**
 * Checks a rule and returns its normal form, with all that was left out.
 *
 * @throws {TypeError} that names the value and says what is accepted.
 */
export function checkRateLimit(rule: RateLimitRule): NormalRateLimit {
  if (typeof rule !== "object" || rule === null) {
    refuse("rate limit", rule, "it is no object", "an object with rate, burst, key");
  }
  for (const key of Object.keys(rule)) {
    if (!["rate", "burst", "key"].includes(key)) {
      refuse("rate limit", key, "there is no such key", "rate, burst, key");
    }
  }
  const { rate, key = "address" } = rule;
  if (!(typeof rate === "number" && rate >= MIN_RATE && rate <= MAX_RATE)) {
    refuse("rate", rate, "out of range", `requests per second from ${MIN_RATE} to ${MAX_RATE}`);
  }
  const { burst = Math.max(1, Math.ceil(rate)) } = rule;
  if (!Number.isInteger(burst) || burst < 1 || burst > MAX_BURST) {
    refuse("burst", burst, "out of range", `an integer 1..${MAX_BURST}`);
  }
  if (typeof key !== "string") refuse("rate limit by", key, "it is no text", KEYS);
  const by = parseRateLimitKey(key);
  return { rate, burst, key: "name" in by ? `${by.type}:${by.name}` : by.type };
}

/**
 * Parses `100/s`, `100/s,burst=20` or `100/m,burst=20,by=header:X-User`.
 *
 * @throws {TypeError} When it is anything else.
 */
export function parseRateLimit(text: string): NormalRateLimit {
  const [first = "", ...rest] = text.split(",");
  const [, digits, unit = ""] = /^(\d{1,7}(?:\.\d{1,20})?)\/([smh])$/.exec(first) ?? [];
  if (digits === undefined) refuse("rate limit", text, "it does not begin with a rate", ACCEPTED);
  const given = new Map<string, string>();
  for (const part of rest) {
    const equals = part.indexOf("=");
    const name = part.slice(0, Math.max(equals, 0));
    if ((name !== "burst" && name !== "by") || given.has(name)) {
      refuse("rate limit", text, `${quote(part)} is not known, or there twice`, ACCEPTED);
    }
    given.set(name, part.slice(equals + 1));
  }
  const burst = given.get("burst");
  if (burst !== undefined && !/^\d{1,7}$/.test(burst)) {
    refuse("burst", burst, "it is no number", `an integer 1..${MAX_BURST}`);
  }
  const key = given.get("by");
  return checkRateLimit({
    rate: Number(digits) / UNITS.get(unit)!,
    ...(burst === undefined ? {} : { burst: Number(burst) }),
    ...(key === undefined ? {} : { key }),
  });
}

/** The text that {@linkcode parseRateLimit} reads as this rule. */
export function formatRateLimit(rule: RateLimitRule): string {
  const { rate, burst, key } = checkRateLimit(rule);
  return `${formatRate(rate)},burst=${burst},by=${key}`;
}

/** In the unit in which it is a whole number, if there is one. */
function formatRate(rate: number): string {
  for (const [unit, seconds] of UNITS) {
    const count = Math.round(rate * seconds);
    if (count / seconds === rate && String(count).length <= 7) return `${count}/${unit}`;
  }
  return `${rate}/s`;
}

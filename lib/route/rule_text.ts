/**
 * Routes as one line of text, for the command line:
 *
 * ```text
 * path=/api header=X-Version:v2 -> http://localhost:8081
 * host=*.example.com param~=user:"a+ b" strip-prefix -> http://a:1 weight=9, http://b:2
 * path=/old redirect=308:https://example.com/new
 * ```
 *
 * Words are separated by white space. Before `->` stand conditions and changes, each as often as its
 * kind allows; behind it stand the targets, separated by commas. Double quotes around any part of a word
 * take white space and separators into it; within them `\"` and `\\` stand for `"` and `\`.
 *
 * @module
 */

import { quote } from "./pattern.ts";
import { formatRateLimit, parseRateLimit, type RateLimitRule } from "./rate_limit.ts";
import {
  formatRetryConditions,
  type HedgeRule,
  parseAttempts,
  parseRetryConditions,
  parseTime,
  type RetryCondition,
  type RetryRule,
} from "./retry.ts";
import type {
  FieldChanges,
  PathMatch,
  PathRewrite,
  Redirect,
  Route,
  RouteTarget,
  ValueMatch,
} from "./route.ts";
import { validateRoute } from "./validate.ts";

const SPACE = /\s/;
const REDIRECT = /^(\d{3}):(?:([a-z]+):)?(?:\/\/([^/]*))?(\/.*)?$/is;

/** A route in the making. */
class Draft {
  readonly hosts: string[] = [];
  readonly paths: PathMatch[] = [];
  readonly httpMethods: string[] = [];
  readonly headers: ValueMatch[] = [];
  readonly params: ValueMatch[] = [];
  readonly services: string[] = [];
  readonly methods: string[] = [];
  readonly fullMethods: string[] = [];
  readonly grpcHeaders: ValueMatch[] = [];
  readonly targets: RouteTarget[] = [];
  readonly request = new DraftChanges();
  readonly response = new DraftChanges();
  rewrite: PathRewrite | undefined;
  redirect: Redirect | undefined;
  readonly retry: DraftRetry = {};
  hedge: HedgeRule | undefined;
  rateLimit: RateLimitRule | undefined;

  setRewrite(rewrite: PathRewrite): void {
    if (this.rewrite !== undefined) {
      throw new TypeError("the path is already rewritten; one rewrite is accepted");
    }
    this.rewrite = rewrite;
  }

  setRedirect(text: string): void {
    if (this.redirect !== undefined) {
      throw new TypeError("there is a redirect already; one is accepted");
    }
    this.redirect = parseRedirect(text);
  }

  setRateLimit(text: string): void {
    if (this.rateLimit !== undefined) {
      throw new TypeError("there is a rate already; one is accepted");
    }
    this.rateLimit = parseRateLimit(text);
  }
}

interface DraftRetry {
  attempts?: number;
  on?: readonly RetryCondition[];
  perTryTimeout?: number;
}

class DraftChanges {
  readonly remove: string[] = [];
  readonly set: [name: string, value: string][] = [];
  readonly add: [name: string, value: string][] = [];
}

/** How a key is written, and what it does. */
type Key =
  /** `key` */
  | { readonly form: "flag"; apply(draft: Draft): void }
  /** `key=text` */
  | { readonly form: "text"; apply(draft: Draft, text: string): void }
  /** `key=name:value` */
  | { readonly form: "pair"; apply(draft: Draft, name: string, value: string): void }
  /** `key=name:value`, or `key=name` for any value */
  | { readonly form: "match"; apply(draft: Draft, match: ValueMatch): void }
  /** `key~=name:regex`; the `~` is part of the key. */
  | { readonly form: "regex"; apply(draft: Draft, match: ValueMatch): void };

const KEYS: ReadonlyMap<string, Key> = new Map<string, Key>([
  ["host", { form: "text", apply: (draft, text) => draft.hosts.push(text) }],
  ["path", {
    form: "text",
    apply: (draft, value) => draft.paths.push({ type: "prefix", value }),
  }],
  ["path-exact", {
    form: "text",
    apply: (draft, value) => draft.paths.push({ type: "exact", value }),
  }],
  ["path-regex", {
    form: "text",
    apply: (draft, value) => draft.paths.push({ type: "regex", value }),
  }],
  ["http-method", { form: "text", apply: (draft, text) => draft.httpMethods.push(text) }],
  ["header", { form: "match", apply: (draft, match) => draft.headers.push(match) }],
  ["header~", { form: "regex", apply: (draft, match) => draft.headers.push(match) }],
  ["param", { form: "match", apply: (draft, match) => draft.params.push(match) }],
  ["param~", { form: "regex", apply: (draft, match) => draft.params.push(match) }],
  ["service", { form: "text", apply: (draft, text) => draft.services.push(text) }],
  ["method", { form: "text", apply: (draft, text) => draft.methods.push(text) }],
  ["full-method", { form: "text", apply: (draft, text) => draft.fullMethods.push(text) }],
  ["grpc-header", { form: "match", apply: (draft, match) => draft.grpcHeaders.push(match) }],
  ["grpc-header~", { form: "regex", apply: (draft, match) => draft.grpcHeaders.push(match) }],
  ["strip-prefix", {
    form: "flag",
    apply: (draft) => draft.setRewrite({ type: "prefix", value: "" }),
  }],
  ["rewrite-prefix", {
    form: "text",
    apply: (draft, value) => draft.setRewrite({ type: "prefix", value }),
  }],
  ["rewrite-path", {
    form: "text",
    apply: (draft, value) => draft.setRewrite({ type: "full", value }),
  }],
  ["remove-request-header", {
    form: "text",
    apply: (draft, name) => draft.request.remove.push(name),
  }],
  ["set-request-header", {
    form: "pair",
    apply: (draft, name, value) => draft.request.set.push([name, value]),
  }],
  ["add-request-header", {
    form: "pair",
    apply: (draft, name, value) => draft.request.add.push([name, value]),
  }],
  ["remove-response-header", {
    form: "text",
    apply: (draft, name) => draft.response.remove.push(name),
  }],
  ["set-response-header", {
    form: "pair",
    apply: (draft, name, value) => draft.response.set.push([name, value]),
  }],
  ["add-response-header", {
    form: "pair",
    apply: (draft, name, value) => draft.response.add.push([name, value]),
  }],
  ["redirect", { form: "text", apply: (draft, text) => draft.setRedirect(text) }],
  ["retry-on", {
    form: "text",
    apply: (draft, text) => draft.retry.on = parseRetryConditions(text),
  }],
  ["max-attempts", {
    form: "text",
    apply: (draft, text) => draft.retry.attempts = parseAttempts(text),
  }],
  ["per-try-timeout", {
    form: "text",
    apply: (draft, text) => draft.retry.perTryTimeout = parseTime("per-try-timeout", text),
  }],
  ["hedge", {
    form: "text",
    apply: (draft, text) => draft.hedge = { delay: parseTime("hedge", text) },
  }],
  ["rate", {
    form: "text",
    apply: (draft, text) => draft.setRateLimit(text),
  }],
]);

/**
 * Parses a rule as the command line takes it.
 *
 * @throws {TypeError} that quotes the piece which is wrong and says what is accepted.
 */
export function parseRule(text: string): Route {
  const reader = new Reader(text);
  const draft = new Draft();
  while (reader.skipSpace() && !reader.takeArrow()) parseWord(reader, draft);
  if (reader.arrow) parseTargets(reader, draft);
  else if (draft.redirect === undefined) {
    throw new TypeError(`rule ${quote(text)} leads nowhere; it needs "-> ADDRESS" or redirect=`);
  }
  const { targets, request, response, rewrite, redirect, retry, hedge, rateLimit, ...match } =
    draft;
  return validateRoute({
    match,
    targets,
    requestHeaders: { ...request },
    responseHeaders: { ...response },
    ...(rewrite && { rewrite }),
    ...(redirect && { redirect }),
    retry,
    ...(hedge && { hedge }),
    ...(rateLimit && { rateLimit }),
  });
}

/** The rule that {@linkcode parseRule} reads as this route. */
export function formatRule(route: Route): string {
  const { match, rewrite, redirect } = route;
  const words: string[] = [
    ...texts("host", match.hosts),
    ...(match.paths ?? []).map(({ type, value }) =>
      `${type === "prefix" ? "path" : `path-${type}`}=${quoteWord(value)}`
    ),
    ...texts("http-method", match.httpMethods),
    ...(match.headers ?? []).map((value) => formatMatch("header", value)),
    ...(match.params ?? []).map((value) => formatMatch("param", value)),
    ...texts("service", match.services),
    ...texts("method", match.methods),
    ...texts("full-method", match.fullMethods),
    ...(match.grpcHeaders ?? []).map((value) => formatMatch("grpc-header", value)),
  ];
  if (rewrite?.type === "full") words.push(`rewrite-path=${quoteWord(rewrite.value)}`);
  else if (rewrite?.value === "") words.push("strip-prefix");
  else if (rewrite !== undefined) words.push(`rewrite-prefix=${quoteWord(rewrite.value)}`);
  words.push(...formatChanges("request", route.requestHeaders));
  words.push(...formatChanges("response", route.responseHeaders));
  words.push(...formatRetry(route.retry), ...formatHedge(route.hedge));
  if (route.rateLimit !== undefined) {
    words.push(`rate=${quoteWord(formatRateLimit(route.rateLimit))}`);
  }
  if (redirect !== undefined) words.push(`redirect=${quoteWord(formatRedirect(redirect))}`);
  if (route.targets.length > 0) words.push("->", route.targets.map(formatTarget).join(", "));
  return words.join(" ");
}

/** Reads a rule from left to right. */
class Reader {
  readonly #text: string;
  #at = 0;
  /** Whether `->` was read. */
  arrow = false;

  constructor(text: string) {
    this.#text = text;
  }

  /** Where the next character is. */
  get at(): number {
    return this.#at;
  }

  /** Skips white space; `false` at the end. */
  skipSpace(): boolean {
    while (this.#at < this.#text.length && SPACE.test(this.#text[this.#at]!)) this.#at++;
    return this.#at < this.#text.length;
  }

  /** Reads one character if it is next. */
  take(char: string): boolean {
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  /** Reads `->` if it is the next word. */
  takeArrow(): boolean {
    if (!/^->(?:\s|$)/.test(this.#text.slice(this.#at, this.#at + 3))) return false;
    this.#at += 2;
    this.arrow = true;
    return true;
  }

  /** Reads up to white space or `stop` outside quotes. */
  read(stop: string): string {
    let value = "";
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at]!;
      if (SPACE.test(char) || char === stop) break;
      this.#at++;
      value += char === '"' ? this.#readQuoted() : char;
    }
    return value;
  }

  /** What was read since `start`. */
  since(start: number): string {
    return this.#text.slice(start, this.#at);
  }

  #readQuoted(): string {
    const start = this.#at - 1;
    let value = "";
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at++]!;
      if (char === '"') return value;
      const next = this.#text[this.#at];
      if (char === "\\" && (next === '"' || next === "\\")) {
        value += next;
        this.#at++;
      } else {
        value += char;
      }
    }
    throw new TypeError(`rule: ${quote(this.#text.slice(start))} has no closing quote`);
  }
}

function parseWord(reader: Reader, draft: Draft): void {
  const start = reader.at;
  const name = reader.read("=");
  const key = KEYS.get(name);
  const assigned = reader.take("=");
  if (key === undefined) {
    reader.read("");
    throw new TypeError(
      `rule: ${quote(reader.since(start))} has no known key; accepted are ${
        [...KEYS.keys()].join(", ")
      }, then "-> ADDRESS [weight=N], ..."`,
    );
  }
  if (assigned === (key.form === "flag")) {
    reader.read("");
    refuseWord(reader.since(start), name, key);
  }
  switch (key.form) {
    case "flag":
      return key.apply(draft);
    case "text":
      return key.apply(draft, reader.read(""));
    case "pair":
    case "match":
    case "regex": {
      const field = reader.read(":");
      const value = reader.take(":") ? reader.read("") : undefined;
      if (key.form === "match") {
        return key.apply(
          draft,
          value === undefined
            ? { name: field, type: "present" }
            : { name: field, type: "exact", value },
        );
      }
      if (value === undefined) return refuseWord(reader.since(start), name, key);
      return key.form === "pair"
        ? key.apply(draft, field, value)
        : key.apply(draft, { name: field, type: "regex", value });
    }
  }
}

function refuseWord(word: string, name: string, key: Key): never {
  const accepted = {
    flag: name,
    text: `${name}=VALUE`,
    pair: `${name}=NAME:VALUE`,
    match: `${name}=NAME:VALUE or ${name}=NAME`,
    regex: `${name}=NAME:REGEX`,
  }[key.form];
  throw new TypeError(`rule: ${quote(word)} is incomplete or too much; accepted is ${accepted}`);
}

function parseTargets(reader: Reader, draft: Draft): void {
  do {
    reader.skipSpace();
    const addr = reader.read(",");
    if (addr === "") {
      throw new TypeError(
        `rule: ${
          quote(reader.since(0))
        } lacks an address; accepted is "-> ADDRESS [weight=N], ..."`,
      );
    }
    let weight: number | undefined;
    while (reader.skipSpace()) {
      const word = reader.read(",");
      if (word === "") break;
      const [, digits] = /^weight=(\d{1,9})$/.exec(word) ?? [];
      if (digits === undefined || weight !== undefined) {
        throw new TypeError(
          `rule: ${quote(word)} behind the target ${quote(addr)}; ` +
            "accepted is one weight=N with N from 0 to 65535, then a comma and the next target",
        );
      }
      weight = Number(digits);
    }
    draft.targets.push({ addr, weight: weight ?? 1 });
  } while (reader.take(","));
}

function parseRedirect(text: string): Redirect {
  const [whole, status, scheme, host, path] = REDIRECT.exec(text) ?? [];
  if (whole === undefined) {
    throw new TypeError(
      `redirect ${quote(text)}: it cannot be read; accepted is STATUS:[SCHEME:][//HOST][/PATH], ` +
        "such as 308:https://example.com/new, 301:https: or 302:/login",
    );
  }
  // The checks on the route say what is wrong with a part.
  return {
    status: Number(status),
    ...(scheme !== undefined && { scheme: scheme.toLowerCase() }),
    ...(host !== undefined && { host }),
    ...(path !== undefined && { path }),
  } as Redirect;
}

function formatRedirect({ status, scheme, host, path }: Redirect): string {
  return `${status}:${scheme === undefined ? "" : `${scheme}:`}${
    host === undefined ? "" : `//${host}`
  }${path ?? ""}`;
}

function formatMatch(key: string, match: ValueMatch): string {
  const name = quoteWord(match.name, ":");
  if (match.type === "present") return `${key}=${name}`;
  return `${key}${match.type === "regex" ? "~" : ""}=${name}:${quoteWord(match.value)}`;
}

function formatChanges(side: "request" | "response", changes: FieldChanges = {}): string[] {
  const pairs = (verb: string, fields: FieldChanges["set"]) =>
    (fields ?? []).map(([name, value]) => `${verb}-${side}-header=${name}:${quoteWord(value)}`);
  return [
    ...texts(`remove-${side}-header`, changes.remove),
    ...pairs("set", changes.set),
    ...pairs("add", changes.add),
  ];
}

function formatRetry({ on, attempts, perTryTimeout }: RetryRule = {}): string[] {
  return [
    ...(on === undefined ? [] : [`retry-on=${formatRetryConditions(on)}`]),
    ...(attempts === undefined ? [] : [`max-attempts=${attempts}`]),
    ...(perTryTimeout === undefined ? [] : [`per-try-timeout=${perTryTimeout}ms`]),
  ];
}

function formatHedge(hedge: HedgeRule | undefined): string[] {
  return hedge === undefined ? [] : [`hedge=${hedge.delay}ms`];
}

function formatTarget({ addr, weight }: RouteTarget): string {
  return weight === 1 ? quoteWord(addr, ",") : `${quoteWord(addr, ",")} weight=${weight}`;
}

function texts(key: string, values: readonly string[] | undefined): string[] {
  return (values ?? []).map((value) => `${key}=${quoteWord(value)}`);
}

/** The text in quotes if it would otherwise end early. */
function quoteWord(text: string, stop = '"'): string {
  const plain = !SPACE.test(text) && !text.includes('"') && !text.includes(stop);
  return plain ? text : `"${text.replace(/["\\]/g, "\\$&")}"`;
}

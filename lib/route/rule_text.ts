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
import { formatRateLimit } from "./rate_limit.ts";
import { formatRetryConditions, type HedgeRule, type RetryRule } from "./retry.ts";
import type { FieldChanges, Redirect, Route, RouteTarget, ValueMatch } from "./route.ts";
import { Draft, type Key, KEYS } from "./rule_keys.ts";
import { quoteWord, RuleReader } from "./rule_reader.ts";
import { validateRoute } from "./validate.ts";

/**
 * Parses a rule as the command line takes it.
 *
 * @throws {TypeError} that quotes the piece which is wrong and says what is accepted.
 */
export function parseRule(text: string): Route {
  const reader = new RuleReader(text);
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

function parseWord(reader: RuleReader, draft: Draft): void {
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

function parseTargets(reader: RuleReader, draft: Draft): void {
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

/**
 * The keys of a rule: how each is written, and what it does to the route in the making.
 *
 * @module
 */

import { quote } from "./pattern.ts";
import { parseRateLimit, type RateLimitRule } from "./rate_limit.ts";
import {
  type HedgeRule,
  parseAttempts,
  parseRetryConditions,
  parseTime,
  type RetryCondition,
} from "./retry.ts";
import type { PathMatch, PathRewrite, Redirect, RouteTarget, ValueMatch } from "./route.ts";

const REDIRECT = /^(\d{3}):(?:([a-z]+):)?(?:\/\/([^/]*))?(\/.*)?$/is;

/** A route in the making. */
export class Draft {
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
export type Key =
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

/** The keys of a rule. */
export const KEYS: ReadonlyMap<string, Key> = new Map<string, Key>([
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

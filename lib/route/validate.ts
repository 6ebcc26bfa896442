/**
 * The checks on a route, however it came: from the builder, the command line or as JSON.
 *
 * @module
 */

import { normalizeTarget } from "../common/dns_name.ts";
import { compilePaths, countPaths } from "./compile.ts";
import {
  compileRegex,
  parseAuthority,
  parseExactPath,
  parseFieldName,
  parseFieldValue,
  parseFullMethod,
  parseHostPattern,
  parseHttpMethod,
  parseMethodName,
  parseNewPath,
  parsePathPattern,
  parseServiceName,
  quote,
  refuse,
} from "./pattern.ts";
import { checkRateLimit } from "./rate_limit.ts";
import {
  checkAttempts,
  checkRetryConditions,
  checkTime,
  type HedgeRule,
  type RetryRule,
} from "./retry.ts";
import type {
  PathMatch,
  PathRewrite,
  Redirect,
  Route,
  RouteMatch,
  RouteTarget,
  ValueMatch,
} from "./route.ts";
import { checkKeys, defined, list, optional, refuseType } from "./shape.ts";
import { validateChanges } from "./validate_changes.ts";

export { MAX_VALUES } from "./shape.ts";

/** Most entries of the route table that one route may need: its hosts times its paths. */
export const MAX_COMBINATIONS = 4096;
const MAX_WEIGHT = 65535;
const REDIRECT_STATUSES: readonly unknown[] = [301, 302, 303, 307, 308];

/**
 * Checks a route and returns a normal copy: names of fields and hosts in lower case, addresses in
 * their normal form, repeated conditions once, weights filled in, nothing empty.
 *
 * @throws {TypeError} that names the value and says what is accepted.
 */
export function validateRoute(route: Route): Route {
  checkKeys("route", route, [
    "match",
    "targets",
    "rewrite",
    "requestHeaders",
    "responseHeaders",
    "redirect",
    "retry",
    "hedge",
    "rateLimit",
  ]);
  const match = validateMatch(route.match ?? {});
  const targets = validateTargets(route.targets ?? []);
  const redirect = optional(route.redirect, validateRedirect);
  const rewrite = optional(route.rewrite, validateRewrite);
  const requestHeaders = optional(route.requestHeaders, (c) => validateChanges("request", c));
  const responseHeaders = optional(route.responseHeaders, (c) => validateChanges("response", c));
  const retry = optional(route.retry, validateRetry);
  const hedge = optional(route.hedge, validateHedge);
  const rateLimit = optional(route.rateLimit, checkRateLimit);

  if (redirect === undefined && targets.length === 0) {
    throw new TypeError("the route has neither a target nor a redirect; it needs one of them");
  }
  if (redirect !== undefined) {
    const beside = targets.length > 0
      ? `the target ${quote(targets[0]!.addr)}`
      : rewrite !== undefined
      ? "a path rewrite"
      : requestHeaders !== undefined
      ? "changes of request fields"
      : retry !== undefined
      ? "a rule for retries"
      : hedge !== undefined
      ? "a rule for hedging"
      : undefined;
    if (beside !== undefined) {
      throw new TypeError(
        `the route has a redirect and also ${beside}; a redirect is answered and never forwarded`,
      );
    }
  }
  if (rewrite?.type === "prefix") checkPrefixes(match.paths);
  return defined<Route>({
    match,
    targets,
    rewrite,
    requestHeaders,
    responseHeaders,
    redirect,
    retry,
    hedge,
    rateLimit,
  });
}

function validateMatch(match: RouteMatch): RouteMatch {
  checkKeys("match", match, [
    "hosts",
    "paths",
    "httpMethods",
    "headers",
    "params",
    "services",
    "methods",
    "fullMethods",
    "grpcHeaders",
  ]);
  const normal = defined<RouteMatch>({
    hosts: list("hosts", match.hosts, parseHostPattern),
    paths: list("paths", match.paths, validatePath),
    httpMethods: list("httpMethods", match.httpMethods, parseHttpMethod),
    headers: list("headers", match.headers, (value) => validateField("header", value)),
    params: list("params", match.params, validateParam),
    services: list("services", match.services, parseServiceName),
    methods: list("methods", match.methods, parseMethodName),
    fullMethods: list("fullMethods", match.fullMethods, parseFullMethod),
    grpcHeaders: list(
      "grpcHeaders",
      match.grpcHeaders,
      (value) => validateField("gRPC header", value),
    ),
  });
  const combinations = countPaths(normal) * Math.max(normal.hosts?.length ?? 0, 1);
  if (combinations > MAX_COMBINATIONS) {
    throw new TypeError(
      `the route has ${combinations} combinations of host, path and gRPC method; ` +
        `at most ${MAX_COMBINATIONS} are accepted, so split it`,
    );
  }
  if (compilePaths(normal).length === 0) {
    throw new TypeError(
      "the route can never match: no gRPC method meets its conditions on path, service, method and " +
        "full method, which must all hold",
    );
  }
  return normal;
}

function validatePath(path: PathMatch): PathMatch {
  checkKeys("path condition", path, ["type", "value"]);
  switch (path.type) {
    case "prefix":
      return { type: "prefix", value: parsePathPattern(path.value).text };
    case "exact":
      return { type: "exact", value: parseExactPath(path.value) };
    case "regex":
      compileRegex(path.value);
      return { type: "regex", value: path.value };
    default:
      return refuseType("path condition", path, ["prefix", "exact", "regex"]);
  }
}

function validateField(what: string, match: ValueMatch): ValueMatch {
  return validateValue(
    what,
    match,
    (name) => parseFieldName(`${what} name`, name),
    (value) => parseFieldValue(`${what} value`, value),
  );
}

function validateParam(match: ValueMatch): ValueMatch {
  return validateValue("param", match, (name) => {
    if (typeof name !== "string" || name === "") {
      refuse("param name", name, "it is empty or no text", "a name as it is after decoding");
    }
    return name;
  }, (value) => {
    if (typeof value !== "string") {
      refuse("param value", value, "it is no text", "a value as it is after decoding");
    }
    return value;
  });
}

function validateValue(
  what: string,
  match: ValueMatch,
  parseName: (name: string) => string,
  parseValue: (value: string) => string,
): ValueMatch {
  const condition = `${what} condition`;
  checkKeys(condition, match, ["name", "type", "value"]);
  const name = parseName(match.name);
  switch (match.type) {
    case "exact":
      return { name, type: "exact", value: parseValue(match.value) };
    case "present":
      checkKeys(`${condition} of type "present"`, match, ["name", "type"]);
      return { name, type: "present" };
    case "regex":
      compileRegex(match.value);
      return { name, type: "regex", value: match.value };
    default:
      return refuseType(condition, match, ["exact", "present", "regex"]);
  }
}

function validateTargets(targets: readonly RouteTarget[]): readonly RouteTarget[] {
  const normal = list("targets", targets, validateTarget, true) ?? [];
  const seen = new Set<string>();
  for (const { addr } of normal) {
    if (seen.has(addr)) {
      refuse("target", addr, "it is there twice", "each address once, with a weight");
    }
    seen.add(addr);
  }
  if (normal.length > 0 && normal.every((target) => target.weight === 0)) {
    refuse("weight of all targets", 0, "no target is left", "a weight above 0 for at least one");
  }
  return normal;
}

function validateTarget(target: RouteTarget): RouteTarget {
  checkKeys("target", target, ["addr", "weight"]);
  if (typeof target.addr !== "string") {
    refuse("target", target.addr, "it is no text", "an address such as http://localhost:8081");
  }
  const weight: unknown = target.weight ?? 1;
  if (
    typeof weight !== "number" || !Number.isInteger(weight) || weight < 0 || weight > MAX_WEIGHT
  ) {
    refuse(
      `weight of ${quote(target.addr)}`,
      weight,
      "out of range",
      `an integer 0..${MAX_WEIGHT}`,
    );
  }
  // -0 is an integer too, and JSON would turn it into 0.
  return { addr: normalizeTarget(target.addr), weight: weight + 0 };
}

function validateRewrite(rewrite: PathRewrite): PathRewrite {
  checkKeys("path rewrite", rewrite, ["type", "value"]);
  switch (rewrite.type) {
    case "prefix": {
      if (rewrite.value === "") return { type: "prefix", value: "" };
      const value = parseNewPath("prefix rewrite", rewrite.value);
      return { type: "prefix", value: value.endsWith("/") ? value.slice(0, -1) : value };
    }
    case "full":
      return { type: "full", value: parseNewPath("path rewrite", rewrite.value) };
    default:
      return refuseType("path rewrite", rewrite, ["prefix", "full"]);
  }
}

/** A prefix can only be replaced where each alternative says what it is. */
function checkPrefixes(paths: readonly PathMatch[] | undefined): void {
  const accepted = "only with literal prefix path conditions such as /api";
  if (paths === undefined) {
    throw new TypeError(
      `the route rewrites a prefix but has no path condition; that works ${accepted}`,
    );
  }
  for (const path of paths) {
    const literal = path.type === "prefix" &&
      !parsePathPattern(path.value).segments.includes(undefined);
    if (!literal) {
      throw new TypeError(
        `the route rewrites a prefix but has the ${path.type} path condition ${
          quote(path.value)
        }; ` +
          `that works ${accepted}`,
      );
    }
  }
}

function validateRedirect(redirect: Redirect): Redirect {
  checkKeys("redirect", redirect, ["status", "scheme", "host", "path"]);
  const { status, scheme, host, path } = redirect;
  if (!REDIRECT_STATUSES.includes(status)) {
    refuse("redirect status", status, "it is no redirect", REDIRECT_STATUSES.join(", "));
  }
  if (scheme !== undefined && scheme !== "http" && scheme !== "https") {
    refuse("redirect scheme", scheme, "it is not known", "http, https");
  }
  if (scheme === undefined && host === undefined && path === undefined) {
    refuse("redirect", redirect, "it leads back to itself", "a scheme, a host or a path");
  }
  return defined<Redirect>({
    status,
    scheme,
    host: optional(host, (text) => parseAuthority("redirect host", text)),
    path: optional(path, (text) => parseNewPath("redirect path", text)),
  });
}

function validateRetry(retry: RetryRule): RetryRule | undefined {
  checkKeys("retry", retry, ["attempts", "on", "perTryTimeout"]);
  const normal = defined<RetryRule>({
    attempts: optional(retry.attempts, checkAttempts),
    on: optional(retry.on, checkRetryConditions),
    perTryTimeout: optional(retry.perTryTimeout, (time) => checkTime("perTryTimeout", time)),
  });
  return Object.keys(normal).length === 0 ? undefined : normal;
}

function validateHedge(hedge: HedgeRule): HedgeRule {
  checkKeys("hedge", hedge, ["delay"]);
  return { delay: checkTime("hedge delay", hedge.delay) };
}

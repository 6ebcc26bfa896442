/**
 * Options that say when requests are sent again and what keeps them together, and what they mean.
 *
 * @module
 */

import { parseStatuses as parseRanges } from "../backend/health/check.ts";
import { FAILURE_STATUSES } from "../backend/recovery.ts";
import { DEFAULT_RETRY_BUDGET } from "../backend/retry_budget.ts";
import { parseHashBy } from "../http/l7/affinity.ts";
import { Stickiness } from "../http/l7/sticky.ts";
import type { HttpL7Options, LoadBalancerOptions } from "../load_balancer/options.ts";
import { isErrorStatus, parseErrorCode, parseRetryConditions } from "../route/retry.ts";
import { inSection, one, type Values } from "./options.ts";
import { formatPercent, parseDuration, parsePercent, parseWhole } from "./values.ts";

const SECTION = "Retries";

/** How many retries there may be. */
export const retryBudget = inSection(SECTION, {
  "retry-budget": one(
    "PERCENT",
    "retries for each request of the last 10s " +
      `(default ${formatPercent(DEFAULT_RETRY_BUDGET.share)})`,
    parsePercent,
  ),
  "retry-floor": one(
    "N",
    `retries per second however few requests there are (default ${DEFAULT_RETRY_BUDGET.floor})`,
    (text) => parseWhole(text, 0, 1_000_000),
  ),
});

/** After what requests are sent again. */
export const retryOptions = inSection(SECTION, {
  ...retryBudget,
  "retry-on": one(
    "LIST",
    "after what a request is sent to another backend: connect-failure, refused, reset, timeout, statuses " +
      "of HTTP such as 503 and of gRPC such as UNAVAILABLE, with commas, or none (default connect-failure, " +
      "refused, timeout and, over HTTP, reset, for gRPC UNAVAILABLE)",
    parseRetryConditions,
  ),
  "per-try-timeout": one(
    "TIME",
    "how long one try may take until its answer begins; then another one is made (default: no such limit)",
    parseDuration,
  ),
});

/** What counts against a backend over HTTP. */
export const failureStatuses = inSection(SECTION, {
  "failure-statuses": one(
    "LIST",
    `statuses that count as failures of a backend (default ${FAILURE_STATUSES.join(",")})`,
    parseStatuses,
  ),
});

/** The same for gRPC. */
export const failureCodes = inSection(SECTION, {
  "failure-codes": one(
    "LIST",
    "statuses of gRPC that count as failures of a backend (default UNAVAILABLE)",
    (text) => text.split(",").map(parseErrorCode),
  ),
});

/** What requests have in common that are to meet the same backend. */
export const hashOption = {
  "hash-by": one(
    "KEY",
    "what --strategy consistent-hash goes by: address, path, header:NAME, metadata:NAME or cookie:NAME " +
      "(default address)",
    checkHashBy,
  ),
};

/** Clients that stay at their backend. */
export const stickyOption = {
  "sticky-cookie": one(
    "NAME",
    "keep each client at its backend by a cookie of this name, as long as that backend is fit",
    checkCookie,
  ),
};

function parseStatuses(text: string): number[] {
  const statuses = parseRanges(text)
    .flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
  if (statuses.every(isErrorStatus)) return statuses;
  throw new TypeError(`statuses ${JSON.stringify(text)} are not accepted; accepted are 400 to 599`);
}

function checkHashBy(text: string): string {
  parseHashBy(text);
  return text;
}

function checkCookie(text: string): string {
  new Stickiness({ cookie: text });
  return text;
}

/** The values of these options; a command has some of them. */
export type RetryValues = Partial<
  & Values<typeof retryOptions>
  & Values<typeof failureStatuses>
  & Values<typeof failureCodes>
  & Values<typeof hashOption>
  & Values<typeof stickyOption>
>;

/** The options of a balancer that they stand for. */
export function toRetryOptions(values: RetryValues): Pick<LoadBalancerOptions, "retries"> {
  const { "retry-on": on, "per-try-timeout": perTryTimeout } = values;
  const { "retry-budget": share, "retry-floor": floor } = values;
  const budget = {
    ...(share === undefined ? {} : { share }),
    ...(floor === undefined ? {} : { floor }),
  };
  const retries = {
    ...(on === undefined ? {} : { on }),
    ...(perTryTimeout === undefined ? {} : { perTryTimeout }),
    ...(Object.keys(budget).length === 0 ? {} : { budget }),
  };
  return Object.keys(retries).length === 0 ? {} : { retries };
}

/** The same of a balancer at layer 7. */
export function toAffinityOptions(
  values: RetryValues,
): Pick<HttpL7Options, "failureStatuses" | "failureCodes" | "hashBy" | "sticky"> {
  const statuses = values["failure-statuses"];
  const codes = values["failure-codes"];
  const hashBy = values["hash-by"];
  const cookie = values["sticky-cookie"];
  return {
    ...(statuses === undefined ? {} : { failureStatuses: statuses }),
    ...(codes === undefined ? {} : { failureCodes: codes }),
    ...(hashBy === undefined ? {} : { hashBy }),
    ...(cookie === undefined ? {} : { sticky: { cookie } }),
  };
}

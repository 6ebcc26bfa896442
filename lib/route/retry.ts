/**
 * When the requests of a route, or of a balancer, are sent a second time.
 *
 * @module
 */

import { STATUS_LABELS } from "../observe/grpc_metrics.ts";
import { quote, refuse } from "./pattern.ts";

/** After what a request is sent again. */
export type RetryCondition =
  /** No connection to the backend could be made, so nothing was sent. */
  | "connect-failure"
  /** The backend says that it has not acted on the stream: REFUSED_STREAM or GOAWAY (RFC 9113, section 8.7). */
  | "refused"
  /** The connection or the stream ended before any byte of an answer came. */
  | "reset"
  /** The try took longer than its time, see {@linkcode RetryRule.perTryTimeout}. */
  | "timeout"
  /** An HTTP status from 400 to 599, or a status of gRPC from 1 to 16 without an answer before it. */
  | number;

/** How the requests of a route are sent again, where it differs from what the balancer does. */
export interface RetryRule {
  /** Tries for each request, the first included, from 1 to 100. */
  readonly attempts?: number;
  /** After what; nothing at all when it is empty. */
  readonly on?: readonly RetryCondition[];
  /** How long one try may take until its answer begins, in milliseconds. */
  readonly perTryTimeout?: number;
}

/** A second try beside a first one that takes long. */
export interface HedgeRule {
  /** How long the first one is waited for, in milliseconds. */
  readonly delay: number;
}

/** Conditions that have a name. */
const NAMED = ["connect-failure", "refused", "reset", "timeout"] as const;
/** The most tries that a route may ask for. */
const MAX_ATTEMPTS = 100;
/** The longest time that may be given, in milliseconds: an hour. */
const MAX_TIME = 3_600_000;
/** The codes behind OK (grpc/doc/statuscodes.md). */
const MAX_CODE = 16;
const MIN_STATUS = 400;
const MAX_STATUS = 599;

const ACCEPTED =
  `${NAMED.join(", ")}, a status of HTTP from ${MIN_STATUS} to ${MAX_STATUS} or one of ` +
  "gRPC such as UNAVAILABLE";

/** Whether a number is a status of HTTP that says that something went wrong. */
export function isErrorStatus(value: number): boolean {
  return Number.isInteger(value) && value >= MIN_STATUS && value <= MAX_STATUS;
}

/** Whether a number is a code of gRPC other than OK. */
export function isErrorCode(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= MAX_CODE;
}

/**
 * Parses the name of a code of gRPC, in any case, or its number.
 *
 * @throws {TypeError} When it is none, or OK.
 */
export function parseErrorCode(text: string): number {
  const code = /^\d{1,2}$/.test(text) ? Number(text) : STATUS_LABELS.indexOf(text.toUpperCase());
  if (isErrorCode(code)) return code;
  return refuse("gRPC status", text, "it is not known", "UNAVAILABLE and its like, or 1 to 16");
}

/**
 * Parses conditions separated by commas, such as `connect-failure,reset,503,UNAVAILABLE`; `none` for none.
 *
 * @throws {TypeError} When one is not known.
 */
export function parseRetryConditions(text: string): readonly RetryCondition[] {
  return text === "none" ? [] : text.split(",").map((part) => {
    if (/^\d{1,3}$/.test(part)) return checkCondition(Number(part));
    const named = NAMED.find((name) => name === part);
    if (named !== undefined) return named;
    const code = STATUS_LABELS.indexOf(part.toUpperCase());
    return isErrorCode(code) ? code : refuse("retry condition", part, "it is not known", ACCEPTED);
  });
}

/** The text that {@linkcode parseRetryConditions} reads as these conditions. */
export function formatRetryConditions(conditions: readonly RetryCondition[]): string {
  if (conditions.length === 0) return "none";
  return conditions
    .map((one) => typeof one === "number" && isErrorCode(one) ? STATUS_LABELS[one] : String(one))
    .join(",");
}

/**
 * Checks conditions.
 *
 * @throws {TypeError} When one is not known.
 */
export function checkRetryConditions(value: readonly RetryCondition[]): readonly RetryCondition[] {
  if (!Array.isArray(value)) refuse("retry conditions", value, "they are no list", "a list");
  return [...new Set(value.map(checkCondition))];
}

function checkCondition(condition: RetryCondition): RetryCondition {
  const known = typeof condition === "number"
    ? isErrorStatus(condition) || isErrorCode(condition)
    : NAMED.includes(condition);
  return known ? condition : refuse("retry condition", condition, "it is not known", ACCEPTED);
}

/**
 * Checks the time that a try may take or is waited for.
 *
 * @throws {TypeError} When it is out of range.
 */
export function checkTime(what: string, value: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= MAX_TIME) return value;
  return refuse(what, value, "out of range", `whole milliseconds from 1 to ${MAX_TIME}`);
}

/**
 * Checks how many tries there may be.
 *
 * @throws {TypeError} When it is out of range.
 */
export function checkAttempts(value: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= MAX_ATTEMPTS) return value;
  return refuse("retry attempts", value, "out of range", `an integer 1..${MAX_ATTEMPTS}`);
}

/** Milliseconds by unit. */
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000 };

/**
 * Parses a time such as `50ms` or `1.5s`.
 *
 * @throws {TypeError} When it is none.
 */
export function parseTime(what: string, text: string): number {
  const [, digits, unit = ""] = /^(\d{1,7}(?:\.\d{1,3})?)(ms|s)$/.exec(text) ?? [];
  if (digits === undefined) {
    refuse(what, text, "it is no time", "a number with ms or s, as in 50ms");
  }
  return checkTime(what, Math.round(Number(digits) * UNITS[unit]!));
}

/**
 * Parses a number of tries.
 *
 * @throws {TypeError} When it is none.
 */
export function parseAttempts(text: string): number {
  if (/^\d{1,3}$/.test(text)) return checkAttempts(Number(text));
  throw new TypeError(
    `retry attempts ${quote(text)}: no number; accepted is an integer 1..${MAX_ATTEMPTS}`,
  );
}

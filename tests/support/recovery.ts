/**
 * How requests are sent again in tests, and what is said of backends.
 *
 * @module
 */
import {
  GRPC_RETRY_ON,
  HTTP_RETRY_ON,
  Recovery,
  type RecoveryOptions,
} from "../../lib/backend/recovery.ts";
import type { Outcome } from "../../lib/backend/outcome.ts";
import type { Registry } from "../../lib/backend/registry.ts";
import type { Clock } from "../../lib/common/clock.ts";

/** A recovery whose waits go by the clock of the test, and are as long as they may be. */
export function makeRecovery(
  clock: Clock,
  protocol: "http" | "grpc",
  options: RecoveryOptions = {},
): Recovery {
  const on = protocol === "http" ? HTTP_RETRY_ON : GRPC_RETRY_ON;
  return new Recovery({ clock, waits: clock, on, random: () => 1 - Number.EPSILON }, options);
}

/** What is said of the backends from now on, as `host:reason`. */
export function watchOutcomes(registry: Registry): string[] {
  const seen: string[] = [];
  for (const backend of registry.backends) {
    const host = /(\w+):80$/.exec(backend.addr)![1];
    backend.onOutcome = (outcome) => seen.push(`${host}:${sayOutcome(outcome)}`);
  }
  return seen;
}

/** An outcome as text: `ok`, or why it is none, with the milliseconds for which the backend wants to be left alone. */
export function sayOutcome(outcome: Outcome): string {
  if (outcome.type === "answered") return "ok";
  if (outcome.type === "expired") return outcome.type;
  const { type, reason, retryAfter } = outcome;
  return `${type === "busy" ? "busy " : ""}${reason}${
    retryAfter === undefined ? "" : `+${retryAfter}`
  }`;
}

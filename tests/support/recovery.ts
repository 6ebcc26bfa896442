/**
 * How requests are sent again in tests.
 *
 * @module
 */
import {
  GRPC_RETRY_ON,
  HTTP_RETRY_ON,
  Recovery,
  type RecoveryOptions,
} from "../../lib/backend/recovery.ts";
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

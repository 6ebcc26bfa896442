/**
 * Checks on what a backend is added with.
 *
 * @module
 */

import { MAX_WEIGHT, type Registry } from "../backend/registry.ts";
import { formatHostPort } from "../common/address.ts";
import { normalizeTarget } from "../common/dns_name.ts";
import { checkField, ManagementError } from "./management_error.ts";
import type { Caller } from "./model.ts";

/**
 * An address, or a name that is followed, in its normal form.
 *
 * @throws {ManagementError} `invalid_argument` when it is none.
 */
export function checkAddress(field: string, addr: string): string {
  return checkField(field, () => normalizeTarget(addr));
}

/**
 * The address of a caller that registers itself.
 *
 * @throws {ManagementError} `invalid_argument` when there is none, or the port is none.
 */
export function ownAddress(caller: Caller | undefined, port: number): string {
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new ManagementError(
      "invalid_argument",
      `${port} is no port; accepted is an integer from 1 to 65535`,
      "port",
    );
  }
  const hostname = caller?.hostname;
  if (hostname === undefined || hostname === "unix") {
    throw new ManagementError(
      "invalid_argument",
      "it is missing, and the caller has no IP address to register; accepted is host:port",
      "addr",
    );
  }
  return checkAddress("addr", formatHostPort(hostname, port));
}

/** @throws {ManagementError} `invalid_argument` when a weight is given and is none. */
export function checkWeight(weight: number | undefined): void {
  if (weight === undefined) return;
  if (!Number.isInteger(weight) || weight < 0 || weight > MAX_WEIGHT) {
    throw new ManagementError(
      "invalid_argument",
      `${weight} is no weight; accepted is an integer from 0 to ${MAX_WEIGHT}`,
      "weight",
    );
  }
}

/** @throws {ManagementError} `failed_precondition` when services are to be discovered where they cannot be. */
export function checkDiscovery({ discovers }: Registry, wanted: boolean | undefined): void {
  if (wanted !== true || discovers) return;
  throw new ManagementError(
    "failed_precondition",
    "true is not possible here: which service is called is seen by a gRPC balancer at layer 7 only",
    "discover_services",
  );
}

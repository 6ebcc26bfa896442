/**
 * A registry without sockets, and management of it.
 *
 * @module
 */
import { Registry } from "../../lib/backend/registry.ts";
import type { Scheme } from "../../lib/common/address.ts";
import { Clock } from "../../lib/common/clock.ts";
import { Management } from "../../lib/control/management.ts";

/**
 * An empty registry and its management; a connection is never opened.
 *
 * @param scheme The protocol of addresses that name none.
 * @param discovery Whether the services of backends are to be discovered.
 */
export function makeManagement(
  layer: "l4" | "l7",
  scheme: Scheme = "http",
  discovery: "never" | "always" = "never",
): { registry: Registry; management: Management } {
  const registry = new Registry({
    strategy: "round-robin",
    scheme,
    fallback: false,
    discovery,
    clock: new Clock(),
    connect: () => Promise.reject(new Error("no connection is expected")),
    connections: {
      maxConnections: 1,
      maxWaiting: 1,
      waitTimeout: 1,
      idleTimeout: 1,
      connectTimeout: 1,
    },
  });
  return { registry, management: new Management(registry, { layer, defaultPort: 80 }) };
}

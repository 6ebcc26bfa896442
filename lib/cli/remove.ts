/**
 * `lb remove`
 *
 * @module
 */

import type { BackendInfo, RouteInfo } from "../control/management.ts";
import { clientOptions, ManagementClient } from "./client.ts";
import { EXIT, makeCommand } from "./command.ts";

/** Ids of routes are made so; nothing that begins like this is an address. */
const ROUTE_ID = /^r-[0-9a-f]+$/;

/** Removes backends and routes from a running balancer. */
export const command = makeCommand({
  usage: "lb remove ID|ADDR... [options]",
  description: "Removes backends, named by id or address, or routes, named by id, from a running " +
    "balancer. Requests under way finish.",
  examples: [
    ["lb remove http://localhost:8083", "a backend by its address"],
    ["lb remove r-1f3870be274f", "a route"],
  ],
  options: clientOptions,
  operands: { name: "ID|ADDR", min: 1 },
  run: async (values, names) => {
    using client = new ManagementClient(values);
    for (const name of names) {
      const key = encodeURIComponent(name);
      if (ROUTE_ID.test(name)) {
        const route = await client.call<RouteInfo>("DELETE", `/lb/routes/${key}`);
        console.log(
          values.json ? JSON.stringify(route) : `removed route ${route.rule} (${route.id})`,
        );
      } else {
        const backend = await client.call<BackendInfo>("DELETE", `/lb/backends/${key}`);
        console.log(
          values.json ? JSON.stringify(backend) : `removed ${backend.addr} (${backend.id})`,
        );
      }
    }
    return EXIT.ok;
  },
});

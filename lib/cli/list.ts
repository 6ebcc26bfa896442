/**
 * `lb list`
 *
 * @module
 */

import type { BackendInfo, RouteInfo } from "../control/management.ts";
import { clientOptions, ManagementClient } from "./client.ts";
import { EXIT, makeCommand } from "./command.ts";
import { type Column, formatTable } from "./table.ts";

const BACKEND_COLUMNS: readonly Column[] = [
  { title: "ID" },
  { title: "ADDRESS" },
  { title: "STATE" },
  { title: "HEALTH" },
  { title: "WEIGHT", align: "right" },
  { title: "IN FLIGHT", align: "right" },
  { title: "IDLE", align: "right" },
  { title: "ROUTES" },
];

const ROUTE_COLUMNS: readonly Column[] = [
  { title: "ID" },
  { title: "ORIGIN" },
  { title: "RULE" },
];

/** Lists what a running balancer has. */
export const command = makeCommand({
  usage: "lb list [options]",
  description: "Lists the backends and routes of a running balancer.",
  examples: [
    ["lb list", "for people"],
    ["lb list --server http://localhost:9090 --json", "for programs, from the admin listener"],
  ],
  options: clientOptions,
  run: async (values) => {
    using client = new ManagementClient(values);
    const { backends } = await client.call<{ backends: BackendInfo[] }>("GET", "/lb/backends");
    const { routes } = await client.call<{ routes: RouteInfo[] }>("GET", "/lb/routes");
    console.log(
      values.json ? JSON.stringify({ backends, routes }) : describe(backends, routes),
    );
    return EXIT.ok;
  },
});

function describe(backends: readonly BackendInfo[], routes: readonly RouteInfo[]): string {
  const backendRows = backends.map((backend) => [
    backend.id,
    backend.addr,
    backend.state,
    backend.health.state,
    backend.weight === null ? "-" : String(backend.weight),
    String(backend.in_flight),
    String(backend.connections.idle),
    backend.routes.join(" ") || "-",
  ]);
  return [
    backends.length === 0 ? "no backends" : formatTable(BACKEND_COLUMNS, backendRows),
    "",
    routes.length === 0
      ? "no routes"
      : formatTable(ROUTE_COLUMNS, routes.map(({ id, origin, rule }) => [id, origin, rule])),
  ].join("\n");
}

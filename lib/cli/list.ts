/**
 * `lb list`
 *
 * @module
 */

import type { BackendInfo, PoolInfo, RouteInfo } from "../control/management.ts";
import { escapeControls } from "../observe/escape.ts";
import { clientOptions, ManagementClient } from "./client.ts";
import { EXIT, makeCommand } from "./command.ts";
import { type Column, formatTable } from "./table.ts";

const BACKEND_COLUMNS: readonly Column[] = [
  { title: "ID" },
  { title: "ADDRESS" },
  { title: "STATE" },
  { title: "HEALTH" },
  { title: "REASON" },
  { title: "WEIGHT", align: "right" },
  { title: "IN FLIGHT", align: "right" },
  { title: "IDLE", align: "right" },
  { title: "ROUTES" },
];

const NAME_COLUMNS: readonly Column[] = [
  { title: "ID" },
  { title: "NAME" },
  { title: "STATE" },
  { title: "WEIGHT", align: "right" },
  { title: "ADDRESSES" },
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
    // One that runs longer may know of neither names nor panic.
    const { backends, names = [], panic = [] } = await client.call<
      { backends: BackendInfo[]; names?: BackendInfo[]; panic?: PanickingPool[] }
    >("GET", "/lb/backends");
    const { routes } = await client.call<{ routes: RouteInfo[] }>("GET", "/lb/routes");
    console.log(
      values.json
        ? JSON.stringify({ backends, names, panic, routes })
        : describe({ backends, names, panic, routes }),
    );
    return EXIT.ok;
  },
});

type PanickingPool = Pick<PoolInfo, "pool" | "protocol">;

interface Lists {
  readonly backends: readonly BackendInfo[];
  readonly names: readonly BackendInfo[];
  readonly panic: readonly PanickingPool[];
  readonly routes: readonly RouteInfo[];
}

/** The longest reason in the table, in UTF-16 units; JSON has the whole. */
const MAX_REASON = 60;

/** Why a backend is not healthy. Backends have a part in the words, so nothing in them may act on a terminal. */
function describeHealth({ reason, seconds_left }: BackendInfo["health"]): string {
  if (reason === undefined) return "-";
  const text = escapeControls(reason);
  const short = text.length > MAX_REASON ? `${text.slice(0, MAX_REASON - 1)}…` : text;
  return seconds_left === undefined ? short : `${short}; ${seconds_left} s left`;
}

function describePanic({ pool, protocol }: PanickingPool): string {
  return `too few backends of pool ${pool} (${protocol}) are healthy: all of them are picked`;
}

function describe({ backends, names, panic, routes }: Lists): string {
  const backendRows = backends.map((backend) => [
    backend.id,
    backend.addr,
    backend.state,
    backend.health.state,
    describeHealth(backend.health),
    backend.weight === null ? "-" : String(backend.weight),
    String(backend.in_flight),
    String(backend.connections.idle),
    backend.routes.join(" ") || "-",
  ]);
  const nameRows = names.map((name) => [
    name.id,
    name.addr,
    name.state,
    name.weight === null ? "-" : String(name.weight),
    name.addresses?.join(" ") || "not known yet",
    name.routes.join(" ") || "-",
  ]);
  return [
    backends.length === 0 ? "no backends" : formatTable(BACKEND_COLUMNS, backendRows),
    "",
    ...(panic.length === 0 ? [] : [...panic.map(describePanic), ""]),
    ...(names.length === 0 ? [] : [formatTable(NAME_COLUMNS, nameRows), ""]),
    routes.length === 0
      ? "no routes"
      : formatTable(ROUTE_COLUMNS, routes.map(({ id, origin, rule }) => [id, origin, rule])),
  ].join("\n");
}

/**
 * `lb add`
 *
 * @module
 */

import type { AddResult } from "../control/management.ts";
import { clientOptions, ManagementClient } from "./client.ts";
import { EXIT, makeCommand } from "./command.ts";
import { flag, inSection, many, one, UsageError, type Values } from "./options.ts";
import { checkAddress, parsePair, parsePort, parseWeight } from "./values.ts";

const text = (value: string) => value;

const commonOptions = {
  weight: one("N", "its share, 0 to 65535 (default 1, or what it has)", parseWeight),
};

const l4Options = inSection("At layer 4", {
  addr: one(
    "ADDR",
    "the backend; without it the balancer takes this machine's address",
    checkAddress,
  ),
  port: one("N", "the port on this machine (default: what the balancer is told)", parsePort),
});

const conditionOptions = {
  path: many("PATH", "a prefix such as /api, or a pattern such as /users/:id", text),
  header: many("NAME:VALUE", "a header field", parsePair),
  param: many("NAME:VALUE", "a query parameter", parsePair),
  service: many("NAME", "a gRPC service with its package", text),
  method: many("NAME", "a gRPC method", text),
  "full-method": many("NAME", "a gRPC method with its service, such as /pkg.Users/Login", text),
  "grpc-header": many("NAME:VALUE", "a gRPC metadata key", parsePair),
};

const l7Options = inSection("At layer 7", {
  "backend-addr": one("ADDR", "the backend, such as http://localhost:8083", checkAddress),
  ...conditionOptions,
  "discover-services": flag(
    "read its services from its reflection and route calls to it by them, on a gRPC balancer",
  ),
});

const options = { ...commonOptions, ...l4Options, ...l7Options, ...clientOptions };

/** Adds a backend to a running balancer. */
export const command = makeCommand({
  usage: "lb add [options]",
  description: "Adds a backend to a running balancer. At layer 7 conditions make a route to it: " +
    "different kinds must all hold, values of one kind or name are alternatives.",
  examples: [
    ["lb add --addr localhost:8081", "to a balancer at layer 4"],
    ["lb add --server http://lb:8080 --port 8081", "this machine registers itself"],
    [
      "lb add --backend-addr http://localhost:8083 --path /api/v2 --header X-Version:v2",
      "to a balancer at layer 7, for some requests",
    ],
    [
      "lb add --server http://localhost:9090 --backend-addr localhost:50053 --discover-services",
      "to a gRPC balancer, for the services that it has",
    ],
  ],
  options,
  run: async (values) => {
    const body = makeBody(values);
    using client = new ManagementClient(values);
    const added = await client.call<AddResult>("POST", "/lb/add", body);
    console.log(values.json ? JSON.stringify(added) : describe(added));
    return EXIT.ok;
  },
});

function makeBody(values: Values<typeof options>): unknown {
  const conditions = Object.keys(conditionOptions)
    .filter((name) => values[name as keyof typeof conditionOptions].length > 0);
  const addr = values["backend-addr"];
  const weight = values.weight === undefined ? {} : { weight: values.weight };
  if (addr === undefined) {
    const alone = conditions[0] ?? (values["discover-services"] ? "discover-services" : undefined);
    if (alone !== undefined) throw new UsageError(`--${alone} is given without --backend-addr`);
    if (values.addr !== undefined && values.port !== undefined) {
      throw new UsageError("--port is given beside --addr; accepted is one of them");
    }
    const where = {
      ...(values.addr === undefined ? {} : { addr: values.addr }),
      ...(values.port === undefined ? {} : { port: values.port }),
    };
    const body = { ...where, ...weight };
    return Object.keys(body).length === 0 ? undefined : body;
  }
  for (const name of ["addr", "port"] as const) {
    if (values[name] !== undefined) {
      throw new UsageError(`--${name} is given beside --backend-addr; accepted is one of them`);
    }
  }
  return {
    backend_addr: addr,
    ...weight,
    ...list("paths", values.path),
    ...byName("headers", values.header),
    ...byName("params", values.param),
    ...list("services", values.service),
    ...list("methods", values.method),
    ...list("full_methods", values["full-method"]),
    ...byName("grpc_headers", values["grpc-header"]),
    ...(values["discover-services"] ? { discover_services: true } : {}),
  };
}

function list(field: string, values: readonly string[]): Record<string, unknown> {
  return values.length === 0 ? {} : { [field]: values };
}

function byName(
  field: string,
  pairs: readonly (readonly [name: string, value: string])[],
): Record<string, unknown> {
  if (pairs.length === 0) return {};
  const values = Map.groupBy(pairs, ([name]) => name);
  return {
    [field]: Object.fromEntries(
      Array.from(values, ([name, group]) => [name, group.map(([, value]) => value)]),
    ),
  };
}

function describe({ id, addr, created, route_id }: AddResult): string {
  const route = route_id === undefined ? "" : `, route ${route_id}`;
  return created ? `added ${addr} (${id}${route})` : `${addr} was there already (${id}${route})`;
}

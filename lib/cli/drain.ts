/**
 * `lb drain`
 *
 * @module
 */

import type { BackendInfo } from "../control/management.ts";
import { clientOptions, ManagementClient } from "./client.ts";
import { CommandError, EXIT, makeCommand } from "./command.ts";
import { one } from "./options.ts";
import { formatDuration, parseDuration } from "./values.ts";

/** How often a backend is looked at while it drains, in milliseconds. */
const POLL_MS = 100;

/** Drains backends of a running balancer. */
export const command = makeCommand({
  usage: "lb drain ID|ADDR... [options]",
  description: "Sends nothing new to backends of a running balancer; what they have they finish. " +
    "Adding one again ends it.",
  examples: [
    ["lb drain http://localhost:8083", "by address"],
    [
      "lb drain b-1f3870be274f --wait 30s && lb remove b-1f3870be274f",
      "and remove it when it is idle",
    ],
  ],
  options: {
    wait: one(
      "TIME",
      "wait until nothing is under way any more, at most so long",
      (text) => parseDuration(text),
    ),
    ...clientOptions,
  },
  operands: { name: "ID|ADDR", min: 1 },
  run: async (values, names) => {
    using client = new ManagementClient(values);
    for (const name of names) {
      const path = `/lb/backends/${encodeURIComponent(name)}`;
      let backend = await client.call<BackendInfo>("POST", `${path}/drain`);
      if (values.wait !== undefined) backend = await waitUntilIdle(client, path, values.wait);
      console.log(values.json ? JSON.stringify(backend) : describe(backend));
    }
    return EXIT.ok;
  },
});

async function waitUntilIdle(
  client: ManagementClient,
  path: string,
  wait: number,
): Promise<BackendInfo> {
  const deadline = performance.now() + wait;
  for (;;) {
    const backend = await client.call<BackendInfo>("GET", path);
    if (backend.in_flight === 0) return backend;
    if (performance.now() >= deadline) {
      throw new CommandError(
        `${backend.addr} still serves ${backend.in_flight} after ${formatDuration(wait)}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function describe({ id, addr, in_flight }: BackendInfo): string {
  return `${addr} drains, ${in_flight} under way (${id})`;
}

/** A balancer whose host has no local port left for connections to its backends. */
import { assert, assertEquals } from "@std/assert";
import { PROJECT_ROOT } from "../../scripts/module_graph.ts";
import type { PortReport } from "../support/port_program.ts";

/** Gives a network of its own 64 local ports, and runs a program in it. */
const FEW_PORTS = 'ip link set lo up && cd /proc/sys/net/ipv4 && echo "40000 40063" ' +
  '> ip_local_port_range && cd "$0" && exec "$@"';

function inFewPorts(args: readonly string[]): Deno.Command {
  return new Deno.Command("unshare", {
    args: ["-rn", "sh", "-c", FEW_PORTS, PROJECT_ROOT, ...args],
    env: { NO_COLOR: "1" },
  });
}

/** Whether networks of one's own may be made here. */
function hasNetworks(): boolean {
  try {
    return inFewPorts(["true"]).outputSync().success;
  } catch {
    // There is no such program.
    return false;
  }
}

const ignore = Deno.build.os !== "linux" || !hasNetworks();

Deno.test({
  name: "without a local port nothing is held against backends" +
    (ignore ? " (left out: unshare -rn and ip do not work here)" : ""),
  ignore,
  async fn() {
    const command = inFewPorts([
      Deno.execPath(),
      ...["run", "--no-lock", "--no-check", "-A", "tests/support/port_program.ts"],
    ]);
    const { success, stdout, stderr } = await command.output();
    const said = new TextDecoder().decode(stderr);
    assert(success, said);
    const { one, both, states, after }: PortReport = JSON.parse(new TextDecoder().decode(stdout));
    assertEquals(new Set(one.map(({ text }) => text)), new Set(["second"]), "ports are for each");
    assertEquals(new Set(both.map(({ status }) => status)), new Set([503]));
    for (const { text, retryAfter } of both) {
      assertEquals([text, retryAfter], ["local_exhausted", "1"]);
    }
    assertEquals(states, ["healthy", "healthy"]);
    assertEquals(new Set(after.map(({ text }) => text)), new Set(["first", "second"]));
  },
});

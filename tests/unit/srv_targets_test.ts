import { assertEquals, assertRejects } from "@std/assert";
import { SrvTargets } from "../../lib/backend/discovery/srv_targets.ts";
import { linesOf } from "../support/log_lines.ts";

/** Answers by host; an error is thrown, what is not there is not there. */
function scene(hosts: Record<string, readonly string[] | Error>): SrvTargets {
  return new SrvTargets((host) => {
    const answer = hosts[host] ?? Object.assign(new Error("no such host"), { code: "ENOTFOUND" });
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  });
}

function record(target: string, priority = 0, weight = 1) {
  return { target, port: 80, priority, weight };
}

/** The addresses with their weight. */
async function find(targets: SrvTargets, ...records: ReturnType<typeof record>[]) {
  const found = await targets.find(records);
  return found.flatMap(({ hosts, weight }) => hosts.map((host) => `${host}*${weight}`)).join(" ");
}

Deno.test("a host without an address does not stand in the way of the others", async () => {
  const targets = scene({ "a.test": ["10.0.0.1", "10.0.0.2"], "b.test": ["10.0.0.3"] });
  const lines = await linesOf(async () => {
    for (let i = 0; i < 3; i++) {
      assertEquals(
        await find(targets, record("a.test."), record("gone.test."), record("b.test.", 0, 5)),
        "10.0.0.1*1 10.0.0.2*1 10.0.0.3*5",
      );
    }
  });
  assertEquals(lines, [
    "warning lb.dns: a host of a name cannot be resolved; the others are used host=gone.test. " +
    'addresses=0 error="Error: no such host"',
  ]);
});

Deno.test("a host that nothing is said of keeps its last addresses, one that is gone does not", async () => {
  const hosts: Record<string, readonly string[] | Error> = {
    "a.test": ["10.0.0.1"],
    "b.test": ["10.0.0.2"],
  };
  const targets = scene(hosts);
  const records = [record("a.test"), record("b.test")];
  assertEquals(await find(targets, ...records), "10.0.0.1*1 10.0.0.2*1");
  hosts["b.test"] = Object.assign(new Error("temporary failure"), { code: "EAI_AGAIN" });
  for (let i = 0; i < 3; i++) {
    assertEquals(await find(targets, ...records), "10.0.0.1*1 10.0.0.2*1");
  }
  delete hosts["b.test"];
  assertEquals(await find(targets, ...records), "10.0.0.1*1");
  hosts["b.test"] = new Error("timeout");
  assertEquals(await find(targets, ...records), "10.0.0.1*1", "it had none any more");
  hosts["b.test"] = ["10.0.0.4"];
  assertEquals(await find(targets, ...records), "10.0.0.1*1 10.0.0.4*1");
  // What no record names any more is forgotten.
  assertEquals(await find(targets, record("a.test")), "10.0.0.1*1");
  hosts["b.test"] = new Error("timeout");
  assertEquals(await find(targets, ...records), "10.0.0.1*1");
});

Deno.test("the lowest priority of which a host has an address is used (RFC 2782)", async () => {
  const hosts: Record<string, readonly string[]> = {
    "b.test": ["10.0.0.2"],
    "c.test": ["10.0.0.3"],
  };
  const targets = scene(hosts);
  const records = [record("c.test", 30), record("a.test", 10), record("b.test", 20)];
  assertEquals(await find(targets, ...records), "10.0.0.2*1");
  hosts["a.test"] = ["10.0.0.1"];
  assertEquals(await find(targets, ...records), "10.0.0.1*1");
});

Deno.test("only when no host has an address it fails, and says why for each", async () => {
  const targets = scene({ "b.test": new Error("timeout") });
  await assertRejects(
    () => targets.find([record("a.test"), record("b.test", 1)]),
    Error,
    "no host of 2 records has an address (a.test: Error: no such host; b.test: Error: timeout)",
  );
  await assertRejects(() => targets.find([]), Error, "no host of 0 records");
});

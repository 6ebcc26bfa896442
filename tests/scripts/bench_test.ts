import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { findProgram } from "../../scripts/bench/process.ts";
import type { Report } from "../../scripts/bench/report.ts";
import { PROJECT_ROOT } from "../../scripts/module_graph.ts";

/** Runs a script of the project to its end. */
async function runScript(name: string, args: string[]): Promise<{ code: number; output: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", `${PROJECT_ROOT}/scripts/${name}`, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}

Deno.test({
  name: "the comparison measures lb and every installed proxy (needs nginx and wrk)",
  ignore: findProgram("nginx") === undefined || findProgram("wrk") === undefined,
  fn: async () => {
    const json = await Deno.makeTempFile({ prefix: "lb-bench-", suffix: ".json" });
    try {
      const args = ["--scenario", "http-l7", "--rounds", "1", "--seconds", "1", "--json", json];
      const { code, output } = await runScript("bench.ts", args);
      assertEquals(code, 0, output);
      const report: Report = JSON.parse(await Deno.readTextFile(json));
      const [scenario] = report.scenarios;
      assert(scenario !== undefined);
      const names = scenario.rows.map(({ name }) => name);
      assertEquals(names.slice(0, 2), ["direct", "nginx"]);
      assertEquals(names.at(-1), "lb");
      for (const { name, requestsPerSecond, errors } of scenario.rows) {
        assertGreater(requestsPerSecond, 0, name);
        assertEquals(errors, 0, name);
      }
      assertEquals(scenario.ratios[0]?.name, "nginx");
      assertStringIncludes(output, "requests/s");
    } finally {
      await Deno.remove(json);
    }
  },
});

Deno.test({
  name:
    "a build of lb that does not start ends the comparison with its output (needs nginx and wrk)",
  ignore: findProgram("nginx") === undefined || findProgram("wrk") === undefined,
  fn: async () => {
    const lb = "sh -c 'echo cannot start; exit 3'";
    const { code, output } = await runScript("bench.ts", ["--lb", lb]);
    assertEquals(code, 1);
    assertStringIncludes(output, "bench: lb did not open port");
    assertStringIncludes(output, "cannot start");
  },
});

Deno.test({
  name: "the memory of idle connections is measured while all of them are alive (needs Linux)",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const args = ["--connections", "300", "--settle", "0"];
    const { code, output } = await runScript("idle_memory.ts", args);
    assertEquals(code, 0, output);
    assertStringIncludes(output, "answered at first       300 of 300");
    assertStringIncludes(output, "answered after the rest 30 of 30 asked again");
  },
});

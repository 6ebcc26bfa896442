import { assertEquals, assertStringIncludes } from "@std/assert";
import { findOutsideProgram } from "../../scripts/load/fleet.ts";
import { PROJECT_ROOT } from "../../scripts/module_graph.ts";
import type { Report } from "../../scripts/outage/report.ts";

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
  name: "a load from h2load goes through a killed backend without a failure (needs h2load)",
  ignore: Deno.build.os !== "linux" || findOutsideProgram("h2load") === undefined,
  fn: async () => {
    const json = await Deno.makeTempFile({ prefix: "lb-outage-", suffix: ".json" });
    try {
      const { code, output } = await runScript("outage.ts", [
        ...["--minutes", "0.08", "--rate", "200", "--every", "60", "--down", "1", "--json", json],
      ]);
      assertEquals(code, 0, output);
      const { parts, disturbance }: Report = JSON.parse(await Deno.readTextFile(json));
      assertEquals([parts[0]?.generator, disturbance], ["h2load", "1 kills"]);
      assertStringIncludes(output, "failed, may be retried    0");
    } finally {
      await Deno.remove(json);
    }
  },
});

for (
  const [args, message] of [
    [["--mode", "nothing"], "--mode: 'nothing' is none of kill, total, restart, churn, none"],
    [["--minutes", "0"], "--minutes: '0' is not a number above 0 up to 1440"],
    [["--rate", "many"], "--rate: 'many' is not a whole number from 1 to 100000"],
    [["--speed", "1"], "'--speed' is not an option of this command; see --help"],
  ] as const
) {
  Deno.test({
    name: `outage ${args.join(" ")} is refused with what is accepted`,
    ignore: Deno.build.os !== "linux",
    fn: async () => {
      const { code, output } = await runScript("outage.ts", [...args]);
      assertEquals([code, output.trim()], [1, `outage: ${message}`]);
    },
  });
}

Deno.test({
  name: "a short soak leaves nothing behind and prints what it has measured (needs Linux)",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const { code, output } = await runScript("soak.ts", ["--minutes", "0.2", "--rate", "150"]);
    assertEquals(code, 0, output);
    for (const balancer of ["mux", "http-l4", "grpc-l4"]) {
      assertStringIncludes(output, `\n${balancer}\n  connections  0 → 0, to backends 0 → 0\n`);
    }
    assertStringIncludes(output, "fitted growth");
  },
});

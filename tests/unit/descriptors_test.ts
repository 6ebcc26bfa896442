import { assert, assertEquals } from "@std/assert";
import { descriptorLimit } from "../../lib/common/descriptors.ts";

/** The limit that a child of this process has, which it inherits. */
async function inheritedLimit(): Promise<number> {
  const shell = new Deno.Command("sh", { args: ["-c", "ulimit -Sn"] });
  return Number(new TextDecoder().decode((await shell.output()).stdout));
}

Deno.test({
  name: "the limit of open descriptors is the one that the system has set for the process",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const limit = await inheritedLimit();
    // Without a limit there is no number to read.
    assertEquals(descriptorLimit(), Number.isNaN(limit) ? 1024 : limit);
  },
});

Deno.test({
  name: "without permission to read, the limit that most systems begin with is assumed",
  permissions: "none",
  fn() {
    assertEquals(descriptorLimit(), 1024);
  },
});

Deno.test("the limit leaves room for work", () => {
  assert(descriptorLimit() >= 64);
});

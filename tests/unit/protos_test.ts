import { assert } from "@std/assert";
import { PROJECT_ROOT } from "../../scripts/module_graph.ts";
import { generate, TARGET } from "../../scripts/protos.ts";

Deno.test("the definitions in the program are those below proto/", async () => {
  const current = await Deno.readTextFile(`${PROJECT_ROOT}/${TARGET}`);
  assert(current === await generate(), "run deno run -A scripts/protos.ts");
});

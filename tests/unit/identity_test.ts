import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { makeRequestId } from "../../lib/common/request_id.ts";
import { stableId } from "../../lib/common/stable_id.ts";

Deno.test("request ids are 32 hexadecimal digits and never the same twice", () => {
  const ids = new Set<string>();
  for (let i = 0; i < 10_000; i++) ids.add(makeRequestId());
  assertEquals(ids.size, 10_000);
  for (const id of ids) assertMatch(id, /^[0-9a-f]{32}$/);
});

Deno.test("request ids of one process begin alike, those of another do not", async () => {
  const script = `import { makeRequestId } from ${
    JSON.stringify(import.meta.resolve("../../lib/common/request_id.ts"))
  }; console.log(makeRequestId());`;
  const other = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-lock", "--no-config", script],
  });
  const theirs = new TextDecoder().decode((await other.output()).stdout).trim();
  assertMatch(theirs, /^[0-9a-f]{32}$/);
  const [first, second] = [makeRequestId(), makeRequestId()];
  assertEquals(first.slice(0, 16), second.slice(0, 16));
  assertNotEquals(first.slice(0, 16), theirs.slice(0, 16));
});

Deno.test("an id follows from its text, in every process and version", () => {
  // printf %s 'http://a:80' | sha256sum | head -c 12
  assertEquals(stableId("b", "http://a:80"), "b-677a0eb9011b");
  assertEquals(stableId("r", "http://a:80"), "r-677a0eb9011b");
});

Deno.test("texts that differ have ids that differ", () => {
  const ids = new Set<string>();
  for (let port = 1; port < 5000; port++) ids.add(stableId("b", `http://a:${port}`));
  assertEquals(ids.size, 4999);
  for (const id of ids) assert(/^b-[0-9a-f]{12}$/.test(id), id);
});

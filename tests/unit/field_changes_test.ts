import { assert, assertEquals } from "@std/assert";
import { compileChanges } from "../../lib/http/field_changes.ts";

Deno.test("no changes are no changes", () => {
  assertEquals(compileChanges(undefined), undefined);
  assertEquals(compileChanges({}), undefined);
  assertEquals(compileChanges({ remove: [], set: [], add: [] }), undefined);
});

Deno.test("what is removed or set is not copied, names without case", () => {
  const changes = compileChanges({ remove: ["X-Gone"], set: [["X-Set", "1"]] });
  assert(changes !== undefined);
  assertEquals([...changes.drop].sort(), ["x-gone", "x-set"]);
  assertEquals(changes.write, [["X-Set", "1"]]);
});

Deno.test("what is added leaves those of its name alone", () => {
  const changes = compileChanges({ add: [["X-Add", "1"], ["x-add", "2"]] });
  assert(changes !== undefined);
  assertEquals(changes.drop.size, 0);
  assertEquals(changes.write, [["X-Add", "1"], ["x-add", "2"]]);
});

Deno.test("set fields are written before added ones, so that one may do both", () => {
  const changes = compileChanges({
    remove: ["x"],
    set: [["a", "1"], ["b", "2"]],
    add: [["a", "3"]],
  });
  assertEquals(changes?.write, [["a", "1"], ["b", "2"], ["a", "3"]]);
  assertEquals([...changes!.drop].sort(), ["a", "b", "x"]);
});

import { assertEquals } from "@std/assert";
import { findFaults, parsePublished } from "../../scripts/check_publish.ts";

const OUTPUT = `Check mod.ts
Checking for slow types in the public API...
Simulating publish of @scope/name@1.2.3 with files:
   file:///p%20q/LICENSE (4B)
   file:///p%20q/lib/a.ts (1.09KB)
   file:///elsewhere/b.ts (12.5MB)
Success Dry run complete
`;

Deno.test("the files of a dry run are read relative to the project", () => {
  assertEquals(parsePublished(OUTPUT, "file:///p%20q/"), [
    "LICENSE",
    "lib/a.ts",
    "file:///elsewhere/b.ts",
  ]);
});

const COMPLETE = ["mod.ts", "deno.json", "README.md", "LICENSE", "lib/a.ts", "proto/lb.proto"];

Deno.test("a package with the library and the texts about it has no faults", () => {
  assertEquals(findFaults([...COMPLETE, "CHANGELOG.md"], ["mod.ts", "lib/a.ts"]), []);
});

Deno.test("files that are no part of the library are named", () => {
  assertEquals(findFaults([...COMPLETE, "main.ts", "tests/unit/a_test.ts", "library/x.ts"], []), [
    "main.ts would be published, but is no part of the library",
    "tests/unit/a_test.ts would be published, but is no part of the library",
    "library/x.ts would be published, but is no part of the library",
  ]);
});

Deno.test("needed files that are left out are named once", () => {
  const files = COMPLETE.filter((file) => file !== "LICENSE" && file !== "mod.ts");
  assertEquals(findFaults(files, ["mod.ts", "lib/a.ts", "lib/b.ts"]), [
    "LICENSE would not be published, but is needed",
    "lib/b.ts would not be published, but is needed",
    "mod.ts would not be published, but is needed",
  ]);
});

import { assert, assertEquals } from "@std/assert";
import { findDependents } from "../../scripts/conformance/dependents.ts";

Deno.test("the conformance run finds every test that uses a program of others, and no other", async () => {
  const found = await findDependents("tests", "tests/support/tools.ts");
  for (const file of found) assert(file.endsWith("_test.ts"), file);
  assertEquals(found, [...found].sort());
  // One imports the file itself, one through the support of gRPC clients.
  for (const name of ["conformance/grpcurl_test.ts", "net/grpc_services_test.ts"]) {
    assert(found.includes(`tests/${name}`), name);
  }
  assert(!found.includes("tests/conformance/http1_requests_test.ts"));
});

Deno.test("a file that nothing imports has no dependents", async () => {
  assertEquals(await findDependents("tests", "tests/unit/conformance_test.ts"), []);
});

import { assertEquals } from "@std/assert";
import { findLocalLack } from "../../lib/common/local_lack.ts";

function systemError(code: string): Error {
  return Object.assign(new Error(`${code} (os error)`), { code });
}

Deno.test("what a process or its system runs out of is told from what peers do", () => {
  const lacks = {
    EMFILE: "descriptors",
    ENFILE: "descriptors",
    ENOBUFS: "memory",
    ENOMEM: "memory",
    ECONNREFUSED: undefined,
    ECONNRESET: undefined,
    EHOSTUNREACH: undefined,
    ENETUNREACH: undefined,
    ETIMEDOUT: undefined,
    ENOENT: undefined,
  };
  for (const [code, lack] of Object.entries(lacks)) {
    assertEquals(findLocalLack(systemError(code)), lack, code);
  }
});

Deno.test("that an address cannot be had is no lack of ports while there are ports", () => {
  assertEquals(findLocalLack(systemError("EADDRNOTAVAIL")), undefined);
});

Deno.test("that a name is not found is no lack of descriptors while there are descriptors", () => {
  assertEquals(findLocalLack(new Error("failed to lookup address information")), undefined);
  assertEquals(findLocalLack("no error at all"), undefined);
});

Deno.test({
  name: "without permission to look, nothing is said of ports and descriptors",
  permissions: "none",
  fn() {
    assertEquals(findLocalLack(systemError("EADDRNOTAVAIL")), undefined);
    assertEquals(findLocalLack(new Error("failed to lookup address information")), undefined);
  },
});

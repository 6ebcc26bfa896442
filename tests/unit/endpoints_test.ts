import { assertEquals, assertThrows } from "@std/assert";
import { ALL_PASSED, findEndpoints, type Inherited, type Wanted } from "../../lib/cli/endpoints.ts";
import { UsageError } from "../../lib/cli/options.ts";

const NOTHING: Inherited = { passed: [], handedOver: [] };

function find(wanted: Partial<Wanted>, inherited: Partial<Inherited> = {}) {
  const { endpoints, unwanted } = findEndpoints(
    { listen: [], admin: undefined, fallback: ":8080", ...wanted },
    { ...NOTHING, ...inherited },
  );
  const open = endpoints.map(({ role, key, address, file }) =>
    [role, key, address, ...file === undefined ? [] : [file]].join(" ")
  );
  return { open, unwanted };
}

Deno.test("without anything inherited, what is asked for is bound, or else the default", () => {
  assertEquals(find({}).open, ["listen :8080 :8080"]);
  assertEquals(find({ listen: [":1", "unix:/a"], admin: ":2" }).open, [
    "admin :2 :2",
    "listen :1 :1",
    "listen unix:/a unix:/a",
  ]);
});

Deno.test("passed sockets are found by number and name; without an address all the others are used", () => {
  const passed = [
    { fd: 3, name: "web" },
    { fd: 4, name: "ops" },
    { fd: 5, name: "web" },
  ];
  assertEquals(find({ listen: ["fd:4", "fd:web"] }, { passed }).open, [
    "listen fd:4 fd:4",
    "listen fd:web fd:3",
    "listen fd:web fd:5",
  ]);
  assertEquals(find({ admin: "fd:ops" }, { passed }).open, [
    "admin fd:ops fd:4",
    `listen ${ALL_PASSED} fd:3`,
    `listen ${ALL_PASSED} fd:5`,
  ]);
  assertThrows(
    () => find({ listen: ["fd:grpc"] }, { passed }),
    UsageError,
    'no socket of this name was passed; there is "web", "ops"',
  );
  assertThrows(() => find({ listen: ["fd:web"] }), UsageError, "none was at all");
  assertThrows(() => find({ admin: "fd:web" }, { passed }), UsageError, "2 sockets have this name");
});

Deno.test("what the process before listened on is taken by the same address, and the rest is bound or left", () => {
  const handedOver = [
    { role: "admin", key: ":2", fd: 10 },
    { role: "listen", key: "127.0.0.1:0", fd: 11 },
    { role: "listen", key: "127.0.0.1:0", fd: 12 },
    { role: "listen", key: "unix:/a", fd: 13, file: "/a" },
    { role: "listen", key: ":9", fd: 14 },
  ] as const;
  const { open, unwanted } = find(
    { listen: ["unix:/a", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", ":2"], admin: ":2" },
    { handedOver },
  );
  assertEquals(open, [
    "admin :2 fd:10",
    "listen unix:/a fd:13 /a",
    "listen 127.0.0.1:0 fd:11",
    "listen 127.0.0.1:0 fd:12",
    "listen 127.0.0.1:0 127.0.0.1:0",
    "listen :2 :2",
  ]);
  assertEquals(unwanted, [14]);
});

Deno.test("passed sockets are handed over under the name that they were asked for with", () => {
  const handedOver = [
    { role: "listen", key: ALL_PASSED, fd: 20 },
    { role: "listen", key: ALL_PASSED, fd: 21 },
    { role: "admin", key: "fd:ops", fd: 22 },
  ] as const;
  assertEquals(find({ admin: "fd:ops" }, { handedOver }), {
    open: ["admin fd:ops fd:22", `listen ${ALL_PASSED} fd:20`, `listen ${ALL_PASSED} fd:21`],
    unwanted: [],
  });
});

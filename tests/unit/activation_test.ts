import { assertEquals, assertThrows } from "@std/assert";
import { type Environment, takePassedSockets } from "../../lib/cli/activation.ts";
import { UsageError } from "../../lib/cli/options.ts";

const PID = 4711;

function environment(
  variables: Record<string, string>,
): Environment & { left: Map<string, string> } {
  const left = new Map(Object.entries(variables));
  return { left, get: (name) => left.get(name), delete: (name) => void left.delete(name) };
}

Deno.test("sockets that were passed begin at descriptor 3 and have the names that were given", () => {
  const env = environment({
    LISTEN_PID: "4711",
    LISTEN_FDS: "2",
    LISTEN_FDNAMES: "web:lb.socket",
    A: "b",
  });
  assertEquals(takePassedSockets(env, PID), [{ fd: 3, name: "web" }, { fd: 4, name: "lb.socket" }]);
  assertEquals(
    [...env.left],
    [["A", "b"]],
    "what is started from here must not take them for its own",
  );
});

Deno.test("without names sockets are called unknown, as sd_listen_fds_with_names does", () => {
  const env = environment({ LISTEN_PID: "4711", LISTEN_FDS: "1" });
  assertEquals(takePassedSockets(env, PID), [{ fd: 3, name: "unknown" }]);
});

Deno.test("sockets that were meant for another process are left alone", () => {
  for (const variables of [{}, { LISTEN_FDS: "1" }, { LISTEN_PID: "1", LISTEN_FDS: "1" }]) {
    const env = environment(variables);
    assertEquals(takePassedSockets(env, PID), []);
    assertEquals(env.left.size, 0);
  }
});

Deno.test("variables that make no sense are refused with what they are", () => {
  const take = (variables: Record<string, string>) => () =>
    takePassedSockets(environment({ LISTEN_PID: "4711", ...variables }), PID);
  assertThrows(take({ LISTEN_FDS: "some" }), UsageError, 'LISTEN_FDS is "some"');
  assertThrows(
    take({ LISTEN_FDS: "2", LISTEN_FDNAMES: "web" }),
    UsageError,
    "1 names for 2 sockets",
  );
});

/**
 * Real calls by grpcio for Python, whose core is in C++ and has nothing of grpc-go, against servers made
 * with grpc-go.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { PingRelay } from "../support/grpc_ping_relay.ts";
import { Balancer, runForJson, startBackend } from "../support/grpc_programs.ts";
import { testWithTools } from "../support/tools.ts";

const TOOLS = ["grpc_backend", "python_grpcio"] as const;

const SCRIPT = new URL("../support/python/grpcio_client.py", import.meta.url).pathname;

/** What each case comes to, whatever is between. */
const EXPECTED = {
  unary: true,
  big_message: true,
  server_stream: [31415, 9, 2653, 58979],
  client_stream: 74922,
  both_streams: Array(20).fill(true),
  many_at_once: 500,
  gzip: { "compressed: True": true, "compressed: False": true },
  cancellation: { came: 1, code: "CANCELLED" },
  unimplemented: {
    code: "UNIMPLEMENTED",
    message: "method UnimplementedCall not implemented",
    details: "",
  },
} as const;

for (const kind of ["grpc-l7", "grpc-l4"] as const) {
  testWithTools(TOOLS, `calls by grpcio come to the same through ${kind}`, async (tools, t) => {
    const { grpc_backend, python_grpcio } = tools;
    await using one = await startBackend(grpc_backend, { name: "one" });
    await using two = await startBackend(grpc_backend, { name: "two" });
    await using balancer = await Balancer.start(kind, [one, two]);
    const cases = [...Object.keys(EXPECTED), "metadata", "error", "deadline"];
    const run = (addr: string) => runForJson(python_grpcio, [SCRIPT, addr, ...cases]);
    const direct = await run(one.addr);
    const outcomes = await run(balancer.addr);
    for (const [name, expected] of Object.entries(EXPECTED)) {
      await t.step(name, () => assertEquals(outcomes[name], expected));
    }
    for (const name of ["metadata", "error"]) {
      await t.step(name, () => assertEquals(outcomes[name], direct[name]));
    }
    await t.step("deadline", () => {
      // The server knows the deadline too, and may reset the stream just before the client gives up.
      const { came, code } = outcomes.deadline;
      assertEquals(came, 1);
      assert(["DEADLINE_EXCEEDED", "CANCELLED"].includes(code), code);
    });
    await balancer.stop();
  });

  testWithTools(
    TOOLS,
    `a silent stream whose client pings goes on through ${kind}`,
    async ({ grpc_backend, python_grpcio }) => {
      await using backend = await startBackend(grpc_backend);
      // Its pings come twice a second, so that the test is short; by default that is too often.
      await using balancer = await Balancer.start(kind, [backend], [
        "--min-ping-interval",
        "500ms",
      ]);
      await using relay = new PingRelay(balancer.addr);
      const { keepalive } = await runForJson(python_grpcio, [SCRIPT, relay.addr, "keepalive"]);
      assertEquals(keepalive, ["before", "after"]);
      // The other connection is the one of reflection.
      const pings = Math.max(...relay.pings);
      assert(pings >= 3, `pings: ${relay.pings}`);
      await balancer.stop();
    },
  );
}

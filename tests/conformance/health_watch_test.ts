/**
 * Streams of `grpc.health.v1.Health/Watch` of a server made with grpc-go.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Balancer, runForJson, startBackend } from "../support/grpc_programs.ts";
import { until } from "../support/net.ts";
import { testWithTools } from "../support/tools.ts";

const TOOLS = ["grpc_backend", "grpc_client"] as const;
/** How long may be waited for what comes soon on a machine that is not busy, in milliseconds. */
const SOON = 30_000;

testWithTools(
  TOOLS,
  "grpc-go does not mind being watched, however often it is asked for a sign of life",
  async ({ grpc_backend, grpc_client }) => {
    await using one = await startBackend(grpc_backend, { name: "one" });
    await using balancer = await Balancer.start("grpc-l7", [one], [
      ...["--health-check", "grpc-watch", "--health-interval", "50ms", "--health-fall", "1"],
    ]);
    const calls = () =>
      runForJson(grpc_client, ["spread", "-addr", balancer.addr, "-calls", "100"]);
    // Far more checks beside the stream than the PINGs after which grpc-go would say too_many_pings.
    const end = performance.now() + 3000;
    while (performance.now() < end) assertEquals((await calls()).calls.failed, {});
    assertEquals(await balancer.metric("lb_backend_healthy"), 1);
    const { stderr } = await balancer.program.stop();
    assertEquals(stderr.includes("fails its health checks"), false, stderr);
  },
);

testWithTools(
  TOOLS,
  "a watched server of grpc-go that waits for its streams can end, and is then not picked",
  async ({ grpc_backend }) => {
    await using one = await startBackend(grpc_backend, { name: "one" });
    await using two = await startBackend(grpc_backend, { name: "two" });
    await using balancer = await Balancer.start("grpc-l7", [one, two], [
      ...["--health-check", "grpc-watch", "--health-interval", "100ms"],
    ]);
    await until(
      async () => await balancer.metric("lb_backend_healthy") === 2,
      "both are healthy",
      SOON,
    );
    const { code, stderr } = await two.program.stop();
    assertEquals(code, 0, stderr);
    await until(
      async () => await balancer.metric("lb_backend_healthy") === 1,
      "one is healthy",
      SOON,
    );
    const ended = await balancer.program.stop();
    assertStringIncludes(ended.stderr, "a backend cannot be reached");
  },
);

testWithTools(
  TOOLS,
  "a server of grpc-go that has the service unknown is not picked, and one that lets go of connections is",
  async ({ grpc_backend, grpc_client }) => {
    await using ages = await startBackend(grpc_backend, { name: "ages", maxConnectionAge: 300 });
    await using balancer = await Balancer.start("grpc-l7", [ages], [
      ...["--health-check", "grpc-watch", "--health-interval", "100ms", "--health-fall", "1"],
    ]);
    // The connections of calls grow as old as that of the stream.
    await until(
      async () => {
        await runForJson(grpc_client, ["spread", "-addr", balancer.addr, "-calls", "1"]);
        return await balancer.metric("lb_upstream_connects_total") >= 5;
      },
      "five connections",
      SOON,
    );
    const { stderr } = await balancer.program.stop();
    assertEquals(stderr.includes("fails its health checks"), false, stderr);
    await using unknown = await Balancer.start("grpc-l7", [ages], [
      ...["--health-check", "grpc-watch:no.Such"],
    ]);
    await unknown.program.find(/reason="the health service says SERVICE_UNKNOWN"/);
    await unknown.stop();
  },
);

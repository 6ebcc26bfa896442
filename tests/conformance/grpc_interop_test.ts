/**
 * The official gRPC interop suite (grpc/grpc, doc/interop-test-descriptions.md): grpc-go's own client and
 * servers with a balancer between them.
 *
 * Left out, because the client has no such case: `cacheable_unary`, and those that need accounts of a
 * cloud (`compute_engine_creds`, `jwt_token_creds`, …). The compression cases, which it does not have
 * either, are made by a client of the project's own with grpc-go.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Balancer, runClient, runForJson } from "../support/grpc_programs.ts";
import { startBackend, startInteropServer } from "../support/grpc_programs.ts";
import { testWithTools } from "../support/tools.ts";

const TOOLS = ["interop_client", "interop_server", "grpc_backend", "grpc_client"] as const;

const CASES = [
  "empty_unary",
  "large_unary",
  "client_streaming",
  "server_streaming",
  "ping_pong",
  "empty_stream",
  "custom_metadata",
  "status_code_and_message",
  "special_status_message",
  "unimplemented_method",
  "unimplemented_service",
  "cancel_after_begin",
  "cancel_after_first_response",
  "timeout_on_sleeping_server",
  "rpc_soak",
  "channel_soak",
  "orca_per_rpc",
] as const;

const COMPRESSION_CASES = [
  "client_compressed_unary",
  "server_compressed_unary",
  "client_compressed_streaming",
  "server_compressed_streaming",
] as const;

/** The policy with which the client reads load reports (gRFC A51). */
const ORCA_POLICY = '{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}';

/** What is timed is whether a call hangs, not how busy the machine is. */
const SOAK = [
  ...["--soak_iterations", "20", "--soak_overall_timeout_seconds", "40"],
  ...["--soak_per_iteration_max_acceptable_latency_ms", "10000"],
];

async function runCase(client: string, addr: string, name: string): Promise<void> {
  const { code, stderr } = await runClient(client, [
    ...["--server_host", "127.0.0.1", "--server_port", addr.slice(addr.lastIndexOf(":") + 1)],
    ...["--test_case", name],
    ...(name.endsWith("_soak") ? SOAK : []),
    ...(name.startsWith("orca_") ? ["--service_config_json", ORCA_POLICY] : []),
  ]);
  assertEquals(code, 0, stderr);
}

for (const kind of ["grpc-l7", "grpc-l4"] as const) {
  testWithTools(TOOLS, `the gRPC interop suite passes through ${kind}`, async (tools, t) => {
    await using one = await startInteropServer(tools.interop_server);
    await using two = await startInteropServer(tools.interop_server);
    await using own = await startBackend(tools.grpc_backend, { name: "own" });
    await using other = await startBackend(tools.grpc_backend, { name: "other" });
    await using balancer = await Balancer.start(kind, [one, two]);
    await using ownBalancer = await Balancer.start(kind, [own, other]);
    await using single = await Balancer.start(kind, [one]);

    for (const name of CASES) {
      await t.step(name, () => runCase(tools.interop_client, balancer.addr, name));
    }
    // Its two streams must meet the same server, which per call only one backend can promise.
    await t.step(
      "orca_oob",
      () =>
        runCase(
          tools.interop_client,
          (kind === "grpc-l4" ? balancer : single).addr,
          "orca_oob",
        ),
    );
    // grpc-go's server does not give its id. That all calls meet one server is what layer 4 promises.
    await t.step({
      name: kind === "grpc-l4"
        ? "pick_first_unary"
        : "pick_first_unary (left out: at layer 7 each call goes its own way)",
      ignore: kind !== "grpc-l4",
      fn: () => runCase(tools.interop_client, ownBalancer.addr, "pick_first_unary"),
    });
    const outcomes = await runForJson(tools.grpc_client, ["compress", "-addr", ownBalancer.addr]);
    for (const name of COMPRESSION_CASES) {
      await t.step(name, () => assertEquals(outcomes[name], "ok"));
    }
    await t.step("both servers were used, and no attempt failed", async () => {
      for (const server of [one, two]) assert(await balancer.served(server) >= 10, server.addr);
      assertEquals(await balancer.metric("lb_upstream_failures_total"), 0);
    });
    await balancer.stop();
    await ownBalancer.stop();
    await single.stop();
  });
}

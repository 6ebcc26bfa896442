import { assertEquals } from "@std/assert";
import { GrpcL4, type LoadBalancerOptions } from "../../mod.ts";
import { HEALTH_PROTO, LB_PROTO } from "../../lib/grpc/protos.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import { type Message, ServiceClient } from "../support/grpc_client.ts";
import { echo, H2Backend, H2Client } from "../support/h2_peer.ts";
import { until } from "../support/net.ts";

const LB = loadProto(LB_PROTO).service("lb.LoadBalancer");
const HEALTH = loadProto(HEALTH_PROTO).service("grpc.health.v1.Health");

async function run(options: LoadBalancerOptions = {}) {
  const lb = new GrpcL4({ timeouts: { shutdown: 2000 }, ...options });
  const server = await lb.start("127.0.0.1:0");
  const address = `127.0.0.1:${(server.addr as Deno.NetAddr).port}`;
  return { lb, server, address, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("lb.LoadBalancer adds, lists and watches on a balancer at layer 4, where routes are refused", async () => {
  await using balancer = await run();
  await using client = new ServiceClient(balancer.address, LB);
  const watch = client.watch("Watch", {});
  assertEquals((await watch.next())!["kind"], "SYNCED");
  const added = await client.call("AddL4", { addr: "localhost:50054", weight: 3 });
  assertEquals([added["addr"], added["created"]], ["grpc://localhost:50054", true]);
  const again = await client.call("AddL4", { addr: "localhost:50054" });
  assertEquals([again["id"], again["created"] ?? false], [added["id"], false]);
  const { code } = await client.failure("AddL7", {
    backend_addr: "localhost:50055",
    services: ["myapp.UserService"],
  });
  assertEquals(code, GrpcStatus.FailedPrecondition);
  const { backends } = await client.call("List", {});
  assertEquals(
    backends.map(({ addr, state, weight }: Message) => [addr, state, weight]),
    [["grpc://localhost:50054", "ACTIVE", 3]],
  );
  const change = await watch.next();
  assertEquals([change!["kind"], change!["backend"].id], ["ADDED", added["id"]]);
  watch.cancel();
});

Deno.test("health is answered on a connection whose calls go to a backend, at the same time", async () => {
  await using backend = H2Backend.listen({ onCall: echo });
  await using balancer = await run({ backends: [backend.addr] });
  await using health = new ServiceClient(balancer.address, HEALTH);
  assertEquals((await health.call("Check", {}))["status"], "SERVING");
  await using client = await H2Client.connect(balancer.server.addr);
  const open = client.call("/s.S/Chat", { open: true });
  const check = client.call("/grpc.health.v1.Health/Check", { content: new Uint8Array(5) });
  client.send(open, "before;");
  assertEquals((await check.done).value("grpc-status"), "0");
  client.send(open, "after", true);
  assertEquals([(await open.done).text, open.value("grpc-status")], ["before;after", "0"]);
});

Deno.test("each connection has a backend of its own for all of its calls", async () => {
  await using one = H2Backend.listen();
  await using two = H2Backend.listen();
  await using balancer = await run({ backends: [one.addr, two.addr] });
  for (let i = 0; i < 4; i++) {
    await using client = await H2Client.connect(balancer.server.addr);
    const calls = Array.from({ length: 10 }, () => client.call("/s.S/M", { content: "ask" }));
    for (const call of calls) assertEquals((await call.done).value("grpc-status"), "0");
  }
  assertEquals([one.calls.length, two.calls.length], [20, 20]);
  assertEquals([one.accepted, two.accepted], [2, 2]);
  await until(
    () => one.connections.size + two.connections.size === 0,
    () => "connections to backends stay behind",
  );
});

Deno.test("64 MiB pass in either direction beside calls of own services", async () => {
  const size = 64 * 1024 * 1024;
  const piece = new Uint8Array(1024 * 1024);
  await using backend = H2Backend.listen({
    onCall: (call) => {
      call.keeps = false;
      call.head();
      if (call.path.endsWith("Down")) {
        for (let sent = 0; sent < size; sent += piece.length) call.send(piece);
        return call.end();
      }
      call.onEvent = () => {
        if (call.ended) call.end([["grpc-status", call.received === size ? "0" : "2"]]);
      };
    },
  });
  await using balancer = await run({ backends: [backend.addr] });
  await using client = await H2Client.connect(balancer.server.addr, { connectionWindow: 65_535 });
  const down = client.call("/s.S/Down");
  down.keeps = false;
  const up = client.call("/s.S/Up", { open: true });
  for (let sent = 0; sent < size; sent += piece.length) client.send(up, piece);
  client.send(up, "", true);
  for (let i = 0; i < 20; i++) {
    const check = client.call("/grpc.health.v1.Health/Check", { content: new Uint8Array(5) });
    assertEquals((await check.done).value("grpc-status"), "0");
  }
  assertEquals([(await down.done).received, down.value("grpc-status")], [size, "0"]);
  assertEquals((await up.done).value("grpc-status"), "0");
});

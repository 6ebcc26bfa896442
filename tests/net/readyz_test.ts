import { assertEquals, assertStringIncludes } from "@std/assert";
import { parseListenAddress } from "../../lib/common/address.ts";
import { AdminServer } from "../../lib/control/admin.ts";
import { HEALTH_PROTO } from "../../lib/grpc/protos.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import { GrpcL4, GrpcL7, HttpL7, RouteBuilder } from "../../mod.ts";
import { ServiceClient } from "../support/grpc_client.ts";
import { serveGrpc } from "../support/h2_backend.ts";

const HEALTH = loadProto(HEALTH_PROTO).service("grpc.health.v1.Health");
const USERS = {
  name: "users.proto",
  text: `syntax = "proto3"; package myapp;
message User { string name = 1; }
service UserService { rpc Login(User) returns (User); }`,
};

/** A balancer with an admin listener. */
async function run(lb: GrpcL7 | GrpcL4 | HttpL7) {
  const server = await lb.start("127.0.0.1:0");
  const admin = new AdminServer(lb, { address: parseListenAddress("127.0.0.1:0") });
  const { port } = admin.addr as Deno.NetAddr;
  const { port: grpcPort } = server.addr as Deno.NetAddr;
  return {
    admin,
    address: `127.0.0.1:${grpcPort}`,
    /** What `/readyz` says. */
    async ready(query = ""): Promise<[status: number, body: Record<string, unknown>]> {
      const response = await fetch(`http://127.0.0.1:${port}/readyz${query}`);
      return [response.status, await response.json()];
    },
    async [Symbol.asyncDispose]() {
      await admin.shutdown();
      await lb.close();
    },
  };
}

const SAME: Readonly<Record<string, number>> = { SERVING: 200, NOT_SERVING: 503 };

Deno.test("/readyz says what the health service says, of the whole and of each service", async () => {
  await using backend = serveGrpc({ protos: [USERS], services: ["myapp.UserService"] });
  const lb = new GrpcL7();
  await using balancer = await run(lb);
  await using client = new ServiceClient(balancer.address, HEALTH);
  /** The status of both, which must be the same. */
  const both = async (service: string): Promise<number> => {
    const [status] = await balancer.ready(service === "" ? "" : `?service=${service}`);
    const health = await client.call("Check", { service }).then(
      (answer) => SAME[String(answer["status"])],
      (error) => error.code === GrpcStatus.NotFound ? 404 : undefined,
    );
    assertEquals(status, health, `service ${JSON.stringify(service)}`);
    return status;
  };
  assertEquals(await both(""), 503);
  assertEquals(await both("myapp.UserService"), 404);
  assertEquals(await both("lb.LoadBalancer"), 200);
  const id = lb.addBackend(backend.addr);
  assertEquals([await both(""), await both("myapp.UserService")], [200, 200]);
  lb.addRoute(new RouteBuilder().service("shop.Orders").target(backend.addr).build());
  assertEquals([await both("shop.Orders"), await both("no.Such")], [200, 404]);
  await lb.drainBackend(id);
  assertEquals([await both(""), await both("myapp.UserService"), await both("shop.Orders")], [
    503,
    503,
    503,
  ]);
});

Deno.test("/readyz names the service and why it is not ready", async () => {
  await using backend = serveGrpc({ protos: [USERS], services: ["myapp.UserService"] });
  const lb = new GrpcL4({ backends: [backend.addr] });
  await using balancer = await run(lb);
  const service = "myapp.UserService";
  assertEquals(await balancer.ready(`?service=${service}`), [200, { status: "ready", service }]);
  const [status, problem] = await balancer.ready("?service=no.Such");
  assertEquals([status, problem["code"], problem["field"]], [404, "not_found", "service"]);
  assertStringIncludes(String(problem["detail"]), '"no.Such"');
  assertEquals((await balancer.ready("?service="))[0], 200);
  balancer.admin.drain();
  for (const query of ["", `?service=${service}`]) {
    const [status, { reason }] = await balancer.ready(query);
    assertEquals([status, reason], [503, "the balancer is shutting down"]);
  }
});

Deno.test("a balancer for HTTP has no services to be ready", async () => {
  await using balancer = await run(new HttpL7({ backends: ["http://127.0.0.1:9"] }));
  assertEquals((await balancer.ready())[0], 200);
  const [status, problem] = await balancer.ready("?service=myapp.UserService");
  assertEquals([status, problem["code"]], [404, "not_found"]);
  assertStringIncludes(String(problem["detail"]), "no gRPC services");
});

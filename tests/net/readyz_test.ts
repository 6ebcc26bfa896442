import { assertEquals, assertStringIncludes } from "@std/assert";
import { parseListenAddress } from "../../lib/common/address.ts";
import { type AdminOptions, AdminServer } from "../../lib/control/admin.ts";
import { assessReadiness } from "../../lib/control/readiness.ts";
import { HEALTH_PROTO } from "../../lib/grpc/protos.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import {
  GrpcL4,
  GrpcL7,
  HttpL4,
  HttpL7,
  type LoadBalancer,
  Mux,
  RouteBuilder,
  TcpL4,
} from "../../mod.ts";
import { freePort } from "../../scripts/bench/process.ts";
import { ServiceClient } from "../support/grpc_client.ts";
import { serveGrpc } from "../support/h2_backend.ts";
import { until } from "../support/net.ts";

const HEALTH = loadProto(HEALTH_PROTO).service("grpc.health.v1.Health");
const USERS = {
  name: "users.proto",
  text: `syntax = "proto3"; package myapp;
message User { string name = 1; }
service UserService { rpc Login(User) returns (User); }`,
};

/** A balancer with an admin listener, and one of its own unless it is told not to listen. */
async function run(lb: LoadBalancer, listens = true, options: Partial<AdminOptions> = {}) {
  const server = listens ? await lb.start("127.0.0.1:0") : undefined;
  const admin = new AdminServer(lb, { address: parseListenAddress("127.0.0.1:0"), ...options });
  const { port } = admin.addr as Deno.NetAddr;
  return {
    admin,
    server: server!,
    address: `127.0.0.1:${(server?.addr as Deno.NetAddr | undefined)?.port}`,
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

Deno.test("no kind of balancer is ready while no backend is healthy, though requests are sent to all", async () => {
  const options = {
    backends: [`127.0.0.1:${freePort()}`],
    healthCheck: { check: "tcp", downInterval: 100, rise: 1 },
  };
  for (const Kind of [HttpL7, HttpL4, TcpL4, GrpcL7, GrpcL4]) {
    await using balancer = await run(new Kind(options));
    let body: Record<string, unknown> = {};
    await until(
      async () => {
        const [status, answer] = await balancer.ready();
        body = answer;
        return status === 503;
      },
      () => JSON.stringify(body),
      20_000,
    );
    assertEquals(body, {
      status: "not ready",
      reason: "no backend is healthy",
      backends: { active: 1, healthy: 0, failing: 1, ejected: 0, unreachable: 0, draining: 0 },
      routes: 0,
    });
  }
});

Deno.test("readiness ends when the last listener is told to end, while it still accepts", async () => {
  const lb = new HttpL7({ backends: ["http://127.0.0.1:9"] });
  await using balancer = await run(lb);
  const second = await lb.start("127.0.0.1:0");
  const third = await lb.start("127.0.0.1:0");
  await second.shutdown();
  assertEquals((await balancer.ready())[0], 200);
  const ends = [third.shutdown({ delay: 100 }), balancer.server.shutdown({ delay: 100 })];
  const { status, reason } = assessReadiness(lb.management, lb.phase);
  assertEquals([status, reason], ["not ready", "the balancer is shutting down"]);
  assertEquals((await balancer.ready())[0], 503);
  await Promise.all(ends);
  assertEquals([(await balancer.ready())[1]["reason"], lb.phase], [
    "no listener is open",
    "stopped",
  ]);
  await lb.start("127.0.0.1:0");
  assertEquals((await balancer.ready())[0], 200);
});

Deno.test("a listener of one side makes both protocols ready, and a balancer inside a server needs none", async () => {
  const mux = new Mux({ http: { backends: ["127.0.0.1:9"] } });
  await using balancer = await run(mux, false);
  assertEquals((await balancer.ready())[1]["reason"], "no listener is open");
  const server = await mux.http.start("127.0.0.1:0");
  assertEquals([(await balancer.ready())[0], mux.phase], [200, "serving"]);
  await server.shutdown();
  assertEquals((await balancer.ready())[0], 503);
  await using embedded = await run(new HttpL7({ backends: ["127.0.0.1:9"] }), false, {
    embedded: true,
  });
  assertEquals((await embedded.ready())[0], 200);
  embedded.admin.drain();
  assertEquals((await embedded.ready())[1]["reason"], "the balancer is shutting down");
});

Deno.test("a balancer for HTTP has no services to be ready", async () => {
  await using balancer = await run(new HttpL7({ backends: ["http://127.0.0.1:9"] }));
  assertEquals((await balancer.ready())[0], 200);
  const [status, problem] = await balancer.ready("?service=myapp.UserService");
  assertEquals([status, problem["code"]], [404, "not_found"]);
  assertStringIncludes(String(problem["detail"]), "no gRPC services");
});

import { assertEquals, assertGreater, assertLessOrEqual, assertStringIncludes } from "@std/assert";
import { parseListenAddress } from "../../lib/common/address.ts";
import { AdminServer } from "../../lib/control/admin.ts";
import { GrpcL7, HttpL7, RouteBuilder } from "../../mod.ts";
import { freePort } from "../../scripts/bench/process.ts";
import { serveGrpc } from "../support/h2_backend.ts";
import { runL4, runL7, serveHttp, until } from "../support/net.ts";

/** Checks so often that a test need not wait. */
const QUICK = { interval: 100, downInterval: 100, timeout: 1000, rise: 1, fall: 1 };

/** A backend whose health a test decides. */
function serveHealth(name: string) {
  const control = { status: 200, requests: 0 };
  const server = serveHttp((request) => {
    if (new URL(request.url).pathname === "/healthz") {
      return new Response(name, { status: control.status });
    }
    control.requests++;
    return new Response(name);
  });
  return {
    addr: server.addr,
    control,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Who answers so many requests, sorted. */
async function answers(url: string, count: number): Promise<string> {
  const names: string[] = [];
  for (let i = 0; i < count; i++) names.push(await (await fetch(url)).text());
  return names.sort().join("");
}

Deno.test("an HTTP balancer picks no backend whose checks fail, and picks it again when they succeed", async () => {
  await using a = serveHealth("a");
  await using b = serveHealth("b");
  await using balancer = await runL7({
    backends: [a.addr, b.addr],
    healthCheck: { ...QUICK, check: "http:/healthz" },
  });
  const states = () => balancer.lb.backends().map(({ health }) => health.state).join();
  assertEquals(await answers(balancer.origin, 4), "aabb");
  b.control.status = 500;
  await until(() => states() === "healthy,failing", states);
  assertEquals(balancer.lb.backends()[1]!.health, {
    state: "failing",
    reason: "status 500",
    ejections: 0,
  });
  assertEquals(await answers(balancer.origin, 4), "aaaa");
  b.control.status = 200;
  await until(() => states() === "healthy,healthy", states);
  assertEquals(await answers(balancer.origin, 4), "aabb");
});

Deno.test("backends that are added at run time are checked, those of routes too", async () => {
  await using a = serveHealth("a");
  await using b = serveHealth("b");
  b.control.status = 503;
  await using balancer = await runL7({
    backends: [a.addr],
    healthCheck: { ...QUICK, check: "http:/healthz" },
  });
  balancer.lb.addRoute(new RouteBuilder().path("/b").target(b.addr).build());
  const stateOf = (addr: string) =>
    balancer.lb.backends().find((backend) => backend.addr.endsWith(addr.split("//").at(-1)!))
      ?.health.state;
  await until(() => stateOf(b.addr) === "failing", () => String(stateOf(b.addr)));
  // It is the only one of its pool: in panic it is picked all the same.
  assertEquals(await answers(`${balancer.origin}/b`, 1), "b");
});

Deno.test("a balancer at layer 4 leaves out what takes no connection", async () => {
  await using a = serveHealth("a");
  const port = freePort();
  await using balancer = await runL4({
    backends: [a.addr, `127.0.0.1:${port}`],
    healthCheck: { ...QUICK, check: "tcp" },
  });
  await until(
    () => balancer.lb.backends()[1]!.health.state === "failing",
    () => JSON.stringify(balancer.lb.backends()),
  );
  const before = balancer.lb.metrics.listener(balancer.lb.name)
    .upstream(balancer.lb.backends()[1]!.id).attempts;
  assertEquals(await answers(balancer.origin, 4), "aaaa");
  const stats = balancer.lb.metrics.listener(balancer.lb.name)
    .upstream(balancer.lb.backends()[1]!.id);
  assertEquals(stats.attempts, before);
});

Deno.test("a check over gRPC asks grpc.health.v1; who does not have it fails", async () => {
  await using backend = serveGrpc();
  const lb = new GrpcL7({
    backends: [backend.addr],
    healthCheck: { ...QUICK, check: "grpc:myapp.UserService" },
  });
  const server = await lb.start("127.0.0.1:0");
  try {
    // What it answers is the question: a message whose first field is no status.
    await until(() => backend.calls.length > 1, () => backend.calls.join());
    assertEquals(new Set(backend.calls), new Set(["/grpc.health.v1.Health/Check"]));
    await until(
      () => lb.backends()[0]!.health.state === "failing",
      () => JSON.stringify(lb.backends()),
    );
  } finally {
    await server.shutdown();
    await lb.close();
  }
});

Deno.test("all addresses of a name are backends, and the name is no address of one", async () => {
  await using a = serveHealth("a");
  const port = a.addr.split(":").at(-1);
  const lb = new HttpL7({ backends: [`dns:localhost:${port}`] });
  assertEquals(lb.backends(), []);
  const server = await lb.start("127.0.0.1:0");
  try {
    const addrs = lb.backends().map(({ addr }) => addr);
    assertGreater(addrs.length, 0);
    for (const addr of addrs) {
      assertStringIncludes(`http://127.0.0.1:${port} http://[::1]:${port}`, addr);
    }
    const { port: own } = server.addr as Deno.NetAddr;
    assertEquals(await answers(`http://127.0.0.1:${own}/`, 2), "aa");
  } finally {
    await server.shutdown();
    await lb.close();
  }
});

Deno.test("health is shown by the metrics and in the list", async () => {
  await using a = serveHealth("a");
  await using b = serveHealth("b");
  b.control.status = 500;
  await using balancer = await runL7({
    backends: [a.addr, b.addr],
    healthCheck: { ...QUICK, check: "http:/healthz" },
  });
  await until(
    () => balancer.lb.backends()[1]!.health.state === "failing",
    () => JSON.stringify(balancer.lb.backends()),
  );
  const admin = new AdminServer(balancer.lb, { address: parseListenAddress("127.0.0.1:0") });
  try {
    const { port } = admin.addr as Deno.NetAddr;
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    const [one, two] = balancer.lb.backends();
    assertStringIncludes(text, `lb_backend_healthy{backend="${one!.id}"} 1`);
    assertStringIncludes(text, `lb_backend_healthy{backend="${two!.id}"} 0`);
    assertStringIncludes(text, `lb_backend_ejections_total{backend="${two!.id}"} 0`);
    const list = await (await fetch(`http://127.0.0.1:${port}/lb/backends`)).json();
    assertEquals(list.backends[1].health.state, "failing");
    assertLessOrEqual(list.backends.length, 2);
  } finally {
    await admin.shutdown();
  }
});

/** Backends by name, wherever an address is accepted, on real sockets. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { LB_PROTO } from "../../lib/grpc/protos.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { coreOf } from "../../lib/load_balancer/core.ts";
import { GrpcL7, HttpL7, type LoadBalancer, RouteBuilder } from "../../mod.ts";
import { makeAuthority } from "../support/certificate.ts";
import { ServiceClient } from "../support/grpc_client.ts";
import { serveGrpc } from "../support/h2_backend.ts";
import { Peer, runL4, runL7, runMux, serveHttp, serveName, until } from "../support/net.ts";

const LB = loadProto(LB_PROTO).service("lb.LoadBalancer");
const portOf = (addr: string) => addr.split(":").at(-1)!;

/** Resolves when the addresses of all names are known. */
async function known(lb: LoadBalancer): Promise<void> {
  await until(
    () => lb.management.listNames().every(({ addresses }) => addresses!.length > 0),
    () => JSON.stringify(lb.management.listNames()),
  );
}

async function answerOf(addr: Deno.Addr, path: string): Promise<string> {
  await using peer = await Peer.connect(addr);
  const { status, text } = await peer.get(path, "Connection: close\r\n");
  return `${status} ${text}`;
}

Deno.test("a route leads to the addresses of a name, whether it was there at the start or comes later", async () => {
  await using backend = serveName("served");
  const name = `dns+http://localhost:${portOf(backend.addr)}`;
  await using balancer = await runL7({
    routes: [new RouteBuilder().path("/early").target(name).build()],
  });
  const { lb, addr } = balancer;
  assertEquals(await answerOf(addr, "/early"), "200 served", "the start has waited for it");
  const late = lb.addRoute(
    new RouteBuilder().path("/late").target(name).build(),
  );
  assertEquals(await answerOf(addr, "/late"), "200 served", "another route has it already");
  lb.removeRoute(late);
  assertEquals(lb.management.listNames().length, 1);
  lb.removeRoute(lb.routes()[0]!.id);
  assertEquals([lb.management.listNames(), lb.backends()], [[], []]);
});

Deno.test("a name comes in over HTTP, at layer 7 and 4, and is listed with its addresses", async () => {
  await using backend = serveName("served");
  const name = `dns:localhost:${portOf(backend.addr)}`;
  await using l7 = await runL7();
  await using l4 = await runL4();
  for (
    const [balancer, body, path] of [
      [l7, { backend_addr: name, paths: ["/x"] }, "/x"],
      [l4, { addr: name }, "/"],
    ] as const
  ) {
    const response = await fetch(`${balancer.origin}/lb/add`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const added = await response.json();
    assertEquals([response.status, added.addr], [201, name]);
    await known(balancer.lb);
    assertEquals(await answerOf(balancer.addr, path), "200 served");
    const { names, backends } = await (await fetch(`${balancer.origin}/lb/backends`)).json();
    assertEquals([names[0].id, names[0].addr], [added.id, name]);
    assert(names[0].addresses.length > 0);
    assertEquals(backends[0].names, [name]);
  }
});

Deno.test("a name comes in over gRPC and from a backend that holds it, and goes with it", async () => {
  await using backend = serveGrpc();
  const name = `dns+grpc://localhost:${portOf(backend.addr)}`;
  const lb = new GrpcL7();
  const server = await lb.start("127.0.0.1:0");
  try {
    await using client = new ServiceClient(
      `127.0.0.1:${(server.addr as Deno.NetAddr).port}`,
      LB,
    );
    const added = await client.call("AddL7", { backend_addr: name, services: ["pkg.S"] });
    assertEquals([added["addr"], added["created"]], [name, true]);
    await known(lb);
    const list = await client.call("List", {});
    assertEquals(list["names"][0].addr, name);
    assertEquals(list["backends"][0].names, [name]);
    assertEquals(list["names"][0].addresses.length, list["backends"].length);
    assertEquals(list["routes"][0].rule, `service=pkg.S -> ${name}`);
    assertEquals(list["routes"][0].targets[0].name, name);
    const stream = client.duplex("Register");
    stream.send({ add_l4: { addr: "dns:localhost:1" } });
    const { added: held } = (await stream.next())!;
    assertEquals([held.addr, held.created], ["dns:localhost:1", true]);
    stream.end();
    assertEquals(await stream.next(), undefined);
    const { backend: removed } = await client.call("Remove", { id: added["id"] });
    assertEquals([removed.addr, removed.state], [name, "REMOVED"]);
    await until(() => lb.management.listNames().length === 0, "both are gone");
    assertEquals([lb.backends(), lb.routes()], [[], []]);
  } finally {
    await server.shutdown();
    await lb.close();
  }
});

Deno.test("with TLS the certificate must be for the name, whatever the address", async () => {
  const authority = await makeAuthority();
  const stop = new AbortController();
  const hosts: (string | null)[] = [];
  const serve = async (...names: string[]) =>
    Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      signal: stop.signal,
      ...await authority.issue(...names),
      onListen() {},
    }, (request) => {
      if (new URL(request.url).pathname === "/healthz") hosts.push(request.headers.get("host"));
      return new Response("secure");
    });
  const [right, wrong] = [await serve("localhost"), await serve("127.0.0.1")];
  {
    await using balancer = await runL7({
      caCerts: [authority.cert],
      healthCheck: { check: "http:/healthz" },
      routes: [
        new RouteBuilder().path("/right").target(`dns+https://localhost:${right.addr.port}`)
          .build(),
        new RouteBuilder().path("/wrong").target(`dns+https://localhost:${wrong.addr.port}`)
          .build(),
      ],
    });
    assertEquals(await answerOf(balancer.addr, "/right"), "200 secure");
    assertMatch(await answerOf(balancer.addr, "/wrong"), /^502 .*tls_failed/s);
    await until(() => hosts.length > 0, "a check");
    assertEquals(hosts[0], `localhost:${right.addr.port}`);
  }
  stop.abort();
  await Promise.all([right.finished, wrong.finished]);
});

Deno.test("a mux has names on both sides", async () => {
  await using http = serveName("served");
  await using balancer = await runMux({
    routes: [
      new RouteBuilder().path("/x").target(`dns+http://localhost:${portOf(http.addr)}`).build(),
    ],
    backends: ["dns+grpc://localhost:1"],
  });
  assertEquals(await answerOf(balancer.addr, "/x"), "200 served");
  assertEquals(balancer.lb.management.listNames().length, 2);
  assert(balancer.lb.backends().some(({ addr }) => addr.startsWith("grpc://")));
});

Deno.test("lb.fetch follows names and checks backends from its first request, until the balancer is closed", async () => {
  let checks = 0;
  let status = 500;
  await using well = serveHttp(() => new Response("well"));
  await using down = serveHttp((request) => {
    if (new URL(request.url).pathname === "/healthz") checks++;
    return new Response("down", { status });
  });
  const lb = new HttpL7({
    backends: [`dns:localhost:${portOf(well.addr)}`, down.addr],
    healthCheck: { check: "http:/healthz", interval: 50, downInterval: 50, fall: 1, rise: 1 },
  });
  const text = async () => await (await lb.fetch(new Request("http://lb/"))).text();
  const { clock } = coreOf(lb);
  assertEquals([lb.backends().length, checks], [1, 0]);
  for (let round = 0; round < 2; round++) {
    assert(["well", "down"].includes(await text()));
    await until(() => lb.backends().some(({ health }) => health.state === "failing"), "a check");
    const asked = checks;
    await until(() => checks > asked, "another check");
    assertEquals([await text(), await text()], ["well", "well"]);
    if (round === 1) {
      status = 200;
      await until(
        () => lb.backends().every(({ health }) => health.state === "healthy"),
        "it is well",
      );
    }
    await lb.close();
    await until(() => clock.size === 0, () => `${clock.size} are watched`);
  }
});

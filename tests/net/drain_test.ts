import { assertEquals, assertRejects } from "@std/assert";
import { HEALTH_PROTO, LB_PROTO } from "../../lib/grpc/protos.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import { GrpcL7, HttpL7, Mux } from "../../mod.ts";
import { EngineClient } from "../support/engine_client.ts";
import type { CallFailure } from "../support/grpc_client.ts";
import { serveGrpc } from "../support/h2_backend.ts";
import { Peer, run, runL4, runMux, serveName, serveScript, until, within } from "../support/net.ts";

const LB = loadProto(LB_PROTO).service("lb.LoadBalancer");
const HEALTH = loadProto(HEALTH_PROTO).service("grpc.health.v1.Health");
/** What nobody must wait for. */
const GRACE = { timeouts: { shutdown: 30_000 } };
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

const addressOf = (addr: Deno.Addr) => `127.0.0.1:${(addr as Deno.NetAddr).port}`;

async function unavailable(next: () => Promise<unknown>): Promise<void> {
  const failure = await assertRejects(next) as unknown as CallFailure;
  assertEquals(failure.code, GrpcStatus.Unavailable, failure.details);
}

Deno.test("first everything is served on while health says that it is not, then watchers are sent away", async () => {
  await using backend = serveGrpc();
  const lb = new GrpcL7({ ...GRACE, backends: [backend.addr] });
  const server = await lb.start("127.0.0.1:0");
  await using health = await EngineClient.connect(addressOf(server.addr), HEALTH);
  const watch = health.watch("Watch", { service: "" });
  assertEquals(await watch.next(), { status: "SERVING" });
  const shutdown = server.shutdown({ delay: 300 });
  assertEquals(await watch.next(), { status: "NOT_SERVING" });
  for (const service of ["", "lb.LoadBalancer"]) {
    assertEquals(await health.call("Check", { service }), { status: "NOT_SERVING" });
  }
  const { statuses } = await health.call("List", {});
  assertEquals(
    [...new Set(Object.values(statuses).map((one) => (one as { status: string }).status))],
    ["NOT_SERVING"],
  );
  await using late = await EngineClient.connect(addressOf(server.addr), LB);
  assertEquals((await late.call("List", {})).backends.length, 1, "whoever comes is still served");
  await within(10_000, "the end of a watch", unavailable(() => watch.next()));
  await within(10_000, "the shutdown", shutdown);
});

Deno.test("streams of the own services do not hold a shutdown, and what they registered serves to the end", async () => {
  await using slow = await serveScript(async (peer) => {
    await peer.head();
    await peer.closed;
  });
  const lb = new Mux(GRACE);
  const server = await lb.start("127.0.0.1:0");
  await using client = await EngineClient.connect(addressOf(server.addr), LB);
  const watch = client.watch("Watch", {});
  while ((await watch.next())!.kind !== "SYNCED");
  const registration = client.open("Register");
  registration.send({ add_l7: { backend_addr: `http://${slow.addr}` } });
  const { added } = (await registration.next())!;
  await using peer = await Peer.connect(server.addr);
  await peer.write(GET);
  await until(() => slow.peers.length === 1, "the request does not reach the backend");
  const waiting = unavailable(() => client.call("Drain", { id: added.id, wait: true }));
  const ended = unavailable(async () => {
    while (await watch.next() !== undefined);
  });
  await until(() => lb.backends()[0]?.state === "draining", "the backend does not drain");
  const shutdown = server.shutdown();
  await within(10_000, "the end of a watch", ended);
  await within(10_000, "the end of a registration", unavailable(() => registration.next()));
  await within(10_000, "the end of a call that waits", waiting);
  assertEquals(lb.backends().map(({ in_flight }) => in_flight), [1], "it is needed to the end");
  slow.peers[0]!.reset();
  assertEquals((await peer.rest()).text.slice(0, 12), "HTTP/1.1 502");
  await within(10_000, "the shutdown", shutdown);
  await until(() => lb.backends().length === 0, "whoever registered it is gone, and it is not");
});

Deno.test("while another listener stays, health and watches do", async () => {
  await using backend = serveGrpc();
  const lb = new GrpcL7({ ...GRACE, backends: [backend.addr] });
  await using one = await run(lb);
  const other = await lb.start("127.0.0.1:0");
  await using health = await EngineClient.connect(addressOf(one.addr), HEALTH);
  const watch = health.watch("Watch", { service: "lb.LoadBalancer" });
  assertEquals(await watch.next(), { status: "SERVING" });
  await other.shutdown();
  assertEquals(await health.call("Check", { service: "" }), { status: "SERVING" });
  const again = await lb.start("127.0.0.1:0");
  await again.shutdown();
  assertEquals(await health.call("Check", { service: "" }), { status: "SERVING" });
  watch.cancel();
});

Deno.test("a balancer that is started again is healthy again", async () => {
  await using backend = serveGrpc();
  const lb = new GrpcL7({ ...GRACE, backends: [backend.addr] });
  for (let round = 0; round < 2; round++) {
    await using balancer = await run(lb);
    await using health = await EngineClient.connect(addressOf(balancer.addr), HEALTH);
    assertEquals(await health.call("Check", { service: "" }), { status: "SERVING" });
    const watch = health.watch("Watch", { service: "" });
    assertEquals(await watch.next(), { status: "SERVING" });
    watch.cancel();
  }
});

Deno.test("clients that have connected but not asked yet are served when they are given time", async () => {
  await using backend = serveName("served");
  await using l7 = await run(new HttpL7({ ...GRACE, backends: [backend.addr] }));
  await using l4 = await runL4({ ...GRACE, backends: [backend.addr] });
  await using mux = await runMux({ ...GRACE, http: { backends: [backend.addr] } });
  for (const balancer of [l7, l4, mux]) {
    const metrics = balancer.lb.metrics.listener(balancer.lb.name);
    await using silent = await Peer.connect(balancer.addr);
    await using late = await Peer.connect(balancer.addr);
    await until(() => metrics.connectionsActive === 2, "the connections are not accepted");
    const shutdown = balancer.server.shutdown({ idle: 2_000 });
    await assertRejects(() => Peer.connect(balancer.addr));
    const answer = await late.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assertEquals([answer.status, answer.text], [200, "served"], balancer.lb.name);
    assertEquals((await late.rest()).end, "eof");
    await late.close();
    assertEquals((await within(10_000, "the end of who is silent", silent.rest())).bytes.length, 0);
    await within(10_000, "the shutdown", shutdown);
  }
});

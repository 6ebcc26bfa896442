/**
 * What a gRPC balancer at layer 4 promises when backends are full, slow to be there, or leave, on real sockets.
 */
import { assert, assertEquals } from "@std/assert";
import { GrpcL4, type LoadBalancerOptions } from "../../mod.ts";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { SteadyCaller } from "../support/grpc_listeners.ts";
import { H2Backend, H2Client } from "../support/h2_peer.ts";
import { frame, headers, rst } from "../support/h2_raw.ts";
import { answer, callFields, Wire, WireBackend } from "../support/h2_wire.ts";
import {
  run as listen,
  type Running,
  serveScript,
  settled,
  until,
  within,
} from "../support/net.ts";

const OPEN = 0x4;
const END = 0x5;
/** More than anything here may take that no limit ends, in milliseconds. */
const PATIENCE = 10_000;
const HEALTH = "/grpc.health.v1.Health/Check";
/** An empty message. */
const EMPTY = new Uint8Array(5);

function run(options: LoadBalancerOptions): Promise<Running<GrpcL4>> {
  return listen(new GrpcL4({ ...options, timeouts: { shutdown: 2_000, ...options.timeouts } }));
}

function refused({ lb }: Running<GrpcL4>, reason: string): number {
  return lb.metrics.listener(lb.name).refusals.get(reason) ?? 0;
}

/** Calls a service of the balancer itself: whatever came before on the connection has been looked at then. */
async function check(client: H2Client): Promise<void> {
  const call = client.call(HEALTH, { content: EMPTY });
  assertEquals((await within(PATIENCE, "health", call.done)).value("grpc-status"), "0");
}

Deno.test("grpc-l4 gives a backend so many connections, lets others wait, and answers them meanwhile", async () => {
  await using a = H2Backend.listen();
  await using b = H2Backend.listen();
  await using lb = await run({
    backends: [a.addr, b.addr],
    limits: { maxUpstreamConnections: 1 },
    timeouts: { poolWait: PATIENCE },
  });
  await using first = await H2Client.connect(lb.addr);
  await using second = await H2Client.connect(lb.addr);
  for (const client of [first, second]) {
    assertEquals((await client.call("/s.S/M").done).value("grpc-status"), "0");
  }
  assertEquals([a.accepted, b.accepted], [1, 1]);
  await using third = await H2Client.connect(lb.addr);
  const waiting = third.call("/s.S/Third", { content: "ask" });
  await check(third);
  assertEquals([waiting.ended, a.accepted + b.accepted], [false, 2]);
  await second[Symbol.asyncDispose]();
  const served = await within(PATIENCE, "who waited", waiting.done);
  assertEquals([served.value("grpc-status"), a.accepted + b.accepted], ["0", 3]);
  assertEquals([a.connections.size, b.connections.size], [1, 1]);
  for (const { in_flight } of lb.lb.backends()) assertEquals(in_flight, 1);
  await first[Symbol.asyncDispose]();
  await third[Symbol.asyncDispose]();
  await settled(lb.lb);
});

Deno.test("grpc-l4 tells who waits in vain for a backend when to come back, and counts it", async () => {
  await using backend = H2Backend.listen();
  await using lb = await run({
    backends: [backend.addr],
    limits: { maxUpstreamConnections: 1, maxWaiting: 1 },
    timeouts: { poolWait: 400 },
  });
  await using steady = await SteadyCaller.start(lb.addr);
  await until(() => steady.answered > 0, "a clean call");
  await using second = await H2Client.connect(lb.addr);
  const late = second.call("/s.S/M", { content: "ask" });
  await check(second);
  await using third = await H2Client.connect(lb.addr);
  const atOnce = third.call("/s.S/M", { content: "ask" });
  for (const call of [atOnce, late]) {
    await within(PATIENCE, "the refusal", call.done);
    assertEquals([call.value("grpc-status"), call.value("grpc-retry-pushback-ms")], ["14", "1000"]);
  }
  assertEquals([refused(lb, "overloaded"), backend.accepted], [2, 1]);
  await steady.stop();
  assertEquals(steady.errors, []);
  const again = second.call("/s.S/M", { content: "ask" });
  assertEquals((await within(PATIENCE, "the call", again.done)).value("grpc-status"), "0");
});

Deno.test("grpc-l4 ends in time while a client waits for a backend with room", async () => {
  await using backend = H2Backend.listen();
  const lb = await run({
    backends: [backend.addr],
    limits: { maxUpstreamConnections: 1 },
    timeouts: { poolWait: 60_000, shutdown: 100 },
  });
  await using first = await H2Client.connect(lb.addr);
  const open = first.call("/s.S/M", { open: true });
  await until(() => backend.calls.length === 1, "the first call");
  await using second = await H2Client.connect(lb.addr);
  const waiting = second.call("/s.S/M", { content: "ask" });
  await check(second);
  await within(PATIENCE, "the end", lb.server.shutdown());
  await within(PATIENCE, "both calls", Promise.all([open.done, waiting.done]));
  assertEquals(backend.calls.length, 1);
});

Deno.test("while a backend does not greet, PING, cancellation and health are served, and then another is asked", async () => {
  await using silent = await serveScript(async (peer) => void await peer.rest());
  await using alive = WireBackend.listen({ onEnd: (request) => void answer(request) });
  // The first client goes to the first backend.
  await using lb = await run({
    backends: [silent.addr, alive.addr],
    timeouts: { connect: 3_000 },
  });
  await using wire = await Wire.open(lb.addr);
  await wire.send(
    headers(1, OPEN, callFields("/s.S/Cancelled")),
    headers(3, END, callFields("/s.S/Held")),
  );
  await until(() => silent.peers.length === 1, "the connection");
  await wire.send(rst(1, H2Code.Cancel));
  await wire.settle();
  await wire.send(headers(5, OPEN, callFields(HEALTH)), frame(FrameType.Data, 1, 5, EMPTY));
  assertEquals((await wire.over(5)).value("grpc-status"), "0");
  assertEquals([wire.stream(3).over, alive.wires.length], [false, 0]);
  await wire.until(() => wire.stream(3).over, "the call");
  assertEquals(wire.stream(3).value("grpc-status"), "0");
  assertEquals(alive.requests.map(({ path, id }) => [path, id]), [["/s.S/Held", 3]]);
  assertEquals(wire.count(FrameType.Goaway), 0);
  for (const peer of silent.peers) await peer.close();
});

Deno.test("a backend that leaves calls behind is ejected after five connections, and clients meet the other", async () => {
  await using bad = WireBackend.listen({ onHead: ({ wire }) => void wire.close() });
  await using good = H2Backend.listen();
  await using lb = await run({ backends: [bad.addr, good.addr] });
  const call = async () => {
    await using client = await H2Client.connect(lb.addr);
    const { done } = client.call("/s.S/M", { content: "ask" });
    return (await within(PATIENCE, "the call", done)).value("grpc-status");
  };
  const state = () => lb.lb.backends().map(({ health }) => health.state);
  let lost = 0;
  for (let i = 0; i < 20 && !state().includes("ejected"); i++) {
    if (await call() === "14") lost++;
  }
  assertEquals([state(), lost], [["ejected", "healthy"], 5]);
  const [info] = lb.lb.backends();
  assert(info!.health.reason?.includes("upstream_closed"), info!.health.reason);
  for (let i = 0; i < 10; i++) assertEquals(await call(), "0");
  await settled(lb.lb);
});

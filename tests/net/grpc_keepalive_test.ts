import { assert, assertEquals } from "@std/assert";
import { GrpcL7 } from "../../mod.ts";
import { type Fields, H2Backend, H2Client } from "../support/h2_peer.ts";
import { frame, headers } from "../support/h2_raw.ts";
import { Wire } from "../support/h2_wire.ts";
import { until } from "../support/net.ts";

const CALL: Fields = [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/s.S/Watch"],
  [":authority", "test"],
  ["content-type", "application/grpc"],
  ["te", "trailers"],
];
const OPEN = 0x4;
const PING = frame(6, 0, 0, new Uint8Array(8));

Deno.test("a client that answers no PING is gone, and its calls are cancelled; one that does stays", async () => {
  await using backend = H2Backend.listen({ onCall: (call) => call.head() });
  const lb = new GrpcL7({ backends: [backend.addr], keepalive: { time: 100, timeout: 3000 } });
  const { addr } = await lb.start("127.0.0.1:0");
  try {
    await using live = await H2Client.connect(addr);
    const call = live.call("/s.S/Live", { open: true });
    await using silent = await Wire.open(addr, { acknowledges: false });
    await silent.send(headers(1, OPEN, CALL));
    const watched = () => backend.calls.find(({ path }) => path === "/s.S/Watch");
    await until(() => watched()?.reset !== undefined, "the backend is told");
    assertEquals(watched()!.reset?.code, 8);
    await until(() => silent.ended, "the connection is closed");
    assert(silent.count(6) > 0, "it was asked");
    assertEquals(silent.farewells, []);
    assertEquals([call.ended, live.connection.ending], [false, false]);
  } finally {
    await lb.close();
  }
});

Deno.test("a client that asks too often is told so in the words of gRPC, and counted", async () => {
  await using backend = H2Backend.listen({ onCall: () => {} });
  const lb = new GrpcL7({ backends: [backend.addr], keepalive: { minPingInterval: 3_600_000 } });
  const { addr } = await lb.start("127.0.0.1:0");
  try {
    await using client = await Wire.open(addr);
    await client.send(headers(1, OPEN, CALL), PING, PING, PING);
    await until(() => client.count(6, 1) === 3, "three are answered");
    await client.send(PING);
    await until(() => client.ended, "the connection is closed");
    assertEquals(client.farewell, { lastId: 1, code: 11, debug: "too_many_pings" });
    const refusals = [...lb.metrics.listeners()].map((one) => one.refusals.get("too_many_pings"));
    assertEquals(refusals, [1]);
    await until(() => backend.calls[0]?.reset?.code === 8, "its call is cancelled");
  } finally {
    await lb.close();
  }
});

Deno.test("an old connection of a client is drained, and cut when its grace is over", async () => {
  await using backend = H2Backend.listen({ onCall: (call) => call.head() });
  const lb = new GrpcL7({
    backends: [backend.addr],
    timeouts: { maxConnectionAge: 3000, maxConnectionAgeGrace: 3000 },
  });
  const { addr } = await lb.start("127.0.0.1:0");
  try {
    await using client = await H2Client.connect(addr);
    const call = client.call("/s.S/Watch", { open: true });
    await until(() => client.connection.ending, "GOAWAY");
    assertEquals([call.ended, client.connection.streams], [false, 1]);
    await until(() => call.ended, "the grace is over");
    assertEquals(call.reset?.connectionLost, true);
    await until(() => backend.calls[0]?.reset?.code === 8, "the call is cancelled");
    await using next = await H2Client.connect(addr);
    assert(next.connection.available);
  } finally {
    await lb.close();
  }
});

Deno.test("metadata may be as large as the limits say, and connections to gRPC backends are counted", async () => {
  const fields = { maxBlock: 1 << 20, maxListSize: 1 << 19, maxFields: 100 };
  await using backend = H2Backend.listen({ h2: { fields } });
  const lb = new GrpcL7({ backends: [backend.addr], limits: { maxHead: 100 * 1024 } });
  const { addr } = await lb.start("127.0.0.1:0");
  const connections = () => lb.management.listBackends()[0]!.connections;
  try {
    await using client = await H2Client.connect(addr);
    assertEquals(connections(), { idle: 0, active: 0 });
    const open = client.call("/s.S/Open", { open: true });
    await until(() => backend.calls.length === 1, "a call");
    assertEquals(connections(), { idle: 0, active: 1 });
    const size = 90 * 1024;
    const fits = client.call("/s.S/M", { fields: [["x-metadata", "m".repeat(size)]] });
    await fits.done;
    assertEquals(fits.value("grpc-status"), "0");
    const seen = backend.calls.find(({ path }) => path === "/s.S/M")!;
    assertEquals(seen.fields.find(([name]) => name === "x-metadata")?.[1]?.length, size);
    const large = client.call("/s.S/M", { fields: [["x-metadata", "m".repeat(110 * 1024)]] });
    await large.done;
    assertEquals(large.value("grpc-status"), "8");
    client.send(open, "", true);
    await open.done;
    assertEquals(open.value("grpc-status"), "0");
    await until(() => connections().idle === 1, "the connection is idle");
    assertEquals(connections(), { idle: 1, active: 0 });
  } finally {
    await lb.close();
  }
});

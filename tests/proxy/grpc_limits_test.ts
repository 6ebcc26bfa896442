import { assert, assertEquals } from "@std/assert";
import { settle } from "../support/fake_clock.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import { echo, type Exchange, type Fields } from "../support/h2_peer.ts";

const LARGE: Fields = [["x-metadata", "m".repeat(20 * 1024)]];
/** What the scene's pools are given. */
const MAX_CONNECTIONS = 8;
const WAIT_MS = 2_000;

async function rest(): Promise<void> {
  for (let i = 0; i < 20; i++) await settle();
}

Deno.test("a call with too much metadata is RESOURCE_EXHAUSTED, and costs no other call anything", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: echo });
  const { client } = scene;
  const other = client.call("/s.S/Chat", { open: true });
  client.send(other, "before ");
  await rest();
  const large = await scene.end(client.call("/s.S/M", { fields: LARGE }));
  assertEquals(large.heads.length, 1);
  assertEquals(large.value(":status"), "200");
  assertEquals(large.value("grpc-status"), "8");
  assertEquals(large.value("grpc-message"), "The header fields are too large or too many.");
  const http = await scene.end(client.call("/file", { fields: LARGE, grpc: false }));
  assertEquals(http.value(":status"), "431");
  client.send(other, "after", true);
  await scene.end(other);
  assertEquals([other.text, other.value("grpc-status")], ["before after", "0"]);
  assertEquals(scene.backend().calls.length, 1);
  assert(client.connection.available);
  assertEquals(scene.listener.refusals.get("head_too_large"), 2);
});

Deno.test("an answer with too much metadata ends its call only", async () => {
  await using scene = await GrpcL7Scene.open({
    onCall: (call) => call.path === "/s.S/Large" ? call.head(LARGE_HEAD) : echo(call),
  });
  const other = scene.client.call("/s.S/Chat", { open: true });
  await rest();
  const large = await scene.end(scene.client.call("/s.S/Large"));
  // ENHANCE_YOUR_CALM, of which gRPC clients make RESOURCE_EXHAUSTED.
  assertEquals(large.reset?.code, 11);
  scene.client.send(other, "on", true);
  await scene.end(other);
  assertEquals([other.text, other.value("grpc-status")], ["on", "0"]);
  assertEquals(scene.backend().accepted, 1);
});
const LARGE_HEAD: Fields = [[":status", "200"], ["content-type", "application/grpc"], ...LARGE];

Deno.test("calls wait for a stream of a backend whose connections are all full, and then are UNAVAILABLE", async () => {
  await using scene = await GrpcL7Scene.open({ h2: { maxConcurrentStreams: 1 }, onCall: () => {} });
  const calls: Exchange[] = [];
  for (let i = 0; i < MAX_CONNECTIONS + 3; i++) calls.push(scene.client.call("/s.S/M"));
  await rest();
  assertEquals(scene.backend().accepted, MAX_CONNECTIONS);
  assertEquals(calls.map(({ ended }) => ended), calls.map(() => false));
  scene.backend().calls[0]!.answer();
  await rest();
  assertEquals(calls[0]!.value("grpc-status"), "0");
  assertEquals(
    scene.backend().calls.length,
    MAX_CONNECTIONS + 1,
    "the first that waited is served",
  );
  await scene.time.expire(WAIT_MS);
  assertEquals(calls.slice(-2).map((call) => call.value("grpc-status")), ["14", "14"]);
  for (const call of scene.backend().calls.slice(1)) call.answer();
  await rest();
  assertEquals(calls.filter((call) => call.value("grpc-status") === "0").length, calls.length - 2);
});

Deno.test("an old client connection is asked to go, and its calls go on", async () => {
  const maxAge = 600_000;
  await using scene = await GrpcL7Scene.open({ onCall: echo, context: { h2: { maxAge } } });
  const call = scene.client.call("/s.S/Chat", { open: true });
  await rest();
  await scene.time.advance(1.11 * maxAge);
  await rest();
  assertEquals([scene.client.connection.ending, call.ended], [true, false]);
  scene.client.send(call, "still here", true);
  await scene.end(call);
  assertEquals([call.text, call.value("grpc-status")], ["still here", "0"]);
  await rest();
  assertEquals(scene.client.connection.streams, 0);
});

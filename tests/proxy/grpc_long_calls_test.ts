/** Calls that last: nobody ends them because of the time that passes. */
import { assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import { echo, type Exchange } from "../support/h2_peer.ts";
import { settle } from "../support/fake_clock.ts";
import { frame, headers, RawPeer } from "../support/h2_raw.ts";

const HOUR = 3_600_000;
const DAYS = 3;

async function turns(): Promise<void> {
  for (let i = 0; i < 6; i++) await settle();
}

/** Lets days pass, so that every deadline that is shorter than an hour is met. */
async function passDays(scene: GrpcL7Scene): Promise<void> {
  for (let hour = 0; hour < 24 * DAYS; hour++) await scene.time.advance(HOUR);
}

function assertOpen(...calls: readonly Exchange[]): void {
  for (const call of calls) assertEquals([call.reset, call.ended], [undefined, false]);
}

Deno.test("streams that say nothing for days stay open, before and behind the head of the answer", async () => {
  await using scene = await GrpcL7Scene.open({
    onCall: (call) => call.path === "/silent" ? undefined : echo(call),
  });
  const { client } = scene;
  const chat = client.call("/chat", { open: true, content: "a" });
  const silent = client.call("/silent", { open: true });
  await turns();
  assertEquals([chat.text, chat.heads.length, silent.heads.length], ["a", 1, 0]);
  await passDays(scene);
  assertOpen(chat, silent);
  client.send(chat, "b", true);
  scene.backend().calls.find(({ path }) => path === "/silent")!.answer();
  await scene.end(chat);
  await scene.end(silent);
  assertEquals([chat.text, chat.value("grpc-status")], ["ab", "0"]);
  assertEquals([silent.text, silent.value("grpc-status")], ["hello", "0"]);
});

Deno.test("calls whose request has ended wait for days for their answer, and for the end of it", async () => {
  await using scene = await GrpcL7Scene.open({
    onCall: (call) => call.path === "/begun" ? call.head() : undefined,
  });
  const { client } = scene;
  const asked = client.call("/asked", { content: "x" });
  const begun = client.call("/begun", { content: "x" });
  await turns();
  await passDays(scene);
  assertOpen(asked, begun);
  const [first, second] = scene.backend().calls;
  assertEquals([first!.ended, second!.ended], [true, true], "the end has been passed on");
  first!.answer();
  second!.send("late");
  second!.end();
  await scene.end(asked);
  await scene.end(begun);
  assertEquals([asked.text, begun.text], ["hello", "late"]);
  assertEquals(scene.backend().accepted, 1, "over the connection that they began on");
});

Deno.test("a client whose answer is complete may go on with its request, which nobody reads", async () => {
  await using scene = await GrpcL7Scene.open({
    onCall: (call) => {
      call.answer();
      call.stream.endEarly();
    },
  });
  const call = scene.client.call("/x", { open: true, content: "a" });
  await scene.end(call);
  await turns();
  assertEquals([call.value("grpc-status"), call.reset?.code], ["0", 0]);
  // RST_STREAM has told it to stop; what is on its way is no error.
  scene.client.send(call, "b", true);
  await turns();
  assertEquals(scene.client.connection.error, undefined);
  assertEquals((await scene.end(scene.client.call("/y"))).value("grpc-status"), "0");
});

Deno.test("a field block that does not go on ends its connection", async () => {
  const peer = await RawPeer.open();
  // HEADERS without END_HEADERS: no stream has begun.
  await peer.send(frame(1, 0, 1, headers(1).subarray(9)));
  assertEquals(peer.calls, []);
  // It has its time, and so has the client to read why and to close its side.
  for (let hour = 0; hour < 6; hour++) await peer.time.advance(HOUR);
  assertEquals([peer.goawayCode, peer.finished], [H2Code.EnhanceYourCalm, true]);
  await peer.close();
});

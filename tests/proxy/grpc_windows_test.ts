/** That no byte of any window is lost on the way, however calls end. */
import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { settle } from "../support/fake_clock.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import { type Call, DONE, type Exchange } from "../support/h2_peer.ts";
import { Random } from "../support/prng.ts";

/** The least that a connection may have: what one lost byte is missed in. */
const WINDOW = 65_535;
const LARGE = new Uint8Array(3 * WINDOW);
const ROUNDS = 80;

/** Waits a little: some turns of the event loop, no time. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await settle();
}

Deno.test("calls that end in any way at any moment take nothing from the windows of the others", async () => {
  await using scene = await GrpcL7Scene.open({
    context: { h2: { connectionWindow: WINDOW, streamWindow: WINDOW } },
    upstream: { connectionWindow: WINDOW, streamWindow: WINDOW },
    h2: { connectionWindow: WINDOW, streamWindow: WINDOW },
  });
  const random = new Random(20_261_122);
  const ends = new Map<string, number>();
  scene.backend().onCall = (call: Call) => {
    call.keeps = false;
    switch (random.below(6)) {
      case 0: // It takes nothing, and resets while content waits.
        call.reads = false;
        return void turns(1 + random.below(4)).then(() => {
          call.stream.reset(random.pick([H2Code.Cancel, H2Code.InternalError]));
          call.resume();
        });
      case 1: // It answers before the request has ended, and does not want the rest.
        call.head();
        call.send(LARGE);
        call.end();
        return call.stream.endEarly();
      case 2: // It resets inside its answer.
        call.head();
        call.send(LARGE);
        return void turns(1 + random.below(4)).then(() => call.stream.reset());
      case 3: // It takes the request slowly and never answers.
        call.reads = false;
        return void turns(random.below(4)).then(() => call.resume());
      default:
        call.head();
        call.send(LARGE);
        call.end(DONE);
    }
  };
  for (let round = 0; round < ROUNDS; round++) {
    const reads = random.below(2) === 0;
    const call = scene.client.call("/x", { content: LARGE, open: random.below(2) === 0, reads });
    call.keeps = false;
    await turns(random.below(6));
    // Honest clients cancel now and then; the clock lets their budget grow again.
    call.stream.reset(H2Code.Cancel);
    if (!reads) call.resume();
    await turns(4);
    await scene.time.advance(200);
    const how = call.reset === undefined ? "cancelled" : `reset ${call.reset.code}`;
    ends.set(how, (ends.get(how) ?? 0) + 1);
  }
  assert(ends.size >= 3, JSON.stringify([...ends]));
  // A call that needs several windows on each of the four connections.
  scene.backend().onCall = (call: Call) => {
    call.keeps = false;
    call.onEvent = () => {
      if (!call.ended) return;
      call.onEvent = undefined;
      call.head();
      call.send(LARGE);
      call.end();
    };
  };
  const last: Exchange = scene.client.call("/last", { content: LARGE });
  last.keeps = false;
  await scene.end(last);
  assertEquals([last.received, last.value("grpc-status")], [LARGE.length, "0"]);
  const [call] = scene.backend().calls.slice(-1);
  assertEquals(call!.received, LARGE.length);
  // Other calls ended with a lost connection only if somebody's window was exceeded.
  assertEquals(scene.backend().accepted, 1);
  assertEquals(scene.client.connection.error, undefined);
});

Deno.test("calls that fail with their content held leave the client's windows as they were", async () => {
  await using scene = await GrpcL7Scene.open({
    context: { h2: { connectionWindow: WINDOW, streamWindow: WINDOW } },
  });
  scene.down.add("a:80");
  const content = new Uint8Array(10_000);
  for (let round = 0; round < 20; round++) {
    const failed = scene.client.call("/x", { content, open: round % 2 === 0 });
    assertEquals((await scene.end(failed)).value("grpc-status"), "14");
    // And one that is cancelled before its backend is reached.
    const cancelled = scene.client.call("/x", { content, open: true });
    cancelled.stream.reset();
    await turns(4);
  }
  scene.down.clear();
  const last = await scene.end(scene.client.call("/last", { content: LARGE }));
  assertEquals(last.value("grpc-status"), "0");
  assertEquals(scene.backend().calls.at(-1)!.received, LARGE.length);
});

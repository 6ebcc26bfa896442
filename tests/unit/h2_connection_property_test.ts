import { assert, assertEquals } from "@std/assert";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";
import { type Call, echo, encodeBlock, H2Backend, H2Client } from "../support/h2_peer.ts";
import {
  concat,
  data,
  frame,
  headers,
  RawPeer,
  REQUEST,
  rst,
  settings,
  windowUpdate,
} from "../support/h2_raw.ts";
import { mutate, Random } from "../support/prng.ts";

/** A conversation that has everything: padding, CONTINUATION, trailers, resets, unknown frames. */
const TALK = concat(
  CLIENT_PREFACE,
  settings([Setting.InitialWindowSize, 100_000]),
  frame(4, 1, 0),
  windowUpdate(0, 1_000_000),
  headers(1, 0x4),
  data(1, 100),
  frame(0, 0x8, 1, [5, ...new Uint8Array(20)]),
  headers(1, 0x5, [["trailer", "x"]]),
  frame(1, 0x1, 3, encodeBlock(REQUEST.slice(0, 2))),
  frame(9, 0x4, 3, encodeBlock(REQUEST.slice(2))),
  frame(6, 0, 0, new Uint8Array(8)),
  headers(5, 0x4),
  rst(5),
  frame(0x77, 3, 5, [1, 2, 3]),
  headers(7, 0x5),
);

function answer(call: Call): void {
  call.reads = true;
  const end = () => {
    if (!call.ended || call.reset !== undefined) return;
    call.onEvent = undefined;
    call.answer("x".repeat(1000));
  };
  call.onEvent = end;
  end();
}

/** What came of the whole, which must not depend on how the bytes arrive. */
function outcome(peer: RawPeer) {
  return {
    calls: peer.calls.map((call) => [call.fields, call.received, call.trailers, call.reset?.code]),
    received: [1, 3, 5, 7].map((id) => peer.received(id)),
    error: peer.connection.error,
    streams: peer.connection.streams,
  };
}

Deno.test("a conversation split at every byte comes to the same", async () => {
  const whole = new RawPeer();
  whole.onCall = answer;
  await whole.push(TALK);
  const expected = outcome(whole);
  assertEquals(expected.received, [1000, 1000, 0, 1000]);
  await whole.close();
  for (let at = 1; at < TALK.length; at++) {
    const peer = new RawPeer();
    peer.onCall = answer;
    await peer.push(TALK.slice(0, at));
    await peer.push(TALK.slice(at));
    assertEquals(outcome(peer), expected, `split at ${at}`);
    await peer.close();
  }
});

Deno.test("mutated conversations never throw, and leave no stream behind", async () => {
  const random = new Random(20_260_922);
  for (let round = 0; round < 600; round++) {
    const peer = new RawPeer();
    peer.onCall = answer;
    const tail = mutate(TALK.slice(CLIENT_PREFACE.length), random);
    await peer.push(CLIENT_PREFACE, tail);
    await peer.close();
    assert(peer.finished);
    assertEquals(peer.connection.streams, 0);
    assert(peer.calls.every((call) => call.stream.gone), "every stream has ended");
    assertEquals(peer.time.clock.size, 0);
  }
});

Deno.test("both roles joined carry many calls of all sizes byte for byte", async () => {
  const random = new Random(7);
  for (const window of [100, 1000, 65_535, 1_000_000]) {
    const time = new FakeClock();
    const [left, right] = makeMemoryPair();
    const backend = new H2Backend({
      clock: time.clock,
      onCall: echo,
      h2: { streamWindow: window },
    });
    backend.serve(right);
    const client = new H2Client(left, { clock: time.clock, h2: { streamWindow: window } });
    await client.ready;
    const texts = Array.from(
      { length: 60 },
      () => "abcdefghij".repeat(random.below(1000)).slice(0, random.below(5000)),
    );
    const exchanges = texts.map((text, i) => client.call(`/${i}`, { content: text }));
    for (let i = 0; i < 1000 && exchanges.some((one) => !one.ended); i++) await settle();
    assertEquals(client.connection.error, undefined);
    const wrong = exchanges.filter((one, i) => one.text !== texts[i]);
    assertEquals(wrong.map((one) => [one.stream.id, one.received, one.reset]), []);
    assert(exchanges.every((one) => one.value("grpc-status") === "0"));
    assertEquals(client.connection.streams, 0);
    await client[Symbol.asyncDispose]();
    await backend[Symbol.asyncDispose]();
    assertEquals(time.clock.size, 0);
  }
});

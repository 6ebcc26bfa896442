import { assert, assertEquals } from "@std/assert";
import { bodyBuffers } from "../../lib/common/buffer_pool.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { relay, type RelayEnd, type RelayMeter } from "../../lib/common/relay.ts";
import { settle } from "../support/fake_clock.ts";
import { type Faults, FaultyDuplex } from "../support/faulty_duplex.ts";
import { bytesOf, Peer } from "../support/http_text.ts";
import { Random } from "../support/prng.ts";

interface Joined {
  /** The peers beyond the relay. */
  readonly a: Peer;
  readonly b: Peer;
  /** The ends that the relay holds. */
  readonly left: FaultyDuplex;
  readonly right: FaultyDuplex;
  readonly meter: RelayMeter & { calls: number; halves: number };
  readonly end: Promise<RelayEnd>;
}

function join(options: { faults?: Faults; first?: string } = {}): Joined {
  const [a, left] = makeMemoryPair();
  const [b, right] = makeMemoryPair();
  const meter = {
    sent: 0,
    received: 0,
    calls: 0,
    halves: 0,
    onProgress() {
      this.calls++;
    },
    onHalfClosed() {
      this.halves++;
    },
  };
  const first = options.first === undefined ? undefined : bytesOf(options.first);
  const ends = [left, right].map((end) => new FaultyDuplex(end, options.faults)) as [
    FaultyDuplex,
    FaultyDuplex,
  ];
  return {
    a: new Peer(a),
    b: new Peer(b),
    left: ends[0],
    right: ends[1],
    meter,
    end: relay(ends[0], ends[1], meter, first),
  };
}

/** Fails unless the relay has closed both of its sides. */
function assertClosed({ left, right }: Joined): void {
  assert(left.closed && right.closed, "both sides are closed");
}

Deno.test("bytes go both ways and are counted", async () => {
  const joined = join();
  const { a, b, meter } = joined;
  await a.send("hello");
  assertEquals(await b.read(5), "hello");
  await b.send("goodbye");
  assertEquals(await a.read(7), "goodbye");
  await Promise.all([a.end(), b.end()]);
  assertEquals(await joined.end, { type: "closed" });
  assertEquals([meter.sent, meter.received], [5, 7]);
  assert(meter.calls >= 2);
  assertClosed(joined);
});

Deno.test("bytes that were read before go first", async () => {
  const joined = join({ first: "read before, " });
  const { a, b, meter } = joined;
  void a.send("read now");
  assertEquals(await b.read(21), "read before, read now");
  await Promise.all([a.end(), b.end()]);
  await joined.end;
  assertEquals(meter.sent, 21);
  assertClosed(joined);
});

Deno.test("the end of one direction is passed on while the other goes on", async () => {
  for (const swap of [false, true]) {
    const joined = join();
    const [first, second] = swap ? [joined.b, joined.a] : [joined.a, joined.b];
    void first.send("request").then(() => first.end());
    assertEquals(joined.meter.halves, 0);
    assertEquals(await second.rest(), "request");
    await settle();
    assertEquals(joined.meter.halves, 1, "it is told once");
    void second.send("an answer, much later").then(() => second.end());
    assertEquals(await first.rest(), "an answer, much later");
    assertEquals(await joined.end, { type: "closed" });
    assertEquals(joined.meter.halves, 1, "it is told once");
    assertClosed(joined);
  }
});

Deno.test("a failure of one side closes both and is told", async () => {
  for (const side of ["left", "right"] as const) {
    const joined = join();
    await settle();
    joined[side].reset();
    const end = await joined.end;
    assert(end.type === "failed");
    assert(end.cause instanceof Deno.errors.ConnectionReset);
    assertClosed(joined);
    assert(await joined.a.ended() && await joined.b.ended());
  }
});

Deno.test("a side that takes no more ends the relay", async () => {
  const joined = join();
  joined.b.close();
  await joined.a.send("nobody reads this");
  assertEquals((await joined.end).type, "failed");
  assertClosed(joined);
});

Deno.test("closing a side from outside ends the relay", async () => {
  const joined = join();
  await settle();
  joined.left.close();
  joined.right.close();
  assertEquals((await joined.end).type, "failed");
});

Deno.test("a slow receiver slows the sender: little is held in between", async () => {
  const joined = join();
  const { a, b, meter } = joined;
  let sent = false;
  void a.send("x".repeat(1_000_000)).then(() => sent = true);
  await settle();
  assertEquals(sent, false);
  assertEquals(meter.sent, 0, "nothing has been taken yet");
  await b.read(10_000);
  await settle();
  assert(meter.sent <= 10_000 + bodyBuffers.size, `${meter.sent} bytes for 10000 read`);
  assertEquals(sent, false);
  joined.left.close();
  joined.right.close();
  await joined.end;
});

Deno.test("many bytes go through whole and in order, in pieces of any size", async () => {
  const random = new Random(7);
  const text = Array.from({ length: 50_000 }, () => String.fromCharCode(random.below(256))).join(
    "",
  );
  for (const faults of [{}, { maxRead: 1000 }, { maxWrite: 999 }, { maxRead: 17, maxWrite: 5 }]) {
    const joined = join({ faults });
    void joined.a.send(text).then(() => joined.a.end());
    void joined.b.send(text.slice(1)).then(() => joined.b.end());
    const [there, back] = await Promise.all([joined.b.rest(), joined.a.rest()]);
    assert(there === text && back === text.slice(1));
    assertEquals(await joined.end, { type: "closed" });
    assertEquals([joined.meter.sent, joined.meter.received], [50_000, 49_999]);
    assertClosed(joined);
  }
});

Deno.test("large buffers go back once little passes, and at the end", async () => {
  const lent = bodyBuffers.acquire();
  bodyBuffers.release(lent);
  const joined = join();
  void joined.a.send("x".repeat(200_000));
  await joined.b.read(100_000);
  const other = bodyBuffers.acquire();
  assert(other !== lent, "the relay has borrowed it");
  await joined.b.read(100_000);
  void joined.a.send("little");
  await joined.b.read(6);
  await settle();
  const again = bodyBuffers.acquire();
  assert(again === lent, "the relay has given it back");
  bodyBuffers.release(other);
  bodyBuffers.release(again);
  await Promise.all([joined.a.end(), joined.b.end()]);
  await joined.end;
});

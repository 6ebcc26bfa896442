import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { MessageCounter } from "../../lib/grpc/message_counter.ts";
import { concat } from "../support/net.ts";

const SEED = 20261123;

function prefix(flag: number, length: number): Uint8Array {
  const bytes = new Uint8Array(5);
  bytes[0] = flag;
  new DataView(bytes.buffer).setUint32(1, length);
  return bytes;
}

function message(length: number, flag = 0): Uint8Array {
  return concat(prefix(flag, length), new Uint8Array(length).fill(0xff));
}

/** Counts what comes in pieces that end at the given indices. */
function count(bytes: Uint8Array, cuts: readonly number[] = []): MessageCounter {
  const counter = new MessageCounter();
  let start = 0;
  let sum = 0;
  for (const end of [...cuts, bytes.length]) {
    sum += counter.push(bytes, start, end);
    start = end;
  }
  assertEquals(sum, counter.count, "what each piece ended is what ended in all");
  return counter;
}

Deno.test("messages are counted when they have come in full, empty and compressed ones too", () => {
  const cases: [bytes: Uint8Array, count: number, partial: boolean][] = [
    [new Uint8Array(0), 0, false],
    [message(0), 1, false],
    [message(7), 1, false],
    [message(7, 1), 1, false],
    [concat(message(3), message(0), message(70_000)), 3, false],
    [message(9).subarray(0, 3), 0, true],
    [message(9).subarray(0, 5), 0, true],
    [concat(message(1), message(9).subarray(0, 13)), 1, true],
  ];
  for (const [bytes, expected, partial] of cases) {
    const counter = count(bytes);
    assertEquals([counter.count, counter.partial, counter.lost], [expected, partial, false]);
  }
});

Deno.test("bytes outside of the range are not looked at", () => {
  const bytes = concat(message(2), message(3), message(4));
  const counter = new MessageCounter();
  assertEquals(counter.push(bytes, 7, 15), 1);
  assertEquals(counter.push(bytes, 15, 15), 0);
  assertEquals(counter.count, 1);
});

Deno.test("however a stream is split, the count is the same", () => {
  const lengths = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 12 });
  fc.assert(
    fc.property(
      lengths,
      fc.integer({ min: 0, max: 60 }),
      fc.array(fc.nat(), { maxLength: 30 }),
      (lengths, missing, cuts) => {
        const whole = concat(...lengths.map((length, i) => message(length, i % 2)));
        const bytes = whole.subarray(0, Math.max(0, whole.length - missing));
        let expected = 0;
        let at = 0;
        for (const length of lengths) if ((at += 5 + length) <= bytes.length) expected++;
        const sorted = cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b);
        assertEquals(count(bytes, sorted).count, expected);
        assertEquals(count(bytes, Array.from(bytes.keys())).count, expected);
      },
    ),
    { seed: SEED, numRuns: 500 },
  );
});

Deno.test("any bytes at all give the same count however they are split", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(80), (bytes, cut) => {
      const whole = count(bytes);
      const split = count(bytes, [Math.min(cut, bytes.length)]);
      assertEquals([split.count, split.lost], [whole.count, whole.lost]);
    }),
    { seed: SEED, numRuns: 500 },
  );
});

Deno.test("a flag that no message has ends the counting and keeps what was counted", () => {
  const counter = count(concat(message(2), prefix(2, 0), message(5)));
  assertEquals([counter.count, counter.lost], [1, true]);
  assertEquals(counter.push(message(1), 0, 6), 0);
  assertEquals(counter.count, 1);
});

Deno.test("a length of 4 GiB is waited for, not held or refused", () => {
  const counter = count(concat(prefix(0, 0xffff_ffff), message(100)));
  assertEquals([counter.count, counter.lost], [0, false]);
  assert(counter.partial);
  const chunk = new Uint8Array(1 << 20);
  let left = 0xffff_ffff - 105;
  while (left > chunk.length) {
    assertEquals(counter.push(chunk, 0, chunk.length), 0);
    left -= chunk.length;
  }
  assertEquals(counter.push(chunk, 0, left), 1);
  assertEquals(counter.partial, false);
});

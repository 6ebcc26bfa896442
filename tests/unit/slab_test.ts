import { assert, assertEquals, assertNotStrictEquals, assertStrictEquals } from "@std/assert";
import { Slab } from "../../lib/common/slab.ts";
import { Random } from "../support/prng.ts";

Deno.test("copies keep what they were made of, whatever becomes of it and of other copies", () => {
  const random = new Random(20261122);
  const slab = new Slab();
  const from = new Uint8Array(1024);
  const copies: [copy: Uint8Array, expected: number[]][] = [];
  for (let i = 0; i < 500; i++) {
    for (let at = 0; at < from.length; at++) from[at] = random.below(256);
    const start = random.below(100);
    const end = start + random.below(i % 10 === 0 ? 900 : 200);
    copies.push([slab.copy(from, start, end), [...from.subarray(start, end)]]);
  }
  for (const [copy, expected] of copies) assertEquals([...copy], expected);
});

Deno.test("short copies share memory that is not large, long ones have their own", () => {
  const slab = new Slab();
  const from = new Uint8Array(2048);
  const first = slab.copy(from, 0, 9);
  const second = slab.copy(from, 0, 100);
  assertStrictEquals(first.buffer, second.buffer);
  assert(first.buffer.byteLength <= 4096);
  const long = slab.copy(from, 0, 513);
  assertNotStrictEquals(long.buffer, first.buffer);
  assertEquals(long.buffer.byteLength, 513);
  // A long one does not end the chunk.
  assertStrictEquals(slab.copy(from, 0, 9).buffer, first.buffer);
});

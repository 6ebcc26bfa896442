import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { bodyBuffers } from "../../lib/common/buffer_pool.ts";
import { ByteReader } from "../../lib/common/byte_reader.ts";
import type { Duplex } from "../../lib/common/duplex.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { settle } from "../support/fake_clock.ts";
import { FaultyDuplex } from "../support/faulty_duplex.ts";
import { bytesOf, textOf } from "../support/http_text.ts";

const SIZE = 8;

function makeReader(): { reader: ByteReader; from: FaultyDuplex; peer: Duplex } {
  const [ours, peer] = makeMemoryPair();
  const from = new FaultyDuplex(ours);
  return { reader: new ByteReader(from, SIZE), from, peer };
}

function held(reader: ByteReader): string {
  return textOf(reader.buffer.subarray(reader.start, reader.end));
}

Deno.test("bytes are read behind those that are there", async () => {
  const { reader, peer } = makeReader();
  for (const text of ["abc", "de"]) {
    const [more] = await Promise.all([reader.fill(), peer.write(bytesOf(text))]);
    assertEquals(more, true);
  }
  assertEquals([held(reader), reader.available, reader.bytesRead], ["abcde", 5, 5]);
  reader.start += 2;
  assertEquals([held(reader), reader.available, reader.bytesRead], ["cde", 3, 5]);
});

Deno.test("a read that is pending is joined, not repeated", async () => {
  const { reader, peer } = makeReader();
  const first = reader.fill();
  assertEquals(reader.reading, true);
  assertStrictEquals(reader.fill(), first);
  await peer.write(bytesOf("x"));
  assertEquals(await first, true);
  assertEquals(reader.reading, false);
});

Deno.test("once all is consumed the buffer is used from its start again", async () => {
  const { reader, peer } = makeReader();
  for (const text of ["12345678", "abcdefgh"]) {
    await Promise.all([reader.fill(), peer.write(bytesOf(text))]);
    assertEquals(held(reader), text);
    reader.start = reader.end;
  }
});

Deno.test("what is left at the end of the buffer is moved to its start to make room", async () => {
  const { reader, peer } = makeReader();
  await Promise.all([reader.fill(), peer.write(bytesOf("12345678"))]);
  assertEquals(reader.full, true);
  reader.start = 6;
  assertEquals(reader.full, false);
  await Promise.all([reader.fill(), peer.write(bytesOf("abcdef"))]);
  assertEquals(held(reader), "78abcdef");
  assertEquals(reader.full, true);
});

Deno.test("the end is told apart from a failure, and no more is read after either", async () => {
  const eof = makeReader();
  await eof.peer.closeWrite();
  assertEquals(await eof.reader.fill(), false);
  assertEquals(eof.reader.ended, { type: "eof" });
  assertEquals(await eof.reader.fill(), false);

  const failed = makeReader();
  const pending = failed.reader.fill();
  failed.from.reset();
  assertEquals(await pending, false);
  const { ended } = failed.reader;
  assert(ended?.type === "error");
  assert(ended.error instanceof Deno.errors.ConnectionReset);
  assertEquals(await failed.reader.fill(), false);
});

Deno.test("what came before the end is still there", async () => {
  const { reader, peer } = makeReader();
  await Promise.all([reader.fill(), peer.write(bytesOf("last"))]);
  peer.close();
  assertEquals(await reader.fill(), false);
  assertEquals(held(reader), "last");
});

Deno.test("whoever watches is told of bytes, of the end and of a failure, each once", async () => {
  const { reader, peer, from } = makeReader();
  const told: string[] = [];
  reader.watcher = {
    onReadSettled: (settled) => {
      assertStrictEquals(settled, reader);
      assertEquals(reader.reading, false);
      told.push(reader.ended?.type ?? held(reader));
    },
  };
  await Promise.all([reader.fill(), peer.write(bytesOf("ab"))]);
  const failing = reader.fill();
  from.reset();
  await failing;
  await reader.fill();
  await settle();
  assertEquals(told, ["ab", "error"]);
});

Deno.test("a watcher may begin the next read", async () => {
  const { reader, peer } = makeReader();
  let read = "";
  reader.watcher = {
    onReadSettled: () => {
      read += held(reader);
      reader.start = reader.end;
      if (reader.ended === undefined) void reader.fill();
    },
  };
  void reader.fill();
  for (const text of ["one", "two", "three"]) await peer.write(bytesOf(text));
  await peer.closeWrite();
  await settle();
  assertEquals(read, "onetwothree");
  assertEquals(reader.ended?.type, "eof");
});

Deno.test("the buffer grows and shrinks with what it holds unharmed", async () => {
  const { reader, peer } = makeReader();
  await Promise.all([reader.fill(), peer.write(bytesOf("12345678"))]);
  reader.start = 3;
  reader.grow(4);
  assertEquals(reader.buffer.length, SIZE, "it has room enough");
  reader.grow(20);
  assertEquals([reader.buffer.length, held(reader)], [20, "45678"]);
  await Promise.all([reader.fill(), peer.write(bytesOf("abcdef"))]);
  assertEquals(held(reader), "45678abcdef");
  reader.shrink();
  assertEquals(reader.buffer.length, 20, "what is there does not fit yet");
  reader.start += 6;
  reader.shrink();
  assertEquals([reader.buffer.length, held(reader)], [SIZE, "bcdef"]);
});

Deno.test("a buffer that a read owns is neither replaced nor given away", async () => {
  const { reader, peer } = makeReader();
  reader.grow(20);
  const { buffer } = reader;
  const pending = reader.fill();
  assertThrows(() => reader.grow(40), Error, "pending read");
  reader.shrink();
  reader.dispose();
  assertStrictEquals(reader.buffer, buffer);
  await peer.write(bytesOf("x"));
  await pending;
  assertEquals(held(reader), "x");
});

Deno.test("a large buffer is borrowed and goes back, by shrinking or by the end", async () => {
  const lent = bodyBuffers.acquire();
  bodyBuffers.release(lent);
  for (const giveBack of ["shrink", "dispose"] as const) {
    const { reader } = makeReader();
    reader.grow(bodyBuffers.size);
    assertStrictEquals(reader.buffer, lent, giveBack);
    reader[giveBack]();
    const again = bodyBuffers.acquire();
    assertStrictEquals(again, lent, giveBack);
    bodyBuffers.release(again);
    assertEquals(reader.buffer.length, giveBack === "shrink" ? SIZE : 0);
    await settle();
  }
});

Deno.test("a reader that keeps its small buffer goes back to it, and others to a new one", async () => {
  for (const keeps of [true, false]) {
    const [ours, peer] = makeMemoryPair();
    const reader = new ByteReader(ours, SIZE, keeps);
    const small = reader.buffer;
    for (const text of ["first", "again"]) {
      reader.grow(64);
      await Promise.all([reader.fill(), peer.write(bytesOf(text))]);
      reader.shrink();
      assertEquals([held(reader), reader.buffer.length], [text, SIZE]);
      assertEquals(reader.buffer === small, keeps);
      reader.start = reader.end;
    }
    // What did not fit into the small one leaves it alone.
    await Promise.all([reader.fill(), peer.write(bytesOf("12345678"))]);
    reader.grow(64);
    await Promise.all([reader.fill(), peer.write(bytesOf("9"))]);
    reader.shrink();
    assertEquals([held(reader), reader.buffer.length], ["123456789", 64]);
  }
});

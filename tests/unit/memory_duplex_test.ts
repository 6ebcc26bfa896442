import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { bytesOf, textOf } from "../support/http_text.ts";
import { settle } from "../support/fake_clock.ts";

/** Reads up to `size` bytes as text; `null` at the end. */
async function read(duplex: { read(into: Uint8Array): Promise<number | null> }, size = 100) {
  const into = new Uint8Array(size);
  const count = await duplex.read(into);
  return count === null ? null : textOf(into.subarray(0, count));
}

Deno.test("what is written to one end is read from the other, both ways", async () => {
  const [a, b] = makeMemoryPair();
  const [count, text] = await Promise.all([a.write(bytesOf("there")), read(b)]);
  assertEquals([count, text], [5, "there"]);
  const [back, answer] = await Promise.all([b.write(bytesOf("and back")), read(a)]);
  assertEquals([back, answer], [8, "and back"]);
});

Deno.test("a write is done once all of it is read, so nothing piles up", async () => {
  const [a, b] = makeMemoryPair();
  let done = false;
  const writing = a.write(bytesOf("abcdef")).then((count) => {
    done = true;
    return count;
  });
  assertEquals(await read(b, 4), "abcd");
  await settle();
  assertEquals(done, false);
  assertEquals(await read(b, 4), "ef");
  assertEquals(await writing, 6);
});

Deno.test("a read that waits gets what is written, and the rest waits for the next one", async () => {
  const [a, b] = makeMemoryPair();
  const first = read(b, 2);
  const writing = a.write(bytesOf("abc"));
  assertEquals(await first, "ab");
  assertEquals(await read(b, 2), "c");
  assertEquals(await writing, 3);
});

Deno.test("writing nothing is done at once", async () => {
  const [a] = makeMemoryPair();
  assertEquals(await a.write(new Uint8Array(0)), 0);
});

Deno.test("two reads or two writes at a time are a fault of the caller", async () => {
  const [a, b] = makeMemoryPair();
  const reading = read(b);
  await assertRejects(() => read(b), TypeError, "a read is pending");
  const writing = a.write(bytesOf("x"));
  assertEquals(await reading, "x");
  await writing;
  const stuck = a.write(bytesOf("y"));
  await assertRejects(() => a.write(bytesOf("z")), TypeError, "a write is pending");
  assertEquals(await read(b), "y");
  await stuck;
});

Deno.test("after closeWrite the other end reads the end, and its own words still come", async () => {
  const [a, b] = makeMemoryPair();
  await a.closeWrite();
  assertEquals(await read(b), null);
  assertEquals(await read(b), null);
  await assertRejects(() => a.write(bytesOf("x")), Deno.errors.BrokenPipe);
  const [, text] = await Promise.all([b.write(bytesOf("still here")), read(a)]);
  assertEquals(text, "still here");
  await a.closeWrite();
  b.close();
  assertEquals(await read(a), null);
  a.close();
});

Deno.test("a read that waits learns of the end", async () => {
  const [a, b] = makeMemoryPair();
  const reading = read(b);
  await a.closeWrite();
  assertEquals(await reading, null);
});

Deno.test("what was written before closeWrite is read before the end", async () => {
  const [a, b] = makeMemoryPair();
  const writing = a.write(bytesOf("last words"));
  await a.closeWrite();
  assertEquals(await read(b, 5), "last ");
  assertEquals(await read(b), "words");
  assertEquals(await read(b), null);
  assertEquals(await writing, 10);
});

Deno.test("closing one end ends the other: it reads the end and cannot write", async () => {
  const [a, b] = makeMemoryPair();
  const reading = read(b);
  a.close();
  assertEquals(await reading, null);
  await assertRejects(() => b.write(bytesOf("x")), Deno.errors.BrokenPipe);
  a.close();
  b.close();
});

Deno.test("closing fails what the other end is writing", async () => {
  const [a, b] = makeMemoryPair();
  const writing = a.write(bytesOf("never read"));
  b.close();
  await assertRejects(() => writing, Deno.errors.BrokenPipe);
});

Deno.test("closing fails what is pending on the closed end itself, as on a socket", async () => {
  const [a, b] = makeMemoryPair();
  const reading = read(a);
  const writing = a.write(bytesOf("never read"));
  a.close();
  await assertRejects(() => reading, Deno.errors.Interrupted);
  await assertRejects(() => writing, Deno.errors.Interrupted);
  assertEquals(await read(b), null, "what was not taken before the close is gone");
  b.close();
});

Deno.test("a closed end neither reads nor writes", async () => {
  const [a, b] = makeMemoryPair();
  a.close();
  await assertRejects(() => read(a), Deno.errors.BadResource);
  await assertRejects(() => a.write(bytesOf("x")), Deno.errors.BrokenPipe);
  b.close();
});

Deno.test("each end sees the other's address", () => {
  const client = { hostname: "192.0.2.1", port: 1 };
  const server = { hostname: "192.0.2.2", port: 2 };
  const [a, b] = makeMemoryPair(client, server);
  assertStrictEquals(a.local, client);
  assertStrictEquals(a.remote, server);
  assertStrictEquals(b.local, server);
  assertStrictEquals(b.remote, client);
  assertEquals(makeMemoryPair()[0].remote, { hostname: "memory", port: 0 });
});

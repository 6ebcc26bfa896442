import { assert, assertEquals, assertNotStrictEquals, assertStrictEquals } from "@std/assert";
import { bodyBuffers, BufferPool, headBuffers } from "../../lib/common/buffer_pool.ts";

Deno.test("a buffer that came back is lent again, the last one first", () => {
  const pool = new BufferPool(16, 4);
  const first = pool.acquire();
  const second = pool.acquire();
  assertEquals([first.length, second.length], [16, 16]);
  assertNotStrictEquals(first, second);
  pool.release(first);
  pool.release(second);
  assertStrictEquals(pool.acquire(), second);
  assertStrictEquals(pool.acquire(), first);
});

Deno.test("no more buffers are kept than was asked for", () => {
  const pool = new BufferPool(16, 2);
  const lent = [pool.acquire(), pool.acquire(), pool.acquire()];
  for (const buffer of lent) pool.release(buffer);
  const again = [pool.acquire(), pool.acquire(), pool.acquire()];
  assertEquals(again.filter((buffer) => lent.includes(buffer)).length, 2);
});

Deno.test("a buffer of another size is not taken for one of the pool", () => {
  const pool = new BufferPool(16, 4);
  const strange = new Uint8Array(15);
  pool.release(strange);
  pool.release(new Uint8Array(0));
  assertEquals(pool.acquire().length, 16);
});

Deno.test("the shared pools have the sizes that the data plane counts on", () => {
  assertEquals(bodyBuffers.size, 64 * 1024);
  assertEquals(headBuffers.size, 16 * 1024);
  const buffer = headBuffers.acquire();
  assert(buffer.length === headBuffers.size);
  headBuffers.release(buffer);
});

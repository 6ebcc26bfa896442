import { assertEquals, assertStrictEquals } from "@std/assert";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { ReplayDuplex } from "../../lib/mux/replay.ts";
import { FaultyDuplex } from "../support/faulty_duplex.ts";
import { bytesOf, Peer, textOf } from "../support/http_text.ts";

Deno.test("what was read before is read first, in pieces of any size, then what follows", async () => {
  for (const size of [1, 3, 7, 100]) {
    const [peer, inner] = makeMemoryPair();
    const duplex = new ReplayDuplex(inner, bytesOf("read before"));
    const writing = new Peer(peer).send(" and after").then(() => peer.close());
    let text = "";
    for (;;) {
      const into = new Uint8Array(size);
      const count = await duplex.read(into);
      if (count === null) break;
      text += textOf(into.subarray(0, count));
    }
    await writing;
    assertEquals(text, "read before and after");
    duplex.close();
  }
});

Deno.test("a read of what was read before does not wait for the socket", async () => {
  const [peer, inner] = makeMemoryPair();
  const duplex = new ReplayDuplex(inner, bytesOf("x"));
  assertEquals(await duplex.read(new Uint8Array(10)), 1);
  peer.close();
  duplex.close();
});

Deno.test("without anything read before it is the socket", async () => {
  const [peer, inner] = makeMemoryPair();
  const duplex = new ReplayDuplex(inner, new Uint8Array(0));
  await peer.closeWrite();
  assertEquals(await duplex.read(new Uint8Array(10)), null);
  duplex.close();
});

Deno.test("everything else goes straight to the socket", async () => {
  const [peer, end] = makeMemoryPair({ hostname: "192.0.2.1", port: 1 }, {
    hostname: "192.0.2.2",
    port: 2,
  });
  const inner = new FaultyDuplex(end);
  const duplex = new ReplayDuplex(inner, bytesOf("x"));
  assertStrictEquals(duplex.remote, inner.remote);
  assertStrictEquals(duplex.local, inner.local);
  const reader = new Peer(peer);
  const [text, count] = await Promise.all([reader.read(5), duplex.write(bytesOf("hello"))]);
  assertEquals([text, count], ["hello", 5]);
  await duplex.closeWrite();
  assertEquals([inner.ended, await reader.ended()], [true, true]);
  duplex.close();
  assertEquals(inner.closed, true);
});

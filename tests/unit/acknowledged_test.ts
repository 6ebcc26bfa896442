import { assert, assertEquals, assertGreater } from "@std/assert";
import {
  encodeRequest,
  findAcknowledged,
  readAcknowledged,
} from "../../lib/common/acknowledged.ts";
import { ConnDuplex } from "../../lib/common/duplex.ts";
import { until } from "../support/net.ts";

const linux = Deno.build.os === "linux";

/** Both ends of a connection, and the address that is connected to. */
async function connect(listen: string, to: string): Promise<[Deno.TcpConn, Deno.TcpConn]> {
  using listener = Deno.listen({ hostname: listen, port: 0 });
  return await Promise.all([
    listener.accept(),
    Deno.connect({ hostname: to, port: (listener.addr as Deno.NetAddr).port }),
  ]);
}

for (const [listen, to] of [["127.0.0.1", "127.0.0.1"], ["::1", "::1"], ["::", "127.0.0.1"]]) {
  Deno.test({
    name: `Linux tells what the peer's system has taken of a connection to ${to} on ${listen}`,
    ignore: !linux,
    fn: async () => {
      const [server, client] = await connect(listen!, to!);
      using _server = server;
      using _client = client;
      const look = () => readAcknowledged(server.localAddr, server.remoteAddr);
      // The beginning of the connection counts as one.
      const before = look();
      assert(before !== undefined && before <= 1, `${before}`);
      await server.write(new Uint8Array(1000));
      await until(() => look() === before + 1000, "the acknowledgement");
      // And the other way round.
      const there = () => readAcknowledged(client.localAddr, client.remoteAddr);
      const nothing = there();
      await client.write(new Uint8Array(7));
      await until(() => there() === nothing! + 7, "the acknowledgement");
    },
  });
}

Deno.test({
  name: "of a connection that is gone, or is none of TCP, nothing is told",
  ignore: !linux,
  fn: async () => {
    const [server, client] = await connect("127.0.0.1", "127.0.0.1");
    const { localAddr, remoteAddr } = server;
    server.close();
    client.close();
    // What is left of it for a while (TIME_WAIT) has nothing to tell.
    await until(() => readAcknowledged(localAddr, remoteAddr) === undefined, "the end");
    const unix: Deno.Addr = { transport: "unix", path: "/x" };
    assertEquals(readAcknowledged(unix, unix), undefined);
    const name: Deno.NetAddr = { transport: "tcp", hostname: "localhost", port: 1 };
    assertEquals(readAcknowledged(name, name), undefined);
  },
});

Deno.test("without the permission nothing is asked", { permissions: { net: true } }, () => {
  const here: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 1 };
  assertEquals(readAcknowledged(here, here), undefined);
});

Deno.test("a request names the connection as it stands in <linux/inet_diag.h>", () => {
  const v4 = encodeRequest({ hostname: "1.2.3.4", port: 258 }, {
    hostname: "::ffff:5.6.7.8",
    port: 772,
  })!;
  assertEquals(v4.length, 72);
  assertEquals([...v4.subarray(16, 19)], [2, 6, 2]);
  assertEquals([...v4.subarray(24, 32)], [1, 2, 3, 4, 1, 2, 3, 4]);
  assertEquals([...v4.subarray(44, 48)], [5, 6, 7, 8]);
  const v6 = encodeRequest({ hostname: "fe80::1%eth0", port: 1 }, { hostname: "::2", port: 2 })!;
  assertEquals(v6[16], 10);
  assertEquals([...v6.subarray(28, 44)], [0xfe, 0x80, ...new Array(13).fill(0), 1]);
  assertEquals(v6[59], 2);
});

Deno.test("an answer that is cut off or says something else is none", () => {
  const answer = new Uint8Array(88 + 4 + 128);
  const view = new DataView(answer.buffer);
  const little = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
  view.setUint16(4, 20, little);
  view.setUint16(88, 4 + 128, little);
  view.setUint16(90, 2, little);
  view.setBigUint64(88 + 4 + 120, 77n, little);
  assertEquals(findAcknowledged(answer), 77);
  for (let length = 0; length < answer.length; length++) {
    assertEquals(findAcknowledged(answer.subarray(0, length)), undefined, `${length} bytes`);
  }
  view.setUint16(88, 0, little);
  assertEquals(findAcknowledged(answer), undefined);
  // An error (NLMSG_ERROR): there is no such connection.
  view.setUint16(4, 2, little);
  assertEquals(findAcknowledged(answer), undefined);
});

Deno.test({
  name: "a peer takes something as long as its system does, and does not when its buffers are full",
  ignore: !linux,
  fn: async () => {
    const [server, client] = await connect("127.0.0.1", "127.0.0.1");
    const duplex = new ConnDuplex(server);
    assertEquals(duplex.isTaking(), true, "nobody has looked before");
    assertEquals(duplex.isTaking(), false);
    const writing = (async () => {
      for (let sent = 0;;) sent += await duplex.write(new Uint8Array(65_536));
    })().catch(() => {});
    const into = new Uint8Array(65_536);
    // More than a third of what the system holds, so that its writer would have been woken.
    for (let read = 0; read < 8_000_000;) read += (await client.read(into))!;
    assertEquals(duplex.isTaking(), true);
    await until(() => !duplex.isTaking(), "full buffers");
    // A part of what would wake the writer is seen.
    await until(async () => {
      assertGreater((await client.read(into))!, 0);
      return duplex.isTaking();
    }, "a look that sees it");
    client.close();
    duplex.close();
    await writing;
  },
});

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ConnDuplex, writeAll } from "../../lib/common/duplex.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { FaultyDuplex } from "../support/faulty_duplex.ts";
import { bytesOf, Peer } from "../support/http_text.ts";

/** A connection of the runtime that notes what is done to it. */
class FakeConn {
  readonly calls: string[] = [];
  remoteAddr: Deno.Addr = { transport: "tcp", hostname: "192.0.2.1", port: 1234 };
  localAddr: Deno.Addr = { transport: "tcp", hostname: "::1", port: 80 };
  failure: Error | undefined;

  read(into: Uint8Array): Promise<number | null> {
    into[0] = 7;
    return Promise.resolve(1);
  }

  write(bytes: Uint8Array): Promise<number> {
    this.calls.push(`write ${bytes.length}`);
    return Promise.resolve(1);
  }

  closeWrite(): Promise<void> {
    this.calls.push("closeWrite");
    return Promise.resolve();
  }

  close(): void {
    this.calls.push("close");
    if (this.failure !== undefined) throw this.failure;
  }
}

class FakeTcpConn extends FakeConn {
  setNoDelay(on = true): void {
    this.calls.push(`setNoDelay ${on}`);
  }
}

const wrap = (conn: FakeConn) => new ConnDuplex(conn as unknown as Deno.Conn);

Deno.test("all bytes are written, however few are taken at a time", async () => {
  const text = "0123456789".repeat(20);
  for (const maxWrite of [1, 3, 64, 1000]) {
    const [ours, theirs] = makeMemoryPair();
    const peer = new Peer(theirs);
    const [read] = await Promise.all([
      peer.read(text.length),
      writeAll(new FaultyDuplex(ours, { maxWrite }), bytesOf(text)),
    ]);
    assertEquals(read, text);
  }
});

Deno.test("a write that fails in the middle fails the whole", async () => {
  const [ours, theirs] = makeMemoryPair();
  const slow = new FaultyDuplex(ours, { maxWrite: 4 });
  const writing = writeAll(slow, bytesOf("abcdefgh"));
  assertEquals(await new Peer(theirs).read(4), "abcd");
  slow.reset();
  await assertRejects(() => writing, Deno.errors.ConnectionReset);
});

Deno.test("Nagle's algorithm is turned off where the transport has it", () => {
  const tcp = new FakeTcpConn();
  wrap(tcp);
  assertEquals(tcp.calls, ["setNoDelay true"]);
  wrap(new FakeConn());
});

Deno.test("the addresses are those of the connection; a Unix socket has a name and no port", () => {
  const conn = new FakeConn();
  const duplex = wrap(conn);
  assertEquals(duplex.remote, { hostname: "192.0.2.1", port: 1234 });
  assertEquals(duplex.local, { hostname: "::1", port: 80 });
  conn.remoteAddr = { transport: "unix", path: "/run/x" } as Deno.Addr;
  assertEquals(duplex.remote.hostname, "192.0.2.1", "asked for once");
  assertEquals(wrap(conn).remote, { hostname: "unix", port: 0 });
});

Deno.test("reading, writing and half closing are those of the connection", async () => {
  const conn = new FakeConn();
  const duplex = wrap(conn);
  const into = new Uint8Array(4);
  assertEquals([await duplex.read(into), into[0]], [1, 7]);
  assertEquals(await duplex.write(new Uint8Array(3)), 1);
  await duplex.closeWrite();
  assertEquals(conn.calls, ["write 3", "closeWrite"]);
});

Deno.test("closing twice closes once, and what is closed already is no error", () => {
  const conn = new FakeConn();
  conn.failure = new Deno.errors.BadResource("Bad resource ID");
  const duplex = wrap(conn);
  duplex.close();
  duplex.close();
  assertEquals(conn.calls, ["close"]);
  const broken = new FakeConn();
  broken.failure = new Error("something else");
  assertThrows(() => wrap(broken).close(), Error, "something else");
  assert(broken.calls.length === 1);
});

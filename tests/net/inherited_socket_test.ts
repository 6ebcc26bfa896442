import { assert, assertEquals, assertThrows } from "@std/assert";
import { LinuxSockets, type SocketAddress, SocketError } from "../../lib/common/linux_sockets.ts";
import { type Binder, openSocket } from "../../lib/mux/listening_socket.ts";
import { descriptorCount, descriptorsBackTo } from "../support/net.ts";

/** Sockets are inherited there only. */
const ignore = Deno.build.os !== "linux";

const BINDER: Binder<Deno.Listener> = {
  tcp: (options) => Deno.listen(options),
  unix: (path) => Deno.listen({ transport: "unix", path }),
  close: (listener) => listener.close(),
};

function hasIpv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false; // whatever the reason, there is nothing to test with
  }
}

function connect(addr: Deno.Addr): Promise<Deno.Conn> {
  if (addr.transport === "unix") return Deno.connect({ transport: "unix", path: addr.path });
  const { hostname, port } = addr as Deno.NetAddr;
  return Deno.connect({ hostname, port });
}

/** Connects, says something and hears it echoed by whoever accepts. */
async function greet(listener: Deno.Listener, addr: Deno.Addr): Promise<Deno.Conn> {
  const [client, server] = await Promise.all([
    connect(addr),
    listener.accept(),
  ]);
  await server.write(new Uint8Array([42]));
  const into = new Uint8Array(1);
  assertEquals([await client.read(into), into[0]], [1, 42]);
  client.close();
  return server;
}

const folder = ignore ? "" : await Deno.makeTempDir();
if (folder !== "") addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

for (
  const [name, bind, skip] of [
    ["IPv4", () => Deno.listen({ hostname: "127.0.0.1", port: 0 }), false],
    ["IPv6", () => Deno.listen({ hostname: "::1", port: 0 }), !hasIpv6()],
    ["all interfaces", () => Deno.listen({ hostname: "0.0.0.0", port: 0 }), false],
    ["a Unix socket", () => Deno.listen({ transport: "unix", path: `${folder}/a.sock` }), false],
    ["an abstract Unix socket", () => Deno.listen({ transport: "unix", path: "\0lb-test" }), false],
  ] as const
) {
  Deno.test({
    name:
      `the runtime accepts from a socket of another listener, and nothing is left open: ${name}`,
    ignore: ignore || skip,
    fn: async () => {
      const before = descriptorCount();
      const holder = bind();
      let fd: number;
      {
        using sockets = new LinuxSockets();
        fd = sockets.duplicate(sockets.find(holder.addr as SocketAddress));
        assertEquals(sockets.addressOf(fd), { ...holder.addr } as SocketAddress);
      }
      const socket = openSocket({ transport: "fd", fd }, BINDER);
      assertEquals({ ...socket.addr }, { ...holder.addr });
      const reach = name === "all interfaces"
        ? { ...holder.addr as Deno.NetAddr, hostname: "127.0.0.1" }
        : holder.addr;
      // What was queued for the first one is accepted by the second.
      const queued = await connect(reach);
      const taken = await socket.value.accept();
      if (reach.transport === "tcp") {
        assertEquals({ ...taken.remoteAddr }, { ...queued.localAddr });
        assertEquals((taken.localAddr as Deno.NetAddr).port, reach.port);
      }
      taken.close();
      queued.close();
      for (let i = 0; i < 3; i++) {
        (await greet(socket.value, reach)).close();
      }
      socket.value.close();
      socket.release(false);
      // The first one has its socket still.
      (await greet(holder, reach)).close();
      holder.close();
      await descriptorsBackTo(before);
    },
  });
}

Deno.test({
  name: "a listener that is detached leaves what comes to those who share its socket",
  ignore,
  fn: async () => {
    const one = openSocket(
      { transport: "tcp", scheme: "", host: "127.0.0.1", port: 0 },
      BINDER,
    );
    const two = openSocket({ transport: "fd", fd: one.share() }, BINDER);
    one.detach();
    let stray = 0;
    const waiting = one.value.accept().then(() => stray++, () => {});
    for (let i = 0; i < 20; i++) (await greet(two.value, one.addr)).close();
    assertEquals(stray, 0);
    one.value.close();
    one.release(true);
    await waiting;
    const three = openSocket({ transport: "fd", fd: two.share() }, BINDER);
    two.value.close();
    two.release(true);
    (await greet(three.value, one.addr)).close();
    three.value.close();
    three.release(false);
  },
});

Deno.test({
  name:
    "the file of a Unix socket goes with the last who listens, and a name that is too long still works",
  ignore,
  fn: async () => {
    const path = `${folder}/b.sock`;
    const one = openSocket({ transport: "unix", scheme: "", path }, BINDER);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["b.sock"]);
    const two = openSocket({ transport: "fd", fd: one.share() }, BINDER, { file: path });
    one.value.close();
    one.release(true);
    assertEquals(two.addr, { transport: "unix", path });
    (await greet(two.value, two.addr)).close();
    two.value.close();
    two.release(false);
    assertEquals([...Deno.readDirSync(folder)], []);

    const long = `${folder}/${"d".repeat(107 - folder.length - 3)}`;
    Deno.mkdirSync(long);
    const narrow = openSocket({ transport: "unix", scheme: "", path: `${long}/s` }, BINDER);
    assertThrows(() => narrow.share(), SocketError, "no room for the name");
    narrow.value.close();
    narrow.release(false);
    assertEquals([...Deno.readDirSync(long)], []);
    Deno.removeSync(long);
  },
});

Deno.test({
  name: "what is no listening socket is refused, and nothing is changed or left open",
  ignore,
  fn: async () => {
    const before = descriptorCount();
    const file = await Deno.open("/proc/self/status");
    using udp = new LinuxSockets();
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const client = await Deno.connect({ port: listener.addr.port });
    const server = await listener.accept();
    const open = (fd: number) => () => openSocket({ transport: "fd", fd }, BINDER);
    for (const fd of [0, 2, 9999]) assertThrows(open(fd), SocketError, `descriptor ${fd}`);
    assertThrows(() => udp.find(client.localAddr as SocketAddress), SocketError, "no descriptor");
    assertThrows(() => udp.send(`${folder}/nobody`, "READY=1"), SocketError, "takes no datagram");
    assertThrows(() => udp.send(`/${"x".repeat(200)}`, "READY=1"), SocketError, "longer");
    for (const one of [client, server, listener]) one.close();
    assert((await file.stat()).isFile);
    file.close();
    await descriptorsBackTo(before);
  },
});

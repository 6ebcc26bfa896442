import { createServer } from "node:tls";
import { assertEquals, assertRejects } from "@std/assert";
import { makeAuthority } from "../support/certificate.ts";
import { Peer, runTcp, serveScript, settled } from "../support/net.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

Deno.test("TcpL4 lets the backend speak first", async () => {
  await using backend = await serveScript(async (peer) => {
    await peer.write("220 ready\r\n");
    const line = await peer.readThrough("\r\n");
    await peer.write(`250 ${line}`);
    await peer.end();
  });
  await using balancer = await runTcp({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  assertEquals(await client.readThrough("\r\n"), "220 ready\r\n");
  await client.write("HELO\r\n");
  assertEquals((await client.rest()).text, "250 HELO\r\n");
});

Deno.test("TcpL4 relays what would be management elsewhere", async () => {
  await using backend = await serveScript(async (peer) => {
    await peer.write((await peer.rest()).bytes);
    await peer.end();
  });
  await using balancer = await runTcp({ backends: [`tcp://${backend.addr}`] });
  await using client = await Peer.connect(balancer.addr);
  await client.write("POST /lb/add HTTP/1.1\r\n\r\n");
  await client.end();
  assertEquals((await client.rest()).text, "POST /lb/add HTTP/1.1\r\n\r\n");
  assertEquals(balancer.lb.backends().length, 1);
});

Deno.test("TcpL4 passes TLS through to a backend that has the certificate", async () => {
  const authority = await makeAuthority();
  const server = createServer(await authority.issue("service.test"), (socket) => {
    socket.once("data", (data: Uint8Array) => socket.end(`secret ${text(data)}`));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as { port: number };
    await using balancer = await runTcp({ backends: [`127.0.0.1:${port}`] });
    const connect = async (hostname: string) => {
      const { hostname: host, port } = balancer.addr as Deno.NetAddr;
      const tls = await Deno.startTls(await Deno.connect({ hostname: host, port }), {
        hostname,
        caCerts: [authority.cert],
      });
      try {
        await tls.handshake();
      } catch (error) {
        tls.close();
        throw error;
      }
      return tls;
    };
    const tls = await connect("service.test");
    await tls.write(new TextEncoder().encode("word"));
    assertEquals(
      text(new Uint8Array(await new Response(tls.readable).arrayBuffer())),
      "secret word",
    );
    await assertRejects(() => connect("other.test"), Error, "not valid for name");
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

Deno.test("TcpL4 closes without a word when no backend can be reached", async () => {
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = closed.addr;
  closed.close();
  await using balancer = await runTcp({ backends: [`127.0.0.1:${port}`] });
  await using client = await Peer.connect(balancer.addr);
  const { bytes, end } = await client.rest();
  assertEquals([bytes.length, end], [0, "eof"]);
  await settled(balancer.lb);
});

Deno.test("TcpL4 closes both sides when either resets", async (t) => {
  await t.step("the backend", async () => {
    await using backend = await serveScript(async (peer) => {
      await peer.read(1);
      peer.reset();
    });
    await using balancer = await runTcp({ backends: [backend.addr] });
    await using client = await Peer.connect(balancer.addr);
    await client.write("x");
    assertEquals((await client.rest()).bytes.length, 0);
    await settled(balancer.lb);
  });
  await t.step("the client", async () => {
    await using backend = await serveScript(async (peer) => {
      await peer.write("hello");
    });
    await using balancer = await runTcp({ backends: [backend.addr] });
    const client = await Peer.connect(balancer.addr);
    await client.read(5);
    client.reset();
    await client.closed;
    await backend.peers[0]!.closed;
    await settled(balancer.lb);
  });
});

Deno.test("TcpL4 serves two hundred connections at once", async () => {
  await using backend = await serveScript(async (peer) => {
    const { bytes } = await peer.rest();
    await peer.write(bytes);
    await peer.end();
  });
  await using balancer = await runTcp({ backends: [backend.addr] });
  await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    await using client = await Peer.connect(balancer.addr);
    const sent = `${i} `.repeat(500);
    await client.write(sent);
    await client.end();
    assertEquals((await client.rest()).text, sent);
  }));
  await settled(balancer.lb);
});

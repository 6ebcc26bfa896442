import { createServer } from "node:tls";
import { assertEquals, assertRejects } from "@std/assert";
import { freePort } from "../../scripts/bench/process.ts";
import { makeAuthority } from "../support/certificate.ts";
import { type End, Peer, runTcp, serveScript, settled } from "../support/net.ts";

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
  const port = freePort();
  await using balancer = await runTcp({ backends: [`127.0.0.1:${port}`] });
  await using client = await Peer.connect(balancer.addr);
  const { bytes, end } = await client.rest();
  assertEquals([bytes.length, end], [0, "eof"]);
  await settled(balancer.lb);
});

// The runtime closes connections with a FIN only, so that nobody can see there that bytes are missing.
Deno.test("TcpL4 closes both sides when either resets, the other with a FIN behind what came", async (t) => {
  await t.step("the backend", async () => {
    await using backend = await serveScript(async (peer) => {
      await peer.write("part");
      await peer.read(1);
      peer.reset();
    });
    await using balancer = await runTcp({ backends: [backend.addr] });
    await using client = await Peer.connect(balancer.addr);
    assertEquals(await client.readThrough("part"), "part");
    await client.write("x");
    const { text, end } = await client.rest();
    assertEquals([text, end], ["", "eof"]);
    await settled(balancer.lb);
  });
  await t.step("the client", async () => {
    const ended = Promise.withResolvers<{ readonly text: string; readonly end: End }>();
    await using backend = await serveScript(async (peer) => {
      await peer.write("hello");
      assertEquals(await peer.readThrough("part"), "part");
      await peer.write("on");
      ended.resolve(await peer.rest());
    });
    await using balancer = await runTcp({ backends: [backend.addr] });
    const client = await Peer.connect(balancer.addr);
    await client.write("part");
    await client.readThrough("helloon");
    client.reset();
    await client.closed;
    const { text, end } = await ended.promise;
    assertEquals([text, end], ["", "eof"]);
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

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  delay,
  type HttpBackend,
  Peer,
  runL4,
  runL7,
  type Running,
  serveHttp,
  serveName,
  serveScript,
  settled,
  until,
} from "../support/net.ts";
import type { HttpL7 } from "../../mod.ts";

/** A backend that sends every message back and tells how connections were closed. */
function serveEcho(closes: [code: number, reason: string][] = []): HttpBackend {
  return serveHttp((request) => {
    if (request.headers.get("upgrade") !== "websocket") return new Response("plain");
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      if (data === "close") socket.close(4002, "as asked");
      else socket.send(data);
    };
    socket.onclose = ({ code, reason }) => closes.push([code, reason]);
    return response;
  });
}

async function open(balancer: Running<unknown>, path = "/"): Promise<WebSocket> {
  const socket = new WebSocket(balancer.origin.replace("http", "ws") + path);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  return socket;
}

function next(socket: WebSocket): Promise<string | ArrayBuffer> {
  return new Promise((resolve, reject) => {
    socket.onmessage = ({ data }) => resolve(data);
    socket.onerror = reject;
  });
}

function close(socket: WebSocket, code?: number, reason?: string): Promise<CloseEvent> {
  return new Promise((resolve) => {
    socket.onclose = resolve;
    socket.close(code, reason);
  });
}

Deno.test("a WebSocket goes through HttpL7, text and binary, small and large", async () => {
  await using backend = serveEcho();
  await using balancer = await runL7({ backends: [backend.addr] });
  const socket = await open(balancer, "/chat?room=1");
  for (const text of ["", "hello", "grüße ✓", "x".repeat(200_000)]) {
    const answer = next(socket);
    socket.send(text);
    assertEquals(await answer, text);
  }
  for (const size of [1, 126, 65_536, 1_000_000]) {
    const sent = Uint8Array.from({ length: size }, (_, i) => (i * 13) >> 2);
    const answer = next(socket);
    socket.send(sent);
    const received = new Uint8Array(await answer as ArrayBuffer);
    assertEquals(received.length, size);
    assert(received.every((byte, i) => byte === sent[i]), "the message has changed");
  }
  await close(socket);
  await settled(balancer.lb);
});

Deno.test("close codes and reasons reach the other side, whoever closes", async () => {
  const closes: [number, string][] = [];
  await using backend = serveEcho(closes);
  await using balancer = await runL7({ backends: [backend.addr] });
  const first = await open(balancer);
  const { code } = await close(first, 4001, "done here");
  assertEquals(code, 4001);
  await until(() => closes.length === 1, "the backend does not hear of the close");
  assertEquals(closes, [[4001, "done here"]]);

  const second = await open(balancer);
  const closed = new Promise<CloseEvent>((resolve) => second.onclose = resolve);
  second.send("close");
  const event = await closed;
  assertEquals([event.code, event.reason, event.wasClean], [4002, "as asked", true]);
  await settled(balancer.lb);
});

Deno.test("pings and pongs pass in both directions", async () => {
  await using backend = await serveScript(async (peer) => {
    assertStringIncludes((await peer.head()).toLowerCase(), "upgrade: websocket");
    await peer.write(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x89\x02hi",
    );
    assertEquals(await peer.read(8), Uint8Array.of(0x8a, 0x82, 0, 0, 0, 0, 0x68, 0x69));
    assertEquals(await peer.read(6), Uint8Array.of(0x89, 0x80, 0, 0, 0, 0));
    await peer.write("\x8a\x00");
  });
  await using balancer = await runL7({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  const opened = await client.get(
    "/",
    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
  );
  assertEquals(opened.status, 101);
  assertEquals(opened.headers.get("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  assertEquals(await client.read(4), Uint8Array.of(0x89, 0x02, 0x68, 0x69));
  await client.write(Uint8Array.of(0x8a, 0x82, 0, 0, 0, 0, 0x68, 0x69));
  await client.write(Uint8Array.of(0x89, 0x80, 0, 0, 0, 0));
  const { text, end } = await client.rest();
  assertEquals([text, end], ["\x8a\x00", "eof"]);
});

Deno.test("bytes that follow the request for an upgrade at once are not lost", async () => {
  await using backend = await serveScript(async (peer) => {
    await peer.head();
    await peer.write("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    await peer.write(await peer.read(5));
  });
  await using balancer = await runL7({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  await client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly");
  assertEquals((await client.answer()).status, 101);
  assertEquals((await client.rest()).text, "early");
});

Deno.test("a backend that refuses an upgrade is heard, and the connection goes on", async () => {
  await using backend = serveName("no upgrade");
  await using balancer = await runL7({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  const fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
  assertEquals((await client.get("/", fields)).text, "no upgrade");
  assertEquals((await client.get("/")).text, "no upgrade");
});

Deno.test("a hundred WebSockets at once, each with its own messages", async () => {
  await using a = serveEcho();
  await using b = serveEcho();
  await using balancer = await runL7({ backends: [a.addr, b.addr] });
  await Promise.all(Array.from({ length: 100 }, async (_, id) => {
    const socket = await open(balancer);
    for (let i = 0; i < 10; i++) {
      const answer = next(socket);
      socket.send(`${id}:${i}`);
      assertEquals(await answer, `${id}:${i}`);
    }
    await close(socket);
  }));
  assertEquals([a.requests, b.requests], [50, 50]);
  await settled(balancer.lb);
});

Deno.test("a WebSocket that either side cuts ends on the other side too", async (t) => {
  const upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
  const accept = "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
  await t.step("the client", async () => {
    await using backend = await serveScript(async (peer) => {
      await peer.head();
      await peer.write(accept);
      await peer.rest();
    });
    await using balancer = await runL7({ backends: [backend.addr] });
    const client = await Peer.connect(balancer.addr);
    assertEquals((await client.get("/", upgrade)).status, 101);
    client.reset();
    await backend.peers[0]!.closed;
    await settled(balancer.lb);
  });
  await t.step("the backend", async () => {
    await using backend = await serveScript(async (peer) => {
      await peer.head();
      await peer.write(accept);
      await delay(20);
      peer.reset();
    });
    await using balancer = await runL7({ backends: [backend.addr] });
    await using client = await Peer.connect(balancer.addr);
    assertEquals((await client.get("/", upgrade)).status, 101);
    await client.rest();
    await settled(balancer.lb);
  });
});

Deno.test("a silent WebSocket is closed after the tunnel's idle time, one that talks is not", async () => {
  await using backend = serveEcho();
  await using balancer = await runL7({ backends: [backend.addr], timeouts: { tunnelIdle: 3000 } });
  const socket = await open(balancer);
  const closed = new Promise((resolve) => socket.onclose = resolve);
  socket.onerror = () => {}; // the cut is what is waited for
  for (let i = 0; i < 6; i++) {
    const answer = next(socket);
    socket.onerror = () => {};
    socket.send(`${i}`);
    assertEquals(await answer, `${i}`);
    await delay(600);
  }
  await closed;
  await settled(balancer.lb);
});

Deno.test("shutdown waits for an open WebSocket, then cuts it", async () => {
  await using backend = serveEcho();
  const balancer: Running<HttpL7> = await runL7({
    backends: [backend.addr],
    timeouts: { shutdown: 3000 },
  });
  const socket = await open(balancer);
  const started = performance.now();
  const closed = new Promise((resolve) => socket.onclose = resolve);
  const shutdown = balancer.server.shutdown();
  const answer = next(socket);
  socket.onerror = () => {}; // the cut is what is waited for
  socket.send("still open");
  assertEquals(await answer, "still open");
  await closed;
  await shutdown;
  const took = performance.now() - started;
  assert(took >= 2990 && took < 20_000, `it took ${took} ms`);
});

Deno.test("a WebSocket goes through HttpL4", async () => {
  await using backend = serveEcho();
  await using balancer = await runL4({ backends: [backend.addr] });
  const socket = await open(balancer);
  const answer = next(socket);
  socket.send("at layer 4");
  assertEquals(await answer, "at layer 4");
  await close(socket, 1000);
  await settled(balancer.lb);
});

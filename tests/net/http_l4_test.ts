import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { freePort } from "../../scripts/bench/process.ts";
import { delay, Peer, runL4, serveHttp, serveName, serveScript, until } from "../support/net.ts";

/** Sends back what it gets, and the end too. */
const echo = async (peer: Peer) => {
  while (await peer.fill()) await peer.write(await peer.read(peer.pending));
  await peer.end();
};

Deno.test("HttpL4 gives each connection to one backend for its life, in turn", async () => {
  await using a = serveName("a");
  await using b = serveName("b");
  await using balancer = await runL4({ backends: [a.addr, b.addr] });
  for (const name of ["a", "b", "a", "b"]) {
    await using client = await Peer.connect(balancer.addr);
    for (let i = 0; i < 3; i++) assertEquals((await client.get("/")).text, name);
  }
});

Deno.test("HttpL4 changes no byte of a request", async () => {
  await using backend = await serveScript(async (peer) => {
    const head = await peer.head();
    await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`);
  });
  await using balancer = await runL4({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  const head = "get  /a b\xff HTTP/9.9\r\nx : \x01\r\nConnection: X, x";
  assertEquals((await client.ask(head + "\r\n\r\n")).text, head);
});

Deno.test("HttpL4 relays a megabyte each way at the same time", async () => {
  await using backend = await serveScript(echo);
  await using balancer = await runL4({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  const bytes = Uint8Array.from({ length: 1_000_003 }, (_, i) => (i * 31) >> 3);
  const sending = client.write(bytes).then(() => client.end());
  const { bytes: echoed, end } = await client.rest();
  await sending;
  assertEquals(end, "eof");
  assertEquals(echoed.length, bytes.length);
  assert(echoed.every((byte, i) => byte === bytes[i]), "the bytes have changed");
});

Deno.test("HttpL4 passes the end of either direction on while the other goes on", async (t) => {
  await t.step("the client's", async () => {
    await using backend = await serveScript(async (peer) => {
      const { text } = await peer.rest();
      await peer.write(`${text} is all`);
      await peer.end();
    });
    await using balancer = await runL4({ backends: [backend.addr] });
    await using client = await Peer.connect(balancer.addr);
    await client.write("this");
    await client.end();
    const { text, end } = await client.rest();
    assertEquals([text, end], ["this is all", "eof"]);
  });
  await t.step("the backend's", async () => {
    const { promise: heard, resolve: onHeard } = Promise.withResolvers<string>();
    await using backend = await serveScript(async (peer) => {
      await peer.write("bye");
      await peer.end();
      onHeard((await peer.rest()).text);
    });
    await using balancer = await runL4({ backends: [backend.addr] });
    await using client = await Peer.connect(balancer.addr);
    await client.write("x");
    assertEquals((await client.rest()).text, "bye");
    await client.write("still here");
    await client.end();
    assertEquals(await heard, "xstill here");
  });
});

Deno.test("a POST /lb/add without a body registers the caller, however it is cut into pieces", async () => {
  await using backend = serveName("registered");
  const port = Number(backend.addr.split(":")[1]);
  const request = "POST /lb/add HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n";
  const cuts = [...Array("POST /lb/add ".length + 2).keys(), request.length - 2];
  for (const cut of cuts) {
    await using balancer = await runL4({ management: { defaultPort: port } });
    await using client = await Peer.connect(balancer.addr);
    await client.write(request.slice(0, cut));
    await delay(1);
    const answer = await client.ask(request.slice(cut));
    assertEquals(answer.status, 201, `cut at ${cut}: ${answer.text}`);
    assertEquals(answer.headers.get("connection"), "close");
    assertEquals(JSON.parse(answer.text).addr, `http://${backend.addr}`);
    await using next = await Peer.connect(balancer.addr);
    assertEquals((await next.get("/")).text, "registered");
  }
});

Deno.test("HttpL4 answers management and relays whatever only looks like it", async () => {
  await using backend = serveHttp((request) => new Response(new URL(request.url).pathname));
  await using balancer = await runL4({ backends: [backend.addr] });
  for (const path of ["/lb/addx", "/lb/ad", "/lb/add/x", "/lb", "/lb/backendsx", "/LB/add"]) {
    await using client = await Peer.connect(balancer.addr);
    assertEquals((await client.get(path)).text, path);
  }
  await using client = await Peer.connect(balancer.addr);
  const host = `Host: ${new URL(balancer.origin).host}`;
  const { text } = await client.ask(`GET /lb/backends HTTP/1.1\r\n${host}\r\n\r\n`);
  assertEquals(JSON.parse(text).backends.map(({ addr }: { addr: string }) => addr), [
    `http://${backend.addr}`,
  ]);
});

Deno.test("HttpL4 goes on to the next backend when one refuses", async () => {
  const port = freePort();
  await using backend = serveName("alive");
  await using balancer = await runL4({ backends: [`127.0.0.1:${port}`, backend.addr] });
  for (let i = 0; i < 4; i++) {
    await using client = await Peer.connect(balancer.addr);
    assertEquals((await client.get("/")).text, "alive");
  }
  balancer.lb.removeBackend(backend.addr);
  await using client = await Peer.connect(balancer.addr);
  const refused = await client.get("/");
  assertEquals([refused.status, refused.headers.get("retry-after")], [503, "1"]);
  assertStringIncludes(refused.text, '"no_backend"');
  assertEquals((await client.rest()).end, "eof");
});

Deno.test("HttpL4 closes a connection on which nothing comes", async () => {
  await using backend = await serveScript(echo);
  await using balancer = await runL4({ backends: [backend.addr], timeouts: { requestHead: 200 } });
  await using client = await Peer.connect(balancer.addr);
  const { text, end } = await client.rest();
  assertEquals([text, end, backend.peers.length], ["", "eof", 0]);
});

Deno.test("HttpL4 closes a connection that is silent for too long", async () => {
  await using backend = await serveScript(echo);
  await using balancer = await runL4({ backends: [backend.addr], timeouts: { tunnelIdle: 3000 } });
  await using client = await Peer.connect(balancer.addr);
  for (let i = 0; i < 6; i++) {
    await client.write("x");
    await client.read(1);
    await delay(600);
  }
  assertEquals((await client.rest()).end, "eof");
  await backend.peers[0]!.closed;
});

Deno.test("a connection at layer 4 outlives its backend's place in the configuration", async () => {
  await using backend = await serveScript(echo);
  await using balancer = await runL4({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  await client.write("one");
  assertEquals((await client.read(3)).length, 3);
  const removed = balancer.lb.management.removeBackend(backend.addr);
  assertEquals([removed.state, removed.in_flight], ["removed", 1]);
  await client.write("two");
  assertEquals(new TextDecoder().decode(await client.read(3)), "two");
});

Deno.test("least connections counts connections at layer 4", async () => {
  await using a = await serveScript(echo);
  await using b = await serveScript(echo);
  await using balancer = await runL4({
    backends: [a.addr, b.addr],
    strategy: "least-connections",
  });
  const open = async () => {
    const client = await Peer.connect(balancer.addr);
    await client.write("x");
    await client.read(1);
    return client;
  };
  await using first = await open();
  await using _second = await open();
  assertEquals([a.peers.length, b.peers.length], [1, 1]);
  await first.close();
  const freed = () => balancer.lb.backends().find(({ in_flight }) => in_flight === 0);
  await until(() => freed() !== undefined, "the closed connection is still counted");
  const { addr } = freed()!;
  await using _third = await open();
  const chosen = [a, b].find((backend) => addr.endsWith(backend.addr))!;
  assertEquals(chosen.peers.length, 2);
});

Deno.test("HttpL4 counts connections and bytes", async () => {
  await using backend = await serveScript(echo);
  await using balancer = await runL4({ backends: [backend.addr], name: "l4" });
  {
    await using client = await Peer.connect(balancer.addr);
    await client.write("hello");
    await client.read(5);
    await client.end();
    await client.rest();
  }
  const metrics = balancer.lb.metrics.listener("l4");
  await until(() => metrics.connectionsActive === 0, "the connection is still counted");
  assertEquals([metrics.bytesReceived, metrics.bytesSent, metrics.connectionsAccepted], [5, 5, 1]);
  const upstreams = [...metrics.upstreamSeries()].map(([, { connects, active, bytesSent }]) => [
    connects,
    active,
    bytesSent,
  ]);
  assertEquals(upstreams, [[1, 0, 5]]);
});

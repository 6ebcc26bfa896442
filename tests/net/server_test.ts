import { assert, assertEquals, assertRejects } from "@std/assert";
import { HttpL4, HttpL7, TcpL4 } from "../../mod.ts";
import {
  delay,
  Peer,
  run,
  runL4,
  runL7,
  serveHttp,
  serveName,
  serveScript,
  settled,
  until,
  within,
} from "../support/net.ts";

/** A backend whose answers wait until they are let go. */
function serveHeld() {
  const held: (() => void)[] = [];
  const backend = serveHttp(async () => {
    await new Promise<void>((resolve) => held.push(resolve));
    return new Response("at last");
  });
  return {
    addr: backend.addr,
    held,
    async [Symbol.asyncDispose]() {
      for (const release of held) release();
      await backend[Symbol.asyncDispose]();
    },
  };
}

const refusesConnections = async (addr: Deno.Addr) => {
  const error = await assertRejects(() => Peer.connect(addr)) as Error & { code?: string };
  assertEquals(error.code, "ECONNREFUSED");
};

for (const make of [() => new HttpL7(), () => new HttpL4(), () => new TcpL4()]) {
  const name = make().constructor.name;
  Deno.test(`${name} starts on a port that the system chooses, and ends`, async () => {
    const server = await make().start("127.0.0.1:0");
    const addr = server.addr as Deno.NetAddr;
    assertEquals([addr.transport, addr.hostname, addr.port > 0], ["tcp", "127.0.0.1", true]);
    await using client = await Peer.connect(addr);
    const ended = [server.shutdown(), server.shutdown(), server.finished];
    await within(10_000, "the shutdown of an idle server", Promise.all(ended));
    assertEquals((await client.rest()).bytes.length, 0);
    await refusesConnections(addr);
  });
}

Deno.test("a port that is taken and an address that is none are errors", async () => {
  await using balancer = await runL7();
  const { port } = balancer.addr as Deno.NetAddr;
  await assertRejects(
    () => new HttpL7().start(`127.0.0.1:${port}`),
    Deno.errors.AddrInUse,
  );
  await assertRejects(() => new HttpL7().start("nowhere"), TypeError, '"nowhere"');
  await assertRejects(() => new HttpL7().start("http://127.0.0.1:0"), TypeError, "scheme");
});

Deno.test("one balancer may listen on several addresses, and start again", async () => {
  await using backend = serveName("one");
  const lb = new HttpL7({ backends: [backend.addr] });
  for (let round = 0; round < 2; round++) {
    await using a = await run(lb);
    await using b = await run(lb);
    for (const { addr } of [a, b]) {
      await using client = await Peer.connect(addr);
      assertEquals((await client.get("/")).text, "one");
    }
  }
  assertEquals(lb.backends()[0]!.connections.idle, 0, "the last server closes what is pooled");
});

Deno.test("an aborted signal shuts down, and one that is aborted already does not start", async () => {
  const stop = new AbortController();
  const server = await new HttpL7().start("127.0.0.1:0", { signal: stop.signal });
  await using client = await Peer.connect(server.addr);
  stop.abort();
  await within(10_000, "the end of the server", server.finished);
  assertEquals((await client.rest()).end, "eof");
  await assertRejects(
    () => new HttpL7().start("127.0.0.1:0", { signal: stop.signal }),
    DOMException,
  );
});

Deno.test("shutdown lets a slow request finish, says so, and accepts no more", async () => {
  await using backend = serveHeld();
  const balancer = await runL7({ backends: [backend.addr], timeouts: { shutdown: 60_000 } });
  await using busy = await Peer.connect(balancer.addr);
  await using idle = await Peer.connect(balancer.addr);
  await using partial = await Peer.connect(balancer.addr);
  const answer = busy.get("/");
  await partial.write("GET / HTTP/1.1\r\nHo");
  await until(() => backend.held.length === 1, "the request does not reach the backend");
  let finished = false;
  const shutdown = balancer.server.shutdown().then(() => finished = true);
  const { text, end } = await within(10_000, "the end of the idle connection", idle.rest());
  assertEquals([text, end], ["", "eof"]);
  await refusesConnections(balancer.addr);
  const second = partial.ask("st: a\r\n\r\n");
  await until(() => backend.held.length === 2, "a request that had begun is not answered");
  await delay(150);
  assertEquals(finished, false);
  for (const release of backend.held) release();
  for (const { status, text, headers } of [await answer, await second]) {
    assertEquals([status, text, headers.get("connection")], [200, "at last", "close"]);
  }
  await within(10_000, "the shutdown", shutdown);
});

Deno.test("what is longer than the grace period is cut", async () => {
  await using backend = serveHeld();
  await using streaming = await serveScript(async (peer) => {
    await peer.head();
    await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin");
    await peer.rest();
  });
  const balancer = await runL7({ backends: [backend.addr], timeouts: { shutdown: 200 } });
  await using waiting = await Peer.connect(balancer.addr);
  await waiting.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => backend.held.length === 1, "the request does not reach the backend");
  balancer.lb.removeBackend(backend.addr);
  balancer.lb.addBackend(streaming.addr);
  await using reading = await Peer.connect(balancer.addr);
  await reading.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await reading.readThrough("begin");
  const started = performance.now();
  await balancer.server.shutdown();
  const took = performance.now() - started;
  assert(took >= 190 && took < 20_000, `it took ${took} ms`);
  assertEquals((await waiting.rest()).bytes.length, 0);
  assertEquals((await reading.rest()).bytes.length, 0);
  await streaming.peers[0]!.closed;
});

Deno.test("the grace period also cuts what waits for a connection to a backend", async () => {
  await using silent = await serveScript((peer) => peer.closed);
  const balancer = await runL7({
    backends: [silent.addr],
    timeouts: { shutdown: 200, poolWait: 60_000 },
    limits: { maxUpstreamConnections: 1 },
  });
  await using first = await Peer.connect(balancer.addr);
  await using second = await Peer.connect(balancer.addr);
  await first.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => silent.peers.length === 1, "the request does not reach the backend");
  await second.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => balancer.lb.backends()[0]!.in_flight === 2, "the second does not wait");
  await within(10_000, "the shutdown", balancer.server.shutdown());
  await settled(balancer.lb);
});

/** The machine may stop everything for a while, and what is to go on meanwhile must have the time for it. */
const GRACE_MS = 3000;

Deno.test("shutdown at layer 4 waits for open connections, then cuts them", async () => {
  await using backend = await serveScript(async (peer) => {
    while (await peer.fill()) await peer.write(await peer.read(peer.pending));
  });
  const balancer = await runL4({ backends: [backend.addr], timeouts: { shutdown: GRACE_MS } });
  await using busy = await Peer.connect(balancer.addr);
  await using silent = await Peer.connect(balancer.addr);
  await busy.write("one");
  await busy.read(3);
  const started = performance.now();
  const shutdown = balancer.server.shutdown();
  await silent.rest();
  // That was not the end of the grace period.
  await busy.write("two");
  assertEquals(new TextDecoder().decode(await busy.read(3)), "two");
  assertEquals((await busy.rest()).bytes.length, 0);
  await shutdown;
  const took = performance.now() - started;
  assert(took >= GRACE_MS - 10 && took < 20_000, `it took ${took} ms`);
});

Deno.test("shutdown does not wait for clients that were refused", async () => {
  await using backend = serveName("x");
  const balancer = await runL7({ backends: [backend.addr], limits: { maxConnections: 1 } });
  await using first = await Peer.connect(balancer.addr);
  await first.get("/");
  await using refused = await Peer.connect(balancer.addr);
  assertEquals((await refused.get("/")).status, 503);
  // Counted in turns of this process: less than the second that a client has to read why it was refused.
  await within(500, "the shutdown", balancer.server.shutdown());
});

Deno.test("connections above the limit get 503 with Retry-After, and room is used again", async () => {
  await using backend = serveName("served");
  await using balancer = await runL7({ backends: [backend.addr], limits: { maxConnections: 3 } });
  const clients = await Promise.all([1, 2, 3].map(() => Peer.connect(balancer.addr)));
  for (const client of clients) assertEquals((await client.get("/")).text, "served");
  for (let i = 0; i < 10; i++) {
    await using refused = await Peer.connect(balancer.addr);
    const answer = await refused.get("/");
    assertEquals([answer.status, answer.headers.get("retry-after")], [503, "1"]);
    assertEquals(answer.headers.get("connection"), "close");
    assertEquals(JSON.parse(answer.text).code, "too_many_connections");
    assertEquals((await refused.rest()).end, "eof");
  }
  for (const client of clients) assertEquals((await client.get("/")).text, "served");
  await clients[0]!.close();
  const metrics = balancer.lb.metrics.listener("http-l7");
  await until(() => metrics.connectionsActive === 2, "the closed connection still counts");
  await using next = await Peer.connect(balancer.addr);
  assertEquals((await next.get("/")).text, "served");
  assertEquals(metrics.connectionsRefused, 10);
  for (const client of clients) await client.close();
});

Deno.test("a burst far above the limit disturbs nobody who is in", async () => {
  await using backend = serveName("served");
  await using balancer = await runL7({ backends: [backend.addr], limits: { maxConnections: 2 } });
  await using inside = await Peer.connect(balancer.addr);
  await inside.get("/");
  await using _other = await Peer.connect(balancer.addr);
  const outside = Array.from({ length: 150 }, async () => {
    await using client = await Peer.connect(balancer.addr);
    await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const { text } = await client.rest();
    return text === "" || text.startsWith("HTTP/1.1 503 ");
  });
  for (let i = 0; i < 50; i++) assertEquals((await inside.get("/")).text, "served");
  assertEquals((await Promise.all(outside)).every(Boolean), true);
  assertEquals((await inside.get("/")).text, "served");
});

Deno.test("requests above the limit of a backend wait, then get 503", async () => {
  await using backend = serveHeld();
  await using balancer = await runL7({
    backends: [backend.addr],
    limits: { maxUpstreamConnections: 2, maxWaiting: 2 },
    timeouts: { poolWait: 3000 },
  });
  const clients = await Promise.all([1, 2, 3, 4, 5].map(() => Peer.connect(balancer.addr)));
  const answers: Promise<{ status: number; text: string }>[] = [];
  for (const [i, client] of clients.entries()) {
    answers.push(client.get("/"));
    await until(
      () => i === 4 || balancer.lb.backends()[0]!.in_flight === i + 1,
      "the request does not arrive",
    );
  }
  const refused = await answers[4]!;
  assertEquals([refused.status, JSON.parse(refused.text).code], [503, "pool_exhausted"]);
  assertEquals(backend.held.length, 2);
  backend.held[0]!();
  assertEquals((await answers[0]!).text, "at last");
  await until(() => backend.held.length === 3, "who waits does not get the free connection");
  assertEquals((await answers[3]!).status, 503, "who waits too long is refused");
  for (const release of backend.held) release();
  for (const i of [1, 2]) assertEquals((await answers[i]!).text, "at last");
  for (const client of clients) await client.close();
  await settled(balancer.lb);
});

Deno.test("a balancer listens on a Unix socket and takes its file away at the end", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/lb.sock`;
    await using backend = serveHttp((request) =>
      new Response(request.headers.get("x-forwarded-for"))
    );
    for (let round = 0; round < 2; round++) {
      await using balancer = await run(new HttpL7({ backends: [backend.addr] }), `unix:${path}`);
      assertEquals(balancer.addr.transport, "unix");
      await using client = await Peer.connect({ transport: "unix", path });
      const answer = await client.get("/");
      assertEquals([answer.status, answer.text], [200, "unix"]);
    }
    assertEquals([...Deno.readDirSync(folder)], []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the file of a Unix socket may be gone when the server ends", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const server = await new HttpL7().start(`unix:${folder}/lb.sock`);
    await Deno.remove(`${folder}/lb.sock`);
    await server.shutdown();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a Unix socket that a dead process left behind is taken over, one in use is not", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/lb.sock`;
    const code = `Deno.listen({ transport: "unix", path: ${JSON.stringify(path)} });
      Deno.kill(Deno.pid, "SIGKILL");`;
    const args = ["eval", "--no-config", code];
    const { signal, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    assertEquals(signal, "SIGKILL", new TextDecoder().decode(stderr));
    assertEquals((await Deno.lstat(path)).isSocket, true);
    await using balancer = await run(new HttpL7(), `unix:${path}`);
    assertEquals(balancer.addr.transport, "unix");
    await assertRejects(() => new HttpL7().start(`unix:${path}`), Deno.errors.AddrInUse);
    await using client = await Peer.connect({ transport: "unix", path });
    assertEquals((await client.get("/")).status, 503, "the one that listens goes on");
    await Deno.writeTextFile(`${folder}/file`, "not a socket");
    await assertRejects(() => new HttpL7().start(`unix:${folder}/file`), Deno.errors.AddrInUse);
    assertEquals(await Deno.readTextFile(`${folder}/file`), "not a socket");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

const ipv6 = hasIpv6();

function hasIpv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false; // whatever the reason, there is nothing to test with
  }
}

Deno.test({
  name: "IPv6: listener, backend, forwarded address and registration by address",
  ignore: !ipv6,
  async fn() {
    await using backend = serveHttp(
      (request) => new Response(request.headers.get("x-forwarded-for")),
      { hostname: "::1" },
    );
    await using l7 = await run(new HttpL7({ backends: [`http://${backend.addr}`] }), "[::1]:0");
    await using client = await Peer.connect(l7.addr);
    assertEquals((await client.get("/")).text, "::1");

    await using l4 = await run(
      new HttpL4({ management: { defaultPort: Number(backend.addr.split("]:")[1]) } }),
      "[::1]:0",
    );
    await using caller = await Peer.connect(l4.addr);
    const added = await caller.ask(
      "POST /lb/add HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 0\r\n\r\n",
    );
    assertEquals([added.status, JSON.parse(added.text).addr], [201, `http://${backend.addr}`]);
    await using other = await Peer.connect(l4.addr);
    assertEquals((await other.get("/")).status, 200);
  },
});

Deno.test({
  name: "a listener on [::] also takes IPv4 clients and shows their address as IPv4",
  ignore: !ipv6,
  async fn() {
    await using backend = serveHttp((request) =>
      new Response(request.headers.get("x-forwarded-for"))
    );
    await using balancer = await run(new HttpL7({ backends: [backend.addr] }), "[::]:0");
    await using client = await Peer.connect((balancer.addr as Deno.NetAddr).port);
    assertEquals((await client.get("/")).text, "127.0.0.1");
  },
});

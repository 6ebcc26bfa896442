import { assert, assertEquals } from "@std/assert";
import { ProxyError } from "../../lib/common/errors.ts";
import { settle } from "../support/fake_clock.ts";
import { A, B, type Client, type L7, testL7 } from "../support/l7.ts";
import type { BackendConnection } from "../support/scripted_backend.ts";

const C = "http://c:80";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";

/** A client and a pooled connection that has carried one of its requests. */
async function warm(lb: L7): Promise<{ client: Client; backend: BackendConnection }> {
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept();
  await backend.answer(OK);
  await asking;
  await settle();
  assertEquals(lb.live().http.idle, 1);
  return { client, backend };
}

testL7(
  "a request that meets a connection just being closed is sent again on a fresh one",
  {},
  async (lb) => {
    for (const end of ["close", "reset"] as const) {
      for (const method of ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"]) {
        const { client, backend } = await warm(lb);
        const dials = lb.at().dials;
        const asking = client.ask(`${method} /again HTTP/1.1\r\nHost: a\r\n\r\n`);
        await backend.request();
        backend[end]();
        const fresh = await lb.accept();
        const request = await fresh.answer(OK);
        assertEquals(request.start, `${method} /again HTTP/1.1`);
        assertEquals((await asking).status, 200);
        assertEquals(lb.at().dials, dials + 1);
        client.close();
        lb.live().http.closeIdle();
        await settle();
      }
    }
    assertEquals([lb.upstream().retries, lb.upstream().reuses], [10, 10]);
  },
);

testL7("a body that lay in the first write is sent again with its request", {}, async (lb) => {
  const { client, backend } = await warm(lb);
  const asking = client.ask("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
  assertEquals((await backend.request()).body, "body");
  backend.close();
  const request = await (await lb.accept()).answer(OK);
  assertEquals([request.body, (await asking).status], ["body", 200]);
});

testL7("a request that may have been acted on is not sent again", {}, async (lb) => {
  for (const request of [POST, GET.replace("GET", "PATCH"), GET.replace("GET", "LOCK")]) {
    const { client, backend } = await warm(lb);
    const asking = client.ask(request);
    await backend.request();
    backend.close();
    const response = await asking;
    assertEquals([response.status, JSON.parse(response.body).code], [502, "upstream_closed"]);
    assertEquals(response.get("connection"), undefined, "the client may go on");
    assertEquals(lb.at().unaccepted, 0);
    client.close();
  }
});

testL7("a request whose body was streamed is not sent again", {}, async (lb) => {
  const { client, backend } = await warm(lb);
  await client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nbody");
  await backend.head();
  void client.send("more");
  await backend.read(8);
  backend.close();
  assertEquals((await client.response()).status, 502);
  assertEquals(lb.at().dials, 1);
});

testL7("a fresh connection that ends without an answer is not tried again", {
  backends: [A, B],
}, async (lb) => {
  for (const [end, code] of [["close", "upstream_closed"], ["reset", "upstream_reset"]] as const) {
    const client = lb.connect();
    const asking = client.ask(GET);
    const addr = end === "close" ? A : B;
    const backend = await lb.accept(addr);
    await backend.request();
    backend[end]();
    const response = await asking;
    assertEquals([response.status, JSON.parse(response.body).code], [502, code]);
    client.close();
  }
  assertEquals([lb.at(A).dials, lb.at(B).dials], [1, 1]);
});

testL7("a second failure of the same kind is the answer", {}, async (lb) => {
  const { client, backend } = await warm(lb);
  const asking = client.ask(GET);
  await backend.request();
  backend.close();
  const fresh = await lb.accept();
  await fresh.request();
  fresh.close();
  assertEquals((await asking).status, 502);
  assertEquals(lb.at().dials, 2);
});

testL7("an answer that had begun is not asked for again", {}, async (lb) => {
  const { client, backend } = await warm(lb);
  const asking = client.ask(GET);
  await backend.request();
  await backend.send("HTTP/1.1 20");
  backend.close();
  assertEquals((await asking).status, 502);
  assertEquals(lb.at().dials, 1);
});

testL7("a malformed answer is not asked for again", { backends: [A, B] }, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept();
  void backend.answer("SSH-2.0-OpenSSH_9.6\r\n");
  const response = await asking;
  assertEquals([response.status, JSON.parse(response.body).code], [502, "upstream_protocol"]);
  assertEquals([lb.at(B).dials, lb.upstream().failures.get("upstream_protocol")], [0, 1]);
});

testL7("when a backend cannot be reached the next one is tried, for any method", {
  backends: [A, B],
}, async (lb) => {
  lb.at(A).refuse();
  lb.at(B).serve(({ body }) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  const client = lb.connect();
  for (let i = 0; i < 4; i++) {
    const response = await client.ask(POST);
    assertEquals([response.status, response.body], [200, "body"]);
  }
  assertEquals([lb.upstream(A).failures.get("connect_refused"), lb.upstream(B).retries], [4, 4]);
});

testL7(
  "a body that is still to come survives a change of backend",
  { backends: [A, B] },
  async (lb) => {
    lb.at(A).refuse();
    const client = lb.connect();
    await client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    );
    const backend = await lb.accept(B);
    const head = await backend.head();
    void client.send("2\r\ncd\r\n0\r\n\r\n");
    assertEquals((await backend.content(head!, false)).body, "abcd");
    void backend.send(OK);
    assertEquals((await client.response()).status, 200);
  },
);

testL7("when none can be reached the answer is 503, whatever the limit of attempts", {
  backends: [A, B, C],
}, async (lb) => {
  for (const addr of [A, B, C]) lb.at(addr).refuse();
  const client = lb.connect();
  const response = await client.ask(GET);
  assertEquals([response.status, response.get("retry-after")], [503, "1"]);
  assertEquals(response.get("content-type"), "application/problem+json");
  const document = JSON.parse(response.body);
  assertEquals([document.status, document.code], [503, "no_backend"]);
  assertEquals(response.body.includes("secret"), false, "the cause is for the log");
  assertEquals([A, B, C].map((addr) => lb.at(addr).dials), [1, 1, 1], "each is tried once");
});

testL7("one backend that cannot be reached is all there is", {}, async (lb) => {
  lb.at().refuse();
  const client = lb.connect();
  for (let i = 0; i < 2; i++) {
    const response = await client.ask(POST);
    assertEquals([response.status, JSON.parse(response.body).code], [503, "no_backend"]);
    assertEquals(response.get("connection"), undefined);
  }
  assertEquals(lb.at().dials, 2);
});

testL7("no more backends are tried than the limit says", {
  backends: [A, B, C],
  context: { maxAttempts: 2 },
}, async (lb) => {
  for (const addr of [A, B, C]) lb.at(addr).refuse();
  const response = await lb.connect().ask(GET);
  assertEquals([response.status, JSON.parse(response.body).code], [502, "connect_refused"]);
  assertEquals([A, B, C].map((addr) => lb.at(addr).dials), [1, 1, 0]);
});

testL7("a backend that does not accept in time is answered for with 504", {}, async (lb) => {
  lb.at().failure = new ProxyError("connect_timeout", "upstream", "slow", { retry: "safe" });
  const response = await lb.connect().ask(GET);
  assertEquals([response.status, JSON.parse(response.body).code], [504, "connect_timeout"]);
});

testL7("without any backend the answer is 503", { backends: [] }, async (lb) => {
  const client = lb.connect();
  const response = await client.ask(GET);
  assertEquals([response.status, JSON.parse(response.body).code], [503, "no_backend"]);
  assertEquals(response.get("retry-after"), "1");
  assertEquals((await client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")).body, "");
  lb.registry.addBackend({ addr: A });
  lb.at().serve(() => OK);
  assertEquals((await client.ask(GET)).body, "ok", "one that comes later is used");
});

testL7("a draining or removed backend gets no new request and finishes what it has", {
  backends: [A, B],
}, async (lb) => {
  for (const [addr, end] of [[A, "drain"], [B, "removeBackend"]] as const) {
    lb.registry.addBackend({ addr: A });
    lb.registry.addBackend({ addr: B });
    const other = addr === A ? B : A;
    const client = lb.connect();
    const asking = client.ask(GET);
    const backend = await lb.accept(addr);
    await backend.request();
    const live = lb.live(addr);
    lb.registry[end](live);
    let idle = false;
    void live.whenIdle().then(() => idle = true);
    const elsewhere = lb.connect();
    for (let i = 0; i < 2; i++) {
      const next = elsewhere.ask(GET);
      const connection = i === 0 ? await lb.accept(other) : lb.at(other).connections.at(-1)!;
      await connection.answer(OK);
      await next;
    }
    assertEquals(idle, false);
    void backend.send(OK);
    assertEquals((await asking).body, "ok");
    await settle();
    assertEquals([idle, backend.closedByProxy, live.http.idle], [true, true, 0]);
    lb.live(other).http.closeIdle();
  }
});

testL7("above the limit of connections a request waits its turn", {
  connections: { maxConnections: 1 },
}, async (lb) => {
  const [first, second] = [lb.connect(), lb.connect()];
  const asking = first.ask(GET);
  const backend = await lb.accept();
  await backend.request();
  const waiting = second.ask(GET);
  await settle();
  assertEquals([lb.live().inFlight, lb.at().dials], [2, 1]);
  void backend.send(OK);
  await asking;
  await backend.answer(OK);
  assertEquals((await waiting).body, "ok");
  assertEquals([lb.at().dials, lb.upstream().attempts], [1, 2]);
});

testL7("a request that waits too long is answered 503, and may be tried again later", {
  connections: { maxConnections: 1, waitTimeout: 500 },
}, async (lb) => {
  const [first, second] = [lb.connect(), lb.connect()];
  const asking = first.ask(GET);
  const backend = await lb.accept();
  await backend.request();
  const waiting = second.ask(GET);
  await lb.time.expire(500);
  const response = await waiting;
  assertEquals([response.status, response.get("retry-after")], [503, "1"]);
  assertEquals(JSON.parse(response.body).code, "pool_exhausted");
  void backend.send(OK);
  assertEquals((await asking).body, "ok");
});

testL7("a request for which another backend has room goes there", {
  backends: [A, B],
  connections: { maxConnections: 1, maxWaiting: 0 },
}, async (lb) => {
  const clients = [lb.connect(), lb.connect(), lb.connect()] as const;
  const first = clients[0].ask(GET);
  const onA = await lb.accept(A);
  await onA.request();
  const second = clients[1].ask(GET);
  const onB = await lb.accept(B);
  await onB.request();
  const refused = await clients[2].ask(GET);
  assertEquals([refused.status, JSON.parse(refused.body).code], [503, "pool_exhausted"]);
  void onB.send(OK);
  await second;
  // A's turn, and A is full.
  const third = clients[2].ask(GET);
  await onB.answer(OK);
  assertEquals((await third).body, "ok");
  void onA.send(OK);
  await first;
});

testL7("a retry asks for a fresh connection even where idle ones fill the limit", {
  backends: [A, B],
  connections: { maxConnections: 1 },
}, async (lb) => {
  const client = lb.connect();
  const pooled: BackendConnection[] = [];
  for (const addr of [A, B]) {
    const asking = client.ask(GET);
    const backend = await lb.accept(addr);
    await backend.answer(OK);
    await asking;
    pooled.push(backend);
  }
  const asking = client.ask(GET);
  await pooled[0]!.request();
  pooled[0]!.close();
  const fresh = await lb.accept(B);
  assertEquals(pooled[1]!.closedByProxy, true, "the idle one made room");
  await fresh.answer(OK);
  assertEquals((await asking).body, "ok");
  assert(!fresh.closedByProxy);
});

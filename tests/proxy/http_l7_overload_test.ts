import { assert, assertEquals, assertLess } from "@std/assert";
import { RequestRate } from "../../lib/http/l7/rate_limit.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { settle } from "../support/fake_clock.ts";
import type { Message } from "../support/http_text.ts";
import { A, B, type Client, type L7, testL7 } from "../support/l7.ts";
import type { BackendConnection } from "../support/scripted_backend.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/** What the balancers of these tests have. */
const MAX_WAITING = 8;
const WAIT_MS = 2_000;
const STALL_MS = 3_000;

function get(path: string, fields = ""): string {
  return `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
}

/** A client that has asked, and its answer. */
async function ask(lb: L7, path: string): Promise<{ client: Client; answer: Promise<Message> }> {
  const client = lb.connect();
  const answer = client.ask(get(path));
  await settle();
  return { client, answer };
}

/** The next request on a connection, by its path. */
async function pathOf(connection: BackendConnection): Promise<string> {
  return (await connection.request()).start.split(" ")[1]!;
}

testL7(
  "at its limit a backend gets no more requests, and the others do",
  { backends: [A, B], requests: { maxRequests: 2 } },
  async (lb) => {
    const asked = [];
    for (const path of ["/1", "/2", "/3", "/4"]) asked.push(await ask(lb, path));
    assertEquals([lb.live(A).inFlight, lb.live(B).inFlight], [2, 2]);
    const first = await lb.accept(B);
    await first.answer(OK);
    asked.push(await ask(lb, "/5"));
    assertEquals([lb.live(A).inFlight, lb.live(B).inFlight], [2, 2]);
    assertEquals(await pathOf(first), "/5");
    await first.send(OK);
    for (const addr of [A, A, B]) await (await lb.accept(addr)).answer(OK);
    for (const { answer } of asked) assertEquals((await answer).body, "ok");
  },
);

testL7(
  "requests wait in order for a backend at its limit, for so long, and then get 503",
  { requests: { maxRequests: 1 } },
  async (lb) => {
    const [first, second, third] = [await ask(lb, "/1"), await ask(lb, "/2"), await ask(lb, "/3")];
    assertEquals([lb.at().dials, lb.registry.waiting], [1, 2]);
    const connection = await lb.accept();
    await connection.answer(OK);
    assertEquals((await first.answer).status, 200);
    assertEquals(await pathOf(connection), "/2", "over the connection that became free");
    await lb.time.expire(WAIT_MS);
    const refused = await third.answer;
    assertEquals([refused.status, refused.get("retry-after")], [503, "1"]);
    assertEquals(JSON.parse(refused.body).code, "overloaded");
    assertEquals(refused.get("connection"), undefined, "the connection goes on");
    await connection.send(OK);
    assertEquals((await second.answer).status, 200);
    const again = third.client.ask(get("/3"));
    await connection.answer(OK);
    assertEquals((await again).status, 200);
    assertEquals(lb.listener.refusals.get("overloaded"), 1);
    assertEquals(lb.upstream().failures.size, 0, "it is no fault of the backend");
    assertEquals(lb.at().dials, 1);
  },
);

testL7(
  "when too many requests wait already, more are refused at once",
  { requests: { maxRequests: 1 } },
  async (lb) => {
    const asked = [];
    for (let i = 0; i <= MAX_WAITING; i++) asked.push(await ask(lb, `/${i}`));
    const refused = await (await ask(lb, "/late")).answer;
    assertEquals([refused.status, JSON.parse(refused.body).code], [503, "overloaded"]);
    lb.at().serve(() => OK);
    for (const { answer } of asked) assertEquals((await answer).status, 200);
  },
);

testL7(
  "a client that goes away while it waits leaves its place to others",
  { requests: { maxRequests: 1 } },
  async (lb) => {
    const first = await ask(lb, "/1");
    const gone = lb.connect();
    await gone.send(get("/gone"));
    await settle();
    const third = await ask(lb, "/3");
    gone.reset();
    await settle();
    assertEquals(lb.registry.waiting, 1);
    const connection = await lb.accept();
    await connection.answer(OK);
    assertEquals(await pathOf(connection), "/3");
    await connection.send(OK);
    await Promise.all([first.answer, third.answer]);
    assertEquals(lb.upstream().attempts, 2);
  },
);

testL7(
  "a request with a body waits too, and none of the body is lost",
  { requests: { maxRequests: 1 } },
  async (lb) => {
    const first = await ask(lb, "/1");
    const client = lb.connect();
    const sent = client.send("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    await settle();
    const connection = await lb.accept();
    await connection.answer(OK);
    await first.answer;
    const rest = client.send("world");
    const request = await connection.request();
    await rest;
    assertEquals([request.start, request.body], ["POST /2 HTTP/1.1", "helloworld"]);
    await connection.send(OK);
    assertEquals((await client.response()).status, 200);
    await sent;
  },
);

testL7(
  "a longer wait than that for a head is not cut short",
  {
    requests: { maxRequests: 1 },
    connections: { waitTimeout: 20_000 },
    timeouts: { requestHead: 1_000 },
  },
  async (lb) => {
    const first = await ask(lb, "/1");
    const second = await ask(lb, "/2");
    await lb.time.advance(10_000);
    const connection = await lb.accept();
    await connection.answer(OK);
    await first.answer;
    await connection.answer(OK);
    assertEquals((await second.answer).status, 200);
  },
);

testL7(
  "a request whose backend refuses waits for another one that is at its limit",
  { backends: [A, B], requests: { maxRequests: 1 } },
  async (lb) => {
    const release = lb.at(A).hold();
    const first = await ask(lb, "/1");
    const second = await ask(lb, "/2");
    lb.at(A).refuse();
    release();
    await settle();
    assertEquals([lb.registry.waiting, lb.live(A).inFlight], [1, 0]);
    const connection = await lb.accept(B);
    await connection.answer(OK);
    assertEquals((await second.answer).status, 200);
    assertEquals(await pathOf(connection), "/1");
    await connection.send(OK);
    assertEquals((await first.answer).status, 200);
  },
);

testL7(
  "a retry that finds no room in time is answered so, and counted once for its backend",
  { backends: [A, B], requests: { maxRequests: 1 } },
  async (lb) => {
    lb.at(A).refuse();
    const release = lb.at(A).hold();
    const first = await ask(lb, "/1");
    const second = await ask(lb, "/2");
    release();
    await lb.time.expire(WAIT_MS);
    assertEquals(JSON.parse((await first.answer).body).code, "overloaded");
    assertEquals([...lb.upstream(A).failures], [["connect_refused", 1]]);
    await (await lb.accept(B)).answer(OK);
    assertEquals((await second.answer).status, 200);
  },
);

testL7("without a backend there is nothing to wait for", {
  backends: [],
  requests: { maxRequests: 1 },
}, async (lb) => {
  const refused = await (await ask(lb, "/")).answer;
  assertEquals([refused.status, JSON.parse(refused.body).code], [503, "no_backend"]);
});

testL7(
  "an adaptive limit is measured by what requests take, and holds requests back",
  { requests: { adaptive: { initial: 4, min: 2, max: 100 } } },
  async (lb) => {
    lb.at().serve(() => OK);
    const client = lb.connect();
    assertEquals(lb.live().limit!.limit(lb.live().now), 2, "at first it is measured");
    for (let i = 0; i < 25; i++) assertEquals((await client.ask(get("/"))).status, 200);
    assertEquals(lb.live().limit!.limit(lb.live().now), 4);
    client.close();
  },
);

testL7(
  "requests above the rate of their route get 429 and Retry-After, and its other requests do not",
  {
    routes: [
      new RouteBuilder().path("/limited").rateLimit({ rate: 0.5, burst: 2, key: "header:X-User" })
        .target(A).build(),
      new RouteBuilder().path("/free").target(A).build(),
    ],
  },
  async (lb) => {
    lb.at().serve(() => OK);
    const client = lb.connect();
    const status = async (path: string, user: string) =>
      (await client.ask(get(path, `X-User: ${user}\r\n`))).status;
    assertEquals([await status("/limited/1", "a"), await status("/limited/2", "a")], [200, 200]);
    const refused = await client.ask(get("/limited", "X-User: a\r\n"));
    assertEquals([refused.status, refused.get("retry-after")], [429, "2"]);
    assertEquals(JSON.parse(refused.body).code, "rate_limited");
    assertEquals(refused.get("connection"), undefined, "the connection goes on");
    assertEquals([await status("/limited", "b"), await status("/free", "a")], [200, 200]);
    await lb.time.advance(2_000);
    assertEquals([await status("/limited", "a"), await status("/limited", "a")], [200, 429]);
    assertEquals(lb.listener.refusals.get("rate_limited"), 2);
    const route = [...lb.registry.routes][0]!.id;
    assertEquals(lb.listener.requests(route, "").codes[4], 2, "counted for its route");
    assertEquals(lb.upstream().attempts, 5);
    client.close();
  },
);

const rate = new RequestRate({ rate: 1, burst: 3 }, () => false);
testL7(
  "the rate of a listener holds for all that no route says otherwise of",
  {
    routes: [
      new RouteBuilder().path("/old").redirect({ status: 308, path: "/new" }).build(),
      new RouteBuilder().path("/more").rateLimit({ rate: 100 }).target(A).build(),
    ],
    context: { rates: { rate, isTrusted: () => false } },
  },
  async (lb) => {
    lb.at().serve(() => OK);
    const client = lb.connect();
    const statuses = [];
    for (const path of ["/old", "/none", "/../x", "/old", "/none", "/more"]) {
      statuses.push((await client.ask(get(path))).status);
    }
    assertEquals(statuses, [308, 404, 400, 429, 429, 200]);
    const other = lb.connect({ hostname: "192.0.2.99", port: 1 });
    assertEquals((await other.ask(get("/old"))).status, 308);
    other.close();
    client.close();
  },
);

testL7("a refused request with a body ends its connection in order", {
  routes: [new RouteBuilder().path("/").rateLimit({ rate: 1, burst: 1 }).target(A).build()],
}, async (lb) => {
  lb.at().serve(() => OK);
  const client = lb.connect();
  await client.ask(get("/"));
  await client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\npart");
  const refused = await client.response();
  assertEquals([refused.status, refused.get("connection")], [429, "close"]);
  assert(await client.ended());
});

const SLOW = {
  timeouts: { bodyStall: STALL_MS },
  context: { bodyRate: { rate: 10, grace: 2_000 } },
};
const POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";

testL7("a body that comes too slowly gets 408, though it never stalls", SLOW, async (lb) => {
  const client = lb.connect();
  await client.send(POST);
  const connection = await lb.accept();
  void connection.request().catch(() => {});
  let seconds = 0;
  while (!lb.listener.refusals.has("body_timeout")) {
    await client.send("x");
    await lb.time.advance(1_000);
    assertLess(++seconds, 10);
  }
  assertEquals(seconds, 3, "2 seconds and 10 bytes a second are allowed");
  assertEquals((await client.response()).status, 408);
  assert(connection.closedByProxy, "the backend does not wait either");
});

testL7("a body that comes as fast as it must goes on for as long as it takes", SLOW, async (lb) => {
  const client = lb.connect();
  await client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n");
  const connection = await lb.accept();
  const request = connection.request();
  for (let second = 0; second < 30; second++) {
    await client.send("0123456789");
    await lb.time.advance(1_000);
  }
  assertEquals((await request).body.length, 300);
  await connection.send(OK);
  assertEquals((await client.response()).status, 200);
});

testL7("time that the backend takes is not held against the client", SLOW, async (lb) => {
  const client = lb.connect();
  await client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n");
  const connection = await lb.accept();
  await connection.head();
  await client.send("0123456789");
  await lb.time.advance(STALL_MS - 200);
  assertEquals(await connection.read(10), "0123456789");
  await lb.time.advance(2_500);
  await client.send("0123456789");
  assertEquals(await connection.read(10), "0123456789");
  await connection.send(OK);
  assertEquals((await client.response()).status, 200);
});

testL7(
  "a chunked body whose chunks are drawn out is too slow as well",
  SLOW,
  async (lb) => {
    const client = lb.connect();
    await client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    const connection = await lb.accept();
    void connection.request().catch(() => {});
    await client.send("1;");
    let seconds = 0;
    while (!lb.listener.refusals.has("body_timeout")) {
      await client.send("a");
      await lb.time.advance(1_000);
      assertLess(++seconds, 10);
    }
    assertEquals((await client.response()).status, 408);
  },
);

import { assert, assertEquals, assertMatch } from "@std/assert";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { settle } from "../support/fake_clock.ts";
import { A, B, testL7 } from "../support/l7.ts";

const OK = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok";
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

testL7(
  "the access log tells who asked for what, and what became of it",
  { log: true },
  async (lb) => {
    const before = Date.now();
    const request = "POST /x?y=z HTTP/1.1\r\nHost: A.example:81\r\nUser-Agent: me/1\r\n" +
      "Referer: http://r/\r\nX-Request-Id: id-1\r\nContent-Length: 4\r\n\r\n";
    const client = lb.connect();
    const asking = client.ask(request + "body");
    const backend = await lb.accept();
    await backend.request();
    await lb.time.advance(250);
    void backend.send(OK);
    await asking;
    const [record, ...more] = await lb.records();
    assertEquals(more, []);
    const { time, ...rest } = record!;
    assert(Date.parse(String(time)) >= before && Date.parse(String(time)) <= Date.now());
    assertEquals(rest, {
      listener: "test",
      client: "192.0.2.1",
      method: "POST",
      host: "A.example:81",
      target: "/x?y=z",
      protocol: "HTTP/1.1",
      status: 200,
      bytes_in: request.length + 4,
      bytes_out: client.received,
      duration_ms: 250,
      route: "-",
      backend: A,
      attempts: 1,
      request_id: "id-1",
      user_agent: "me/1",
      referer: "http://r/",
      error: "",
    });
  },
);

testL7("the request id in the log is the one that the backend got", { log: true }, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  const request = await (await lb.accept()).answer(OK);
  await asking;
  const [record] = await lb.records();
  assertMatch(String(record!.request_id), /^[0-9a-f]{32}$/);
  assertEquals(record!.request_id, request.get("x-request-id"));
});

testL7("the log names the route, and the backend of the last attempt", {
  log: true,
  routes: [new RouteBuilder().path("/x").target(A).target(B).build()],
}, async (lb) => {
  lb.at(A).refuse();
  lb.at(B).serve(() => OK);
  await lb.connect().ask("GET /x HTTP/1.0\r\n\r\n");
  const [record] = await lb.records();
  const [route] = lb.registry.routes;
  assertEquals(
    [record!.route, record!.backend, record!.attempts, record!.protocol, record!.host],
    [route!.id, B, 2, "HTTP/1.0", ""],
  );
});

testL7("what failed is logged with its code", {
  log: true,
  routes: [new RouteBuilder().path("/x").target(A).build()],
}, async (lb) => {
  const client = lb.connect();
  await client.ask("GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
  lb.at().refuse();
  await client.ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
  lb.at().failure = undefined;
  void client.send("GET /x/gone HTTP/1.1\r\nHost: a\r\n\r\n");
  await (await lb.accept()).request();
  await settle();
  client.reset();
  const records = await lb.records();
  assertEquals(
    records.map(({ status, error, backend, attempts }) => [status, error, backend, attempts]),
    [[404, "no_route", "", 0], [503, "no_backend", A, 1], [0, "client_closed", A, 1]],
  );
});

testL7("an interim response is not the status of an exchange", { log: true }, async (lb) => {
  const client = lb.connect();
  void client.send(GET);
  const backend = await lb.accept();
  await backend.request();
  void backend.send("HTTP/1.1 103 Early Hints\r\n\r\n");
  assertEquals((await client.response()).status, 103);
  client.reset();
  const [record] = await lb.records();
  assertEquals([record!.status, record!.error], [0, "client_closed"]);
});

testL7("requests are counted by route, backend and class of status", {
  routes: [new RouteBuilder().path("/x").target(A).build()],
  fallback: true,
}, async (lb) => {
  const statuses = [200, 201, 302, 404, 500, 503];
  let turn = 0;
  lb.at().serve(() => `HTTP/1.1 ${statuses[turn++ % 6]} x\r\nContent-Length: 0\r\n\r\n`);
  const client = lb.connect();
  for (const path of ["/x", "/y"]) {
    for (let i = 0; i < 6; i++) await client.ask(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
  }
  await settle();
  const [route] = lb.registry.routes;
  for (const stats of [lb.requests(A, route!.id), lb.requests(A, "-")]) {
    assertEquals([...stats.codes], [0, 0, 2, 1, 1, 2]);
    assertEquals(stats.count, 6);
  }
});

testL7("durations are from the head of the request to the end of the answer", {}, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept();
  await backend.request();
  await lb.time.advance(2_000);
  await backend.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok");
  await lb.time.advance(1_000);
  void backend.send("ok");
  await asking;
  await settle();
  assertEquals([lb.requests().count, lb.requests().sum], [1, 3]);
});

testL7("bytes are counted on both sides, whatever the framing", {}, async (lb) => {
  const cases: readonly (readonly [request: string, answer: string])[] = [
    [GET, OK],
    [`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${"x".repeat(100_000)}`, OK],
    [GET, `HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 100000\r\n\r\n${"y".repeat(100_000)}`],
  ];
  const client = lb.connect();
  const accepting = lb.accept();
  let sentUp = 0, sentDown = 0;
  for (const [request, answer] of cases) {
    const asking = client.ask(request);
    await (await accepting).answer(answer);
    await asking;
    sentUp += request.length;
    sentDown += answer.length;
  }
  await settle();
  const backend = await accepting;
  const upstream = lb.upstream();
  assertEquals([upstream.bytesSent, upstream.bytesReceived], [backend.received, sentDown]);
  assertEquals([lb.requests().bytesIn, lb.requests().bytesOut], [sentUp, client.received]);
  assertEquals(lb.listener.bytesSent, client.received);
  client.close();
  await settle();
  assertEquals(lb.listener.bytesReceived, sentUp);
});

testL7("bytes of a request that failed count, too", {}, async (lb) => {
  const client = lb.connect();
  void client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc`);
  const backend = await lb.accept();
  await backend.head();
  await backend.read(3);
  await backend.send("HTTP/1.1 2");
  backend.close();
  assertEquals((await client.response()).status, 502);
  await settle();
  const { bytesSent, bytesReceived } = lb.upstream();
  assertEquals([bytesSent, bytesReceived], [backend.received, 10]);
});

testL7(
  "attempts, connections and failures are counted by backend",
  { backends: [A, B] },
  async (lb) => {
    lb.at(A).refuse();
    lb.at(B).serve(() => OK);
    const client = lb.connect();
    for (let i = 0; i < 3; i++) await client.ask(GET);
    await settle();
    const a = lb.upstream(A);
    assertEquals([a.attempts, a.connects, a.retries, a.failures.get("connect_refused")], [
      3,
      0,
      0,
      3,
    ]);
    const b = lb.upstream(B);
    assertEquals([b.attempts, b.connects, b.reuses, b.retries, b.failures.size], [3, 1, 2, 3, 0]);
    assertEquals([a.active, b.active], [0, 0]);
  },
);

testL7("a connection counts as active while it carries a request", {}, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept();
  await backend.request();
  assertEquals([lb.upstream().active, lb.live().inFlight, lb.live().http.active], [1, 1, 1]);
  void backend.send(OK);
  await asking;
  await settle();
  assertEquals([lb.upstream().active, lb.live().inFlight, lb.live().http.active], [0, 0, 0]);
});

testL7("refused heads are counted by code and in the requests without a route", {}, async (lb) => {
  for (const text of ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/3.0\r\nHost: a\r\n\r\n"]) {
    const client = lb.connect();
    await client.ask(text);
    client.close();
  }
  assertEquals(Object.fromEntries(lb.listener.refusals), { bad_host: 1, bad_version: 1 });
  const stats = lb.listener.requests("-", "");
  assertEquals([stats.count, stats.codes[4], stats.codes[5]], [2, 1, 1]);
});

testL7("series of what was removed do not come back with the end of a request", {
  routes: [new RouteBuilder().path("/").target(A).build()],
}, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept();
  await backend.request();
  lb.registry.removeBackend(lb.live());
  lb.registry.removeRoute([...lb.registry.routes][0]!.id);
  void backend.send(OK);
  assertEquals((await asking).body, "ok");
  await settle();
  assertEquals([...lb.listener.requestSeries()].length, 0);
  assertEquals([...lb.listener.upstreamSeries()].length, 0);
});

testL7("a head that is refused is logged with its error", { log: true }, async (lb) => {
  const client = lb.connect();
  const answer = await client.ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
  const [record, ...more] = await lb.records();
  assertEquals(more, []);
  assertEquals(
    [record!.status, record!.error, record!.method, record!.target, record!.bytes_out],
    [400, "bad_host", "", "", client.received],
  );
  assertEquals(answer.status, 400);
});

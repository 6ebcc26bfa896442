import { assert, assertEquals, assertMatch } from "@std/assert";
import { settle } from "../support/fake_clock.ts";
import { A, testL7 } from "../support/l7.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

testL7("a request goes to the backend and its answer to the client", {}, async (lb) => {
  const client = lb.connect();
  const asking = client.ask("GET /x?y HTTP/1.1\r\nHost: a.example\r\nX-A:b\r\n\r\n");
  const backend = await lb.accept();
  const request = await backend.answer(
    "HTTP/1.1 203 Fine\r\nContent-Length: 5\r\nX-C: d\r\n\r\nhello",
  );
  assertEquals(request.start, "GET /x?y HTTP/1.1");
  assertEquals(request.get("host"), "a.example");
  assertEquals(request.get("x-a"), "b");
  assertEquals(request.get("x-forwarded-for"), "192.0.2.1");
  assertMatch(request.get("x-request-id")!, /^[0-9a-f]{32}$/);
  const response = await asking;
  assertEquals([response.start, response.body], ["HTTP/1.1 203 Fine", "hello"]);
  assertEquals(response.get("x-c"), "d");
  assertEquals(response.get("connection"), undefined);
});

testL7("connections are kept on both sides and used again", {}, async (lb) => {
  lb.at().serve((request) => {
    const path = request.start.split(" ")[1]!;
    return `HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`;
  });
  const client = lb.connect();
  for (let i = 0; i < 20; i++) {
    const response = await client.ask(`GET /${i} HTTP/1.1\r\nHost: a\r\n\r\n`);
    assertEquals(response.body, `/${i}`);
  }
  assertEquals(lb.at().dials, 1);
  assertEquals([lb.live().http.idle, lb.live().http.active, lb.live().inFlight], [1, 0, 0]);
});

testL7("clients share the idle connections of a backend", {}, async (lb) => {
  lb.at().serve(() => OK);
  for (let i = 0; i < 5; i++) assertEquals((await lb.connect().ask(GET)).body, "ok");
  assertEquals(lb.at().dials, 1);
});

testL7("backends are picked per request, not per connection", {
  backends: [A, "http://b:80"],
}, async (lb) => {
  for (const name of ["a", "b"]) {
    lb.at(`http://${name}:80`).serve(() => `HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${name}`);
  }
  const client = lb.connect();
  let served = "";
  for (let i = 0; i < 6; i++) served += (await client.ask(GET)).body;
  assertEquals(served, "ababab");
});

testL7("pipelined requests are answered in order, one at a time", {}, async (lb) => {
  const client = lb.connect();
  const requests = Array.from(
    { length: 5 },
    (_, i) =>
      i === 2
        ? "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
        : `GET /${i} HTTP/1.1\r\nHost: a\r\n\r\n`,
  );
  void client.send(requests.join(""));
  const backend = await lb.accept();
  for (let i = 0; i < 5; i++) {
    const request = await backend.request();
    assertEquals(request.start.split(" ")[1], `/${i}`);
    assertEquals(request.body, i === 2 ? "body" : "");
    await settle();
    assertEquals(lb.at().connections.length, 1, "the next request waits for its turn");
    void backend.send(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${i}`);
    assertEquals((await client.response()).body, String(i));
  }
});

testL7("requests that come one byte at a time are served alike", {
  faults: { maxRead: 1, maxWrite: 1 },
}, async (lb) => {
  lb.at().faults = { maxRead: 1, maxWrite: 1 };
  lb.at().serve((request) =>
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
    `${request.body.length.toString(16)}\r\n${request.body}\r\n0\r\nX-T: u\r\n\r\n`
  );
  const client = lb.connect();
  const chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
    "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n";
  const length = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello again";
  void client.send("\r\n" + chunked + length + chunked);
  for (const body of ["hello world", "hello again", "hello world"]) {
    const response = await client.response();
    assertEquals([response.body, response.trailers], [body, ["X-T: u"]]);
  }
  assertEquals(lb.at().dials, 1);
});

testL7("a client that asks to close is closed after its answer", {}, async (lb) => {
  lb.at().serve(() => OK);
  const client = lb.connect();
  const response = await client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  assertEquals(response.get("connection"), "close");
  assert(await client.ended());
  assertEquals(lb.live().http.idle, 1, "the backend's connection is kept");
});

testL7("a client that ends its side after the request still gets the answer", {}, async (lb) => {
  const client = lb.connect();
  void client.send(GET).then(() => client.end());
  const backend = await lb.accept();
  await backend.request();
  await settle();
  assertEquals(backend.closedByProxy, false, "the end of a side is no cancellation");
  void backend.send(OK);
  assertEquals((await client.response()).body, "ok");
  assert(await client.ended());
});

testL7("HTTP/1.0 clients are closed unless they ask otherwise", {}, async (lb) => {
  lb.at().serve(() => OK);
  const old = lb.connect();
  const response = await old.ask("GET / HTTP/1.0\r\n\r\n");
  assertEquals([response.start, response.get("connection")], ["HTTP/1.1 200 OK", "close"]);
  assert(await old.ended());
  const keeping = lb.connect();
  for (let i = 0; i < 3; i++) {
    const kept = await keeping.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assertEquals([kept.body, kept.get("connection")], ["ok", "keep-alive"]);
  }
});

testL7(
  "an HTTP/1.0 client without a host reaches the backend under the listener's",
  {},
  async (lb) => {
    const client = lb.connect();
    const asking = client.ask("GET / HTTP/1.0\r\n\r\n");
    const request = await (await lb.accept()).answer(OK);
    assertEquals([request.start, request.get("host")], ["GET / HTTP/1.1", "198.51.100.1:8080"]);
    await asking;
  },
);

testL7("an HTTP/1.0 client gets an unframed body, ended by the connection", {}, async (lb) => {
  const client = lb.connect();
  void client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const backend = await lb.accept();
  void backend.answer(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
  );
  const response = await client.response();
  assertEquals(response.body, "abcde");
  assertEquals(response.get("transfer-encoding"), undefined);
  assertEquals(response.get("connection"), "close");
  assertEquals(lb.live().http.idle, 1);
});

testL7("answers without a body leave the connection in step", {}, async (lb) => {
  const client = lb.connect();
  const cases: readonly (readonly [request: string, answer: string, length?: string])[] = [
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", "1234"],
    ["HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["HEAD", "HTTP/1.1 200 OK\r\n\r\n"],
    ["GET", "HTTP/1.1 204 No Content\r\n\r\n"],
    ["GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n", "99"],
    ["GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"],
  ];
  const accepting = lb.accept();
  for (const [method, answer, length] of cases) {
    const asking = client.ask(`${method} / HTTP/1.1\r\nHost: a\r\n\r\n`);
    const backend = await accepting;
    await backend.answer(answer);
    const response = await asking;
    assertEquals([response.get("content-length"), response.body], [length, ""], answer);
    assertEquals(response.get("transfer-encoding"), undefined);
    assertEquals(response.get("connection"), undefined);
  }
  assertEquals(lb.at().dials, 1);
});

testL7(
  "a 204 that announces content is passed on without it, and its connection closed",
  {},
  async (lb) => {
    const client = lb.connect();
    const asking = client.ask(GET);
    const backend = await lb.accept();
    void backend.answer("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
    const response = await asking;
    assertEquals([response.get("content-length"), response.get("connection")], [
      undefined,
      undefined,
    ]);
    await settle();
    assertEquals(backend.closedByProxy, true);
  },
);

testL7("empty lines before a request are skipped", {}, async (lb) => {
  lb.at().serve(() => OK);
  const client = lb.connect();
  void client.send(`\r\n${GET}\r\n\r\n${GET}`);
  for (let i = 0; i < 2; i++) assertEquals((await client.response()).body, "ok");
});

testL7("a head that is larger than the idle buffer is taken whole, in pieces too", {
  faults: { maxRead: 700 },
}, async (lb) => {
  const client = lb.connect();
  const cookie = "c".repeat(15_000);
  const asking = client.ask(`GET / HTTP/1.1\r\nHost: a\r\nCookie: ${cookie}\r\n\r\n`);
  const answer = `HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: ${"d".repeat(16_000)}\r\n` +
    `X: ${"e".repeat(16_000)}\r\n\r\n`;
  const request = await (await lb.accept()).answer(answer);
  assertEquals(request.get("cookie"), cookie);
  assertEquals((await asking).get("set-cookie"), "d".repeat(16_000));
});

testL7("draining closes idle connections at once and others after their answer", {}, async (lb) => {
  const idle = lb.connect();
  const busy = lb.connect();
  const asking = busy.ask(GET);
  const backend = await lb.accept();
  await backend.request();
  idle.server.drain();
  busy.server.drain();
  assert(await idle.ended());
  await settle();
  assertEquals([idle.finished, busy.finished], [true, false]);
  void backend.send(OK);
  const response = await asking;
  assertEquals([response.body, response.get("connection")], ["ok", "close"]);
  assert(await busy.ended());
});

testL7("draining lets a request whose head has begun come to its end", {}, async (lb) => {
  lb.at().serve(() => OK);
  const client = lb.connect();
  await client.send("GET / HTTP/1.1\r\nHo");
  client.server.drain();
  const response = await client.ask("st: a\r\n\r\n");
  assertEquals([response.body, response.get("connection")], ["ok", "close"]);
  assert(await client.ended());
});

testL7("draining before anything was read ends the connection", {}, async (lb) => {
  const client = lb.connect();
  client.server.drain();
  assert(await client.ended());
});

testL7("a connection that is cut ends at once, and its request with it", {}, async (lb) => {
  const client = lb.connect();
  void client.send(GET);
  const backend = await lb.accept();
  await backend.request();
  client.server.abort();
  assert(await client.ended());
  await settle();
  assertEquals([backend.closedByProxy, client.finished], [true, true]);
  assertEquals(lb.live().inFlight, 0);
});

testL7("with one answer per connection the client is told so", {
  context: { closeAfterFirst: true },
}, async (lb) => {
  lb.at().serve(() => OK);
  const client = lb.connect();
  assertEquals((await client.ask(GET)).get("connection"), "close");
  assert(await client.ended());
});

testL7("a backend that asks to close is not used again", {}, async (lb) => {
  const client = lb.connect();
  const answers = [
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more than that",
  ];
  for (const answer of answers) {
    const asking = client.ask(GET);
    const backend = await lb.accept();
    void backend.answer(answer);
    const response = await asking;
    assertEquals([response.body, response.get("connection")], ["ok", undefined], answer);
    await settle();
    assertEquals(backend.closedByProxy, true, answer);
  }
});

testL7("a connection is kept for a second less than the backend says", {}, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept();
  void backend.answer(
    "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=9\r\nContent-Length: 2\r\n\r\nok",
  );
  assertEquals((await asking).get("keep-alive"), undefined);
  await lb.time.advance(3_999);
  assertEquals(backend.closedByProxy, false);
  await lb.time.expire(1);
  assertEquals(backend.closedByProxy, true);
});

testL7("a client that goes away between requests leaves nothing behind", {}, async (lb) => {
  lb.at().serve(() => OK);
  for (const how of ["close", "end", "reset"] as const) {
    const client = lb.connect();
    await client.ask(GET);
    client[how]();
    await settle();
    assertEquals(client.finished, true, how);
  }
  const silent = lb.connect();
  silent.close();
  await settle();
  assertEquals(silent.finished, true);
  const half = lb.connect();
  await half.send("GET / HT");
  half.close();
  await settle();
  assertEquals([half.finished, lb.listener.refusals.size], [true, 0]);
});

testL7("the addresses of both ends are those of the sockets", { log: true }, async (lb) => {
  const client = lb.connect({ hostname: "2001:db8::7", port: 1 });
  const asking = client.ask(GET);
  const request = await (await lb.accept()).answer(OK);
  assertEquals(request.get("x-forwarded-for"), "2001:db8::7");
  await asking;
  client.close();
  assertEquals((await lb.records())[0]!.client, "2001:db8::7");
});

import { assert, assertEquals, assertRejects } from "@std/assert";
import { settle } from "../support/fake_clock.ts";
import { Truncated } from "../support/http_text.ts";
import { A, B, testL7 } from "../support/l7.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const TIMES = {
  requestHead: 1_000,
  idle: 2_000,
  bodyStall: 3_000,
  response: 5_000,
  tunnelIdle: 7_000,
  expectContinue: 500,
};

testL7("a client that says nothing is closed without a word", { timeouts: TIMES }, async (lb) => {
  const client = lb.connect();
  await lb.time.advance(999);
  assertEquals(client.finished, false);
  await lb.time.expire(1);
  assert(await client.ended());
  assertEquals([client.finished, lb.listener.refusals.size], [true, 0]);
});

testL7(
  "a kept connection may wait longer for its next request",
  { timeouts: TIMES },
  async (lb) => {
    lb.at().serve(() => OK);
    const client = lb.connect();
    await client.ask(GET);
    await lb.time.advance(1_999);
    assertEquals((await client.ask(GET)).body, "ok");
    await lb.time.expire(2_000);
    assert(await client.ended());
    assertEquals(client.finished, true);
  },
);

testL7("a head that does not come to its end is answered 408", { timeouts: TIMES }, async (lb) => {
  const client = lb.connect();
  await client.send("GET / HTTP/1.1\r\n");
  await lb.time.advance(600);
  await client.send("Host: a\r\n");
  await lb.time.advance(399);
  assertEquals(client.finished, false, "the time counts from the first byte");
  await lb.time.expire(1);
  const response = await client.response();
  assertEquals([response.status, response.get("connection")], [408, "close"]);
  assertEquals(JSON.parse(response.body).code, "request_timeout");
  assert(await client.ended());
  await lb.time.expire(1_000);
  assertEquals(client.finished, true);
  assertEquals(lb.listener.refusals.get("request_timeout"), 1);
});

testL7("a head that comes one byte at a time has no more time", { timeouts: TIMES }, async (lb) => {
  const client = lb.connect();
  let sent = 0;
  for (const byte of "GET / HTTP/1.1\r\nHost: slow.example\r\n") {
    if (!await client.send(byte)) break;
    sent++;
    await lb.time.advance(100);
    if (sent === 11) break;
  }
  assertEquals((await client.response()).status, 408);
  client.close();
});

testL7(
  "the 408 of a client that takes no answer is not waited for",
  { timeouts: TIMES },
  async (lb) => {
    const client = lb.connect();
    await client.send("GET /");
    await lb.time.expire(1_000);
    assertEquals(client.finished, false);
    await lb.time.expire(1_000);
    assertEquals(client.finished, true);
  },
);

testL7("an upload that the client stalls is answered 408", { timeouts: TIMES }, async (lb) => {
  const client = lb.connect();
  await client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
  const backend = await lb.accept();
  await backend.head();
  assertEquals(await backend.read(3), "abc");
  await lb.time.advance(2_900);
  await client.send("d");
  assertEquals(await backend.read(1), "d");
  await lb.time.advance(2_900);
  assertEquals(backend.closedByProxy, false, "each byte gives new time");
  await lb.time.expire(100);
  const response = await client.response();
  assertEquals([response.status, JSON.parse(response.body).code], [408, "body_timeout"]);
  assertEquals(response.get("connection"), "close");
  assertEquals(await backend.rest(), "");
  assertEquals(backend.closedByProxy, true);
  client.close();
});

testL7("an upload that the backend stalls is answered 504", { timeouts: TIMES }, async (lb) => {
  const client = lb.connect();
  void client.send(
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${"x".repeat(100000)}`,
  );
  const backend = await lb.accept();
  await backend.head();
  await lb.time.expire(3_000);
  const response = await client.response();
  assertEquals([response.status, JSON.parse(response.body).code], [504, "upstream_stalled"]);
  assertEquals(response.get("connection"), "close");
  assertEquals(backend.closedByProxy, true);
  client.close();
});

testL7(
  "a backend that does not even take the head is answered 504",
  { timeouts: TIMES },
  async (lb) => {
    for (const request of [GET, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"]) {
      const client = lb.connect();
      const asking = client.ask(request);
      const backend = await lb.accept();
      await lb.time.expire(3_000);
      const response = await asking;
      assertEquals([response.status, JSON.parse(response.body).code], [504, "upstream_stalled"]);
      assertEquals(backend.closedByProxy, true);
      client.close();
    }
  },
);

testL7("an answer that does not come is answered for with 504", { timeouts: TIMES }, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept();
  await backend.request();
  await lb.time.advance(4_999);
  assertEquals(backend.closedByProxy, false);
  await lb.time.expire(1);
  const response = await asking;
  assertEquals([response.status, JSON.parse(response.body).code], [504, "upstream_timeout"]);
  assertEquals(response.get("connection"), undefined, "the client may go on");
  assertEquals(backend.closedByProxy, true);
  lb.at().serve(() => OK);
  assertEquals((await client.ask(GET)).body, "ok");
});

testL7("half a response head is no answer", { timeouts: TIMES }, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept();
  await backend.answer("HTTP/1.1 200 OK\r\nX: ");
  await lb.time.expire(5_000);
  assertEquals((await asking).status, 504);
});

testL7("a 504 is final: the request may have been acted on", {
  timeouts: TIMES,
  backends: [A, B],
}, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  await (await lb.accept()).request();
  await lb.time.expire(5_000);
  assertEquals((await asking).status, 504);
  assertEquals(lb.at(B).dials, 0);
});

testL7("an answer that the backend stalls is broken off", { timeouts: TIMES }, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept();
  await backend.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  const cut = assertRejects(() => asking, Truncated);
  await lb.time.advance(2_900);
  await backend.send("x");
  await lb.time.advance(2_900);
  assertEquals(client.finished, false, "each byte gives new time");
  await lb.time.expire(100);
  await cut;
  assertEquals([client.finished, backend.closedByProxy], [true, true]);
  assertEquals(lb.listener.refusals.get("upstream_stalled"), 1);
});

testL7("an answer that the client does not take is broken off", { timeouts: TIMES }, async (lb) => {
  const client = lb.connect();
  void client.send(GET);
  const backend = await lb.accept();
  const answering = backend.answer(
    `HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n${"x".repeat(200_000)}`,
  );
  await settle();
  assertEquals(client.finished, false);
  await lb.time.expire(3_000);
  assertEquals([client.finished, backend.closedByProxy], [true, true]);
  await answering;
});

testL7(
  "a client that takes what the system has is waited for, until it does not",
  { timeouts: TIMES },
  async (lb) => {
    const client = lb.connect();
    void client.send(GET);
    const backend = await lb.accept();
    const answering = backend.answer(
      `HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n${"x".repeat(200_000)}`,
    );
    client.proxySide.taking = true;
    for (let i = 0; i < 10; i++) await lb.time.expire(3_000);
    assertEquals([client.finished, backend.closedByProxy], [false, false]);
    client.proxySide.taking = false;
    await lb.time.expire(3_000);
    assertEquals([client.finished, backend.closedByProxy], [true, true]);
    assertEquals([...lb.listener.refusals], [["client_stalled", 1]]);
    await answering;
  },
);

testL7("so is a backend", { timeouts: TIMES }, async (lb) => {
  const client = lb.connect();
  void client.send(
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${"x".repeat(100000)}`,
  );
  const backend = await lb.accept();
  await backend.head();
  backend.proxySide.taking = true;
  for (let i = 0; i < 10; i++) await lb.time.expire(3_000);
  assertEquals(backend.closedByProxy, false);
  backend.proxySide.taking = false;
  await lb.time.expire(3_000);
  assertEquals(JSON.parse((await client.response()).body).code, "upstream_stalled");
  client.close();
});

testL7(
  "that a client takes its answer is no excuse for a backend that sends none",
  { timeouts: TIMES },
  async (lb) => {
    const client = lb.connect();
    client.proxySide.taking = true;
    const asking = client.ask(GET);
    const backend = await lb.accept();
    await backend.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    const cut = assertRejects(() => asking, Truncated);
    await lb.time.expire(3_000);
    await cut;
    assertEquals(lb.listener.refusals.get("upstream_stalled"), 1);
  },
);

testL7("an answer of our own that the client does not take is not waited for", {
  timeouts: TIMES,
  backends: [],
}, async (lb) => {
  const client = lb.connect();
  await client.send(GET);
  await settle();
  assertEquals(client.finished, false);
  await lb.time.expire(3_000);
  assertEquals(client.finished, true);
});

testL7("a silent tunnel is closed", { timeouts: TIMES }, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
  );
  const backend = await lb.accept();
  void backend.answer("HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
  assertEquals((await asking).status, 101);
  await lb.time.advance(6_900);
  assertEquals(client.finished, false);
  await lb.time.expire(100);
  assertEquals([client.finished, backend.closedByProxy], [true, true]);
});

testL7(
  "waiting for a 100 does not count as waiting for the answer",
  { timeouts: TIMES },
  async (lb) => {
    const client = lb.connect();
    await client.send(
      "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    );
    const backend = await lb.accept();
    await backend.head();
    await lb.time.expire(500);
    // Now the body is due, and the client sends none.
    await lb.time.expire(3_000);
    const response = await client.response();
    assertEquals([response.status, JSON.parse(response.body).code], [408, "body_timeout"]);
    client.close();
  },
);

testL7("a management request whose body stalls ends without the handler", {
  timeouts: TIMES,
  context: {
    local: {
      claims: () => true,
      handle: () => Promise.reject(new Error("nobody should ask")),
    },
  },
}, async (lb) => {
  const client = lb.connect();
  await client.send("POST /lb/add HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
  await lb.time.advance(2_900);
  assertEquals(client.finished, false);
  await lb.time.expire(100);
  assertEquals(client.finished, true);
  assertEquals(lb.listener.refusals.get("body_timeout"), 1);
});

testL7(
  "a client that closes in order after its answer is not kept waiting",
  { timeouts: TIMES },
  async (lb) => {
    lb.at().serve(() => OK);
    const client = lb.connect();
    await client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert(await client.ended());
    assertEquals(client.finished, false, "its own end is waited for");
    client.close();
    await settle();
    assertEquals(client.finished, true);
    const rude = lb.connect();
    await rude.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    await lb.time.expire(1_000);
    assertEquals(rude.finished, true, "but not for ever");
  },
);

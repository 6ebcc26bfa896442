import { assert, assertEquals } from "@std/assert";
import { settle } from "../support/fake_clock.ts";
import { testL7 } from "../support/l7.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

testL7("a client that resets while it waits ends the request at the backend", {}, async (lb) => {
  const client = lb.connect();
  void client.send(GET);
  const backend = await lb.accept();
  await backend.request();
  await settle();
  client.reset();
  assert(await backend.ended());
  await settle();
  assertEquals([backend.closedByProxy, client.finished, lb.live().inFlight], [true, true, 0]);
  assertEquals(lb.listener.refusals.get("client_closed"), 1);
  assertEquals(lb.requests().codes[0], 1, "an exchange without a status");
});

testL7("a client that resets during its upload ends the request at the backend", {}, async (lb) => {
  const client = lb.connect();
  await client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
  const backend = await lb.accept();
  await backend.head();
  await settle();
  client.reset();
  assertEquals(await backend.rest(), "abc");
  await settle();
  assertEquals([backend.closedByProxy, client.finished], [true, true]);
});

testL7("a client that resets during the answer ends it at the backend", {}, async (lb) => {
  const client = lb.connect();
  void client.send(GET);
  const backend = await lb.accept();
  await backend.request();
  const answering = backend.send(
    `HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n${"x".repeat(1_000_000)}`,
  );
  await client.read(1000);
  client.reset();
  assertEquals(await answering, false);
  await settle();
  assertEquals([backend.closedByProxy, client.finished], [true, true]);
});

testL7("a client that closes during the answer ends it at the backend", {}, async (lb) => {
  const client = lb.connect();
  void client.send(GET);
  const backend = await lb.accept();
  await backend.request();
  const answering = backend.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
  await client.head();
  await answering;
  client.close();
  await backend.send("1\r\ny\r\n");
  await settle();
  assertEquals([backend.closedByProxy, client.finished], [true, true]);
});

testL7(
  "a client that resets while the backend is being dialled gets nobody to work for it",
  {},
  async (lb) => {
    const go = lb.at().hold();
    const client = lb.connect();
    await client.send(GET);
    await settle();
    client.reset();
    client.server.abort();
    go();
    const backend = await lb.accept();
    assert(await backend.ended(), "no request");
    await settle();
    assertEquals([backend.closedByProxy, client.finished], [true, true]);
    assertEquals(lb.live().inFlight, 0);
  },
);

testL7("a client that resets while it waits for a connection leaves the queue in order", {
  connections: { maxConnections: 1 },
}, async (lb) => {
  const [first, second, third] = [lb.connect(), lb.connect(), lb.connect()];
  const one = first.ask(GET);
  const backend = await lb.accept();
  await backend.request();
  void second.send(GET);
  await settle();
  const three = third.ask(GET);
  await settle();
  second.reset();
  second.server.abort();
  await settle();
  void backend.send(OK);
  await one;
  const next = await lb.accept();
  await next.answer(OK);
  assertEquals((await three).body, "ok");
  assertEquals(second.finished, true);
});

testL7("a cancelled request is not sent to another backend", {
  backends: ["http://a:80", "http://b:80"],
}, async (lb) => {
  const client = lb.connect();
  void client.send(GET);
  const backend = await lb.accept();
  await backend.request();
  await settle();
  client.reset();
  await settle();
  assertEquals(lb.at("http://b:80").dials, 0);
});

testL7("one client's end disturbs no other", {}, async (lb) => {
  const clients = Array.from({ length: 5 }, () => lb.connect());
  const asking = clients.map((client) => client.ask(GET).catch(() => undefined));
  const backends = await Promise.all(clients.map(() => lb.accept()));
  for (const backend of backends) await backend.request();
  clients[1]!.reset();
  clients[3]!.server.abort();
  await settle();
  for (const backend of backends) void backend.send(OK);
  const answers = await Promise.all(asking);
  assertEquals(answers.map((answer) => answer?.body), ["ok", undefined, "ok", undefined, "ok"]);
  await settle();
  assertEquals([lb.live().http.idle, lb.live().inFlight], [3, 0]);
});

testL7("pipelined requests behind a cancelled one are not served", {}, async (lb) => {
  const client = lb.connect();
  void client.send(GET + GET);
  const backend = await lb.accept();
  await backend.request();
  client.reset();
  void backend.send(OK);
  await settle();
  assertEquals([client.finished, lb.at().dials, lb.upstream().attempts], [true, 1, 1]);
});

import { assert, assertEquals } from "@std/assert";
import { settle } from "../support/fake_clock.ts";
import type { BackendConnection } from "../support/scripted_backend.ts";
import { type Client, type L7, testL7 } from "../support/l7.ts";

const UPGRADE = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Key: k\r\n\r\n";
const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" +
  "Upgrade: websocket\r\nSec-WebSocket-Accept: s\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** A tunnel that is open. */
async function open(lb: L7): Promise<{ client: Client; backend: BackendConnection }> {
  const client = lb.connect();
  void client.send(UPGRADE);
  const backend = await lb.accept();
  const request = await backend.request();
  assertEquals(request.get("connection"), "upgrade");
  assertEquals([request.get("upgrade"), request.get("sec-websocket-key")], ["websocket", "k"]);
  void backend.send(SWITCH);
  const response = await client.response();
  assertEquals([response.status, response.get("connection")], [101, "upgrade"]);
  assertEquals([response.get("upgrade"), response.get("sec-websocket-accept")], ["websocket", "s"]);
  return { client, backend };
}

testL7("after 101 bytes go both ways as they are", {}, async (lb) => {
  const { client, backend } = await open(lb);
  for (let i = 0; i < 3; i++) {
    void client.send(`\x00\xff up ${i}`);
    assertEquals(await backend.read(7), `\x00\xff up ${i}`);
    void backend.send(`\r\n down ${i}`);
    assertEquals(await client.read(9), `\r\n down ${i}`);
  }
  const large = "x".repeat(200_000);
  void client.send(large);
  assert(await backend.read(large.length) === large);
  void backend.send(large);
  assert(await client.read(large.length) === large);
  await Promise.all([client.end(), backend.end()]);
});

testL7(
  "a tunnel that carries much reads much at a time, and holds little afterwards",
  {},
  async (lb) => {
    const { client, backend } = await open(lb);
    const { reader } = client.server;
    const small = reader.buffer.length;
    const reads = client.proxySide.reads;
    const large = "x".repeat(500_000);
    void client.send(large);
    await backend.read(large.length);
    assert(client.proxySide.reads - reads < 30, `${client.proxySide.reads - reads} reads`);
    for (let i = 0; i < 2; i++) {
      void client.send("little");
      await backend.read(6);
    }
    await settle();
    assertEquals(reader.buffer.length, small);
    await Promise.all([client.end(), backend.end()]);
  },
);

testL7("bytes right behind the heads are part of the tunnel", {}, async (lb) => {
  const client = lb.connect();
  void client.send(UPGRADE + "early up");
  const backend = await lb.accept();
  await backend.request();
  void backend.send(SWITCH + "early down");
  assertEquals((await client.response()).status, 101);
  assertEquals(await client.read(10), "early down");
  assertEquals(await backend.read(8), "early up");
  await Promise.all([client.end(), backend.end()]);
});

testL7("each side of a tunnel may end while the other goes on", {}, async (lb) => {
  const one = await open(lb);
  await one.client.end();
  assert(await one.backend.ended());
  void one.backend.send("still here").then(() => one.backend.end());
  assertEquals(await one.client.rest(), "still here");
  await settle();
  assertEquals(one.backend.closedByProxy, true);
  const two = await open(lb);
  await two.backend.end();
  assert(await two.client.ended());
  void two.client.send("still here").then(() => two.client.end());
  assertEquals(await two.backend.rest(), "still here");
  await settle();
  assertEquals([two.client.finished, lb.live().inFlight], [true, 0]);
});

testL7("a side of a tunnel that breaks takes the other with it", {}, async (lb) => {
  const one = await open(lb);
  one.client.reset();
  assert(await one.backend.ended());
  await settle();
  assertEquals([one.backend.closedByProxy, one.client.finished], [true, true]);
  const two = await open(lb);
  two.backend.reset();
  assert(await two.client.ended());
  await settle();
  assertEquals(two.client.finished, true);
  const three = await open(lb);
  three.backend.close();
  assert(await three.client.ended());
  assertEquals(three.client.finished, false, "the client's side is still open");
  await three.client.send("nobody takes this");
  await settle();
  assertEquals(three.client.finished, true);
});

testL7("a silent tunnel is closed after its time, one that is used is not", {}, async (lb) => {
  const { client, backend } = await open(lb);
  for (let hour = 0; hour < 3; hour++) {
    await lb.time.advance(3_500_000);
    void client.send("x");
    assertEquals(await backend.read(1), "x");
    await lb.time.advance(3_500_000);
    void backend.send("y");
    assertEquals(await client.read(1), "y");
  }
  assertEquals(client.finished, false);
  await lb.time.expire(3_600_000);
  assertEquals([client.finished, backend.closedByProxy], [true, true]);
});

testL7("a tunnel of which one side has ended may be silent for less time", {}, async (lb) => {
  for (const clientFirst of [true, false]) {
    const { client, backend } = await open(lb);
    const [first, second] = clientFirst ? [client, backend] : [backend, client];
    await lb.time.advance(3_500_000);
    await first.end();
    assert(await second.ended());
    for (let i = 0; i < 3; i++) {
      await lb.time.advance(59_000);
      void second.send("x");
      assertEquals(await first.read(1), "x", "what is left of an answer has its time");
    }
    await lb.time.advance(59_999);
    assertEquals([client.finished, backend.closedByProxy], [false, false]);
    await lb.time.expire(1);
    assertEquals([client.finished, backend.closedByProxy], [true, true]);
  }
});

testL7("a backend may refuse, and the connection goes on", {}, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(UPGRADE);
  const backend = await lb.accept();
  void backend.answer(OK);
  const response = await asking;
  assertEquals([response.status, response.get("upgrade")], [200, undefined]);
  const next = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  void backend.answer(OK);
  assertEquals((await next).body, "ok");
});

testL7("h2c is not offered to the backend, and the request is served in 1.1", {}, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n" +
      "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
  );
  const request = await (await lb.accept()).answer(OK);
  for (const name of ["connection", "upgrade", "http2-settings"]) {
    assertEquals(request.get(name), undefined);
  }
  assertEquals((await asking).body, "ok");
});

testL7("a 101 that was not asked for, or says not to what, is refused", {}, async (lb) => {
  const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  const cases: readonly (readonly [request: string, answer: string])[] = [
    [get, SWITCH],
    [UPGRADE, "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    [UPGRADE, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"],
    [UPGRADE.replace("1.1", "1.0"), SWITCH],
  ];
  for (const [request, answer] of cases) {
    const client = lb.connect();
    const asking = client.ask(request);
    const backend = await lb.accept();
    void backend.answer(answer);
    const response = await asking;
    assertEquals([response.status, JSON.parse(response.body).code], [502, "upstream_protocol"]);
    await settle();
    assertEquals(backend.closedByProxy, true);
  }
});

testL7("a tunnel ends when its connection is cut, not when it drains", {}, async (lb) => {
  const { client, backend } = await open(lb);
  client.server.drain();
  void client.send("x");
  assertEquals(await backend.read(1), "x");
  client.server.abort();
  assert(await backend.ended());
  await settle();
  assertEquals(client.finished, true);
});

testL7("a client that takes no 101 is not waited for for ever", {}, async (lb) => {
  const client = lb.connect();
  void client.send(UPGRADE);
  const backend = await lb.accept();
  void backend.answer(SWITCH);
  await settle();
  await lb.time.expire(3_600_000);
  assertEquals([client.finished, backend.closedByProxy], [true, true]);
});

testL7("the bytes of a tunnel are counted", { log: true }, async (lb) => {
  const { client, backend } = await open(lb);
  void client.send("12345");
  await backend.read(5);
  void backend.send("123");
  await client.read(3);
  await Promise.all([client.end(), backend.end()]);
  await settle();
  const [record] = await lb.records();
  assertEquals([record!.status, record!.error], [101, ""]);
  assertEquals(record!.bytes_in, UPGRADE.length + 5);
  assertEquals(record!.bytes_out, client.received);
  const { bytesSent, bytesReceived } = lb.upstream();
  assertEquals([bytesReceived, bytesSent], [SWITCH.length + 3, backend.received]);
});

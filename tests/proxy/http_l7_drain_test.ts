import { assertEquals } from "@std/assert";
import { testL7 } from "../support/l7.ts";
import { settle } from "../support/fake_clock.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const IDLE = 1000;

testL7(
  "a client that is not told of the end may still send a request, which is answered with close",
  {},
  async (lb) => {
    lb.at().serve(() => OK);
    const kept = lb.connect();
    assertEquals((await kept.ask(GET)).get("connection"), undefined);
    const fresh = lb.connect();
    await settle();
    for (const client of [kept, fresh]) client.server.drain(IDLE);
    await lb.time.advance(IDLE / 2);
    for (const client of [kept, fresh]) {
      const answer = await client.ask(GET);
      assertEquals([answer.body, answer.get("connection")], ["ok", "close"]);
      assertEquals(await client.ended(), true);
    }
  },
);

testL7("one that sends nothing for so long is closed without a word", {}, async (lb) => {
  lb.at().serve(() => OK);
  const kept = lb.connect();
  await kept.ask(GET);
  const fresh = lb.connect();
  await settle();
  for (const client of [kept, fresh]) client.server.drain(IDLE);
  await lb.time.advance(IDLE / 2);
  assertEquals([kept.finished, fresh.finished], [false, false]);
  await lb.time.expire(IDLE);
  assertEquals([kept.finished, fresh.finished], [true, true]);
});

testL7(
  "a client that was promised to be kept before the drain gets one more answer",
  {},
  async (lb) => {
    const client = lb.connect();
    const asking = client.ask(GET);
    const backend = await lb.accept();
    await backend.request();
    await backend.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
    await settle();
    client.server.drain(IDLE);
    await backend.send("lf");
    const first = await asking;
    assertEquals([first.body, first.get("connection")], ["half", undefined]);
    const again = client.ask(GET);
    await backend.answer(OK);
    assertEquals((await again).get("connection"), "close");
    assertEquals(await client.ended(), true);
  },
);

testL7(
  "a request under way is answered with close, and pipelined ones behind it are not begun",
  {},
  async (lb) => {
    const client = lb.connect();
    await client.send(GET + GET);
    const backend = await lb.accept();
    await backend.request();
    client.server.drain(IDLE);
    await backend.send(OK);
    assertEquals((await client.response()).get("connection"), "close");
    assertEquals(await client.ended(), true);
  },
);

testL7("an idle deadline that is nearer than that of the drain is kept", {
  timeouts: { idle: 300 },
}, async (lb) => {
  lb.at().serve(() => OK);
  const client = lb.connect();
  await client.ask(GET);
  client.server.drain(60_000);
  await lb.time.expire(300);
  assertEquals(client.finished, true);
});

testL7("a connection that is old enough ends with its next answer, an idle one is left alone", {
  timeouts: { maxAge: 10_000, idle: 60_000 },
}, async (lb) => {
  lb.at().serve(() => OK);
  const client = lb.connect();
  assertEquals((await client.ask(GET)).get("connection"), undefined);
  await lb.time.advance(8_000);
  assertEquals((await client.ask(GET)).get("connection"), undefined);
  await lb.time.advance(4_000);
  assertEquals(client.finished, false);
  assertEquals((await client.ask(GET)).get("connection"), "close");
  assertEquals(await client.ended(), true);
});

import { assert, assertEquals } from "@std/assert";
import { settle } from "../support/fake_clock.ts";
import { testL7 } from "../support/l7.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const EXPECT = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
const CHUNKED_EXPECT =
  "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

testL7("a 100 is passed on, and only then the body", {}, async (lb) => {
  const client = lb.connect();
  await client.send(EXPECT);
  const backend = await lb.accept();
  assertEquals((await backend.head())?.get("expect"), "100-continue");
  void backend.send(CONTINUE);
  assertEquals((await client.response()).status, 100);
  void client.send("body");
  assertEquals(await backend.read(4), "body");
  void backend.send(OK);
  const response = await client.response();
  assertEquals([response.status, response.get("connection")], [200, undefined]);
});

testL7("a chunked body waits for the 100, too", {}, async (lb) => {
  const client = lb.connect();
  await client.send(CHUNKED_EXPECT);
  const backend = await lb.accept();
  const head = await backend.head();
  assertEquals(head?.get("transfer-encoding"), "chunked");
  void backend.send(CONTINUE);
  assertEquals((await client.response()).status, 100);
  void client.send("4\r\nbody\r\n0\r\n\r\n");
  assertEquals((await backend.content(head!, false)).body, "body");
  void backend.send(OK);
  assertEquals((await client.response()).status, 200);
});

testL7(
  "a final status instead of a 100 is passed on, and the body is never asked for",
  {},
  async (lb) => {
    for (const status of ["417 Expectation Failed", "401 Unauthorized", "200 OK"]) {
      const client = lb.connect();
      await client.send(EXPECT);
      const backend = await lb.accept();
      await backend.head();
      void backend.send(`HTTP/1.1 ${status}\r\nContent-Length: 2\r\n\r\nno`);
      const response = await client.response();
      assertEquals([response.status, response.body], [Number(status.slice(0, 3)), "no"]);
      // The client may or may not send the body now, so nothing can follow (RFC 9110, 10.1.1).
      assertEquals(response.get("connection"), "close");
      assert(await client.ended());
      assertEquals(await backend.rest(), "", "no body");
      await settle();
      assertEquals(backend.closedByProxy, true);
    }
  },
);

testL7(
  "a backend that is silent gets the body after a second, and a late 100 does no harm",
  {},
  async (lb) => {
    const client = lb.connect();
    void client.send(EXPECT + "body");
    const backend = await lb.accept();
    await backend.head();
    await lb.time.advance(999);
    let body = "";
    void backend.read(4).then((text) => body = text);
    await settle();
    assertEquals(body, "", "it waits");
    await lb.time.expire(1);
    assertEquals(body, "body");
    void backend.send(CONTINUE + OK);
    assertEquals((await client.response()).status, 100);
    const response = await client.response();
    assertEquals([response.status, response.get("connection")], [200, undefined]);
  },
);

testL7(
  "a body that came without waiting is still held back until the backend wants it",
  {},
  async (lb) => {
    const client = lb.connect();
    void client.send(EXPECT + "body");
    const backend = await lb.accept();
    await backend.head();
    void backend.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    assertEquals((await client.response()).status, 403);
    assertEquals(await backend.rest(), "");
  },
);

testL7("other interim responses are passed on as they come", {}, async (lb) => {
  const client = lb.connect();
  void client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const backend = await lb.accept();
  await backend.request();
  void backend.send("HTTP/1.1 102 Processing\r\n\r\n");
  assertEquals((await client.response()).status, 102);
  void backend.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: y\r\n\r\n");
  const hints = await client.response();
  assertEquals([hints.status, hints.get("link"), hints.get("x")], [103, "</a.css>", undefined]);
  void backend.send(CONTINUE + OK);
  assertEquals((await client.response()).status, 100, "a 100 that nobody waits for goes on, too");
  assertEquals((await client.response()).body, "ok");
  assertEquals(lb.live().http.idle, 1);
});

testL7("an HTTP/1.0 client gets no interim response (RFC 9110, 15.2)", {}, async (lb) => {
  const client = lb.connect();
  void client.send("GET / HTTP/1.0\r\n\r\n");
  const backend = await lb.accept();
  await backend.request();
  void backend.send("HTTP/1.1 103 Early Hints\r\n\r\n" + CONTINUE + OK);
  assertEquals((await client.response()).status, 200);
});

testL7("an HTTP/1.0 client's expectation is ignored (RFC 9110, 10.1.1)", {}, async (lb) => {
  const client = lb.connect();
  void client.send(EXPECT.replace("1.1", "1.0") + "body");
  const backend = await lb.accept();
  const request = await backend.answer(OK);
  assertEquals([request.get("expect"), request.body], [undefined, "body"]);
  assertEquals((await client.response()).status, 200);
});

testL7("interim responses without end are the sign of a broken backend", {}, async (lb) => {
  const client = lb.connect();
  void client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const backend = await lb.accept();
  await backend.request();
  void backend.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(50));
  let hints = 0;
  let response = await client.response();
  for (; response.status === 103; hints++) response = await client.response();
  assertEquals([hints, response.status], [10, 502]);
  assertEquals(JSON.parse(response.body).code, "upstream_protocol");
});

testL7("a backend that fails after an interim response is answered for", {}, async (lb) => {
  const client = lb.connect();
  await client.send(EXPECT);
  const backend = await lb.accept();
  await backend.head();
  void backend.send(CONTINUE);
  assertEquals((await client.response()).status, 100);
  void client.send("body");
  await backend.read(4);
  backend.close();
  const response = await client.response();
  assertEquals([response.status, JSON.parse(response.body).code], [502, "upstream_closed"]);
});

testL7(
  "an interim response says that the request has arrived, so it is not sent again",
  {},
  async (lb) => {
    const client = lb.connect();
    const first = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const backend = await lb.accept();
    await backend.answer(OK);
    await first;
    void client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await backend.request();
    await backend.send("HTTP/1.1 103 Early Hints\r\n\r\n");
    backend.close();
    assertEquals((await client.response()).status, 103);
    assertEquals((await client.response()).status, 502);
    assertEquals(lb.at().dials, 1);
  },
);

testL7(
  "a client that takes no interim response is not waited for longer than for an answer",
  {},
  async (lb) => {
    const client = lb.connect();
    void client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const backend = await lb.accept();
    await backend.request();
    void backend.send("HTTP/1.1 103 Early Hints\r\n\r\n");
    await settle();
    assertEquals([client.finished, lb.live().inFlight], [false, 1]);
    await lb.time.expire(60_000);
    assertEquals([client.finished, lb.live().inFlight], [true, 0]);
  },
);

import { assert, assertEquals } from "@std/assert";
import type { Duplex } from "../../lib/common/duplex.ts";
import type { Served } from "../../lib/mux/listener.ts";
import { settle } from "../support/fake_clock.ts";
import { Peer } from "../support/http_text.ts";
import { A, B, testL4 } from "../support/l4.ts";

const C = "tcp://c:80";
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** Management that notes what comes and answers with a fixed text. */
class Managed implements Served {
  static readonly all: Managed[] = [];
  readonly peer: Peer;
  head = "";
  drained = false;
  aborted = false;

  constructor(duplex: Duplex) {
    this.peer = new Peer(duplex);
    Managed.all.push(this);
  }

  async serve(): Promise<void> {
    this.head = (await this.peer.head())?.start ?? "";
    await this.peer.send("managed");
    this.peer.close();
  }

  drain(): void {
    this.drained = true;
  }

  abort(): void {
    this.aborted = true;
    this.peer.close();
  }
}

const management = (duplex: Duplex): Served => new Managed(duplex);

testL4("bytes of any protocol go both ways, from the first one on", {}, async (lb) => {
  const client = lb.connect();
  const backend = await lb.accept();
  // The backend may speak first.
  void backend.send("220 ready\r\n");
  assertEquals(await client.read(11), "220 ready\r\n");
  void client.send("\x16\x03\x00\xff");
  assertEquals(await backend.read(4), "\x16\x03\x00\xff");
});

testL4("HTTP is relayed untouched, however its first bytes come", { management }, async (lb) => {
  const request = "GET  /lb/add HTTP/1.1\nhost : x\r\nX:\ty\r\n\r\nbody";
  for (let cut = 1; cut < 30; cut++) {
    const client = lb.connect();
    const first = client.send(request.slice(0, cut));
    const second = first.then(() => client.send(request.slice(cut)));
    const backend = await lb.accept();
    assertEquals(await backend.read(request.length), request, `cut at ${cut}`);
    await second;
    void backend.send("an answer");
    assertEquals(await client.read(9), "an answer");
    client.close();
    backend.close();
  }
});

testL4("beginnings that are like management's are relayed once they are told apart", {
  management,
  faults: { maxRead: 1 },
}, async (lb) => {
  for (const path of ["/lb/ad", "/lb/addx", "/lb/backend", "/lb/routesx", "/lb", "/"]) {
    const client = lb.connect();
    const request = `POST ${path} HTTP/1.1\r\n`;
    void client.send(request);
    const backend = await lb.accept();
    assertEquals(await backend.read(request.length), request);
    backend.close();
    client.close();
  }
});

testL4(
  "a management call is handed over with all its bytes, wherever it is cut",
  { management },
  async (lb) => {
    const request = "POST /lb/backends/b-1 HTTP/1.1\r\nHost: a\r\n\r\n";
    for (let cut = 1; cut < request.length; cut++) {
      Managed.all.length = 0;
      const client = lb.connect();
      const first = client.send(request.slice(0, cut));
      void first.then(() => client.send(request.slice(cut)));
      assertEquals(await client.rest(), "managed", `cut at ${cut}`);
      await settle();
      assertEquals([Managed.all.length, Managed.all[0]!.head], [1, request.split("\r\n")[0]]);
      assertEquals(client.finished, true);
    }
    assertEquals(lb.at().dials, 0);
  },
);

testL4(
  "a beginning of a management call that ends there is relayed",
  { management },
  async (lb) => {
    const client = lb.connect();
    void client.send("POST /lb/ad").then(() => client.end());
    const backend = await lb.accept();
    assertEquals(await backend.rest(), "POST /lb/ad");
    void backend.send("what?").then(() => backend.end());
    assertEquals(await client.rest(), "what?");
  },
);

testL4(
  "a client that ends or breaks before it has said anything reaches nobody",
  { management },
  async (lb) => {
    const [ended, closed, reset] = [lb.connect(), lb.connect(), lb.connect()];
    await ended.end();
    closed.close();
    await settle();
    reset.proxySide.reset();
    await settle();
    assertEquals([ended.finished, closed.finished, reset.finished], [true, true, true]);
    assertEquals([lb.at().dials, (await lb.records()).length], [0, 0]);
  },
);

testL4("each direction ends on its own", {}, async (lb) => {
  const one = lb.connect();
  const first = await lb.accept();
  void one.send("question").then(() => one.end());
  assertEquals(await first.rest(), "question");
  void first.send("late answer").then(() => first.end());
  assertEquals(await one.rest(), "late answer");
  const two = lb.connect();
  const second = await lb.accept();
  await second.end();
  assert(await two.ended());
  void two.send("still here").then(() => two.end());
  assertEquals(await second.rest(), "still here");
  await settle();
  assertEquals([one.finished, two.finished], [true, true]);
});

testL4(
  "a connection stays with its backend, others go to the next",
  { backends: [A, B] },
  async (lb) => {
    const [one, two] = [lb.connect(), lb.connect()];
    const [a, b] = [await lb.accept(A), await lb.accept(B)];
    for (let i = 0; i < 3; i++) {
      void one.send(`one ${i}`);
      void two.send(`two ${i}`);
      assertEquals([await a.read(5), await b.read(5)], [`one ${i}`, `two ${i}`]);
    }
    assertEquals([lb.at(A).dials, lb.at(B).dials], [1, 1]);
    assertEquals([...lb.registry.backends].map(({ inFlight }) => inFlight), [1, 1]);
  },
);

testL4("when a backend cannot be reached the next one is tried, with nothing lost", {
  backends: [A, B],
  management,
}, async (lb) => {
  lb.at(A).refuse();
  const client = lb.connect();
  void client.send(GET);
  const backend = await lb.accept(B);
  assertEquals(await backend.read(GET.length), GET);
  backend.close();
  client.close();
  const [record] = await lb.records();
  assertEquals([record!.backend, record!.attempts, record!.error], [B, 2, ""]);
  const { attempts, retries, connects } = lb.upstream(B);
  assertEquals([attempts, retries, connects], [1, 1, 1]);
  assertEquals(lb.upstream(A).failures.get("connect_refused"), 1);
});

testL4("an HTTP client that cannot be served is told so", {
  backends: [A, B, C],
  management,
}, async (lb) => {
  for (const addr of [A, B, C]) lb.at(addr).refuse();
  const client = lb.connect();
  void client.send(GET);
  const response = await client.response();
  assertEquals([response.status, response.get("connection")], [503, "close"]);
  assertEquals(JSON.parse(response.body).code, "no_backend");
  assertEquals(response.body.includes("secret"), false);
  assert(await client.ended());
  client.close();
  assertEquals([A, B, C].map((addr) => lb.at(addr).dials), [1, 1, 1]);
  const [record] = await lb.records();
  assertEquals([record!.error, record!.attempts], ["no_backend", 3]);
  assertEquals(lb.metrics.refusals.get("no_backend"), 1);
});

testL4("a client that cannot be served and does not close is let go after a second", {
  backends: [],
  management,
}, async (lb) => {
  const client = lb.connect();
  void client.send(GET);
  assertEquals((await client.response()).status, 503);
  await settle();
  assertEquals(client.finished, false);
  await lb.time.expire(1_000);
  assertEquals(client.finished, true);
  const [record] = await lb.records();
  assertEquals(record!.error, "no_backend", "that it lingered is not what went wrong");
});

testL4(
  "a client of another protocol that cannot be served is closed",
  { backends: [A] },
  async (lb) => {
    lb.at().refuse();
    const client = lb.connect();
    assert(await client.ended(), "without a word that its protocol may not know");
    await settle();
    assertEquals(client.finished, true);
    const [record] = await lb.records();
    assertEquals([record!.error, record!.backend], ["no_backend", A]);
  },
);

testL4("no more backends are tried than the limit says", {
  backends: [A, B, C],
  maxAttempts: 2,
  management,
}, async (lb) => {
  for (const addr of [A, B, C]) lb.at(addr).refuse();
  const client = lb.connect();
  void client.send(GET);
  assertEquals(JSON.parse((await client.response()).body).code, "connect_refused");
  assertEquals([A, B, C].map((addr) => lb.at(addr).dials), [1, 1, 0]);
});

testL4(
  "a client that says nothing where it must speak first is closed",
  { management },
  async (lb) => {
    const client = lb.connect();
    await lb.time.advance(999);
    assertEquals(client.finished, false);
    await lb.time.expire(1);
    assert(await client.ended());
    assertEquals([client.finished, lb.at().dials], [true, 0]);
    const slow = lb.connect();
    await slow.send("POST /lb");
    await lb.time.expire(1_000);
    assertEquals(slow.finished, true);
  },
);

testL4("a silent relay is closed after its time, one that is used is not", {}, async (lb) => {
  const client = lb.connect();
  const backend = await lb.accept();
  for (let i = 0; i < 3; i++) {
    await lb.time.advance(4_900);
    void client.send("x");
    assertEquals(await backend.read(1), "x");
    await lb.time.advance(4_900);
    void backend.send("y");
    assertEquals(await client.read(1), "y");
  }
  assertEquals(client.finished, false);
  await lb.time.expire(5_000);
  assertEquals([client.finished, backend.closedByProxy], [true, true]);
  const [record] = await lb.records();
  assertEquals([record!.error, record!.bytes_in, record!.bytes_out], ["request_timeout", 3, 3]);
});

testL4("a relay in which nothing ever passes is closed after its time, too", {}, async (lb) => {
  const client = lb.connect();
  const backend = await lb.accept();
  await lb.time.advance(4_900);
  assertEquals(client.finished, false);
  await lb.time.expire(100);
  assertEquals([client.finished, backend.closedByProxy], [true, true]);
});

testL4("a relay of which one side has ended may be silent for less time", {}, async (lb) => {
  for (const clientFirst of [true, false]) {
    const client = lb.connect();
    const backend = await lb.accept();
    const [first, second] = clientFirst ? [client, backend] : [backend, client];
    // Nearly the whole time in which both may be silent has passed: it counts no more.
    await lb.time.advance(4_900);
    await first.end();
    assert(await second.ended());
    for (let i = 0; i < 3; i++) {
      await lb.time.advance(1_900);
      void second.send("x");
      assertEquals(await first.read(1), "x", "what is left of an answer has its time");
    }
    await lb.time.advance(1_999);
    assertEquals([client.finished, backend.closedByProxy], [false, false]);
    await lb.time.expire(1);
    assertEquals([client.finished, backend.closedByProxy], [true, true]);
  }
});

testL4(
  "the time of half a relay is never longer than that of a whole one",
  { timeouts: { firstByte: 1_000, idle: 500, halfClosed: 60_000 } },
  async (lb) => {
    const client = lb.connect();
    const backend = await lb.accept();
    await client.end();
    assert(await backend.ended());
    await lb.time.expire(500);
    assertEquals([client.finished, backend.closedByProxy], [true, true]);
  },
);

testL4("a reset of either side ends both", {}, async (lb) => {
  const one = lb.connect();
  const first = await lb.accept();
  await settle();
  one.proxySide.reset();
  assert(await first.ended());
  const two = lb.connect();
  const second = await lb.accept();
  await settle();
  second.reset();
  assert(await two.ended());
  await settle();
  assertEquals([one.finished, two.finished], [true, true]);
});

testL4("a relay goes on while the listener drains, and ends when it is cut", {}, async (lb) => {
  const client = lb.connect();
  const backend = await lb.accept();
  client.server.drain();
  void client.send("x");
  assertEquals(await backend.read(1), "x");
  client.server.abort();
  assert(await backend.ended());
  await settle();
  assertEquals([client.finished, backend.closedByProxy], [true, true]);
});

testL4(
  "a connection that is cut while its backend is dialled leaves nothing behind",
  {},
  async (lb) => {
    const go = lb.at().hold();
    const client = lb.connect();
    await settle();
    client.server.abort();
    go();
    const backend = await lb.accept();
    assert(await backend.ended());
    await settle();
    assertEquals([client.finished, backend.closedByProxy], [true, true]);
  },
);

testL4("draining and cutting reach a management connection", {
  management: (duplex) => {
    const managed = new Managed(duplex);
    managed.serve = async () => {
      await managed.peer.rest();
    };
    return managed;
  },
}, async (lb) => {
  Managed.all.length = 0;
  const client = lb.connect();
  void client.send("GET /lb/routes HTTP/1.1\r\n");
  await settle();
  client.server.drain();
  assertEquals(Managed.all[0]!.drained, true);
  await lb.time.expire(10_000);
  assertEquals(client.finished, false, "management keeps its own times");
  client.server.abort();
  await settle();
  assertEquals([Managed.all[0]!.aborted, client.finished], [true, true]);
});

testL4("what passed is logged and counted", { management }, async (lb) => {
  const client = lb.connect();
  void client.send(GET).then(() => client.end());
  const backend = await lb.accept();
  await backend.rest();
  await lb.time.advance(400);
  void backend.send("x".repeat(1000)).then(() => backend.end());
  await client.rest();
  const [record, ...more] = await lb.records();
  assertEquals(more, []);
  const { time, ...rest } = record!;
  assert(Math.abs(Date.parse(String(time)) - Date.now()) < 60_000);
  assertEquals(rest, {
    listener: "test",
    client: "192.0.2.1",
    method: "",
    host: "",
    target: "",
    protocol: "TCP",
    status: 0,
    bytes_in: GET.length,
    bytes_out: 1000,
    duration_ms: 400,
    route: "-",
    backend: A,
    attempts: 1,
    request_id: "",
    user_agent: "",
    referer: "",
    error: "",
  });
  assertEquals([lb.metrics.bytesReceived, lb.metrics.bytesSent], [GET.length, 1000]);
  const { bytesSent, bytesReceived, connects, active } = lb.upstream();
  assertEquals([bytesSent, bytesReceived, connects, active], [GET.length, 1000, 1, 0]);
});

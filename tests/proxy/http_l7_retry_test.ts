import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { ProxyError } from "../../lib/common/errors.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import type { RetryCondition } from "../../lib/route/retry.ts";
import { settle } from "../support/fake_clock.ts";
import { A, B, type Client, L7, testL7 } from "../support/l7.ts";
import { watchOutcomes } from "../support/recovery.ts";
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

testL7(
  "a body that came late is sent again as long as it fits, in either framing",
  {},
  async (lb) => {
    for (
      const [head, first, rest] of [
        ["Content-Length: 8", "body", "more"],
        ["Transfer-Encoding: chunked", "4\r\nbody\r\n", "4\r\nmore\r\n0\r\n\r\n"],
      ]
    ) {
      const { client, backend } = await warm(lb);
      await client.send(`PUT / HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n${first}`);
      const seen = await backend.head();
      void client.send(rest!);
      assertEquals((await backend.content(seen!, false)).body, "bodymore");
      backend.close();
      const again = await lb.accept();
      assertEquals((await again.answer(OK)).body, "bodymore");
      assertEquals((await client.response()).status, 200);
      client.close();
      lb.live().http.closeIdle();
      await settle();
    }
  },
);

testL7("a body that does not fit is not sent again", {}, async (lb) => {
  const { client, backend } = await warm(lb);
  const body = "x".repeat(20_000);
  const sent = client.send(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n${body}`);
  assertEquals((await backend.request()).body.length, 20_000);
  await sent;
  backend.close();
  assertEquals((await client.response()).status, 502);
  assertEquals(lb.at().dials, 1);
});

testL7("a body of which a part is missing is not sent again", { backends: [A, B] }, async (lb) => {
  const client = lb.connect();
  await client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nbody");
  const backend = await lb.accept();
  await backend.head();
  backend.close();
  assertEquals((await client.response()).status, 502);
  assertEquals(lb.at(B).dials, 0);
});

testL7("what may not run twice is not tried again after a connection that ends without an answer", {
  backends: [A, B],
}, async (lb) => {
  for (const [end, code] of [["close", "upstream_closed"], ["reset", "upstream_reset"]] as const) {
    const client = lb.connect();
    const asking = client.ask(POST);
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

// What the user wants to be tried again, and what that says of backends.

/** Later than a wait, in milliseconds, when it has ended at the latest: two ticks. */
const LATEST = 200;

function status(code: number, ...fields: string[]): string {
  const lines = fields.map((field) => `${field}\r\n`).join("");
  return `HTTP/1.1 ${code} X\r\nContent-Length: 4\r\n${lines}\r\nnope`;
}

function retryOn(...on: RetryCondition[]) {
  return { retries: { on } };
}

/** Serves requests on a connection until it ends. */
function serve(lb: L7, addr: string, response: string): void {
  lb.at(addr).serve(() => response);
}

testL7("an idempotent request whose connection ends without an answer is tried elsewhere", {
  backends: [A, B],
}, async (lb) => {
  const outcomes = watchOutcomes(lb.registry);
  serve(lb, B, OK);
  for (const end of ["close", "reset"] as const) {
    const client = lb.connect();
    const asking = client.ask("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    const backend = await lb.accept(A);
    assertEquals((await backend.request()).body, "body");
    backend[end]();
    assertEquals((await asking).status, 200);
    client.close();
    // A's turn again.
    await settle();
  }
  assertEquals(outcomes, ["a:upstream_closed", "b:ok", "a:upstream_reset", "b:ok"]);
  assertEquals([lb.upstream(A).failures.size, lb.upstream(B).retries], [2, 2]);
});

testL7("what comes of a body after its request has failed is in nobody's way", {
  backends: [A, B],
}, async (lb) => {
  const client = lb.connect();
  await client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nbody");
  const backend = await lb.accept(A);
  await backend.head();
  backend.close();
  assertEquals((await client.response()).status, 502);
  // The buffers of the first request are used for this one, which is written twice.
  const long = `GET /${"x".repeat(600)} HTTP/1.1\r\nHost: a\r\n\r\n`;
  const other = lb.connect();
  const asking = other.ask(long);
  const second = await lb.accept(B);
  const seen = await second.request();
  await client.send("MORE");
  await settle();
  second.close();
  const again = await (await lb.accept(A)).answer(OK);
  assertEquals([again.start, again.fields], [seen.start, seen.fields]);
  assertEquals((await asking).status, 200);
});

testL7("nor is it tried again on the backend that just failed, or when the user does not want it", {
  backends: [A, B],
  recovery: retryOn("connect-failure"),
}, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept(A);
  await backend.request();
  backend.close();
  assertEquals((await asking).status, 502);
  lb.registry.removeBackend(lb.live(A));
  const alone = client.ask(GET);
  const only = await lb.accept(B);
  await only.request();
  only.close();
  assertEquals((await alone).status, 502);
  assertEquals([lb.at(A).dials, lb.at(B).dials], [1, 1]);
});

testL7("a status is passed on as it is unless the user wants to have it tried again", {
  backends: [A, B],
}, async (lb) => {
  const outcomes = watchOutcomes(lb.registry);
  serve(lb, A, status(503, "Retry-After: 7"));
  serve(lb, B, status(429, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"));
  const client = lb.connect();
  const answers = [await client.ask(GET), await client.ask(GET)];
  assertEquals(answers.map(({ status, body }) => [status, body]), [[503, "nope"], [429, "nope"]]);
  assertEquals(answers[0]!.get("retry-after"), "7");
  assertEquals(outcomes, ["a:status_503+7000", "b:busy status_429+0"]);
  assertEquals(lb.upstream(A).failures, new Map([["status_503", 1]]));
});

testL7("what counts as a failure is the user's choice", {
  recovery: { failureStatuses: [404] },
}, async (lb) => {
  const outcomes = watchOutcomes(lb.registry);
  const client = lb.connect();
  for (const code of [404, 503, 500, 204]) {
    const asking = client.ask(GET);
    const backend = lb.at().connections[0] ?? await lb.accept();
    const answer = code === 204 ? "HTTP/1.1 204 X\r\n\r\n" : status(code);
    await backend.answer(answer);
    assertEquals((await asking).status, code);
  }
  assertEquals(outcomes, ["a:status_404", "a:ok", "a:ok", "a:ok"]);
});

testL7("statuses that the user chose are tried elsewhere, for what may run twice", {
  backends: [A, B],
  recovery: retryOn(503),
}, async (lb) => {
  const outcomes = watchOutcomes(lb.registry);
  serve(lb, A, status(503));
  lb.at(B).serve(({ body }) => `HTTP/1.1 200 X\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  const client = lb.connect();
  const put = await client.ask("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
  assertEquals([put.status, put.body, put.get("connection")], [200, "body", undefined]);
  const head = await client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  assertEquals(head.status, 200);
  const post = await client.ask(POST);
  assertEquals([post.status, post.body], [503, "nope"], "it may not run twice");
  assertEquals(outcomes.slice(0, 4), ["a:status_503", "b:ok", "a:status_503", "b:ok"]);
  assertEquals([lb.upstream(A).failures.get("status_503"), lb.upstream(B).retries], [3, 2]);
  assertEquals(lb.requests(B).codes[2], 2);
  assertEquals(lb.requests(A).codes[5], 1, "only what the client got is a request of A");
});

testL7("when all backends answer with such a status, the last answer is passed on", {
  backends: [A, B],
  recovery: retryOn(503),
}, async (lb) => {
  serve(lb, A, status(503, "X-From: a"));
  serve(lb, B, status(503, "X-From: b"));
  const client = lb.connect();
  const response = await client.ask(GET);
  assertEquals([response.status, response.body, response.get("x-from")], [503, "nope", "b"]);
  assertEquals([lb.upstream(A).attempts, lb.upstream(B).attempts], [1, 1]);
});

testL7("an answer behind an interim response is not replaced: the request is not there any more", {
  backends: [A, B],
  recovery: retryOn(503),
}, async (lb) => {
  const client = lb.connect();
  const asking = client.send(GET);
  const backend = await lb.accept(A);
  await backend.request();
  await backend.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
  assertEquals((await client.response()).status, 103);
  void backend.send(status(503));
  assertEquals((await client.response()).status, 503);
  await asking;
  assertEquals(lb.at(B).dials, 0);
});

testL7("further tries wait longer and longer; a client that goes meanwhile ends the request", {
  backends: [A, B, C],
  recovery: retryOn(503),
}, async (lb) => {
  for (const addr of [A, B, C]) serve(lb, addr, status(503));
  const client = lb.connect();
  const asking = client.ask(GET);
  await settle();
  await settle();
  assertEquals([A, B, C].map((addr) => lb.at(addr).dials), [1, 1, 0], "the third one waits");
  await lb.time.advance(25 + LATEST);
  assertEquals((await asking).status, 503);
  assertEquals([A, B, C].map((addr) => lb.upstream(addr).attempts), [1, 1, 1]);
  void client.ask(GET).catch(() => {});
  await settle();
  await settle();
  const attempts = lb.upstream(A).attempts + lb.upstream(B).attempts + lb.upstream(C).attempts;
  assertEquals(attempts, 5);
  client.reset();
  await settle();
  await lb.time.advance(1000);
  assertEquals(
    lb.upstream(A).attempts + lb.upstream(B).attempts + lb.upstream(C).attempts,
    attempts,
  );
});

testL7("a try has its time, and what may run twice is then tried elsewhere", {
  backends: [A, B],
  recovery: { retries: { perTryTimeout: 500 } },
}, async (lb) => {
  const outcomes = watchOutcomes(lb.registry);
  serve(lb, B, OK);
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept(A);
  await backend.request();
  await lb.time.expire(500);
  assertEquals((await asking).status, 200);
  assertEquals([backend.closedByProxy, outcomes], [true, ["a:upstream_timeout", "b:ok"]]);
  const post = client.ask(POST);
  const again = await lb.accept(A);
  await again.request();
  await lb.time.expire(500);
  const response = await post;
  assertEquals([response.status, JSON.parse(response.body).code], [504, "upstream_timeout"]);
});

testL7("all tries together take no longer than one answer may take", {
  backends: [A, B, C],
  timeouts: { response: 1000 },
  recovery: { retries: { perTryTimeout: 600 } },
}, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  await (await lb.accept(A)).request();
  await lb.time.expire(600);
  await (await lb.accept(B)).request();
  await lb.time.expire(400);
  const response = await asking;
  assertEquals([response.status, JSON.parse(response.body).code], [504, "upstream_timeout"]);
  assertEquals(lb.at(C).dials, 0);
});

testL7("a route has rules of its own", {
  backends: [],
  routes: [
    new RouteBuilder().path("/once").target(A).target(B).retry({ on: [] }).build(),
    new RouteBuilder().path("/often").target(A).target(B).target(C)
      .retry({ on: [500], attempts: 2 }).build(),
  ],
}, async (lb) => {
  for (const addr of [A, B, C]) lb.at(addr).refuse();
  const client = lb.connect();
  const once = await client.ask("GET /once HTTP/1.1\r\nHost: a\r\n\r\n");
  assertEquals([once.status, JSON.parse(once.body).code], [502, "connect_refused"]);
  assertEquals([A, B].map((addr) => lb.at(addr).dials), [1, 0]);
  for (const addr of [A, B, C]) {
    lb.at(addr).failure = undefined;
    serve(lb, addr, status(500));
  }
  const often = await client.ask("GET /often HTTP/1.1\r\nHost: a\r\n\r\n");
  assertEquals([often.status, often.body], [500, "nope"]);
  const attempts = [A, B, C].map((addr) => lb.upstream(addr).attempts);
  assertEquals(attempts.reduce((sum, count) => sum + count), 3);
});

testL7("what is not the backend's fault is not said of it", {
  connections: { maxConnections: 1, maxWaiting: 0 },
  timeouts: { bodyStall: 500 },
}, async (lb) => {
  const outcomes = watchOutcomes(lb.registry);
  const stalled = lb.connect();
  await stalled.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nbody");
  const backend = await lb.accept();
  await backend.head();
  const refused = await lb.connect().ask(GET);
  assertEquals(JSON.parse(refused.body).code, "pool_exhausted");
  await lb.time.expire(500);
  assertEquals((await stalled.response()).status, 408);
  const gone = lb.connect();
  await gone.send(GET);
  await (await lb.accept()).request();
  gone.reset();
  await settle();
  assertEquals(outcomes, []);
  const asking = lb.connect().ask(GET);
  const broken = await lb.accept();
  void broken.answer("SSH-2.0-OpenSSH_9.6\r\n");
  assertEquals((await asking).status, 502);
  assertEquals(outcomes, ["a:upstream_protocol"]);
});

testL7(
  "a connection that was closed while idle says nothing against its backend",
  {},
  async (lb) => {
    const { client, backend } = await warm(lb);
    const outcomes = watchOutcomes(lb.registry);
    const asking = client.ask(GET);
    await backend.request();
    backend.close();
    await (await lb.accept()).answer(OK);
    await asking;
    assertEquals(outcomes, ["a:ok"]);
  },
);

testL7("a switch of protocols is an answer", {}, async (lb) => {
  const outcomes = watchOutcomes(lb.registry);
  const client = lb.connect();
  await client.send(
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
  );
  const backend = await lb.accept();
  await backend.head();
  void backend.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
  assertEquals((await client.response()).status, 101);
  assertEquals(outcomes, ["a:ok"]);
  backend.close();
  client.close();
});

// The budget.

Deno.test("in an outage of all backends there are less than 1.2 tries for each request", async () => {
  for (const outage of ["refused connections", "503", "closed connections"] as const) {
    const lb = new L7({
      backends: [A, B, C],
      context: { maxAttempts: 8 },
      recovery: outage === "503" ? retryOn(503) : {},
    });
    for (const addr of [A, B, C]) {
      if (outage === "refused connections") lb.at(addr).refuse();
      else if (outage === "503") serve(lb, addr, status(503));
      else {
        const run = async () => {
          for (;;) {
            const connection = await lb.at(addr).accept();
            void connection.request().then(() => connection.close(), () => connection.close());
          }
        };
        void run();
      }
    }
    const clients = Array.from({ length: 10 }, () => lb.connect());
    const perStep = 100;
    const steps = 60;
    for (let step = 0; step < steps; step++) {
      const asking = clients.map(async (client) => {
        for (let i = 0; i < perStep / clients.length; i++) {
          assert((await client.ask(GET)).status >= 502, outage);
        }
      });
      const done = Promise.all(asking);
      let ended = false;
      void done.then(() => ended = true);
      // Five steps a second, so 500 requests each second; those that wait between tries need some of it.
      for (let i = 0; i < 20 && !ended; i++) await lb.time.advance(20);
      await lb.time.advance(100);
      while (!ended) await lb.time.advance(300);
      await done;
    }
    let attempts = 0;
    for (const [, stats] of lb.listener.upstreamSeries()) attempts += stats.attempts;
    const ratio = attempts / (steps * perStep);
    assert(ratio > 1.03 && ratio < 1.2, `${outage}: ${ratio} tries for each request`);
    assert(lb.listener.retryBudgetExhausted > 0);
    await lb.assertSettled();
  }
});

testL7("when the budget is used up the error is answered as it is, and counted", {
  backends: [A, B],
  recovery: { retries: { budget: { share: 0, floor: 0.1 } } },
}, async (lb) => {
  lb.at(A).refuse();
  serve(lb, B, OK);
  const client = lb.connect();
  for (const window of [1, 2]) {
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) statuses.push((await client.ask(GET)).status);
    assert(statuses.includes(502) && statuses.includes(200));
    assertEquals(lb.upstream(B).retries, window, "the floor allows one in ten seconds");
    const refused = statuses.filter((code) => code === 502).length;
    assertEquals(lb.listener.refusals.get("connect_refused"), lb.listener.retryBudgetExhausted);
    assert(refused >= 1);
    await lb.time.advance(11_000);
  }
});

testL7(
  "a retry that there is no budget for takes no turn away from the backend that could have had it",
  {
    backends: [A, B],
    recovery: { retries: { budget: { share: 0, floor: 0 } } },
  },
  async (lb) => {
    lb.at(A).refuse();
    serve(lb, B, OK);
    const client = lb.connect();
    const statuses: number[] = [];
    for (let i = 0; i < 8; i++) statuses.push((await client.ask(GET)).status);
    assertEquals(statuses, [502, 200, 502, 200, 502, 200, 502, 200]);
  },
);

Deno.test("whatever fails and when, retries stay within the share and the floor of the budget", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        share: fc.constantFrom(0, 0.1, 0.5),
        floor: fc.constantFrom(0, 1, 3),
        attempts: fc.integer({ min: 1, max: 4 }),
        steps: fc.array(
          fc.record({
            requests: fc.integer({ min: 0, max: 12 }),
            ms: fc.constantFrom(100, 700, 3000, 11_000),
            failing: fc.subarray([A, B, C]),
            down: fc.subarray([A, B, C]),
          }),
          { minLength: 1, maxLength: 6 },
        ),
      }),
      async ({ share, floor, attempts, steps }) => {
        const lb = new L7({
          backends: [A, B, C],
          context: { maxAttempts: attempts },
          recovery: { retries: { on: ["connect-failure", 503], budget: { share, floor } } },
        });
        let failing: string[] = [];
        for (const addr of [A, B, C]) {
          lb.at(addr).serve(() => failing.includes(addr) ? status(503) : OK);
        }
        const seen: { readonly second: number; requests: number; retries: number }[] = [];
        let [requests, retries] = [0, 0];
        const note = () => {
          const stats = [...lb.listener.upstreamSeries()].map(([, one]) => one);
          const again = stats.reduce((sum, one) => sum + one.retries, 0);
          const began = stats.reduce((sum, one) => sum + one.attempts, 0) - again;
          const second = Math.floor(lb.time.clock.now() / 1000);
          seen.push({ second, requests: began - requests, retries: again - retries });
          [requests, retries] = [began, again];
        };
        let total = 0;
        for (const step of steps) {
          failing = step.failing;
          for (const addr of [A, B, C]) {
            lb.at(addr).failure = undefined;
            if (step.down.includes(addr)) lb.at(addr).refuse();
          }
          total += step.requests;
          const asking = Array.from({ length: step.requests }, () => lb.connect().ask(GET));
          await settle();
          note();
          for (const ms of [step.ms, 300, 300, 300]) {
            await lb.time.advance(ms);
            await settle();
            note();
          }
          await Promise.all(asking);
        }
        assertEquals(requests, total, "each request has one first try");
        for (const { second } of seen) {
          const within = seen.filter((one) => one.second > second - 10 && one.second <= second);
          const asked = within.reduce((sum, one) => sum + one.requests, 0);
          const again = within.reduce((sum, one) => sum + one.retries, 0);
          assert(again <= asked * share + floor * 10, `${again} retries for ${asked} requests`);
        }
        await lb.assertSettled();
      },
    ),
    { numRuns: 15, seed: 4 },
  );
});

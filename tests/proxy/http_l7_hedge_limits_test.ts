import { assertEquals } from "@std/assert";
import { Stickiness } from "../../lib/http/l7/sticky.ts";
import { settle } from "../support/fake_clock.ts";
import {
  assertNotHedged,
  C,
  counts,
  GET,
  HEDGE_MS,
  hedged,
  inFlight,
  ok,
  race,
} from "../support/hedged.ts";
import { A, B, type L7, testL7 } from "../support/l7.ts";
import { watchOutcomes } from "../support/recovery.ts";

// When there is a second try, and what time it has.

const POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
const PUT = POST.replace("POST", "PUT");

testL7("a request that is answered in time has one try", hedged(), async (lb) => {
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept(A);
  await backend.request();
  await backend.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
  await assertNotHedged(lb);
  await backend.send("lf");
  assertEquals((await asking).body, "half");
});

for (
  const [what, request, rest] of [
    ["may not run twice", POST, ""],
    ["is not whole yet", PUT.replace(": 4", ": 8"), "more"],
    [
      "does not fit",
      `${PUT.replace(": 4\r\n\r\nbody", ": 20000")}\r\n\r\n${"x".repeat(20_000)}`,
      "",
    ],
  ] as const
) {
  testL7(`a request that ${what} has one try`, hedged(), async (lb) => {
    const client = lb.connect();
    void client.send(request);
    const backend = await lb.accept(A);
    const head = await backend.head();
    const content = backend.content(head!, false);
    await settle();
    await assertNotHedged(lb);
    void client.send(rest);
    await content;
    await assertNotHedged(lb);
    await backend.send(ok("one"));
    assertEquals((await client.response()).body, "one");
  });
}

testL7("without another backend there is no second try", hedged({}, { hosts: [A] }), async (lb) => {
  const asking = lb.connect().ask(GET);
  const backend = await lb.accept(A);
  await backend.request();
  await assertNotHedged(lb);
  await backend.send(ok("one"));
  await asking;
  assertEquals(lb.listener.retryBudgetExhausted, 0);
});

for (
  const [what, prevent] of [
    ["is ejected", (lb: L7) => lb.live(B).health.eject("status_503", Infinity)],
    ["has failing checks", (lb: L7) => lb.live(B).health.fail("connect_refused")],
    ["drains", (lb: L7) => void lb.registry.drain(lb.live(B))],
    ["has a weight of 0", (lb: L7) => {
      const [route] = [...lb.registry.routes];
      for (const host of [A, B]) route!.pool.set(lb.live(host), host === A ? 1 : 0);
    }],
  ] as [string, (lb: L7) => void][]
) {
  testL7(`nor when the other one ${what}`, hedged(), async (lb) => {
    const asking = lb.connect().ask(GET);
    const backend = await lb.accept(A);
    await backend.request();
    prevent(lb);
    await assertNotHedged(lb);
    await backend.send(ok("one"));
    await asking;
  });
}

testL7("a backend at its limit has no second tries, and those that wait come first", {
  ...hedged({ requests: { maxRequests: 1 } }),
}, async (lb) => {
  const racers = [lb.connect(), lb.connect(), lb.connect()];
  const answers = racers.map((client) => client.ask(GET));
  await lb.time.expire(HEDGE_MS);
  await lb.time.expire(HEDGE_MS);
  assertEquals([inFlight(lb, A, B), lb.registry.waiting], [[1, 1], 1]);
  assertEquals(counts(lb, A, B), [[1, 0, 0], [1, 0, 0]]);
  const first = await lb.accept(A);
  const second = await lb.accept(B);
  await first.answer(ok("1"));
  await first.answer(ok("3"));
  await second.answer(ok("2"));
  assertEquals((await Promise.all(answers)).map(({ body }) => body), ["1", "2", "3"]);
  assertEquals(inFlight(lb, A, B), [0, 0]);
});

testL7("a second try takes a place at its backend, and gives it back when it is cancelled", {
  ...hedged({ requests: { maxRequests: 1 } }),
}, async (lb) => {
  const racing = await race(lb);
  const next = lb.connect();
  const asking = next.ask(GET);
  await settle();
  assertEquals([inFlight(lb, A, B), lb.registry.waiting], [[1, 1], 1]);
  await racing.first.send(ok("first"));
  assertEquals((await racing.answer).body, "first");
  await settle();
  assertEquals(lb.registry.waiting, 0);
  const served = await lb.accept(B);
  await served.answer(ok("next"));
  assertEquals((await asking).body, "next");
});

testL7("when the budget is used up there is no second try, and that is counted", {
  ...hedged({ recovery: { retries: { budget: { share: 0, floor: 0.1 } } } }),
}, async (lb) => {
  const racing = await race(lb);
  await racing.second.send(ok("second"));
  assertEquals((await racing.answer).body, "second");
  const asking = racing.client.ask(GET);
  const backend = await lb.accept(A);
  await backend.request();
  await lb.time.expire(HEDGE_MS);
  assertEquals([inFlight(lb, A, B), lb.listener.retryBudgetExhausted], [[1, 0], 1]);
  await backend.send(ok("one"));
  await asking;
});

testL7(
  "nor when all tries have been made that the route allows",
  hedged({}, { change: (builder) => builder.retry({ attempts: 1 }) }),
  async (lb) => {
    const asking = lb.connect().ask(GET);
    const backend = await lb.accept(A);
    await backend.request();
    await assertNotHedged(lb);
    await backend.send(ok("one"));
    await asking;
  },
);

testL7(
  "there is one hedge for a request, beside whichever try takes long",
  hedged({}, {
    hosts: [A, B, C],
  }),
  async (lb) => {
    lb.at(A).refuse();
    const asking = lb.connect().ask(GET);
    const second = await lb.accept(B);
    await second.request();
    await lb.time.expire(HEDGE_MS);
    const third = await lb.accept(C);
    await third.request();
    await lb.time.expire(HEDGE_MS);
    assertEquals(counts(lb, A, B, C), [[1, 0, 0], [1, 1, 0], [1, 1, 1]]);
    await third.send(ok("third"));
    assertEquals((await asking).body, "third");
  },
);

testL7(
  "while a request waits for a retry or for room there is no second try",
  hedged({
    recovery: { retries: { on: ["reset"] } },
    timeouts: { response: 500 },
  }, { hosts: [A, B] }),
  async (lb) => {
    lb.live(B).health.eject("status_503", Infinity);
    const asking = lb.connect().ask(GET);
    const first = await lb.accept(A);
    await first.request();
    first.reset();
    // B is the last resort, and fails too.
    const second = await lb.accept(B);
    await second.request();
    second.reset();
    assertEquals((await asking).status, 502);
    await lb.time.expire(HEDGE_MS);
    assertEquals(counts(lb, A, B), [[1, 0, 0], [1, 1, 0]]);
  },
);

testL7(
  "an answer of the balancer that the client is slow to read is no time to try again",
  hedged({
    recovery: { retries: { on: [] } },
    faults: { maxWrite: 10 },
  }),
  async (lb) => {
    const client = lb.connect();
    await client.send(GET);
    const backend = await lb.accept(A);
    await backend.request();
    backend.close();
    await assertNotHedged(lb);
    assertEquals((await client.response()).status, 502);
  },
);

const STICKY = { sticky: new Stickiness({ cookie: "lb" }) };
testL7(
  "a client that stays at its backend has its session there and no second try elsewhere",
  hedged({ context: STICKY }),
  async (lb) => {
    const racing = await race(lb);
    await racing.second.send(ok("second"));
    const cookie = (await racing.answer).get("set-cookie")!.split(";")[0]!;
    assertEquals(cookie, `lb=${lb.live(B).id}`, "it is to stay at the one that answered");
    const staying = racing.client.ask(GET.replace("Host", `Cookie: ${cookie}\r\nHost`));
    await racing.second.request();
    await lb.time.expire(HEDGE_MS);
    assertEquals(inFlight(lb, A, B), [0, 1]);
    await racing.second.send(ok("stays"));
    assertEquals((await staying).body, "stays");
  },
);

// Time.

const PER_TRY_MS = 1_000;
const RESPONSE_MS = 1_800;

testL7(
  "each try has its own time, and the answer that is left has what is left of it",
  hedged({
    timeouts: { response: RESPONSE_MS },
    recovery: { retries: { perTryTimeout: PER_TRY_MS, on: ["timeout"] } },
  }, { hosts: [A, B] }),
  async (lb) => {
    const outcomes = watchOutcomes(lb.registry);
    const racing = await race(lb);
    await lb.time.advance(PER_TRY_MS);
    assertEquals([racing.first.closedByProxy, racing.second.closedByProxy], [true, false]);
    assertEquals(inFlight(lb, A, B), [0, 1]);
    assertEquals(outcomes, ["a:upstream_timeout"]);
    await racing.second.send(ok("second"));
    assertEquals((await racing.answer).body, "second");
    assertEquals(outcomes, ["a:upstream_timeout", "b:ok"]);
  },
);

testL7(
  "when both have used up their time another one may be tried, as long as there is time in all",
  {
    ...hedged({
      timeouts: { response: RESPONSE_MS },
      recovery: { retries: { perTryTimeout: PER_TRY_MS, on: ["timeout"] } },
    }, { hosts: [A, B, C] }),
  },
  async (lb) => {
    const began = lb.time.clock.now();
    const racing = await race(lb);
    await lb.time.advance(PER_TRY_MS);
    await lb.time.advance(400);
    assertEquals([racing.first.closedByProxy, racing.second.closedByProxy], [true, true]);
    await lb.time.expire(100);
    const third = await lb.accept(C);
    await third.request();
    let ms = 0;
    while (!third.closedByProxy) {
      await lb.time.advance(100);
      ms = lb.time.clock.now() - began;
    }
    const answer = await racing.answer;
    assertEquals([answer.status, JSON.parse(answer.body).code], [504, "upstream_timeout"]);
    assertEquals(ms > RESPONSE_MS && ms < RESPONSE_MS + 700, true, `${ms} ms in all`);
  },
);

testL7(
  "the time for which two tries were waited for counts once, and all of it",
  hedged({
    timeouts: { response: 2_000 },
    recovery: { retries: { perTryTimeout: PER_TRY_MS, on: ["timeout"] } },
  }, { hosts: [A, B, C], change: (builder) => builder.hedge({ delay: 800 }) }),
  async (lb) => {
    const client = lb.connect();
    const asking = client.ask(GET);
    await (await lb.accept(A)).request();
    await lb.time.expire(800);
    await (await lb.accept(B)).request();
    for (let i = 0; i < 14; i++) await lb.time.advance(100);
    const answer = await asking;
    assertEquals([answer.status, JSON.parse(answer.body).code], [504, "upstream_timeout"]);
    assertEquals(lb.at(C).dials, 0, "there is no time for another one");
  },
);

for (const connecting of [false, true]) {
  testL7(
    `all time together holds for both${
      connecting ? ", also when the hedge was slow to connect" : ""
    }`,
    hedged({ timeouts: { response: RESPONSE_MS } }),
    async (lb) => {
      const outcomes = watchOutcomes(lb.registry);
      const release = connecting ? lb.at(B).hold() : undefined;
      const client = lb.connect();
      const asking = client.ask(GET);
      await (await lb.accept(A)).request();
      await lb.time.expire(HEDGE_MS);
      if (release !== undefined) {
        await lb.time.advance(900);
        release();
      }
      await (await lb.accept(B)).request();
      await lb.time.advance(RESPONSE_MS - (connecting ? 1_000 : 100));
      await lb.time.advance(300);
      const answer = await asking;
      assertEquals([answer.status, JSON.parse(answer.body).code], [504, "upstream_timeout"]);
      assertEquals(outcomes.toSorted(), ["a:upstream_timeout", "b:upstream_timeout"]);
      assertEquals(counts(lb, A, B), [[1, 0, 0], [1, 1, 1]]);
    },
  );
}

testL7("a hedge that cannot be reached leaves the first try as it was", hedged(), async (lb) => {
  lb.at(B).refuse();
  const asking = lb.connect().ask(GET);
  const first = await lb.accept(A);
  await first.request();
  await lb.time.expire(HEDGE_MS);
  assertEquals([...lb.upstream(B).failures], [["connect_refused", 1]]);
  first.reset();
  const answer = await asking;
  assertEquals([answer.status, JSON.parse(answer.body).code], [502, "upstream_reset"]);
  assertEquals(lb.at(B).dials, 1, "it has failed already");
});

testL7(
  "a route that does not ask for hedging has no second try",
  { backends: [A, B] },
  async (lb) => {
    const asking = lb.connect().ask(GET);
    const backend = await lb.accept(A);
    await backend.request();
    await lb.time.advance(10_000);
    assertEquals(counts(lb, A, B), [[1, 0, 0], [0, 0, 0]]);
    await backend.send(ok("one"));
    assertEquals((await asking).body, "one");
  },
);

import { assert, assertEquals } from "@std/assert";
import {
  C,
  counts,
  GET,
  HEDGE_MS,
  hedged,
  inFlight,
  ok,
  type Race,
  race,
} from "../support/hedged.ts";
import { settle } from "../support/fake_clock.ts";
import { A, B, testL7 } from "../support/l7.ts";
import { watchOutcomes } from "../support/recovery.ts";
import type { BackendConnection } from "../support/scripted_backend.ts";

const REFUSED = "HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nnope";

/** Winner and loser of a race. */
function order(racing: Race, winner: "first" | "second"): [BackendConnection, BackendConnection] {
  return winner === "first" ? [racing.first, racing.second] : [racing.second, racing.first];
}

for (const winner of ["first", "second"] as const) {
  const [won, lost] = winner === "first" ? [A, B] : [B, A];

  testL7(
    `a request that takes long gets a second try elsewhere, and the ${winner} to answer wins`,
    hedged({ log: true }),
    async (lb) => {
      const outcomes = watchOutcomes(lb.registry);
      const racing = await race(lb);
      assertEquals(racing.asked[0].start, "GET / HTTP/1.1");
      assertEquals(racing.asked[1].fields, racing.asked[0].fields);
      assertEquals(inFlight(lb, A, B), [1, 1]);
      const [wins, loses] = order(racing, winner);
      await wins.send(ok(winner));
      assertEquals((await racing.answer).body, winner);
      await settle();
      assertEquals([wins.closedByProxy, loses.closedByProxy], [false, true]);
      assertEquals([lb.live(won).http.idle, lb.live(lost).http.idle], [1, 0]);
      assertEquals(inFlight(lb, A, B), [0, 0]);
      assertEquals(outcomes, [`${winner === "first" ? "a" : "b"}:ok`], "nothing of the other one");
      assertEquals(lb.live(lost).peakLatency, 0, "nor of its latency");
      assertEquals(counts(lb, A, B), [[1, 0, 0], [1, 1, 1]]);
      assertEquals([lb.upstream(A).failures.size, lb.upstream(B).failures.size], [0, 0]);
      const route = [...lb.registry.routes][0]!.id;
      assertEquals([lb.requests(won, route).count, lb.requests(lost, route).count], [1, 0]);
      const [record] = await lb.records();
      assertEquals([record!.status, record!.backend, record!.attempts], [200, won, 2]);
      const next = racing.client.ask(GET);
      await (winner === "first" ? wins : await lb.accept(A)).answer(ok("next"));
      assertEquals((await next).body, "next", "the client's connection goes on");
    },
  );

  testL7(
    `a body that is kept goes with both tries, whichever wins: the ${winner}`,
    hedged(),
    async (lb) => {
      const client = lb.connect();
      await client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
      await settle();
      const first = await lb.accept(A);
      const head = await first.head();
      void client.send("4\r\nbody\r\n4\r\nmore\r\n0\r\n\r\n");
      assertEquals((await first.content(head!, false)).body, "bodymore");
      await lb.time.expire(HEDGE_MS);
      const second = await lb.accept(B);
      assertEquals((await second.request()).body, "bodymore");
      await (winner === "first" ? first : second).send(ok(winner));
      assertEquals((await client.response()).body, winner);
      const again = client.ask(GET);
      await (winner === "first" ? first : await lb.accept(A)).answer(ok("next"));
      assertEquals((await again).body, "next");
    },
  );

  testL7(
    `a client that goes away ends both tries, also beside a ${winner} one that is connecting`,
    hedged(),
    async (lb) => {
      const outcomes = watchOutcomes(lb.registry);
      const both = await race(lb);
      both.client.reset();
      await settle();
      assertEquals([both.first.closedByProxy, both.second.closedByProxy], [true, true]);
      assertEquals(inFlight(lb, A, B), [0, 0]);
      const release = lb.at(won).hold();
      const client = lb.connect();
      await client.send(GET);
      await lb.time.expire(HEDGE_MS);
      assertEquals(inFlight(lb, A, B), [1, 1]);
      const connected = await lb.accept(lost);
      await connected.request();
      await settle();
      client.reset();
      await settle();
      assertEquals([connected.closedByProxy, inFlight(lb, A, B)], [true, [0, 0]]);
      release();
      await settle();
      assertEquals(outcomes, [], "it was not the backends");
    },
  );

  for (
    const [reason, fail] of [
      ["upstream_reset", (backend) => Promise.resolve(backend.reset())],
      ["upstream_closed", (backend) => Promise.resolve(backend.close())],
      ["upstream_protocol", (backend) => backend.send("SSH-2.0-OpenSSH_9.6\r\n")],
      ["status_503", (backend) => backend.send(REFUSED)],
    ] as [string, (backend: BackendConnection) => Promise<unknown>][]
  ) {
    testL7(
      `when a try fails (${reason}) the ${winner} goes on, and its answer is the answer`,
      hedged({ recovery: { retries: { on: [503, "reset"] } } }),
      async (lb) => {
        const outcomes = watchOutcomes(lb.registry);
        const racing = await race(lb);
        const [wins, loses] = order(racing, winner);
        void fail(loses);
        await settle();
        assertEquals(inFlight(lb, won, lost), [1, 0], "only the other one is waited for");
        assertEquals([wins.closedByProxy, loses.closedByProxy], [false, true]);
        await wins.send(ok(winner));
        assertEquals((await racing.answer).body, winner);
        assertEquals(counts(lb, A, B), [[1, 0, 0], [1, 1, 1]]);
        assertEquals([...lb.upstream(lost).failures], [[reason, 1]]);
        const [host, other] = winner === "first" ? ["b", "a"] : ["a", "b"];
        assertEquals(outcomes, [`${host}:${reason}`, `${other}:ok`]);
      },
    );
  }

  testL7(
    `when both fail the last one decides, and one more try follows where it may: ${winner} last`,
    hedged({ recovery: { retries: { on: [503, "reset"] } } }, { hosts: [A, B, C] }),
    async (lb) => {
      const racing = await race(lb);
      const [last, early] = order(racing, winner);
      early.reset();
      await settle();
      await last.send(REFUSED);
      await settle();
      // A retry that is not the first waits a moment.
      await lb.time.expire(100);
      await (await lb.accept(C)).answer(ok("third"));
      assertEquals((await racing.answer).body, "third");
      assertEquals(counts(lb, A, B, C), [[1, 0, 0], [1, 1, 1], [1, 1, 0]]);
    },
  );

  testL7(
    `two failures in the same turn end the request once, with the answer of the ${winner}`,
    hedged({ recovery: { retries: { on: [503] } } }),
    async (lb) => {
      const racing = await race(lb);
      const [last, early] = order(racing, winner);
      void early.send(REFUSED);
      void last.send(REFUSED.replace("nope", "last"));
      const answer = await racing.answer;
      assertEquals([answer.status, answer.body], [503, "last"]);
      assertEquals([lb.upstream(A).failures.size, lb.upstream(B).failures.size], [1, 1]);
    },
  );

  testL7(
    `two answers in the same turn are one, that of the ${winner}`,
    hedged(),
    async (lb) => {
      const racing = await race(lb);
      const [early, late] = order(racing, winner);
      void early.send(ok(winner));
      void late.send(ok("late"));
      assertEquals((await racing.answer).body, winner);
      await racing.client.end();
      assertEquals(await racing.client.rest(), "", "nothing else comes");
    },
  );
}

testL7(
  "a backend that takes no connections is hedged too, and nothing of it is left",
  hedged(),
  async (
    lb,
  ) => {
    const release = lb.at(A).hold();
    const client = lb.connect();
    const asking = client.ask(GET);
    await lb.time.expire(HEDGE_MS);
    await (await lb.accept(B)).answer(ok("hedge"));
    assertEquals((await asking).body, "hedge");
    assertEquals(inFlight(lb, A, B), [0, 0], "its lease ends with the answer");
    release();
    await settle();
    assertEquals(lb.live(A).http.idle, 1, "nothing was sent on it, so it serves the next request");
    const next = client.ask(GET);
    await lb.at(A).connections[0]!.answer(ok("next"));
    assertEquals((await next).body, "next");
  },
);

testL7("a hedge that is still connecting when the answer comes is forgotten", hedged(), async (
  lb,
) => {
  const release = lb.at(B).hold();
  const client = lb.connect();
  const asking = client.ask(GET);
  const first = await lb.accept(A);
  await first.request();
  await lb.time.expire(HEDGE_MS);
  assertEquals(inFlight(lb, A, B), [1, 1]);
  await first.send(ok("first"));
  assertEquals((await asking).body, "first");
  assertEquals(inFlight(lb, A, B), [0, 0]);
  lb.at(B).refuse();
  release();
  await settle();
  assertEquals(lb.upstream(B).failures.size, 0);
  assertEquals([lb.upstream(B).connects, lb.live(B).http.active], [0, 0]);
});

testL7(
  "a backend that leaves while a forgotten try connects to it keeps no connection",
  hedged(),
  async (
    lb,
  ) => {
    const release = lb.at(B).hold();
    const client = lb.connect();
    const asking = client.ask(GET);
    const first = await lb.accept(A);
    await first.request();
    await lb.time.expire(HEDGE_MS);
    await first.send(ok("first"));
    await asking;
    const live = lb.live(B);
    lb.registry.removeBackend(live);
    release();
    await settle();
    assertEquals([live.http.idle, live.http.active], [0, 0]);
  },
);

testL7("an interim answer of either try is passed on and decides", hedged(), async (lb) => {
  const hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
  const racing = await race(lb);
  await racing.second.send(hints);
  const hinted = await racing.answer;
  assertEquals([hinted.status, hinted.get("link")], [103, "</x>"]);
  await settle();
  assertEquals([racing.first.closedByProxy, inFlight(lb, A, B)], [true, [0, 1]]);
  await racing.second.send(ok("second"));
  assertEquals((await racing.client.response()).body, "second");
  racing.client.close();
});

testL7("protocols are switched with the one that does so first", hedged(), async (lb) => {
  const racing = await race(
    lb,
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
  );
  await racing.second.send(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
  );
  assertEquals((await racing.answer).status, 101);
  await settle();
  assertEquals(racing.first.closedByProxy, true);
  await racing.client.send("ping");
  assertEquals(await racing.second.read(4), "ping");
  await racing.second.send("pong");
  assertEquals(await racing.client.read(4), "pong");
  await lb.time.expire(60_000);
  await racing.client.send("ping");
  assertEquals(await racing.second.read(4), "ping", "the deadline is that of a tunnel");
  racing.client.close();
  racing.second.close();
});

testL7(
  "a backend that switches protocols unasked leaves the request to the other",
  hedged(),
  async (
    lb,
  ) => {
    const racing = await race(lb);
    await racing.first.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
    await settle();
    await racing.second.send(ok("second"));
    assertEquals((await racing.answer).body, "second");
  },
);

testL7(
  "answers to HEAD and answers that are long are whole, from whomever they come",
  hedged(),
  async (
    lb,
  ) => {
    const head = await race(lb, GET.replace("GET", "HEAD"));
    await head.second.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    const answer = await head.answer;
    assertEquals([answer.get("content-length"), answer.body], ["7", ""]);
    head.client.close();
    lb.live(B).http.closeIdle();
    await settle();
    // A's turn again.
    const client = lb.connect();
    const asking = client.ask(GET);
    const first = await lb.accept(A);
    await first.request();
    await lb.time.expire(HEDGE_MS);
    const second = await lb.accept(B);
    await second.request();
    const body = "0123456789".repeat(30_000);
    const sent = second.send(
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${
        body.length.toString(16)
      }\r\n${body}\r\n0\r\n\r\n`,
    );
    void first.send(ok("first"));
    assertEquals((await asking).body, body);
    await sent;
  },
);

testL7("an answer that breaks off is not mended by the other try", hedged(), async (lb) => {
  const racing = await race(lb);
  await racing.second.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  await settle();
  racing.second.close();
  const { message } = await racing.answer.then(() => new Error("it is whole"), (error) => error);
  assert(message.includes("ended inside"), message);
  assertEquals(lb.upstream(A).failures.size, 0);
  assertEquals(lb.listener.refusals.get("upstream_closed"), 1);
});

testL7(
  "a pooled connection that was about to close is no fault of its backend, in a race too",
  hedged(),
  async (
    lb,
  ) => {
    const client = lb.connect();
    for (const host of [A, B]) {
      const asking = client.ask(GET);
      await (await lb.accept(host)).answer(ok(host));
      await asking;
    }
    const outcomes = watchOutcomes(lb.registry);
    const asking = client.ask(GET);
    const [pooled] = lb.at(A).connections;
    await pooled!.request();
    await lb.time.expire(HEDGE_MS);
    await lb.at(B).connections[0]!.request();
    pooled!.close();
    await settle();
    lb.at(B).connections[0]!.reset();
    // A has not failed, for all that is known.
    await (await lb.accept(A)).answer(ok("fresh"));
    assertEquals((await asking).body, "fresh");
    assertEquals(outcomes, ["a:ok"]);
  },
);

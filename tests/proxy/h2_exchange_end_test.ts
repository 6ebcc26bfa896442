import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { codeOf, GET, H2Front, head, settleAll, testH2OverL7 } from "../support/h2_over_l7.ts";
import type { Exchange } from "../support/h2_peer.ts";
import { Peer as BasePeer } from "../support/http_text.ts";
import { A, B, L7 } from "../support/l7.ts";
import { Random } from "../support/prng.ts";
import type { BackendConnection } from "../support/scripted_backend.ts";

const NO_CONTENT = "HTTP/1.1 204 No Content\r\n\r\n";

testH2OverL7(
  "an answer before the request has ended arrives whole, then the rest is not wanted",
  {},
  async (
    lb,
    front,
  ) => {
    const asked = front.ask(head([":method", "POST"]), { content: "begin", open: true });
    const order: string[] = [];
    asked.onEvent = () => order.push(asked.reset === undefined ? "answer" : "reset");
    const backend = await lb.accept();
    await backend.head();
    await backend.send(`HTTP/1.1 413 No\r\nContent-Length: 100000\r\n\r\n${"z".repeat(100_000)}`);
    await front.end(asked);
    await settleAll();
    assertEquals([asked.value(":status"), asked.received], ["413", 100_000]);
    assertEquals(asked.reset?.code, H2Code.NoError);
    assertEquals(order.indexOf("reset"), order.length - 1);
    assert(backend.closedByProxy, "half a request is no reason to keep the connection");
  },
);

for (const phase of ["before the answer", "inside the answer", "inside the request"] as const) {
  testH2OverL7(`a client that resets ${phase} cancels at the backend, and nothing else`, {}, async (
    lb,
    front,
  ) => {
    const upload = phase === "inside the request";
    const other = front.ask();
    const otherBackend = await lb.accept();
    await otherBackend.request();
    const asked = front.ask(head([":method", upload ? "POST" : "GET"]), { open: upload });
    const backend = await lb.accept();
    await backend.head();
    if (phase === "inside the answer") {
      await backend.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
      await settleAll();
      assertEquals(asked.text, "hello");
    }
    asked.stream.reset(H2Code.Cancel);
    await settleAll();
    assert(backend.closedByProxy);
    await otherBackend.send(NO_CONTENT);
    await front.end(other);
    assertEquals(other.value(":status"), "204");
    assertEquals(lb.listener.refusals.get("client_closed"), 1);
  });
}

testH2OverL7("requests that are reset in the turn in which they come reach no backend", {}, async (
  lb,
  front,
) => {
  for (let i = 0; i < 20; i++) front.ask().stream.reset(H2Code.Cancel);
  await settleAll();
  assertEquals(lb.at().dials, 0);
});

testH2OverL7(
  "a client whose connection is lost cancels all its requests",
  {},
  async (lb, front) => {
    for (let i = 0; i < 3; i++) front.ask();
    const backends = [await lb.accept(), await lb.accept(), await lb.accept()];
    for (const backend of backends) await backend.request();
    front.client.connection.abort();
    await settleAll();
    assert(backends.every((backend) => backend.closedByProxy));
  },
);

for (
  const [what, response, rest] of [
    ["a length", "Content-Length: 10\r\n\r\nhello", ""],
    ["chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", ""],
    ["a malformed chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "xyz\r\n"],
  ] as const
) {
  testH2OverL7(`an answer that breaks off inside ${what} is a reset, never an end`, {}, async (
    lb,
    front,
  ) => {
    const asked = front.ask();
    const backend = await lb.accept();
    await backend.request();
    await backend.send(`HTTP/1.1 200 OK\r\n${response}`);
    await settleAll();
    if (rest === "") backend.close();
    else await backend.send(rest);
    await front.end(asked);
    assertEquals(asked.reset?.code, H2Code.InternalError);
    assertEquals(asked.text, "hello");
  });
}

testH2OverL7(
  "a slow reader stops the backend, and gets all of it in the end",
  {},
  async (lb, front) => {
    const size = 4 * 1024 * 1024;
    const asked = front.ask(GET, { reads: false });
    asked.keeps = false;
    const backend = await lb.accept();
    await backend.request();
    let sent = 0;
    const sending = (async () => {
      await backend.send(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      const piece = "x".repeat(16 * 1024);
      for (; sent < size; sent += piece.length) await backend.send(piece);
    })();
    await settleAll(100);
    assertEquals(asked.received, 65_535);
    // A window with the client, one turn in the stream, one buffer in the engine, and the piece under way.
    assert(sent <= 65_535 + (16 + 64 + 32) * 1024, `${sent} bytes were taken`);
    asked.resume();
    await sending;
    await front.end(asked);
    assertEquals([asked.received, asked.reset], [size, undefined]);
  },
);

testH2OverL7("a slow backend stops the client, and other streams go on", {}, async (lb, front) => {
  const size = 1024 * 1024;
  const content = new Uint8Array(size).fill(0x61);
  const asked = front.ask(head([":method", "POST"]), { content });
  const backend = await lb.accept();
  await settleAll(50);
  const held = size - asked.stream.queued;
  assert(held <= 65_535 + (64 + 64 + 32) * 1024, `${held} bytes were taken`);
  const other = front.ask();
  await (await lb.accept()).answer(NO_CONTENT);
  assertEquals((await front.end(other)).value(":status"), "204");
  const request = await backend.answer(NO_CONTENT);
  assertEquals(request.body.length, size);
  await front.end(asked);
});

testH2OverL7(
  "requests that are given up with content under way leave the window to the others",
  {},
  async (
    lb,
    front,
  ) => {
    for (let i = 0; i < 40; i++) {
      const asked = front.ask(head([":method", "POST"]), {
        content: new Uint8Array(65_535),
        open: true,
      });
      await settleAll(4);
      asked.stream.reset();
      await settleAll(4);
    }
    for (const { closedByProxy } of lb.at().connections) assert(closedByProxy);
    while (lb.at().unaccepted > 0) await lb.accept();
    const last = front.ask(head([":method", "POST"]), { content: new Uint8Array(500_000) });
    const request = await (await lb.accept()).answer(NO_CONTENT);
    assertEquals(request.body.length, 500_000, "behind 2.6 MB that nobody took");
    await front.end(last);
  },
);

testH2OverL7("a backend that is not reached is passed over; when none is, 503 says so", {
  backends: [A, B],
}, async (lb, front) => {
  lb.at(A).refuse();
  lb.at(B).serve(() => NO_CONTENT);
  for (let i = 0; i < 4; i++) {
    assertEquals((await front.get()).value(":status"), "204");
  }
  lb.at(B).refuse();
  for (const live of lb.registry.backends) live.http.closeIdle();
  const asked = await front.get();
  assertEquals([asked.value(":status"), codeOf(asked)], ["503", "no_backend"]);
  assertEquals(asked.value("retry-after"), "1");
});

testH2OverL7("a pooled connection that turns out closed is replaced", {}, async (lb, front) => {
  const first = front.ask();
  const old = await lb.accept();
  await old.answer(NO_CONTENT);
  await front.end(first);
  const second = front.ask();
  await old.request();
  old.close();
  await (await lb.accept()).answer(NO_CONTENT);
  assertEquals((await front.end(second)).value(":status"), "204");
});

testH2OverL7(
  "a backend that is silent is 504, a client that stalls is 408",
  {},
  async (lb, front) => {
    const { timeouts } = lb.context;
    const silent = front.ask();
    await (await lb.accept()).request();
    await lb.time.expire(timeouts.response);
    await front.end(silent);
    assertEquals([silent.value(":status"), codeOf(silent)], ["504", "upstream_timeout"]);
    const stalls = front.ask(head([":method", "POST"]), { content: "a", open: true });
    await (await lb.accept()).head();
    await lb.time.expire(timeouts.bodyStall);
    await front.end(stalls);
    assertEquals([stalls.value(":status"), codeOf(stalls)], ["408", "body_timeout"]);
  },
);

testH2OverL7(
  "a client that takes nothing of an answer loses its stream, not its connection",
  {},
  async (
    lb,
    front,
  ) => {
    const asked = front.ask(GET, { reads: false });
    const backend = await lb.accept();
    await backend.request();
    void backend.send(`HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n${"x".repeat(300_000)}`);
    await settleAll(20);
    assertEquals(asked.received, 65_535);
    // It has got what may take it a second for each KiB.
    const { bodyStall } = lb.context.timeouts;
    await lb.time.expire(bodyStall);
    assertEquals([asked.ended, backend.closedByProxy], [false, false]);
    for (let passed = 0; passed < 64_000; passed += bodyStall) await lb.time.expire(bodyStall);
    await front.end(asked);
    assertEquals(asked.reset?.code, H2Code.EnhanceYourCalm);
    assertEquals(lb.listener.refusals.get("client_stalled"), 1);
    assert(backend.closedByProxy);
    asked.resume();
    const next = front.ask();
    await (await lb.accept()).answer(NO_CONTENT);
    assertEquals((await front.end(next)).value(":status"), "204");
  },
);

Deno.test("a connection that drains lets its requests finish and takes no more", async () => {
  const lb = new L7();
  const front = new H2Front(lb);
  await front.client.ready;
  const asked = front.ask();
  const backend = await lb.accept();
  await backend.request();
  front.server.drain();
  await settleAll();
  assertEquals(front.client.connection.available, false);
  await backend.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  await front.end(asked);
  assertEquals(asked.text, "ok");
  await front.client.connection.finished;
  await front.close();
  await lb.assertSettled();
});

/** What a backend does with a request, by chance. */
async function misbehave(backend: BackendConnection, random: Random): Promise<void> {
  const body = "b".repeat(random.below(100_000));
  for (;;) {
    if (random.below(10) === 0) return backend.close();
    if (random.below(10) === 0) {
      await backend.send("HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
      return backend.close();
    }
    const request = await BasePeer.prototype.request.call(backend);
    if (request === undefined) return;
    const head = "HTTP/1.1 200 OK\r\n";
    switch (random.below(4)) {
      case 0:
        await backend.send(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
        break;
      case 1:
        await backend.send(`${head}Transfer-Encoding: chunked\r\n\r\n`);
        await backend.send(`5\r\nhello\r\n${random.below(2) === 0 ? "X-" : "0\r\nX-T: 1\r\n\r\n"}`);
        break;
      case 2:
        await backend.send(`${head}Content-Length: ${body.length + 1}\r\n\r\n${body}`);
        return backend.close();
      case 3:
        await backend.send("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    }
  }
}

for (const seed of [1, 2, 3, 4]) {
  testH2OverL7(`whatever both sides do, every stream ends and nothing is left (seed ${seed})`, {
    backends: [A, B],
  }, async (lb, front) => {
    const random = new Random(seed);
    for (const addr of [A, B]) {
      void (async () => {
        for (;;) {
          // A side that was cut off in the middle is what this is about.
          void misbehave(await lb.accept(addr), random).catch(() => {});
        }
      })();
    }
    const all: Exchange[] = [];
    const open: Exchange[] = [];
    for (let step = 0; step < 400; step++) {
      const content = "c".repeat(random.below(80_000));
      const [length, whole] = [random.below(3) === 0, random.below(3) > 0];
      const fields: [string, string][] = [[":method", random.pick(["GET", "POST", "HEAD"])]];
      if (length) fields.push(["content-length", String(content.length)]);
      const asked = front.ask(head(...fields), {
        content,
        open: !whole,
        reads: random.below(4) > 0,
      });
      asked.keeps = false;
      all.push(asked);
      open.push(asked);
      if (random.below(3) === 0) await settleAll(1);
      const other = random.pick(open);
      switch (random.below(4)) {
        case 0:
          other.stream.reset(H2Code.Cancel);
          break;
        case 1:
          if (!other.reads) other.resume();
          break;
        case 2:
          front.client.send(other, "more", true);
      }
      while (open.length > 40) {
        const oldest = open.shift()!;
        if (!oldest.reads) oldest.resume();
        if (random.below(2) === 0) oldest.stream.reset(H2Code.Cancel);
        else front.client.send(oldest, "", true);
      }
    }
    for (const one of all) if (!one.reads) one.resume();
    for (let i = 0; i < 5; i++) await lb.time.expire(lb.context.timeouts.response);
    await settleAll(50);
    assertEquals(front.client.connection.streams, 0);
    assertEquals(front.client.connection.ending, false, "the connection was not cut off");
    for (const live of lb.registry.backends) assertEquals(live.inFlight, 0, live.addr);
    assertEquals(lb.listener.refusals.get("internal"), undefined);
    assert(lb.requests(A).count + lb.requests(B).count > 50);
  });
}

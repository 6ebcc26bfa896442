import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { RouteBuilder, type Timeouts } from "../../mod.ts";
import type { HttpL7 } from "../../mod.ts";
import { besideCleanTraffic } from "../support/clean_traffic.ts";
import {
  delay,
  descriptorCount,
  descriptorsBackTo,
  Peer,
  runL7,
  type Scripted,
  serveName,
  serveScript,
  settled,
  until,
  within,
} from "../support/net.ts";

/** Times that play no part. */
const LONG: Timeouts = { requestHead: 60_000, bodyStall: 60_000, idle: 60_000, shutdown: 1000 };
/** Clean clients beside have the same time for their heads, and the machine may stop all of them for a while. */
const HEAD_MS = 3000;
const HEAD: Timeouts = { ...LONG, requestHead: HEAD_MS };
const STALL_MS = 400;
const STALL: Timeouts = { ...LONG, bodyStall: STALL_MS };
/** For bodies that move slowly: the machine may stop them for a while in addition. */
const PATIENT_MS = 3000;
const PATIENT: Timeouts = { ...LONG, bodyStall: PATIENT_MS };
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PIECE = new Uint8Array(64 * 1024);

interface Scene {
  readonly addr: Deno.Addr;
  readonly backend: Scripted;
  readonly lb: HttpL7;
}

/** Lets clients misbehave while clean ones go on beside them, and looks that nothing is left over. */
function fault(
  name: string,
  script: (peer: Peer, index: number) => void | Promise<void>,
  scene: (scene: Scene) => Promise<void>,
  timeouts: Timeouts = LONG,
): void {
  Deno.test(name, async () => {
    const before = descriptorCount();
    {
      await using backend = await serveScript(script);
      await using clean = serveName("clean");
      await using balancer = await runL7({
        routes: [
          new RouteBuilder().path("/").target(backend.addr).build(),
          new RouteBuilder().path("/clean").target(clean.addr).build(),
        ],
        timeouts,
      });
      const { addr, lb } = balancer;
      await besideCleanTraffic(
        addr,
        "/clean",
        "clean",
        () => within(60_000, "the scene", scene({ addr, backend, lb })),
      );
      await settled(lb);
    }
    await descriptorsBackTo(before);
  });
}

const serveOk = async (peer: Peer) => {
  for (;;) {
    await peer.head();
    await peer.write(OK);
  }
};

fault(
  "a head that drips gets 408 after the time for a head, not later",
  serveOk,
  async ({ addr, backend }) => {
    await using client = await Peer.connect(addr);
    const started = performance.now();
    let dripping = true;
    const drip = (async () => {
      for (const letter of `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(200)}`) {
        if (!dripping) return;
        await client.write(letter);
        await delay(50);
      }
    })();
    const answer = await client.answer();
    const took = performance.now() - started;
    dripping = false;
    await drip;
    assertEquals([answer.status, answer.headers.get("connection")], [408, "close"]);
    assert(took >= HEAD_MS && took < 20_000, `it took ${took} ms`);
    assertEquals(backend.peers.length, 0);
  },
  HEAD,
);

fault("two hundred dripping heads keep nobody from being served", serveOk, async ({ addr }) => {
  const clients = await Promise.all(Array.from({ length: 200 }, () => Peer.connect(addr)));
  const answers = clients.map(async (client) => {
    await client.write("GET / HTTP/1.1\r\nHost:");
    return (await client.answer()).status;
  });
  assertEquals(new Set(await Promise.all(answers)), new Set([408]));
  for (const client of clients) await client.close();
}, HEAD);

for (const framing of ["Content-Length: 100", "Transfer-Encoding: chunked"]) {
  fault(`a body that stalls gets 408 and its backend is let go (${framing})`, async (peer) => {
    await peer.head();
    await peer.rest();
  }, async ({ addr, backend }) => {
    await using client = await Peer.connect(addr);
    const started = performance.now();
    const answer = await client.ask(
      `POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n${
        framing.startsWith("T") ? "5\r\nab" : "ab"
      }`,
    );
    const took = performance.now() - started;
    assertEquals([answer.status, JSON.parse(answer.text).code], [408, "body_timeout"]);
    assertEquals(answer.headers.get("connection"), "close");
    assert(took >= STALL_MS && took < 20_000, `it took ${took} ms`);
    await backend.peers[0]!.closed;
  }, STALL);

  fault(`half a request does not reach the backend as a whole one (${framing})`, async (peer) => {
    await peer.head();
    const { text } = await peer.rest();
    assert(!text.includes("0\r\n\r\n"), "the body was ended");
  }, async ({ addr, backend }) => {
    const begin = `POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n${
      framing.startsWith("T") ? "2\r\nab\r\n" : "ab"
    }`;
    const cut = await Peer.connect(addr);
    await cut.write(begin);
    await until(() => backend.peers.length === 1, "the request does not reach the backend");
    cut.reset();
    await within(5000, "the backend of a client that resets", backend.peers[0]!.closed);

    await using ended = await Peer.connect(addr);
    await ended.write(begin);
    await until(() => backend.peers.length === 2, "the request does not reach the backend");
    await ended.end();
    assertEquals((await ended.answer()).status, 400);
    await within(5000, "the backend of a client that ends early", backend.peers[1]!.closed);
  });
}

fault("a slow body that moves is not given up", async (peer) => {
  await peer.head();
  await peer.read(10);
  await peer.write(OK);
  await peer.rest();
}, async ({ addr }) => {
  await using client = await Peer.connect(addr);
  await client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
  for (let i = 0; i < 10; i++) {
    await delay(PATIENT_MS / 9);
    await client.write("x");
  }
  assertEquals((await client.answer()).text, "ok");
}, PATIENT);

fault("a reset while the answer is waited for cancels the backend at once", async (peer) => {
  await peer.head();
  await peer.rest();
}, async ({ addr, backend, lb }) => {
  const client = await Peer.connect(addr);
  await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => backend.peers.length === 1, "the request does not reach the backend");
  client.reset();
  await within(5000, "the end of the backend's connection", backend.peers[0]!.closed);
  await settled(lb);
});

fault("a reset inside the response cancels the backend at once and pools nothing", async (peer) => {
  await peer.head();
  await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin");
  await peer.rest();
}, async ({ addr, backend, lb }) => {
  const client = await Peer.connect(addr);
  await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.readThrough("begin");
  client.reset();
  await within(5000, "the end of the backend's connection", backend.peers[0]!.closed);
  await settled(lb);
  const info = lb.backends().find(({ addr }) => addr.endsWith(backend.addr))!;
  assertEquals(info.connections.idle, 0);
});

fault("a client that goes away inside a fast response lets its backend go", async (peer) => {
  await peer.head();
  await peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  const chunk = `10000\r\n${"x".repeat(65536)}\r\n`;
  while (!peer.socket.destroyed && peer.ended === undefined) {
    await peer.write(chunk);
    await delay(1);
  }
}, async ({ addr, backend }) => {
  const client = await Peer.connect(addr);
  await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.read(300_000);
  await client.close();
  await within(5000, "the end of the backend's connection", backend.peers[0]!.closed);
});

fault("a client that has sent all and closed its half is answered", async (peer) => {
  for (;;) {
    if ((await peer.head()).startsWith("POST")) await peer.readThrough("0\r\n\r\n");
    await delay(100);
    await peer.write(OK);
  }
}, async ({ addr }) => {
  await using client = await Peer.connect(addr);
  await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.end();
  const answer = await client.answer();
  assertEquals([answer.status, answer.text], [200, "ok"]);
  assertEquals((await client.rest()).end, "eof");

  await using posting = await Peer.connect(addr);
  await posting.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  await posting.end();
  assertEquals((await posting.answer()).text, "ok");
});

fault(
  "a client that closes its half behind two requests gets both answers",
  serveOk,
  async ({ addr }) => {
    await using client = await Peer.connect(addr);
    const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    await client.write(request + request);
    await client.end();
    for (let i = 0; i < 2; i++) assertEquals((await client.answer()).text, "ok");
    assertEquals((await client.rest()).text, "");
  },
);

fault("a client that leaves inside a head is forgotten", serveOk, async ({ addr, lb }) => {
  const metrics = lb.metrics.listener("http-l7");
  for (let i = 0; i < 20; i++) {
    const client = await Peer.connect(addr);
    await client.write("GET / HTTP/1.1\r\nHo");
    if (i % 2 === 0) client.reset();
    else await client.close();
  }
  // The two clean clients stay.
  await until(() => metrics.connectionsActive <= 2, "connections are still counted");
});

fault("a reader that pauses slows its backend down and loses nothing", async (peer) => {
  await peer.head();
  await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${PIECE.length * 400}\r\n\r\n`);
  for (let i = 0; i < 400; i++) await peer.write(PIECE.fill(i & 255));
}, async ({ addr, backend }) => {
  await using client = await Peer.connect(addr);
  await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.head();
  // However long that takes, the backend comes to a stop.
  let sent = -1;
  while (backend.peers[0]!.socket.bytesWritten !== sent) {
    sent = backend.peers[0]!.socket.bytesWritten;
    await delay(200);
  }
  assertLess(sent, PIECE.length * 400);
  const body = await client.read(PIECE.length * 400);
  assert(body.every((byte, i) => byte === ((i / PIECE.length | 0) & 255)), "the body has changed");
});

fault("a reader that never goes on is cut after the time for a stall", async (peer) => {
  await peer.head();
  await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
  while (!peer.socket.destroyed) await peer.write(PIECE);
}, async ({ addr, backend, lb }) => {
  await using client = await Peer.connect(addr);
  await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.head();
  await until(() => backend.peers[0]!.socket.destroyed, "the backend is kept for ever");
  await settled(lb);
  const { bytes } = await client.rest();
  assertGreater(bytes.length, 0);
}, STALL);

fault("a client that sends all before it reads gets an early 413", async (peer) => {
  await peer.head();
  await peer.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
}, async ({ addr }) => {
  await using client = await Peer.connect(addr);
  const pieces = 128;
  await client.write(
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${pieces * PIECE.length}\r\n\r\n`,
  );
  for (let i = 0; i < pieces; i++) {
    await client.write(PIECE);
    assert(!client.socket.destroyed, `the connection failed behind ${i} pieces of ${pieces}`);
  }
  const answer = await client.answer();
  assertEquals([answer.status, answer.text], [413, "large"]);
});

fault("garbage gets 400 and the end", serveOk, async ({ addr, backend }) => {
  for (
    const bytes of [
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
      "hello\r\n\r\n",
      "\x00\x00\x00\x00\r\n\r\n",
      "GET / HTTP/1.1\nHost: a\n\n",
      "SSH-2.0-OpenSSH_9.9\r\n",
    ]
  ) {
    await using client = await Peer.connect(addr);
    const answer = await client.ask(bytes);
    assertEquals([answer.status, answer.headers.get("connection")], [400, "close"], bytes);
    assertEquals((await client.rest()).text, "");
  }
  assertEquals(backend.peers.length, 0);
});

fault("a reader that is slow but moves is not cut, however long it takes", async (peer) => {
  await peer.head();
  await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${PIECE.length * 400}\r\n\r\n`);
  for (let i = 0; i < 400; i++) await peer.write(PIECE.fill(i & 255));
}, async ({ addr }) => {
  await using client = await Peer.connect(addr);
  await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.head();
  // In all it takes longer than a stall may.
  const started = performance.now();
  for (let i = 0; i < 400; i++) {
    const piece = await client.read(PIECE.length);
    assert(piece.every((byte) => byte === (i & 255)), "the body has changed");
    await delay(PATIENT_MS / 300);
  }
  assertGreater(performance.now() - started, PATIENT_MS);
}, PATIENT);

fault("a reader of a byte at a time is cut once nothing has moved for too long", async (peer) => {
  await peer.head();
  await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
  while (!peer.socket.destroyed) await peer.write(PIECE);
}, async ({ addr, backend, lb }) => {
  // A socket that hands out single bytes, as `Peer` cannot: what it has read it has taken from the system.
  const { hostname, port } = addr as Deno.NetAddr;
  const conn = await Deno.connect({ hostname, port });
  await conn.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  const byte = new Uint8Array(1);
  while (!(backend.peers[0]?.socket.destroyed ?? false)) {
    await conn.read(byte);
    await delay(20);
  }
  await settled(lb);
  conn.close();
}, STALL);

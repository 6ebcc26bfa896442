import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import { type Route, RouteBuilder, type Timeouts } from "../../mod.ts";
import { freePort } from "../../scripts/bench/process.ts";
import { besideCleanTraffic } from "../support/clean_traffic.ts";
import {
  type Answer,
  Cut,
  delay,
  descriptorCount,
  descriptorsBackTo,
  type HttpBackend,
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
const LONG: Timeouts = { response: 60_000, bodyStall: 60_000, connect: 60_000, shutdown: 1000 };
/** Clean clients beside have the same time for their answers, and the machine may stop all of them for a while. */
const RESPONSE_MS = 3000;
const RESPONSE: Timeouts = { ...LONG, response: RESPONSE_MS };
const STALL_MS = 400;
const STALL: Timeouts = { ...LONG, bodyStall: STALL_MS };
/** For a body that moves slowly: the machine may stop it for a while in addition. */
const PATIENT_MS = 3000;
const PATIENT: Timeouts = { ...LONG, bodyStall: PATIENT_MS };
const CONNECT: Timeouts = { ...LONG, connect: 3000 };
const HEADS = "HTTP/1.1 200 OK\r\n";
const OK = `${HEADS}Content-Length: 2\r\n\r\nok`;

/** What a fault is tried with. */
interface Scene {
  readonly addr: Deno.Addr;
  readonly faulty: Scripted;
  /** Sends a request to the faulty backend on a connection of its own and reads the answer. */
  ask(request: string): Promise<Answer>;
  get(): Promise<Answer>;
  /** Waits until the balancer has no connection to the faulty backend. */
  unpooled(): Promise<void>;
}

/**
 * Lets a backend misbehave while clean clients go on beside it, and looks that nothing is left over.
 *
 * @param script What the backend does with each connection.
 * @param scene What its clients do and must see.
 */
function fault(
  name: string,
  script: (peer: Peer, index: number) => void | Promise<void>,
  scene: (scene: Scene) => Promise<void>,
  timeouts: Timeouts = LONG,
): void {
  Deno.test(name, async () => {
    const before = descriptorCount();
    {
      await using faulty = await serveScript(script);
      await using clean = serveName("clean");
      await using balancer = await runL7({
        routes: [
          new RouteBuilder().path("/bad").target(faulty.addr).build(),
          new RouteBuilder().path("/clean").target(clean.addr).build(),
        ],
        timeouts,
      });
      const { addr, lb } = balancer;
      const ask = async (request: string) => {
        await using client = await Peer.connect(addr);
        return await client.ask(request);
      };
      const infoOf = () => lb.backends().find(({ addr }) => addr.endsWith(faulty.addr))!;
      const unpooled = () =>
        until(() => {
          const { idle, active } = infoOf().connections;
          return idle + active === 0;
        }, "a connection stays");
      const get = () => ask("GET /bad HTTP/1.1\r\nHost: a\r\n\r\n");
      await besideCleanTraffic(
        addr,
        "/clean",
        "clean",
        () => within(60_000, "the scene", scene({ addr, faulty, ask, get, unpooled })),
      );
      await settled(lb);
      const info = infoOf();
      assertEquals([info.in_flight, info.connections], [0, { idle: 0, active: 0 }]);
    }
    await descriptorsBackTo(before);
  });
}

/** The status and the code of a refusal that the balancer has made. */
function refusal({ status, text }: Answer): [number, string] {
  return [status, JSON.parse(text).code];
}

const POST = "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";

for (const [what, end] of [["reset", "upstream_reset"], ["closed", "upstream_closed"]] as const) {
  const finish = (peer: Peer) => what === "reset" ? peer.reset() : undefined;

  fault(`a connection that is ${what} before any byte is answered 502`, async (peer) => {
    await peer.head();
    finish(peer);
  }, async ({ ask, get, faulty }) => {
    assertEquals(refusal(await get()), [502, end]);
    assertEquals(refusal(await ask(POST)), [502, end]);
    assertEquals(faulty.peers.length, 2, "a request on a fresh connection is sent once only");
  });

  fault(
    `a connection that is ${what} at once is answered, never sent twice`,
    finish,
    async ({ get }) => {
      for (let i = 0; i < 5; i++) {
        const [status, code] = refusal(await get());
        // Where opening the connection fails already, nothing was sent, and no backend is left.
        if (code === "no_backend") assertEquals(status, 503);
        else assertEquals([status, code], [502, end]);
      }
    },
  );

  fault(`a connection that is ${what} inside the head is answered 502`, async (peer) => {
    await peer.head();
    await peer.write("HTTP/1.1 200 OK\r\nContent-Le");
    await delay(20);
    finish(peer);
  }, async ({ get }) => assertEquals(refusal(await get()), [502, end]));

  fault(
    `a pooled connection that is ${what} by the next request is tried anew, once`,
    async (peer, index) => {
      await peer.head();
      await peer.write(OK);
      await peer.head();
      if (index === 0) finish(peer);
      else {
        await peer.write(`${OK}`.replace("OK", "OK, second"));
        await peer.end();
      }
    },
    async ({ addr, faulty }) => {
      await using client = await Peer.connect(addr);
      assertEquals((await client.get("/bad")).text, "ok");
      // On the second connection this is the first request.
      assertEquals((await client.get("/bad")).text, "ok");
      assertEquals(faulty.peers.length, 2);
      assertEquals((await client.get("/bad")).head.includes("second"), true);
    },
  );

  fault(`a POST on a pooled connection that is ${what} is not sent twice`, async (peer) => {
    await peer.head();
    await peer.write(OK);
    await peer.head();
    finish(peer);
  }, async ({ addr, faulty }) => {
    await using client = await Peer.connect(addr);
    assertEquals((await client.get("/bad")).text, "ok");
    assertEquals(refusal(await client.ask(POST)), [502, end]);
    assertEquals(faulty.peers.length, 1);
  });

  for (
    const [framing, begin] of [
      ["Content-Length", "Content-Length: 100\r\n\r\nabc"],
      ["chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"],
      ["chunks, inside one", "Transfer-Encoding: chunked\r\n\r\n64\r\nabc"],
    ] as const
  ) {
    fault(
      `a body by ${framing} that is ${what} half-way is cut for the client too`,
      async (peer) => {
        await peer.head();
        await peer.write(HEADS + begin);
        await delay(20);
        finish(peer);
      },
      async ({ get }) => {
        const cut = await assertRejects(get, Cut);
        assert(!new TextDecoder().decode(cut.received).includes("0\r\n\r\n"));
      },
    );
  }

  fault(
    `an interim answer does not stand in the way of a 502 when the backend is ${what}`,
    async (peer) => {
      await peer.head();
      await peer.write("HTTP/1.1 100 Continue\r\n\r\n");
      await peer.read(4);
      finish(peer);
    },
    async ({ addr }) => {
      await using client = await Peer.connect(addr);
      const head =
        "PUT /bad HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
      assertEquals((await client.ask(head)).status, 100);
      assertEquals(refusal(await client.ask("body")), [502, end]);
    },
  );

  fault(
    `a pooled connection that is ${what} while it is idle costs nobody a request`,
    async (peer) => {
      await peer.head();
      await peer.write(OK);
      await delay(10);
      finish(peer);
    },
    async ({ addr, ask, unpooled }) => {
      await using client = await Peer.connect(addr);
      for (let i = 0; i < 3; i++) {
        assertEquals((await client.get("/bad")).text, "ok");
        await unpooled();
        assertEquals((await ask(POST)).text, "ok");
        await unpooled();
      }
    },
  );
}

fault("a response without framing that is reset is not passed on as whole", async (peer) => {
  await peer.head();
  await peer.write(`${HEADS}\r\nabc`);
  await delay(20);
  peer.reset();
}, async ({ get }) => {
  await assertRejects(get, Cut);
});

fault("a response without framing that is closed is whole", async (peer) => {
  await peer.head();
  await peer.write(`${HEADS}\r\nabc`);
}, async ({ get }) => {
  assertEquals((await get()).text, "abc");
});

fault("a backend that never answers is given up with 504 and closed", async (peer) => {
  await peer.head();
  await peer.rest();
}, async ({ get, ask, faulty }) => {
  const started = performance.now();
  const answers = await Promise.all([get(), ask(POST)]);
  for (const answer of answers) assertEquals(refusal(answer), [504, "upstream_timeout"]);
  const took = performance.now() - started;
  assert(took >= RESPONSE_MS && took < 20_000, `it took ${took} ms`);
  for (const peer of faulty.peers) await peer.closed;
}, RESPONSE);

fault("a head that drips is given up with 504, though bytes keep coming", async (peer) => {
  await peer.head();
  for (const letter of `${HEADS}X-Long: ${"x".repeat(300)}`) {
    if (peer.ended !== undefined || peer.socket.destroyed) return;
    await peer.write(letter);
    await delay(100);
  }
}, async ({ get }) => {
  const started = performance.now();
  assertEquals(refusal(await get()), [504, "upstream_timeout"]);
  const took = performance.now() - started;
  assert(took < 20_000, `it took ${took} ms`);
}, RESPONSE);

fault("a body that stalls is cut after the time for a stall", async (peer) => {
  await peer.head();
  await peer.write(`${HEADS}Content-Length: 100\r\n\r\nabc`);
  await peer.rest();
}, async ({ get, faulty }) => {
  const started = performance.now();
  await assertRejects(get, Cut);
  const took = performance.now() - started;
  assert(took >= STALL_MS && took < 20_000, `it took ${took} ms`);
  await faulty.peers[0]!.closed;
}, STALL);

fault("a body that is slow but moves is not cut", async (peer) => {
  await peer.head();
  await peer.write(`${HEADS}Connection: close\r\nContent-Length: 10\r\n\r\n`);
  for (let i = 0; i < 10; i++) {
    await delay(PATIENT_MS / 9);
    await peer.write(`${i}`);
  }
}, async ({ get }) => {
  assertEquals((await get()).text, "0123456789");
}, PATIENT);

for (
  const [what, bytes] of [
    ["text", "hello world\r\n\r\n"],
    ["HTTP/0.9", "<html>hello</html>"],
    ["HTTP/2", "\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80"],
    ["a TLS alert", "\x15\x03\x03\x00\x02\x02\x46"],
    ["zeros", "\x00".repeat(100)],
    ["an unknown version", "HTTP/3.0 200 OK\r\n\r\n"],
    ["a status that is none", "HTTP/1.1 20 OK\r\n\r\n"],
    ["two lengths", `${HEADS}Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk`],
    ["a field without colon", `${HEADS}X-Broken\r\nContent-Length: 2\r\n\r\nok`],
    ["a head that is too large", `${HEADS}${"X-Pad: 0123456789\r\n".repeat(5000)}\r\n`],
    ["a chunk size that is none", `${HEADS}Transfer-Encoding: chunked\r\n\r\nxyz\r\nok`],
    ["a switch of protocols", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"],
    ["interim answers without end", "HTTP/1.1 100 Continue\r\n\r\n".repeat(50)],
  ] as const
) {
  fault(`a backend that sends ${what} is answered 502`, async (peer) => {
    await peer.head();
    await peer.write(bytes);
    await peer.rest();
  }, async ({ addr }) => {
    await using client = await Peer.connect(addr);
    let answer = await client.get("/bad");
    while (answer.status === 100) answer = await client.answer();
    assertEquals(refusal(answer), [502, "upstream_protocol"]);
  });
}

fault("a chunk size that is none in the middle of a body cuts the response", async (peer) => {
  await peer.head();
  await peer.write(`${HEADS}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`);
  await delay(30);
  await peer.write("oops\r\n");
  await peer.rest();
}, async ({ get }) => {
  await assertRejects(get, Cut);
});

fault("bytes behind a response reach nobody", async (peer, index) => {
  await peer.head();
  const forged = `${HEADS}Content-Length: 6\r\n\r\nforged`;
  await peer.write(OK + (index % 2 === 0 ? forged : ""));
  if (index % 2 === 1) {
    await delay(20);
    await peer.write(forged);
  }
  await peer.rest();
}, async ({ addr, faulty, unpooled }) => {
  await using client = await Peer.connect(addr);
  for (let i = 0; i < 6; i++) {
    assertEquals((await client.get("/bad")).text, "ok");
    // The forged bytes have arrived while nobody had asked.
    await unpooled();
  }
  assertEquals(faulty.peers.length, 6);
});

fault("a body in the answer to HEAD reaches nobody", async (peer) => {
  await peer.head();
  await peer.write(OK);
  await peer.rest();
}, async ({ addr }) => {
  await using client = await Peer.connect(addr);
  for (let i = 0; i < 3; i++) {
    const answer = await client.ask("HEAD /bad HTTP/1.1\r\nHost: a\r\n\r\n", true);
    assertEquals([answer.status, answer.headers.get("content-length"), client.pending], [
      200,
      "2",
      0,
    ]);
  }
});

const PIECE = new Uint8Array(64 * 1024);

for (const [what, reset] of [["closes", false], ["resets", true]] as const) {
  for (const framing of ["Content-Length", "chunks"]) {
    fault(
      `an early 413 by a backend that then ${what} is relayed while the client still sends (${framing})`,
      async (peer) => {
        await peer.head();
        await peer.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
        await delay(30);
        if (reset) peer.reset();
        else await peer.close();
      },
      async ({ addr }) => {
        await using client = await Peer.connect(addr);
        const size = 256;
        await client.write(
          "POST /bad HTTP/1.1\r\nHost: a\r\n" +
            (framing === "chunks"
              ? "Transfer-Encoding: chunked\r\n\r\n"
              : `Content-Length: ${size * PIECE.length}\r\n\r\n`),
        );
        const sending = (async () => {
          for (let i = 0; i < size && !client.socket.destroyed; i++) {
            if (framing === "chunks") await client.write("10000\r\n");
            await client.write(PIECE);
            if (framing === "chunks") await client.write("\r\n");
          }
        })();
        const answer = await client.answer();
        assertEquals([answer.status, answer.text], [413, "large"]);
        assertEquals(answer.headers.get("connection"), "close");
        await client.close();
        await sending;
      },
    );
  }
}

fault("a backend that never reads a large request is given up with 504", async (peer) => {
  await peer.closed;
}, async ({ addr, faulty }) => {
  await using client = await Peer.connect(addr);
  const started = performance.now();
  await client.write(`POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: ${2 ** 30}\r\n\r\n`);
  const sending = (async () => {
    while (!client.socket.destroyed) await client.write(PIECE);
  })();
  assertEquals(refusal(await client.answer()), [504, "upstream_stalled"]);
  const took = performance.now() - started;
  assert(took >= STALL_MS && took < 20_000, `it took ${took} ms`);
  await client.close();
  await sending;
  for (const peer of faulty.peers) await peer.close();
}, STALL);

fault("fifty requests at once on a backend that resets get fifty answers", async (peer) => {
  await peer.head();
  peer.reset();
}, async ({ get, faulty }) => {
  const answers = await Promise.all(Array.from({ length: 50 }, get));
  for (const answer of answers) assertEquals(refusal(answer), [502, "upstream_reset"]);
  assertEquals(faulty.peers.length, 50);
});

/** Where clean traffic goes beside backends that are all of the default pool. */
function cleanRoute({ addr }: HttpBackend): Route {
  return new RouteBuilder().path("/clean").target(addr).build();
}

Deno.test("a backend that refuses is passed over, and 503 is said when all do", async () => {
  const before = descriptorCount();
  {
    await using alive = serveName("alive");
    await using clean = serveName("clean");
    await using balancer = await runL7({
      backends: [`127.0.0.1:${freePort()}`, alive.addr, `127.0.0.1:${freePort()}`],
      routes: [cleanRoute(clean)],
      fallback: true,
      timeouts: CONNECT,
    });
    await using client = await Peer.connect(balancer.addr);
    for (let i = 0; i < 9; i++) {
      assertEquals((await client.get("/")).text, "alive");
      assertEquals((await client.ask(POST)).text, "alive", "nothing was sent, so a POST too");
    }
    assertEquals(alive.requests, 18);
    await besideCleanTraffic(balancer.addr, "/clean", "clean", async () => {
      balancer.lb.removeBackend(alive.addr);
      const refused = await client.get("/");
      assertEquals(refusal(refused), [503, "no_backend"]);
      assertEquals(refused.headers.get("retry-after"), "1");
      balancer.lb.addBackend(alive.addr);
      assertEquals((await client.get("/")).text, "alive");
    });
    const failures = [...balancer.lb.metrics.listener("http-l7").upstreamSeries()]
      .reduce((sum, [, stats]) => sum + (stats.failures.get("connect_refused") ?? 0), 0);
    assertGreater(failures, 0);
    await settled(balancer.lb);
  }
  await descriptorsBackTo(before);
});

Deno.test("a backend that takes no connection in time is passed over, and 504 is said when alone", async () => {
  const before = descriptorCount();
  {
    // A queue of one that nobody empties: when it is full the system drops what else comes.
    const full = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
    const { port } = full.addr;
    const filling = [await Peer.connect(port), await Peer.connect(port)];
    await using alive = serveName("alive");
    await using clean = serveName("clean");
    await using balancer = await runL7({
      backends: [`127.0.0.1:${port}`, alive.addr],
      routes: [cleanRoute(clean)],
      fallback: true,
      timeouts: CONNECT,
    });
    await besideCleanTraffic(balancer.addr, "/", "alive", () => delay(600));
    balancer.lb.removeBackend(alive.addr);
    await besideCleanTraffic(balancer.addr, "/clean", "clean", async () => {
      await using client = await Peer.connect(balancer.addr);
      assertEquals(refusal(await client.get("/")), [504, "connect_timeout"]);
    });
    await settled(balancer.lb);
    full.close();
    for (const peer of filling) await peer.close();
  }
  await descriptorsBackTo(before);
});

Deno.test("a name that nobody knows is passed over, and 503 or 504 is said when alone", async () => {
  await using alive = serveName("alive");
  // RFC 6761, section 6.4: names below `invalid` never exist. How soon that is known is up to the resolver.
  const unknown = "nowhere.invalid:80";
  await using clean = serveName("clean");
  await using balancer = await runL7({
    backends: [unknown, alive.addr],
    routes: [cleanRoute(clean)],
    fallback: true,
    timeouts: CONNECT,
  });
  await besideCleanTraffic(balancer.addr, "/", "alive", () => delay(300));
  balancer.lb.removeBackend(alive.addr);
  await besideCleanTraffic(balancer.addr, "/clean", "clean", async () => {
    await using client = await Peer.connect(balancer.addr);
    const [status, code] = refusal(await within(30_000, "the answer", client.get("/")));
    assertEquals([status, code], code === "no_backend" ? [503, code] : [504, "connect_timeout"]);
  });
  await settled(balancer.lb);
});

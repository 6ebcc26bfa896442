/** Peers that misbehave on connections that are relayed at layer 4, beside connections that behave, on the same backend. */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import type { LoadBalancer, LoadBalancerOptions, Timeouts } from "../../mod.ts";
import { freePort } from "../../scripts/bench/process.ts";
import { besideCleanTraffic } from "../support/clean_traffic.ts";
import {
  delay,
  descriptorCount,
  descriptorsBackTo,
  type End,
  Peer,
  runL4,
  type Running,
  runTcp,
  type Scripted,
  serveScript,
  settled,
  until,
  within,
} from "../support/net.ts";

/** How long anything may take that no limit ends, in milliseconds. */
const PATIENCE = 20_000;
/** A limit that clean connections beside keep to though the machine stops everything for a while. */
const IDLE_MS = 3_000;
const BAD = "bad\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean";
const PIECE = new Uint8Array(64 * 1024);
/** What a reset of one side is at the other: the runtime closes connections in order only. */
const AFTER_RESET: End = "eof";

const LISTENERS: Readonly<
  Record<string, (options: LoadBalancerOptions) => Promise<Running<LoadBalancer>>>
> = { "tcp-l4": runTcp, "http-l4": runL4 };

interface Scene {
  /** Opens a connection with which the backend does what the script says. */
  open(): Promise<Peer>;
  /** The ends of those connections at the backend. */
  readonly bad: readonly Peer[];
}

/**
 * Answers as HTTP/1.1 does; a connection that begins with {@linkcode BAD} follows a script.
 *
 * @param bad Where the ends of those are put.
 */
function serveBeside(
  script: (peer: Peer) => void | Promise<void> = () => {},
  bad: Peer[] = [],
): Promise<Scripted> {
  return serveScript(async (peer) => {
    for (;;) {
      if (await peer.readThrough("\n") === BAD) {
        bad.push(peer);
        return await script(peer);
      }
      await peer.readThrough("\r\n\r\n");
      await peer.write(OK);
    }
  });
}

/** A test at each kind of listener. */
function fault(
  name: string,
  script: (peer: Peer) => void | Promise<void>,
  scene: (scene: Scene) => Promise<void>,
  timeouts: Timeouts = {},
): void {
  for (const [kind, run] of Object.entries(LISTENERS)) {
    Deno.test(`${kind}: ${name}`, async () => {
      const before = descriptorCount();
      {
        const bad: Peer[] = [];
        await using backend = await serveBeside(script, bad);
        await using balancer = await run({ backends: [backend.addr], timeouts });
        const { addr, lb } = balancer;
        const open = async () => {
          const count = bad.length;
          const client = await Peer.connect(addr);
          await client.write(BAD);
          await until(() => bad.length > count, "the backend's end");
          return client;
        };
        await besideCleanTraffic(
          addr,
          "/",
          "clean",
          () => within(60_000, "the scene", scene({ open, bad })),
        );
        await settled(lb);
        const [info] = lb.backends();
        assertEquals([info!.in_flight, info!.health.state], [0, "healthy"]);
      }
      await descriptorsBackTo(before);
    });
  }
}

/** Reads to the end; how it ended, and what came before. */
async function endOf(peer: Peer): Promise<[text: string, end: End]> {
  const { text, end } = await within(PATIENCE, "the end of a connection", peer.rest());
  return [text, end];
}

fault(
  "a backend that resets before it says anything ends its client, with a FIN",
  (peer) => peer.reset(),
  async ({ open }) => {
    for (let i = 0; i < 5; i++) {
      await using client = await open();
      assertEquals(await endOf(client), ["", AFTER_RESET]);
    }
  },
);

fault(
  "a backend that resets in the middle ends its client behind what came, with a FIN",
  async (peer) => {
    await peer.write("begin");
    await peer.read(1);
    peer.reset();
  },
  async ({ open }) => {
    await using client = await open();
    assertEquals(await client.readThrough("begin"), "begin");
    await client.write("x");
    // What the end of the connection delimits must not be taken for whole here.
    assertEquals(await endOf(client), ["", AFTER_RESET]);
  },
);

fault(
  "a backend that resets while much is on its way changes nothing of what arrives",
  async (peer) => {
    for (let i = 0; i < 32; i++) await peer.write(PIECE.fill(i));
    peer.reset();
  },
  async ({ open }) => {
    await using client = await open();
    const { bytes, end } = await within(PATIENCE, "the end", client.rest());
    assertEquals(end, AFTER_RESET);
    assertLess(bytes.length, 32 * PIECE.length + 1);
    assert(bytes.every((byte, i) => byte === (i / PIECE.length | 0)), "bytes have changed");
  },
);

fault("a backend that closes its half gets what its client goes on to send", async (peer) => {
  await peer.write("done");
  await peer.end();
  assertEquals((await peer.rest()).text, "and more");
}, async ({ open, bad }) => {
  await using client = await open();
  assertEquals(await endOf(client), ["done", "eof"]);
  await client.write("and ");
  await delay(50);
  await client.write("more");
  await client.end();
  await within(PATIENCE, "the backend's end", bad[0]!.closed);
});

fault("a client that closes its half gets what its backend goes on to send", async (peer) => {
  assertEquals((await peer.rest()).text, "asked");
  for (const piece of ["an", "sw", "er"]) {
    await delay(20);
    await peer.write(piece);
  }
}, async ({ open }) => {
  await using client = await open();
  await client.write("asked");
  await client.end();
  assertEquals(await endOf(client), ["answer", "eof"]);
});

fault(
  "a connection whose client has closed its half is cut when nothing moves any more",
  async (peer) => {
    await peer.rest();
    await peer.closed;
  },
  async ({ open, bad }) => {
    await using client = await open();
    const started = performance.now();
    await client.end();
    assertEquals(await endOf(client), ["", "eof"]);
    assertGreater(performance.now() - started, IDLE_MS * 0.9);
    await bad[0]!.close();
  },
  { halfClosed: IDLE_MS },
);

fault(
  "a connection whose backend has closed its half is cut when nothing moves any more",
  async (peer) => {
    await peer.end();
    await peer.rest();
  },
  async ({ open, bad }) => {
    const started = performance.now();
    await using client = await open();
    assertEquals(await endOf(client), ["", "eof"]);
    await within(PATIENCE, "the backend's end", bad[0]!.closed);
    assertGreater(performance.now() - started, IDLE_MS * 0.9);
  },
  { halfClosed: IDLE_MS },
);

fault("a client that pauses slows its backend down and loses nothing", async (peer) => {
  for (let i = 0; i < 400; i++) await peer.write(PIECE.fill(i & 255));
}, async ({ open, bad }) => {
  await using client = await open();
  // However long that takes, the backend comes to a stop.
  let sent = -1;
  while (bad[0]!.socket.bytesWritten !== sent) {
    sent = bad[0]!.socket.bytesWritten;
    await delay(200);
  }
  assertLess(sent, 400 * PIECE.length);
  const body = await within(60_000, "the body", client.read(400 * PIECE.length));
  assert(body.every((byte, i) => byte === ((i / PIECE.length | 0) & 255)), "bytes have changed");
});

fault(
  "a backend that is silent is cut off after the time for silence, not before",
  async (peer) => {
    await peer.rest();
  },
  async ({ open, bad }) => {
    await using client = await open();
    const started = performance.now();
    assertEquals(await endOf(client), ["", "eof"]);
    const took = performance.now() - started;
    assert(took > IDLE_MS * 0.9 && took < PATIENCE, `it took ${took} ms`);
    await within(PATIENCE, "the backend's end", bad[0]!.closed);
  },
  { tunnelIdle: IDLE_MS },
);

fault("a backend that reads nothing stops its own client only, and loses nothing", async (peer) => {
  await peer.closed;
}, async ({ open, bad }) => {
  await using client = await open();
  let taken = 0;
  let stopped = false;
  const sending = (async () => {
    for (let i = 0; i < 400; i++) {
      await client.write(PIECE.fill(i & 255));
      taken = i;
    }
  })();
  // However long that takes, the client comes to a stop.
  for (let last = -1; !stopped; last = taken) {
    await delay(200);
    stopped = taken === last && taken > 0;
  }
  assertLess(taken, 399);
  const body = await within(60_000, "the body", bad[0]!.read(400 * PIECE.length));
  await sending;
  assert(body.every((byte, i) => byte === ((i / PIECE.length | 0) & 255)), "bytes have changed");
  await bad[0]!.close();
});

fault("a client that reads nothing is cut off after the time for silence", async (peer) => {
  while (!peer.socket.destroyed) await peer.write(PIECE);
}, async ({ open, bad }) => {
  await using _client = await open();
  await within(PATIENCE, "the backend's end", bad[0]!.closed);
}, { tunnelIdle: IDLE_MS });

for (const way of ["resets", "closes"] as const) {
  for (
    const [when, script] of [
      ["before anything is said", async (peer: Peer) => void await peer.rest()],
      ["in the middle of an answer", async (peer: Peer) => {
        await peer.write("begin");
        await peer.rest();
      }],
      ["while it sends", async (peer: Peer) => void await peer.rest()],
    ] as const
  ) {
    fault(
      `a client that ${way} ${when} ends its backend's connection`,
      script,
      async ({ open, bad }) => {
        for (let i = 0; i < 5; i++) {
          const client = await open();
          if (when.includes("answer")) await client.readThrough("begin");
          if (when.includes("sends")) await client.write(PIECE);
          if (way === "resets") client.reset();
          await client.close();
          await within(PATIENCE, "the backend's end", bad[i]!.closed);
          assertEquals(bad[i]!.ended, way === "resets" ? AFTER_RESET : "eof");
        }
      },
    );
  }
}

fault("a client that goes away inside a fast answer lets its backend go", async (peer) => {
  while (!peer.socket.destroyed && peer.ended === undefined) await peer.write(PIECE);
}, async ({ open, bad }) => {
  const client = await open();
  await client.read(5 * PIECE.length);
  await client.close();
  await within(PATIENCE, "the backend's end", bad[0]!.closed);
});

for (const [kind, run] of Object.entries(LISTENERS)) {
  const isHttp = kind === "http-l4";

  Deno.test(`${kind}: a backend that refuses is passed over, and when all do clients are told or closed`, async () => {
    const before = descriptorCount();
    {
      await using alive = await serveBeside();
      const port = freePort();
      await using balancer = await run({ backends: [`127.0.0.1:${port}`, alive.addr] });
      await besideCleanTraffic(balancer.addr, "/", "clean", async () => {
        for (let i = 0; i < 10; i++) {
          await using client = await Peer.connect(balancer.addr);
          assertEquals((await client.get("/")).text, "clean");
        }
      });
      balancer.lb.removeBackend(alive.addr);
      await using client = await Peer.connect(balancer.addr);
      await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      if (isHttp) assertEquals((await client.answer()).status, 503);
      else assertEquals((await client.rest()).text, "");
      await settled(balancer.lb);
    }
    await descriptorsBackTo(before);
  });

  Deno.test(`${kind}: a backend that takes no connection in time is passed over`, async () => {
    const before = descriptorCount();
    {
      // A queue of one that nobody empties: when it is full the system drops what else comes.
      const full = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
      const { port } = full.addr;
      const filling = [await Peer.connect(port), await Peer.connect(port)];
      await using alive = await serveBeside();
      await using balancer = await run({
        backends: [`127.0.0.1:${port}`, alive.addr],
        timeouts: { connect: 1_000 },
      });
      await besideCleanTraffic(balancer.addr, "/", "clean", async () => {
        for (let i = 0; i < 3; i++) {
          await using client = await Peer.connect(balancer.addr);
          assertEquals((await client.get("/")).text, "clean");
        }
      });
      await settled(balancer.lb);
      full.close();
      for (const peer of filling) await peer.close();
    }
    await descriptorsBackTo(before);
  });

  Deno.test(`${kind}: a backend that is killed ends its own connections and no others`, async () => {
    const before = descriptorCount();
    {
      await using alive = await serveBeside();
      const mortal = await serveScript(async (peer) => {
        await peer.write("begin");
        await peer.rest();
      });
      await using balancer = await run({ backends: [mortal.addr] });
      const clients = await Promise.all(Array.from({ length: 10 }, async () => {
        const client = await Peer.connect(balancer.addr);
        await client.write("x");
        await client.readThrough("begin");
        return client;
      }));
      // Connections stay where they are; new ones go to the other.
      balancer.lb.addBackend(alive.addr);
      balancer.lb.removeBackend(mortal.addr);
      await besideCleanTraffic(balancer.addr, "/", "clean", async () => {
        for (const peer of mortal.peers) peer.reset();
        await mortal[Symbol.asyncDispose]();
        for (const client of clients) assertEquals(await endOf(client), ["", AFTER_RESET]);
        // It is given again, and nobody is there.
        balancer.lb.addBackend(mortal.addr);
        for (let i = 0; i < 10; i++) {
          await using client = await Peer.connect(balancer.addr);
          assertEquals((await client.get("/")).text, "clean");
        }
      });
      for (const client of clients) await client.close();
      await settled(balancer.lb);
    }
    await descriptorsBackTo(before);
  });
}

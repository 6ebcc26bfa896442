/**
 * Some of the backends are dead and others are not: whatever may be sent again is answered, on every kind of listener,
 * with the defaults.
 */
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import {
  GrpcL4,
  GrpcL7,
  HttpL4,
  HttpL7,
  type HttpL7Options,
  type LoadBalancer,
  RouteBuilder,
  TcpL4,
} from "../../mod.ts";
import { freePort } from "../../scripts/bench/process.ts";
import { serveGrpc } from "../support/h2_backend.ts";
import { H2Backend, H2Client } from "../support/h2_peer.ts";
import {
  Cut,
  Peer,
  run,
  runL4,
  runL7,
  serveName,
  serveScript,
  settled,
  until,
} from "../support/net.ts";

/** The most backends of a pool. */
const MOST = 5;
/** Requests at the same time at the first moment, when nobody knows who is dead. */
const AT_ONCE = 8;
/** Requests after one another behind that. */
const AFTERWARDS = 8;

/** Addresses where nobody listens. */
function deadAddresses(count: number): string[] {
  return Array.from({ length: count }, () => `127.0.0.1:${freePort()}`);
}

/** Asks a balancer, and says what came of it. */
type Ask = (index: number) => Promise<string>;

/** A kind of listener. */
interface Kind {
  readonly name: string;
  readonly make: (options: HttpL7Options) => LoadBalancer;
  readonly serve: () => AsyncDisposable & { readonly addr: string };
  /** Opens what clients need. */
  readonly open: (addr: Deno.Addr) => Promise<AsyncDisposable & { readonly ask: Ask }>;
}

/** Every request on a connection of its own, every second one with content that must not be sent twice. */
function openHttp(addr: Deno.Addr): Promise<AsyncDisposable & { readonly ask: Ask }> {
  const ask = async (index: number) => {
    await using peer = await Peer.connect(addr);
    const request = index % 2 === 0
      ? "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
      : "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody";
    try {
      return String((await peer.ask(request)).status);
    } catch (error) {
      if (error instanceof Cut) return "cut";
      throw error;
    }
  };
  return Promise.resolve({ ask, [Symbol.asyncDispose]: () => Promise.resolve() });
}

async function call(client: H2Client): Promise<string> {
  const exchange = await client.call("/s.S/M", { content: "ask" }).done;
  return exchange.value("grpc-status") ?? `reset ${JSON.stringify(exchange.reset)}`;
}

const KINDS: readonly Kind[] = [
  {
    name: "http-l7",
    make: (options) => new HttpL7(options),
    serve: () => serveName("alive"),
    open: openHttp,
  },
  {
    name: "http-l4",
    make: (options) => new HttpL4(options),
    serve: () => serveName("alive"),
    open: openHttp,
  },
  {
    name: "tcp-l4",
    make: (options) => new TcpL4(options),
    serve: () => serveName("alive"),
    open: openHttp,
  },
  {
    name: "grpc-l7",
    make: (options) => new GrpcL7(options),
    serve: () => serveGrpc(),
    open: async (addr) => {
      const client = await H2Client.connect(addr);
      return {
        ask: () => call(client),
        [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
      };
    },
  },
  {
    name: "grpc-l4",
    make: (options) => new GrpcL4(options),
    serve: () => serveGrpc(),
    open: (addr) =>
      Promise.resolve({
        // A connection has one backend for its life.
        ask: async () => {
          await using client = await H2Client.connect(addr);
          return await call(client);
        },
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
  },
];

for (const kind of KINDS) {
  for (const checks of [false, true]) {
    const name = `${kind.name}: however many of its backends are dead, one that is not is enough${
      checks ? ", with active checks too" : ""
    }`;
    Deno.test(name, async () => {
      await using stack = new AsyncDisposableStack();
      const alive = Array.from({ length: MOST }, () => stack.use(kind.serve()));
      const dead = deadAddresses(MOST);
      for (let count = 2; count <= MOST; count++) {
        for (let gone = 1; gone < count; gone++) {
          const backends = [
            ...dead.slice(0, gone),
            ...alive.slice(0, count - gone).map(({ addr }) => addr),
          ];
          // Wherever in the turn the first one that is alive stands.
          backends.push(...backends.splice(0, count % gone));
          const lb = kind.make({ backends, ...(checks ? { healthCheck: { check: "tcp" } } : {}) });
          await using balancer = await run(lb);
          await using clients = await kind.open(balancer.addr);
          const expected = kind.name.startsWith("grpc") ? "0" : "200";
          const what = `${gone} of ${count} are dead`;
          const first = await Promise.all(
            Array.from({ length: AT_ONCE }, (_, index) => clients.ask(index)),
          );
          assertEquals(first, first.map(() => expected), `${what}, at the first moment`);
          for (let index = 0; index < AFTERWARDS; index++) {
            assertEquals(await clients.ask(index), expected, what);
          }
          const { retryBudgetExhausted, refusals } = lb.metrics.listener(lb.name);
          assertEquals([retryBudgetExhausted, [...refusals]], [0, []], what);
        }
      }
    });
  }
}

for (const kind of KINDS) {
  Deno.test(`${kind.name}: with all of its backends dead, tries stay within the budget`, async () => {
    const requests = 200;
    const lb = kind.make({
      backends: deadAddresses(3),
      retries: { budget: { share: 0.1, floor: 0 } },
    });
    await using balancer = await run(lb);
    await using clients = await kind.open(balancer.addr);
    for (let sent = 0; sent < requests; sent += AT_ONCE) {
      const asking = Array.from({ length: AT_ONCE }, (_, index) => clients.ask(index));
      for (const said of await Promise.all(asking)) assert(!/^(0|200)$/.test(said), said);
    }
    const metrics = lb.metrics.listener(lb.name);
    let attempts = 0;
    for (const [, stats] of metrics.upstreamSeries()) attempts += stats.attempts;
    assert(attempts >= requests && attempts < 1.2 * requests, `${attempts} attempts`);
    assert(metrics.retryBudgetExhausted > 0);
  });
}

for (const kind of KINDS.filter(({ name }) => name.startsWith("grpc"))) {
  Deno.test(`${kind.name}: a backend that takes connections and resets them costs no call`, async () => {
    await using mad = await serveScript((peer) => peer.reset());
    await using alive = kind.serve();
    const lb = kind.make({ backends: [mad.addr, alive.addr] });
    await using balancer = await run(lb);
    await using clients = await kind.open(balancer.addr);
    for (let index = 0; index < 20; index++) assertEquals(await clients.ask(index), "0");
    assertEquals(lb.metrics.listener(lb.name).retryBudgetExhausted, 0);
    // Once, and whenever a trial has found it.
    assertLess(mad.peers.length, 10);
  });
}

Deno.test("a dead backend that is the only target of a route costs the others nothing", async () => {
  await using a = serveName("alive");
  await using b = serveName("alive");
  const [c] = deadAddresses(1);
  await using balancer = await runL7({
    backends: [a.addr, b.addr, c!],
    routes: [new RouteBuilder().path("/only").target(c!).build()],
    fallback: true,
  });
  await using peer = await Peer.connect(balancer.addr);
  for (let index = 0; index < 30; index++) {
    assertEquals((await peer.get("/")).status, 200);
    assertEquals((await peer.get("/only")).status, 503);
  }
  assertEquals(balancer.lb.metrics.listener("http-l7").retryBudgetExhausted, 0);
});

Deno.test("when none can be reached the answer is 503 with Retry-After, at layer 4 too", async () => {
  for (const count of [1, 3]) {
    for (const start of [runL7, runL4]) {
      await using balancer = await start({ backends: deadAddresses(count) });
      for (let index = 0; index < 4; index++) {
        await using peer = await Peer.connect(balancer.addr);
        const { status, text, head } = await peer.get("/");
        assertEquals([status, JSON.parse(text).code], [503, "no_backend"]);
        assertMatch(head, /^Retry-After: [1-9]/m);
      }
    }
  }
});

Deno.test("a backend that is gone is unreachable, and found again by connections that carry nothing", async () => {
  const [addr] = deadAddresses(1);
  await using other = serveName("alive");
  await using balancer = await runL7({ backends: [addr!, other.addr] });
  {
    await using peer = await Peer.connect(balancer.addr);
    for (let index = 0; index < 3; index++) assertEquals((await peer.get("/")).text, "alive");
  }
  const health = () => balancer.lb.backends()[0]!.health;
  assertEquals([health().state, health().ejections], ["unreachable", 0]);
  assertMatch(health().reason!, /^connect_refused: cannot connect to http:\/\/127\.0\.0\.1:/);
  const port = Number(addr!.split(":")[1]);
  let requests = 0;
  await using back = await serveScript(async (peer) => {
    if (!await peer.fill()) return;
    await peer.head();
    requests++;
    await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nback");
  }, { host: "127.0.0.1", port });
  await until(() => health().state === "healthy", () => JSON.stringify(health()));
  assertEquals([requests, back.peers.length], [0, 1]);
  await using peer = await Peer.connect(balancer.addr);
  const seen = [(await peer.get("/")).text, (await peer.get("/")).text];
  assertEquals(seen.sort(), ["alive", "back"]);
  await settled(balancer.lb);
});

Deno.test("clients with short deadlines eject nobody", async () => {
  await using backend = H2Backend.listen({ onCall: () => {} });
  await using other = H2Backend.listen({ onCall: () => {} });
  await using balancer = await run(new GrpcL7({ backends: [backend.addr, other.addr] }));
  await using client = await H2Client.connect(balancer.addr);
  const calls = Array.from(
    { length: 24 },
    () => client.call("/s.S/M", { content: "x", fields: [["grpc-timeout", "10m"]] }).done,
  );
  for (const exchange of await Promise.all(calls)) {
    assertEquals(exchange.value("grpc-status"), "4");
  }
  for (const { health } of balancer.lb.backends()) {
    assertEquals([health.state, health.ejections], ["healthy", 0]);
  }
});

/** What is counted when lb ends a connection of a client for a time or a limit, by what it ran into. */
import { assertEquals } from "@std/assert";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import type { H2Options } from "../../lib/http/h2/options.ts";
import { SniffedConnection } from "../../lib/mux/sniffed_connection.ts";
import { type ListenerMetrics, Metrics } from "../../lib/observe/metrics.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";
import { GrpcL4Scene } from "../support/grpc_l4.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import type { H2Client } from "../support/h2_peer.ts";
import { testL4 } from "../support/l4.ts";
import { testL7 } from "../support/l7.ts";

const GET = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const UPGRADE = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";

function closes({ closes, refusals }: ListenerMetrics): Record<string, number> {
  assertEquals([...refusals], [], "what is counted here is no refusal");
  return Object.fromEntries(closes);
}

testL7("a client that begins no request, or no other one, is counted when it is closed", {
  timeouts: { requestHead: 1_000, idle: 5_000 },
}, async (lb) => {
  lb.at().serve(() => OK);
  const silent = lb.connect();
  await lb.time.expire(1_000);
  assertEquals([silent.finished, closes(lb.listener)], [true, { first_byte_timeout: 1 }]);
  const client = lb.connect();
  await client.ask(GET);
  await lb.time.expire(5_000);
  assertEquals(client.finished, true);
  const left = lb.connect();
  await left.ask(GET);
  left.close();
  await settle();
  const draining = lb.connect();
  await draining.ask(GET);
  draining.server.drain(500);
  await lb.time.expire(500);
  assertEquals(closes(lb.listener), {
    first_byte_timeout: 1,
    idle_timeout: 1,
    drain_idle_timeout: 1,
  });
});

testL7("a connection that ends because of its age is counted, one whose client ends it is not", {
  timeouts: { maxAge: 10_000 },
}, async (lb) => {
  lb.at().serve(() => OK);
  const young = lb.connect();
  await young.ask(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
  assertEquals(closes(lb.listener), {});
  const old = lb.connect();
  await old.ask(GET);
  await lb.time.advance(12_000);
  assertEquals((await old.ask(GET)).get("connection"), "close");
  assertEquals(await old.ended(), true);
  assertEquals(closes(lb.listener), { max_connection_age: 1 });
});

testL7("a tunnel that is silent is counted as whole or as half", {
  timeouts: { tunnelIdle: 5_000, halfClosed: 2_000 },
}, async (lb) => {
  for (const half of [false, true]) {
    const client = lb.connect();
    void client.send(UPGRADE);
    const backend = await lb.accept();
    await backend.request();
    void backend.send(SWITCH);
    await client.response();
    if (half) await client.end();
    await lb.time.expire(half ? 2_000 : 5_000);
    assertEquals(client.finished, true);
  }
  assertEquals(closes(lb.listener), { tunnel_idle_timeout: 1, half_closed_timeout: 1 });
});

testL7("what is cut says in the log and in the metrics that it was the shutdown", {
  log: true,
}, async (lb) => {
  const waiting = lb.connect();
  void waiting.send(GET);
  const first = await lb.accept();
  await first.request();
  const reading = lb.connect();
  void reading.send(GET);
  const second = await lb.accept();
  await second.request();
  void second.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
  await reading.read(19);
  const tunnel = lb.connect();
  void tunnel.send(UPGRADE);
  const third = await lb.accept();
  await third.request();
  void third.send(SWITCH);
  await tunnel.response();
  await settle();
  for (const client of [waiting, reading, tunnel]) client.server.abort();
  await settle();
  const records = await lb.records();
  assertEquals(records.map(({ error }) => error), ["shutdown", "shutdown", "shutdown"]);
  assertEquals(lb.listener.refusals.get("shutdown"), 2);
});

testL4("a relay that is silent is counted as whole or as half", {}, async (lb) => {
  const whole = lb.connect();
  await lb.accept();
  await lb.time.expire(5_000);
  assertEquals(whole.finished, true);
  const half = lb.connect();
  await lb.accept();
  await half.end();
  await lb.time.expire(2_000);
  assertEquals(half.finished, true);
  const served = lb.connect();
  const backend = await lb.accept();
  await Promise.all([served.end(), backend.end()]);
  await settle();
  assertEquals(closes(lb.metrics), { tunnel_idle_timeout: 1, half_closed_timeout: 1 });
});

testL4("a client that says nothing where it must is counted, draining or not", {
  management: () => {
    throw new Error("nobody manages here");
  },
}, async (lb) => {
  const silent = lb.connect();
  await lb.time.expire(1_000);
  assertEquals([silent.finished, closes(lb.metrics)], [true, { first_byte_timeout: 1 }]);
  const late = lb.connect();
  await settle();
  late.server.drain(500);
  await lb.time.expire(500);
  assertEquals(closes(lb.metrics), { first_byte_timeout: 1, drain_idle_timeout: 1 });
});

testL4("one that could not be served and lingers was refused, and is counted as that", {
  management: () => {
    throw new Error("nobody manages here");
  },
}, async (lb) => {
  lb.at().refuse();
  const client = lb.connect();
  void client.send(GET);
  await client.response();
  await lb.time.expire(1_000);
  assertEquals([client.finished, [...lb.metrics.closes]], [true, []]);
  assertEquals([...lb.metrics.refusals.values()], [1]);
});

testL4("a relay that is cut says in the log that it was the shutdown", {}, async (lb) => {
  const client = lb.connect();
  await lb.accept();
  await settle();
  client.server.abort();
  assertEquals((await lb.records()).map(({ error }) => error), ["shutdown"]);
});

Deno.test("a client that does not say which protocol it speaks is counted, draining or not", async () => {
  const time = new FakeClock();
  const metrics = new Metrics().listener("test");
  const unused = () => {
    throw new Error("nothing was said");
  };
  const open = () => {
    const [, theirs] = makeMemoryPair();
    const connection = new SniffedConnection(theirs, {
      clock: time.clock,
      timeout: 1_000,
      metrics,
      h2: unused,
      http1: unused,
    });
    return { connection, served: connection.serve() };
  };
  const silent = open();
  await time.expire(1_000);
  await silent.served;
  assertEquals(closes(metrics), { first_byte_timeout: 1 });
  const late = open();
  late.connection.drain(500);
  await time.expire(500);
  await late.served;
  assertEquals(closes(metrics), { first_byte_timeout: 1, drain_idle_timeout: 1 });
});

/** The balancers for gRPC, as far as these tests need them. */
interface Scene extends AsyncDisposable {
  readonly time: FakeClock;
  readonly listener: ListenerMetrics;
  readonly client: H2Client;
  readonly server: { drain(idle?: number): void; abort(): void };
  call(path: string): void;
  arrived(): Promise<void>;
}

const KINDS: readonly [name: string, open: (h2: Partial<H2Options>) => Promise<Scene>][] = [
  ["grpc-l7", async (h2) => {
    const scene = await GrpcL7Scene.open({ context: { h2 }, onCall: () => {} });
    return asScene(scene, () => scene.backend().calls.length);
  }],
  ["grpc-l4", async (h2) => {
    const scene = await GrpcL4Scene.open({ calls: { h2 }, onCall: () => {} });
    return asScene(scene, () => scene.backend().calls.length);
  }],
];

function asScene(scene: GrpcL7Scene | GrpcL4Scene, arrived: () => number): Scene {
  return {
    time: scene.time,
    listener: scene.listener,
    client: scene.client,
    server: scene.server,
    call: (path) => void scene.client.call(path, { open: true }),
    arrived: async () => {
      for (let i = 0; i < 100 && arrived() === 0; i++) await settle();
      assertEquals(arrived(), 1);
    },
    [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose](),
  };
}

/** The client has heard of the end, and the balancer is done with it. */
async function ended({ client, time }: Scene): Promise<void> {
  await time.expire(1_000);
  await client.connection.finished;
  await settle();
}

for (const [name, open] of KINDS) {
  Deno.test(`${name}: a client without calls is counted when it is closed`, async () => {
    await using scene = await open({ idleTimeout: 5_000 });
    await scene.time.expire(5_000);
    await ended(scene);
    assertEquals(closes(scene.listener), { idle_timeout: 1 });
  });

  Deno.test(`${name}: a client that ends by itself, or is asked to because we end, is not counted`, async () => {
    for (const drains of [false, true]) {
      await using scene = await open({});
      if (drains) scene.server.drain();
      else scene.client.connection.drain();
      await ended(scene);
      assertEquals(closes(scene.listener), {});
    }
  });

  Deno.test(`${name}: a connection that is old enough is counted, and so is one whose calls are cut`, async () => {
    const h2 = { maxAge: 10_000, maxAgeGrace: 5_000 };
    for (const calls of [false, true]) {
      await using scene = await open(h2);
      if (calls) {
        scene.call("/s.S/Long");
        await scene.arrived();
      }
      await scene.time.expire(11_000);
      await scene.time.expire(1_000);
      if (calls) await scene.time.expire(5_000);
      await ended(scene);
      const reason = calls ? "max_connection_age_grace" : "max_connection_age";
      assertEquals(closes(scene.listener), { [reason]: 1 });
    }
  });

  Deno.test(`${name}: an age that is reached while the connection ends anyway is not what ended it`, async () => {
    await using scene = await open({ maxAge: 10_000 });
    scene.call("/s.S/Long");
    await scene.arrived();
    scene.server.drain();
    await scene.time.expire(11_000);
    scene.client.connection.abort();
    await ended(scene);
    assertEquals(closes(scene.listener), {});
  });

  Deno.test(`${name}: one stream more than there may be is refused and counted`, async () => {
    await using scene = await open({ maxConcurrentStreams: 2 });
    // The client knows the limit, so its streams are opened before it can have heard of it.
    for (let i = 0; i < 2; i++) scene.call("/s.S/Long");
    assertEquals(scene.client.connection.available, false);
    scene.call("/s.S/Excess");
    for (let i = 0; i < 20; i++) await settle();
    assertEquals([...scene.listener.refusals], [["too_many_streams", 1]]);
  });

  Deno.test(`${name}: a client may have 1,000 calls at a time`, async () => {
    await using scene = await open({});
    let calls = 0;
    for (; scene.client.connection.available && calls < 2_000; calls++) scene.call("/s.S/Long");
    assertEquals(calls, 1_000);
    for (let i = 0; i < 20; i++) await settle();
    assertEquals([...scene.listener.refusals], []);
  });
}

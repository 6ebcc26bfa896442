import { assert, assertEquals } from "@std/assert";
import type { BackendInfo } from "../../lib/control/model.ts";
import { BalancerProcess } from "../support/balancer_process.ts";
import { exhaust } from "../support/exhaustion.ts";
import {
  COUNTS_DESCRIPTORS,
  delay,
  type HttpBackend,
  Peer,
  serveHttp,
  serveName,
  within,
} from "../support/net.ts";

const LIMIT = 64;
/**
 * What takes the descriptors. At layer 7 it is requests that go on, since unused connections would give way. At layer 4
 * none does, and each that had said something would have a connection to the backend too.
 */
const TAKEN = {
  l7: { limit: LIMIT, says: "GET / HTTP/1.1\r\n" },
  l4: { limit: LIMIT },
};
/** More than the limit, so that it is the system that refuses and not the balancer. */
const limits = { maxConnections: 1000 };
/** Idle clients must stay as long as the test needs them. */
const timeouts = { requestHead: 60_000, idle: 60_000, upstreamIdle: 60_000, shutdown: 1000 };

/** Balancers that may open few files, in front of one backend. */
function start(backend: HttpBackend): Promise<BalancerProcess> {
  const options = { backends: [backend.addr], limits, timeouts };
  return BalancerProcess.start({ l7: options, l4: options }, LIMIT);
}

/** A busy loop would take all of the time; the machine is not ours alone, so only the share counts. */
async function assertCalm(balancers: BalancerProcess): Promise<void> {
  const before = balancers.cpuSeconds;
  await delay(1000);
  const used = balancers.cpuSeconds - before;
  assert(used < 0.25, `it used ${used} s of CPU time in one second`);
}

async function assertServes(addr: Deno.Addr): Promise<void> {
  const each = async () => {
    await using client = await Peer.connect(addr);
    assertEquals((await client.get("/")).text, "served");
  };
  await within(30_000, "requests afterwards", Promise.all(Array.from({ length: 5 }, each)));
}

for (const layer of ["l7", "l4"] as const) {
  Deno.test({
    name: `a balancer at ${layer} without descriptors to accept with serves again once it has some`,
    ignore: !COUNTS_DESCRIPTORS,
    async fn() {
      const ports: number[] = [];
      await using backend = serveHttp((_, { remoteAddr }) => {
        ports.push((remoteAddr as Deno.NetAddr).port);
        return new Response("served");
      });
      await using balancers = await start(backend);
      const addr = balancers[layer];
      await using before = await Peer.connect(addr);
      assertEquals((await before.get("/")).text, "served");
      for (let round = 0; round < 2; round++) {
        const served = ports.length;
        // It has begun a request, so that it is not idle however long the rest takes.
        await before.write("GET / HTTP/1.1\r\n");
        const taken = await exhaust(balancers, addr, TAKEN[layer]);
        await assertCalm(balancers);
        const rest = "Host: lb.test\r\n\r\n";
        await before.write(rest + `GET / HTTP/1.1\r\n${rest}`.repeat(2));
        for (let i = 0; i < 3; i++) {
          assertEquals((await before.answer()).text, "served", "who is in goes on being served");
        }
        const known = ports.slice(0, served);
        const fresh = ports.slice(served).filter((port) => !known.includes(port));
        assertEquals(fresh, [], "over connections that were there");
        await using waiting = await Peer.connect(addr);
        const answer = waiting.get("/");
        await taken.free(1);
        assertEquals((await within(30_000, "who waited", answer)).text, "served");
        for (const addr of [balancers.l7, balancers.l4]) await assertServes(addr);
      }
      await before.close();
      const { output } = await balancers.end();
      const complaints = output.match(/cannot accept/g)?.length ?? 0;
      assert(complaints >= 2 && complaints <= 10, `${complaints} complaints: ${output}`);
    },
  });

  Deno.test({
    name: `a balancer at ${layer} without descriptors to connect with says 503 until it has some`,
    ignore: !COUNTS_DESCRIPTORS,
    async fn() {
      await using backend = serveName("served");
      await using balancers = await start(backend);
      const addr = balancers[layer];
      await using early = await Peer.connect(addr);
      await delay(50);
      const taken = await exhaust(balancers, addr, TAKEN[layer]);
      const refused = await within(30_000, "the answer", early.get("/"));
      assertEquals([refused.status, JSON.parse(refused.text).code], [503, "local_exhausted"]);
      assertEquals(refused.headers.get("retry-after"), "1");
      await assertCalm(balancers);
      await taken.free();
      for (const addr of [balancers.l7, balancers.l4]) await assertServes(addr);
      if (layer === "l7") assertEquals((await early.get("/")).text, "served");
    },
  });
}

for (const name of ["127.0.0.1", "localhost"]) {
  Deno.test({
    name: `backends at ${name} are well although the balancer has no descriptor for them`,
    ignore: !COUNTS_DESCRIPTORS,
    async fn() {
      await using first = serveName("served");
      await using second = serveName("served");
      await using third = serveName("served");
      const backends = [first, second, third].map(({ addr }) => addr.replace("127.0.0.1", name));
      await using balancers = await BalancerProcess.start({
        l7: {
          backends,
          limits,
          timeouts,
          healthCheck: { check: "tcp", interval: 50, timeout: 2000, fall: 2 },
        },
      }, LIMIT);
      const addr = balancers.l7;
      await using admin = await Peer.connect(balancers.addresses.admin);
      const states = async () => {
        const ask = "GET /lb/backends HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        const { text } = await within(30_000, "the list", admin.ask(ask));
        const { backends }: { backends: BackendInfo[] } = JSON.parse(text);
        return backends.map(({ health }) => health.state);
      };
      const well = ["healthy", "healthy", "healthy"];
      assertEquals(await states(), well);
      await using client = await Peer.connect(addr);
      // Not idle, so that it does not give way.
      await client.write("GET / HTTP/1.1\r\n");
      const taken = await exhaust(balancers, addr, TAKEN.l7);
      // More than it takes to eject, and several checks of each.
      for (let i = 0; i < 12; i++) {
        const { status, text } = await within(
          30_000,
          "the answer",
          i === 0 ? client.ask("Host: lb.test\r\n\r\n") : client.get("/"),
        );
        if (status !== 200) assertEquals([status, JSON.parse(text).code], [503, "local_exhausted"]);
        assertEquals(await states(), well);
      }
      await taken.free();
      await assertServes(addr);
      assertEquals(await states(), well);
      const { output } = await balancers.end();
      assert(!/ejected|fails its health checks/.test(output), output);
    },
  });
}

import { assert, assertEquals, assertLess } from "@std/assert";
import { BalancerProcess } from "../support/balancer_process.ts";
import {
  COUNTS_DESCRIPTORS,
  delay,
  type HttpBackend,
  Peer,
  serveName,
  until,
  within,
} from "../support/net.ts";

const LIMIT = 64;
/** More than the limit, so that it is the system that refuses and not the balancer. */
const limits = { maxConnections: 1000 };
/** Idle clients must stay as long as the test needs them. */
const timeouts = { requestHead: 60_000, idle: 60_000, upstreamIdle: 60_000, shutdown: 1000 };

/** Balancers that may open few files, in front of one backend. */
function start(backend: HttpBackend): Promise<BalancerProcess> {
  const options = { backends: [backend.addr], limits, timeouts };
  return BalancerProcess.start({ l7: options, l4: options }, LIMIT);
}

/** Opens connections until the process has no descriptor left. */
async function exhaust(balancers: BalancerProcess, addr: Deno.Addr): Promise<Peer[]> {
  const idle: Peer[] = [];
  while (balancers.descriptors < LIMIT) {
    assertLess(idle.length, 2 * LIMIT);
    idle.push(await Peer.connect(addr));
    await delay(5);
  }
  // These wait in the queue of the system.
  for (let i = 0; i < 10; i++) idle.push(await Peer.connect(addr));
  return idle;
}

async function closeAll(peers: readonly Peer[]): Promise<void> {
  await Promise.all(peers.map((peer) => peer.close()));
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
  await within(5000, "requests afterwards", Promise.all(Array.from({ length: 5 }, each)));
}

for (const layer of ["l7", "l4"] as const) {
  Deno.test({
    name: `a balancer at ${layer} without descriptors to accept with serves again once it has some`,
    ignore: !COUNTS_DESCRIPTORS,
    async fn() {
      await using backend = serveName("served");
      await using balancers = await start(backend);
      const addr = balancers[layer];
      await using before = await Peer.connect(addr);
      assertEquals((await before.get("/")).text, "served");
      for (let round = 0; round < 2; round++) {
        const idle = await exhaust(balancers, addr);
        await assertCalm(balancers);
        for (let i = 0; i < 3; i++) {
          assertEquals((await before.get("/")).text, "served", "who is in goes on being served");
        }
        await using waiting = await Peer.connect(addr);
        const answer = waiting.get("/");
        await closeAll(idle);
        assertEquals((await within(5000, "who waited", answer)).text, "served");
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
      const idle = await exhaust(balancers, addr);
      const refused = await within(5000, "the answer", early.get("/"));
      assertEquals([refused.status, JSON.parse(refused.text).code], [503, "no_backend"]);
      await assertCalm(balancers);
      await closeAll(idle);
      await until(() => balancers.descriptors < LIMIT - 10, "descriptors are kept");
      for (const addr of [balancers.l7, balancers.l4]) await assertServes(addr);
      if (layer === "l7") assertEquals((await early.get("/")).text, "served");
    },
  });
}

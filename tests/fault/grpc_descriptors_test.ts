/** gRPC balancers that run out of descriptors. */
import { assert, assertEquals, assertLess } from "@std/assert";
import { BalancerProcess } from "../support/balancer_process.ts";
import { H2Backend, H2Client } from "../support/h2_peer.ts";
import { COUNTS_DESCRIPTORS, delay, Peer, until, within } from "../support/net.ts";

const LIMIT = 64;
/** More than the limit, so that it is the system that refuses and not the balancer. */
const limits = { maxConnections: 1000 };
/** Idle clients must stay as long as the test needs them. */
const timeouts = { requestHead: 60_000, idle: 60_000, upstreamIdle: 60_000, shutdown: 1000 };

/** Opens connections until the process has no descriptor left, and some more, which wait in the system's queue. */
async function exhaust(balancers: BalancerProcess, addr: Deno.Addr): Promise<Peer[]> {
  const idle: Peer[] = [];
  while (balancers.descriptors < LIMIT) {
    assertLess(idle.length, 2 * LIMIT);
    idle.push(await Peer.connect(addr));
    await delay(5);
  }
  for (let i = 0; i < 10; i++) idle.push(await Peer.connect(addr));
  return idle;
}

async function statusOf(client: H2Client): Promise<string | undefined> {
  const call = await within(5_000, "a call", client.call("/s.S/M", { content: "ask" }).done);
  return call.value("grpc-status");
}

for (const name of ["grpcL7", "grpcL4"] as const) {
  Deno.test({
    name: `${name} without descriptors serves whom it has, and all others once it has some`,
    ignore: !COUNTS_DESCRIPTORS,
    async fn() {
      await using backend = H2Backend.listen();
      await using balancers = await BalancerProcess.start(
        { [name]: { backends: [backend.addr], limits, timeouts } },
        LIMIT,
      );
      const addr = balancers.addresses[name];
      await using before = await H2Client.connect(addr);
      assertEquals(await statusOf(before), "0");
      const idle = await exhaust(balancers, addr);
      for (let i = 0; i < 3; i++) assertEquals(await statusOf(before), "0");
      const waiting = H2Client.connect(addr);
      await Promise.all(idle.map((peer) => peer.close()));
      await using late = await within(5_000, "who waited", waiting);
      assertEquals(await statusOf(late), "0");
      const { output } = await balancers.end();
      assert(/cannot accept/.test(output), output);
    },
  });

  Deno.test({
    name: `${name} without descriptors to connect with says UNAVAILABLE until it has some`,
    ignore: !COUNTS_DESCRIPTORS,
    async fn() {
      await using backend = H2Backend.listen();
      await using balancers = await BalancerProcess.start(
        { [name]: { backends: [backend.addr], limits, timeouts, outlierDetection: false } },
        LIMIT,
      );
      const addr = balancers.addresses[name];
      await using early = await H2Client.connect(addr);
      const idle = await exhaust(balancers, addr);
      assertEquals(await statusOf(early), "14");
      await Promise.all(idle.map((peer) => peer.close()));
      await until(() => balancers.descriptors < LIMIT - 10, "descriptors are kept");
      assertEquals(await statusOf(early), "0");
    },
  });
}

/** gRPC balancers that run out of descriptors. */
import { assert, assertEquals } from "@std/assert";
import { ConnDuplex } from "../../lib/common/duplex.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { BalancerProcess } from "../support/balancer_process.ts";
import { exhaust } from "../support/exhaustion.ts";
import { H2Backend, H2Client } from "../support/h2_peer.ts";
import { COUNTS_DESCRIPTORS, within } from "../support/net.ts";

const LIMIT = 64;
/** More than the limit, so that it is the system that refuses and not the balancer. */
const limits = { maxConnections: 1000 };
/** Idle clients must stay as long as the test needs them. */
const timeouts = { requestHead: 60_000, idle: 60_000, upstreamIdle: 60_000, shutdown: 1000 };

/** What takes the descriptors: connections that have begun, since unused ones would give way after a second. */
const TAKEN = { limit: LIMIT, says: new TextDecoder().decode(CLIENT_PREFACE) };

/** A connection that has begun by saying the preface, which whoever uses it says no more. */
class BegunDuplex extends ConnDuplex {
  #said = CLIENT_PREFACE.length;

  static async connect({ hostname, port }: Deno.NetAddr): Promise<BegunDuplex> {
    const conn = await Deno.connect({ hostname, port });
    assertEquals(await conn.write(CLIENT_PREFACE), CLIENT_PREFACE.length);
    return new BegunDuplex(conn);
  }

  override async write(bytes: Uint8Array): Promise<number> {
    const said = Math.min(this.#said, bytes.length);
    this.#said -= said;
    return said + (said < bytes.length ? await super.write(bytes.subarray(said)) : 0);
  }
}

async function statusOf(client: H2Client): Promise<string | undefined> {
  const call = await within(30_000, "a call", client.call("/s.S/M", { content: "ask" }).done);
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
      // As an idle one it would give way after a second.
      const long = before.call("/s.S/Long", { open: true });
      const taken = await exhaust(balancers, addr, TAKEN);
      for (let i = 0; i < 3; i++) assertEquals(await statusOf(before), "0");
      assertEquals(backend.accepted, 1, "its connection to the backend was not given away");
      const waiting = H2Client.connect(addr);
      before.send(long, "end", true);
      await within(30_000, "the long call", long.done);
      assertEquals(long.value("grpc-status"), "0");
      await taken.free(1);
      await using late = await within(30_000, "who waited", waiting);
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
      const begun = await BegunDuplex.connect(addr as Deno.NetAddr);
      const taken = await exhaust(balancers, addr, TAKEN);
      // Only now it goes on: an idle one would have given way.
      await using early = new H2Client(begun);
      assertEquals(await statusOf(early), "14");
      await taken.free();
      assertEquals(await statusOf(early), "0");
    },
  });
}

import { assert, assertEquals } from "@std/assert";
import { ConnDuplex } from "../../lib/common/duplex.ts";
import { GrpcL7 } from "../../mod.ts";
import { GoawayStorm } from "../support/goaway_storm.ts";
import { H2Client } from "../support/h2_peer.ts";
import { ScriptedH2Connection } from "../support/h2_scripted_backend.ts";
import { until } from "../support/net.ts";
import { Random } from "../support/prng.ts";

const SEED = 20261201;
const GOAWAYS = 400;

Deno.test("hundreds of GOAWAYs over sockets: no call is lost, and none is answered twice", async () => {
  const listeners = [1, 2, 3].map(() => Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  const connections: ScriptedH2Connection[] = [];
  const lb = new GrpcL7({
    backends: listeners.map(({ addr }) => `127.0.0.1:${(addr as Deno.NetAddr).port}`),
  });
  const { addr } = await lb.start("127.0.0.1:0");
  const storm = new GoawayStorm({
    random: new Random(SEED),
    goaways: GOAWAYS,
    openClient: () => H2Client.connect(addr),
  });
  const accepting = listeners.map(async (listener) => {
    try {
      for await (const conn of listener) {
        const connection = new ScriptedH2Connection(new ConnDuplex(conn), 100);
        connections.push(connection);
        storm.onConnection(connection);
      }
    } catch {
      // The listener was closed.
    }
  });
  try {
    const result = await storm.run();
    const { calls, ok, unavailable, unseen, cut } = result;
    assertEquals(ok + unavailable + cut, calls);
    assert(unseen < 0.05 * calls, JSON.stringify(result));
    assert(ok > 0.7 * calls, JSON.stringify(result));
    await until(
      () => lb.management.listBackends().every((backend) => backend.in_flight === 0),
      "no call is under way any more",
    );
  } finally {
    for (const listener of listeners) listener.close();
    await Promise.all(accepting);
    await lb.close();
    for (const connection of connections) connection.close();
    await until(() => connections.every(({ ended }) => ended), "all connections have ended");
  }
});

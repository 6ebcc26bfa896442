import { assert, assertEquals } from "@std/assert";
import { GRPC_RETRY_ON, Recovery } from "../../lib/backend/recovery.ts";
import { Registry } from "../../lib/backend/registry.ts";
import { formatAddress } from "../../lib/common/address.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { GrpcConnection } from "../../lib/grpc/l7/connection.ts";
import type { GrpcContext } from "../../lib/grpc/l7/context.ts";
import { Planner } from "../../lib/http/l7/plan.ts";
import { Metrics } from "../../lib/observe/metrics.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";
import { GoawayStorm } from "../support/goaway_storm.ts";
import { H2Client } from "../support/h2_peer.ts";
import { ScriptedH2Backend } from "../support/h2_scripted_backend.ts";
import { Random } from "../support/prng.ts";

const SEED = 20261130;
const GOAWAYS = 3500;

Deno.test("thousands of GOAWAYs from either side: no call is lost, and none is answered twice", async () => {
  const time = new FakeClock();
  const { clock } = time;
  const backends = new Map(["a:80", "b:80", "c:80"].map((addr) => [addr, new ScriptedH2Backend()]));
  const registry = new Registry({
    strategy: "round-robin",
    scheme: "grpc",
    fallback: false,
    connections: {
      maxConnections: 1000,
      maxWaiting: 1000,
      waitTimeout: 2_000,
      idleTimeout: 30_000,
      connectTimeout: 1_000,
    },
    clock,
    connect: (address) => backends.get(formatAddress(address).replace(/^\w+:\/\//, ""))!.connect(),
  });
  for (const addr of backends.keys()) registry.addBackend({ addr });
  // Many streams are too late more than once, and no time passes in which the budget grows or a try could wait.
  const recovery = new Recovery(
    { clock, waits: clock, on: GRPC_RETRY_ON, random: () => 0 },
    { retries: { budget: { share: 10 } } },
  );
  const context: GrpcContext = {
    services: undefined,
    planner: new Planner(registry, recovery.rules),
    recovery,
    clock,
    h2: {},
    forwarded: "off",
    isTrusted: () => false,
    maxAttempts: 3,
    metrics: new Metrics().listener("test"),
    accessLog: undefined,
  };
  const served: Promise<void>[] = [];
  const storm = new GoawayStorm({
    random: new Random(SEED),
    goaways: GOAWAYS,
    openClient: async () => {
      const [ours, theirs] = makeMemoryPair();
      served.push(new GrpcConnection(theirs, context).serve());
      const client = new H2Client(ours, { clock });
      await client.ready;
      return client;
    },
  });
  for (const backend of backends.values()) backend.onConnection = storm.onConnection;
  const result = await storm.run();
  await Promise.all(served);
  assertEquals([...registry.backends].map(({ inFlight }) => inFlight), [0, 0, 0]);
  // What is left are connections without streams, and nobody watches anything else.
  for (const { h2 } of registry.backends) assertEquals(h2.active, 0);
  for (const backend of backends.values()) backend.close();
  for (let i = 0; i < 20; i++) await settle();
  assertEquals([...registry.backends].map(({ h2 }) => h2.idle), [0, 0, 0]);
  assertEquals(clock.size, 0);
  const { calls, ok, unavailable, unseen, cut, retried, byClients, byBackends } = result;
  assertEquals(ok + unavailable + cut, calls);
  assert(unseen < 0.01 * calls, JSON.stringify(result));
  assert(byClients > 500 && byBackends > 2000, JSON.stringify(result));
  assert(retried > 200 && ok > 0.8 * calls, JSON.stringify(result));
});

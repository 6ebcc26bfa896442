/**
 * Real calls by grpc-go between servers made with grpc-go: what its interop suite does not ask for.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  Balancer,
  type Listening,
  outcomeOf,
  runForJson,
  startBackend,
  startClient,
} from "../support/grpc_programs.ts";
import { delay } from "../support/net.ts";
import { testWithTools } from "../support/tools.ts";

const TOOLS = ["grpc_backend", "grpc_client"] as const;

/** Calls that are under way at a time while something is done. */
const WORKERS = 8;

/** How calls ended, as the client counts them. */
interface Tally {
  readonly good: Record<string, number>;
  readonly failed: Record<string, number>;
}

function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

testWithTools(
  TOOLS,
  "10,000 calls and 300 streams of one connection are spread evenly, and none hangs",
  async ({ grpc_backend, grpc_client }) => {
    // Fewer streams than its share, so that each backend gets several connections.
    const backend = (name: string) => startBackend(grpc_backend, { name, maxStreams: 40 });
    await using one = await backend("one");
    await using two = await backend("two");
    await using three = await backend("three");
    await using balancer = await Balancer.start("grpc-l7", [one, two, three]);
    const { streams, calls }: Record<string, Tally> = await runForJson(grpc_client, [
      ...["spread", "-addr", balancer.addr, "-streams", "300", "-calls", "10000"],
    ]);
    assertEquals([calls!.failed, streams!.failed], [{}, {}]);
    assertEquals([total(calls!.good), total(streams!.good)], [10_000, 300]);
    for (const tally of [calls!, streams!]) {
      const counts = Object.values(tally.good);
      assertEquals(counts.length, 3);
      // Streams and calls take turns together, so either alone may be off by the few of the border.
      assert(Math.max(...counts) - Math.min(...counts) <= 2, JSON.stringify(tally.good));
    }
    assertEquals(await balancer.metric("lb_connections_accepted_total"), 1);
    await balancer.stop();
  },
);

testWithTools(
  TOOLS,
  "at layer 4 all calls and streams of one connection meet the same backend",
  async ({ grpc_backend, grpc_client }) => {
    await using one = await startBackend(grpc_backend, { name: "one" });
    await using two = await startBackend(grpc_backend, { name: "two" });
    await using balancer = await Balancer.start("grpc-l4", [one, two]);
    const seen = new Set<string>();
    for (let i = 0; i < 2; i++) {
      const { streams, calls }: Record<string, Tally> = await runForJson(grpc_client, [
        ...["spread", "-addr", balancer.addr, "-streams", "100", "-calls", "500"],
      ]);
      assertEquals([calls!.failed, streams!.failed], [{}, {}]);
      const [name] = Object.keys(calls!.good);
      assertEquals([calls!.good, streams!.good], [{ [name!]: 500 }, { [name!]: 100 }]);
      seen.add(name!);
    }
    assertEquals([...seen].sort(), ["one", "two"]);
    await balancer.stop();
  },
);

/** So short that a backend that is back gets calls again while a test waits. */
const SOON = ["--ejection-time", "1s"];

/** Makes calls and short streams while something is done, and gives what came of them. */
async function callDuring(
  client: string,
  addr: string,
  work: () => Promise<void>,
): Promise<{ calls: Tally; streams: Tally }> {
  await using program = startClient(client, [
    ...["steady", "-addr", addr, "-streams", String(WORKERS), "-messages", "5"],
  ]);
  await program.find(/started/, "stdout");
  await work();
  program.signal("SIGTERM");
  return await outcomeOf(program);
}

/** Waits until something has come to a number. */
async function untilAtLeast(wanted: number, count: () => Promise<number>): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (let last = await count(); last < wanted; last = await count()) {
    assert(performance.now() < deadline, `${last} did not become ${wanted}`);
    await delay(20);
  }
}

/** Waits until a backend has served a few calls more than now. */
async function untilUsed(balancer: Balancer, backend: Listening): Promise<void> {
  const served = () => balancer.served(backend);
  await untilAtLeast(await served() + 10, served);
}

/** Two backends that can be replaced by others at the same addresses. */
class Pair implements AsyncDisposable {
  readonly #program: string;
  readonly #names = ["one", "two"] as const;
  readonly #both: Listening[] = [];

  constructor(program: string) {
    this.#program = program;
  }

  get both(): readonly Listening[] {
    return this.#both;
  }

  async start(): Promise<void> {
    for (const name of this.#names) this.#both.push(await startBackend(this.#program, { name }));
  }

  /** Ends one of them and starts another in its place. */
  async replace(index: 0 | 1, signal: "SIGTERM" | "SIGKILL"): Promise<number> {
    const { program, addr } = this.#both[index]!;
    program.signal(signal);
    const { code } = await program.ended();
    this.#both[index] = await startBackend(this.#program, { name: this.#names[index], addr });
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const backend of this.#both) await backend[Symbol.asyncDispose]();
  }
}

for (const kind of ["grpc-l7", "grpc-l4"] as const) {
  testWithTools(
    TOOLS,
    `backends that are restarted in order cost no call of ${kind}`,
    async ({ grpc_backend, grpc_client }) => {
      await using pair = new Pair(grpc_backend);
      await pair.start();
      await using balancer = await Balancer.start(kind, pair.both, SOON);
      const { calls, streams } = await callDuring(grpc_client, balancer.addr, async () => {
        for (const index of [0, 1, 0, 1, 0, 1] as const) {
          await untilUsed(balancer, pair.both[index]!);
          assertEquals(await pair.replace(index, "SIGTERM"), 0);
        }
        await untilUsed(balancer, pair.both[0]!);
      });
      assertEquals([calls.failed, streams.failed], [{}, {}]);
      assertEquals(Object.keys(calls.good).sort(), ["one", "two"]);
      await balancer.stop();
    },
  );

  testWithTools(
    TOOLS,
    `a backend that is killed costs ${kind} only what it was working on, with UNAVAILABLE`,
    async ({ grpc_backend, grpc_client }) => {
      await using pair = new Pair(grpc_backend);
      await pair.start();
      await using balancer = await Balancer.start(kind, pair.both, SOON);
      const { calls, streams } = await callDuring(grpc_client, balancer.addr, async () => {
        for (const index of [0, 1, 0, 1] as const) {
          await untilUsed(balancer, pair.both[index]!);
          await pair.replace(index, "SIGKILL");
        }
        await untilUsed(balancer, pair.both[0]!);
      });
      for (const failed of [calls.failed, streams.failed]) {
        for (const text of Object.keys(failed)) assert(text.startsWith("Unavailable: "), text);
      }
      const failures = total(calls.failed) + total(streams.failed);
      assert(failures <= 4 * WORKERS, JSON.stringify([calls.failed, streams.failed]));
      assertEquals(Object.keys(calls.good).sort(), ["one", "two"]);
      await balancer.stop();
    },
  );

  testWithTools(
    TOOLS,
    `a backend that measures the bandwidth with PINGs is not taken for a flood by ${kind}`,
    async ({ grpc_backend, grpc_client }) => {
      await using one = await startBackend(grpc_backend, { name: "one" });
      await using balancer = await Balancer.start(kind, [one]);
      // grpc-go asks for one PING for each DATA frame, the empty one at the end of a stream included.
      const { calls, streams } = await callDuring(grpc_client, balancer.addr, async () => {
        await untilAtLeast(2000, () => balancer.served(one));
      });
      assertEquals([calls.failed, streams.failed], [{}, {}]);
      await balancer.stop();
    },
  );

  testWithTools(
    TOOLS,
    `connections that backends end with GOAWAY all the time cost no call of ${kind}`,
    async ({ grpc_backend, grpc_client }) => {
      const backend = (name: string) => startBackend(grpc_backend, { name, maxConnectionAge: 50 });
      await using one = await backend("one");
      await using two = await backend("two");
      await using balancer = await Balancer.start(kind, [one, two]);
      const { calls, streams } = await callDuring(grpc_client, balancer.addr, async () => {
        await untilAtLeast(50, () => balancer.metric("lb_upstream_connects_total"));
      });
      assertEquals([calls.failed, streams.failed], [{}, {}]);
      assert(total(calls.good) > 50, JSON.stringify(calls.good));
      await balancer.stop();
    },
  );

  testWithTools(
    TOOLS,
    `300 streams that are open when ${kind} is told to stop come to their end, byte for byte`,
    async ({ grpc_backend, grpc_client }) => {
      await using one = await startBackend(grpc_backend, { name: "one" });
      await using two = await startBackend(grpc_backend, { name: "two" });
      await using balancer = await Balancer.start(kind, [one, two]);
      await using client = startClient(grpc_client, [
        ...["long", "-addr", balancer.addr, "-streams", "300", "-messages", "20"],
      ]);
      await client.find(/open/, "stdout");
      balancer.program.signal("SIGTERM");
      const { streams }: { streams: Tally } = await outcomeOf(client);
      assertEquals([streams.failed, total(streams.good)], [{}, 300]);
      const { code, stderr } = await balancer.program.ended();
      assertEquals(code, 0, stderr);
    },
  );

  testWithTools(
    TOOLS,
    `${kind} takes header blocks with and without dynamic table`,
    async ({ grpc_backend, grpc_client }) => {
      await using one = await startBackend(grpc_backend, { name: "one" });
      await using two = await startBackend(grpc_backend, { name: "two" });
      await using balancer = await Balancer.start(kind, [one, two]);
      const outcome = await runForJson(grpc_client, ["encoder", "-addr", balancer.addr]);
      // RFC 7541, section 6.1: from the second on, all fields are references to the table.
      const { dynamic, stateless, tableSize } = outcome;
      assert(dynamic.sizes.slice(1).every((size: number) => size < 10), `${dynamic.sizes}`);
      if (kind === "grpc-l7") assertEquals(tableSize, 0);
      assert(stateless.sizes.every((size: number) => size > 100), `${stateless.sizes}`);
      for (const { statuses, echoed } of [dynamic, stateless]) {
        assertEquals([statuses, echoed], [{ 0: 20 }, 20]);
      }
      await balancer.stop();
    },
  );
}

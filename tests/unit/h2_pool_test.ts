import { assert, assertEquals, assertRejects } from "@std/assert";
import { H2Pool, type H2PoolOptions } from "../../lib/backend/h2_pool.ts";
import { parseAddress } from "../../lib/common/address.ts";
import { ProxyError } from "../../lib/common/errors.ts";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";
import { encodeBlock, Exchange } from "../support/h2_peer.ts";
import { REQUEST } from "../support/h2_raw.ts";
import { ScriptedH2Backend } from "../support/h2_scripted_backend.ts";

const OPTIONS: H2PoolOptions = {
  maxConnections: 3,
  maxWaiting: 5,
  waitTimeout: 2_000,
  idleTimeout: 30_000,
  connectTimeout: 1_000,
};

/** A pool with its backend and a clock that stands still. */
class Scene implements AsyncDisposable {
  readonly time = new FakeClock();
  readonly backend = new ScriptedH2Backend();
  readonly pool: H2Pool;
  /** What became of each call, by its number. */
  readonly outcomes: string[] = [];

  constructor(options: Partial<H2PoolOptions> = {}) {
    const addr = "grpc://a:80";
    const parts = { address: parseAddress(addr), addr, clock: this.time.clock };
    this.pool = new H2Pool({ ...parts, connect: this.backend.connect }, { ...OPTIONS, ...options });
  }

  /** Begins a call as the proxy does; its outcome is `open`, the code of an error, or how it ended. */
  call(): Exchange {
    const exchange = new Exchange();
    const number = this.outcomes.push("waiting") - 1;
    const open = async (): Promise<void> => {
      const connection = this.pool.take() ?? await this.pool.acquire();
      if (!connection.available) return await open();
      const block = encodeBlock(REQUEST);
      exchange.stream = connection.openStream(block, {
        endStream: true,
        noBody: false,
        listener: exchange,
      });
      this.outcomes[number] = "open";
      await exchange.done;
      const { reset } = exchange;
      this.outcomes[number] = reset === undefined
        ? "answered"
        : reset.unprocessed
        ? "unprocessed"
        : "lost";
    };
    open().catch((error) => this.outcomes[number] = error instanceof ProxyError ? error.code : "?");
    return exchange;
  }

  /** Begins so many, and lets all happen that needs no time. */
  async calls(count: number): Promise<Exchange[]> {
    const exchanges = Array.from({ length: count }, () => this.call());
    await this.rest();
    return exchanges;
  }

  async rest(): Promise<void> {
    for (let i = 0; i < 20; i++) await settle();
  }

  /** How many calls have which outcome. */
  get tally(): Record<string, number> {
    const tally: Record<string, number> = {};
    for (const outcome of this.outcomes) tally[outcome] = (tally[outcome] ?? 0) + 1;
    return tally;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.backend.close();
    await this.rest();
    assertEquals(this.time.clock.size, 0, "nothing is watched any more");
  }
}

Deno.test("another connection is opened when one is full, and no more than are needed", async () => {
  await using scene = new Scene();
  scene.backend.limit = 2;
  await scene.calls(5);
  assertEquals(scene.backend.connections.map(({ open }) => open.length), [2, 2, 1]);
  assertEquals([scene.pool.active, scene.pool.idle], [3, 0]);
  for (const connection of scene.backend.connections) {
    while (connection.open.length > 0) connection.answer();
  }
  await scene.rest();
  assertEquals(scene.tally, { answered: 5 });
  assertEquals([scene.pool.active, scene.pool.idle], [0, 3]);
  await scene.calls(6);
  assertEquals(scene.backend.connections.length, 3);
});

Deno.test("when no more may be opened calls wait in order for streams that end", async () => {
  await using scene = new Scene({ maxConnections: 1 });
  scene.backend.limit = 1;
  await scene.calls(4);
  assertEquals(scene.outcomes, ["open", "waiting", "waiting", "waiting"]);
  for (let i = 0; i < 3; i++) {
    scene.backend.last.answer();
    await scene.rest();
    assertEquals(scene.outcomes[i + 1], "open");
    assertEquals(scene.outcomes.filter((outcome) => outcome === "open").length, 1);
  }
  scene.backend.last.answer();
  await scene.rest();
  assertEquals(scene.tally, { answered: 4 });
  assertEquals(scene.backend.connections.length, 1);
});

Deno.test("who waits too long, or behind too many, is refused and may be tried elsewhere", async () => {
  await using scene = new Scene({ maxConnections: 1 });
  scene.backend.limit = 1;
  await scene.calls(8);
  assertEquals(scene.tally, { open: 1, waiting: 5, pool_exhausted: 2 });
  assertEquals(scene.outcomes.slice(-2), ["pool_exhausted", "pool_exhausted"], "the last to come");
  await scene.time.advance(1_500);
  const late = scene.call();
  await scene.rest();
  assertEquals(scene.tally, { open: 1, waiting: 5, pool_exhausted: 3 });
  assertEquals(late.reset, undefined);
  await scene.time.expire(500);
  assertEquals(scene.tally, { open: 1, pool_exhausted: 8 });
  const refused = assertRejects(() => scene.pool.acquire(), ProxyError);
  await scene.time.expire(OPTIONS.waitTimeout);
  const error = await refused;
  assertEquals([error.code, error.retry], ["pool_exhausted", "safe"]);
  // And the stream that is still open serves the next one.
  scene.backend.last.answer();
  await scene.rest();
  await scene.calls(1);
  assertEquals(scene.outcomes.at(-1), "open");
});

Deno.test("a backend that lowers its limit gets no more than that, and the rest goes over other connections", async () => {
  await using scene = new Scene();
  scene.backend.limit = 10;
  await scene.calls(8);
  const [first] = scene.backend.connections;
  scene.backend.limit = 2;
  first!.limit(2);
  await scene.rest();
  await scene.calls(3);
  assertEquals(scene.backend.connections.map(({ open }) => open.length), [8, 2, 1]);
  for (let i = 0; i < 6; i++) first!.answer();
  await scene.rest();
  await scene.calls(1);
  assertEquals(first!.open.length, 2, "two are as many as it takes now");
  assertEquals(scene.backend.connections.map(({ open }) => open.length), [2, 2, 2]);
  first!.answer();
  await scene.rest();
  await scene.calls(1);
  assertEquals(first!.open.length, 2);
  assertEquals(scene.tally, { answered: 7, open: 6 });
});

Deno.test("a backend that takes no streams for a moment is waited for, not connected to again and again", async () => {
  await using scene = new Scene();
  scene.backend.limit = 0;
  await scene.calls(4);
  assertEquals(scene.backend.connections.length, 1);
  assertEquals(scene.tally, { waiting: 4 });
  const [first] = scene.backend.connections;
  first!.limit(3);
  await scene.rest();
  // The fourth has a connection of its own now that the backend takes streams; it takes none there.
  assertEquals([first!.open.length, scene.backend.connections.length], [3, 2]);
  assertEquals(scene.tally, { open: 3, waiting: 1 });
  await scene.calls(1);
  assertEquals(scene.backend.connections.length, 2);
  first!.answer();
  await scene.rest();
  assertEquals(scene.tally, { answered: 1, open: 3, waiting: 1 });
  scene.backend.last.limit(1);
  await scene.rest();
  assertEquals(scene.tally, { answered: 1, open: 4 });
});

Deno.test("a backend that takes no streams in mid-life costs one connection more, and no call hangs", async () => {
  await using scene = new Scene();
  await scene.calls(3);
  scene.backend.limit = 0;
  scene.backend.last.limit(0);
  await scene.rest();
  await scene.calls(2);
  assertEquals(scene.backend.connections.length, 2);
  assertEquals(scene.tally, { open: 3, waiting: 2 });
  await scene.time.expire(OPTIONS.waitTimeout);
  assertEquals(scene.tally, { open: 3, pool_exhausted: 2 });
  await scene.calls(1);
  assertEquals(scene.backend.connections.length, 2);
  scene.backend.connections[0]!.limit(10);
  await scene.rest();
  assertEquals(scene.tally, { open: 4, pool_exhausted: 2 });
});

Deno.test("waiting calls go over a new connection when theirs goes away, and fail when there is none", async () => {
  await using scene = new Scene({ maxConnections: 1 });
  scene.backend.limit = 1;
  await scene.calls(3);
  const [first] = scene.backend.connections;
  first!.goaway(1);
  await scene.rest();
  assertEquals(scene.outcomes, ["open", "waiting", "waiting"], "it still has its last stream");
  assertEquals([scene.pool.active, scene.pool.idle], [1, 0], "and still counts");
  first!.answer();
  await scene.rest();
  assertEquals(scene.outcomes, ["answered", "open", "waiting"]);
  assertEquals(scene.backend.connections.length, 2);
  scene.backend.refuses = true;
  scene.backend.last.close();
  await scene.rest();
  assertEquals(scene.outcomes, ["answered", "lost", "?"], "what connecting throws");
});

Deno.test("a connection on which GOAWAY comes at once is followed by another, three times in all", async () => {
  for (const times of [2, 3]) {
    await using scene = new Scene();
    scene.backend.leaves = times;
    await scene.calls(2);
    assertEquals(scene.backend.connections.length, 3);
    assertEquals(scene.tally, times === 2 ? { open: 2 } : { upstream_closed: 2 });
  }
});

Deno.test("calls that are given up while they wait keep nobody else waiting", async () => {
  await using scene = new Scene({ maxConnections: 1 });
  scene.backend.limit = 1;
  await scene.calls(1);
  // Three that take no stream when it is their turn, and one that does.
  const given = [1, 2, 3].map(() => scene.pool.acquire());
  await scene.calls(1);
  scene.backend.last.answer();
  await Promise.all(given);
  await scene.rest();
  assertEquals(scene.outcomes, ["answered", "open"]);
});

Deno.test("who comes while others wait comes behind them", async () => {
  await using scene = new Scene({ maxConnections: 1 });
  scene.backend.limit = 1;
  await scene.calls(2);
  assertEquals(scene.pool.take(), undefined);
  const order: string[] = [];
  scene.backend.last.onHead = () => order.push("head");
  scene.backend.last.answer();
  await scene.rest();
  assertEquals([scene.outcomes, order], [["answered", "open"], ["head"]]);
});

Deno.test("a backend that is asked too often is asked half as often over its next connection", async () => {
  await using scene = new Scene({ h2: { keepaliveTime: 10_000, keepaliveTimeout: 5_000 } });
  for (const [round, interval] of [10_000, 20_000, 40_000].entries()) {
    await scene.calls(1);
    const { last } = scene.backend;
    assertEquals(scene.backend.connections.length, round + 1);
    await scene.time.advance(interval - 1_000);
    assertEquals(last.pings, 0, `round ${round}`);
    await scene.time.expire(1_000);
    assertEquals(last.pings, 1, `round ${round}`);
    last.goaway(0, H2Code.EnhanceYourCalm, "too_many_pings");
    await scene.rest();
    assertEquals(scene.outcomes.at(-1), "unprocessed");
  }
  // Another reason is no reason.
  await scene.calls(1);
  scene.backend.last.goaway(0, H2Code.EnhanceYourCalm, "too_many_requests");
  await scene.rest();
  await scene.calls(1);
  await scene.time.expire(80_000);
  assertEquals(scene.backend.last.pings, 1);
  assert(scene.backend.connections.length === 5);
});

Deno.test("a backend that is gone without a word loses its calls, and the next go over a new connection", async () => {
  await using scene = new Scene({ h2: { keepaliveTime: 10_000, keepaliveTimeout: 5_000 } });
  const [call] = await scene.calls(1);
  await scene.time.expire(10_000);
  assertEquals(scene.backend.last.pings, 1);
  await scene.time.expire(5_000);
  await scene.rest();
  assertEquals([scene.outcomes, call!.reset?.connectionLost], [["lost"], true]);
  assertEquals([scene.pool.active, scene.pool.idle], [0, 0]);
  await scene.calls(1);
  assertEquals(scene.backend.connections.length, 2);
  assertEquals(scene.outcomes, ["lost", "open"]);
});

Deno.test("of connections without a stream one stays for the next call when descriptors run out", async () => {
  await using scene = new Scene();
  scene.backend.limit = 1;
  await scene.calls(3);
  const [first, second, third] = scene.backend.connections;
  first!.answer();
  third!.answer();
  await scene.rest();
  scene.pool.shedIdle();
  await scene.rest();
  assertEquals([scene.pool.active, scene.pool.idle], [1, 1], "one is in use, and one takes a call");
  await scene.calls(1);
  assertEquals(scene.backend.connections.length, 3, "no other was opened");
  for (const connection of [first!, second!]) connection.answer();
  await scene.rest();
  for (let i = 0; i < 2; i++) scene.pool.shedIdle();
  await scene.rest();
  assertEquals([scene.pool.active, scene.pool.idle], [0, 1]);
  await scene.calls(1);
  assertEquals(scene.backend.connections.length, 3);
  assertEquals(scene.tally, { answered: 4, open: 1 });
});

Deno.test("a connection with streams stays when descriptors run out, and takes more", async () => {
  await using scene = new Scene();
  await scene.calls(2);
  scene.pool.shedIdle();
  await scene.calls(1);
  assertEquals(scene.backend.connections.map(({ open }) => open.length), [3]);
});

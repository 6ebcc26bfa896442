import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { H1Pool, type PoolOptions, type UpstreamConnection } from "../../lib/backend/h1_pool.ts";
import { parseAddress } from "../../lib/common/address.ts";
import { ProxyError } from "../../lib/common/errors.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";
import type { FaultyDuplex } from "../support/faulty_duplex.ts";
import { type BackendConnection, ScriptedBackend } from "../support/scripted_backend.ts";

const OPTIONS: PoolOptions = {
  maxConnections: 2,
  maxWaiting: 2,
  waitTimeout: 1_000,
  idleTimeout: 30_000,
  connectTimeout: 500,
};

class Fixture {
  readonly time = new FakeClock();
  readonly backend = new ScriptedBackend();
  readonly pool: H1Pool;

  constructor(options: Partial<PoolOptions> = {}) {
    this.pool = new H1Pool({
      address: parseAddress("http://a:80"),
      addr: "http://a:80",
      clock: this.time.clock,
      connect: () => this.backend.connect(),
    }, { ...OPTIONS, ...options });
  }

  /** Connections of the pool as `active/idle`. */
  get counts(): string {
    return `${this.pool.active}/${this.pool.idle}`;
  }

  /** The backend's side of a connection. */
  peer(connection: UpstreamConnection): BackendConnection {
    const found = this.backend.connections.find(({ proxySide }) => proxySide === connection.duplex);
    assert(found !== undefined);
    return found;
  }

  /** Fails unless nothing is left. */
  assertEmpty(): void {
    assertEquals(this.counts, "0/0");
    assertEquals(this.time.clock.size, 0, "deadlines");
    for (const { closedByProxy } of this.backend.connections) assert(closedByProxy);
  }
}

const isClosed = (connection: UpstreamConnection) => (connection.duplex as FaultyDuplex).closed;

Deno.test("a connection that is given back is taken again, the last one first", async () => {
  const f = new Fixture();
  const [first, second] = [await f.pool.open(), await f.pool.open()];
  assertEquals([first.reused, f.counts], [false, "2/0"]);
  f.pool.release(first, Infinity);
  f.pool.release(second, Infinity);
  assertEquals(f.counts, "0/2");
  assertStrictEquals(f.pool.take(), second);
  assertStrictEquals(f.pool.take(), first);
  assertEquals([first.reused, second.reused, f.counts], [true, true, "2/0"]);
  assertEquals(f.pool.take(), undefined);
  assertEquals(f.backend.dials, 2);
  f.pool.close(first);
  f.pool.close(second);
  f.assertEmpty();
});

Deno.test("a connection that is taken again can be read from and written to", async () => {
  const f = new Fixture();
  const connection = await f.pool.open();
  f.pool.release(connection, Infinity);
  assertStrictEquals(f.pool.take(), connection);
  const filled = connection.reader.fill();
  await f.peer(connection).send("an answer");
  assertEquals([await filled, connection.reader.available], [true, 9]);
  assertEquals(isClosed(connection), false);
  f.pool.close(connection);
  f.assertEmpty();
});

Deno.test("an idle connection is closed after its time", async () => {
  const f = new Fixture();
  const connection = await f.pool.open();
  f.pool.release(connection, Infinity);
  await f.time.advance(29_999);
  assertEquals([f.counts, isClosed(connection)], ["0/1", false]);
  await f.time.expire(1);
  assertEquals([f.counts, isClosed(connection)], ["0/0", true]);
  f.assertEmpty();
});

Deno.test("an idle connection is closed before the backend says that it will", async () => {
  const f = new Fixture();
  const connection = await f.pool.open();
  f.pool.release(connection, 4_000);
  await f.time.expire(4_000);
  assertEquals(isClosed(connection), true);
  f.assertEmpty();
});

Deno.test("the time of an idle connection begins anew with each use", async () => {
  const f = new Fixture();
  const connection = await f.pool.open();
  for (let use = 0; use < 3; use++) {
    f.pool.release(connection, Infinity);
    await f.time.advance(20_000);
    assertStrictEquals(f.pool.take(), connection);
    await f.time.advance(100_000);
  }
  assertEquals(isClosed(connection), false);
  f.pool.close(connection);
  f.assertEmpty();
});

Deno.test("an idle connection that the backend closes or breaks leaves the pool", async () => {
  for (const end of ["close", "reset"] as const) {
    const f = new Fixture();
    const connection = await f.pool.open();
    f.pool.release(connection, Infinity);
    f.peer(connection)[end]();
    await settle();
    assertEquals(isClosed(connection), true, end);
    assertEquals(f.pool.take(), undefined);
    f.assertEmpty();
  }
});

Deno.test("a byte that nobody asked for takes an idle connection out", async () => {
  const f = new Fixture();
  const connection = await f.pool.open();
  f.pool.release(connection, Infinity);
  assertEquals(await f.peer(connection).send("H"), true);
  await settle();
  assertEquals(isClosed(connection), true);
  f.assertEmpty();
});

Deno.test("a connection is closed instead of kept when that was asked for", async () => {
  const f = new Fixture();
  for (const keep of [0, -1000]) {
    const connection = await f.pool.open();
    f.pool.release(connection, keep);
    assertEquals(isClosed(connection), true);
  }
  f.assertEmpty();
});

Deno.test("a connection with bytes left over, or that has ended, is not kept", async () => {
  const f = new Fixture();
  const unread = await f.pool.open();
  await Promise.all([unread.reader.fill(), f.peer(unread).send("more than was asked for")]);
  f.pool.release(unread, Infinity);
  assertEquals([isClosed(unread), f.counts], [true, "0/0"]);
  const ended = await f.pool.open();
  await Promise.all([ended.reader.fill(), f.peer(ended).end()]);
  f.pool.release(ended, Infinity);
  assertEquals([isClosed(ended), f.counts], [true, "0/0"]);
  f.assertEmpty();
});

Deno.test("above the limit a request waits, and gets the next connection that is free", async () => {
  const f = new Fixture();
  const [first, second] = [await f.pool.open(), await f.pool.open()];
  const order: string[] = [];
  const third = f.pool.open().then((connection) => {
    order.push("third");
    return connection;
  });
  const fourth = f.pool.open().then((connection) => {
    order.push("fourth");
    return connection;
  });
  await settle();
  // The two connections are watched, and the two that wait.
  assertEquals([order, f.counts, f.time.clock.size], [[], "2/0", 4]);
  f.pool.release(first, Infinity);
  assertStrictEquals(await third, first);
  assertEquals([first.reused, f.counts], [true, "2/0"]);
  f.pool.release(second, Infinity);
  assertStrictEquals(await fourth, second);
  assertEquals(order, ["third", "fourth"], "who waits longest is served first");
  assertEquals(f.backend.dials, 2);
  f.pool.close(first);
  f.pool.close(second);
  f.assertEmpty();
});

Deno.test("who waits gets a connection of its own when one is closed or not kept", async () => {
  for (const how of ["close", "release"] as const) {
    const f = new Fixture({ maxConnections: 1 });
    const first = await f.pool.open();
    const waiting = f.pool.open();
    if (how === "close") f.pool.close(first);
    else f.pool.release(first, 0);
    const second = await waiting;
    assertEquals([second === first, second.reused, f.counts], [false, false, "1/0"]);
    f.pool.close(second);
    f.assertEmpty();
  }
});

Deno.test("who waits longer than the limit is refused, and may go elsewhere", async () => {
  const f = new Fixture({ maxConnections: 1 });
  const first = await f.pool.open();
  const refusal = assertRejects(() => f.pool.open(), ProxyError);
  await f.time.advance(999);
  assertEquals(f.time.clock.size, 2, "it still waits, and the connection is watched");
  await f.time.expire(1);
  const error = await refusal;
  assertEquals([error.code, error.side, error.retry], ["pool_exhausted", "upstream", "safe"]);
  assertEquals(f.time.clock.size, 1);
  f.pool.release(first, Infinity);
  assertEquals(f.counts, "0/1");
  f.pool.closeIdle();
  f.assertEmpty();
});

Deno.test("no more wait than may wait", async () => {
  const f = new Fixture({ maxConnections: 1, maxWaiting: 2 });
  const first = await f.pool.open();
  const waiting = [f.pool.open(), f.pool.open()];
  const error = await assertRejects(() => f.pool.open(), ProxyError);
  assertEquals([error.code, error.retry], ["pool_exhausted", "safe"]);
  f.pool.release(first, Infinity);
  f.pool.release(await waiting[0]!, Infinity);
  f.pool.release(await waiting[1]!, Infinity);
  f.pool.closeIdle();
  f.assertEmpty();
});

Deno.test("with nobody allowed to wait, the limit refuses at once", async () => {
  const f = new Fixture({ maxConnections: 1, maxWaiting: 0 });
  const first = await f.pool.open();
  await assertRejects(() => f.pool.open(), ProxyError);
  f.pool.close(first);
  f.assertEmpty();
});

Deno.test("a failed attempt to connect counts for nothing, and who waits tries anew", async () => {
  const f = new Fixture({ maxConnections: 1 });
  const go = f.backend.hold();
  const failing = assertRejects(() => f.pool.open(), ProxyError);
  const waiting = f.pool.open();
  assertEquals(f.counts, "1/0", "being opened counts as busy");
  f.backend.refuse();
  go();
  assertEquals((await failing).code, "connect_refused");
  const second = await assertRejects(() => waiting, ProxyError);
  assertEquals(second.code, "connect_refused");
  assertEquals(f.backend.dials, 2);
  f.backend.failure = undefined;
  const connection = await f.pool.open();
  f.pool.close(connection);
  f.assertEmpty();
});

Deno.test("a fresh connection may be had though idle ones fill the limit", async () => {
  const f = new Fixture();
  const old = [await f.pool.open(), await f.pool.open()];
  for (const connection of old) f.pool.release(connection, Infinity);
  // What asks for a new one does not trust those that lie idle; it must not wait for them in vain.
  const fresh = await f.pool.open();
  assertEquals([fresh.reused, f.counts], [false, "1/1"]);
  assertEquals(old.map(isClosed), [true, false], "the one that lay idle longest makes room");
  f.pool.close(fresh);
  f.pool.closeIdle();
  f.assertEmpty();
});

Deno.test("closing idle connections leaves those in use alone", async () => {
  const f = new Fixture({ maxConnections: 3 });
  const all = [await f.pool.open(), await f.pool.open(), await f.pool.open()];
  f.pool.release(all[0]!, Infinity);
  f.pool.release(all[1]!, Infinity);
  f.pool.closeIdle();
  assertEquals(all.map(isClosed), [true, true, false]);
  assertEquals(f.counts, "1/0");
  f.pool.discard(all[2]!);
  assertEquals(f.counts, "1/0", "only idle ones are discarded");
  f.pool.release(all[2]!, Infinity);
  f.pool.closeIdle();
  f.assertEmpty();
});

Deno.test("of the idle connections those stay that were used last, if some are to stay", async () => {
  const f = new Fixture({ maxConnections: 3 });
  const all = [await f.pool.open(), await f.pool.open(), await f.pool.open()];
  for (const connection of all) f.pool.release(connection, Infinity);
  f.pool.closeIdle(1);
  assertEquals([all.map(isClosed), f.counts], [[true, true, false], "0/1"]);
  f.pool.closeIdle(1);
  assertEquals(f.counts, "0/1");
  f.pool.closeIdle();
  f.assertEmpty();
});

Deno.test("an idle connection holds a small buffer, whatever it has carried", async () => {
  const f = new Fixture();
  const connection = await f.pool.open();
  const size = connection.reader.buffer.length;
  connection.reader.grow(64 * 1024);
  f.pool.release(connection, Infinity);
  assertEquals(connection.reader.buffer.length, size);
  assert(size <= 16 * 1024);
  f.pool.closeIdle();
  f.assertEmpty();
});

Deno.test("the pool passes on how to connect", async () => {
  const seen: unknown[] = [];
  const pool = new H1Pool({
    address: parseAddress("https://a:443"),
    addr: "https://a:443",
    clock: new FakeClock().clock,
    connect: (address, options) => {
      seen.push(address, options);
      return Promise.reject(new ProxyError("connect_failed", "upstream", "no"));
    },
  }, { ...OPTIONS, caCerts: ["pem"] });
  await assertRejects(() => pool.open(), ProxyError, "no");
  assertEquals(seen, [parseAddress("https://a:443"), { timeout: 500, caCerts: ["pem"] }]);
});

Deno.test("after any order of uses the counts are right", async () => {
  const f = new Fixture({ maxConnections: 5, maxWaiting: 0 });
  const held: UpstreamConnection[] = [];
  let seed = 1;
  for (let step = 0; step < 1000; step++) {
    seed = (seed * 48271) % 2147483647;
    const connection = held[seed % (held.length + 1)];
    if (connection === undefined) {
      const got = f.pool.take() ??
        await f.pool.open().catch((error: ProxyError) => void error.code);
      if (got !== undefined) held.push(got);
    } else {
      held.splice(held.indexOf(connection), 1);
      switch (seed % 4) {
        case 0:
          f.pool.close(connection);
          break;
        case 1:
          f.peer(connection).close();
          f.pool.release(connection, Infinity);
          await settle();
          break;
        case 2:
          await Promise.all([connection.reader.fill(), f.peer(connection).send("x")]);
          f.pool.release(connection, Infinity);
          break;
        default:
          f.pool.release(connection, Infinity);
      }
    }
    assertEquals(f.pool.active, held.length);
    const open = f.backend.connections.filter(({ closedByProxy }) => !closedByProxy).length;
    assertEquals(f.pool.idle, open - held.length);
  }
  for (const connection of held) f.pool.release(connection, 0);
  f.pool.closeIdle();
  f.assertEmpty();
});

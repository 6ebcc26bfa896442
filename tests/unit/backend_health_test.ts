import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { LiveBackend } from "../../lib/backend/backend.ts";
import { H1Pool } from "../../lib/backend/h1_pool.ts";
import { H2Pool } from "../../lib/backend/h2_pool.ts";
import { BackendHealth, type HealthState } from "../../lib/backend/health/backend_health.ts";
import { ANSWERED } from "../../lib/backend/outcome.ts";
import { Pool, type PoolRules } from "../../lib/backend/pool.ts";
import { parseAddress } from "../../lib/common/address.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { linesOf } from "../support/log_lines.ts";
import { ScriptedBackend } from "../support/scripted_backend.ts";

const LIMITS = {
  maxConnections: 4,
  maxWaiting: 0,
  waitTimeout: 1000,
  idleTimeout: 1000,
  connectTimeout: 1000,
};

function makeBackends(addrs: string, time: FakeClock, slowStart = 0): LiveBackend[] {
  return [...addrs].map((letter) => {
    const addr = `http://${letter}:80`;
    const address = parseAddress(addr);
    const script = new ScriptedBackend();
    const parts = { address, addr, clock: time.clock, connect: () => script.connect() };
    return new LiveBackend(`id-${letter}`, address, {
      http: new H1Pool(parts, LIMITS),
      h2: new H2Pool(parts, LIMITS),
      clock: time.clock,
      slowStart,
    });
  });
}

function makePool(backends: readonly LiveBackend[], rules: Partial<PoolRules> = {}): Pool {
  const pool = new Pool("test", { strategy: "round-robin", ...rules });
  for (const backend of backends) {
    backend.health.onChange(() => pool.refresh());
    pool.set(backend, 1);
  }
  return pool;
}

function picks(pool: Pool, count: number, key?: number): string {
  return Array.from(
    { length: count },
    () => pool.pick(undefined, key)?.addr.charAt(7) ?? "-",
  ).join("");
}

Deno.test("a backend is healthy until checks or ejection say otherwise, and failing checks count more", () => {
  const health = new BackendHealth({ now: () => 0 });
  const told: (readonly [string, string])[] = [];
  const stop = health.onChange((now: HealthState, before: HealthState) => {
    told.push([before.type, now.type]);
  });
  assert(health.usable);
  health.eject("5 failures in a row", 100);
  health.fail("connect refused");
  assertEquals(health.state, { type: "failing", reason: "connect refused" });
  health.readmit();
  assertEquals(health.state.type, "failing");
  health.eject("again", 200);
  health.pass();
  assertEquals(health.state, { type: "ejected", reason: "again", until: 200 });
  health.readmit();
  assert(health.usable);
  assertEquals(told, [
    ["healthy", "ejected"],
    ["ejected", "failing"],
    ["failing", "ejected"],
    ["ejected", "healthy"],
  ]);
  stop();
  health.fail("x");
  assertEquals(told.length, 4);
});

Deno.test("who is not healthy is not picked, and is again when it is", () => {
  const [a, b, c] = makeBackends("abc", new FakeClock());
  const pool = makePool([a!, b!, c!]);
  b!.health.fail("timeout");
  assertEquals(picks(pool, 4), "acac");
  b!.health.pass();
  assertEquals([...new Set(picks(pool, 3))].sort().join(""), "abc");
});

Deno.test("when fewer are healthy than the panic threshold, all active ones are picked", () => {
  const backends = makeBackends("abcde", new FakeClock());
  const pool = makePool(backends, { panicThreshold: 0.4 });
  for (const backend of backends.slice(0, 3)) backend.health.fail("down");
  assertEquals([picks(pool, 4), pool.panics], ["dede", false]);
  backends[3]!.health.eject("errors", 1000);
  assertEquals([[...picks(pool, 5)].sort().join(""), pool.panics], ["abcde", true]);
  backends[0]!.health.pass();
  assertEquals([[...picks(pool, 4)].sort().join(""), pool.panics], ["aaee", false]);
});

Deno.test("that all are picked, and that this is over, is said once for each change", async () => {
  const backends = makeBackends("abcd", new FakeClock());
  const pool = makePool(backends, { panicThreshold: 0.5 });
  const lines = await linesOf(() => {
    for (const backend of backends) backend.health.fail("down");
    for (const backend of backends) backend.health.pass();
  }, "info");
  assertEquals([lines, pool.panics], [[
    "warning lb.health: too few backends of a pool are healthy: all are picked pool=test healthy=1 backends=4",
    "info    lb.health: enough backends of a pool are healthy again: only they are picked " +
    "pool=test healthy=2 backends=4",
  ], false]);
});

Deno.test("a backend of weight 0 neither stands in for others nor counts among the healthy ones", () => {
  const backends = makeBackends("abc", new FakeClock());
  const pool = makePool(backends, { panicThreshold: 0.6 });
  const [a, b, c] = backends;
  pool.set(c!, 0);
  for (const strategy of ["round-robin", "random", "least-connections"] as const) {
    const pool = makePool(backends, { strategy });
    pool.set(c!, 0);
    a!.health.fail("down");
    b!.health.fail("down");
    const picked = new Set(picks(pool, 40));
    assertEquals([picked.has("c"), pool.panics], [false, true], strategy);
    a!.health.pass();
    b!.health.pass();
  }
  a!.health.fail("down");
  // One of two is well, not two of three.
  assertEquals([pool.panics, [...new Set(picks(pool, 10))].toSorted()], [true, ["a", "b"]]);
  // Who is to stay at it may, while it is well.
  assertEquals(pool.picks(c!), true);
  c!.health.fail("down");
  a!.health.pass();
  assertEquals([pool.panics, pool.picks(c!)], [false, false]);
});

Deno.test("where all have weight 0 they share alike", () => {
  const backends = makeBackends("ab", new FakeClock());
  const pool = makePool(backends);
  for (const backend of backends) pool.set(backend, 0);
  assertEquals([...picks(pool, 4)].toSorted().join(""), "aabb");
});

Deno.test("who has failed all that are fit is sent to one that is not, ejected ones first", () => {
  const backends = makeBackends("abc", new FakeClock());
  const [a, b, c] = backends;
  const pool = makePool(backends);
  a!.health.fail("down");
  b!.health.eject("errors", 1000);
  assertEquals(picks(pool, 2), "cc");
  const tried = new Set([c!]);
  const retry = () => pool.pick(({ backend }) => tried.has(backend));
  assertEquals(retry(), b);
  tried.add(b!);
  assertEquals(retry(), a);
  tried.add(a!);
  assertEquals(retry(), undefined);
});

Deno.test("all are picked when none is healthy, even without a panic threshold", () => {
  const backends = makeBackends("ab", new FakeClock());
  const pool = makePool(backends, { panicThreshold: 0 });
  for (const backend of backends) backend.health.fail("down");
  assertEquals([...picks(pool, 4)].sort().join(""), "aabb");
});

Deno.test("who comes back gets its share in ten steps over the time of slow start", async () => {
  const time = new FakeClock();
  const [a, b] = makeBackends("ab", time, 10_000);
  const pool = makePool([a!, b!]);
  b!.health.fail("down");
  b!.health.pass();
  const shares: number[] = [];
  for (let second = 0; second < 12; second++) {
    shares.push(b!.health.share);
    await time.advance(1000);
  }
  const expected = [0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1];
  for (const [index, share] of shares.entries()) assertAlmostEquals(share, expected[index]!, 0.11);
  b!.health.fail("down");
  b!.health.pass();
  const text = picks(pool, 110);
  assertEquals(text.split("b").length - 1, 10);
});

Deno.test("a lease reports once, and its latency is known to strategies", async () => {
  const time = new FakeClock();
  const [a] = makeBackends("a", time);
  const told: (readonly [string, number])[] = [];
  a!.onOutcome = (outcome, latency) => told.push([outcome.type, latency]);
  const lease = a!.acquire();
  await time.advance(30);
  lease.report(ANSWERED);
  lease.report({ type: "failed", reason: "late" });
  lease.release();
  assertEquals(told, [["answered", 30]]);
  assertEquals(a!.peakLatency, 30);
  const second = a!.acquire();
  await time.advance(10);
  second.report({ type: "failed", reason: "status_503", retryAfter: 5000 });
  second.release();
  assertEquals(told[1], ["failed", 10]);
  assertEquals(a!.peakLatency, Infinity);
  const silent = a!.acquire();
  silent.release();
  assertEquals(told.length, 2);
});

Deno.test("a pool that hashes sends equal keys to the same backend and passes keys of the unhealthy on", () => {
  const backends = makeBackends("abcd", new FakeClock());
  const pool = makePool(backends, { strategy: "consistent-hash" });
  const first = picks(pool, 5, 77);
  assertEquals(new Set(first).size, 1);
  backends.find((backend) => backend.addr.includes(first[0]!))!.health.fail("down");
  const second = picks(pool, 5, 77);
  assertEquals(new Set(second).size, 1);
  assert(second[0] !== first[0]);
});

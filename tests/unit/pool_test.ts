import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { LiveBackend } from "../../lib/backend/backend.ts";
import { H1Pool } from "../../lib/backend/h1_pool.ts";
import { H2Pool } from "../../lib/backend/h2_pool.ts";
import { Pool } from "../../lib/backend/pool.ts";
import { parseAddress } from "../../lib/common/address.ts";
import type { StrategyName } from "../../lib/strategy/registry.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";
import { ScriptedBackend } from "../support/scripted_backend.ts";

function makeBackend(
  addr: string,
  script = new ScriptedBackend(),
  time = new FakeClock(),
): LiveBackend {
  const address = parseAddress(addr);
  const parts = { address, addr, clock: time.clock, connect: () => script.connect() };
  const options = {
    maxConnections: 4,
    maxWaiting: 0,
    waitTimeout: 1000,
    idleTimeout: 1000,
    connectTimeout: 1000,
  };
  return new LiveBackend(`id-${addr}`, address, {
    http: new H1Pool(parts, options),
    h2: new H2Pool(parts, options),
    clock: time.clock,
  });
}

const [A, B, C] = ["http://a:80", "http://b:80", "http://c:80"].map((addr) =>
  makeBackend(addr)
) as [LiveBackend, LiveBackend, LiveBackend];

function makePool(
  members: readonly (readonly [backend: LiveBackend, weight: number])[],
  strategy: StrategyName = "round-robin",
): Pool {
  const pool = new Pool("test", { strategy });
  for (const [backend, weight] of members) pool.set(backend, weight);
  return pool;
}

/** The hosts of so many picks. */
function picks(pool: Pool, count: number): string {
  return Array.from({ length: count }, () => pool.pick()?.addr.charAt(7) ?? "-").join("");
}

Deno.test("an empty pool picks nobody", () => {
  const pool = makePool([]);
  assertEquals([pool.pick(), pool.size, [...pool.members].length], [undefined, 0, 0]);
});

Deno.test("members of one weight are picked in turn", () => {
  assertEquals(picks(makePool([[A, 1], [B, 1], [C, 1]]), 6), "abcabc");
  assertEquals(picks(makePool([[A, 5], [B, 5]]), 4), "abab");
});

Deno.test("round robin counts weights once they differ, and no more when they do not", () => {
  const pool = makePool([[A, 1], [B, 1]]);
  assertEquals(picks(pool, 4), "abab");
  pool.set(A, 3);
  const weighted = picks(pool, 8);
  assertEquals(weighted.replaceAll("b", ""), "aaaaaa");
  assertEquals(weighted.includes("aaaa"), false, "spread, not in a row");
  pool.set(A, 1);
  assertEquals([...picks(pool, 4)].sort().join(""), "aabb");
});

Deno.test("a strategy that was asked for is kept whatever the weights", () => {
  const pool = makePool([[A, 1], [B, 5]], "least-connections");
  const leases = Array.from({ length: 12 }, () => pool.pick()!.acquire());
  assertEquals([A.inFlight, B.inFlight], [2, 10]);
  for (const lease of leases) lease.release();
  assertEquals([A.inFlight, B.inFlight], [0, 0]);
});

Deno.test("weight 0 takes a member out while another has more", () => {
  const pool = makePool([[A, 0], [B, 1]]);
  assertEquals(picks(pool, 3), "bbb");
  pool.set(B, 0);
  assertEquals([...picks(pool, 4)].sort().join(""), "aabb");
});

Deno.test("those that are skipped are not picked", () => {
  const pool = makePool([[A, 1], [B, 1]]);
  for (let i = 0; i < 4; i++) {
    assertStrictEquals(pool.pick((member) => member.backend === A), B);
  }
  assertEquals(pool.pick(() => true), undefined);
});

Deno.test("only active backends are picked, and those that come back are again", () => {
  const pool = makePool([[A, 1], [B, 1]]);
  try {
    A.state = "draining";
    pool.refresh();
    assertEquals(picks(pool, 3), "bbb");
    assertEquals(pool.size, 2, "it is still a member");
    B.state = "removed";
    pool.refresh();
    assertEquals(picks(pool, 2), "--");
    A.state = "active";
    pool.refresh();
    assertEquals(picks(pool, 2), "aa");
  } finally {
    A.state = B.state = "active";
  }
});

Deno.test("a draining member with another weight does not make the others weighted", () => {
  const pool = makePool([[A, 1], [B, 1], [C, 9]]);
  try {
    C.state = "draining";
    pool.refresh();
    assertEquals(picks(pool, 4), "abab");
  } finally {
    C.state = "active";
  }
});

Deno.test("a backend knows the pools that it is in", () => {
  const [first, second] = [makePool([[A, 1]]), makePool([[A, 2], [B, 1]])];
  assert(A.pools.has(first) && A.pools.has(second));
  assertEquals(second.get(A)?.weight, 2);
  assertEquals(first.delete(A), true);
  assertEquals(first.delete(A), false);
  assertEquals([A.pools.has(first), first.get(A), first.pick()], [false, undefined, undefined]);
  assert(A.pools.has(second));
});

Deno.test("a member shows its backend's address and load, and its own share", () => {
  const pool = makePool([[A, 7]]);
  const member = pool.get(A)!;
  const lease = A.acquire();
  assertEquals([member.addr, member.weight, member.inFlight], ["http://a:80", 7, 1]);
  lease.release();
  assertEquals(member.inFlight, 0);
});

Deno.test("a lease is given back exactly once", async () => {
  const backend = makeBackend("http://d:80");
  const [first, second] = [backend.acquire(), backend.acquire()];
  let idle = false;
  const waiting = backend.whenIdle().then(() => idle = true);
  first.release();
  first.release();
  await settle();
  assertEquals([backend.inFlight, idle], [1, false]);
  second.release();
  await waiting;
  assertEquals(backend.inFlight, 0);
  await backend.whenIdle();
});

Deno.test("a backend that is not active closes its idle connections with its last lease", async () => {
  for (const state of ["draining", "removed"] as const) {
    const script = new ScriptedBackend();
    const time = new FakeClock();
    const backend = makeBackend("http://e:80", script, time);
    const [first, second] = [backend.acquire(), backend.acquire()];
    const connection = await backend.http.open();
    backend.state = state;
    backend.http.release(connection, Infinity);
    first.release();
    assertEquals(backend.http.idle, 1, "another exchange may still use it");
    second.release();
    assertEquals([backend.http.idle, script.connections[0]!.closedByProxy], [0, true]);
    assertEquals(time.clock.size, 0);
  }
});

import { assert, assertAlmostEquals, assertEquals, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import {
  type Candidate,
  PeakEwma,
  PeakLatency,
  PowerOfTwo,
  Random,
} from "../../lib/strategy/mod.ts";
import { Random as Chance } from "../support/prng.ts";

const SEED = 20261122;

/** A repeatable source of chance. */
function makeRandom(seed: number): () => number {
  const chance = new Chance(seed);
  return () => chance.next();
}

/** A backend whose requests take some time, counted as a holder of leases counts. */
interface Server extends Candidate {
  inFlight: number;
  served: number;
}

function makeServers(...weights: number[]): Server[] {
  return weights.map((weight, index) => ({
    addr: String.fromCharCode(97 + index),
    weight,
    inFlight: 0,
    served: 0,
  }));
}

function countPicks(strategy: PowerOfTwo | PeakEwma, runs: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let run = 0; run < runs; run++) {
    const { addr } = strategy.next()!;
    counts.set(addr, (counts.get(addr) ?? 0) + 1);
  }
  return counts;
}

// Power of two choices

Deno.test("power of two picks the less loaded of any two", () => {
  const strategy = new PowerOfTwo([{ addr: "a", inFlight: 4 }, { addr: "b", inFlight: 3 }]);
  for (let pick = 0; pick < 50; pick++) assertEquals(strategy.next()?.addr, "b");
});

Deno.test("power of two never picks the most loaded of three", () => {
  const strategy = new PowerOfTwo([
    { addr: "a", inFlight: 4 },
    { addr: "b", inFlight: 9 },
    { addr: "c", inFlight: 0 },
  ]);
  const counts = countPicks(strategy, 3000);
  assertEquals(counts.get("b"), undefined);
  // a wins against b only: one of three pairs
  assertAlmostEquals(counts.get("a")! / 3000, 1 / 3, 0.05);
});

Deno.test("power of two compares the load relative to the weight", () => {
  const strategy = new PowerOfTwo([
    { addr: "a", inFlight: 5, weight: 3 },
    { addr: "b", inFlight: 2, weight: 1 },
  ]);
  for (let pick = 0; pick < 50; pick++) assertEquals(strategy.next()?.addr, "a");
});

Deno.test("power of two keeps the fullest backend far below what chance gives it", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      // n requests that never end, on n backends: ln ln n / ln 2 against ln n / ln ln n
      const size = 500;
      const fullest = (make: (servers: Server[]) => { next(): Server | undefined }) => {
        const servers = makeServers(...Array<number>(size).fill(1));
        const strategy = make(servers);
        for (let request = 0; request < size; request++) strategy.next()!.inFlight++;
        return Math.max(...servers.map(({ inFlight }) => inFlight));
      };
      const random = makeRandom(seed);
      const two = fullest((servers) => new PowerOfTwo(servers, { random }));
      const one = fullest((servers) => new Random(servers, { random }));
      assertLessOrEqual(two, 4);
      assert(two < one, `${two} with two choices, ${one} with one`);
    }),
    { seed: SEED, numRuns: 20 },
  );
});

Deno.test("power of two gives each its weight when requests take equally long", () => {
  const servers = makeServers(1, 2, 5);
  const strategy = new PowerOfTwo(servers, { random: makeRandom(3) });
  const open: Server[] = [];
  for (let request = 0; request < 20_000; request++) {
    const server = strategy.next()!;
    server.inFlight++;
    server.served++;
    open.push(server);
    if (open.length > 40) open.shift()!.inFlight--;
  }
  for (const { served, weight } of servers) assertAlmostEquals(served / 20_000, weight! / 8, 0.03);
});

Deno.test("power of two counts its own picks until they are released", () => {
  const [a, b] = [{ addr: "a" }, { addr: "b" }];
  const strategy = new PowerOfTwo([a, b]);
  const first = strategy.next()!;
  const second = strategy.next()!;
  assert(first !== second);
  strategy.release(first);
  assertEquals(strategy.next(), first);
});

// The estimate of latency

Deno.test("a peak of latency counts at once, and fades by 1/e in the time of decay", () => {
  const latency = new PeakLatency({ decay: 1000 });
  latency.observe(10, 0);
  latency.observe(200, 0);
  assertEquals(latency.read(0), 200);
  assertAlmostEquals(latency.read(1000), 200 / Math.E, 1e-9);
  latency.observe(10, 1000);
  assertAlmostEquals(latency.read(1000), 200 / Math.E + 10 * (1 - 1 / Math.E), 1e-9);
});

Deno.test("the estimate lies between the lowest and the highest latency, and forgets in time", () => {
  const step = fc.record({
    latency: fc.integer({ min: 1, max: 5000 }),
    pause: fc.nat(3000),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1 }), (steps) => {
      const latency = new PeakLatency();
      let now = 0;
      for (const { latency: value, pause } of steps) {
        now += pause;
        latency.observe(value, now);
        assertLessOrEqual(latency.read(now), Math.max(...steps.map(({ latency }) => latency)));
        assert(latency.read(now) > 0);
      }
      assert(latency.read(now + 1_000_000) < 0.001);
    }),
    { seed: SEED },
  );
});

Deno.test("a failure counts a second at least, and twice as much each time, up to a minute", () => {
  const latency = new PeakLatency();
  latency.punish(1, 0);
  assertEquals(latency.read(0), 1000);
  latency.punish(1, 0);
  assertEquals(latency.read(0), 2000);
  for (let failure = 0; failure < 20; failure++) latency.punish(1, 0);
  assertEquals(latency.read(0), 60_000);
});

Deno.test("Retry-After is a time of infinite latency, a minute at most", () => {
  const latency = new PeakLatency();
  latency.punish(5, 0, 2000);
  assertEquals(latency.read(1999), Infinity);
  assert(latency.read(2000) < 1000);
  latency.punish(5, 10_000, 3_600_000);
  assertEquals(latency.read(69_999), Infinity);
  assert(latency.read(70_000) < Infinity);
});

// Peak EWMA

Deno.test("peak EWMA prefers the quicker, and the one that nobody knows yet", () => {
  const candidates = [
    { addr: "a", latency: 80, inFlight: 0 },
    { addr: "b", latency: 5, inFlight: 0 },
  ];
  const strategy = new PeakEwma(candidates);
  for (let pick = 0; pick < 20; pick++) assertEquals(strategy.next()?.addr, "b");
  strategy.update([...candidates, { addr: "c", latency: 0, inFlight: 0 }]);
  const counts = countPicks(strategy, 300);
  assert(counts.get("c")! > counts.get("b")!);
});

Deno.test("peak EWMA weighs latency by what is in flight and by weight", () => {
  const slow = { addr: "slow", latency: 20, inFlight: 0 };
  const busy = { addr: "busy", latency: 5, inFlight: 4 };
  assertEquals(new PeakEwma([slow, busy]).next(), slow);
  const heavy = { ...busy, weight: 2 };
  assertEquals(new PeakEwma([slow, heavy]).next(), heavy);
});

Deno.test("peak EWMA picks who wants to be left alone only when all do", () => {
  const paused = ["a", "b", "c", "d"].map((addr) => ({ addr, latency: Infinity }));
  const strategy = new PeakEwma<Candidate>([...paused, { addr: "e", latency: 900 }]);
  for (let pick = 0; pick < 200; pick++) assertEquals(strategy.next()?.addr, "e");
  strategy.update(paused);
  assert(strategy.next() !== undefined);
});

Deno.test("peak EWMA moves traffic away from a backend that becomes slow, and back when it recovers", () => {
  let now = 0;
  const servers = makeServers(1, 1, 1, 1);
  const random = makeRandom(5);
  const strategy = new PeakEwma(servers, { now: () => now, random });
  const phase = (slow: number) => {
    for (const server of servers) server.served = 0;
    const ends: { readonly at: number; readonly server: Server; readonly latency: number }[] = [];
    for (let request = 0; request < 8000; request++, now += 5) {
      while (ends.length > 0 && ends[0]!.at <= now) {
        const { server, latency } = ends.shift()!;
        server.inFlight--;
        strategy.observe(server, latency);
      }
      const server = strategy.next()!;
      server.inFlight++;
      server.served++;
      const latency = (server === servers[0] ? slow : 10) * (0.5 + random());
      const at = now + latency;
      const index = ends.findIndex((end) => end.at > at);
      ends.splice(index < 0 ? ends.length : index, 0, { at, server, latency });
    }
    for (const { server } of ends) server.inFlight--;
    return servers[0]!.served / 8000;
  };
  assertAlmostEquals(phase(10), 1 / 4, 0.05);
  assertLessOrEqual(phase(500), 0.03);
  phase(10); // the peak of 500 ms fades to 10 ms in 39 s, as long as a phase
  assertAlmostEquals(phase(10), 1 / 4, 0.05);
});

Deno.test("peak EWMA gives little to a backend that fails at once, however quick it is", () => {
  let now = 0;
  const servers = makeServers(1, 1, 1);
  const strategy = new PeakEwma<Server>(
    servers.map((server) => ({ ...server, inFlight: 0 })),
    { now: () => now, random: makeRandom(7) },
  );
  const counts = new Map<string, number>();
  for (let request = 0; request < 3000; request++, now += 10) {
    const server = strategy.next()!;
    counts.set(server.addr, (counts.get(server.addr) ?? 0) + 1);
    if (server.addr === "a") strategy.punish(server, 1);
    else strategy.observe(server, 20);
  }
  assertLessOrEqual(counts.get("a")!, 60);
});

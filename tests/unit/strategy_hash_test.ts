import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertLessOrEqual,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import { type Candidate, ConsistentHash, hashText } from "../../lib/strategy/mod.ts";

const SEED = 20261122;
const KEYS = Array.from({ length: 2000 }, (_, index) => hashText(`user-${index}`));

function candidatesOf(...weights: number[]): Candidate[] {
  return weights.map((weight, index) => ({ addr: `10.0.0.${index}:80`, weight }));
}

/** Where every key goes. */
function owners(strategy: ConsistentHash, keys = KEYS): (string | undefined)[] {
  return keys.map((key) => strategy.next(undefined, key)?.addr);
}

Deno.test("the hash of a text is the same in every process and spreads what differs at the end only", () => {
  assertEquals([hashText(""), hashText("a"), hashText("user-1")], [
    2872998923,
    444641715,
    2005895916,
  ]);
  const buckets = new Array<number>(16).fill(0);
  for (const key of KEYS) buckets[key >>> 28]!++;
  for (const count of buckets) assertAlmostEquals(count / KEYS.length, 1 / 16, 0.02);
});

Deno.test("a key goes to the same candidate each time, whatever order they were given in", () => {
  const candidates = candidatesOf(1, 2, 3, 4);
  const first = owners(new ConsistentHash(candidates));
  assertEquals(owners(new ConsistentHash(candidates)), first);
  assertEquals(owners(new ConsistentHash([...candidates].reverse())), first);
});

Deno.test("when a candidate leaves, only its own keys move; when it comes back, they return", () => {
  const weights = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 8 });
  fc.assert(
    fc.property(weights, fc.nat(), (weights, which) => {
      const candidates = candidatesOf(...weights);
      const strategy = new ConsistentHash(candidates);
      const before = owners(strategy);
      const leaver = candidates[which % candidates.length]!;
      strategy.update(candidates.filter((candidate) => candidate !== leaver));
      for (const [index, owner] of owners(strategy).entries()) {
        if (before[index] === leaver.addr) assert(owner !== leaver.addr);
        else assertEquals(owner, before[index]);
      }
      strategy.update(candidates);
      assertEquals(owners(strategy), before);
    }),
    { seed: SEED, numRuns: 30 },
  );
});

Deno.test("a candidate that is skipped gives its keys to those that would get them if it left", () => {
  const candidates = candidatesOf(1, 1, 1, 1);
  const [out] = candidates;
  const all = new ConsistentHash(candidates);
  const without = new ConsistentHash(candidates.slice(1));
  for (const key of KEYS) {
    assertEquals(all.next((candidate) => candidate === out, key), without.next(undefined, key));
  }
});

Deno.test("keys spread by the weights", () => {
  const weights = [1, 2, 5];
  const counts = new Map<string | undefined, number>();
  const keys = Array.from({ length: 20_000 }, (_, index) => hashText(`/path/${index}`));
  for (const owner of owners(new ConsistentHash(candidatesOf(...weights)), keys)) {
    counts.set(owner, (counts.get(owner) ?? 0) + 1);
  }
  for (const [index, weight] of weights.entries()) {
    assertAlmostEquals(counts.get(`10.0.0.${index}:80`)! / 20_000, weight / 8, 0.06);
  }
});

Deno.test("a change of weight is seen at the next pick and moves only what it must", () => {
  const candidates = [
    { addr: "a:1", weight: 1 },
    { addr: "b:1", weight: 1 },
    { addr: "c:1", weight: 1 },
  ];
  const strategy = new ConsistentHash(candidates);
  const before = owners(strategy);
  candidates[0]!.weight = 2;
  for (const [index, owner] of owners(strategy).entries()) {
    if (owner !== before[index]) assertEquals(owner, "a:1");
  }
});

Deno.test("no candidate gets more in flight than the load factor times its share", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 6 }),
      fc.double({ min: 1, max: 3, noNaN: true }),
      fc.array(fc.nat(9), { minLength: 1, maxLength: 200 }),
      (weights, loadFactor, keys) => {
        const servers = weights.map((weight, index) => ({
          addr: `s${index}`,
          weight,
          inFlight: 0,
        }));
        const total = weights.reduce((sum, weight) => sum + weight);
        const strategy = new ConsistentHash(servers, { loadFactor });
        for (const [open, key] of keys.entries()) {
          strategy.next(undefined, hashText(`hot-${key}`))!.inFlight++;
          for (const { inFlight, weight } of servers) {
            assertLessOrEqual(inFlight, Math.ceil(loadFactor * (open + 1) * weight / total));
          }
        }
      },
    ),
    { seed: SEED },
  );
});

Deno.test("without a bound one hot key stays on one candidate", () => {
  const servers = ["a", "b", "c"].map((addr) => ({ addr, inFlight: 0 }));
  const strategy = new ConsistentHash(servers, { loadFactor: Infinity });
  for (let request = 0; request < 50; request++) strategy.next(undefined, 7)!.inFlight++;
  assertEquals(servers.map(({ inFlight }) => inFlight).sort(), [0, 0, 50]);
});

Deno.test("a candidate of weight 0 has no keys while another has more", () => {
  assertEquals(
    new Set(owners(new ConsistentHash(candidatesOf(0, 1, 0)))),
    new Set(["10.0.0.1:80"]),
  );
  const even = new Set(owners(new ConsistentHash(candidatesOf(0, 0))));
  assertEquals(even.size, 2);
});

Deno.test("very heavy candidates make no ring that is larger than the bound, and light ones keep a point", () => {
  const strategy = new ConsistentHash(candidatesOf(65_535, 65_535, 1));
  const counts = new Map<string | undefined, number>();
  for (const owner of owners(strategy)) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  assertAlmostEquals(counts.get("10.0.0.0:80")! / KEYS.length, 0.5, 0.05);
});

Deno.test("a load factor below 1 is refused", () => {
  for (const loadFactor of [0.99, 0, -1, NaN]) {
    assertThrows(() => new ConsistentHash([], { loadFactor }), TypeError, String(loadFactor));
  }
});

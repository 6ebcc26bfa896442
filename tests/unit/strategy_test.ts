import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertInstanceOf,
  assertLessOrEqual,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import {
  type Candidate,
  ConsistentHash,
  createStrategy,
  isStrategyName,
  LeastConnections,
  PeakEwma,
  PowerOfTwo,
  Random,
  RoundRobin,
  strategies,
  type Strategy,
  WeightedRoundRobin,
} from "../../lib/strategy/mod.ts";

const SEED = 20260731;
const NAMES = Object.keys(strategies);

/** Candidates a, b, c, ... with these weights. */
function candidatesOf(...weights: number[]): Candidate[] {
  return weights.map((weight, index) => ({ addr: String.fromCharCode(97 + index), weight }));
}

/** The addresses of the next `count` picks, `-` for none. */
function picks(
  strategy: Strategy,
  count: number,
  skip?: (candidate: Candidate) => boolean,
): string {
  return Array.from({ length: count }, () => strategy.next(skip)?.addr ?? "-").join("");
}

function countOf(text: string, addr: string): number {
  return text.split(addr).length - 1;
}

/** A repeatable source of chance: the generator mulberry32. */
function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const weights = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 8 });
const name = fc.constantFrom(...NAMES);

// Every strategy

Deno.test("every strategy has nothing to pick among no candidates", () => {
  for (const name of NAMES) {
    const strategy = createStrategy<Candidate>(name, []);
    assertEquals(strategy.next(), undefined);
    strategy.update(candidatesOf(1));
    assertEquals(strategy.next()?.addr, "a");
    strategy.update([]);
    assertEquals(strategy.next(), undefined);
  }
});

Deno.test("every strategy picks exactly when one that counts is let through, and never a skipped one", () => {
  fc.assert(
    fc.property(name, weights, fc.array(fc.nat(255), { minLength: 1 }), (name, weights, masks) => {
      const candidates = candidatesOf(...weights);
      const strategy = createStrategy(name, candidates);
      const weighted = weights.some((weight) => weight > 0);
      for (const mask of masks) {
        const isSkipped = (candidate: Candidate) =>
          (mask >> candidates.indexOf(candidate) & 1) === 1;
        const open = candidates.filter((candidate) =>
          !isSkipped(candidate) && (!weighted || candidate.weight! > 0)
        );
        const picked = strategy.next(isSkipped);
        if (open.length === 0) assertEquals(picked, undefined);
        else assert(open.includes(picked!), `${name} picked ${picked?.addr}`);
      }
    }),
    { seed: SEED, numRuns: 500 },
  );
});

Deno.test("every strategy gives up after a bounded number of questions when all are skipped", () => {
  const candidates = Array.from({ length: 1000 }, (_, index) => ({ addr: String(index) }));
  for (const name of NAMES) {
    const strategy = createStrategy(name, candidates);
    let asked = 0;
    const skip = () => ++asked > 0;
    assertEquals(strategy.next(skip), undefined);
    assertLessOrEqual(asked, 1010, name);
  }
});

Deno.test("every strategy leaves weight 0 out while another has more, skipped or not", () => {
  for (const name of NAMES) {
    const strategy = createStrategy(name, candidatesOf(0, 1, 0));
    assertEquals(picks(strategy, 6), "bbbbbb", name);
    assertEquals(picks(strategy, 2, ({ addr }) => addr === "b"), "--", name);
  }
});

Deno.test("every strategy uses all alike when all have weight 0", () => {
  for (const name of NAMES) {
    const text = picks(createStrategy(name, candidatesOf(0, 0, 0)), 300);
    for (const addr of "abc") assert(countOf(text, addr) > 50, `${name}: ${addr}`);
  }
});

Deno.test("every strategy reads weights at each pick", () => {
  for (const name of NAMES) {
    const a = { addr: "a", weight: 1 };
    const b = { addr: "b", weight: 1 };
    const strategy = createStrategy(name, [a, b]);
    picks(strategy, 3);
    a.weight = 0;
    assertEquals(picks(strategy, 5), "bbbbb", name);
  }
});

Deno.test("every strategy without chance keeps its order over updates that change nothing", () => {
  const ordered = fc.constantFrom("round-robin", "weighted-round-robin", "least-connections");
  fc.assert(
    fc.property(ordered, weights, fc.array(fc.boolean(), { minLength: 30 }), (name, w, updates) => {
      const candidates = candidatesOf(...w);
      const changed = createStrategy(name, candidates);
      const left = createStrategy(name, candidates);
      for (const update of updates) {
        if (update) changed.update([...candidates]);
        assertEquals(changed.next(), left.next());
      }
    }),
    { seed: SEED },
  );
});

Deno.test("every strategy is deaf to changes of the array it was given", () => {
  for (const name of NAMES) {
    const candidates = candidatesOf(1);
    const strategy = createStrategy(name, candidates);
    candidates.pop();
    assertEquals(strategy.next()?.addr, "a", name);
    candidates.push({ addr: "b" });
    strategy.update(candidates);
    candidates.pop();
    assertEquals(strategy.next()?.addr, "b", name);
  }
});

// Round robin

Deno.test("round robin takes turns in order, whatever the weights", () => {
  assertEquals(picks(new RoundRobin(candidatesOf(1, 9, 3)), 7), "abcabca");
});

Deno.test("round robin gives the turn of a skipped candidate to the next", () => {
  const strategy = new RoundRobin(candidatesOf(1, 1, 1));
  assertEquals(picks(strategy, 4, ({ addr }) => addr === "b"), "acac");
  assertEquals(picks(strategy, 3), "abc");
});

Deno.test("round robin goes on after an update where it was", () => {
  const [a, b, c, d] = candidatesOf(1, 1, 1, 1) as [Candidate, Candidate, Candidate, Candidate];
  const strategy = new RoundRobin([a, b, c]);
  assertEquals(picks(strategy, 1), "a");
  strategy.update([d, c, b, a]);
  assertEquals(picks(strategy, 2), "ba");
  strategy.update([b, c]); // it was d's turn, then c's
  assertEquals(picks(strategy, 3), "cbc");
  strategy.update([a, d]); // nobody stays
  assertEquals(picks(strategy, 3), "ada");
});

Deno.test("round robin differs by at most one pick between any two candidates", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 50 }), (size, count) => {
      const candidates = candidatesOf(...Array<number>(size).fill(1));
      const text = picks(new RoundRobin(candidates), count);
      const counts = candidates.map(({ addr }) => countOf(text, addr));
      assertLessOrEqual(Math.max(...counts) - Math.min(...counts), 1);
    }),
    { seed: SEED },
  );
});

// Weighted round robin

Deno.test("weighted round robin has the order that nginx gives for 5, 1, 1", () => {
  assertEquals(picks(new WeightedRoundRobin(candidatesOf(5, 1, 1)), 14), "aabacaaaabacaa");
});

Deno.test("weighted round robin gives each its weight in any row as long as the sum of weights", () => {
  fc.assert(
    fc.property(weights, fc.nat(30), (weights, offset) => {
      fc.pre(weights.some((weight) => weight > 0));
      const sum = weights.reduce((sum, weight) => sum + weight);
      const strategy = new WeightedRoundRobin(candidatesOf(...weights));
      picks(strategy, offset);
      const text = picks(strategy, sum);
      for (const { addr, weight } of candidatesOf(...weights)) {
        assertEquals(countOf(text, addr), weight);
      }
    }),
    { seed: SEED },
  );
});

Deno.test("weighted round robin shares among those that are not skipped by weight", () => {
  const strategy = new WeightedRoundRobin(candidatesOf(5, 2, 1));
  const text = picks(strategy, 30, ({ addr }) => addr === "a");
  assertEquals([countOf(text, "b"), countOf(text, "c")], [20, 10]);
});

Deno.test("weighted round robin makes nobody wait when a heavy candidate leaves or gets light", () => {
  const prepare = () => {
    const candidates = [
      { addr: "a", weight: 60_000 },
      { addr: "b", weight: 1 },
      { addr: "c", weight: 1 },
    ];
    const strategy = new WeightedRoundRobin(candidates);
    let picked = strategy.next();
    while (picked?.addr !== "b") picked = strategy.next(); // now b owes and c is owed some 30 000
    return { strategy, candidates };
  };
  const left = prepare();
  left.strategy.update(left.candidates.slice(1));
  assertEquals(countOf(picks(left.strategy, 6), "b"), 3);
  const lightened = prepare();
  lightened.candidates[0]!.weight = 1;
  const text = picks(lightened.strategy, 9);
  for (const addr of "abc") assertLessOrEqual(Math.abs(countOf(text, addr) - 3), 1, text);
});

Deno.test("weighted round robin stays within two picks of the fair share, whoever comes and goes", () => {
  const weight = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constant(60_000));
  const changes = fc.array(fc.record({ mask: fc.nat(63), count: fc.nat(30) }), { maxLength: 20 });
  fc.assert(
    fc.property(fc.array(weight, { minLength: 6, maxLength: 6 }), changes, (weights, changes) => {
      const all = candidatesOf(...weights);
      const strategy = new WeightedRoundRobin(all);
      for (const { mask, count } of changes) {
        const present = all.filter((_, index) => mask >> index & 1);
        strategy.update(present);
        const sum = present.reduce((sum, candidate) => sum + candidate.weight!, 0);
        const text = picks(strategy, count);
        for (const { addr, weight } of present) {
          assertLessOrEqual(Math.abs(countOf(text, addr) - count * weight! / sum), 2);
        }
      }
    }),
    { seed: SEED, numRuns: 300 },
  );
});

Deno.test("weighted round robin lets a candidate that comes and goes wait no longer each time", () => {
  const candidates = candidatesOf(1, 1, 1, 1);
  const strategy = new WeightedRoundRobin(candidates);
  for (let round = 0; round < 100; round++) {
    strategy.update(candidates.slice(1));
    strategy.update(candidates);
    let waited = 0;
    while (strategy.next()?.addr !== "a") waited++;
    assertLessOrEqual(waited, 4, `in round ${round}`);
  }
});

// Random

Deno.test("random picks in proportion to the weights", () => {
  const runs = 20_000;
  const cases: [weights: number[], chances: number[]][] = [
    [[1, 1, 1, 1], [0.25, 0.25, 0.25, 0.25]],
    [[1, 2, 7], [0.1, 0.2, 0.7]],
    [[1, 0, 99], [0.01, 0, 0.99]],
    [[0, 0], [0.5, 0.5]],
  ];
  for (const [weights, chances] of cases) {
    const text = picks(new Random(candidatesOf(...weights), { random: seeded(1) }), runs);
    const shares = candidatesOf(...weights).map(({ addr }) => countOf(text, addr) / runs);
    for (const [index, share] of shares.entries()) {
      assertAlmostEquals(share, chances[index]!, 0.015, `${weights}`);
    }
  }
});

Deno.test("random keeps the proportions among those that are not skipped", () => {
  const runs = 20_000;
  const strategy = new Random(candidatesOf(100, 1, 3), { random: seeded(2) });
  const text = picks(strategy, runs, ({ addr }) => addr === "a");
  assertAlmostEquals(countOf(text, "b") / runs, 1 / 4, 0.015);
  assertAlmostEquals(countOf(text, "c") / runs, 3 / 4, 0.015);
});

Deno.test("random learns of a weight that was raised after it took the candidates", () => {
  const candidates = [{ addr: "a", weight: 1 }, { addr: "b", weight: 1 }];
  const strategy = new Random(candidates, { random: seeded(3) });
  candidates[1]!.weight = 9;
  const text = picks(strategy, 20_000);
  assertAlmostEquals(countOf(text, "b") / 20_000, 0.9, 0.015);
});

Deno.test("random needs one draw among equal weights", () => {
  let draws = 0;
  const strategy = new Random(candidatesOf(3, 3, 3), { random: () => (++draws % 100) / 100 });
  picks(strategy, 500);
  assertEquals(draws, 500);
});

// Least connections

Deno.test("least connections picks by the load that the lease holder counts", () => {
  const candidates = [{ addr: "a", inFlight: 2 }, { addr: "b", inFlight: 0 }, {
    addr: "c",
    inFlight: 1,
  }];
  const strategy = new LeastConnections(candidates);
  assertEquals(strategy.next()?.addr, "b");
  assertEquals(strategy.next()?.addr, "b"); // nobody has counted
  candidates[1]!.inFlight = 3;
  assertEquals(strategy.next()?.addr, "c");
  strategy.release(candidates[1]!);
  assertEquals(candidates[1]!.inFlight, 3);
});

Deno.test("least connections divides the load by the weight", () => {
  const candidates = [{ addr: "a", inFlight: 5, weight: 3 }, { addr: "b", inFlight: 2, weight: 1 }];
  assertEquals(new LeastConnections(candidates).next()?.addr, "a");
  const text = picks(new LeastConnections(candidatesOf(3, 1)), 40);
  assertEquals([countOf(text, "a"), countOf(text, "b")], [30, 10]);
});

Deno.test("least connections rotates among those that are equally loaded", () => {
  const candidates = ["a", "b", "c", "d"].map((addr) => ({ addr, inFlight: addr === "b" ? 1 : 0 }));
  assertEquals(picks(new LeastConnections(candidates), 7), "acdacda");
});

Deno.test("least connections counts its own picks until they are released", () => {
  const [a, b] = candidatesOf(1, 1) as [Candidate, Candidate];
  const strategy = new LeastConnections([a, b]);
  assertEquals(picks(strategy, 4), "abab");
  strategy.release(b);
  strategy.release(b);
  assertEquals(picks(strategy, 2), "bb");
  strategy.release(a);
  strategy.release(a);
  strategy.release(a); // one too many is no debt
  assertEquals(picks(strategy, 3), "aab");
});

Deno.test("least connections remembers the work of a candidate that leaves and comes back", () => {
  const [a, b] = candidatesOf(1, 1) as [Candidate, Candidate];
  const strategy = new LeastConnections([a, b]);
  assertEquals(picks(strategy, 4), "abab");
  strategy.update([b]);
  strategy.release(a);
  strategy.update([a, b]);
  assertEquals(picks(strategy, 2), "ab");
});

Deno.test("least connections always picks one of the least loaded when it counts itself", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.array(fc.nat(), { maxLength: 60 }),
      (size, steps) => {
        const candidates = candidatesOf(...Array<number>(size).fill(1));
        const strategy = new LeastConnections(candidates);
        const loads = new Map(candidates.map((candidate) => [candidate, 0]));
        for (const step of steps) {
          const least = Math.min(...loads.values());
          const picked = strategy.next()!;
          assertEquals(loads.get(picked), least);
          loads.set(picked, least + 1);
          const done = candidates[step % size]!;
          if (step % 3 === 0 && loads.get(done)! > 0) {
            strategy.release(done);
            loads.set(done, loads.get(done)! - 1);
          }
        }
      },
    ),
    { seed: SEED },
  );
});

// Registry

Deno.test("createStrategy() makes each strategy by its name", () => {
  assertEquals(NAMES, [
    "round-robin",
    "random",
    "least-connections",
    "weighted-round-robin",
    "power-of-two",
    "peak-ewma",
    "consistent-hash",
  ]);
  assertInstanceOf(createStrategy("round-robin", []), RoundRobin);
  assertInstanceOf(createStrategy("random", []), Random);
  assertInstanceOf(createStrategy("least-connections", []), LeastConnections);
  assertInstanceOf(createStrategy("weighted-round-robin", []), WeightedRoundRobin);
  assertInstanceOf(createStrategy("power-of-two", []), PowerOfTwo);
  assertInstanceOf(createStrategy("peak-ewma", []), PeakEwma);
  assertInstanceOf(createStrategy("consistent-hash", []), ConsistentHash);
});

Deno.test("createStrategy() refuses an unknown name and lists the known ones", () => {
  for (const name of ["fastest", "", "Random", "constructor", "__proto__"]) {
    assert(!isStrategyName(name));
    const error = assertThrows(
      () => createStrategy<Candidate>(name, []),
      TypeError,
      JSON.stringify(name),
    );
    for (const known of NAMES) assert(error.message.includes(known));
  }
});

import { assert, assertEquals, assertGreaterOrEqual, assertLess } from "@std/assert";
import { Clock, type Timed } from "../../lib/common/clock.ts";
import { Random } from "../support/prng.ts";

const RESOLUTION = 100;

/** A clock that is moved by hand. */
function makeClock(): { clock: Clock; pass: (ms: number) => void } {
  let now = 0;
  const clock = new Clock({ resolution: RESOLUTION, now: () => now });
  return {
    clock,
    pass(ms) {
      now += ms;
      clock.tick();
    },
  };
}

/** Notes when its deadline was met. */
class Probe implements Timed {
  deadline = Infinity;
  readonly met: number[] = [];
  readonly #clock: Clock;
  readonly #then: () => void;

  constructor(clock: Clock, then: () => void = () => {}) {
    this.#clock = clock;
    this.#then = then;
  }

  onDeadline(): void {
    this.met.push(this.#clock.now());
    this.#then();
  }
}

Deno.test("a deadline is met once, not before its delay and at most two resolutions after it", () => {
  const random = new Random(1);
  for (let round = 0; round < 200; round++) {
    const { clock, pass } = makeClock();
    const probe = new Probe(clock);
    clock.watch(probe);
    pass(random.below(1000));
    const armed = clock.now();
    const delay = random.below(2000);
    clock.arm(probe, delay);
    while (clock.now() < armed + 5000) pass(1 + random.below(RESOLUTION));
    assertEquals(probe.met.length, 1);
    assertGreaterOrEqual(probe.met[0]!, armed + delay);
    assertLess(probe.met[0]!, armed + delay + 2 * RESOLUTION);
    clock.unwatch(probe);
  }
});

Deno.test("time as it was at the last look is good enough to arm with", () => {
  let now = 0;
  const clock = new Clock({ resolution: RESOLUTION, now: () => now });
  const probe = new Probe(clock);
  clock.watch(probe);
  now = RESOLUTION - 1; // no look in between
  clock.arm(probe, 50);
  now = RESOLUTION + 48;
  clock.tick();
  assertEquals(probe.met, [], "49 ms after it was armed");
  now = 2 * RESOLUTION + 50;
  clock.tick();
  assertEquals(probe.met, [now]);
  clock.unwatch(probe);
});

Deno.test("a deadline can be moved, taken away and set again", () => {
  const { clock, pass } = makeClock();
  const probe = new Probe(clock);
  clock.watch(probe);
  clock.arm(probe, 500);
  pass(400);
  clock.arm(probe, 500);
  pass(400);
  assertEquals(probe.met, [], "moved");
  clock.disarm(probe);
  pass(10_000);
  assertEquals(probe.met, [], "taken away");
  clock.arm(probe, 100);
  pass(200);
  assertEquals(probe.met.length, 1);
  pass(10_000);
  assertEquals(probe.met.length, 1, "once");
  clock.unwatch(probe);
});

Deno.test("a deadline that was brought forward is met at its new time", () => {
  const { clock, pass } = makeClock();
  const probe = new Probe(clock);
  clock.watch(probe);
  clock.arm(probe, 100_000);
  clock.arm(probe, 100);
  pass(200);
  assertEquals(probe.met, [200]);
  clock.unwatch(probe);
});

Deno.test("many deadlines are met each in its time, whatever the order they were set in", () => {
  const { clock, pass } = makeClock();
  const delays = [700, 100, 400, 1000, 100, 50];
  const probes = delays.map(() => new Probe(clock));
  for (const [i, probe] of probes.entries()) {
    clock.watch(probe);
    clock.arm(probe, delays[i]!);
  }
  for (let time = 0; time < 1500; time += 50) pass(50);
  for (const [i, probe] of probes.entries()) {
    assertEquals(probe.met, [delays[i]! + RESOLUTION]);
    clock.unwatch(probe);
  }
});

Deno.test("what is met may arm itself again", () => {
  const { clock, pass } = makeClock();
  const probe: Probe = new Probe(clock, () => clock.arm(probe, 100));
  clock.watch(probe);
  clock.arm(probe, 100);
  for (let time = 0; time < 1000; time += 100) pass(100);
  assertEquals(probe.met, [200, 400, 600, 800, 1000]);
  clock.unwatch(probe);
});

Deno.test("what is met may leave, take others with it and bring new ones", () => {
  const { clock, pass } = makeClock();
  const late = new Probe(clock);
  const other = new Probe(clock);
  const first: Probe = new Probe(clock, () => {
    clock.unwatch(first);
    clock.unwatch(other);
    clock.watch(late);
    clock.arm(late, 100);
  });
  for (const probe of [first, other]) {
    clock.watch(probe);
    clock.arm(probe, 100);
  }
  pass(200);
  assertEquals([first.met, other.met, late.met], [[200], [], []]);
  assertEquals(clock.size, 1);
  pass(200);
  assertEquals(late.met, [400]);
  clock.unwatch(late);
  assertEquals(clock.size, 0);
});

Deno.test("what is not watched is not told", () => {
  const { clock, pass } = makeClock();
  const probe = new Probe(clock);
  const other = new Probe(clock);
  clock.watch(probe);
  clock.watch(other);
  clock.arm(probe, 100);
  clock.unwatch(probe);
  pass(1000);
  assertEquals(probe.met, []);
  clock.unwatch(other);
  clock.unwatch(other);
  assertEquals(clock.size, 0);
});

Deno.test("what comes back with a deadline that it had keeps it", () => {
  const { clock, pass } = makeClock();
  const probe = new Probe(clock);
  clock.watch(probe);
  clock.arm(probe, 100);
  clock.unwatch(probe);
  clock.watch(probe);
  pass(200);
  assertEquals(probe.met, [200]);
  clock.unwatch(probe);
});

Deno.test("nothing is looked at before the earliest deadline", () => {
  const { clock, pass } = makeClock();
  let looks = 0;
  let deadline = Infinity;
  const probe: Timed = {
    get deadline() {
      looks++;
      return deadline;
    },
    set deadline(at) {
      deadline = at;
    },
    onDeadline() {},
  };
  clock.watch(probe);
  clock.arm(probe, 10_000);
  looks = 0;
  for (let time = 0; time < 10_000; time += 100) pass(100);
  assertEquals(looks, 0);
  pass(100);
  assert(looks > 0);
  clock.unwatch(probe);
});

Deno.test("the clock runs by itself while something is watched, and by the real time", async () => {
  const clock = new Clock({ resolution: 5 });
  const before = performance.now();
  const { promise, resolve } = Promise.withResolvers<void>();
  const probe: Probe = new Probe(clock, () => {
    clock.unwatch(probe);
    resolve();
  });
  clock.watch(probe);
  clock.arm(probe, 20);
  // The clock's own timer keeps no process alive, so this one waits with it.
  const wait = setInterval(() => {}, 1);
  await promise;
  clearInterval(wait);
  assertGreaterOrEqual(performance.now() - before, 20);
  assertGreaterOrEqual(clock.time, before + 20);
  assertEquals(clock.size, 0);
});

Deno.test("readings are shared while the clock is held, by so many calls, and not behind that", () => {
  let readings = 0;
  const clock = new Clock({ now: () => ++readings });
  const first = clock.now();
  assertEquals(clock.now(), first + 1);
  clock.hold();
  const held = Array.from({ length: 100 }, () => clock.now());
  clock.release();
  // Time was looked at when it was first asked for, and again after 32 answers.
  assertEquals(held[0], first + 2);
  assertEquals(new Set(held).size, 4);
  assertEquals(held.findIndex((time) => time !== held[0]), 33);
  assertEquals(clock.time, held.at(-1));
  assertEquals(clock.now(), held.at(-1)! + 1);
});

Deno.test("whatever comes and goes, also while deadlines are met, each is met once and in its time", () => {
  const random = new Random(20261122);
  const { clock, pass } = makeClock();
  const watched = new Set<Probe>();
  const met: Probe[] = [];
  const bring = () => {
    const probe: Probe = new Probe(clock, () => {
      met.push(probe);
      watched.delete(probe);
      clock.unwatch(probe);
      if (random.below(3) === 0) bring();
      const [other] = watched;
      if (other !== undefined && random.below(3) === 0) {
        watched.delete(other);
        clock.unwatch(other);
      }
    });
    watched.add(probe);
    clock.watch(probe);
    clock.arm(probe, random.below(1000));
  };
  for (let i = 0; i < 2000; i++) {
    bring();
    const [oldest] = watched;
    if (random.below(4) === 0) {
      watched.delete(oldest!);
      clock.unwatch(oldest!);
      // Once more does no harm.
      clock.unwatch(oldest!);
    }
    if (random.below(4) === 0) pass(random.below(300));
    assertEquals(clock.size, watched.size);
  }
  while (watched.size > 0) pass(RESOLUTION);
  assertEquals(clock.size, 0);
  assertEquals(new Set(met).size, met.length);
});

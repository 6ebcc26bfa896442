import { assert, assertEquals } from "@std/assert";
import type { LiveBackend } from "../../lib/backend/backend.ts";
import { Registry } from "../../lib/backend/registry.ts";
import { Discovery } from "../../lib/grpc/discovery.ts";
import type { Answer } from "../../lib/grpc/reflection/source.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";

const INTERVAL = 10_000;

/** Backends by host, and what each answers when it is asked. */
class Scene implements Disposable {
  readonly time = new FakeClock();
  readonly registry: Registry;
  readonly discovery: Discovery;
  /** The hosts that were asked, in order. */
  asked: string[] = [];
  /** What each host answers; it does not answer without. */
  readonly answers = new Map<string, Answer | "never">();

  constructor(interval = INTERVAL) {
    const { clock } = this.time;
    this.registry = new Registry({
      strategy: "round-robin",
      scheme: "grpc",
      fallback: false,
      discovery: "always",
      connections: {
        maxConnections: 1,
        maxWaiting: 0,
        waitTimeout: 1,
        idleTimeout: 1,
        connectTimeout: 1,
      },
      clock,
      connect: () => Promise.reject(new Error("no connection is expected")),
    });
    this.discovery = new Discovery({
      registry: this.registry,
      clock,
      interval,
      random: () => 0.5,
      lister: () => Promise.resolve({ list: (backend) => this.#list(hostOf(backend)) }),
    });
  }

  #list(host: string): Promise<Answer> {
    this.asked.push(host);
    const answer = this.answers.get(host) ?? DOWN;
    return answer === "never" ? new Promise(() => {}) : Promise.resolve(answer);
  }

  add(host: string, answer: Answer | "never"): LiveBackend {
    this.answers.set(host, answer);
    return this.registry.addBackend({ addr: `${host}:1` }).value;
  }

  /** What is known of a backend. */
  known(backend: LiveBackend): string[] | undefined {
    const services = this.registry.servicesOf(backend);
    return services && [...services];
  }

  /** The hosts that were asked since the last call. */
  take(): string[] {
    const asked = this.asked;
    this.asked = [];
    return asked;
  }

  /** How much time passes until somebody is asked again, in steps of the clock. */
  async untilAsked(limit: number): Promise<number> {
    let passed = 0;
    for (; passed < limit && this.asked.length === 0; passed += 100) await this.time.advance(100);
    return passed;
  }

  [Symbol.dispose](): void {
    this.discovery.stop();
    assertEquals(this.time.clock.size, 0, "nothing is watched any more");
  }
}

const DOWN: Answer = { type: "error", code: GrpcStatus.Unavailable, message: "down" };
const NO_REFLECTION: Answer = {
  type: "error",
  code: GrpcStatus.Unimplemented,
  message: "no reflection",
};
const lists = (...names: string[]): Answer => ({ type: "services", names });

function hostOf({ addr }: LiveBackend): string {
  return /\/(\w+):/.exec(addr)![1]!;
}

/** The clock looks every 100 ms and never early, so a deadline is met up to 200 ms late. */
function assertAbout(actual: number, expected: number, what: string): void {
  assert(actual >= expected && actual <= expected + 250, `${what}: ${actual} ms, not ${expected}`);
}

Deno.test("nobody is asked before the start, and the start waits until all have been", async () => {
  using scene = new Scene();
  const a = scene.add("a", lists("s.S", "grpc.health.v1.Health", "s.S"));
  const b = scene.add("b", DOWN);
  await settle();
  assertEquals(scene.take(), []);
  await scene.discovery.start();
  assertEquals(scene.take(), ["a", "b"]);
  assertEquals([scene.known(a), scene.known(b)], [["s.S"], undefined]);
});

Deno.test("the start does not wait long for a backend that does not answer", async () => {
  using scene = new Scene();
  scene.add("a", "never");
  const b = scene.add("b", lists("s.S"));
  let started = false;
  const starting = scene.discovery.start().then(() => started = true);
  await scene.time.advance(1_900);
  assertEquals([started, scene.known(b)], [false, ["s.S"]]);
  await scene.time.expire(100);
  assertEquals(started, true);
  await starting;
});

Deno.test("a balancer without backends to be discovered starts at once and asks nobody", async () => {
  using scene = new Scene();
  scene.registry.addBackend({ addr: "a:1", discoverServices: false });
  await scene.discovery.start();
  await scene.time.advance(INTERVAL * 2);
  assertEquals([scene.take(), scene.time.clock.size], [[], 0]);
});

Deno.test("a backend is asked at an interval, and its services are those that it lists last", async () => {
  using scene = new Scene();
  const a = scene.add("a", lists("s.S"));
  await scene.discovery.start();
  scene.take();
  scene.answers.set("a", lists("s.T", "s.U"));
  assertAbout(await scene.untilAsked(INTERVAL * 2), INTERVAL, "the interval");
  assertEquals(scene.known(a), ["s.T", "s.U"]);
});

Deno.test("the interval varies by a tenth in either direction", async () => {
  for (const [random, factor] of [[0, 0.9], [0.999_999, 1.1]] as const) {
    using scene = new Scene();
    const varied = new Discovery({
      registry: scene.registry,
      clock: scene.time.clock,
      interval: INTERVAL,
      random: () => random,
      lister: () =>
        Promise.resolve({
          list: (backend) => {
            scene.asked.push(hostOf(backend));
            return Promise.resolve(lists("s.S"));
          },
        }),
    });
    scene.add("a", lists("s.S"));
    await varied.start();
    scene.take();
    assertAbout(await scene.untilAsked(INTERVAL * 2), INTERVAL * factor, `${random}`);
    varied.stop();
  }
});

Deno.test("backends come and go at run time", async () => {
  using scene = new Scene();
  await scene.discovery.start();
  const a = scene.add("a", lists("s.S"));
  await settle();
  assertEquals([scene.take(), scene.known(a)], [["a"], ["s.S"]]);
  scene.registry.drain(a);
  await settle();
  await scene.time.advance(INTERVAL * 2);
  assertEquals(scene.take(), []);
  scene.registry.addBackend({ addr: "a:1" });
  await settle();
  assertEquals([scene.take(), scene.known(a)], [["a"], ["s.S"]]);
  scene.registry.removeBackend(a);
  await settle();
  await scene.time.advance(INTERVAL * 2);
  assertEquals([scene.take(), scene.time.clock.size], [[], 0]);
});

Deno.test("what was known of a backend stays while it is down, and it is asked again soon", async () => {
  using scene = new Scene();
  const a = scene.add("a", lists("s.S"));
  await scene.discovery.start();
  scene.answers.set("a", DOWN);
  await scene.time.expire(INTERVAL);
  scene.take();
  for (const pause of [250, 500, 1000, 2000, 2000]) {
    assertAbout(await scene.untilAsked(5_000), pause, "the pause");
    scene.take();
    assertEquals(scene.known(a), ["s.S"]);
  }
  assertEquals([...scene.discovery.failures()], [[a.id, 6]]);
  scene.answers.set("a", lists("s.T"));
  assertAbout(await scene.untilAsked(5_000), 2000, "the last pause");
  scene.take();
  assertEquals(scene.known(a), ["s.T"]);
  assertAbout(await scene.untilAsked(INTERVAL * 2), INTERVAL, "the interval");
});

Deno.test("a backend without reflection is not hurried, and stays unknown", async () => {
  using scene = new Scene();
  const a = scene.add("a", NO_REFLECTION);
  await scene.discovery.start();
  scene.take();
  assertAbout(await scene.untilAsked(INTERVAL * 2), INTERVAL, "the interval");
  assertEquals(scene.known(a), undefined);
});

Deno.test("a backend whose connection ends is asked at once, but not over and over", async () => {
  using scene = new Scene();
  const a = scene.add("a", lists("s.S"));
  await scene.discovery.start();
  await scene.time.expire(INTERVAL);
  await scene.time.advance(INTERVAL - 1_000);
  scene.take();
  scene.answers.set("a", lists("s.T"));
  a.h2.onConnection!("ended");
  await settle();
  assertEquals([scene.take(), scene.known(a)], [["a"], ["s.T"]]);
  for (const pause of [500, 1000, 2000, 4000, 8000]) {
    a.h2.onConnection!("ended");
    a.h2.onConnection!("ended");
    assertAbout(await scene.untilAsked(INTERVAL), pause, "the pause");
    scene.take();
  }
});

Deno.test("a backend that was down is asked as soon as a call has reached it", async () => {
  using scene = new Scene();
  const a = scene.add("a", DOWN);
  await scene.discovery.start();
  await scene.time.expire(300);
  await scene.time.expire(600);
  await scene.time.expire(1_100);
  await scene.time.advance(1_000);
  scene.take();
  scene.answers.set("a", lists("s.S"));
  a.h2.onConnection!("ended");
  await settle();
  assertEquals(scene.take(), [], "an end says nothing new of what is down");
  a.h2.onConnection!("opened");
  await settle();
  assertEquals([scene.take(), scene.known(a)], [["a"], ["s.S"]]);
});

Deno.test("an answer of a backend that has left in the meantime is of no account", async () => {
  using scene = new Scene();
  const answers = Promise.withResolvers<Answer>();
  const { registry, time: { clock } } = scene;
  const discovery = new Discovery({
    registry,
    clock,
    interval: INTERVAL,
    lister: () => Promise.resolve({ list: () => answers.promise }),
  });
  const { value } = registry.addBackend({ addr: "a:1" });
  const starting = discovery.start();
  await settle();
  registry.removeBackend(value);
  answers.resolve(lists("s.S"));
  await starting;
  assertEquals([...registry.discovered.routes], []);
  discovery.stop();
});

Deno.test("names that are none and names beyond the limit are left out", async () => {
  using scene = new Scene();
  const many = Array.from({ length: 1_005 }, (_, i) => `s.S${i}`);
  const a = scene.add("a", lists("s.S", "../x", "a b", "", "lb.LoadBalancer"));
  const b = scene.add("b", lists(...many));
  await scene.discovery.start();
  assertEquals(scene.known(a), ["s.S"]);
  assertEquals(scene.known(b), many.slice(0, 1_000));
});

Deno.test("what cannot be loaded is a failure like any other", async () => {
  using scene = new Scene();
  const { registry, time } = scene;
  let broken = true;
  const discovery = new Discovery({
    registry,
    clock: time.clock,
    interval: INTERVAL,
    random: () => 0.5,
    lister: () =>
      broken
        ? Promise.reject(new Error("no descriptor is left"))
        : Promise.resolve({ list: () => Promise.resolve(lists("s.S")) }),
  });
  const { value } = registry.addBackend({ addr: "a:1" });
  await discovery.start();
  assertEquals([...discovery.failures()], [[value.id, 1]]);
  broken = false;
  await time.expire(INTERVAL);
  assertEquals(scene.known(value), ["s.S"]);
  discovery.stop();
});

Deno.test("it ends with the last who has begun it", async () => {
  using scene = new Scene();
  const { discovery } = scene;
  scene.add("a", lists("s.S"));
  await discovery.start();
  await discovery.start();
  scene.take();
  discovery.stop();
  await scene.time.expire(INTERVAL);
  assertEquals(scene.take(), ["a"]);
  discovery.stop();
  await scene.time.expire(INTERVAL);
  assertEquals([scene.take(), scene.time.clock.size], [[], 0]);
  await discovery.start();
  assertEquals(scene.take(), ["a"]);
});

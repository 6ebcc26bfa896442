import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import type { Waiting } from "../../lib/backend/admission.ts";
import type { Lease, LiveBackend } from "../../lib/backend/backend.ts";
import { RequestLimit, type RequestLimitOptions } from "../../lib/backend/limits.ts";
import { ANSWERED } from "../../lib/backend/outcome.ts";
import type { Pool } from "../../lib/backend/pool.ts";
import { Registry } from "../../lib/backend/registry.ts";
import { ProxyError } from "../../lib/common/errors.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";

const A = "http://a:80";
const B = "http://b:80";
const MAX_WAITING = 4;
const WAIT_TIMEOUT = 2_000;

/** A registry whose backends are never connected to. */
class Scene {
  readonly time = new FakeClock();
  readonly registry: Registry;

  constructor(requests: RequestLimitOptions, addrs: readonly string[] = [A]) {
    this.registry = new Registry({
      strategy: "round-robin",
      scheme: "http",
      fallback: false,
      requests,
      connections: {
        maxConnections: 8,
        maxWaiting: MAX_WAITING,
        waitTimeout: WAIT_TIMEOUT,
        idleTimeout: 1_000,
        connectTimeout: 1_000,
      },
      clock: this.time.clock,
      connect: () => Promise.reject(new Error("nobody connects here")),
    });
    for (const addr of addrs) this.registry.addBackend({ addr });
  }

  get pool(): Pool {
    return this.registry.pool;
  }

  backend(addr = A): LiveBackend {
    for (const live of this.registry.backends) if (live.addr === addr) return live;
    throw new Error(`there is no ${addr}`);
  }

  take(pool = this.pool): Lease {
    const backend = pool.pick();
    assert(backend !== undefined, "no backend has room");
    return backend.acquire();
  }

  /** Waits, and notes what comes of it. */
  wait(log: string[], name: string, pool = this.pool): Waiting {
    const waiting = pool.wait();
    assert(waiting !== undefined);
    waiting.lease.then(
      ({ backend }) => log.push(`${name} ${backend.addr.charAt(7)}`),
      (error) => log.push(`${name} ${error.code}`),
    );
    return waiting;
  }
}

Deno.test("at its limit a backend is not picked, and the others are", () => {
  const scene = new Scene({ maxRequests: 2 }, [A, B]);
  const leases = [scene.take(), scene.take(), scene.take(), scene.take()];
  assertEquals([scene.backend(A).inFlight, scene.backend(B).inFlight], [2, 2]);
  assertEquals(scene.pool.pick(), undefined);
  leases[1]!.release();
  assertEquals(scene.pool.pick()?.addr, leases[1]!.backend.addr);
});

Deno.test("without a limit nobody is ever full, and nobody waits", () => {
  for (const requests of [{}, { maxRequests: Infinity }]) {
    const scene = new Scene(requests);
    for (let i = 0; i < 1000; i++) scene.take();
    assert(scene.pool.pick() !== undefined);
    assertEquals(scene.pool.wait(), undefined);
  }
});

Deno.test("who waits gets a place in the order of coming", async () => {
  const scene = new Scene({ maxRequests: 1 });
  const first = scene.take();
  const log: string[] = [];
  const waiting = ["1", "2", "3"].map((name) => scene.wait(log, name));
  assertEquals(scene.registry.waiting, 3);
  first.release();
  assertEquals(scene.pool.pick(), undefined, "the place is taken before anybody else sees it");
  await settle();
  assertEquals(log, ["1 a"]);
  (await waiting[0]!.lease).release();
  await settle();
  (await waiting[1]!.lease).release();
  await settle();
  assertEquals(log, ["1 a", "2 a", "3 a"]);
  (await waiting[2]!.lease).release();
  assertEquals([scene.backend().inFlight, scene.registry.waiting, scene.time.clock.size], [
    0,
    0,
    0,
  ]);
});

Deno.test("the line is bounded, and who waited too long is refused", async () => {
  const scene = new Scene({ maxRequests: 1 });
  const lease = scene.take();
  const log: string[] = [];
  for (let i = 0; i < MAX_WAITING; i++) scene.wait(log, String(i));
  const error = await assertRejects(() => scene.pool.wait()!.lease, ProxyError);
  assertEquals([error.code, error.retry], ["overloaded", "safe"]);
  assertStringIncludes(error.message, "4 requests wait already");
  await scene.time.advance(WAIT_TIMEOUT - 200);
  assertEquals(log, []);
  await scene.time.expire(200);
  assertEquals(log, ["0", "1", "2", "3"].map((name) => `${name} overloaded`));
  assertEquals([scene.registry.waiting, scene.time.clock.size], [0, 0]);
  lease.release();
  assert(scene.pool.pick() !== undefined);
});

Deno.test("who gives up leaves the line, also when a place was given a moment before", async () => {
  const scene = new Scene({ maxRequests: 1 });
  const lease = scene.take();
  const log: string[] = [];
  const [first, second] = [scene.wait(log, "1"), scene.wait(log, "2")];
  scene.wait(log, "3");
  first.cancel();
  lease.release();
  second.cancel();
  await settle();
  // The second one had its place already and finds it taken back; whoever waits must look.
  assertEquals(log, ["1 client_closed", "2 a", "3 a"]);
  assertEquals([scene.backend().inFlight, scene.time.clock.size], [1, 0]);
});

Deno.test("a backend that comes, or comes back, is given to those who wait", async () => {
  const scene = new Scene({ maxRequests: 1 });
  scene.take();
  const log: string[] = [];
  scene.wait(log, "1");
  const second = scene.wait(log, "2");
  scene.registry.addBackend({ addr: B });
  await settle();
  assertEquals(log, ["1 b"]);
  assertEquals(scene.registry.waiting, 1);
  second.cancel();
});

Deno.test("when the last backend leaves, nobody waits for nothing", async () => {
  const scene = new Scene({ maxRequests: 1 });
  scene.take();
  const log: string[] = [];
  scene.wait(log, "1");
  scene.wait(log, "2");
  scene.registry.removeBackend(scene.backend());
  await settle();
  assertEquals(log, ["1 no_backend", "2 no_backend"]);
  scene.wait(log, "3");
  await settle();
  assertEquals(log.at(-1), "3 no_backend");
  assertEquals(scene.time.clock.size, 0);
});

Deno.test("of two pools with one backend, who waits longest comes first", async () => {
  const scene = new Scene({ maxRequests: 1 });
  const { value } = scene.registry.addRoute(new RouteBuilder().path("/x").target(A).build());
  const lease = scene.take();
  const log: string[] = [];
  const waiting = [
    scene.wait(log, "route 1", value.pool),
    scene.wait(log, "default", scene.pool),
    scene.wait(log, "route 2", value.pool),
  ];
  lease.release();
  for (const one of waiting) (await one.lease).release();
  assertEquals(log, ["route 1 a", "default a", "route 2 a"]);
});

Deno.test("who may not have a backend is passed over, but not forgotten", async () => {
  const scene = new Scene({ maxRequests: 1 }, [A, B]);
  const leases = [scene.take(), scene.take()];
  const onA = leases.find(({ backend }) => backend.addr === A)!;
  const onB = leases.find(({ backend }) => backend.addr === B)!;
  const log: string[] = [];
  const picky = scene.pool.wait(({ backend }) => backend.addr === A)!;
  void picky.lease.then(({ backend }) => log.push(`picky ${backend.addr.charAt(7)}`));
  scene.wait(log, "any");
  onA.release();
  await settle();
  assertEquals(log, ["any a"]);
  onB.release();
  await settle();
  assertEquals(log, ["any a", "picky b"]);
});

Deno.test("a backend that drains is no place to wait for", async () => {
  const scene = new Scene({ maxRequests: 1 });
  const lease = scene.take();
  const log: string[] = [];
  scene.wait(log, "1");
  scene.registry.drain(scene.backend());
  await settle();
  assertEquals(log, ["1 no_backend"]);
  lease.release();
});

Deno.test("whatever comes and goes, no backend has more than its limit and no place stays unused", async () => {
  const steps = fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 3 }), async (steps, maxRequests) => {
      const scene = new Scene({ maxRequests }, [A, B]);
      const held: Lease[] = [];
      const waiting = new Set<Waiting>();
      for (const step of steps) {
        if (step <= 2) {
          const backend = scene.pool.pick();
          if (backend !== undefined) held.push(backend.acquire());
          else {
            const one = scene.pool.wait()!;
            waiting.add(one);
            one.lease.then((lease) => held.push(lease), () => {}).finally(() =>
              waiting.delete(one)
            );
          }
        } else if (step <= 4) held.splice(step % Math.max(held.length, 1), 1)[0]?.release();
        else {for (const one of waiting) {
            one.cancel();
            break;
          }}
        await Promise.resolve();
        const inFlight = [...scene.registry.backends].map((backend) => backend.inFlight);
        assert(inFlight.every((count) => count <= maxRequests), `${inFlight}`);
        const room = inFlight.some((count) => count < maxRequests);
        assert(!room || scene.registry.waiting === 0, "somebody waits while there is room");
      }
      for (const one of waiting) one.cancel();
      await settle();
      for (const lease of held) lease.release();
      assertEquals([...scene.registry.backends].map(({ inFlight }) => inFlight), [0, 0]);
      assertEquals([scene.registry.waiting, scene.time.clock.size], [0, 0]);
    }),
    { seed: 4, numRuns: 300 },
  );
});

Deno.test("an adaptive limit falls when answers take longer, and holds", async () => {
  const adaptive = { initial: 20, min: 2, max: 50, probeInterval: 60_000 };
  const scene = new Scene({ adaptive });
  const backend = scene.backend();
  /** Answers as many at a time as may be in flight, each after `latency`. */
  async function serve(count: number, latency: number): Promise<number> {
    let most = 0;
    for (let done = 0; done < count;) {
      const leases: Lease[] = [];
      while (scene.pool.pick() !== undefined) leases.push(scene.take());
      most = Math.max(most, leases.length);
      await scene.time.advance(latency);
      for (const lease of leases) {
        lease.report(ANSWERED);
        lease.release();
      }
      done += leases.length;
    }
    return most;
  }
  assertEquals(await serve(26, 10), 2, "the latency is measured with little to do");
  const free = await serve(400, 10);
  assert(free > 20, `it grew to ${free}`);
  await serve(1000, 200);
  assert(backend.limit!.limit(backend.now) <= 8, "it fell while answers took 20 times as long");
});

Deno.test("of failures, those of overload make an adaptive limit fall and others do not", () => {
  const limit = (outcome: Parameters<RequestLimit["observe"]>[0]) => {
    const one = new RequestLimit({ adaptive: { initial: 100, min: 1, max: 100 } });
    for (let i = 0; i < 25; i++) one.observe(ANSWERED, 10, 1, 0);
    const before = one.limit(1);
    one.observe(outcome, 10, 1, 1);
    return one.limit(1) - before;
  };
  for (const reason of ["upstream_timeout", "status_503", "grpc_14"]) {
    assertEquals(limit({ type: "failed", reason }), -10, reason);
  }
  assertEquals(limit({ type: "busy", reason: "status_429" }), -10);
  for (const reason of ["connect_refused", "upstream_reset", "status_502"]) {
    assertEquals(limit({ type: "failed", reason }), 0, reason);
  }
  assertEquals(limit({ type: "expired" }), 0, "how long clients wait is their choice");
});

Deno.test("of the backends of a pool one at a time measures, and the others keep their limits", () => {
  const addrs = ["a", "b", "c"].map((host) => `http://${host}:80`);
  const scene = new Scene({ adaptive: { initial: 30, min: 4, probeInterval: 1_000 } }, addrs);
  const backends = addrs.map((addr) => scene.backend(addr));
  const measured = new Set<LiveBackend>();
  for (let now = 0; now < 20_000; now += 10) {
    const limits = backends.map(({ limit }) => limit!.limit(now));
    const measuring = backends.filter(({ limit }) => limit!.measures(now));
    assert(measuring.length <= 1, `${limits} at ${now}`);
    for (const backend of backends) {
      const measures = measuring.includes(backend);
      assertEquals(backend.limit!.limit(now) === 4, measures);
      if (measures) measured.add(backend);
      backend.limit!.observe(ANSWERED, 10, 3, now);
    }
  }
  assertEquals(measured.size, 3);
});

Deno.test("a limit that is given holds beside the one that is found", () => {
  const limit = new RequestLimit({ maxRequests: 3, adaptive: { min: 1 } });
  assertEquals(limit.limit(0), 1);
  for (let i = 0; i < 25; i++) limit.observe(ANSWERED, 10, 1, 0);
  assertEquals(limit.limit(1), 3);
});

Deno.test("limits out of range are refused before there is a backend", () => {
  for (const maxRequests of [0, -1, 1.5, NaN]) {
    assertThrows(() => new Scene({ maxRequests }, []), TypeError, "maxRequests");
  }
  assertThrows(() => new Scene({ adaptive: { min: 0 } }, []), TypeError, "adaptive limit min 0");
});

Deno.test("a retry waits for a backend that is fit and full, and takes an ejected one only when none is", async () => {
  const scene = new Scene({ maxRequests: 1 }, [A, B, "http://c:80"]);
  const [a, b, c] = [A, B, "http://c:80"].map((addr) => scene.backend(addr));
  c!.health.eject("too many failures", 10_000);
  const leases = [a!.acquire(), b!.acquire()];
  const failed = ({ backend }: { backend: LiveBackend }) => backend === a;
  assertEquals(scene.pool.pick(failed), undefined);
  const waiting = scene.pool.wait(failed)!;
  leases[1]!.release();
  assertEquals((await waiting.lease).backend, b);
  const both = ({ backend }: { backend: LiveBackend }) => backend === a || backend === b;
  assertEquals(scene.pool.pick(both), c);
});

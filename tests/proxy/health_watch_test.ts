import { assert, assertEquals } from "@std/assert";
import { LiveBackend } from "../../lib/backend/backend.ts";
import { H1Pool } from "../../lib/backend/h1_pool.ts";
import { H2Pool } from "../../lib/backend/h2_pool.ts";
import { ActiveChecks } from "../../lib/backend/health/active_checks.ts";
import type { HealthCheckOptions } from "../../lib/backend/health/check.ts";
import { parseAddress } from "../../lib/common/address.ts";
import type { Duplex } from "../../lib/common/duplex.ts";
import { ProxyError } from "../../lib/common/errors.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { makeGrpcProbe } from "../../lib/grpc/health_probe.ts";
import { HEALTH_CHECK } from "../../lib/grpc/health_codec.ts";
import { makeGrpcWatch } from "../../lib/grpc/health_watch.ts";
import type { H2Options } from "../../lib/http/h2/options.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";
import { DONE, H2Backend, OK } from "../support/h2_peer.ts";
import { HealthBackend, healthMessage, Status } from "../support/health_backend.ts";
import { concat, until } from "../support/net.ts";
import { exhaustedFor } from "../support/scripted_backend.ts";

const LIMITS = {
  maxConnections: 4,
  maxWaiting: 10,
  waitTimeout: 1000,
  idleTimeout: 60_000,
  connectTimeout: 1000,
};

/** One backend that is watched, in memory, with a clock that stands still. */
class Scene implements AsyncDisposable {
  readonly time = new FakeClock();
  readonly backend: HealthBackend;
  readonly live: LiveBackend;
  /** Every change of its health. */
  readonly changes: string[] = [];
  /** Whether connections are refused. */
  refuses = false;
  /** Whether this host has no descriptor for them. */
  prevented = false;
  readonly #checks: ActiveChecks;
  #backends: LiveBackend[];
  #changed = () => {};

  constructor(
    { before = () => {}, h2 = {}, ...options }: Partial<HealthCheckOptions> & {
      readonly before?: (backend: HealthBackend, scene: Scene) => void;
      readonly h2?: Partial<H2Options>;
    } = {},
  ) {
    const { clock } = this.time;
    this.backend = new HealthBackend(new H2Backend({ clock, h2 }));
    const addr = "grpc://a:1";
    const address = parseAddress(addr);
    const parts = { address, addr, clock, connect: this.#connect };
    this.live = new LiveBackend("id", address, {
      http: new H1Pool(parts, LIMITS),
      h2: new H2Pool(parts, LIMITS),
      clock,
    });
    this.live.health.onChange((now) =>
      this.changes.push(now.type === "failing" ? now.reason : now.type)
    );
    this.#backends = [this.live];
    before(this.backend, this);
    this.#checks = new ActiveChecks({
      backends: () => this.#backends,
      onChange: (listener) => {
        this.#changed = listener;
        return () => this.#changed = () => {};
      },
      clock,
      connect: this.#connect,
      grpc: (service) => makeGrpcProbe(service, clock),
      grpcWatch: (service) => makeGrpcWatch(service, { clock, connect: this.#connect }),
      random: () => 0.5,
    }, { check: "grpc-watch:myapp.Users", ...options });
  }

  readonly #connect = (): Promise<Duplex> => {
    if (this.prevented) return Promise.reject(exhaustedFor("descriptors"));
    if (this.refuses) {
      return Promise.reject(
        new ProxyError("connect_refused", "upstream", "nobody there", { retry: "safe" }),
      );
    }
    const [ours, theirs] = makeMemoryPair();
    this.backend.h2.serve(theirs);
    return Promise.resolve(ours);
  };

  get state() {
    return this.live.health.state;
  }

  /** Waits until the backend has seen so many calls of `Watch`; protobufjs is loaded with the first. */
  async watched(count: number): Promise<void> {
    await until(() => this.backend.watches >= count, () => `${this.backend.watches} of ${count}`);
    await settle();
  }

  remove(): void {
    this.#backends = [];
    this.#changed();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#checks.close();
    this.live.closeIdle();
    await settle();
    assertEquals(this.backend.streams.length, 0);
    await this.backend[Symbol.asyncDispose]();
    await settle();
    assertEquals(this.time.clock.size, 0);
  }
}

Deno.test("what is said on the stream holds at once, whatever rise and fall are", async () => {
  await using scene = new Scene({ rise: 5, fall: 5 });
  await scene.watched(1);
  assertEquals(scene.changes, []);
  const said: string[] = [];
  for (let i = 0; i < 100; i++) {
    scene.backend.say(i % 2 === 0 ? Status.NotServing : Status.Serving);
    await settle();
    said.push(i % 2 === 0 ? "the health service says NOT_SERVING" : "healthy");
    assertEquals(scene.state.type, i % 2 === 0 ? "failing" : "healthy");
  }
  assertEquals(scene.changes, said);
  // The very service was asked for, once, without a deadline.
  const [call] = scene.backend.h2.calls;
  assertEquals(scene.backend.h2.calls.length, 1);
  assertEquals(call!.text, "\0\0\0\0\x0d\n\x0bmyapp.Users");
  assertEquals(call!.value("grpc-timeout"), undefined);
});

Deno.test("each status but SERVING takes the backend out, with its name as the reason", async () => {
  await using scene = new Scene({
    before: (backend) => backend.status = Status.ServiceUnknown,
  });
  await scene.watched(1);
  for (const status of [Status.Unknown, Status.NotServing, Status.Serving, 17]) {
    scene.backend.say(status);
    await settle();
  }
  const says = (name: string) => `the health service says ${name}`;
  assertEquals(scene.changes, [
    says("SERVICE_UNKNOWN"),
    says("UNKNOWN"),
    says("NOT_SERVING"),
    "healthy",
    says("17"),
  ]);
});

Deno.test("of several statuses in one piece the last holds, and one may come byte by byte", async () => {
  await using scene = new Scene();
  await scene.watched(1);
  const [call] = scene.backend.streams;
  call!.send(concat(...[2, 1, 2, 1].map(healthMessage)));
  await settle();
  assertEquals(scene.changes, []);
  for (const byte of healthMessage(Status.NotServing)) {
    assertEquals(scene.changes, []);
    call!.send(Uint8Array.of(byte));
    await settle();
  }
  assertEquals(scene.changes, ["the health service says NOT_SERVING"]);
});

Deno.test("a stream that breaks is a failed check, and is opened again after the interval while down", async () => {
  await using scene = new Scene({ fall: 3, downInterval: 700 });
  await scene.watched(1);
  scene.backend.h2.kill();
  scene.refuses = true;
  await settle();
  assertEquals(scene.changes, []);
  await scene.time.expire(700);
  assertEquals(scene.changes, []);
  await scene.time.expire(700);
  assertEquals(scene.changes, ["nobody there"]);
  scene.refuses = false;
  await scene.time.expire(700);
  await scene.watched(2);
  assertEquals(scene.changes, ["nobody there", "healthy"]);
});

Deno.test("a status between breaks begins the count anew, so an end now and then does no harm", async () => {
  await using scene = new Scene({ fall: 2, downInterval: 1000 });
  for (let i = 1; i <= 5; i++) {
    await scene.watched(i);
    scene.backend.streams[0]!.end([["grpc-status", "14"], ["grpc-message", "had%20enough"]]);
    await settle();
    await scene.time.expire(1000);
  }
  await scene.watched(6);
  assertEquals(scene.changes, []);
});

Deno.test("the reason says how a stream ended, and while the backend fails it is that of now", async () => {
  await using scene = new Scene({ fall: 1, downInterval: 1000 });
  const reasons: string[] = [];
  let count = 0;
  for (
    const end of [
      (scene: Scene) =>
        scene.backend.streams[0]!.end([["grpc-status", "14"], ["grpc-message", "a%20b"]]),
      (scene: Scene) => scene.backend.streams[0]!.stream.reset(8),
      (scene: Scene) => scene.backend.streams[0]!.send(Uint8Array.of(1, 0, 0, 0, 0)),
      (scene: Scene) => scene.backend.streams[0]!.send(Uint8Array.of(0, 0, 1, 0, 0)),
      (scene: Scene) => scene.backend.streams[0]!.send(Uint8Array.of(0, 0, 0, 0, 1, 0xff)),
      (scene: Scene) => scene.backend.h2.kill(),
    ]
  ) {
    await scene.watched(++count);
    assertEquals(scene.state.type, "healthy");
    end(scene);
    await settle();
    reasons.push(scene.changes.at(-1)!.split(": ")[0]!);
    await scene.time.expire(1000);
  }
  await scene.watched(++count);
  assertEquals(reasons, [
    "the stream ended with grpc-status 14",
    "the peer reset the stream",
    "a message of the health service is compressed or too long",
    "a message of the health service is compressed or too long",
    "a message of the health service is malformed",
    "the connection ended",
  ]);
  scene.backend.watch = "silent";
  scene.backend.h2.kill();
  await scene.time.expire(1000);
  await scene.watched(++count);
  await scene.time.expire(2000);
  assertEquals(scene.changes.slice(-2), ["the connection ended", "no status within 2000 ms"]);
});

Deno.test("a backend that takes the stream and never says anything fails, without a stream left behind", async () => {
  await using scene = new Scene({
    timeout: 300,
    downInterval: 1000,
    before: (backend) => backend.watch = "silent",
  });
  for (let i = 1; i <= 3; i++) {
    await scene.watched(i);
    await scene.time.expire(300);
    assertEquals(scene.state, { type: "failing", reason: "no status within 300 ms" });
    assertEquals([scene.backend.streams.length, scene.backend.h2.connections.size], [0, 0]);
    await scene.time.expire(1000);
  }
});

Deno.test("a stream that falls silent is no proof of life: a check beside it must be answered in time", async () => {
  await using scene = new Scene({ interval: 5000, timeout: 300, fall: 1, downInterval: 1000 });
  await scene.watched(1);
  for (let i = 1; i <= 3; i++) {
    await scene.time.expire(5000);
    assertEquals([scene.backend.checks, scene.backend.watches], [i, 1]);
  }
  // On the same connection, or it would prove nothing.
  assertEquals(new Set(scene.backend.h2.calls.map(({ connection }) => connection)), new Set([0]));
  assertEquals(scene.changes, []);
  scene.backend.check = "silent";
  await scene.time.expire(5000);
  assertEquals(scene.changes, []);
  await scene.time.expire(300);
  assertEquals(scene.changes, ["no answer within 300 ms to a check beside the silent stream"]);
  assertEquals(scene.backend.h2.connections.size, 0);
  await scene.time.expire(1000);
  await scene.watched(2);
  assertEquals(scene.state.type, "healthy");
});

Deno.test("a backend that says too much is not listened to for a while", async () => {
  await using scene = new Scene({ fall: 1, downInterval: 1000 });
  await scene.watched(1);
  const much = concat(...Array(600).fill(healthMessage(Status.Serving)));
  for (let i = 0; i < 3; i++) {
    scene.backend.streams[0]!.send(much);
    await settle();
    await scene.time.advance(1000);
  }
  assertEquals(scene.changes, []);
  scene.backend.streams[0]!.send(concat(much, much));
  await settle();
  assertEquals(scene.changes, ["the health service says more than 1000 statuses a second"]);
  assertEquals(scene.backend.h2.connections.size, 0);
  await scene.time.expire(1000);
  await scene.watched(2);
  assertEquals(scene.state.type, "healthy");
});

Deno.test("a status puts the check beside the stream off", async () => {
  await using scene = new Scene({ interval: 5000 });
  await scene.watched(1);
  for (let i = 0; i < 5; i++) {
    await scene.time.advance(4000);
    scene.backend.say(i % 2 === 0 ? Status.NotServing : Status.Serving);
    await settle();
  }
  assertEquals(scene.backend.checks, 0);
  await scene.time.expire(5000);
  assertEquals(scene.backend.checks, 1);
});

Deno.test("where checks beside the stream say otherwise again and again, they count as checks do", async () => {
  await using scene = new Scene({ interval: 5000, fall: 2, rise: 2 });
  await scene.watched(1);
  scene.backend.checkStatus = Status.NotServing;
  await scene.time.expire(5000);
  assertEquals(scene.changes, []);
  await scene.time.expire(5000);
  assertEquals(scene.changes, ["the health service says NOT_SERVING"]);
  // What the stream says holds at once all the same.
  scene.backend.say(Status.Serving);
  await settle();
  assertEquals(scene.changes.at(-1), "healthy");
});

Deno.test("what comes on the stream while a check is under way is newer than its answer", async () => {
  await using scene = new Scene({ interval: 5000, fall: 1, rise: 1 });
  await scene.watched(1);
  scene.backend.check = "silent";
  await scene.time.expire(5000);
  const check = scene.backend.h2.calls.at(-1)!;
  assertEquals(check.path, HEALTH_CHECK);
  scene.backend.say(Status.NotServing);
  await settle();
  check.head(OK);
  check.send(healthMessage(Status.Serving));
  check.end(DONE);
  await settle();
  assertEquals(scene.changes, ["the health service says NOT_SERVING"]);
});

Deno.test("a backend that has Watch and no Check is alive when it says so", async () => {
  await using scene = new Scene({
    interval: 5000,
    fall: 1,
    before: (backend) => backend.check = "unimplemented",
  });
  await scene.watched(1);
  for (let i = 1; i <= 3; i++) {
    await scene.time.expire(5000);
    assertEquals([scene.backend.checks, scene.backend.watches], [i, 1]);
  }
  assertEquals(scene.changes, []);
});

Deno.test("a backend that takes one stream at a time is watched anew instead", async () => {
  await using scene = new Scene({ interval: 5000, fall: 1, h2: { maxConcurrentStreams: 1 } });
  for (let i = 1; i <= 3; i++) {
    await scene.watched(i);
    assertEquals([scene.backend.h2.connections.size, scene.backend.checks], [1, 0]);
    await scene.time.expire(5000);
  }
  assertEquals(scene.changes, []);
});

Deno.test("a backend without Watch is asked with Check, and watched again once a check has failed", async () => {
  await using scene = new Scene({
    interval: 5000,
    downInterval: 1000,
    fall: 1,
    rise: 1,
    before: (backend) => backend.watch = "unimplemented",
  });
  const asked = async (count: number) => {
    await until(() => scene.backend.checks >= count, () => `${scene.backend.checks} of ${count}`);
    await settle();
  };
  await asked(1);
  for (let i = 2; i <= 4; i++) {
    await scene.time.expire(5000);
    await asked(i);
  }
  assertEquals([scene.backend.watches, scene.changes.length], [1, 0]);
  scene.backend.status = Status.NotServing;
  await scene.time.expire(5000);
  await asked(5);
  assertEquals(scene.changes, ["the health service says NOT_SERVING"]);
  // It may be another program by now.
  scene.backend.watch = "answers";
  await scene.time.expire(1000);
  await scene.watched(2);
  scene.backend.say(Status.Serving);
  await settle();
  assertEquals(scene.changes.at(-1), "healthy");
});

Deno.test("a backend with neither fails, as with Check", async () => {
  await using scene = new Scene({
    before: (backend) => backend.watch = backend.check = "unimplemented",
  });
  await until(() => scene.changes.length > 0, "a change");
  assertEquals(scene.state.type, "failing");
  assertEquals([scene.backend.watches, scene.backend.checks], [1, 1]);
  await scene.time.expire(1000);
  await until(() => scene.backend.checks > 1, "the next check");
  assertEquals([scene.backend.watches, scene.backend.checks], [2, 2]);
});

Deno.test("a connection that the backend lets go of is replaced at once and is no failure", async () => {
  await using scene = new Scene({ fall: 1, downInterval: 1000 });
  for (let i = 1; i <= 4; i++) {
    await scene.watched(i);
    await scene.time.advance(1500);
    for (const connection of scene.backend.h2.connections) connection.drain();
    await settle();
  }
  await scene.watched(5);
  assertEquals(scene.changes, []);
  // The stream is given up, or a backend that waits for its streams would never end.
  assertEquals([scene.backend.streams.length, scene.backend.h2.connections.size], [1, 1]);
});

Deno.test("a backend that lets go of each connection at once is not called more often than one that fails", async () => {
  await using scene = new Scene({ fall: 1, downInterval: 1000 });
  await scene.watched(1);
  for (const connection of scene.backend.h2.connections) connection.drain();
  await settle();
  await scene.time.advance(800);
  assertEquals(scene.backend.watches, 1);
  await scene.time.expire(1000);
  await scene.watched(2);
  assertEquals(scene.changes, []);
});

Deno.test("a backend that goes is not watched any more, wherever the stream is", async () => {
  for (const watch of ["answers", "silent"] as const) {
    await using scene = new Scene({ before: (backend) => backend.watch = watch });
    await scene.watched(1);
    scene.remove();
    await until(() => scene.backend.h2.connections.size === 0, "no connection");
    await scene.time.expire(10_000);
    assertEquals([scene.backend.watches, scene.changes.length], [1, 0]);
  }
});

Deno.test("the first stream decides alone when it cannot be opened", async () => {
  await using scene = new Scene({ fall: 3, before: (_, scene) => scene.refuses = true });
  await until(() => scene.changes.length > 0, "a change");
  assert(scene.state.type === "failing");
  assertEquals(scene.state.reason, "nobody there");
});

Deno.test("a stream that this host has no descriptor for is opened later, and says nothing", async () => {
  await using scene = new Scene({ fall: 1, rise: 1, downInterval: 1000 });
  await scene.watched(1);
  scene.prevented = true;
  scene.backend.streams[0]!.end([["grpc-status", "14"]]);
  await settle();
  const [first] = scene.changes;
  for (let i = 0; i < 3; i++) await scene.time.expire(1000);
  assertEquals(scene.changes, [first]);
  scene.prevented = false;
  await scene.time.expire(1000);
  await scene.watched(2);
  assertEquals(scene.state.type, "healthy");
});

Deno.test("without a descriptor from the beginning a backend is taken for well", async () => {
  await using scene = new Scene({ before: (_, scene) => scene.prevented = true });
  for (let i = 0; i < 3; i++) await scene.time.expire(1000);
  assertEquals([scene.state.type, scene.changes, scene.backend.watches], ["healthy", [], 0]);
  scene.prevented = false;
  await until(async () => {
    await scene.time.expire(1000);
    return scene.backend.watches > 0;
  }, "no stream is opened");
  await settle();
});

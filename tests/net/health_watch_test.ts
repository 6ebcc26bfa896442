import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { parseListenAddress } from "../../lib/common/address.ts";
import { AdminServer } from "../../lib/control/admin.ts";
import { GrpcL4, GrpcL7, RouteBuilder } from "../../mod.ts";
import { Balancer, Listening } from "../support/grpc_programs.ts";
import { H2Client } from "../support/h2_peer.ts";
import { HealthBackend, Status } from "../support/health_backend.ts";
import { descriptorCount, descriptorsBackTo, until } from "../support/net.ts";
import { ChildProgram } from "../support/program.ts";

/** Nothing but what is said on the stream changes anything soon. */
const PATIENT = { check: "grpc-watch", interval: 60_000, rise: 100, fall: 100 } as const;
/** Streams are opened again so often that a test need not wait. */
const QUICK = { check: "grpc-watch", interval: 100, downInterval: 100, timeout: 1000, fall: 1 };
/** How long may be waited for what comes soon on a machine that is not busy, in milliseconds. */
const SOON = 20_000;

/** A balancer that listens, and a client of it. */
async function run(lb: GrpcL7 | GrpcL4) {
  const server = await lb.start("127.0.0.1:0");
  const client = await H2Client.connect(server.addr);
  const stateOf = ({ addr }: HealthBackend) =>
    lb.backends().find((backend) => backend.addr.endsWith(addr))?.health.state;
  return {
    /** The name of the backend that answers a call. */
    async call(path = "/a.B/C"): Promise<string> {
      const answer = await client.call(path).done;
      return answer.text;
    },
    /** Waits until that is thought of a backend. */
    becomes: (backend: HealthBackend, state: string) =>
      until(() => stateOf(backend) === state, () => JSON.stringify(lb.backends()), SOON),
    /** Waits until a backend has so many streams. */
    watched: (backend: HealthBackend, count = 1) =>
      until(
        () => backend.streams.length === count,
        () => `${backend.streams.length} streams`,
        SOON,
      ),
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await lb.close();
    },
  };
}

Deno.test("picks follow a backend that changes between SERVING and NOT_SERVING a hundred times", async () => {
  const before = descriptorCount();
  {
    await using a = HealthBackend.listen("a");
    await using b = HealthBackend.listen("b");
    const lb = new GrpcL7({ backends: [a.addr, b.addr], healthCheck: PATIENT });
    await using balancer = await run(lb);
    await balancer.watched(a);
    await balancer.watched(b);
    for (let i = 0; i < 100; i++) {
      const down = i % 2 === 0;
      b.say(down ? Status.NotServing : Status.Serving);
      await balancer.becomes(b, down ? "failing" : "healthy");
      const names = [await balancer.call(), await balancer.call()].sort().join("");
      assertEquals(names, down ? "aa" : "ab", `after change ${i}`);
    }
    // All of that was one stream, and nobody was asked beside it.
    assertEquals([b.watches, b.checks, b.streams.length], [1, 0, 1]);
    await lb.close();
    await balancer.watched(a, 0);
    await balancer.watched(b, 0);
  }
  await descriptorsBackTo(before);
});

Deno.test("a backend that dies is not picked, at layer 4 either, and one that says nothing is not", async () => {
  for (const Kind of [GrpcL7, GrpcL4]) {
    await using a = HealthBackend.listen("a");
    await using dies = HealthBackend.listen("dies");
    await using silent = HealthBackend.listen("silent");
    silent.watch = "silent";
    const lb = new Kind({
      backends: [a.addr, dies.addr, silent.addr],
      healthCheck: { ...QUICK, timeout: 300 },
    });
    await using balancer = await run(lb);
    await balancer.becomes(silent, "failing");
    await balancer.watched(dies);
    dies.h2.kill();
    await balancer.becomes(dies, "failing");
    await using client = await run(lb);
    assertEquals([await client.call(), await client.call()], ["a", "a"]);
    const [, , third] = lb.backends();
    assertEquals(third!.health.reason, "no status within 300 ms");
    // It is tried again and again, and each time nothing is left behind.
    await until(() => silent.watches > 3, "more streams", SOON);
    assert(silent.h2.connections.size <= 2, `${silent.h2.connections.size} connections`);
  }
});

Deno.test("backends that come at run time, by routes or by name are watched too, and no more when they go", async () => {
  await using a = HealthBackend.listen("a");
  await using b = HealthBackend.listen("b");
  await using c = HealthBackend.listen("c");
  const [port] = c.addr.split(":").slice(-1);
  const lb = new GrpcL7({
    backends: [`dns:localhost:${port}`],
    healthCheck: { ...PATIENT, check: "grpc-watch:a.B" },
    fallback: true,
  });
  await using balancer = await run(lb);
  const id = lb.addBackend(a.addr);
  lb.addRoute(new RouteBuilder().service("a.B").target(b.addr).build());
  for (const backend of [a, b, c]) {
    await balancer.watched(backend);
    // Field 1, the name.
    assertEquals(backend.streams[0]!.text, "\0\0\0\0\x05\n\x03a.B");
  }
  for (const backend of [b, a]) {
    backend.say(Status.NotServing);
    await balancer.becomes(backend, "failing");
  }
  assertEquals(await balancer.call("/other.Service/Any"), "c");
  lb.removeBackend(id);
  await balancer.watched(a, 0);
});

Deno.test("a backend without Watch is asked with Check", async () => {
  await using backend = HealthBackend.listen();
  backend.watch = "unimplemented";
  await using balancer = await run(new GrpcL7({ backends: [backend.addr], healthCheck: QUICK }));
  await until(() => backend.checks > 3, () => `${backend.checks} checks`, SOON);
  assertEquals(backend.watches, 1);
  backend.status = Status.NotServing;
  await balancer.becomes(backend, "failing");
  backend.status = Status.Serving;
  await balancer.becomes(backend, "healthy");
});

Deno.test("what is said on the stream is in the metrics, the list and /readyz", async () => {
  await using a = HealthBackend.listen();
  await using b = HealthBackend.listen();
  const lb = new GrpcL7({ backends: [a.addr, b.addr], healthCheck: PATIENT });
  await using balancer = await run(lb);
  const admin = new AdminServer(lb, { address: parseListenAddress("127.0.0.1:0") });
  await using _admin = { [Symbol.asyncDispose]: () => admin.shutdown() };
  const url = `http://127.0.0.1:${(admin.addr as Deno.NetAddr).port}`;
  await balancer.watched(a);
  await balancer.watched(b);
  b.say(Status.NotServing);
  await balancer.becomes(b, "failing");
  const [one, two] = lb.backends();
  const metrics = await (await fetch(`${url}/metrics`)).text();
  assertStringIncludes(metrics, `lb_backend_healthy{backend="${one!.id}"} 1`);
  assertStringIncludes(metrics, `lb_backend_healthy{backend="${two!.id}"} 0`);
  const { backends } = await (await fetch(`${url}/lb/backends`)).json();
  assertEquals(backends[1].health, {
    state: "failing",
    reason: "the health service says NOT_SERVING",
    ejections: 0,
  });
  const ready = async () => {
    const response = await fetch(`${url}/readyz`);
    const { reason, backends: { healthy, failing } } = await response.json();
    return [response.status, reason, healthy, failing];
  };
  assertEquals(await ready(), [200, undefined, 1, 1]);
  a.say(Status.NotServing);
  await balancer.becomes(a, "failing");
  assertEquals(await ready(), [503, "no backend is healthy", 0, 2]);
  b.say(Status.Serving);
  await balancer.becomes(b, "healthy");
  assertEquals(await ready(), [200, undefined, 1, 1]);
});

Deno.test("a server on grpc-js is watched by the program, which logs each change with its reason", async () => {
  await using program = new ChildProgram(
    new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-lock", "-A", "tests/support/grpc_js_health.ts"],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }),
  );
  const port = await program.find(/listening on (\d+)/, "stdout");
  await using server = new Listening(program, `127.0.0.1:${port}`);
  await using balancer = await Balancer.start("grpc-l7", [server], [
    ...["--health-check", "grpc-watch", "--health-interval", "1m"],
  ]);
  await program.find(/streams 1\n/, "stdout");
  program.signal("SIGHUP");
  await balancer.program.find(
    /fails its health checks backend=\S+ reason="the health service says NOT_SERVING"/,
  );
  program.signal("SIGHUP");
  await balancer.program.find(/is healthy again/);
  await balancer.stop();
  await program.find(/streams 0\n/, "stdout");
});

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { PROJECT_ROOT } from "../../scripts/module_graph.ts";
import { AdminServer, GrpcL7, type GrpcL7Options, Mux, parseListenAddress } from "../../mod.ts";
import { LB_PROTO, REFLECTION_PROTO } from "../../lib/grpc/protos.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import type { ForeignOptions } from "../support/foreign_backend.ts";
import { type Message, ServiceClient } from "../support/grpc_client.ts";
import { findGrpcurl, grpcurl } from "../support/grpcurl.ts";
import { type GrpcBackend, serveGrpc } from "../support/h2_backend.ts";
import { H2Client } from "../support/h2_peer.ts";
import { until, within } from "../support/net.ts";
import { ChildProgram, Program, runProgram } from "../support/program.ts";

const LB = loadProto(LB_PROTO).service("lb.LoadBalancer");
const REFLECTION = loadProto(REFLECTION_PROTO).service("grpc.reflection.v1.ServerReflection");

const portOf = (addr: string) => Number(addr.split(":")[1]);

/** A balancer that discovers services, and a client of it. */
async function run(options: GrpcL7Options = {}) {
  const lb = new GrpcL7({ timeouts: { shutdown: 2000 }, discoverServices: true, ...options });
  const server = await lb.start("127.0.0.1:0");
  const client = await H2Client.connect(server.addr);
  return {
    lb,
    address: `127.0.0.1:${(server.addr as Deno.NetAddr).port}`,
    client,
    /** The status of a call with an empty message. */
    async status(path: string): Promise<number> {
      const call = client.call(path, { content: new Uint8Array(5) });
      await call.done;
      return Number(call.value("grpc-status"));
    },
    /** The services of routes that were discovered, sorted. */
    found: () =>
      lb.routes().filter(({ origin }) => origin === "discovered")
        .map(({ rule }) => /service=(\S+)/.exec(rule)![1]!).sort(),
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server.shutdown();
    },
  };
}

/** The calls of a backend, those of reflection left out. */
const callsOf = (backend: GrpcBackend) =>
  backend.calls.filter((path) => !path.startsWith("/grpc.reflection."));

const { Ok, Unavailable, Unimplemented } = GrpcStatus;

Deno.test("calls go to the backends that have their service, without a single route", async () => {
  await using a = serveGrpc({ services: ["s.A", "s.Both", "grpc.health.v1.Health"] });
  await using b = serveGrpc({ services: ["s.B", "s.Both"], reflection: "v1alpha" });
  await using scene = await run({ backends: [a.addr, b.addr] });
  assertEquals(scene.found(), ["s.A", "s.B", "s.Both"]);
  for (let i = 0; i < 2; i++) {
    assertEquals(await scene.status("/s.A/M"), Ok);
    assertEquals(await scene.status("/s.B/M"), Ok);
  }
  for (let i = 0; i < 4; i++) assertEquals(await scene.status("/s.Both/M"), Ok);
  assertEquals(callsOf(a), ["/s.A/M", "/s.A/M", "/s.Both/M", "/s.Both/M"]);
  assertEquals(callsOf(b), ["/s.B/M", "/s.B/M", "/s.Both/M", "/s.Both/M"]);
  assertEquals(await scene.status("/s.None/M"), Unimplemented);
});

Deno.test("a backend that is started anew with other services is followed, and missed while it is down", async () => {
  const a = serveGrpc({ services: ["s.Old"] });
  await using b = serveGrpc({ services: ["s.B"] });
  // So long an interval that it has no part in this.
  await using scene = await run({ backends: [a.addr, b.addr], discoverInterval: 3_600_000 });
  assertEquals(await scene.status("/s.Old/M"), Ok);
  await a[Symbol.asyncDispose]();
  await until(async () => await scene.status("/s.Old/M") === Unavailable, "it is missed");
  assertEquals(scene.found(), ["s.B", "s.Old"]);
  assertEquals(await scene.status("/s.B/M"), Ok);
  await using again = serveGrpc({ port: portOf(a.addr), services: ["s.New"] });
  await until(() => scene.found().join() === "s.B,s.New", () => scene.found().join());
  assertEquals(await scene.status("/s.New/M"), Ok);
  assertEquals(await scene.status("/s.Old/M"), Unimplemented);
  assertEquals(callsOf(again), ["/s.New/M"]);
});

Deno.test("services that change without a restart are found at the interval", async () => {
  const services = ["s.Old"];
  await using a = serveGrpc({ services });
  await using scene = await run({ backends: [a.addr], discoverInterval: 200 });
  services[0] = "s.New";
  await until(() => scene.found().join() === "s.New", () => scene.found().join());
  assertEquals(await scene.status("/s.New/M"), Ok);
});

Deno.test("a dead backend and one that never answers delay neither the start nor a call", async () => {
  const dead = serveGrpc();
  await dead[Symbol.asyncDispose]();
  await using silent = serveGrpc({ reflection: "silent" });
  await using a = serveGrpc({ services: ["s.A"] });
  const backends = [dead.addr, silent.addr, a.addr];
  await using scene = await within(4_000, "the start", run({ backends }));
  assertEquals(await within(1_000, "a call", scene.status("/s.A/M")), Ok);
  // What nobody lists may be theirs: the dead one is passed over.
  assertEquals(await scene.status("/s.Silent/M"), Ok);
  assertEquals(callsOf(silent), ["/s.Silent/M"]);
  await using late = serveGrpc({ port: portOf(dead.addr), services: ["s.Late"] });
  await until(() => scene.found().includes("s.Late"), () => scene.found().join());
  assertEquals(await scene.status("/s.Late/M"), Ok);
  assertEquals(callsOf(late), ["/s.Late/M"]);
});

Deno.test("services come and leave with backends at run time, by every way to add them", async () => {
  await using a = serveGrpc({ services: ["s.A"] });
  await using b = serveGrpc({ services: ["s.B"] });
  await using c = serveGrpc({ services: ["s.C"] });
  await using d = serveGrpc({ services: ["s.D"] });
  await using scene = await run({ discoverServices: false });
  await using manager = new ServiceClient(scene.address, LB);
  const added = await manager.call("AddL4", { addr: a.addr, discover_services: true });
  await manager.call("AddL7", {
    backend_addr: b.addr,
    services: ["s.Written"],
    discover_services: true,
  });
  const response = await fetch(`http://${scene.address}/lb/add`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ backend_addr: c.addr, discover_services: true }),
  });
  assertEquals(response.status, 201);
  await response.body?.cancel();
  const registration = manager.duplex("Register");
  registration.send({ add_l4: { addr: d.addr, discover_services: true } });
  await registration.next();
  const found = () => scene.found().join();
  await until(() => found() === "s.A,s.B,s.C,s.D", found);
  for (const path of ["/s.A/M", "/s.B/M", "/s.C/M", "/s.D/M", "/s.Written/M"]) {
    assertEquals(await scene.status(path), Ok, path);
  }
  assertEquals(callsOf(b), ["/s.B/M", "/s.Written/M"]);
  assertEquals(await scene.status("/s.None/M"), Unimplemented);
  registration.end();
  await until(() => found() === "s.A,s.B,s.C", found);
  await manager.call("Drain", { id: added["id"] });
  assertEquals(found(), "s.B,s.C");
  await manager.call("Remove", { id: b.addr });
  assertEquals(found(), "s.C");
  await manager.call("AddL7", { backend_addr: c.addr, discover_services: false });
  assertEquals(found(), "");
  const failure = await manager.failure("AddL7", { backend_addr: c.addr, weight: 70_000 });
  assertEquals(failure.code, GrpcStatus.InvalidArgument);
});

Deno.test("List and Watch tell of discovered routes, and removing one is refused with the reason", async () => {
  const services = ["s.A"];
  await using a = serveGrpc({ services });
  await using scene = await run({ backends: [a.addr], discoverInterval: 300 });
  await using manager = new ServiceClient(scene.address, LB);
  const { routes, backends } = await manager.call("List", {});
  assertEquals(routes.map(({ origin, rule }: Message) => [origin, rule]), [
    ["DISCOVERED", `service=s.A -> grpc://${a.addr}`],
  ]);
  assertEquals(backends[0].discovery, { known: true, services: 1 });
  assertEquals(backends[0].routes, [routes[0].id]);
  const failure = await manager.failure("Remove", { route_id: routes[0].id });
  assertEquals(failure.code, GrpcStatus.FailedPrecondition);
  assertStringIncludes(failure.details, "was discovered");
  const watch = manager.watch("Watch", {});
  while ((await watch.next())!["kind"] !== "SYNCED");
  services[0] = "s.B";
  const told: string[] = [];
  while (told.length < 2) {
    const { kind, route } = (await watch.next())!;
    if (route !== undefined) told.push(`${kind} ${route.rule}`);
  }
  const rule = (service: string) => `service=${service} -> grpc://${a.addr}`;
  assertEquals(told, [`REMOVED ${rule("s.A")}`, `ADDED ${rule("s.B")}`]);
  watch.cancel();
});

Deno.test("a service that leaves does not disturb its calls under way", async () => {
  const services = ["s.A"];
  const hold = Promise.withResolvers<void>();
  await using a = serveGrpc({ services, until: hold.promise });
  await using scene = await run({ backends: [a.addr], discoverInterval: 200 });
  const call = scene.client.call("/s.A/M", { content: Uint8Array.of(0, 0, 0, 0, 1, 7) });
  await until(() => callsOf(a).length === 1, "the call is there");
  services[0] = "s.B";
  await until(() => scene.found().join() === "s.B", () => scene.found().join());
  hold.resolve();
  await call.done;
  assertEquals([call.value("grpc-status"), call.received], ["0", 6]);
  assertEquals(await scene.status("/s.A/M"), Unimplemented);
});

Deno.test("metrics count services and failures of each backend, and conflicts that nobody asked for", async () => {
  const dead = serveGrpc();
  await dead[Symbol.asyncDispose]();
  const proto = (field: number) => ({
    name: "s.proto",
    text: `syntax = "proto3"; package s; message M { string f = ${field}; }
service A { rpc Do(M) returns (M); }`,
  });
  await using a = serveGrpc({ services: ["s.A"], protos: [proto(1)] });
  await using b = serveGrpc({ services: ["s.A"], protos: [proto(2)] });
  await using scene = await run({ backends: [a.addr, b.addr, dead.addr] });
  const admin = new AdminServer(scene.lb, { address: parseListenAddress("127.0.0.1:0") });
  try {
    const { port } = admin.addr as Deno.NetAddr;
    let text = "";
    await until(async () => {
      text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      return text.includes("lb_reflection_conflicts 1");
    }, () => text);
    const [first, , third] = scene.lb.backends();
    assertStringIncludes(text, `lb_discovered_services{backend="${first!.id}"} 1`);
    assertStringIncludes(text, `lb_discovered_services{backend="${third!.id}"} 0`);
    assert(
      Number(
        new RegExp(`lb_discovery_failures_total{backend="${third!.id}"} (\\d+)`).exec(text)?.[1],
      ) > 0,
      text,
    );
    await using manager = new ServiceClient(scene.address, LB);
    const { conflicts } = await manager.call("List", {});
    assertEquals(conflicts.map(({ file }: Message) => file), ["s.proto"]);
  } finally {
    await admin.shutdown();
  }
});

Deno.test("a balancer that is closed and started again discovers again", async () => {
  const services = ["s.A"];
  await using a = serveGrpc({ services });
  const lb = new GrpcL7({ backends: [a.addr], discoverServices: true });
  for (const service of ["s.A", "s.B", "s.C"]) {
    services[0] = service;
    const [one, two] = [await lb.start("127.0.0.1:0"), await lb.start("127.0.0.1:0")];
    const rules = () => lb.routes().map(({ rule }) => rule).join();
    await until(() => rules() === `service=${service} -> grpc://${a.addr}`, rules);
    await Promise.all([one.shutdown(), two.shutdown()]);
  }
});

Deno.test("a start that fails leaves nothing behind", async () => {
  await using a = serveGrpc({ services: ["s.A"] });
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const lb = new GrpcL7({ backends: [a.addr], discoverServices: true });
  const error = await lb.start(`127.0.0.1:${(taken.addr as Deno.NetAddr).port}`).catch((it) => it);
  assert(error instanceof Deno.errors.AddrInUse, `${error}`);
  taken.close();
  await lb.close();
});

Deno.test("a mux discovers the services of its gRPC side, and each side may go on without the other", async () => {
  const services = ["s.A"];
  await using a = serveGrpc({ services });
  await using b = serveGrpc({ services: ["s.B"] });
  const mux = new Mux({
    grpc: {
      backends: [a.addr, { addr: b.addr, discoverServices: false }],
      discoverServices: true,
      discoverInterval: 200,
    },
  });
  const server = await mux.start("127.0.0.1:0");
  const alone = await mux.grpc.start("127.0.0.1:0");
  try {
    await using client = await H2Client.connect(server.addr);
    for (const path of ["/s.A/M", "/s.B/M"]) {
      const call = client.call(path, { content: new Uint8Array(5) });
      await call.done;
      assertEquals(call.value("grpc-status"), "0");
    }
    assertEquals([callsOf(a), callsOf(b)], [["/s.A/M"], ["/s.B/M"]]);
    await alone.shutdown();
    services[0] = "s.New";
    const rules = () => mux.routes().map(({ rule }) => rule).join();
    await until(() => rules() === `service=s.New -> grpc://${a.addr}`, rules);
  } finally {
    await mux.close();
  }
});

Deno.test("an interval that is none is refused", () => {
  for (const discoverInterval of [0, -1, NaN, Infinity, 86_400_001]) {
    let message = "";
    try {
      new GrpcL7({ discoverInterval });
    } catch (error) {
      message = `${error}`;
    }
    assertStringIncludes(message, `discoverInterval ${discoverInterval}`);
  }
});

/** A backend on grpc-js, in a process of its own. */
class ForeignBackend implements AsyncDisposable {
  readonly #child: ChildProgram;
  readonly addr: string;

  static async start(options: ForeignOptions): Promise<ForeignBackend> {
    const child = new ChildProgram(
      new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "tests/support/foreign_backend.ts", JSON.stringify(options)],
        cwd: PROJECT_ROOT,
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }),
    );
    try {
      return new ForeignBackend(child, await child.find(/listening on (\d+)/, "stdout"));
    } catch (error) {
      await child[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(child: ChildProgram, port: string) {
    this.#child = child;
    this.addr = `127.0.0.1:${port}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#child[Symbol.asyncDispose]();
  }
}

/** The names of the services that reflection lists. */
async function list(address: string): Promise<string[]> {
  await using client = new ServiceClient(address, REFLECTION);
  const call = client.duplex("ServerReflectionInfo");
  call.send({ list_services: "*" });
  const { list_services_response } = (await call.next())!;
  call.end();
  await call.next();
  return list_services_response.service.map(({ name }: Message) => name);
}

Deno.test("backends on grpc-js with @grpc/reflection are discovered, and followed when they are started anew", async () => {
  const start = (name: string, port: number, ...services: string[]) =>
    ForeignBackend.start({ name, port, services });
  const a = await start("a", 0, "s.v1.A");
  await using b = await start("b", 0, "s.v1.B", "t.Other");
  await using scene = await run({ backends: [a.addr, b.addr], discoverInterval: 3_600_000 });
  assertEquals(scene.found(), ["s.v1.A", "s.v1.B", "t.Other"]);
  assertEquals(await scene.status("/s.v1.A/Who"), Ok);
  assertEquals(await scene.status("/t.Other/Who"), Ok);
  assertEquals((await list(scene.address)).filter((name) => !name.startsWith("grpc.")), [
    "lb.LoadBalancer",
    "s.v1.A",
    "s.v1.B",
    "t.Other",
  ]);
  await a[Symbol.asyncDispose]();
  await until(async () => await scene.status("/s.v1.A/Who") === Unavailable, "it is missed");
  await using _again = await start("a", portOf(a.addr), "s.v2.A");
  await until(() => scene.found().includes("s.v2.A"), () => scene.found().join());
  assertEquals(await scene.status("/s.v2.A/Who"), Ok);
  assertEquals(await scene.status("/s.v1.A/Who"), Unimplemented);
});

Deno.test("the command line discovers services, adds backends to be discovered and lists what was", async () => {
  await using a = serveGrpc({ services: ["s.A"] });
  await using b = serveGrpc({ services: ["s.B"] });
  await using program = new Program([
    "grpc-l7",
    "--listen",
    "127.0.0.1:0",
    "--backend",
    a.addr,
    "--discover-services",
    "--discover-interval",
    "1h",
  ]);
  const address = await program.find(/listening.*?(127\.0\.0\.1:\d+)/);
  const server = ["--server", `http://${address}`];
  const added = await runProgram(
    ["add", ...server, "--backend-addr", b.addr, "--discover-services"],
  );
  assertEquals(added.code, 0, added.stderr);
  await program.find(/a service was discovered.*s\.B/);
  const listed = await runProgram(["list", ...server]);
  for (const [service, addr] of [["s.A", a.addr], ["s.B", b.addr]]) {
    assert(
      new RegExp(`^r-\\w+ +discovered +service=${service} -> grpc://${addr}$`, "m")
        .test(listed.stdout),
      listed.stdout,
    );
  }
  const alone = await runProgram(["add", ...server, "--discover-services"]);
  assertEquals(alone.code, 2);
  assertStringIncludes(alone.stderr, "--discover-services is given without --backend-addr");
  const { code, stderr } = await program.stop();
  assertEquals(code, 0, stderr);
  assert(/a service was discovered.*s\.A/.test(stderr), stderr);
});

const GRPCURL = findGrpcurl();
if (GRPCURL === undefined) {
  console.warn("left out, because grpcurl is not installed: discovery with grpcurl");
}

Deno.test({
  name:
    "grpcurl calls services of two backends through one port, and follows one that is started anew",
  ignore: GRPCURL === undefined,
  async fn() {
    const start = (name: string, port: number, ...services: string[]) =>
      ForeignBackend.start({ name, port, services });
    const a = await start("a", 0, "s.A");
    await using b = await start("b", 0, "s.B");
    await using program = new Program([
      "grpc-l7",
      "--listen",
      "127.0.0.1:0",
      "--backend",
      a.addr,
      "--backend",
      b.addr,
      "--discover-services",
    ]);
    const address = await program.find(/listening.*?(127\.0\.0\.1:\d+)/);
    const who = async (service: string) => {
      const { code, out, err } = await grpcurl(GRPCURL!, address, `${service}/Who`);
      return code === 0 ? JSON.parse(out).name : err;
    };
    assertEquals([await who("s.A"), await who("s.B")], ["a", "b"]);
    const { out } = await grpcurl(GRPCURL!, address, "list");
    assert(out.includes("s.A\n") && out.includes("s.B\n"), out);
    await a[Symbol.asyncDispose]();
    await using _again = await start("a", portOf(a.addr), "s.New");
    await program.find(/a service was discovered.*s\.New/);
    assertEquals([await who("s.New"), await who("s.B")], ["a", "b"]);
    assertStringIncludes(await who("s.A"), "s.A");
    assertEquals((await program.stop()).code, 0);
  },
});

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { GrpcL7, type HttpL7Options } from "../../mod.ts";
import { HEALTH_PROTO, LB_PROTO, REFLECTION_PROTO } from "../../lib/grpc/protos.ts";
import { summarize } from "../../lib/grpc/reflection/file_summary.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import { type Message, ServiceClient } from "../support/grpc_client.ts";
import { findGrpcurl, grpcurl } from "../support/grpcurl.ts";
import { serveGrpc } from "../support/h2_backend.ts";
import { until, within } from "../support/net.ts";

const LB = loadProto(LB_PROTO).service("lb.LoadBalancer");
const HEALTH = loadProto(HEALTH_PROTO).service("grpc.health.v1.Health");
const REFLECTION = loadProto(REFLECTION_PROTO).service("grpc.reflection.v1.ServerReflection");

const OWN = [
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
  "lb.LoadBalancer",
];

const USERS = {
  name: "users.proto",
  text: `syntax = "proto3"; package myapp;
message User { string name = 1; message Detail { string text = 1; } repeated Detail details = 2; }
service UserService { rpc Login(User) returns (User); }`,
};
const ORDERS = {
  name: "orders.proto",
  text: `syntax = "proto3"; package shop;
message Order { int64 id = 1; }
service Orders { rpc Find(Order) returns (Order); }`,
};

async function run(options: HttpL7Options = {}) {
  const lb = new GrpcL7({ timeouts: { shutdown: 2000 }, ...options });
  const server = await lb.start("127.0.0.1:0");
  const address = `127.0.0.1:${(server.addr as Deno.NetAddr).port}`;
  return { lb, address, [Symbol.asyncDispose]: () => server.shutdown() };
}

/** What reflection answers to one question. */
async function ask(client: ServiceClient, question: Message): Promise<Message> {
  const call = client.duplex("ServerReflectionInfo");
  call.send(question);
  const answer = await call.next();
  call.end();
  assertEquals(await call.next(), undefined);
  return answer!;
}

async function list(client: ServiceClient): Promise<string[]> {
  const { list_services_response } = await ask(client, { list_services: "*" });
  return list_services_response.service.map(({ name }: Message) => name);
}

/** The names of the files that an answer holds. */
function files(answer: Message): string[] {
  const { file_descriptor_response } = answer;
  return file_descriptor_response.file_descriptor_proto.map((bytes: Uint8Array) =>
    summarize(bytes).name
  );
}

Deno.test("backends come, change and leave by calls of lb.LoadBalancer", async () => {
  await using balancer = await run();
  await using client = new ServiceClient(balancer.address, LB);
  const added = await client.call("AddL4", { addr: "localhost:50054", weight: 3 });
  assertEquals([added["addr"], added["created"]], ["grpc://localhost:50054", true]);
  const routed = await client.call("AddL7", {
    backend_addr: "localhost:50055",
    services: ["myapp.UserService"],
    methods: ["Login", "Logout"],
    grpc_headers: { "x-tenant": "blue" },
  });
  assert(routed["route_id"] !== undefined);
  const all = await client.call("List", {});
  assertEquals(
    all["backends"].map(({ addr, state, weight }: Message) => [addr, state, weight]),
    [["grpc://localhost:50054", "ACTIVE", 3], ["grpc://localhost:50055", "ACTIVE", undefined]],
  );
  assertEquals(
    all["routes"][0].rule,
    "service=myapp.UserService method=Login method=Logout grpc-header=x-tenant:blue " +
      "-> grpc://localhost:50055",
  );
  const set = await client.call("SetWeight", { id: added["id"], weight: 0 });
  assertEquals(set["weight"], 0);
  const drained = await client.call("Drain", { id: "localhost:50054", wait: true });
  assertEquals(drained["state"], "DRAINING");
  const route = await client.call("Remove", { route_id: routed["route_id"] });
  assertEquals(route["route"].id, routed["route_id"]);
  const gone = await client.call("Remove", { id: added["id"] });
  assertEquals(gone["backend"].state, "REMOVED");
  assertEquals(balancer.lb.backends(), []);
});

Deno.test("a call that is refused says which field and why, and changes nothing", async () => {
  await using balancer = await run();
  await using client = new ServiceClient(balancer.address, LB);
  const { InvalidArgument, NotFound } = GrpcStatus;
  const cases: [method: string, request: Message, code: number, texts: string[]][] = [
    ["AddL4", { addr: "nonsense" }, InvalidArgument, ["addr", "nonsense", "port is missing"]],
    ["AddL4", { addr: "a:1", weight: 70_000 }, InvalidArgument, ["weight", "70000", "65535"]],
    ["AddL4", { addr: "a:1", port: 5 }, InvalidArgument, ["port", "5", "one of them"]],
    ["AddL7", { services: ["a.B"] }, InvalidArgument, ["backend_addr", "missing"]],
    ["AddL7", { backend_addr: "a:1", services: ["/"] }, InvalidArgument, ["services[0]", '"/"']],
    ["Remove", {}, InvalidArgument, ["id", "neither"]],
    ["Remove", { id: "b-none" }, NotFound, ["b-none"]],
    ["SetWeight", { id: "x" }, InvalidArgument, ["weight", "missing"]],
    ["Drain", {}, InvalidArgument, ["id", "missing"]],
  ];
  for (const [method, request, code, texts] of cases) {
    const failure = await client.failure(method, request);
    assertEquals(failure.code, code, failure.details);
    for (const text of texts) assertStringIncludes(failure.details, text);
  }
  assertEquals(balancer.lb.backends(), []);
});

Deno.test("whoever sends credentials needs the right token, and cannot say who it is", async () => {
  const token = "0123456789abcdef";
  await using balancer = await run({ management: { token } });
  await using client = new ServiceClient(balancer.address, LB);
  const failure = await client.failure("List", {}, { authorization: "Bearer wrong" });
  assertEquals(failure.code, GrpcStatus.Unauthenticated);
  assertEquals(
    await client.call("List", {}, { authorization: `Bearer ${token}` }),
    { backends: [], names: [], routes: [], conflicts: [] },
  );
  const added = await client.call("AddL4", { port: 50099 }, { "lb-caller": "192.0.2.1" });
  assertEquals(added["addr"], "grpc://127.0.0.1:50099");
});

Deno.test("management that is not on the listeners is neither answered nor listed", async () => {
  await using balancer = await run({ management: { onListeners: false } });
  await using client = new ServiceClient(balancer.address, LB);
  assertEquals((await client.failure("List", {})).code, GrpcStatus.Unavailable);
  await using reflection = new ServiceClient(balancer.address, REFLECTION);
  assertEquals(await list(reflection), OWN.slice(0, 3));
});

Deno.test("a watcher is told of all there is and then of every change", async () => {
  await using balancer = await run({ backends: ["localhost:1"] });
  await using client = new ServiceClient(balancer.address, LB);
  const changes = client.watch("Watch", {});
  const next = async () => {
    const { kind, backend, route } = (await changes.next())!;
    return [kind, backend?.addr ?? route?.rule, backend?.state];
  };
  assertEquals(await next(), ["ADDED", "grpc://localhost:1", "ACTIVE"]);
  assertEquals(await next(), ["SYNCED", undefined, undefined]);
  const id = balancer.lb.addBackend("localhost:2");
  assertEquals(await next(), ["ADDED", "grpc://localhost:2", "ACTIVE"]);
  void balancer.lb.drainBackend(id);
  assertEquals(await next(), ["CHANGED", "grpc://localhost:2", "DRAINING"]);
  balancer.lb.removeBackend(id);
  assertEquals((await next()).slice(0, 2), ["REMOVED", "grpc://localhost:2"]);
  changes.cancel();
});

Deno.test("a backend that registers itself is in while its stream is open", async () => {
  await using balancer = await run();
  await using client = new ServiceClient(balancer.address, LB);
  const call = client.duplex("Register");
  call.send({ add_l4: { addr: "localhost:50060" } });
  assertEquals((await call.next())!["added"].addr, "grpc://localhost:50060");
  call.send({ weight: 9 });
  assertEquals((await call.next())!["changed"].weight, 9);
  call.send({ drain: {} });
  assertEquals((await call.next())!["drained"].state, "DRAINING");
  assertEquals(balancer.lb.backends().length, 1);
  call.end();
  assertEquals(await call.next(), undefined);
  assertEquals(balancer.lb.backends(), []);
});

Deno.test("a stream that breaks removes its backend, unless another holds it or it was there", async () => {
  await using balancer = await run({ backends: ["localhost:1"] });
  await using client = new ServiceClient(balancer.address, LB);
  const register = async (addr: string) => {
    const call = client.duplex("Register");
    call.send({ add_l4: { addr } });
    await call.next();
    return call;
  };
  const addrs = () => balancer.lb.backends().map(({ addr }) => addr);
  const [a, b, c] = [
    await register("localhost:2"),
    await register("localhost:2"),
    await register("localhost:1"),
  ];
  a.cancel();
  c.cancel();
  const other = await register("localhost:3");
  assertEquals(addrs(), ["grpc://localhost:1", "grpc://localhost:2", "grpc://localhost:3"]);
  b.cancel();
  await until(() => addrs().length === 2, () => addrs().join());
  other.cancel();
  await until(() => addrs().length === 1, () => addrs().join());
  assertEquals(addrs(), ["grpc://localhost:1"]);
});

Deno.test("a registration in the wrong order fails and leaves nothing behind", async () => {
  await using balancer = await run();
  await using client = new ServiceClient(balancer.address, LB);
  const early = client.duplex("Register");
  early.send({ weight: 1 });
  const failure = await early.next().catch((error) => error);
  assertEquals(failure.code, GrpcStatus.FailedPrecondition);
  const twice = client.duplex("Register");
  twice.send({ add_l4: { addr: "localhost:2" } });
  await twice.next();
  twice.send({ add_l4: { addr: "localhost:3" } });
  assertEquals((await twice.next().catch((error) => error)).code, GrpcStatus.InvalidArgument);
  assertEquals(balancer.lb.backends(), []);
});

Deno.test("health is that of the whole, of routed and of listed services", async () => {
  await using backend = serveGrpc({ protos: [USERS], services: ["myapp.UserService"] });
  await using balancer = await run();
  await using client = new ServiceClient(balancer.address, HEALTH);
  const check = async (service: string) => (await client.call("Check", { service }))["status"];
  assertEquals(await check(""), "NOT_SERVING");
  assertEquals(await check("lb.LoadBalancer"), "SERVING");
  const unknown = await client.failure("Check", { service: "myapp.UserService" });
  assertEquals(unknown.code, GrpcStatus.NotFound);
  const watched = client.watch("Watch", { service: "myapp.UserService" });
  assertEquals((await watched.next())!["status"], "SERVICE_UNKNOWN");
  const id = balancer.lb.addBackend(backend.addr);
  assertEquals((await watched.next())!["status"], "SERVING");
  assertEquals(await check(""), "SERVING");
  assertEquals(await check("myapp.UserService"), "SERVING");
  await balancer.lb.drainBackend(id);
  assertEquals((await watched.next())!["status"], "NOT_SERVING");
  watched.cancel();
  balancer.lb.management.addL7({ backend_addr: backend.addr, full_methods: ["/a.B/C"] });
  const { statuses } = await client.call("List", {});
  assertEquals(statuses["a.B"], { status: "SERVING" });
});

Deno.test("reflection is that of all backends, whichever version they speak, and of the balancer", async () => {
  await using users = serveGrpc({ protos: [USERS], services: ["myapp.UserService"] });
  await using orders = serveGrpc({
    protos: [ORDERS],
    services: ["shop.Orders"],
    reflection: "v1alpha",
  });
  await using mute = serveGrpc({ reflection: "none" });
  await using balancer = await run({ backends: [users.addr, mute.addr] });
  balancer.lb.management.addL7({ backend_addr: orders.addr, services: ["shop.Orders"] });
  await using client = new ServiceClient(balancer.address, REFLECTION);
  assertEquals(await list(client), [...OWN, "myapp.UserService", "shop.Orders"]);
  const file = async (question: Message) => files(await ask(client, question));
  assertEquals(await file({ file_containing_symbol: "myapp.User.Detail" }), ["users.proto"]);
  assertEquals(await file({ file_containing_symbol: "shop.Orders.Find" }), ["orders.proto"]);
  assertEquals(await file({ file_by_filename: "orders.proto" }), ["orders.proto"]);
  assertEquals(await file({ file_containing_symbol: "lb.LoadBalancer" }), ["lb.proto"]);
  const numbers = await ask(client, { all_extension_numbers_of_type: "shop.Order" });
  assertEquals(numbers["all_extension_numbers_response"].base_type_name, "shop.Order");
  for (
    const question of [
      { file_containing_symbol: "no.Such" },
      { file_by_filename: "none.proto" },
      { file_containing_extension: { containing_type: "shop.Order", extension_number: 7 } },
    ]
  ) {
    const answer = await ask(client, question);
    assertEquals(answer["error_response"].error_code, GrpcStatus.NotFound);
  }
  balancer.lb.removeBackend(users.addr);
  assertEquals(await list(client), [...OWN, "shop.Orders"]);
});

Deno.test("a backend that never answers delays the first question only, and no file at all", async () => {
  await using users = serveGrpc({ protos: [USERS], services: ["myapp.UserService"] });
  await using silent = serveGrpc({ reflection: "silent" });
  await using balancer = await run({ backends: [silent.addr, users.addr] });
  await using client = new ServiceClient(balancer.address, REFLECTION);
  const question = ask(client, { file_containing_symbol: "myapp.User" });
  assertEquals(files(await within(1500, "the file", question)), ["users.proto"]);
  assertEquals(await list(client), [...OWN, "myapp.UserService"]);
  const again = await within(500, "the second list", list(client));
  assertEquals(again, [...OWN, "myapp.UserService"]);
});

Deno.test("definitions that differ are reported, and a file is that of whoever named it", async () => {
  const renamed = { name: "users.proto", text: ORDERS.text };
  await using a = serveGrpc({ protos: [USERS], services: ["myapp.UserService"] });
  await using b = serveGrpc({ protos: [renamed], services: ["shop.Orders"] });
  await using balancer = await run({ backends: [a.addr, b.addr] });
  await using client = new ServiceClient(balancer.address, REFLECTION);
  await list(client);
  for (const symbol of ["shop.Order", "myapp.User"]) {
    const call = client.duplex("ServerReflectionInfo");
    call.send({ file_containing_symbol: symbol });
    await call.next();
    call.send({ file_by_filename: "users.proto" });
    const { file_descriptor_response } = (await call.next())!;
    const { symbols } = summarize(file_descriptor_response.file_descriptor_proto[0]);
    assert(symbols.includes(symbol), symbols.join());
    call.end();
    assertEquals(await call.next(), undefined);
  }
  await using manager = new ServiceClient(balancer.address, LB);
  const { conflicts } = await manager.call("List", {});
  assertEquals(conflicts[0].file, "users.proto");
  assertEquals(conflicts[0].backends.length, 2);
});

Deno.test("a balancer that is closed and started again answers anew", async () => {
  const lb = new GrpcL7({ timeouts: { shutdown: 2000 } });
  for (let round = 0; round < 3; round++) {
    const server = await lb.start("127.0.0.1:0");
    const address = `127.0.0.1:${(server.addr as Deno.NetAddr).port}`;
    await using client = new ServiceClient(address, LB);
    assertEquals((await client.call("AddL4", { addr: "localhost:1" }))["created"], round === 0);
    await server.shutdown();
  }
});

const GRPCURL = findGrpcurl();
if (GRPCURL === undefined) {
  console.warn("left out, because grpcurl is not installed: the examples with grpcurl");
}

Deno.test({
  name: "the examples with grpcurl work to the letter",
  ignore: GRPCURL === undefined,
  async fn() {
    await using users = serveGrpc({ protos: [USERS], services: ["myapp.UserService"] });
    await using balancer = await run();
    const { address } = balancer;
    const call = async (...args: string[]) => {
      const printed = await grpcurl(GRPCURL!, ...args);
      assertEquals(printed.code, 0, printed.err);
      return printed.out;
    };
    const added = await call("-d", `{"addr":"${users.addr}"}`, address, "lb.LoadBalancer/AddL4");
    assertEquals(JSON.parse(added).created, true);
    // With the route that follows calls go only there, where nobody listens.
    assertEquals(JSON.parse(await call(address, "grpc.health.v1.Health/Check")), {
      status: "SERVING",
    });
    const routed = await call(
      "-d",
      '{"backend_addr":"localhost:50055","services":["myapp.UserService","myapp.AuthService"],' +
        '"methods":["Login","Logout"]}',
      address,
      "lb.LoadBalancer/AddL7",
    );
    assertEquals(JSON.parse(routed).addr, "grpc://localhost:50055");
    assertEquals((await call(address, "list")).trim().split("\n"), [...OWN, "myapp.UserService"]);
    const described = await call(address, "describe", "myapp.UserService");
    assertStringIncludes(described, "rpc Login ( .myapp.User ) returns ( .myapp.User );");
    assertEquals(described, await call(users.addr, "describe", "myapp.UserService"));
  },
});

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { HEALTH_PROTO, LB_PROTO } from "../../lib/grpc/protos.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { AdminServer, Mux, type MuxOptions, parseListenAddress, RouteBuilder } from "../../mod.ts";
import { type Message, ServiceClient } from "../support/grpc_client.ts";
import { echo, type Exchange, H2Backend, H2Client } from "../support/h2_peer.ts";
import {
  type HttpBackend,
  Peer,
  runMux,
  type Running,
  serveHttp,
  serveName,
  settled,
  until,
} from "../support/net.ts";

const LB = loadProto(LB_PROTO).service("lb.LoadBalancer");
const HEALTH = loadProto(HEALTH_PROTO).service("grpc.health.v1.Health");

/** A balancer with one backend on each side. */
class Scene implements AsyncDisposable {
  readonly http: HttpBackend;
  readonly grpc: H2Backend;
  readonly balancer: Running<Mux>;

  private constructor(http: HttpBackend, grpc: H2Backend, balancer: Running<Mux>) {
    this.http = http;
    this.grpc = grpc;
    this.balancer = balancer;
  }

  static async open(options: MuxOptions = {}): Promise<Scene> {
    const http = serveHttp(async (request) => {
      const { method, url } = request;
      const { length } = await request.text();
      return new Response(`${method} ${new URL(url).pathname} ${length}`);
    });
    const grpc = H2Backend.listen();
    const balancer = await runMux({
      ...options,
      http: { backends: [http.addr], ...options.http },
      grpc: { backends: [grpc.addr], ...options.grpc },
    });
    return new Scene(http, grpc, balancer);
  }

  get lb(): Mux {
    return this.balancer.lb;
  }

  /** `127.0.0.1:port` */
  get address(): string {
    return this.balancer.origin.slice("http://".length);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.balancer[Symbol.asyncDispose]();
    await this.http[Symbol.asyncDispose]();
    await this.grpc[Symbol.asyncDispose]();
  }
}

/** A client of the runtime that speaks HTTP/2 with prior knowledge. */
function h2cClient(): Deno.HttpClient {
  return Deno.createHttpClient({ http1: false, http2: true });
}

async function ended(exchange: Exchange): Promise<Exchange> {
  await exchange.done;
  return exchange;
}

Deno.test("HTTP/1.1, HTTP/2 and gRPC go through one port, each to its own backends", async () => {
  await using scene = await Scene.open();
  const { balancer, http, grpc } = scene;
  await using peer = await Peer.connect(balancer.addr);
  assertEquals((await peer.get("/one")).text, "GET /one 0");
  assertEquals((await peer.get("/two")).text, "GET /two 0", "the connection stays open");
  {
    using client = h2cClient();
    const answers = await Promise.all(Array.from({ length: 50 }, async (_, i) => {
      const body = "x".repeat(i * 1000);
      const response = await fetch(`${balancer.origin}/h2/${i}`, { client, method: "POST", body });
      return await response.text();
    }));
    assertEquals(answers, answers.map((_, i) => `POST /h2/${i} ${i * 1000}`));
  }
  await using client = await H2Client.connect(balancer.addr);
  const call = await ended(client.call("/a.B/M", { content: "x" }));
  assertEquals([call.text, call.value("grpc-status")], ["hello", "0"]);
  assertEquals([http.requests, grpc.calls.length], [52, 1]);
  await settled(scene.lb);
});

Deno.test("on one HTTP/2 connection the content type says what each request is", async () => {
  await using scene = await Scene.open();
  await using client = await H2Client.connect(scene.balancer.addr);
  const rows: [type: string | undefined, grpc: boolean][] = [
    ["application/grpc", true],
    ["application/grpc+proto", true],
    ["application/grpc+json", true],
    ["Application/GRPC; charset=x", true],
    ["application/grpc-web", false],
    ["application/grpc-web+proto", false],
    ["application/grpcx", false],
    ["application/json", false],
    [undefined, false],
  ];
  for (const [type, grpc] of rows) {
    const fields = type === undefined ? [] : [["content-type", type]] as const;
    const exchange = await ended(client.call("/a.B/M", { grpc: false, fields, content: "abc" }));
    assertEquals(exchange.text, grpc ? "hello" : "POST /a.B/M 3", type ?? "no content type");
    assertEquals(exchange.value("grpc-status"), grpc ? "0" : undefined);
  }
  const health = await ended(
    client.call("/grpc.health.v1.Health/Check", { grpc: false, content: "" }),
  );
  assertEquals(health.text, "POST /grpc.health.v1.Health/Check 0", "ordinary HTTP to such a path");
});

Deno.test("routes go to the side of their targets or conditions, and only that side has them", async () => {
  await using scene = await Scene.open();
  const { lb, grpc } = scene;
  await using other = serveName("other");
  await using chat = H2Backend.listen({ onCall: echo });
  const http = lb.addRoute(new RouteBuilder().path("/api").target(other.addr).build());
  await using client = await H2Client.connect(scene.balancer.addr);
  const get = async (path: string) => await (await fetch(scene.balancer.origin + path)).text();
  assertEquals(await get("/api/x"), "other");
  assertEquals(JSON.parse(await get("/x")).code, "no_route");
  const spread = await ended(client.call("/a.B/M"));
  assertEquals(spread.value("grpc-status"), "0", "there is no route for gRPC yet");
  const service = lb.addRoute(new RouteBuilder().service("chat.Chat").target(chat.addr).build());
  const prefix = lb.addRoute(
    new RouteBuilder().path("/x.Y").target(`grpc://${grpc.addr}`).build(),
  );
  assertEquals((await ended(client.call("/chat.Chat/Say", { content: "hi" }))).text, "hi");
  assertEquals((await ended(client.call("/x.Y/M"))).text, "hello");
  assertEquals((await ended(client.call("/a.B/M"))).value("grpc-status"), "12");
  assertEquals(lb.routes().map(({ id }) => id), [http, service, prefix]);
  assertEquals(lb.http.routes().map(({ id }) => id), [http]);
  assertEquals(lb.grpc.routes().map(({ id }) => id), [service, prefix]);
  lb.removeRoute(service);
  lb.removeRoute(prefix);
  assertEquals((await ended(client.call("/a.B/M"))).value("grpc-status"), "0");
});

Deno.test("backends go to the side that their scheme names; without one they are refused", async () => {
  await using scene = await Scene.open();
  const { lb } = scene;
  await using other = serveName("other");
  lb.addBackend({ addr: `http://${other.addr}`, weight: 2 });
  lb.addBackend("grpc://127.0.0.1:9");
  assertEquals(
    lb.backends().map(({ addr }) => addr),
    [
      `http://${scene.http.addr}`,
      `http://${other.addr}`,
      `grpc://${scene.grpc.addr}`,
      "grpc://127.0.0.1:9",
    ],
  );
  assertThrows(
    () => lb.addBackend("127.0.0.1:9"),
    TypeError,
    "accepted is an address with http://",
  );
  lb.removeBackend("127.0.0.1:9");
  await lb.drainBackend(`http://${other.addr}`);
  assertEquals(lb.http.backends().map(({ state }) => state), ["active", "draining"]);
});

Deno.test("options that are for the other side, or for none, are refused", () => {
  const service = new RouteBuilder().service("a.B").target("localhost:1").build();
  const path = new RouteBuilder().path("/a").target("http://localhost:1").build();
  const any = new RouteBuilder().target("localhost:1").build();
  const rows: [options: MuxOptions, message: string][] = [
    [{ http: { backends: ["grpc://localhost:1"] } }, "is for gRPC; accepted for HTTP"],
    [{ grpc: { backends: [{ addr: "https://localhost:1" }] } }, "is for HTTP; accepted for gRPC"],
    [{ http: { routes: [service] } }, "service matches gRPC calls only"],
    [{ grpc: { routes: [path] } }, "is for HTTP; accepted for gRPC"],
    [{ routes: [any] }, "nothing says for which protocol"],
    [{ backends: ["localhost:1"] }, "nothing says for which protocol"],
  ];
  for (const [options, message] of rows) assertThrows(() => new Mux(options), TypeError, message);
  const mux = new Mux({
    strategy: "random",
    backends: ["http://localhost:1", "grpc://localhost:1"],
    routes: [service, path],
    grpc: { strategy: "least-connections", routes: [any] },
  });
  assertEquals(mux.backends().length, 2);
  assertEquals([mux.http.routes().length, mux.grpc.routes().length], [1, 2]);
});

Deno.test("a WebSocket passes as through http-l7", async () => {
  await using backend = serveHttp((request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = ({ data }) => socket.send(data);
    return response;
  });
  await using balancer = await runMux({ http: { backends: [backend.addr] } });
  const socket = new WebSocket(balancer.origin.replace("http", "ws"));
  await new Promise((resolve) => socket.onopen = resolve);
  for (const text of ["hello", "x".repeat(100_000)]) {
    const answer = new Promise((resolve) => socket.onmessage = ({ data }) => resolve(data));
    socket.send(text);
    assertEquals(await answer, text);
  }
  const closed = new Promise((resolve) => socket.onclose = resolve);
  socket.close();
  await closed;
  await settled(balancer.lb);
});

Deno.test("management has one view of both sides, over HTTP/1.1, HTTP/2 and gRPC", async () => {
  await using scene = await Scene.open();
  const { balancer, lb } = scene;
  const add = async (body: unknown, client?: Deno.HttpClient) => {
    const response = await fetch(`${balancer.origin}/lb/add`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      ...(client === undefined ? {} : { client }),
    });
    return { status: response.status, ...await response.json() };
  };
  assertEquals((await add({ backend_addr: "127.0.0.1:11" })).addr, "http://127.0.0.1:11");
  {
    using client = h2cClient();
    const scheme = await add({ backend_addr: "grpc://127.0.0.1:12" }, client);
    assertEquals([scheme.status, scheme.addr], [201, "grpc://127.0.0.1:12"]);
    const conditions = await add({ backend_addr: "127.0.0.1:13", services: ["a.B"] }, client);
    assertEquals(conditions.addr, "grpc://127.0.0.1:13");
  }
  await using client = new ServiceClient(scene.address, LB);
  assertEquals(
    (await client.call("AddL4", { addr: "127.0.0.1:11" }))["addr"],
    "grpc://127.0.0.1:11",
  );
  const routed = await client.call("AddL7", { backend_addr: "http://127.0.0.1:14", paths: ["/p"] });
  assertEquals(routed["addr"], "http://127.0.0.1:14");
  const refused = await client.failure("AddL7", {
    backend_addr: "http://127.0.0.1:14",
    services: ["a.B"],
  });
  assertStringIncludes(refused.details, "service matches gRPC calls only");
  const { backends } = await (await fetch(`${balancer.origin}/lb/backends`)).json();
  const listed = await client.call("List", {});
  const addresses = [
    `http://${scene.http.addr}`,
    "http://127.0.0.1:11",
    "http://127.0.0.1:14",
    `grpc://${scene.grpc.addr}`,
    "grpc://127.0.0.1:12",
    "grpc://127.0.0.1:13",
    "grpc://127.0.0.1:11",
  ];
  assertEquals(backends.map(({ addr }: Message) => addr), addresses);
  assertEquals(listed["backends"].map(({ addr }: Message) => addr), addresses);
  assertEquals(new Set(listed["backends"].map(({ id }: Message) => id)).size, addresses.length);
  assertEquals(listed["routes"].length, 2);
  // Both sides have this address: each API means its own, an id means one.
  const over = await fetch(`${balancer.origin}/lb/backends/127.0.0.1:11`, { method: "DELETE" });
  assertEquals((await over.json()).addr, "http://127.0.0.1:11");
  assertEquals(
    (await client.call("Remove", { id: backends.at(-1).id }))["backend"].addr,
    "grpc://127.0.0.1:11",
  );
  assertEquals(lb.backends().length, 5);
  const watch = client.watch("Watch", {});
  const kinds: string[] = [];
  for (let change; kinds.at(-1) !== "SYNCED" && (change = await watch.next());) {
    kinds.push(change["kind"]);
  }
  assertEquals(kinds.length, 5 + 2 + 1);
  lb.addBackend("http://127.0.0.1:15");
  assertEquals((await watch.next())!["backend"].addr, "http://127.0.0.1:15");
  watch.cancel();
});

Deno.test("the health of the whole is that of both sides, and the admin listener shows both", async () => {
  await using scene = await Scene.open();
  const { lb } = scene;
  await using client = new ServiceClient(scene.address, HEALTH);
  const whole = async () => (await client.call("Check", {}))["status"];
  const admin = new AdminServer(lb, { address: parseListenAddress("127.0.0.1:0") });
  const url = `http://127.0.0.1:${(admin.addr as Deno.NetAddr).port}`;
  const ready = async () => {
    const response = await fetch(`${url}/readyz`);
    const { backends } = await response.json();
    return [response.status, backends.active];
  };
  try {
    assertEquals([await whole(), ...await ready()], ["SERVING", 200, 2]);
    lb.removeBackend(scene.grpc.addr);
    assertEquals([await whole(), ...await ready()], ["SERVING", 200, 1]);
    lb.removeBackend(scene.http.addr);
    assertEquals([await whole(), ...await ready()], ["NOT_SERVING", 503, 0]);
    const [http, grpc] = [
      lb.addBackend(`http://${scene.http.addr}`),
      lb.addBackend(`grpc://${scene.grpc.addr}`),
    ];
    await (await fetch(scene.balancer.origin)).text();
    await using caller = await H2Client.connect(scene.balancer.addr);
    await ended(caller.call("/a.B/M"));
    const metrics = await (await fetch(`${url}/metrics`)).text();
    for (
      const [id, addr] of [[http, `http://${scene.http.addr}`], [grpc, `grpc://${scene.grpc.addr}`]]
    ) {
      assertStringIncludes(metrics, `lb_backend_info{backend="${id}",addr="${addr}"} 1`);
      const series = new RegExp(
        `^lb_requests_total\\{.*listener="mux".*backend="${id}".*\\} 1$`,
        "m",
      );
      assert(series.test(metrics), metrics);
    }
  } finally {
    await admin.shutdown();
  }
});

Deno.test("management on the listeners can be switched off for all protocols", async () => {
  await using scene = await Scene.open({ management: { onListeners: false } });
  const { origin } = scene.balancer;
  assertEquals(await (await fetch(`${origin}/lb/backends`)).text(), "GET /lb/backends 0");
  await using client = new ServiceClient(scene.address, LB);
  await client.call("List", {}).catch(() => {});
  assertEquals(scene.grpc.calls.map(({ path }) => path), ["/lb.LoadBalancer/List"]);
});

Deno.test("what is neither is closed; an HTTP/1 request that is malformed is answered", async () => {
  await using scene = await Scene.open();
  for (const text of ["\x16\x03\x01\x02\x00\x01", "INVALID CONNECTION PREFACE\r\n\r\n", "\0\0\0"]) {
    await using peer = await Peer.connect(scene.balancer.addr);
    await peer.write(text);
    assertEquals((await peer.rest()).text, "", JSON.stringify(text));
  }
  for (
    const [request, status] of [
      ["\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200],
      ["GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400],
      ["GET / HTTP/1.1\r\n\r\n", 400],
      ["PRI * HTTP/1.1\r\nHost: a\r\n\r\n", 400],
      [`${"X".repeat(40)} / HTTP/1.1\r\nHost: a\r\n\r\n`, 501],
    ] as const
  ) {
    await using peer = await Peer.connect(scene.balancer.addr);
    assertEquals((await peer.ask(request)).status, status, JSON.stringify(request));
  }
});

Deno.test("a shutdown lets requests and calls of one connection finish", async () => {
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  await using http = serveHttp(async () => {
    reached.resolve();
    await gate.promise;
    return new Response("late");
  });
  await using grpc = H2Backend.listen({ onCall: echo });
  await using balancer = await runMux({
    http: { backends: [http.addr] },
    grpc: { backends: [grpc.addr] },
  });
  await using client = await H2Client.connect(balancer.addr);
  const request = client.call("/x", { grpc: false });
  const call = client.call("/a.B/M", { open: true });
  await reached.promise;
  await until(() => call.heads.length === 1, "the call has begun");
  const shutdown = balancer.server.shutdown();
  await until(() => !client.connection.available, "the client is told");
  gate.resolve();
  client.send(call, "bye", true);
  assertEquals([(await ended(request)).text, (await ended(call)).text], ["late", "bye"]);
  await shutdown;
  await client.connection.finished;
});

Deno.test("each side is a balancer of its own too, and ends with the whole", async () => {
  await using scene = await Scene.open();
  const { lb } = scene;
  const alone = await lb.http.start("127.0.0.1:0");
  const { port } = alone.addr as Deno.NetAddr;
  assertEquals(await (await fetch(`http://127.0.0.1:${port}/a`)).text(), "GET /a 0");
  const { backends } = await (await fetch(`http://127.0.0.1:${port}/lb/backends`)).json();
  assertEquals(backends.length, 1, "its management is of its own side");
  const response = await lb.http.fetch(new Request("http://test/b"));
  assertEquals(await response.text(), "GET /b 0");
  await lb.close();
  await alone.finished;
});

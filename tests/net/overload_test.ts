import { assert, assertEquals, assertMatch } from "@std/assert";
import { Socket } from "node:net";
import { GrpcL7, type LoadBalancer, RouteBuilder } from "../../mod.ts";
import { BalancerProcess } from "../support/balancer_process.ts";
import { H2Backend, H2Client } from "../support/h2_peer.ts";
import {
  COUNTS_DESCRIPTORS,
  delay,
  Peer,
  run,
  runL4,
  runL7,
  runMux,
  runTcp,
  serveHttp,
  serveName,
  settled,
  until,
  within,
} from "../support/net.ts";
import { Program } from "../support/program.ts";

/** What the metrics say that was refused for a reason. */
function refused(lb: LoadBalancer, reason: string): number {
  return lb.metrics.listener(lb.name).refusals.get(reason) ?? 0;
}

/** A client with another address of this machine; only Linux has them all. */
function connectFrom(localAddress: string, addr: Deno.Addr): Promise<Peer> {
  const { hostname: host, port } = addr as Deno.NetAddr;
  const socket = new Socket({ allowHalfOpen: true });
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.connect({ host, port, localAddress }, () => {
      socket.removeListener("error", reject);
      resolve(new Peer(socket));
    });
  });
}

/** A backend that answers when it is told to, and counts what it has at a time. */
function serveLater() {
  let now = 0;
  let most = 0;
  const held: (() => void)[] = [];
  const backend = serveHttp(async () => {
    most = Math.max(most, ++now);
    await new Promise<void>((resolve) => held.push(resolve));
    now--;
    return new Response("late");
  });
  return {
    backend,
    held,
    get most() {
      return most;
    },
  };
}

Deno.test("a client has so many connections, and others are served beside it", async () => {
  await using backend = serveName("a");
  await using lb = await runL7({
    backends: [backend.addr],
    limits: { maxConnectionsPerClient: 2 },
  });
  const peers = [await Peer.connect(lb.addr), await Peer.connect(lb.addr)];
  for (const peer of peers) assertEquals((await peer.get("/")).text, "a");
  await using third = await Peer.connect(lb.addr);
  const answer = await third.answer();
  assertEquals([answer.status, answer.headers.get("retry-after")], [503, "1"]);
  assertEquals(JSON.parse(answer.text).code, "too_many_from_client");
  assertEquals((await third.rest()).end, "eof");
  assertEquals(refused(lb.lb, "too_many_from_client"), 1);
  assertEquals(lb.lb.metrics.listener(lb.lb.name).connectionsRefused, 1);
  if (Deno.build.os === "linux") {
    await using other = await connectFrom("127.0.0.2", lb.addr);
    assertEquals((await other.get("/")).text, "a");
  }
  await peers[0]!.close();
  await until(async () => {
    await using again = await Peer.connect(lb.addr);
    return (await again.get("/")).status === 200;
  }, "a place becomes free");
  await peers[1]!.close();
});

Deno.test("where the protocol has no answer, a connection too many is closed", async () => {
  await using backend = H2Backend.listen({ onCall: (call) => call.answer() });
  const limits = { maxConnectionsPerClient: 1 };
  await using lb = await run(new GrpcL7({ backends: [backend.addr], limits }));
  await using client = await H2Client.connect(lb.addr);
  await using second = await Peer.connect(lb.addr);
  assertEquals((await second.rest()).bytes.length, 0);
  const call = client.call("/s.S/M");
  await within(5000, "the call", call.done);
  assertEquals(call.value("grpc-status"), "0");
  assertEquals(refused(lb.lb, "too_many_from_client"), 1);
});

Deno.test("no backend ever has more requests than it may, and all are answered", async () => {
  let now = 0;
  const most = [0, 0];
  const serve = (index: number) => {
    let mine = 0;
    return serveHttp(async () => {
      now++;
      most[index] = Math.max(most[index]!, ++mine);
      await delay(3);
      mine--;
      now--;
      return new Response("ok");
    });
  };
  await using a = serve(0);
  await using b = serve(1);
  await using lb = await runL7({
    backends: [a.addr, b.addr],
    strategy: "random",
    limits: { maxRequests: 3 },
  });
  const client = async () => {
    await using peer = await Peer.connect(lb.addr);
    for (let i = 0; i < 10; i++) assertEquals((await peer.get("/")).status, 200);
  };
  await within(20_000, "all requests", Promise.all(Array.from({ length: 30 }, client)));
  assertEquals(now, 0);
  assertEquals(most, [3, 3]);
  await settled(lb.lb);
});

Deno.test("when all backends are at their limit, who waited in vain gets 503 and Retry-After", async () => {
  const later = serveLater();
  await using backend = later.backend;
  await using lb = await runL7({
    backends: [backend.addr],
    limits: { maxRequests: 1, maxWaiting: 1 },
    timeouts: { poolWait: 3000 },
  });
  await using first = await Peer.connect(lb.addr);
  const served = first.get("/");
  await until(() => later.held.length === 1, "the first request is there");
  await using second = await Peer.connect(lb.addr);
  const waiting = second.get("/");
  await until(() => lb.lb.management.waiting === 1, "the second waits");
  await using third = await Peer.connect(lb.addr);
  let waits = true;
  void waiting.finally(() => waits = false);
  const atOnce = await third.get("/");
  assertEquals(waits, true, "it was not to wait");
  const late = await waiting;
  for (const answer of [atOnce, late]) {
    assertEquals([answer.status, answer.headers.get("retry-after")], [503, "1"]);
    assertEquals(JSON.parse(answer.text).code, "overloaded");
  }
  later.held[0]!();
  assertEquals((await served).text, "late");
  assertEquals([later.most, refused(lb.lb, "overloaded")], [1, 2]);
});

Deno.test("calls beyond the limit of their backend wait, and then are told when to come back", async () => {
  await using backend = H2Backend.listen({ onCall: () => {} });
  await using lb = await run(
    new GrpcL7({
      backends: [backend.addr],
      limits: { maxRequests: 2 },
      timeouts: { poolWait: 200, shutdown: 1000 },
    }),
  );
  await using client = await H2Client.connect(lb.addr);
  const calls = Array.from({ length: 5 }, () => client.call("/s.S/M"));
  const [, , ...late] = calls;
  await within(5000, "the refusals", Promise.all(late.map((call) => call.done)));
  assertEquals(backend.calls.length, 2);
  for (const call of late) {
    assertEquals([call.value("grpc-status"), call.value("grpc-retry-pushback-ms")], ["14", "1000"]);
  }
  for (const call of backend.calls) call.answer();
  await within(5000, "the answers", Promise.all(calls.map((call) => call.done)));
  assertEquals(calls[0]!.value("grpc-status"), "0");
});

for (const [name, open] of [["http-l4", runL4], ["tcp-l4", runTcp]] as const) {
  Deno.test(`${name} gives a backend so many connections, and lets others wait`, async () => {
    await using a = serveName("a");
    await using b = serveName("b");
    await using lb = await open({
      backends: [a.addr, b.addr],
      limits: { maxUpstreamConnections: 1 },
      timeouts: { poolWait: 5000 },
    });
    await using first = await Peer.connect(lb.addr);
    await using second = await Peer.connect(lb.addr);
    assertEquals([(await first.get("/")).text, (await second.get("/")).text], ["a", "b"]);
    await using third = await Peer.connect(lb.addr);
    const waiting = third.get("/");
    await delay(50);
    await second.close();
    assertEquals((await within(5000, "who waited", waiting)).text, "b");
    await using fourth = await Peer.connect(lb.addr);
    const cut = fourth.get("/").catch(() => {});
    await delay(50);
    await first.close();
    await third.close();
    await cut;
  });
}

Deno.test("at layer 4 who waits in vain is told so where that can be said", async () => {
  await using backend = serveName("a");
  await using lb = await runL4({
    backends: [backend.addr],
    limits: { maxUpstreamConnections: 1 },
    timeouts: { poolWait: 200 },
  });
  await using first = await Peer.connect(lb.addr);
  assertEquals((await first.get("/")).text, "a");
  await using second = await Peer.connect(lb.addr);
  const answer = await second.get("/");
  assertEquals([answer.status, JSON.parse(answer.text).code], [503, "overloaded"]);
});

Deno.test("a client that is cut while it waits at layer 4 does not hold up the end", async () => {
  await using backend = serveName("a");
  const lb = await runL4({
    backends: [backend.addr],
    limits: { maxUpstreamConnections: 1 },
    timeouts: { poolWait: 60_000, shutdown: 100 },
  });
  await using first = await Peer.connect(lb.addr);
  await first.get("/");
  await using second = await Peer.connect(lb.addr);
  const waiting = second.get("/").catch(() => {});
  await delay(50);
  await within(5000, "the end", lb.server.shutdown());
  await waiting;
});

Deno.test("requests above the rate get 429, over HTTP/1.1 and HTTP/2 together", async () => {
  await using backend = serveName("a");
  await using calls = H2Backend.listen({ onCall: (call) => call.answer() });
  await using lb = await runMux({
    http: { backends: [backend.addr] },
    grpc: { backends: [calls.addr] },
    rateLimit: { rate: 0.01, burst: 3 },
  });
  await using peer = await Peer.connect(lb.addr);
  assertEquals((await peer.get("/")).status, 200);
  await using client = await H2Client.connect(lb.addr);
  const ask = async (grpc: boolean) => {
    const call = client.call("/s.S/M", { grpc });
    await within(5000, "the answer", call.done);
    return grpc ? call.value("grpc-status") : call.value(":status");
  };
  assertEquals([await ask(true), await ask(false)], ["0", "200"]);
  assertEquals([await ask(true), await ask(false)], ["8", "429"]);
  const answer = await peer.get("/");
  assertEquals(answer.status, 429);
  assert(Number(answer.headers.get("retry-after")) > 50);
});

Deno.test("a route has a rate of its own", async () => {
  await using backend = serveName("a");
  await using lb = await runL7({
    routes: [
      new RouteBuilder().path("/login").rateLimit({ rate: 0.01, burst: 1 }).target(backend.addr)
        .build(),
      new RouteBuilder().path("/").target(backend.addr).build(),
    ],
  });
  await using peer = await Peer.connect(lb.addr);
  const statuses = [];
  for (const path of ["/login", "/login", "/", "/"]) statuses.push((await peer.get(path)).status);
  assertEquals(statuses, [200, 429, 200, 200]);
});

Deno.test("an adaptive limit does not stand in the way of a backend that keeps up", async () => {
  await using backend = serveName("a");
  await using lb = await runL7({ backends: [backend.addr], limits: { adaptive: true } });
  const client = async () => {
    await using peer = await Peer.connect(lb.addr);
    for (let i = 0; i < 50; i++) assertEquals((await peer.get("/")).status, 200);
  };
  await within(20_000, "all requests", Promise.all(Array.from({ length: 10 }, client)));
});

Deno.test({
  name: "idle connections give way to clients that want to come in when descriptors run out",
  ignore: !COUNTS_DESCRIPTORS,
  async fn() {
    const limit = 64;
    await using backend = serveName("served");
    const timeouts = { requestHead: 60_000, idle: 60_000, shutdown: 1000 };
    const options = { backends: [backend.addr], limits: { maxConnections: 1000 }, timeouts };
    await using balancers = await BalancerProcess.start({ l7: options, l4: options }, limit);
    const idle: Peer[] = [];
    while (idle.length < limit) idle.push(await Peer.connect(balancers.l7));
    // It comes behind all of them. Young ones stay, for a request may be on its way on them: so it takes a second.
    await using client = await Peer.connect(balancers.l7);
    const answer = await within(30_000, "who wants to come in", client.get("/"));
    assertEquals(answer.text, "served");
    assertEquals(idle.every((peer) => peer.ended === undefined), true, "nobody has read yet");
    const ends = await Promise.all(idle.slice(0, 5).map((peer) => within(30_000, "", peer.rest())));
    assertEquals(ends.map(({ end }) => end), ends.map(() => "eof"), "the oldest went");
    await Promise.all(idle.map((peer) => peer.close()));
  },
});

Deno.test("the program has an option for each limit, and says in its metrics what was refused", async () => {
  await using backend = serveName("a");
  await using program = new Program([
    ...["http-l7", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
    ...["--backend", backend.addr, "--max-requests", "10", "--adaptive-limit"],
    ...["--rate-limit", "1/h,burst=2", "--max-connections-per-client", "1"],
    ...["--min-body-rate", "1k", "--body-grace", "1s"],
  ]);
  const admin = await program.find(/the admin listener is open addr=(\S+)/);
  const port = Number((await program.find(/listening addr=(\S+)/)).split(":")[1]);
  await using peer = await Peer.connect(port);
  const statuses = [];
  for (let i = 0; i < 3; i++) statuses.push((await peer.get("/")).status);
  assertEquals(statuses, [200, 200, 429]);
  await using second = await Peer.connect(port);
  assertEquals((await second.answer()).status, 503);
  const metrics = await (await fetch(`http://${admin}/metrics`)).text();
  const count = (reason: string) =>
    new RegExp(`^lb_refusals_total\\{[^}]*reason="${reason}"[^}]*\\} (\\d+)`, "m")
      .exec(metrics)?.[1];
  assertEquals([count("rate_limited"), count("too_many_from_client")], ["1", "1"]);
  // The adaptive limit begins by measuring.
  assertMatch(metrics, /^lb_backend_request_limit\{backend="b-[0-9a-f]+"\} 4$/m);
  assertMatch(metrics, /^lb_requests_waiting 0$/m);
});

import { assert, assertEquals } from "@std/assert";
import { GrpcL7, type HttpL7Options, RouteBuilder } from "../../mod.ts";
import { type Call, echo, type Exchange, H2Backend, H2Client, OK } from "../support/h2_peer.ts";
import { Random } from "../support/prng.ts";
import { until, within } from "../support/net.ts";

/** A balancer, a client and backends; everything is closed at the end. */
class Scene implements AsyncDisposable {
  readonly lb: GrpcL7;
  readonly backends: readonly H2Backend[];
  client!: H2Client;
  addr!: Deno.Addr;

  constructor(backends: readonly H2Backend[], options: HttpL7Options = {}) {
    this.backends = backends;
    this.lb = new GrpcL7({ backends: backends.map((one) => one.addr), ...options });
  }

  static async open(backends: readonly H2Backend[], options: HttpL7Options = {}): Promise<Scene> {
    const scene = new Scene(backends, options);
    scene.addr = (await scene.lb.start("127.0.0.1:0")).addr;
    scene.client = await H2Client.connect(scene.addr);
    return scene;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    for (const backend of this.backends) await backend[Symbol.asyncDispose]();
    await this.lb.close();
  }
}

function all<T extends Exchange>(exchanges: readonly T[], what: string): Promise<T[]> {
  return within(20_000, what, Promise.all(exchanges.map((one) => one.done))) as Promise<T[]>;
}

function statusOf(exchange: Exchange): string | undefined {
  return exchange.value("grpc-status");
}

Deno.test("10,000 calls of one connection spread evenly beside 300 open streams, and none hangs", async () => {
  const onCall = (call: Call) => call.path === "/long" ? echo(call) : call.answer();
  await using scene = await Scene.open(
    [1, 2, 3].map(() => H2Backend.listen({ onCall, h2: { maxConcurrentStreams: 100 } })),
  );
  const { client, backends } = scene;
  const long = Array.from({ length: 300 }, () => client.call("/long", { open: true }));
  for (const call of long) client.send(call, "a");
  await until(() => long.every((call) => call.received === 1), "the streams are open");
  for (let round = 0; round < 50; round++) {
    const calls = Array.from({ length: 200 }, () => client.call("/unary", { content: "x" }));
    const done = await all(calls, `round ${round}`);
    assert(done.every((call) => statusOf(call) === "0" && call.text === "hello"));
  }
  const counts = backends.map((one) => one.calls.filter((call) => call.path === "/unary").length);
  assertEquals(counts.reduce((sum, count) => sum + count, 0), 10_000);
  assert(Math.max(...counts) - Math.min(...counts) <= 3, `${counts}`);
  assert(backends.every((one) => one.accepted > 1), "more connections where the limit is reached");
  for (const call of long) client.send(call, "b", true);
  await all(long, "the long streams");
  assert(long.every((call) => call.text === "ab" && statusOf(call) === "0"));
});

Deno.test("100 open streams survive 1,000 changes of other backends and routes byte for byte", async () => {
  await using scene = await Scene.open([H2Backend.listen({ onCall: echo })]);
  const { client, lb } = scene;
  const random = new Random(3);
  const calls = Array.from({ length: 100 }, (_, i) => client.call(`/s/${i}`, { open: true }));
  await until(() => calls.every((call) => call.heads.length === 1), "the streams are open");
  const texts = calls.map(() => "");
  let routes: string[] = [];
  for (let change = 0; change < 1000; change++) {
    const addr = `127.0.0.1:${20_000 + change}`;
    lb.addBackend(addr);
    routes.push(lb.addRoute(new RouteBuilder().service(`x.Y${change}`).target(addr).build()));
    lb.removeBackend(addr);
    if (routes.length > 10) {
      routes.splice(0, 5).forEach((id) => {
        try {
          lb.management.removeRoute(id);
        } catch {
          // A route whose last target was removed went with it.
        }
      });
      routes = routes.slice(-5);
    }
    const index = random.below(calls.length);
    const text = `${change}-${"z".repeat(random.below(3000))};`;
    texts[index] += text;
    client.send(calls[index]!, text);
    if (change % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
  for (const call of calls) client.send(call, "", true);
  await all(calls, "the streams");
  assert(calls.every((call, i) => call.text === texts[i]), "byte for byte");
  assert(calls.every((call) => statusOf(call) === "0"));
});

Deno.test("a slow reader of a large answer and a slow backend of a large request hold little", async () => {
  const size = 64 * 1024 * 1024;
  const chunk = new Uint8Array(64 * 1024);
  let pending = 0;
  const onCall = (call: Call) => {
    call.keeps = false;
    if (call.path === "/up") {
      call.reads = false;
      call.head();
      return;
    }
    call.head();
    let sent = 0;
    const more = () => {
      while (sent < size && call.stream.queued < 256 * 1024) {
        call.send(chunk);
        sent += chunk.length;
      }
      pending = size - sent;
      if (sent >= size) call.end();
    };
    call.onQueueSent = more;
    more();
  };
  await using scene = await Scene.open([H2Backend.listen({ onCall })]);
  const { client } = scene;
  const down = client.call("/down", { reads: false });
  down.keeps = false;
  const up = client.call("/up", { open: true });
  up.stream.sendData(new Uint8Array(size / 8), 0, size / 8, true);
  await until(() => down.received === 65_535 && up.stream.queued > 0, "both have stopped");
  await new Promise((resolve) => setTimeout(resolve, 200));
  assertEquals(down.received, 65_535);
  assert(pending > size - 1024 * 1024, `${size - pending} bytes were taken from the backend`);
  // Each side of the balancer holds one window of a stream at most.
  assert(size / 8 - up.stream.queued <= 65_535 * 2, "the client was let send two windows at most");
  down.resume();
  const backendCall = scene.backends[0]!.calls.find((call) => call.path === "/up")!;
  backendCall.resume();
  await all([down], "the answer");
  await until(() => backendCall.received === size / 8, "the request");
  assertEquals(down.received, size);
  backendCall.end();
  await all([up], "the call");
});

Deno.test("calls that are cancelled with content under way take nothing from the others", async () => {
  const onCall = (call: Call) => {
    call.head();
    call.send(new Uint8Array(200_000));
    call.end();
  };
  await using scene = await Scene.open([H2Backend.listen({ onCall })]);
  const { client } = scene;
  for (let i = 0; i < 60; i++) {
    const call = client.call("/x", { reads: false });
    await until(() => call.received >= 65_535, "the window is full");
    call.stream.reset();
    call.resume();
  }
  const last = client.call("/last");
  last.keeps = false;
  await all([last], "a call behind 60 × 64 KiB that nobody took");
  assertEquals(last.received, 200_000);
});

Deno.test("GOAWAY and lost connections of backends at random moments: every call ends", async () => {
  const backends = [1, 2, 3].map(() => H2Backend.listen());
  await using scene = await Scene.open(backends, { limits: { maxAttempts: 4 } });
  const random = new Random(11);
  let done = 0;
  const statuses = new Map<string, number>();
  for (let round = 0; round < 300; round++) {
    const calls = Array.from({ length: 20 }, () => scene.client.call("/x", { content: "y" }));
    for (let wait = random.below(4); wait > 0; wait--) await Promise.resolve();
    if (random.below(3) > 0) await new Promise((resolve) => setTimeout(resolve, 0));
    const [connection] = random.pick(backends).connections;
    if (round % 10 === 9) connection?.abort();
    else connection?.drain();
    for (const call of await all(calls, `round ${round}`)) {
      done++;
      const status = statusOf(call) ?? `reset ${call.reset?.code}`;
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  }
  assertEquals(done, 6000);
  assert(statuses.get("0")! > 5000, JSON.stringify([...statuses]));
  for (const status of statuses.keys()) assert(status === "0" || status === "14", status);
});

Deno.test("GOAWAY of clients at random moments leaves nothing behind", async () => {
  await using scene = await Scene.open([H2Backend.listen({ onCall: echo })]);
  const random = new Random(12);
  for (let round = 0; round < 150; round++) {
    const client = await H2Client.connect(scene.addr);
    const calls = Array.from({ length: 5 }, () => client.call("/x", { content: "y" }));
    for (let wait = random.below(5); wait > 0; wait--) await Promise.resolve();
    client.connection.drain();
    const ended = await all(calls, `round ${round}`);
    assert(ended.every((call) => statusOf(call) === "0"), "calls under way finish");
    await within(5000, "the connection ends", client.connection.finished);
  }
  await until(
    () => [...scene.backends[0]!.connections].every((one) => one.streams === 0),
    "no stream is left at the backend",
  );
});

Deno.test("an idle backend that is not there is passed over, one that dies answers UNAVAILABLE", async () => {
  const live = H2Backend.listen();
  const gone = H2Backend.listen();
  const addr = gone.addr;
  gone.kill();
  const lb = new GrpcL7({ backends: [addr, live.addr] });
  const { addr: listen } = await lb.start("127.0.0.1:0");
  const client = await H2Client.connect(listen);
  try {
    const calls = Array.from({ length: 10 }, () => client.call("/x"));
    assert((await all(calls, "the calls")).every((call) => statusOf(call) === "0"));
    live.onCall = (call) => {
      if (call.path === "/head") call.head(OK);
      else live.kill();
    };
    const begun = client.call("/head");
    await until(() => begun.heads.length === 1, "the head");
    const none = client.call("/none");
    await all([begun, none], "both");
    assertEquals([statusOf(begun), statusOf(none)], ["14", "14"]);
  } finally {
    await client[Symbol.asyncDispose]();
    await live[Symbol.asyncDispose]();
    await lb.close();
  }
});

import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { settle } from "../support/fake_clock.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import { type Call, DONE, echo, type Exchange, OK } from "../support/h2_peer.ts";

const TRAILERS_ONLY = [[":status", "200"], ["content-type", "application/grpc"]] as const;

function trailersOnly(exchange: Exchange, status: string): void {
  assertEquals(exchange.heads.length, 1, `reset: ${exchange.reset?.detail}`);
  assertEquals(exchange.trailers, undefined);
  assertEquals(exchange.heads[0]!.slice(0, 2), TRAILERS_ONLY.map((field) => [...field]));
  assertEquals(exchange.value("grpc-status"), status);
  assertEquals(exchange.received, 0);
}

Deno.test("a unary call comes and goes as it is: head, message, trailers", async () => {
  await using scene = await GrpcL7Scene.open();
  scene.backend().onCall = (call) => {
    call.head([...OK, ["x-initial", "a"]]);
    call.send("answer");
    call.end([...DONE, ["x-trailing-bin", "q6ur"], ["grpc-message", "%E2%98%BA"]]);
  };
  const call = await scene.end(
    scene.client.call("/s.S/M", { content: "ask", fields: [["grpc-timeout", "5S"], ["k", "v"]] }),
  );
  const [seen] = scene.backend().calls;
  assertEquals(seen!.text, "ask");
  assertEquals(seen!.fields, [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", "/s.S/M"],
    [":authority", "test"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ["grpc-timeout", "5S"],
    ["k", "v"],
  ]);
  assertEquals(call.heads, [[[":status", "200"], ["content-type", "application/grpc"], [
    "x-initial",
    "a",
  ]]]);
  assertEquals(call.text, "answer");
  assertEquals(call.trailers, [["grpc-status", "0"], ["x-trailing-bin", "q6ur"], [
    "grpc-message",
    "%E2%98%BA",
  ]]);
});

Deno.test("an answer of trailers only stays one", async () => {
  await using scene = await GrpcL7Scene.open();
  scene.backend().onCall = (call) => call.end([...OK, ["grpc-status", "5"]]);
  trailersOnly(await scene.end(scene.client.call("/s.S/M")), "5");
});

Deno.test("streams in either and both directions pass each message when it comes", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: echo });
  const call = scene.client.call("/s.S/Chat", { open: true });
  let text = "";
  for (let i = 0; i < 50; i++) {
    scene.client.send(call, `${i};`);
    text += `${i};`;
    await settle();
    await settle();
    assertEquals(call.text, text, "the echo of each message comes before the next is sent");
  }
  scene.client.send(call, "", true);
  await scene.end(call);
  assertEquals(call.value("grpc-status"), "0");
});

Deno.test("a request with trailers and one without content end at the backend as they did", async () => {
  await using scene = await GrpcL7Scene.open();
  await scene.end(scene.client.call("/empty"));
  const [empty] = scene.backend().calls;
  assertEquals([empty!.ended, empty!.received], [true, 0]);
});

Deno.test("a client that cancels cancels at the backend, and nothing else", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: (call) => call.head() });
  const call = scene.client.call("/a", { open: true });
  const other = scene.client.call("/b", { open: true });
  for (let i = 0; i < 4; i++) await settle();
  assertEquals([call.heads.length, other.heads.length], [1, 1]);
  call.stream.reset(H2Code.Cancel);
  for (let i = 0; i < 4; i++) await settle();
  const [first, second] = scene.backend().calls;
  assertEquals(first!.reset?.code, H2Code.Cancel);
  assertEquals([second!.reset, other.reset], [undefined, undefined]);
  second!.end();
  await scene.end(other);
  assertEquals(other.value("grpc-status"), "0");
});

Deno.test("a client whose connection is lost cancels all its calls; the backend's connection stays", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: (call) => call.head() });
  for (let i = 0; i < 3; i++) scene.client.call("/a", { open: true });
  for (let i = 0; i < 4; i++) await settle();
  scene.client.connection.abort();
  for (let i = 0; i < 4; i++) await settle();
  assertEquals(scene.backend().calls.map((call) => call.reset?.code), [8, 8, 8]);
  assertEquals(scene.backend().connections.size, 1);
});

Deno.test("a reset of the backend is a reset with its code, never an end", async () => {
  await using scene = await GrpcL7Scene.open({
    onCall: (call) => {
      call.head();
      call.send("part");
      queueMicrotask(() => call.stream.reset(H2Code.EnhanceYourCalm));
    },
  });
  const call = await scene.end(scene.client.call("/a"));
  assertEquals(call.reset?.code, H2Code.EnhanceYourCalm);
  assertEquals(call.trailers, undefined);
});

Deno.test("an answer before the request has ended arrives whole, then RST_STREAM with NO_ERROR", async () => {
  await using scene = await GrpcL7Scene.open({
    onCall: (call) => {
      call.head();
      call.send("z".repeat(100_000));
      call.end([["grpc-status", "8"]]);
      call.stream.endEarly();
    },
  });
  const call = scene.client.call("/a", { open: true, content: "begin" });
  const order: string[] = [];
  call.onEvent = () => order.push(call.reset === undefined ? "part" : "reset");
  await scene.end(call);
  for (let i = 0; i < 4; i++) await settle();
  assertEquals(call.received, 100_000);
  assertEquals(call.value("grpc-status"), "8");
  assertEquals(call.reset?.code, H2Code.NoError);
  assertEquals(order.indexOf("reset"), order.length - 1);
});

Deno.test("a refused stream is tried at another backend with all that came of its request", async () => {
  await using scene = await GrpcL7Scene.open({ backends: ["a:80", "b:80"] });
  scene.backend("a:80").onCall = (call) => call.stream.reset(H2Code.RefusedStream);
  for (let i = 0; i < 4; i++) {
    const call = await scene.end(scene.client.call("/a", { content: `request ${i}` }));
    assertEquals(call.value("grpc-status"), "0");
    assertEquals(scene.backend("b:80").calls.at(-1)!.text, `request ${i}`);
  }
  assert(scene.backend("a:80").calls.length > 0);
});

Deno.test("a reset that does not say that nothing was done is not tried again", async () => {
  await using scene = await GrpcL7Scene.open({ backends: ["a:80", "b:80"] });
  const onCall = (call: Call) => call.stream.reset(H2Code.InternalError);
  for (const backend of scene.backends.values()) backend.onCall = onCall;
  const call = await scene.end(scene.client.call("/a"));
  assertEquals(call.reset?.code, H2Code.InternalError);
  const attempts = [...scene.backends.values()].reduce((sum, one) => sum + one.calls.length, 0);
  assertEquals(attempts, 1);
});

Deno.test("a backend that goes away is left for new calls, and finishes what it has", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: (call) => call.head() });
  const first = scene.client.call("/a", { open: true });
  for (let i = 0; i < 4; i++) await settle();
  const [connection] = scene.backend().connections;
  connection!.drain();
  for (let i = 0; i < 6; i++) await settle();
  scene.backend().onCall = (call) => call.answer();
  const second = await scene.end(scene.client.call("/b"));
  assertEquals(second.value("grpc-status"), "0");
  assertEquals(scene.backend().calls.at(-1)!.connection, 1, "over a new connection");
  assertEquals(first.reset, undefined);
  scene.backend().calls[0]!.end();
  await scene.end(first);
  assertEquals(first.value("grpc-status"), "0");
});

Deno.test("a backend that dies answers UNAVAILABLE, before its head and behind it", async () => {
  await using scene = await GrpcL7Scene.open();
  const { client } = scene;
  scene.backend().onCall = (call) => call.path === "/headed" ? call.head() : undefined;
  const headed = client.call("/headed");
  const bare = client.call("/bare");
  for (let i = 0; i < 4; i++) await settle();
  scene.backend().kill();
  await scene.end(headed);
  await scene.end(bare);
  assertEquals(headed.value("grpc-status"), "14");
  trailersOnly(bare, "14");
});

Deno.test("no backend is UNAVAILABLE, no route is UNIMPLEMENTED, other requests get a status of HTTP", async () => {
  await using empty = await GrpcL7Scene.open({ backends: [] });
  trailersOnly(await empty.end(empty.client.call("/a")), "14");
  const http = await empty.end(empty.client.call("/a", { grpc: false }));
  assertEquals(http.value(":status"), "503");
  await using routed = await GrpcL7Scene.open({
    routes: [new RouteBuilder().service("x.Y").target("a:80").build()],
  });
  trailersOnly(await routed.end(routed.client.call("/z.Z/M", { open: true })), "12");
  const right = await routed.end(routed.client.call("/x.Y/M"));
  assertEquals(right.value("grpc-status"), "0");
});

Deno.test("a backend that is not reached is passed over; when none is, the call is UNAVAILABLE", async () => {
  await using scene = await GrpcL7Scene.open({ backends: ["a:80", "b:80"] });
  scene.down.add("a:80");
  for (let i = 0; i < 4; i++) {
    const call = await scene.end(scene.client.call("/a", { content: "x" }));
    assertEquals(call.value("grpc-status"), "0");
  }
  scene.down.add("b:80");
  scene.backend("b:80").kill();
  for (let i = 0; i < 4; i++) await settle();
  trailersOnly(await scene.end(scene.client.call("/a")), "14");
});

Deno.test("more calls at once than a backend takes are served over more connections", async () => {
  await using scene = await GrpcL7Scene.open({ h2: { maxConcurrentStreams: 5 }, onCall: () => {} });
  const calls = Array.from({ length: 20 }, () => scene.client.call("/a", { content: "x" }));
  for (let i = 0; i < 40; i++) await settle();
  assertEquals(scene.backend().calls.length, 20);
  assertEquals(scene.backend().accepted, 4);
  for (const call of scene.backend().calls) {
    assertEquals(call.reset, undefined);
    call.answer();
  }
  for (const call of calls) assertEquals((await scene.end(call)).value("grpc-status"), "0");
});

Deno.test("a balancer that drains takes no more calls and ends with the last", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: (call) => call.head() });
  const call = scene.client.call("/a", { open: true });
  for (let i = 0; i < 4; i++) await settle();
  scene.server.drain();
  for (let i = 0; i < 4; i++) await settle();
  assertEquals(scene.client.connection.available, false);
  assertEquals(call.reset, undefined);
  scene.backend().calls[0]!.end();
  await scene.end(call);
  assertEquals(call.value("grpc-status"), "0");
  await scene.client.connection.finished;
});

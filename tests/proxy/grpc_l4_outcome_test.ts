/**
 * What becomes known of backends from the connections of a gRPC balancer at layer 4.
 */
import { assertEquals } from "@std/assert";
import type { LiveBackend } from "../../lib/backend/backend.ts";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { settle } from "../support/fake_clock.ts";
import { type GrpcL4Options, GrpcL4Scene } from "../support/grpc_l4.ts";
import type { Exchange } from "../support/h2_peer.ts";
import { frame, goaway, headers, settings } from "../support/h2_raw.ts";
import { RawEnd } from "../support/raw_end.ts";

/** A scene with one backend that notes what is said of it. */
async function watch(options: GrpcL4Options = {}) {
  const scene = await GrpcL4Scene.open(options);
  const [live] = scene.registry.backends as Iterable<LiveBackend>;
  const outcomes: string[] = [];
  live!.onOutcome = (outcome) => {
    outcomes.push("reason" in outcome ? outcome.reason : outcome.type);
  };
  return { scene, outcomes, [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose]() };
}

/** Lets the test speak as the backend, behind SETTINGS. */
function speakAs(scene: GrpcL4Scene): Promise<RawEnd> {
  const connected = Promise.withResolvers<RawEnd>();
  scene.backend().serve = (duplex) => {
    const end = new RawEnd(duplex, CLIENT_PREFACE.length);
    void end.send(settings()).then(() => connected.resolve(end));
    return scene.own.connections.values().next().value!;
  };
  return connected.promise;
}

/** The failures that the metrics have of the only backend. */
function failures(scene: GrpcL4Scene): [string, number][] {
  return [...scene.listener.upstreamSeries()].flatMap(([, stats]) => [...stats.failures]);
}

async function turns(count = 12): Promise<void> {
  for (let i = 0; i < count; i++) await settle();
}

const statuses = (...calls: Exchange[]) => calls.map((call) => call.value("grpc-status"));

Deno.test("a connection whose calls are answered is one answer, however many they are", async () => {
  await using watched = await watch();
  const { scene, outcomes } = watched;
  for (let i = 0; i < 3; i++) await scene.end(scene.client.call("/s.S/M", { content: "ask" }));
  assertEquals(outcomes, ["answered"]);
  // Without calls under way either side may end it at any time.
  scene.backend().kill();
  await scene.until(() => scene.finished, "the end");
  assertEquals([outcomes, failures(scene)], [["answered"], []]);
});

Deno.test("until a call is answered nothing is known of a backend that takes connections", async () => {
  await using watched = await watch({ onCall: () => {} });
  const { scene, outcomes } = watched;
  scene.client.call("/s.S/M", { content: "ask" });
  await scene.until(() => scene.backend().calls.length === 1, "the call");
  assertEquals(outcomes, []);
  scene.backend().calls[0]!.head();
  await turns();
  assertEquals(outcomes, ["answered"]);
});

Deno.test("a backend that is not reached has failed", async () => {
  await using watched = await watch();
  const { scene, outcomes } = watched;
  scene.down.add("a:80");
  const call = scene.client.call("/s.S/M", { content: "ask" });
  await scene.end(call);
  assertEquals([statuses(call), outcomes], [["14"], ["connect_failed"]]);
});

Deno.test("a backend that ends the connection before it greets, or never does, has failed", async () => {
  for (const silent of [true, false]) {
    await using watched = await watch();
    const { scene, outcomes } = watched;
    scene.backend().serve = (duplex) => {
      if (!silent) duplex.close();
      return scene.own.connections.values().next().value!;
    };
    const call = scene.client.call("/s.S/M", { content: "ask" });
    await turns();
    if (silent) await scene.time.expire(1_000);
    await scene.end(call);
    assertEquals([statuses(call), outcomes], [["14"], ["upstream_protocol"]]);
  }
});

Deno.test("a backend that is lost with calls under way has failed, whether it has answered before or not", async () => {
  for (const answers of [true, false]) {
    await using watched = await watch({ onCall: (call) => void (answers && call.head()) });
    const { scene, outcomes } = watched;
    const calls = [1, 2].map(() => scene.client.call("/s.S/M", { content: "ask" }));
    await scene.until(() => scene.backend().calls.length === 2, "the calls");
    await turns();
    scene.backend().kill();
    await scene.end(...calls);
    assertEquals(statuses(...calls), ["14", "14"]);
    assertEquals(outcomes, answers ? ["answered", "upstream_closed"] : ["upstream_closed"]);
    assertEquals(failures(scene), [["upstream_closed", 1]]);
    assertEquals(scene.inFlight, 0);
  }
});

Deno.test("a backend that breaks a rule of the connection has failed", async () => {
  await using watched = await watch();
  const { scene, outcomes } = watched;
  const speaking = speakAs(scene);
  const call = scene.client.call("/s.S/M", { content: "ask" });
  await using backend = await speaking;
  await scene.until(() => backend.count(FrameType.Headers) === 1, "the call");
  await backend.send(frame(FrameType.Data, 0, 99));
  await scene.end(call);
  assertEquals([statuses(call), outcomes], [["14"], ["upstream_protocol"]]);
});

Deno.test("a backend that says GOAWAY and ends its calls has not failed; one that leaves them has", async () => {
  for (const leaves of [true, false]) {
    await using watched = await watch();
    const { scene, outcomes } = watched;
    const speaking = speakAs(scene);
    const call = scene.client.call("/s.S/M", { content: "ask" });
    await using backend = await speaking;
    await scene.until(() => backend.count(FrameType.Headers) === 1, "the call");
    await backend.send(goaway(1));
    if (!leaves) {
      await backend.send(headers(1, 0x5, [[":status", "200"], ["grpc-status", "0"]]));
    }
    await backend.close();
    await scene.end(call);
    assertEquals(statuses(call), [leaves ? "14" : "0"]);
    assertEquals(outcomes, [leaves ? "upstream_closed" : "answered"]);
  }
});

Deno.test("a client that goes says nothing of its backend", async () => {
  await using watched = await watch({ onCall: () => {} });
  const { scene, outcomes } = watched;
  scene.client.call("/s.S/M", { content: "ask" });
  await scene.until(() => scene.backend().calls.length === 1, "the call");
  scene.client.connection.abort();
  await scene.until(() => scene.finished, "the end");
  assertEquals([outcomes, failures(scene)], [[], []]);
});

Deno.test("a backend that does not answer a PING is left, and has failed; one that does stays", async () => {
  await using watched = await watch({
    upstream: { keepaliveTime: 10_000, keepaliveTimeout: 2_000 },
  });
  const { scene, outcomes } = watched;
  const speaking = speakAs(scene);
  const call = scene.client.call("/s.S/M", { content: "ask" });
  await using backend = await speaking;
  await scene.until(() => backend.count(FrameType.Headers) === 1, "the call");
  await scene.time.expire(10_000);
  await scene.until(() => backend.count(FrameType.Ping) === 1, "PING");
  await backend.send(frame(FrameType.Ping, 1, 0, new Uint8Array(8)));
  await scene.time.expire(2_000);
  assertEquals(call.ended, false);
  await scene.time.expire(10_000);
  await scene.until(() => backend.count(FrameType.Ping) === 2, "another PING");
  await scene.time.expire(2_000);
  await scene.end(call);
  assertEquals([statuses(call), outcomes], [["14"], ["upstream_timeout"]]);
});

Deno.test("a client that does not answer a PING is cut off, and its calls are cancelled", async () => {
  await using watched = await watch({
    onCall: () => {},
    calls: { h2: { keepaliveTime: 10_000, keepaliveTimeout: 2_000 } },
  });
  const { scene, outcomes } = watched;
  await using raw = new RawEnd(scene.connect());
  await raw.send(CLIENT_PREFACE, settings(), headers(1));
  await scene.until(() => scene.backend().calls.length === 1, "the call");
  await scene.time.expire(10_000);
  await scene.until(() => raw.count(FrameType.Ping) === 1, "PING");
  await raw.send(frame(FrameType.Ping, 1, 0, new Uint8Array(8)));
  await scene.time.expire(2_000);
  assertEquals(raw.ended, false);
  await scene.time.expire(10_000);
  await scene.time.expire(2_000);
  await scene.until(() => raw.ended && scene.finished, "the end");
  assertEquals([outcomes, scene.inFlight], [[], 0]);
});

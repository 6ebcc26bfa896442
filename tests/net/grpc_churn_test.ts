/**
 * Open streams while other backends and routes come and go, by every way there is: calls of the library, the
 * management API over HTTP and `lb.LoadBalancer` over gRPC, the last two on the same port.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { LB_PROTO } from "../../lib/grpc/protos.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { RouteBuilder, RoutingBalancer } from "../../mod.ts";
import { ServiceClient } from "../support/grpc_client.ts";
import { GRPC_LISTENERS, GrpcScene } from "../support/grpc_listeners.ts";
import { echo, H2Backend } from "../support/h2_peer.ts";
import { until, within } from "../support/net.ts";
import { Random } from "../support/prng.ts";

const STREAMS = 100;
/** Changes by each way; what is added is removed again a little later. */
const CHANGES = 1000;
/** What has been added and is not removed yet, at most. */
const MOST = 20;
const LB = loadProto(LB_PROTO).service("lb.LoadBalancer");

/** Adds a backend, with a route to it where there are routes, and gives what takes it out again. */
type Adder = (addr: string, service: string) => Promise<() => Promise<void>>;

/** The ways to change a balancer. */
function waysTo(scene: GrpcScene, grpc: ServiceClient): [name: string, add: Adder][] {
  const { lb } = scene;
  const routed = lb instanceof RoutingBalancer;
  const { hostname, port } = scene.addr as Deno.NetAddr;
  const ask = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`http://${hostname}:${port}/lb/${path}`, {
      method,
      ...(body === undefined ? {} : {
        body: JSON.stringify(body),
        headers: { "content-type": "application/json" },
      }),
    });
    const text = await response.text();
    assert(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return text === "" ? {} : JSON.parse(text);
  };
  return [
    ["library", (addr, service) => {
      const backend = lb.addBackend(addr);
      if (routed) lb.addRoute(new RouteBuilder().service(service).target(addr).build());
      return Promise.resolve(() => Promise.resolve(lb.removeBackend(backend)));
    }],
    ["HTTP", async (addr, service) => {
      await ask("POST", "add", routed ? { backend_addr: addr, services: [service] } : { addr });
      return () => ask("DELETE", `backends/${encodeURIComponent(addr)}`);
    }],
    ["gRPC", async (addr, service) => {
      if (routed) await grpc.call("AddL7", { backend_addr: addr, services: [service] });
      else await grpc.call("AddL4", { addr });
      return async () => void await grpc.call("Remove", { id: addr });
    }],
  ];
}

for (const kind of GRPC_LISTENERS) {
  Deno.test(`${kind.name}: 100 open streams survive 1,000 changes of others, byte for byte, whoever makes them`, async () => {
    await using backend = H2Backend.listen({ onCall: echo });
    await using scene = await GrpcScene.open(kind, {
      backends: kind.layer === "l7" ? [] : [backend.addr],
      routes: kind.layer === "l7"
        ? [new RouteBuilder().service("chat.S").target(backend.addr).build()]
        : [],
    });
    await using grpc = new ServiceClient(
      `127.0.0.1:${(scene.addr as Deno.NetAddr).port}`,
      LB,
    );
    const client = await scene.client();
    const calls = Array.from(
      { length: STREAMS },
      (_, i) => client.call(`/chat.S/${i}`, { open: true }),
    );
    await until(() => calls.every((call) => call.heads.length === 1), "the streams are open");
    const texts = calls.map(() => "");
    const random = new Random(3);
    let changes = 0;
    for (const [name, add] of waysTo(scene, grpc)) {
      const removals: (() => Promise<void>)[] = [];
      for (let i = 0; i < CHANGES / 6; i++) {
        // An address where nobody listens: whoever is sent there by mistake notices.
        removals.push(await add(`grpc://127.0.0.1:${1 + i}`, `x.Y${i}`));
        const full = removals.length > MOST;
        for (const remove of full ? removals.splice(0, 1 + random.below(MOST)) : []) await remove();
        const index = random.below(STREAMS);
        const text = `${name} ${i} ${"z".repeat(random.below(3000))};`;
        texts[index] += text;
        client.send(calls[index]!, text);
        changes += 2;
      }
      for (const remove of removals) await remove();
    }
    assert(changes >= CHANGES);
    assertEquals(scene.lb.backends().length, 1, "all that came has gone again");
    for (const call of calls) client.send(call, "", true);
    await within(20_000, "the ends", Promise.all(calls.map((call) => call.done)));
    assert(calls.every((call, i) => call.text === texts[i]), "byte for byte");
    assert(calls.every((call) => call.value("grpc-status") === "0"));
    assertEquals([backend.calls.length, backend.accepted], [STREAMS, 1]);
  });
}

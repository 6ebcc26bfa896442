import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import type { LiveBackend } from "../../lib/backend/backend.ts";
import { MAX_WEIGHT, Registry, type RegistryOptions } from "../../lib/backend/registry.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import type { Route } from "../../lib/route/route.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { requestView } from "../support/request_view.ts";
import { ScriptedBackends } from "../support/scripted_backend.ts";

interface Fixture {
  readonly registry: Registry;
  readonly backends: ScriptedBackends;
  readonly time: FakeClock;
  /** What the watcher was told. */
  readonly gone: string[];
}

function make(options: Partial<RegistryOptions> = {}): Fixture {
  const time = new FakeClock();
  const backends = new ScriptedBackends();
  const gone: string[] = [];
  const registry = new Registry({
    strategy: "round-robin",
    scheme: "http",
    fallback: false,
    connections: {
      maxConnections: 4,
      maxWaiting: 0,
      waitTimeout: 1000,
      idleTimeout: 1000,
      connectTimeout: 1000,
    },
    clock: time.clock,
    connect: backends.connect,
    ...options,
  });
  registry.watcher = {
    onBackendRemoved: (id) => gone.push(id),
    onRouteRemoved: (id) => gone.push(id),
  };
  return { registry, backends, time, gone };
}

function route(path: string, ...targets: (string | readonly [addr: string, weight: number])[]) {
  const builder = new RouteBuilder().path(path);
  for (const target of targets) {
    if (typeof target === "string") builder.target(target);
    else builder.target(target[0], { weight: target[1] });
  }
  return builder.build();
}

const addrs = (registry: Registry) => [...registry.backends].map(({ addr }) => addr);
const hit = (registry: Registry, path: string) => registry.match(requestView({ path }))?.value.id;

Deno.test("the same address is the same backend, however it is written", () => {
  const { registry } = make();
  const first = registry.addBackend({ addr: "http://a:80" });
  assertEquals([first.created, first.value.addr], [true, "http://a:80"]);
  for (const addr of ["http://a:80", "HTTP://A", "a:80", "http://a/"]) {
    const again = registry.addBackend({ addr });
    assertEquals([again.created, again.value.id], [false, first.value.id], addr);
    assertStrictEquals(again.value, first.value);
  }
  assertEquals(addrs(registry), ["http://a:80"]);
  assertStrictEquals(registry.backend(first.value.id), first.value);
  assertNotEquals(registry.addBackend({ addr: "https://a:80" }).value.id, first.value.id);
});

Deno.test("an id is the same in another registry, so it outlives a restart", () => {
  const id = () => make().registry.addBackend({ addr: "a:80" }).value.id;
  const routeId = () => make().registry.addRoute(route("/x", "a:80")).value.id;
  assertEquals(id(), id());
  assertEquals(routeId(), routeId());
});

Deno.test("addresses without a scheme get that of the registry", () => {
  const { registry } = make({ scheme: "grpc" });
  assertEquals(registry.addBackend({ addr: "a:80" }).value.addr, "grpc://a:80");
  assertEquals(registry.addBackend({ addr: "http://a:80" }).value.addr, "http://a:80");
  assertEquals(registry.addBackend({ addr: "unix:/run/x" }).value.addr, "unix:/run/x");
});

Deno.test("a bad address or weight changes nothing", () => {
  const { registry } = make();
  assertThrows(() => registry.addBackend({ addr: "no port" }), TypeError);
  for (const weight of [-1, 1.5, NaN, Infinity, MAX_WEIGHT + 1]) {
    const message = "an integer from 0 to 65535";
    assertThrows(() => registry.addBackend({ addr: "a:80", weight }), TypeError, message);
  }
  assertEquals([addrs(registry), registry.pool.size], [[], 0]);
  const { value } = registry.addBackend({ addr: "a:80", weight: MAX_WEIGHT });
  assertThrows(() => registry.setWeight(value, -1), TypeError, "-1");
  assertEquals(registry.pool.get(value)?.weight, MAX_WEIGHT);
});

Deno.test("adding again sets the weight if one is given, and keeps it otherwise", () => {
  const { registry } = make();
  const { value } = registry.addBackend({ addr: "a:80" });
  const weight = () => registry.pool.get(value)?.weight;
  assertEquals(weight(), 1);
  registry.addBackend({ addr: "a:80", weight: 5 });
  assertEquals(weight(), 5);
  registry.addBackend({ addr: "a:80" });
  assertEquals(weight(), 5);
  registry.addBackend({ addr: "a:80", weight: 0 });
  assertEquals(weight(), 0);
});

Deno.test("a weight is set wherever the backend is a member", () => {
  const { registry } = make();
  const { value } = registry.addBackend({ addr: "a:80" });
  const live = registry.addRoute(route("/x", "a:80", "b:80")).value;
  registry.setWeight(value, 7);
  assertEquals([registry.pool.get(value)?.weight, live.pool.get(value)?.weight], [7, 7]);
  const b = [...registry.backends].find(({ addr }) => addr === "http://b:80")!;
  assertEquals(live.pool.get(b)?.weight, 1);
});

Deno.test("different weights make round robin count them", () => {
  const { registry } = make();
  registry.addBackend({ addr: "a:80" });
  const { value } = registry.addBackend({ addr: "b:80" });
  registry.setWeight(value, 3);
  const picks = Array.from({ length: 8 }, () => registry.pool.pick()!.addr);
  assertEquals(picks.filter((addr) => addr === "http://b:80").length, 6);
});

Deno.test("a draining backend is not picked, and adding it again makes it active", () => {
  const { registry } = make();
  const { value } = registry.addBackend({ addr: "a:80" });
  registry.addBackend({ addr: "b:80" });
  registry.drain(value);
  assertEquals(value.state, "draining");
  for (let i = 0; i < 4; i++) assertEquals(registry.pool.pick()!.addr, "http://b:80");
  const again = registry.addBackend({ addr: "a:80" });
  assertEquals([again.created, again.value.state], [false, "active"]);
  assertStrictEquals(again.value, value);
  const picks = new Set(Array.from({ length: 4 }, () => registry.pool.pick()!.addr));
  assertEquals(picks.size, 2);
});

Deno.test("a draining backend leaves the routes that it is a target of, too", () => {
  const { registry } = make();
  const live = registry.addRoute(route("/x", "a:80", "b:80")).value;
  const a = live.pool.pick()!;
  registry.drain(a);
  for (let i = 0; i < 4; i++) assert(live.pool.pick() !== a);
  assertEquals(live.pool.size, 2);
  registry.addRoute(route("/x", "a:80"));
  assertEquals(a.state, "active");
});

Deno.test("draining and removing close idle connections at once", async () => {
  for (const end of ["drain", "removeBackend"] as const) {
    const { registry, backends, time } = make();
    const { value } = registry.addBackend({ addr: "a:80" });
    value.http.release(await value.http.open(), Infinity);
    assertEquals(value.http.idle, 1);
    registry[end](value);
    assertEquals([value.http.idle, time.clock.size], [0, 0]);
    assertEquals(backends.at("http://a:80").connections[0]!.closedByProxy, true);
  }
});

Deno.test("a removed backend is gone from everything, and one added later is another", () => {
  const { registry, gone } = make();
  const { value } = registry.addBackend({ addr: "a:80" });
  const live = registry.addRoute(route("/x", "a:80", "b:80")).value;
  registry.removeBackend(value);
  assertEquals([value.state, registry.pool.pick(), live.pool.size], ["removed", undefined, 1]);
  assertEquals(registry.backend(value.id), undefined);
  assertEquals(gone, [value.id]);
  registry.removeBackend(value);
  assertEquals(gone, [value.id], "told once");
  const again = registry.addBackend({ addr: "a:80" });
  assertEquals([again.created, again.value.id], [true, value.id]);
  assert(again.value !== value);
  registry.drain(value);
  assertEquals(value.state, "removed", "what is removed cannot drain");
});

Deno.test("requests are matched by the routes of now", () => {
  const { registry } = make();
  const { value } = registry.addRoute(route("/x", "a:80"));
  assertEquals([hit(registry, "/x/y"), hit(registry, "/y")], [value.id, undefined]);
  assertEquals(registry.removeRoute(value.id), true);
  assertEquals([hit(registry, "/x"), registry.removeRoute(value.id)], [undefined, false]);
});

Deno.test("requests without a route are spread while there are no routes, or if that was asked for", () => {
  const { registry } = make();
  assertEquals([registry.spreads, registry.routeCount], [true, 0]);
  const { value } = registry.addRoute(route("/x", "a:80"));
  assertEquals([registry.spreads, registry.routeCount], [false, 1]);
  registry.removeRoute(value.id);
  assertEquals(registry.spreads, true);
  const fallback = make({ fallback: true }).registry;
  fallback.addRoute(route("/x", "a:80"));
  assertEquals(fallback.spreads, true);
});

Deno.test("the same rule is the same route, and its targets come together", () => {
  const { registry } = make();
  const first = registry.addRoute(route("/x", "a:80"));
  assertEquals(first.created, true);
  const same = registry.addRoute(route("/x", "a:80"));
  assertEquals([same.created, same.value], [false, first.value]);
  const more = registry.addRoute(route("/x", "b:80"));
  assertEquals(more.created, true, "a target is new");
  assertStrictEquals(more.value, first.value);
  assertEquals([...first.value.pool.members].map(({ addr }) => addr), [
    "http://a:80",
    "http://b:80",
  ]);
  const weight = registry.addRoute(route("/x", ["b:80", 9]));
  assertEquals(weight.created, false, "only a weight has changed");
  assertEquals([...first.value.pool.members].map(({ weight }) => weight), [1, 9]);
  assertEquals(registry.routeCount, 1);
  assertEquals(registry.addRoute(route("/y", "a:80")).value.id === first.value.id, false);
});

Deno.test("routes and the default pool share what is known of an address", () => {
  const { registry } = make();
  const { value } = registry.addBackend({ addr: "a:80" });
  const x = registry.addRoute(route("/x", "a:80")).value;
  const y = registry.addRoute(route("/y", ["http://A", 5])).value;
  assertStrictEquals(x.pool.pick(), value);
  assertStrictEquals(y.pool.pick(), value);
  assertEquals(addrs(registry), ["http://a:80"]);
  assertEquals(registry.routesOf(value), [x.id, y.id]);
  const lease = x.pool.pick()!.acquire();
  assertEquals(registry.pool.get(value)?.inFlight, 1);
  lease.release();
});

Deno.test("targets of a route are not in the default pool", () => {
  const { registry } = make();
  registry.addRoute(route("/x", "a:80"));
  assertEquals([registry.pool.size, addrs(registry)], [0, ["http://a:80"]]);
});

Deno.test("removing a route removes the backends that nothing else names, and no others", () => {
  const { registry, gone } = make();
  registry.addBackend({ addr: "a:80" });
  const x = registry.addRoute(route("/x", "a:80", "b:80", "c:80")).value;
  registry.addRoute(route("/y", "c:80"));
  const b = [...x.pool.members].find(({ addr }) => addr === "http://b:80")!.backend;
  registry.removeRoute(x.id);
  assertEquals(addrs(registry), ["http://a:80", "http://c:80"]);
  assertEquals([b.state, gone], ["removed", [x.id, b.id]]);
});

Deno.test("a registered route leaves with its last target, a static one stays", () => {
  const { registry, gone } = make();
  const registered = registry.addRoute(route("/x", "a:80", "b:80"), true).value;
  const fixed = registry.addRoute(route("/y", "a:80", "b:80")).value;
  const [a, b] = [...registry.backends] as [LiveBackend, LiveBackend];
  assertEquals([registered.registered, fixed.registered], [true, false]);
  registry.removeBackend(a);
  assertEquals(registry.routeCount, 2);
  registry.removeBackend(b);
  assertEquals([...registry.routes].map(({ id }) => id), [fixed.id]);
  assertEquals([hit(registry, "/x"), hit(registry, "/y")], [undefined, fixed.id]);
  assertEquals(fixed.pool.pick(), undefined, "it answers that nobody is there");
  assertEquals(gone.sort(), [a.id, b.id, registered.id].sort());
});

Deno.test("a static rule that is registered again stays static", () => {
  const { registry } = make();
  registry.addRoute(route("/x", "a:80"));
  const { value } = registry.addRoute(route("/x", "b:80"), true);
  assertEquals(value.registered, false);
});

Deno.test("a registered rule that is then given statically stays", () => {
  const { registry } = make();
  const { value } = registry.addRoute(route("/x", "a:80"), true);
  registry.addRoute(route("/x", "a:80"));
  registry.removeBackend(value.pool.pick()!);
  assertEquals([...registry.routes].map(({ id }) => id), [value.id]);
});

Deno.test("a malformed rule changes nothing", () => {
  const { registry } = make();
  const bad = { match: { paths: [{ type: "prefix", value: "no slash" }] }, targets: [] };
  assertThrows(() => registry.addRoute(bad as unknown as Route), TypeError);
  const badTarget = { match: {}, targets: [{ addr: "a:80", weight: 1 }, { addr: ":", weight: 1 }] };
  assertThrows(() => registry.addRoute(badTarget as Route), TypeError);
  assertEquals([registry.routeCount, addrs(registry)], [0, []]);
});

Deno.test("a redirect needs no targets and stays", () => {
  const { registry } = make();
  const rule = new RouteBuilder().path("/old").redirect({ status: 301, path: "/new" }).build();
  const { value } = registry.addRoute(rule);
  assertEquals([value.pool.size, hit(registry, "/old")], [0, value.id]);
  assertEquals(registry.addRoute(rule).created, false);
});

import { assert, assertEquals, assertThrows } from "@std/assert";
import type { LiveBackend } from "../../lib/backend/backend.ts";
import { isInfrastructure } from "../../lib/backend/discovered_routes.ts";
import { Registry, type RegistryOptions } from "../../lib/backend/registry.ts";
import { Management, ManagementError } from "../../lib/control/management.ts";
import { ChangeFeed } from "../../lib/control/change_feed.ts";
import type { BackendInfo } from "../../lib/control/model.ts";
import { type Plan, Planner } from "../../lib/http/l7/plan.ts";
import { parseRule } from "../../lib/route/rule_text.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";
import { makeRecovery } from "../support/recovery.ts";

interface Scene {
  readonly registry: Registry;
  readonly management: Management;
  /** Ids of routes that are gone. */
  readonly gone: string[];
  /** Adds a backend at a host; with services, they have been found. */
  add(host: string, services?: readonly string[], discovers?: boolean): LiveBackend;
  /** The hosts that calls of a method go to, in the order of the picks; or why not. */
  to(path: string, fields?: Record<string, string>, count?: number): string;
}

function make(options: Partial<RegistryOptions> = {}): Scene {
  const { clock } = new FakeClock();
  const registry = new Registry({
    strategy: "round-robin",
    scheme: "grpc",
    fallback: false,
    discovery: "always",
    connections: {
      maxConnections: 1,
      maxWaiting: 0,
      waitTimeout: 1,
      idleTimeout: 1,
      connectTimeout: 1,
    },
    clock,
    connect: () => Promise.reject(new Error("no connection is expected")),
    ...options,
  });
  const gone: string[] = [];
  registry.watcher = { onBackendRemoved: () => {}, onRouteRemoved: (id) => gone.push(id) };
  const planner = new Planner(registry, makeRecovery(clock, "grpc").rules);
  const describe = (plan: Plan): string =>
    plan.type === "proxy"
      ? /\/(\w+):/.exec(plan.pool.pick()?.addr ?? "")?.[1] ?? "nobody"
      : plan.type;
  return {
    registry,
    management: new Management(registry, { layer: "l7", defaultPort: 80 }),
    gone,
    add(host, services, discovers) {
      const { value } = registry.addBackend({
        addr: `${host}:1`,
        ...(discovers === undefined ? {} : { discoverServices: discovers }),
      });
      if (services !== undefined) registry.setServices(value, new Set(services));
      return value;
    },
    to(path, fields = {}, count = 2) {
      const view = {
        method: "POST",
        path,
        query: "",
        host: "test",
        authority: "test",
        grpc: true,
        header: (name: string) => fields[name],
      };
      return Array.from({ length: count }, () => describe(planner.plan(view, "http"))).join(" ");
    },
  };
}

Deno.test("a call goes to exactly the backends that have its service", () => {
  const { add, to } = make();
  add("a", ["s.One", "s.Both"]);
  add("b", ["s.Two", "s.Both"]);
  assertEquals(to("/s.One/M"), "a a");
  assertEquals(to("/s.Two/M"), "b b");
  assertEquals(to("/s.Both/M", {}, 4), "a b a b");
  assertEquals(to("/s.None/M"), "no_route no_route");
  assertEquals(to("/s.Both"), "no_route no_route");
  assertEquals(to("/s%2EOne/M"), "a a");
  assertEquals(to("/s.One/../x"), "bad_path bad_path");
});

Deno.test("a service of several backends is spread by their weights, whichever way these are set", () => {
  const { registry, add, to } = make();
  const a = add("a", ["s.S"]);
  registry.addBackend({ addr: "b:1", weight: 3 });
  registry.setServices([...registry.backends][1]!, new Set(["s.S"]));
  const count = (text: string, host: string) => text.split(" ").filter((it) => it === host).length;
  assertEquals(count(to("/s.S/M", {}, 8), "b"), 6);
  registry.setWeight(a, 3);
  assertEquals(count(to("/s.S/M", {}, 8), "b"), 4);
  registry.addBackend({ addr: "a:1", weight: 0 });
  assertEquals(to("/s.S/M"), "b b");
});

Deno.test("services follow the backend, and a route leaves with the last that has it", () => {
  const { registry, management, gone, add, to } = make();
  const a = add("a", ["s.Old", "s.Kept"]);
  const b = add("b", ["s.Kept"]);
  const [old, kept] = management.listRoutes();
  registry.setServices(a, new Set(["s.New", "s.Kept"]));
  assertEquals([to("/s.New/M"), to("/s.Old/M", {}, 1)], ["a a", "no_route"]);
  assertEquals(gone, [old!.id]);
  registry.setServices(a, new Set(["s.New"]));
  assertEquals(to("/s.Kept/M"), "b b");
  registry.removeBackend(b);
  assertEquals(gone, [old!.id, kept!.id]);
  assertEquals(to("/s.Kept/M", {}, 1), "no_route");
});

Deno.test("what drains has no services until it is active and asked again", () => {
  const { registry, management, add, to } = make();
  const a = add("a", ["s.S"]);
  add("b", ["s.T"]);
  registry.drain(a);
  assertEquals(to("/s.S/M", {}, 1), "no_route");
  assertEquals(management.listRoutes().map(({ rule }) => rule), ["service=s.T -> grpc://b:1"]);
  assertEquals(management.describeBackend(a.id).discovery, undefined);
  registry.setServices(a, new Set(["s.S"]));
  assertEquals(to("/s.S/M", {}, 1), "no_route", "an answer that comes too late changes nothing");
  registry.addBackend({ addr: "a:1" });
  assertEquals(management.describeBackend(a.id).discovery, { state: "pending", services: 0 });
  registry.setServices(a, new Set(["s.S"]));
  assertEquals(to("/s.S/M"), "a a");
});

Deno.test("calls of services that nobody lists go to backends that are not known yet", () => {
  const { registry, add, to } = make();
  assertEquals(to("/s.S/M"), "nobody nobody");
  const a = add("a");
  const b = add("b");
  assertEquals(to("/s.S/M"), "a b");
  registry.setServices(a, new Set(["s.S"]));
  assertEquals([to("/s.S/M"), to("/s.T/M")], ["a a", "b b"]);
  registry.setServices(b, new Set());
  assertEquals(to("/s.T/M", {}, 1), "no_route");
});

Deno.test("backends whose services are not to be discovered keep what nobody lists, while nothing is written", () => {
  const { registry, add, to } = make();
  add("a", ["s.S"]);
  add("b", undefined, false);
  assertEquals([to("/s.S/M"), to("/s.T/M")], ["a a", "b b"]);
  const { value } = registry.addRoute(parseRule("service=s.X -> c:1"));
  assertEquals([to("/s.S/M"), to("/s.T/M", {}, 1)], ["a a", "no_route"]);
  registry.removeRoute(value.id);
  assertEquals(to("/s.T/M"), "b b");
});

Deno.test("where discovery is asked for by single backends, the others are balanced as before", () => {
  const { add, registry, to } = make({ discovery: "asked" });
  add("a");
  add("b");
  assertEquals(to("/s.S/M", {}, 3), "a b a");
  const c = add("c", ["s.S"], true);
  assertEquals([to("/s.S/M"), to("/s.T/M", {}, 4)], ["c c", "a b a b"]);
  registry.setDiscovery(c, false);
  assertEquals(to("/s.S/M", {}, 3).split(" ").sort(), ["a", "b", "c"]);
});

Deno.test("with a fallback what nobody lists goes over the default pool", () => {
  const { add, to } = make({ fallback: true });
  add("a", ["s.S"]);
  add("b");
  assertEquals([to("/s.S/M"), to("/s.T/M", {}, 4)], ["a a", "a b a b"]);
});

Deno.test("written routes come first, also those that name no service", () => {
  const { registry, add, to } = make();
  add("a", ["s.S", "s.T"]);
  registry.addRoute(parseRule("service=s.S -> x:1"));
  registry.addRoute(parseRule("grpc-header=x-canary:1 -> y:1"));
  assertEquals([to("/s.S/M"), to("/s.T/M")], ["x x", "a a"]);
  assertEquals(to("/s.T/M", { "x-canary": "1" }), "y y");
});

Deno.test("what a written route names and refuses is not given away by discovery", () => {
  for (
    const rule of [
      "service=s.S grpc-header=x-secret:1 -> x:1",
      "full-method=s.S/M grpc-header=x-secret:1 -> x:1",
      "path=/s.S header=x-secret:1 -> x:1",
      "method=M header=x-secret:1 -> x:1",
      "path-regex=/s[.]S/.* header=x-secret:1 -> x:1",
      "host=other.example service=s.S -> x:1",
    ]
  ) {
    const { registry, add, to } = make();
    add("a", ["s.S"]);
    assertEquals(to("/s.S/M"), "a a");
    const { value } = registry.addRoute(parseRule(rule));
    add("pending");
    assertEquals(to("/s.S/M", {}, 1), "no_route", rule);
    assertEquals(
      to("/s.S/N", {}, 1),
      /^(?:full-)?method/.test(rule) ? "a" : "no_route",
      `${rule}: what it does not name`,
    );
    registry.removeRoute(value.id);
    assertEquals(to("/s.S/M"), "a a");
  }
});

Deno.test("a secret route that was there before discovery is not bypassed either", () => {
  const { registry, add, to } = make({ discovery: "asked" });
  registry.addRoute(parseRule("service=s.S grpc-header=x-secret:1 -> a:1"));
  add("a", ["s.S", "s.T"], true);
  assertEquals([to("/s.S/M", {}, 1), to("/s.T/M")], ["no_route", "a a"]);
  assertEquals(to("/s.S/M", { "x-secret": "1" }), "a a");
});

Deno.test("targets of written routes are discovered only when that is asked of them", () => {
  const { registry, management, to } = make();
  management.addL7({ backend_addr: "a:1", services: ["s.S"], methods: ["M"] });
  const [a] = registry.backends;
  registry.setServices(a!, new Set(["s.S", "s.T"]));
  assertEquals([to("/s.S/M"), to("/s.T/M", {}, 1)], ["a a", "no_route"]);
  management.addL7({
    backend_addr: "a:1",
    services: ["s.S"],
    methods: ["M"],
    weight: 7,
    discover_services: true,
  });
  registry.setServices(a!, new Set(["s.S", "s.T"]));
  assertEquals([to("/s.S/N"), to("/s.T/M")], ["a a", "a a"]);
  const discovered = management.listRoutes().filter(({ origin }) => origin === "discovered");
  assertEquals(discovered.map(({ targets }) => targets[0]!.weight), [7, 7]);
  const [written] = management.listRoutes();
  management.removeRoute(written!.id);
  assertEquals([management.listBackends(), management.listRoutes()], [[], []]);
});

Deno.test("infrastructure is never discovered, and goes to no backend that is not known yet", () => {
  for (
    const service of [
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "grpc.health.v1.Health",
      "grpc.channelz.v1.Channelz",
      "lb.LoadBalancer",
    ]
  ) {
    assert(isInfrastructure(service), service);
    const { add, to } = make();
    add("a");
    assertEquals([to(`/${service}/M`, {}, 1), to("/s.S/M", {}, 1)], ["no_route", "a"]);
  }
  for (
    const service of ["grpc.testing.TestService", "lb.LoadBalancers", "grpc.reflection", "s.S"]
  ) {
    assert(!isInfrastructure(service), service);
  }
});

Deno.test("a discovered route has an id of its own that stays, is listed as such and cannot be removed", async () => {
  const { registry, management, add } = make();
  const feed = new ChangeFeed(management);
  const a = add("a", ["s.S"]);
  const written = registry.addRoute(parseRule("service=s.S -> x:1")).value;
  const again = make();
  again.add("b", ["s.S"]);
  const [first, second] = management.listRoutes();
  assertEquals([first!.id, first!.origin], [written.id, "written"]);
  assertEquals(second, {
    id: again.management.listRoutes()[0]!.id,
    rule: "service=s.S -> grpc://a:1",
    match: { services: ["s.S"] },
    targets: [{ id: a.id, addr: "grpc://a:1", weight: 1, state: "active" }],
    registered: false,
    origin: "discovered",
  });
  assert(/^r-[0-9a-f]{12}$/.test(second!.id) && second!.id !== written.id);
  assertEquals(management.route(second!.id), second);
  assertEquals(management.routeCount, 2);
  const { discovery, routes }: BackendInfo = management.describeBackend(a.id);
  assertEquals([discovery, routes], [{ state: "known", services: 1 }, [second!.id]]);
  const error = assertThrows(() => management.removeRoute(second!.id), ManagementError);
  assertEquals(error.code, "failed_precondition");
  assert(error.message.includes(second!.id) && error.message.includes("drain"), error.message);
  feed.next();
  let told = 0;
  management.onChange(() => told++);
  registry.setServices(a, new Set(["s.S"]));
  await settle();
  assertEquals(told, 0, "the same services are no change");
  registry.setServices(a, new Set(["s.T"]));
  await settle();
  assertEquals(told, 1);
  assertEquals(
    feed.next().map((
      { kind, subject },
    ) => [kind, subject.type === "route" ? subject.info.rule : subject.info.addr]),
    [
      ["removed", "service=s.S -> grpc://a:1"],
      ["changed", "grpc://a:1"],
      ["added", "service=s.T -> grpc://a:1"],
    ],
  );
});

Deno.test("who does not see services refuses to discover them, and changes nothing", () => {
  const { registry, management } = make({ scheme: "http", discovery: "never" });
  for (
    const add of [
      () => management.addL4({ addr: "a:1", discover_services: true }),
      () => management.addL7({ backend_addr: "a:1", discover_services: true }),
      () => management.addL7({ backend_addr: "a:1", paths: ["/x"], discover_services: true }),
    ]
  ) {
    const error = assertThrows(add, ManagementError);
    assertEquals([error.code, error.field], ["failed_precondition", "discover_services"]);
  }
  const error = assertThrows(
    () => registry.addBackend({ addr: "a:1", discoverServices: true }),
    TypeError,
  );
  assert(error.message.includes("discoverServices"), error.message);
  assertEquals([management.listBackends(), management.listRoutes()], [[], []]);
  management.addL7({ backend_addr: "a:1", discover_services: false });
  assertEquals(management.listBackends().map(({ discovery }) => discovery), [undefined]);
});

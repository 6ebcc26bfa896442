import { assert, assertEquals, assertThrows } from "@std/assert";
import type { FollowedName } from "../../lib/backend/discovery/names.ts";
import type { Registry } from "../../lib/backend/registry.ts";
import { coreOf } from "../../lib/load_balancer/core.ts";
import {
  type GrpcL7,
  HttpL7,
  type HttpL7Options,
  type LoadBalancer,
  ManagementError,
  Mux,
  RouteBuilder,
} from "../../mod.ts";

const NAME = "dns:api.test:80";

function make(options: HttpL7Options = {}) {
  const lb = new HttpL7(options);
  const { registry } = coreOf(lb);
  return { lb, registry, management: lb.management };
}

/** The name, which a test answers for in place of a name server. */
function nameOf(registry: Registry, text = NAME): FollowedName {
  const name = registry.names.find(text);
  assert(name !== undefined, `${text} is not followed`);
  return name;
}

/** A name server has another answer, as {@linkcode DnsFollower} passes it on. */
function answer(name: FollowedName, ...addrs: readonly string[]): void {
  const weights = new Map(addrs.map((text) => {
    const [addr = "", weight = "1"] = text.split("*");
    return [addr, Number(weight)];
  }));
  for (const [addr, weight] of weights) {
    if (name.found.get(addr) === weight) continue;
    name.found.set(addr, weight);
    name.add(addr, weight);
  }
  for (const addr of [...name.found.keys()]) {
    if (weights.has(addr)) continue;
    name.found.delete(addr);
    name.remove(addr);
  }
}

const addrsOf = (lb: LoadBalancer) => lb.backends().map(({ addr }) => addr);

function targetsOf(lb: HttpL7): string[] {
  return lb.routes().flatMap(({ targets }) =>
    targets.map(({ addr, weight, name }) =>
      `${addr}*${weight}${name === undefined ? "" : " named"}`
    )
  );
}

Deno.test("all addresses of a name are targets of its route, and follow it", () => {
  const { lb, registry } = make();
  lb.addRoute(
    new RouteBuilder().path("/api").target(NAME, { weight: 3 }).target("fix:1").build(),
  );
  const name = nameOf(registry);
  assertEquals(targetsOf(lb), ["http://fix:1*1"]);
  answer(name, "10.0.0.1:80", "10.0.0.2:80");
  assertEquals(targetsOf(lb), [
    "http://fix:1*1",
    "http://10.0.0.1:80*3 named",
    "http://10.0.0.2:80*3 named",
  ]);
  answer(name, "10.0.0.2:80");
  assertEquals(addrsOf(lb), ["http://fix:1", "http://10.0.0.2:80"]);
  assertEquals(
    lb.routes()[0]!.rule,
    "path=/api -> http://fix:1, dns:api.test:80 weight=3",
  );
});

Deno.test("a name is shared by all who use it, and followed until the last of them is gone", () => {
  const { lb, registry, management } = make({ backends: [NAME] });
  const name = nameOf(registry);
  const followed: string[] = [];
  registry.names.watcher = {
    onNameAdded: ({ text }) => followed.push(`+${text}`),
    onNameRemoved: ({ text }) => followed.push(`-${text}`),
  };
  const first = lb.addRoute(new RouteBuilder().path("/a").target("DNS:API.test:80").build());
  const second = lb.addRoute(new RouteBuilder().path("/b").target(NAME).build());
  assertEquals([...registry.names], [name]);
  answer(name, "10.0.0.1:80");
  assertEquals(management.listNames().map(({ routes, pool }) => [routes, pool]), [
    [[first, second], true],
  ]);
  lb.removeRoute(first);
  lb.removeRoute(second);
  assertEquals(addrsOf(lb), ["http://10.0.0.1:80"]);
  registry.names.leave(name, registry.pool);
  assertEquals([followed, addrsOf(lb)], [[`-${NAME}`], []]);
});

Deno.test("what was given by its address stays with its weight, whatever a name stands for", () => {
  const { lb, registry } = make({ backends: [{ addr: "10.0.0.1:80", weight: 7 }, NAME] });
  const name = nameOf(registry);
  answer(name, "10.0.0.1:80", "10.0.0.2:80");
  assertEquals(lb.backends().map(({ addr, weight }) => [addr, weight]), [
    ["http://10.0.0.1:80", 7],
    ["http://10.0.0.2:80", 1],
  ]);
  lb.addBackend({ addr: "10.0.0.2:80", weight: 2 });
  answer(name, "10.0.0.3:80");
  assertEquals(addrsOf(lb).sort(), [
    "http://10.0.0.1:80",
    "http://10.0.0.2:80",
    "http://10.0.0.3:80",
  ]);
});

Deno.test("an address of two names stays while one of them has it", () => {
  const { lb, registry } = make({ backends: [NAME, { addr: "dns:b.test:80", weight: 4 }] });
  const [one, two] = [nameOf(registry), nameOf(registry, "dns:b.test:80")];
  answer(one, "10.0.0.1:80");
  answer(two, "10.0.0.1:80");
  answer(one, "10.0.0.9:80");
  assertEquals(lb.backends().map(({ addr, weight, names }) => [addr, weight, names]), [
    ["http://10.0.0.1:80", 4, ["dns:b.test:80"]],
    ["http://10.0.0.9:80", 1, [NAME]],
  ]);
  answer(two, "10.0.0.8:80");
  assertEquals(addrsOf(lb), ["http://10.0.0.9:80", "http://10.0.0.8:80"]);
});

Deno.test("weights of SRV records are multiplied with that of the name, and stay weights", () => {
  const { lb, registry } = make();
  lb.addRoute(new RouteBuilder().path("/").target("srv:_a._tcp.b", { weight: 3 }).build());
  answer(nameOf(registry, "srv:_a._tcp.b"), "a:1*2", "b:1*0", "c:1*65535");
  assertEquals(targetsOf(lb), [
    "http://a:1*6 named",
    "http://b:1*0 named",
    "http://c:1*65535 named",
  ]);
});

Deno.test("the same address behind two names with TLS is two backends, each with its own certificate", () => {
  const { lb, registry } = make({
    backends: ["dns+https://a.test", "dns+https://b.test", "https://10.0.0.1"],
  });
  for (const text of ["dns+https://a.test:443", "dns+https://b.test:443"]) {
    answer(nameOf(registry, text), "https://10.0.0.1:443");
  }
  const serverNames = [...registry.backends].map(({ address }) =>
    address.transport === "tcp" ? address.serverName : ""
  );
  assertEquals(serverNames.sort(), ["a.test", "b.test", undefined].sort());
  assertEquals(new Set(lb.backends().map(({ id }) => id)).size, 3);
  const [named] = lb.backends().filter(({ names }) => names?.[0]?.includes("a.test"));
  lb.management.drain("https://10.0.0.1");
  assertEquals(lb.management.describeBackend(named!.id).state, "active");
  lb.removeBackend(named!.id);
  assertEquals(lb.backends().length, 2);
});

Deno.test("management adds names, shows them with their addresses, and takes them out", () => {
  const { lb, registry, management } = make();
  const added = management.addL7({ backend_addr: "dns+http://api.test:8080", paths: ["/v2"] });
  assertEquals(added, {
    id: added.id,
    addr: "dns+http://api.test:8080",
    created: true,
    route_id: added.route_id!,
  });
  const again = management.addL7({ backend_addr: "dns+http://api.test:8080", paths: ["/v2"] });
  assertEquals([again.id, again.created], [added.id, false]);
  const [unknown] = management.listNames();
  assertEquals(unknown!.health, {
    state: "failing",
    reason: "no address is known yet",
    ejections: 0,
  });
  const name = nameOf(registry, "dns+http://api.test:8080");
  answer(name, "http://10.0.0.1:8080");
  assertEquals(management.setWeight(added.id, 5).addresses, ["http://10.0.0.1:8080"]);
  assertEquals(targetsOf(lb), ["http://10.0.0.1:8080*5 named"]);
  assertEquals(management.drain("DNS+HTTP://api.test:8080").state, "draining");
  answer(name, "http://10.0.0.1:8080", "http://10.0.0.2:8080");
  assertEquals(lb.backends().map(({ state }) => state), ["draining", "draining"]);
  management.addL7({ backend_addr: "dns+http://api.test:8080", paths: ["/v2"] });
  assertEquals(lb.backends().map(({ state }) => state), ["active", "active"]);
  assertEquals(management.removeBackend(added.id).state, "removed");
  assertEquals([lb.routes(), lb.backends(), management.listNames()], [[], [], []]);
  assertThrows(() => management.removeBackend(added.id), ManagementError, "no backend");
});

Deno.test("a route that was written stays when its name is taken out, one that was registered goes with it", () => {
  const { lb, management } = make();
  const written = lb.addRoute(new RouteBuilder().path("/w").target(NAME).build());
  management.addL7({ backend_addr: NAME, paths: ["/r"] });
  management.removeBackend(NAME);
  assertEquals(lb.routes().map(({ id, targets }) => [id, targets]), [[written, []]]);
});

Deno.test("an address that was taken out by hand stays out until the name has lost it and has it again", () => {
  const { lb, registry, management } = make({ backends: [NAME] });
  const name = nameOf(registry);
  answer(name, "10.0.0.1:80", "10.0.0.2:80");
  management.removeBackend("10.0.0.1:80");
  answer(name, "10.0.0.1:80", "10.0.0.2:80");
  lb.addRoute(new RouteBuilder().path("/late").target(NAME).build());
  assertEquals(addrsOf(lb), ["http://10.0.0.2:80"]);
  answer(name, "10.0.0.2:80");
  answer(name, "10.0.0.1:80", "10.0.0.2:80");
  assertEquals(addrsOf(lb), ["http://10.0.0.2:80", "http://10.0.0.1:80"]);
});

Deno.test("a mux goes by the scheme of a name, and by the conditions where it has none", () => {
  const mux = new Mux({ backends: ["dns+http://web.test", "dns+grpcs://calls.test"] });
  mux.addRoute(new RouteBuilder().service("pkg.S").target("dns:calls.test:50051").build());
  mux.management.addL7({ backend_addr: "dns:web.test:80", paths: ["/x"] });
  const texts = (lb: HttpL7 | GrpcL7) => [...coreOf(lb).registry.names].map(({ text }) => text);
  assertEquals(texts(mux.http), ["dns+http://web.test:80", "dns:web.test:80"]);
  assertEquals(texts(mux.grpc), ["dns+grpcs://calls.test:443", "dns:calls.test:50051"]);
  assertThrows(
    () => new Mux({ http: { backends: ["dns+grpc://a.test"] } }),
    TypeError,
    "dns+grpc://a.test:80 is for gRPC",
  );
});

Deno.test("names, what they stand for and what management has done to them are there in the next process", () => {
  const options: HttpL7Options = {
    backends: [NAME, "dns:gone.test:80"],
    routes: [new RouteBuilder().path("/w").target("dns+https://w.test").build()],
  };
  const first = make(options);
  first.management.addL7({ backend_addr: "dns:new.test:80", paths: ["/n"], weight: 0 });
  first.management.addL4({ addr: "dns:pool.test:80", weight: 6 });
  for (
    const [text, ...addrs] of [
      [NAME, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"],
      ["dns:gone.test:80", "10.1.0.1:80"],
      ["dns+https://w.test:443", "https://10.0.0.1:443", "https://10.0.0.2:443"],
      ["dns:new.test:80", "10.2.0.1:80"],
      ["dns:pool.test:80", "10.3.0.1:80", "10.3.0.2:80"],
    ] as const
  ) answer(nameOf(first.registry, text), ...addrs);
  first.management.removeBackend("dns:gone.test:80");
  first.management.removeBackend("10.0.0.1:80");
  first.management.drain("10.0.0.2:80");
  first.management.setWeight("10.0.0.3:80", 9);
  first.management.drain("dns:pool.test:80");
  const secure = first.lb.backends().find(({ names }) => names?.[0] === "dns+https://w.test:443");
  first.management.drain(secure!.id);

  const view = ({ management }: LoadBalancer) => ({
    backends: management.listBackends().map(({ id, state, weight }) => [id, state, weight]).sort(),
    names: management.listNames().map(({ id, state, weight }) => [id, state, weight]).sort(),
    routes: management.listRoutes().map(({ id, rule }) => [id, rule]).sort(),
  });
  const second = make(options);
  second.lb.applyChanges(JSON.parse(JSON.stringify(first.management.collectChanges())));
  assertEquals(view(second.lb), view(first.lb));

  const name = nameOf(second.registry);
  answer(name, "10.0.0.4:80");
  assertEquals(
    second.lb.backends().filter(({ names }) => names?.includes(NAME)).map(({ addr }) => addr),
    ["http://10.0.0.4:80"],
    "what a name stood for goes with it, though management has touched it",
  );
});

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  type AddL7Request,
  ManagementError,
  type ManagementErrorCode,
} from "../../lib/control/management.ts";
import { parseRule } from "../../lib/route/rule_text.ts";
import type { RequestView } from "../../lib/http/message.ts";
import { makeManagement } from "../support/management.ts";

function refusal(call: () => unknown, code: ManagementErrorCode): ManagementError {
  const error = assertThrows(call, ManagementError);
  assertEquals(error.code, code, error.message);
  return error;
}

function request(path: string, headers: Record<string, string> = {}, query = ""): RequestView {
  return {
    method: "GET",
    path,
    query,
    host: "localhost",
    grpc: headers["content-type"] === "application/grpc",
    header: (name) => headers[name],
  };
}

Deno.test("adding a backend at layer 4 puts it into the default pool", () => {
  const { registry, management } = makeManagement("l4");
  const added = management.addL4({ addr: "localhost:8081" });
  assertEquals(added.addr, "http://localhost:8081");
  assertEquals(added.created, true);
  assertEquals(management.listBackends(), [{
    id: added.id,
    addr: "http://localhost:8081",
    state: "active",
    weight: 1,
    in_flight: 0,
    pool: true,
    routes: [],
    connections: { idle: 0, active: 0 },
    health: { state: "healthy", ejections: 0 },
  }]);
  assertEquals(registry.pool.pick()?.id, added.id);
});

Deno.test("a caller without an address registers itself with the default or its own port", () => {
  const { management } = makeManagement("l4");
  const caller = (hostname: string) => ({ hostname });
  assertEquals(management.addL4({}, caller("192.0.2.7")).addr, "http://192.0.2.7:80");
  assertEquals(management.addL4({ port: 8081 }, caller("192.0.2.7")).addr, "http://192.0.2.7:8081");
  assertEquals(management.addL4({}, caller("::1")).addr, "http://[::1]:80");
  assertEquals(management.addL4({}, caller("::ffff:192.0.2.7")).created, false);
  assertEquals(refusal(() => management.addL4({}), "invalid_argument").field, "addr");
  assertEquals(
    refusal(() => management.addL4({}, caller("unix")), "invalid_argument").field,
    "addr",
  );
});

Deno.test("adding the same backend again answers the same id and keeps its weight", () => {
  const { management } = makeManagement("l4");
  const first = management.addL4({ addr: "localhost:8081", weight: 3 });
  const second = management.addL4({ addr: "http://LOCALHOST:8081/" });
  assertEquals(second, { ...first, created: false });
  assertEquals(management.describeBackend(first.id).weight, 3);
  management.addL4({ addr: "localhost:8081", weight: 5 });
  assertEquals(management.describeBackend(first.id).weight, 5);
  assertEquals(management.listBackends().length, 1);
});

Deno.test("a backend at layer 7 without conditions goes into the default pool", () => {
  const { registry, management } = makeManagement("l7");
  const added = management.addL7({ backend_addr: "http://localhost:8083", paths: [], headers: {} });
  assertEquals(added.route_id, undefined);
  assertEquals(management.listRoutes(), []);
  assertEquals(registry.pool.pick()?.id, added.id);
});

Deno.test("a backend at layer 7 with conditions becomes the target of a route", () => {
  const { registry, management } = makeManagement("l7");
  const added = management.addL7({
    backend_addr: "http://localhost:8083",
    paths: ["/api/v2"],
    headers: { "X-Version": "v2" },
  });
  assertEquals(added.created, true);
  const [route] = management.listRoutes();
  assert(route !== undefined);
  assertEquals(route, {
    id: added.route_id!,
    rule: "path=/api/v2 header=x-version:v2 -> http://localhost:8083",
    match: {
      paths: [{ type: "prefix", value: "/api/v2" }],
      headers: [{ name: "x-version", type: "exact", value: "v2" }],
    },
    targets: [{ id: added.id, addr: "http://localhost:8083", weight: 1, state: "active" }],
    registered: true,
    origin: "registered",
  });
  assertEquals(management.describeBackend(added.id).routes, [route.id]);
  assertEquals(management.describeBackend(added.id).weight, null);
  const hit = registry.match(request("/api/v2/users", { "x-version": "v2" }));
  assertEquals(hit?.id, route.id);
  assertEquals(registry.match(request("/api/v2/users", { "x-version": "v1" })), undefined);
});

Deno.test("every kind of condition matches as the builder's of the same name does", () => {
  const { registry, management } = makeManagement("l7");
  const grpc = { "content-type": "application/grpc" };
  const add = (conditions: Partial<AddL7Request>) =>
    management.addL7({ backend_addr: "http://localhost:8083", ...conditions }).route_id;
  const service = add({ services: ["a.Users"], methods: ["Login", "Logout"] });
  const full = add({ full_methods: ["a.Mail/Send"], grpc_headers: { "X-Tenant": ["a", "b"] } });
  const param = add({ params: { beta: ["1", "2"] } });
  const match = (view: RequestView) => registry.match(view)?.id;
  assertEquals(match(request("/a.Users/Logout", grpc)), service);
  assertEquals(match(request("/a.Users/Find", grpc)), undefined);
  assertEquals(match(request("/a.Mail/Send", { ...grpc, "x-tenant": "b" })), full);
  assertEquals(match(request("/a.Mail/Send", { ...grpc, "x-tenant": "c" })), undefined);
  assertEquals(match(request("/x", {}, "beta=2")), param);
  assertEquals(match(request("/x", {}, "beta=3")), undefined);
});

Deno.test("two backends with the same conditions share a route, in whatever order these are said", () => {
  const { management } = makeManagement("l7");
  const a = management.addL7({ backend_addr: "http://a:1", paths: ["/x", "/y"], weight: 9 });
  const b = management.addL7({ backend_addr: "http://b:1", paths: ["/y", "/x"] });
  assertEquals(a.route_id, b.route_id);
  assertEquals(b.created, true);
  assertEquals(management.listRoutes().map((route) => route.rule), [
    "path=/x path=/y -> http://a:1 weight=9, http://b:1",
  ]);
});

Deno.test("registering again keeps the weight that somebody has set, even 0", () => {
  const { management } = makeManagement("l7");
  const again = { backend_addr: "http://a:1", paths: ["/x"] };
  const { id, route_id } = management.addL7(again);
  const weight = () => management.route(route_id!).targets[0]?.weight;
  for (const set of [7, 0]) {
    management.setWeight(id, set);
    assertEquals(management.addL7(again), {
      id,
      addr: "http://a:1",
      created: false,
      route_id: route_id!,
    });
    assertEquals(weight(), set);
  }
  management.addL7({ ...again, weight: 4 });
  assertEquals(weight(), 4);
  management.addL7({ ...again, weight: 0 });
  assertEquals(weight(), 0);
});

Deno.test("a route made at run time leaves with its last target, a configured one stays", () => {
  const { registry, management } = makeManagement("l7");
  const configured = registry.addRoute(parseRule("path=/x -> http://a:1")).value.id;
  const a = management.addL7({ backend_addr: "http://a:1", paths: ["/y"] });
  const b = management.addL7({ backend_addr: "http://b:1", paths: ["/y"] });
  assertEquals(management.removeBackend(a.id).state, "removed");
  assertEquals(management.listRoutes().map(({ id }) => id), [configured, b.route_id!]);
  management.removeBackend(b.id);
  assertEquals(management.listRoutes(), [{
    id: configured,
    rule: "path=/x",
    match: { paths: [{ type: "prefix", value: "/x" }] },
    targets: [],
    registered: false,
    origin: "written",
  }]);
});

Deno.test("backends can be named by id or by address, however it is written", () => {
  const { management } = makeManagement("l7");
  const { id } = management.addL7({ backend_addr: "http://localhost:8083" });
  for (const name of [id, "http://localhost:8083", "HTTP://LocalHost:8083/", "localhost:8083"]) {
    assertEquals(management.describeBackend(name).id, id, name);
  }
  for (const name of ["b-000000000000", "https://localhost:8083", "localhost:8084", "", "%%"]) {
    assertStringIncludes(
      refusal(() => management.describeBackend(name), "not_found").message,
      JSON.stringify(name),
    );
  }
  assertEquals(management.removeBackend("localhost:8083").id, id);
  refusal(() => management.removeBackend("localhost:8083"), "not_found");
});

Deno.test("an address without protocol means the backend that the balancer itself has for it", () => {
  for (const scheme of ["tcp", "http", "grpc"] as const) {
    const { registry, management } = makeManagement("l4", scheme);
    const { id } = registry.addBackend({ addr: "localhost:5432" }).value;
    const added = management.addL4({ addr: "localhost:5432" });
    assertEquals(added, { id, addr: `${scheme}://localhost:5432`, created: false });
    assertEquals(management.setWeight("localhost:5432", 3).id, id);
    assertEquals(management.listBackends().length, 1);
  }
  const { management } = makeManagement("l7");
  const tls = management.addL7({ backend_addr: "https://localhost:443" });
  const plain = management.addL7({ backend_addr: "localhost:443", paths: ["/x"] });
  assertEquals(plain.addr, "http://localhost:443");
  assertEquals(management.describeBackend("localhost:443").id, plain.id);
  assertEquals(management.describeBackend("https://localhost").id, tls.id);
  const unix = management.addL7({ backend_addr: "unix:/run//a.sock" });
  assertEquals(management.describeBackend("unix:/run/a.sock").id, unix.id);
});

Deno.test("a draining backend is not picked until it is added again", () => {
  const { registry, management } = makeManagement("l7");
  const { id } = management.addL7({ backend_addr: "http://a:1" });
  assertEquals(management.drain(id).state, "draining");
  assertEquals(management.drain(id).state, "draining");
  assertEquals(registry.pool.pick(), undefined);
  assertEquals(management.addL7({ backend_addr: "http://a:1" }).created, false);
  assertEquals(registry.pool.pick()?.id, id);
});

Deno.test("a removed route takes along the backends that nothing else names", () => {
  const { management } = makeManagement("l7");
  management.addL7({ backend_addr: "http://a:1" });
  const { route_id } = management.addL7({ backend_addr: "http://a:1", paths: ["/x"] });
  management.addL7({ backend_addr: "http://b:1", paths: ["/x"] });
  assertEquals(management.removeRoute(route_id!).targets.length, 2);
  assertEquals(management.listBackends().map(({ addr }) => addr), ["http://a:1"]);
  refusal(() => management.removeRoute(route_id!), "not_found");
});

Deno.test("conditions at layer 4 are refused as such, and a default pool is at both layers", () => {
  const l4 = makeManagement("l4").management;
  assertStringIncludes(
    refusal(() => l4.addL7({ backend_addr: "http://a:1" }), "failed_precondition").message,
    "layer 4",
  );
  const l7 = makeManagement("l7").management;
  assertEquals(l7.addL4({ addr: "http://a:1" }).created, true);
  assertEquals(l7.listBackends()[0]?.pool, true);
});

Deno.test("a refusal names the field and the value, and nothing is changed", () => {
  const { management } = makeManagement("l7");
  const addr = { backend_addr: "http://a:1" };
  const cases: [request: AddL7Request, field: string | undefined, text: string][] = [
    [{ backend_addr: "http://a:1/path" }, "backend_addr", '"http://a:1/path"'],
    [{ backend_addr: "localhost" }, "backend_addr", "the port is missing"],
    [{ ...addr, weight: -1 }, "weight", "-1"],
    [{ ...addr, weight: 1.5 }, "weight", "1.5"],
    [{ ...addr, weight: 65536 }, "weight", "65536"],
    [{ ...addr, weight: NaN }, "weight", "NaN"],
    [{ ...addr, paths: ["/ok", "api"] }, "paths[1]", '"api"'],
    [{ ...addr, services: ["a b"] }, "services[0]", '"a b"'],
    [{ ...addr, methods: ["a/b"] }, "methods[0]", '"a/b"'],
    [{ ...addr, full_methods: ["Login"] }, "full_methods[0]", '"Login"'],
    [{ ...addr, headers: { "X Y": "v" } }, "headers", '"X Y"'],
    [{ ...addr, headers: { "X-Y": ["ok", "a\r\nb"] } }, "headers.X-Y", "CR, LF or NUL"],
    [{ ...addr, headers: { "X-Y": [] } }, "headers.X-Y", "the list is empty"],
    [{ ...addr, grpc_headers: { "": "v" } }, "grpc_headers", '""'],
    [{ ...addr, params: { "": "v" } }, "params", '""'],
    [{ ...addr, full_methods: ["/a/B"], services: ["c"] }, undefined, "can never match"],
  ];
  for (const [request, field, text] of cases) {
    const error = refusal(() => management.addL7(request), "invalid_argument");
    assertEquals(error.field, field, error.message);
    assertStringIncludes(error.message, text);
    if (field !== undefined) assert(error.message.startsWith(`${field}: `), error.message);
  }
  assertEquals(management.listBackends(), []);
  assertEquals(management.listRoutes(), []);
  const l4 = makeManagement("l4").management;
  const both = refusal(() => l4.addL4({ addr: "a:1", port: 2 }), "invalid_argument");
  assertEquals(both.field, "port");
  const port = refusal(() => l4.addL4({ port: 0 }, { hostname: "::1" }), "invalid_argument");
  assertEquals(port.field, "port");
});

Deno.test("a thousand adds and removes leave nothing behind", () => {
  const { registry, management } = makeManagement("l7");
  for (let i = 0; i < 1000; i++) {
    const port = 10_000 + i;
    const { id } = management.addL7({ backend_addr: `http://a:${port}` });
    management.addL7({ backend_addr: `http://a:${port}`, paths: [`/p${i}`] });
    if (i % 2 === 0) management.removeBackend(id);
    else management.removeBackend(`a:${port}`);
  }
  assertEquals(management.listBackends(), []);
  assertEquals(management.listRoutes(), []);
  assertEquals(registry.pool.size, 0);
  assertEquals(registry.pool.pick(), undefined);
});

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { AccessPolicy } from "../../lib/control/access.ts";
import { ManagementApi, MAX_BODY } from "../../lib/control/http_api.ts";
import { parseJson } from "../../lib/control/json.ts";
import type { Management } from "../../lib/control/management.ts";
import { makeManagement } from "../support/management.ts";

const SEED = 20261122;
const LOOPBACK = { hostname: "127.0.0.1", port: 50_000 };
const JSON_FIELDS = { "Content-Type": "application/json" };

/** An API with the answers taken apart. */
class Caller {
  readonly management: Management;
  readonly api: ManagementApi;

  constructor(layer: "l4" | "l7", policy = new AccessPolicy()) {
    this.management = makeManagement(layer).management;
    this.api = new ManagementApi(this.management, policy);
  }

  async call(method: string, path: string, init: RequestInit = {}, remote = LOOPBACK) {
    const request = new Request(`http://127.0.0.1:8080${path}`, { method, ...init });
    const response = await this.api.handle(request, remote);
    // deno-lint-ignore no-explicit-any -- tests look into the document
    const body: any = await response.json();
    const { status, headers } = response;
    const problem = status >= 400;
    assertEquals(headers.get("content-type"), `application/${problem ? "problem+" : ""}json`);
    if (problem) {
      assertEquals(body.status, status);
      assertEquals(body.type, "about:blank");
      assert(body.title.length > 0 && body.detail.length > 0 && body.code.length > 0);
    }
    return { status, headers, body };
  }

  send(method: string, path: string, body: unknown) {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return this.call(method, path, { body: text, headers: JSON_FIELDS });
  }
}

Deno.test("only the paths of management are claimed", () => {
  const { api } = new Caller("l7");
  for (
    const path of [
      "/lb/add",
      "/lb/backends",
      "/lb/backends/",
      "/lb/backends/b-1/drain",
      "/lb/routes",
      "/lb/routes/r-1",
    ]
  ) {
    assert(api.claims(path), path);
  }
  for (
    const path of [
      "/",
      "/lb",
      "/lb/",
      "/lb/other",
      "/lb/add/",
      "/lb/adder",
      "/lb/backendsx",
      "/lb/routesx/1",
      "/LB/add",
      "/lb/%61dd",
      "//lb/add",
      "/x/lb/add",
      "*",
      "",
    ]
  ) {
    assert(!api.claims(path), path);
  }
});

Deno.test("an empty POST registers the address of the caller's socket at layer 4", async () => {
  const caller = new Caller("l4");
  const headers = { "X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1" };
  const first = await caller.call("POST", "/lb/add", { headers });
  assertEquals(first.status, 201);
  assertEquals(first.body.addr, "http://127.0.0.1:80");
  assertEquals(first.headers.get("location"), `/lb/backends/${first.body.id}`);
  const again = await caller.call("POST", "/lb/add");
  assertEquals(again.status, 200);
  assertEquals(again.body, { ...first.body, created: false });
  assertEquals(again.headers.get("location"), null);
});

Deno.test("a body at layer 4 names the port, or another address, and the weight", async () => {
  const caller = new Caller("l4");
  const port = await caller.send("POST", "/lb/add", { port: 8081, weight: 2 });
  assertEquals([port.status, port.body.addr], [201, "http://127.0.0.1:8081"]);
  const addr = await caller.send("POST", "/lb/add", { addr: "10.0.0.5:8081" });
  assertEquals([addr.status, addr.body.addr], [201, "http://10.0.0.5:8081"]);
  assertEquals(caller.management.describeBackend(port.body.id).weight, 2);
});

Deno.test("the body of the L7 example makes a route", async () => {
  const caller = new Caller("l7");
  const { status, body } = await caller.send(
    "POST",
    "/lb/add",
    '{"backend_addr":"http://localhost:8083","paths":["/api/v2"],"headers":{"X-Version":"v2"}}',
  );
  assertEquals(status, 201);
  const { body: route } = await caller.call("GET", `/lb/routes/${body.route_id}`);
  assertEquals(route.rule, "path=/api/v2 header=x-version:v2 -> http://localhost:8083");
});

Deno.test("backends are listed, shown, drained, weighed and removed", async () => {
  const caller = new Caller("l7");
  const { body: added } = await caller.send("POST", "/lb/add", { backend_addr: "http://a:1" });
  const path = `/lb/backends/${added.id}`;
  assertEquals((await caller.call("GET", "/lb/backends")).body.backends.length, 1);
  const patched = await caller.send("PATCH", path, { weight: 7 });
  assertEquals([patched.status, patched.body.weight], [200, 7]);
  const drained = await caller.call("POST", `${path}/drain`);
  assertEquals([drained.status, drained.body.state], [200, "draining"]);
  assertEquals((await caller.call("GET", path)).body, drained.body);
  const removed = await caller.call("DELETE", `/lb/backends/${encodeURIComponent("http://a:1")}`);
  assertEquals([removed.status, removed.body.state], [200, "removed"]);
  assertEquals((await caller.call("DELETE", path)).status, 404);
  assertEquals((await caller.call("GET", "/lb/backends")).body, {
    backends: [],
    names: [],
    panic: [],
  });
});

Deno.test("routes are listed and removed", async () => {
  const caller = new Caller("l7");
  const body = { backend_addr: "http://a:1", paths: ["/x"] };
  const { body: added } = await caller.send("POST", "/lb/add", body);
  const { body: { routes } } = await caller.call("GET", "/lb/routes");
  assertEquals(routes.map(({ id }: { id: string }) => id), [added.route_id]);
  assertEquals((await caller.call("DELETE", `/lb/routes/${added.route_id}`)).status, 200);
  assertEquals((await caller.call("DELETE", `/lb/routes/${added.route_id}`)).status, 404);
  assertEquals((await caller.call("GET", "/lb/routes")).body, { routes: [] });
});

Deno.test("HEAD is answered where GET is", async () => {
  const caller = new Caller("l7");
  for (const path of ["/lb/backends", "/lb/routes"]) {
    assertEquals((await caller.call("HEAD", path)).status, 200);
  }
});

Deno.test("a method that a resource does not have is answered with those that it has", async () => {
  const caller = new Caller("l7");
  const cases: [method: string, path: string, allow: string][] = [
    ["GET", "/lb/add", "POST"],
    ["HEAD", "/lb/add", "POST"],
    ["POST", "/lb/backends", "GET, HEAD"],
    ["PUT", "/lb/backends/b-1", "GET, PATCH, DELETE, HEAD"],
    ["GET", "/lb/backends/b-1/drain", "POST"],
    ["OPTIONS", "/lb/routes", "GET, HEAD"],
    ["constructor", "/lb/routes/r-1", "GET, DELETE, HEAD"],
  ];
  for (const [method, path, allow] of cases) {
    const { status, headers, body } = await caller.call(method, path);
    assertEquals([status, headers.get("allow")], [405, allow], `${method} ${path}`);
    assertEquals(body.code, "method_not_allowed");
  }
});

Deno.test("paths that lead nowhere are not found", async () => {
  const caller = new Caller("l7");
  for (
    const path of [
      "/lb/backends/",
      "/lb/backends//drain",
      "/lb/backends/b-1/undrain",
      "/lb/backends/b-1/drain/x",
      "/lb/backends/http://localhost:8083",
      "/lb/routes/r-1/drain",
      "/lb/routes/",
      "/lb/other",
    ]
  ) {
    const { status, body } = await caller.call("POST", path);
    assertEquals([status, body.code], [404, "not_found"], path);
  }
  const odd = await caller.call("DELETE", "/lb/backends/%ff");
  assertEquals([odd.status, odd.body.code], [400, "invalid_argument"]);
});

Deno.test("strangers learn nothing but that they may not call", async () => {
  const stranger = { hostname: "192.0.2.1", port: 1 };
  const closed = new Caller("l4");
  const open = new Caller("l4", new AccessPolicy({ token: "a-token-of-some-length" }));
  for (const path of ["/lb/add", "/lb/backends", "/lb/backends/b-1", "/lb/nowhere"]) {
    const refused = await closed.call("POST", path, {}, stranger);
    assertEquals([refused.status, refused.body.code], [403, "permission_denied"]);
    const asked = await open.call("POST", path, {}, stranger);
    assertEquals([asked.status, asked.body.code], [401, "unauthenticated"]);
    assertStringIncludes(asked.headers.get("www-authenticate") ?? "", "Bearer");
  }
  assertEquals(closed.management.listBackends(), []);
  const headers = { Authorization: "Bearer a-token-of-some-length" };
  assertEquals((await open.call("POST", "/lb/add", { headers }, stranger)).status, 201);
  assertEquals(open.management.listBackends()[0]?.addr, "http://192.0.2.1:80");
});

Deno.test("a web page of another origin or through a foreign name is refused", async () => {
  const caller = new Caller("l4");
  for (const headers of [{ Origin: "http://evil.example" }, { Host: "rebind.example:8080" }]) {
    assertEquals((await caller.call("POST", "/lb/add", { headers })).status, 403);
  }
  const request = new Request("http://rebind.example:8080/lb/add", { method: "POST" });
  assertEquals((await caller.api.handle(request, LOOPBACK)).status, 403);
});

Deno.test("a body must be JSON by its type, so that no form of a web page passes", async () => {
  const caller = new Caller("l4");
  const send = (type: string | undefined) =>
    caller.call("POST", "/lb/add", {
      body: new TextEncoder().encode('{"port":8081}'),
      ...(type === undefined ? {} : { headers: { "Content-Type": type } }),
    });
  for (
    const type of [
      undefined,
      "application/x-www-form-urlencoded",
      "text/plain",
      "application/jsonp",
      "application/json; charset=latin1",
      "application/json; charset=utf-8; x=y",
      "text/json+x",
      "application/json, text/plain",
    ]
  ) {
    const { status, body } = await send(type);
    assertEquals([status, body.code], [415, "unsupported_media_type"], type);
    assertStringIncludes(body.detail, "application/json");
  }
  assertEquals(caller.management.listBackends(), []);
  for (
    const type of [
      "application/json",
      "APPLICATION/JSON;charset=UTF-8",
      'application/json; charset="utf-8"',
      "application/merge-patch+json",
    ]
  ) {
    assert((await send(type)).status < 300, type);
  }
});

Deno.test("a form type without a body, as curl -d '' sends it, is an empty call", async () => {
  const { status } = await new Caller("l4").call("POST", "/lb/add", {
    body: new Uint8Array(0),
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
  });
  assertEquals(status, 201);
});

Deno.test("a body above the limit is refused, however it arrives", async () => {
  const caller = new Caller("l4");
  const pad = (length: number) => `{"port":8081${" ".repeat(length - 13)}}`;
  assertEquals((await caller.send("POST", "/lb/add", pad(MAX_BODY))).status, 201);
  const { status, body } = await caller.send("POST", "/lb/add", pad(MAX_BODY + 1));
  assertEquals([status, body.code], [413, "payload_too_large"]);
  const chunks = ReadableStream.from(Array.from({ length: 70 }, () => new Uint8Array(1024)));
  assertEquals(
    (await caller.call("POST", "/lb/add", { body: chunks, headers: JSON_FIELDS })).status,
    413,
  );
});

Deno.test("a refused body is answered with the field, the value and what is accepted", async () => {
  const l7 = new Caller("l7");
  const addr = { backend_addr: "http://a:1" };
  const cases: [body: unknown, field: string | undefined, parts: string[]][] = [
    [{}, "backend_addr", ["it is missing", "http://localhost:8083"]],
    [{ backend_addr: 5 }, "backend_addr", ["5 ", "an address"]],
    [{ ...addr, path: ["/x"] }, "path", ["no such field", "paths"]],
    [{ addr: "a:1" }, "addr", ["no such field", "backend_addr"]],
    [{ ...addr, weight: "3" }, "weight", ['"3"', "0 to 65535"]],
    [{ ...addr, weight: 70_000 }, "weight", ["70000", "0 to 65535"]],
    [{ ...addr, weight: 0.5 }, "weight", ["0.5", "an integer"]],
    [{ ...addr, weight: null }, "weight", ["null", "an integer"]],
    [{ ...addr, paths: "/x" }, "paths", ['"/x"', '["/api/v2"]']],
    [{ ...addr, paths: ["/x", 1] }, "paths[1]", ["1 ", '"/api/v2"']],
    [{ ...addr, paths: ["x"] }, "paths[0]", ['"x"', 'does not begin with "/"']],
    [{ ...addr, headers: [] }, "headers", ["[] ", "X-Version"]],
    [{ ...addr, headers: { "X-A": 1 } }, "headers.X-A", ["1 ", "a text or a list of texts"]],
    [{ ...addr, headers: { "X-A": [["v"]] } }, "headers.X-A", ["a text or a list of texts"]],
    ["[]", undefined, ["no JSON object", "backend_addr"]],
    ["null", undefined, ["no JSON object"]],
    ["{", undefined, ["no JSON"]],
    ["   ", undefined, ["no JSON"]],
    [`${"[".repeat(30_000)}${"]".repeat(30_000)}`, undefined, ["no JSON", "64 deep"]],
    ["", undefined, ["the body is missing", "backend_addr"]],
    ['{"backend_addr":"http://a:1","paths":["/x"],"paths":[]}', undefined, ['"paths"', "twice"]],
    ['{"backend_addr":"http://a:1","headers":{"__proto__":"v"}}', undefined, ["__proto__"]],
    ['{"backend_addr":"http://a:1","__proto__":{"weight":9}}', undefined, ["__proto__"]],
  ];
  for (const [body, field, parts] of cases) {
    const { status, body: problem } = await l7.send("POST", "/lb/add", body);
    const what = `${JSON.stringify(body)}: ${problem.detail}`;
    assertEquals([status, problem.code], [400, "invalid_argument"], what);
    assertEquals(problem.field, field, what);
    for (const part of parts) assertStringIncludes(problem.detail, part);
  }
  assertEquals(l7.management.listBackends(), []);
  const bytes = Uint8Array.of(0x22, 0xff, 0x22);
  const odd = await l7.call("POST", "/lb/add", { body: bytes, headers: JSON_FIELDS });
  assertEquals([odd.status, odd.body.code], [400, "invalid_argument"]);
  const { body: empty } = await l7.call("PATCH", "/lb/backends/x");
  assertStringIncludes(empty.detail, "weight");
});

Deno.test("conditions at layer 4 are a failed precondition", async () => {
  const caller = new Caller("l4");
  for (
    const body of [{ backend_addr: "http://a:1" }, { addr: "a:1", paths: ["/x"] }, { headers: 1 }]
  ) {
    const { status, body: problem } = await caller.send("POST", "/lb/add", body);
    assertEquals([status, problem.code], [409, "failed_precondition"]);
    assertStringIncludes(problem.detail, "layer 4");
  }
  const { status, body } = await caller.send("POST", "/lb/add", { adr: "a:1" });
  assertEquals([status, body.field], [400, "adr"]);
});

Deno.test("a header called as a method of objects is a header", async () => {
  const caller = new Caller("l7");
  const body = { backend_addr: "http://a:1", headers: { constructor: "a", toString: ["b"] } };
  assertEquals((await caller.send("POST", "/lb/add", body)).status, 201);
  assertEquals(
    caller.management.listRoutes()[0]?.rule,
    "header=constructor:a header=tostring:b -> http://a:1",
  );
});

Deno.test("a fault of our own is answered 500 without its text", async () => {
  const caller = new Caller("l7");
  caller.management.listBackends = () => {
    throw new Error("a secret");
  };
  const { status, body } = await caller.call("GET", "/lb/backends");
  assertEquals([status, body.code], [500, "internal"]);
  assert(!body.detail.includes("secret"));
});

Deno.test("no body makes the handler reject or touch Object.prototype", async () => {
  const caller = new Caller("l7");
  const before = Object.getOwnPropertyNames(Object.prototype).join();
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.json(), fc.string(), fc.json().map((json) => `{"backend_addr":${json}}`)),
      async (body) => {
        const { status } = await caller.send("POST", "/lb/add", body);
        assert(status === 400 || status === 201 || status === 200, `${status}: ${body}`);
      },
    ),
    { seed: SEED, numRuns: 500 },
  );
  assertEquals(Object.getOwnPropertyNames(Object.prototype).join(), before);
});

Deno.test("parseJson() reads what JSON.parse reads, but for names that are there twice", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value, null, 1);
      if (!text.includes('"__proto__":')) assertEquals(parseJson(text), JSON.parse(text));
    }),
    { seed: SEED, numRuns: 500 },
  );
  for (
    const text of [
      '{"a":1,"a":1}',
      '{"a":1,"\\u0061":2}',
      '[{"x":{"a":[],"b":{},"a":0}}]',
      '{"a" : 1, "b": "\\"", "a"\n: 2}',
    ]
  ) {
    assertThrows(() => parseJson(text), SyntaxError, "twice");
  }
  for (const text of ['[{"a":1},{"a":1}]', '{"a":{"a":"a"},"b":"a"}', '{"a":"\\"a\\":","b":1}']) {
    assertEquals(parseJson(text), JSON.parse(text));
  }
  assertThrows(() => parseJson("{'a':1}"), SyntaxError);
  const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
  assertEquals(parseJson(nested(64)), JSON.parse(nested(64)));
  for (const depth of [65, 30_000]) {
    assertThrows(() => parseJson(nested(depth)), SyntaxError, "more than 64 deep");
  }
});

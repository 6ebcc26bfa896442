import { assert, assertEquals, assertMatch } from "@std/assert";
import type { LocalHandler } from "../../lib/http/l7/context.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { settle } from "../support/fake_clock.ts";
import { REFUSED_REQUESTS } from "../support/h1_samples.ts";
import { answerTo } from "../../lib/http/problem.ts";
import type { ErrorCode } from "../../lib/common/errors.ts";
import { A, B, testL7 } from "../support/l7.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const get = (path: string, ...lines: string[]) =>
  [`GET ${path} HTTP/1.1`, "Host: a.example", ...lines].join("\r\n") + "\r\n\r\n";

testL7("requests go where their route says, and a change of routes counts from the next request", {
  routes: [new RouteBuilder().path("/b").target(B).build()],
}, async (lb) => {
  lb.at(B).serve(() => OK);
  const client = lb.connect();
  assertEquals((await client.ask(get("/b/x"))).body, "ok");
  const refused = await client.ask(get("/other"));
  assertEquals([refused.status, JSON.parse(refused.body).code], [404, "no_route"]);
  assertEquals(refused.get("connection"), undefined, "the client may go on");
  assertEquals(lb.at(A).dials, 0, "the default pool is not a way around the routes");
  const [route] = lb.registry.routes;
  lb.registry.removeRoute(route!.id);
  lb.at(A).serve(() => OK.replace("ok", "OK"));
  assertEquals((await client.ask(get("/other"))).body, "OK");
});

testL7(
  "a route cannot be bypassed by spelling a path in another way, and the path goes on as it came",
  {
    routes: [
      new RouteBuilder().path("/admin").host("a.example").httpMethod("GET").param("q", "1")
        .header("X-Key", "secret").target(B).build(),
      new RouteBuilder().service("pkg.Users").target(B).build(),
      new RouteBuilder().path("/moved").redirect({ status: 308, host: "new.example" }).build(),
    ],
    fallback: true,
  },
  async (lb) => {
    const targets: string[] = [];
    lb.at(A).serve(() => OK.replace("ok", "A!"));
    lb.at(B).serve(({ start }) => {
      targets.push(start.split(" ")[1]!);
      return OK;
    });
    const client = lb.connect();
    const spelt = ["/admin?q=1", "/%61dmin?q=1", "//admin?q=1", "/adm%69n//x?q=1"];
    for (const path of spelt) {
      assertEquals((await client.ask(get(path, "X-Key: secret"))).body, "ok", path);
      assertEquals((await client.ask(get(path))).body, "A!", "without the key");
    }
    assertEquals(targets, spelt);
    const moved = await client.ask(get("//moved/%7Euser?x"));
    assertEquals(moved.get("location"), "http://new.example/moved/~user?x");
    const grpc = await client.ask(get("/pkg%2EUsers/Get", "Content-Type: application/grpc"));
    assertEquals(grpc.body, "ok");
    for (const path of ["/x/../admin", "/x/%2e%2e/admin?q=1", "/./admin", "/x/..%2Fadmin"]) {
      const other = lb.connect();
      const response = await other.ask(get(path, "X-Key: secret"));
      assertEquals([response.status, JSON.parse(response.body).code], [400, "bad_target"], path);
      other.close();
    }
  },
);

testL7("what matches no route may go to the default pool, if that was asked for", {
  routes: [new RouteBuilder().path("/b").target(B).build()],
  fallback: true,
}, async (lb) => {
  lb.at(A).serve(() => OK);
  assertEquals((await lb.connect().ask(get("/other"))).body, "ok");
});

testL7("a request without a route and with a body ends the connection", {
  routes: [new RouteBuilder().path("/b").target(B).build()],
}, async (lb) => {
  const client = lb.connect();
  void client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
  const response = await client.response();
  assertEquals([response.status, response.get("connection")], [404, "close"]);
  assert(await client.ended());
});

testL7("a redirect is answered without a backend", {
  routes: [
    new RouteBuilder().path("/old").redirect({ status: 301, host: "new.example", path: "/new" })
      .build(),
    new RouteBuilder().path("/tls").redirect({ status: 308, scheme: "https" }).build(),
  ],
}, async (lb) => {
  const client = lb.connect();
  const moved = await client.ask(get("/old?x=1"));
  assertEquals([moved.status, moved.get("location")], [301, "http://new.example/new?x=1"]);
  assertEquals([moved.body, moved.get("content-length")], ["", "0"]);
  const upgraded = await client.ask(get("/tls/a?b"));
  assertEquals([upgraded.status, upgraded.get("location")], [308, "https://a.example/tls/a?b"]);
  const empty = await client.ask("POST /old HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  assertEquals([empty.status, empty.get("connection")], [301, undefined]);
  const [route] = lb.registry.routes;
  assertEquals(lb.listener.requests(route!.id, "").codes[3], 2);
});

testL7("a path is rewritten, its query stays", {
  routes: [
    new RouteBuilder().path("/api").target(A).rewritePrefix("/v1").build(),
    new RouteBuilder().path("/strip").target(A).stripPrefix().build(),
    new RouteBuilder().path("/fixed").target(A).rewritePath("/one").build(),
  ],
}, async (lb) => {
  const targets: string[] = [];
  lb.at().serve(({ start }) => {
    targets.push(start.split(" ")[1]!);
    return OK;
  });
  const client = lb.connect();
  for (const path of ["/api/x?y=%20", "/strip", "/strip/a/b", "/fixed/z?q"]) {
    await client.ask(get(path));
  }
  assertEquals(targets, ["/v1/x?y=%20", "/", "/a/b", "/one?q"]);
});

testL7("fields are changed as the route says, on both ways", {
  routes: [
    new RouteBuilder().path("/").target(A)
      .setRequestHeader("Host", "inner.example").removeRequestHeader("Cookie")
      .setRequestHeader("X-Set", "s").addRequestHeader("X-Add", "2")
      .removeResponseHeader("Server").setResponseHeader("Cache-Control", "no-store")
      .addResponseHeader("Set-Cookie", "b=2").build(),
  ],
}, async (lb) => {
  const client = lb.connect();
  const asking = client.ask(get("/", "Cookie: c", "X-Set: old", "X-Add: 1"));
  const request = await (await lb.accept()).answer(
    "HTTP/1.1 200 OK\r\nServer: secret\r\nCache-Control: max-age=9\r\nSet-Cookie: a=1\r\n" +
      "Content-Length: 0\r\n\r\n",
  );
  assertEquals([request.get("host"), request.get("cookie")], ["inner.example", undefined]);
  assertEquals([request.get("x-set"), request.all("x-add")], ["s", ["1", "2"]]);
  const response = await asking;
  assertEquals([response.get("server"), response.get("cache-control")], [undefined, "no-store"]);
  assertEquals(response.all("set-cookie"), ["a=1", "b=2"]);
});

testL7(
  "heads that are refused are answered with their code, and the connection ends",
  {},
  async (lb) => {
    for (const [text, code] of REFUSED_REQUESTS) {
      const client = lb.connect();
      void client.send(text);
      const response = await client.response();
      const where = JSON.stringify(text);
      assertEquals(response.status, answerTo(code as ErrorCode).status, where);
      assertEquals(JSON.parse(response.body).code, code, where);
      assertEquals(response.get("connection"), "close", where);
      assert(await client.ended());
      client.close();
    }
    assertEquals(lb.at().dials, 0);
    const total = [...lb.listener.refusals.values()].reduce((sum, count) => sum + count, 0);
    assertEquals(total, REFUSED_REQUESTS.length);
  },
);

testL7("a request behind a refused one is not looked at", {}, async (lb) => {
  lb.at().serve(() => OK);
  const client = lb.connect();
  void client.send(`${get("/")}GET / HTTP/1.1\r\nHost : x\r\n\r\n${get("/smuggled")}`);
  assertEquals((await client.response()).status, 200);
  assertEquals((await client.response()).status, 400);
  assert(await client.ended());
  assertEquals(lb.upstream().attempts, 1);
});

testL7(
  "OPTIONS with no hop left is answered here, otherwise it goes on with one less",
  {},
  async (lb) => {
    const client = lb.connect();
    const options = (target: string, hops: string) =>
      `OPTIONS ${target} HTTP/1.1\r\nHost: a\r\nMax-Forwards: ${hops}\r\n\r\n`;
    for (const target of ["*", "/x"]) {
      const response = await client.ask(options(target, "0"));
      assertEquals(response.status, 200);
      assertMatch(response.get("allow")!, /\bGET\b.*\bPOST\b/);
    }
    assertEquals(lb.at().dials, 0);
    const asking = client.ask(options("*", "3"));
    const request = await (await lb.accept()).answer(OK);
    assertEquals([request.start, request.get("max-forwards")], ["OPTIONS * HTTP/1.1", "2"]);
    await asking;
  },
);

/** A handler that tells what it was asked. */
const echo: LocalHandler = {
  claims: (path) => path === "/lb/add" || path.startsWith("/lb/routes"),
  async handle(request, remote) {
    const { pathname, search } = new URL(request.url);
    return new Response(
      JSON.stringify({
        method: request.method,
        target: pathname + search,
        type: request.headers.get("content-type"),
        body: await request.text(),
        remote: remote.hostname,
      }),
      { status: 201, headers: { "x-local": "yes" } },
    );
  },
};

testL7(
  "a path that management claims never reaches a backend",
  { context: { local: echo } },
  async (lb) => {
    const client = lb.connect();
    const response = await client.ask(
      "POST /lb/add?x=y HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    );
    assertEquals([response.status, response.get("x-local")], [201, "yes"]);
    assertEquals(JSON.parse(response.body), {
      method: "POST",
      target: "/lb/add?x=y",
      type: "text/plain",
      body: "hello",
      remote: "192.0.2.1",
    });
    assertEquals(response.get("connection"), undefined);
    const chunked = await client.ask(
      "POST /lb/add HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    );
    assertEquals(JSON.parse(chunked.body).body, "hello");
    const listed = await client.ask(get("/lb/routes/r-1?all"));
    assertEquals(JSON.parse(listed.body).target, "/lb/routes/r-1?all");
    assertEquals(lb.at().dials, 0);
    lb.at().serve(() => OK);
    assertEquals((await client.ask(get("/lb/other"))).body, "ok", "what is not claimed goes on");
  },
);

testL7(
  "management answers whatever host and method a request names",
  { context: { local: echo } },
  async (lb) => {
    const hosts = [
      "a",
      "a:1",
      "[::1]:80",
      "1.2.3.4.5",
      "999.1.1.1",
      "[dead]",
      "a..b",
      "xn--a",
      "-",
      "0x.1",
    ];
    for (const host of hosts) {
      const client = lb.connect();
      const response = await client.ask(`GET /lb/add HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      assert(response.status === 201 || response.status === 400, `${host}: ${response.status}`);
      client.close();
    }
    for (const method of ["TRACK", "PROPFIND", "get", "X"]) {
      const client = lb.connect();
      const response = await client.ask(`${method} /lb/add HTTP/1.1\r\nHost: a\r\n\r\n`);
      assert([201, 405, 501].includes(response.status), `${method}: ${response.status}`);
      client.close();
    }
    const old = lb.connect();
    assertEquals((await old.ask("GET /lb/add HTTP/1.0\r\n\r\n")).status, 201);
    const head = await lb.connect().ask("HEAD /lb/add HTTP/1.1\r\nHost: a\r\n\r\n");
    assertEquals([head.status, head.body], [201, ""]);
  },
);

testL7("a client that waits for a 100 before its management call gets one", {
  context: { local: echo },
}, async (lb) => {
  const client = lb.connect();
  await client.send(
    "POST /lb/add HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
  );
  assertEquals((await client.response()).status, 100);
  void client.send("hello");
  const response = await client.response();
  assertEquals([response.status, JSON.parse(response.body).body], [201, "hello"]);
});

testL7(
  "a management call that is too large or malformed is refused",
  { context: { local: echo } },
  async (lb) => {
    const cases = [
      ["Content-Length: 70000\r\n\r\n" + "x".repeat(70_000), 413, "body_too_large"],
      ["Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400, "bad_chunk"],
    ] as const;
    for (const [rest, status, code] of cases) {
      const client = lb.connect();
      void client.send(`POST /lb/add HTTP/1.1\r\nHost: a\r\n${rest}`);
      const response = await client.response();
      assertEquals([response.status, JSON.parse(response.body).code], [status, code]);
      assertEquals(response.get("connection"), "close");
      client.close();
    }
    const limit = await lb.connect().ask(
      `POST /lb/add HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n${"x".repeat(65_536)}`,
    );
    assertEquals(limit.status, 201);
  },
);

testL7("management called while the connection drains is answered, and then it ends", {
  context: { local: echo },
}, async (lb) => {
  const client = lb.connect();
  await client.send("POST /lb/add HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
  await settle();
  client.server.drain();
  void client.send("ab");
  const response = await client.response();
  assertEquals([response.status, response.get("connection")], [201, "close"]);
  assert(await client.ended());
});

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { STATUS_TEXT } from "@std/http";
import { HttpL7, RouteBuilder } from "../../mod.ts";
import {
  delay,
  Peer,
  run,
  runL7,
  serveHttp,
  serveName,
  serveScript,
  settled,
  until,
} from "../support/net.ts";

Deno.test("HttpL7 sends the requests of one connection to its backends in turn", async () => {
  await using a = serveName("a");
  await using b = serveName("b");
  await using balancer = await runL7({ backends: [a.addr, `http://${b.addr}`] });
  await using client = await Peer.connect(balancer.addr);
  const names: string[] = [];
  for (let i = 0; i < 6; i++) names.push((await client.get("/")).text);
  assertEquals(names, ["a", "b", "a", "b", "a", "b"]);
});

Deno.test("HttpL7 heeds weights exactly", async () => {
  await using a = serveName("a");
  await using b = serveName("b");
  await using balancer = await runL7({
    backends: [{ addr: a.addr, weight: 3 }, { addr: b.addr, weight: 1 }],
  });
  await using client = await Peer.connect(balancer.addr);
  for (let i = 0; i < 40; i++) assertEquals((await client.get("/")).status, 200);
  assertEquals([a.requests, b.requests], [30, 10]);
});

Deno.test("HttpL7 keeps connections to a backend and uses them again", async () => {
  await using backend = await serveScript(async (peer) => {
    for (;;) {
      await peer.head();
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
  });
  await using balancer = await runL7({ backends: [backend.addr] });
  for (let i = 0; i < 5; i++) {
    await using client = await Peer.connect(balancer.addr);
    for (let k = 0; k < 5; k++) assertEquals((await client.get("/")).text, "ok");
  }
  assertEquals(backend.peers.length, 1);
  const [info] = balancer.lb.backends();
  assertEquals(info!.connections, { idle: 1, active: 0 });
});

Deno.test("HttpL7 sends requests where their route leads, and refuses those that have none", async () => {
  await using api = serveName("api");
  await using web = serveName("web");
  await using balancer = await runL7({
    routes: [
      new RouteBuilder().path("/api").target(api.addr).build(),
      new RouteBuilder().path("/api").header("X-Version", "v2").target(web.addr).build(),
    ],
    backends: [web.addr],
  });
  await using client = await Peer.connect(balancer.addr);
  assertEquals((await client.get("/api/users")).text, "api");
  assertEquals((await client.get("/api", "X-Version: v2\r\n")).text, "web");
  const refused = await client.get("/apix");
  assertEquals(refused.status, 404);
  assertEquals(refused.headers.get("content-type"), "application/problem+json");
  assertEquals(JSON.parse(refused.text), {
    type: "about:blank",
    title: "Not Found",
    status: 404,
    detail: "No route matches the request.",
    code: "no_route",
  });
  assertEquals((await client.get("/api")).text, "api", "the connection goes on after a refusal");
});

Deno.test("HttpL7 with fallback spreads what no route claims", async () => {
  await using api = serveName("api");
  await using web = serveName("web");
  await using balancer = await runL7({
    routes: [new RouteBuilder().path("/api").target(api.addr).build()],
    backends: [web.addr],
    fallback: true,
  });
  await using client = await Peer.connect(balancer.addr);
  assertEquals((await client.get("/api")).text, "api");
  assertEquals((await client.get("/other")).text, "web");
});

Deno.test("HttpL7 takes routes and backends while it serves", async () => {
  await using a = serveName("a");
  await using b = serveName("b");
  await using balancer = await runL7();
  const { lb } = balancer;
  await using client = await Peer.connect(balancer.addr);
  assertEquals((await client.get("/")).status, 503, "no backend at all");
  lb.addBackend(a.addr);
  assertEquals((await client.get("/")).text, "a");
  const id = lb.addRoute(new RouteBuilder().path("/b").target(b.addr).build());
  assertEquals((await client.get("/b")).text, "b");
  assertEquals((await client.get("/")).status, 404, "once there are routes, all else is refused");
  lb.removeRoute(id);
  assertEquals((await client.get("/b")).text, "a");
  lb.removeBackend(a.addr);
  assertEquals((await client.get("/")).status, 503);
});

Deno.test("HttpL7 redirects and rewrites as a route says", async () => {
  await using backend = serveHttp((request) => new Response(new URL(request.url).pathname));
  await using balancer = await runL7({
    routes: [
      new RouteBuilder().path("/old").redirect({ status: 301, path: "/new" }).build(),
      new RouteBuilder().path("/v1").rewritePrefix("/v2").target(backend.addr).build(),
    ],
  });
  await using client = await Peer.connect(balancer.addr);
  const moved = await client.get("/old/page?x=1");
  assertEquals([moved.status, moved.headers.get("location")], [301, "http://lb.test/new?x=1"]);
  assertEquals((await client.get("/v1/users")).text, "/v2/users");
});

Deno.test("HttpL7 passes a request on as it is and says whom it is for", async () => {
  await using backend = await serveScript(async (peer) => {
    const head = await peer.head();
    const body = new TextDecoder().decode(await peer.read(5));
    const answer = JSON.stringify({ head, body });
    await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${answer.length}\r\n\r\n${answer}`);
  });
  await using balancer = await runL7({ backends: [backend.addr], via: "lb" });
  await using client = await Peer.connect(balancer.addr);
  const { text } = await client.ask(
    "PATCH /a%2Fb/../c?q=1&q=%20 HTTP/1.1\r\nHost: Shop.test:8080\r\nContent-Length: 005\r\n" +
      "X-Raw: \xe9\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nhello",
  );
  const { head, body } = JSON.parse(text);
  assertEquals(body, "hello");
  const lines = head.split("\r\n");
  assertEquals(lines[0], "PATCH /a%2Fb/../c?q=1&q=%20 HTTP/1.1");
  assert(lines.includes("Host: Shop.test:8080"), head);
  assert(lines.includes("Content-Length: 5"), head);
  assert(lines.includes("X-Raw: \xe9"), head);
  assert(lines.includes("X-Forwarded-For: 127.0.0.1"), head);
  assert(lines.includes("X-Forwarded-Proto: http"), head);
  assert(lines.includes("X-Forwarded-Host: Shop.test:8080"), head);
  assert(lines.includes("Via: 1.1 lb"), head);
  assertMatch(head, /^X-Request-Id: \S{16,}$/im);
  assert(!/x-hop|6\.6\.6\.6/i.test(head), head);
});

Deno.test("HttpL7 believes the forwarding fields of trusted proxies only", async () => {
  await using backend = serveHttp((request) =>
    new Response(request.headers.get("x-forwarded-for") ?? "")
  );
  await using balancer = await runL7({
    backends: [backend.addr],
    trustedProxies: ["127.0.0.0/8"],
  });
  await using client = await Peer.connect(balancer.addr);
  const answer = await client.get("/", "X-Forwarded-For: 203.0.113.9\r\n");
  assertEquals(answer.text, "203.0.113.9, 127.0.0.1");
});

for (const framing of ["Content-Length", "chunks"]) {
  Deno.test(`HttpL7 moves bodies framed by ${framing} both ways`, async () => {
    await using backend = serveHttp((request) => new Response(request.body));
    await using balancer = await runL7({ backends: [backend.addr] });
    await using client = await Peer.connect(balancer.addr);
    const body = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 5);
    for (let round = 0; round < 2; round++) {
      await client.write(
        "POST / HTTP/1.1\r\nHost: a\r\n" +
          (framing === "chunks"
            ? "Transfer-Encoding: chunked\r\n\r\n"
            : `Content-Length: ${body.length}\r\n\r\n`),
      );
      const sending = (async () => {
        if (framing !== "chunks") return await client.write(body);
        for (let at = 0, size = 1; at < body.length; at += size, size = size * 2 + 1) {
          const part = body.subarray(at, at + size);
          await client.write(`${part.length.toString(16)}\r\n`);
          await client.write(part);
          await client.write("\r\n");
        }
        await client.write("0\r\n\r\n");
      })();
      const answer = await client.answer();
      await sending;
      assertEquals(answer.status, 200);
      assertEquals(answer.body.length, body.length);
      assert(answer.body.every((byte, i) => byte === body[i]), "the body has changed");
      if (answer.headers.get("connection") === "close") break;
    }
  });
}

Deno.test("HttpL7 passes trailers on in both directions", async () => {
  await using backend = await serveScript(async (peer) => {
    await peer.head();
    const body = await peer.readThrough("0\r\nX-Sum: 1\r\n\r\n");
    assertStringIncludes(body, "abc");
    await peer.write(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Took: 3\r\n\r\n",
    );
  });
  await using balancer = await runL7({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  const answer = await client.ask(
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" +
      "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
  );
  assertEquals([answer.text, answer.trailers], ["ok", ["X-Took: 3"]]);
});

Deno.test("HttpL7 answers HEAD, 204, 304 and 205 without a body, and goes on", async () => {
  await using backend = await serveScript(async (peer) => {
    for (;;) {
      const head = await peer.head();
      const status = Number(/^\S+ \/(\d+)/.exec(head)![1]);
      const length = status === 204 ? "" : `Content-Length: ${status === 205 ? 0 : 7}\r\n`;
      await peer.write(`HTTP/1.1 ${status} ${STATUS_TEXT[status]}\r\n${length}\r\n`);
    }
  });
  await using balancer = await runL7({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  const head = await client.ask("HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n", true);
  assertEquals([head.status, head.headers.get("content-length")], [200, "7"]);
  const none = await client.get("/204");
  assertEquals([none.status, none.headers.get("content-length")], [204, null]);
  const same = await client.get("/304");
  assertEquals([same.status, same.headers.get("content-length")], [304, "7"]);
  assertEquals((await client.get("/205")).status, 205);
  assertEquals(backend.peers.length, 1);
});

Deno.test("HttpL7 answers pipelined requests in order", async () => {
  await using backend = serveHttp(async (request) => {
    const { pathname } = new URL(request.url);
    // The first takes longest.
    await delay(60 - 20 * Number(pathname.slice(1)));
    return new Response(pathname);
  });
  await using balancer = await runL7({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  const request = (n: number) => `GET /${n} HTTP/1.1\r\nHost: a\r\n\r\n`;
  await client.write(request(0) + request(1) + request(2) + "GET /3 HTTP/1.1\r\nHo");
  for (let n = 0; n < 3; n++) assertEquals((await client.answer()).text, `/${n}`);
  await client.write("st: a\r\n\r\n");
  assertEquals((await client.answer()).text, "/3");
});

Deno.test("HttpL7 passes 103 and 100 on before the final answer", async () => {
  await using backend = await serveScript(async (peer) => {
    await peer.head();
    await peer.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    await delay(20);
    await peer.write("HTTP/1.1 100 Continue\r\n\r\n");
    assertEquals(new TextDecoder().decode(await peer.read(4)), "body");
    await peer.write("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
  });
  await using balancer = await runL7({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  const hints = await client.ask(
    "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
  );
  assertEquals([hints.status, hints.headers.get("link")], [103, "</a.css>"]);
  assertEquals((await client.answer()).status, 100);
  assertEquals((await client.ask("body")).status, 201);
});

Deno.test("HttpL7 sends no body to a backend that refuses the expectation", async () => {
  await using backend = await serveScript(async (peer) => {
    await peer.head();
    await peer.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    const { bytes } = await peer.rest();
    assertEquals(bytes.length, 0, "a part of the body was sent all the same");
  });
  await using balancer = await runL7({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  const answer = await client.ask(
    "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
  );
  assertEquals([answer.status, answer.headers.get("connection")], [413, "close"]);
});

Deno.test("HttpL7 answers an HTTP/1.0 client with what 1.0 knows", async () => {
  await using backend = serveHttp(() =>
    new Response(
      new ReadableStream({
        async start(controller) {
          controller.enqueue(new TextEncoder().encode("one "));
          await delay(20);
          controller.enqueue(new TextEncoder().encode("two"));
          controller.close();
        },
      }),
    )
  );
  await using balancer = await runL7({ backends: [backend.addr] });
  await using client = await Peer.connect(balancer.addr);
  const answer = await client.ask("GET / HTTP/1.0\r\n\r\n");
  assertEquals(answer.headers.get("transfer-encoding"), null);
  assertEquals([answer.text, client.ended], ["one two", "eof"]);
});

Deno.test("HttpL7 reaches backends on Unix sockets", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using backend = await serveScript(async (peer) => {
      for (;;) {
        await peer.head();
        await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix");
      }
    }, { path: `${folder}/backend.sock` });
    await using balancer = await runL7({ backends: [backend.addr] });
    await using client = await Peer.connect(balancer.addr);
    assertEquals((await client.get("/")).text, "unix");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("drainBackend resolves when the backend has finished what it had", async () => {
  const { promise: asked, resolve: onAsked } = Promise.withResolvers<void>();
  const { promise: answer, resolve: letAnswer } = Promise.withResolvers<void>();
  await using slow = serveHttp(async () => {
    onAsked();
    await answer;
    return new Response("slow");
  });
  await using other = serveName("other");
  await using balancer = await runL7({ backends: [slow.addr] });
  const { lb } = balancer;
  await using client = await Peer.connect(balancer.addr);
  const first = client.get("/");
  await asked;
  lb.addBackend(other.addr);
  let drained = false;
  const draining = lb.drainBackend(slow.addr).then(() => drained = true);
  await using second = await Peer.connect(balancer.addr);
  for (let i = 0; i < 4; i++) assertEquals((await second.get("/")).text, "other");
  assertEquals(drained, false);
  letAnswer();
  assertEquals((await first).text, "slow");
  await draining;
  assertEquals(lb.backends().map(({ state }) => state), ["draining", "active"]);
});

Deno.test("POST /lb/add on the listener adds a backend that is used at once", async () => {
  await using old = serveName("old");
  await using added = serveName("added");
  await using balancer = await runL7({ backends: [old.addr] });
  await using client = await Peer.connect(balancer.addr);
  const body = JSON.stringify({ backend_addr: `http://${added.addr}`, paths: ["/new"] });
  const answer = await client.ask(
    `POST /lb/add HTTP/1.1\r\nHost: ${new URL(balancer.origin).host}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  assertEquals(answer.status, 201, answer.text);
  assertEquals((await client.get("/new/x")).text, "added");
});

Deno.test("management that is not answered on listeners belongs to the backends there", async () => {
  await using backend = serveName("backend");
  await using balancer = await run(
    new HttpL7({ backends: [backend.addr], management: { onListeners: false } }),
  );
  await using client = await Peer.connect(balancer.addr);
  assertEquals((await client.get("/lb/backends")).text, "backend");
});

Deno.test("HttpL7 counts requests, bytes and connections", async () => {
  await using backend = serveName("counted");
  await using balancer = await runL7({ backends: [backend.addr], name: "front" });
  {
    await using client = await Peer.connect(balancer.addr);
    for (let i = 0; i < 3; i++) await client.get("/");
  }
  const metrics = balancer.lb.metrics.listener("front");
  await until(() => metrics.connectionsActive === 0, "the connection is counted as active");
  const [series, ...others] = [...metrics.requestSeries()];
  assertEquals(others, []);
  assertEquals([series!.count, series!.codes[2]], [3, 3]);
  const upstreams = [...metrics.upstreamSeries()].map(([, { connects, reuses, active }]) => [
    connects,
    reuses,
    active,
  ]);
  assertEquals(upstreams, [[1, 2, 0]]);
  assertEquals(metrics.connectionsAccepted, 1);
  assertEquals(metrics.bytesReceived, 3 * "GET / HTTP/1.1\r\nHost: lb.test\r\n\r\n".length);
  assert(metrics.bytesSent >= 3 * "HTTP/1.1 200 OK\r\n\r\ncounted".length);
});

Deno.test("HttpL7 serves a hundred clients at once", async () => {
  await using a = serveName("x");
  await using b = serveName("x");
  await using balancer = await runL7({ backends: [a.addr, b.addr] });
  const ask = async () => {
    await using client = await Peer.connect(balancer.addr);
    for (let i = 0; i < 10; i++) assertEquals((await client.get("/")).text, "x");
  };
  await Promise.all(Array.from({ length: 100 }, ask));
  assertEquals([a.requests, b.requests], [500, 500]);
  await settled(balancer.lb);
});

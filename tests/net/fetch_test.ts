import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { HttpL7, RouteBuilder } from "../../mod.ts";
import {
  delay,
  latin1,
  Peer,
  serveHttp,
  serveName,
  serveScript,
  settled,
  until,
  utf8,
} from "../support/net.ts";

/** A balancer inside a server of `Deno.serve`. */
function serveFetch(lb: HttpL7) {
  const stop = new AbortController();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, signal: stop.signal, onListen() {} },
    lb.fetch,
  );
  return {
    addr: server.addr,
    origin: `http://127.0.0.1:${server.addr.port}`,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await server.finished;
      await lb.close();
    },
  };
}

Deno.test("lb.fetch routes, balances and says whom a request is for", async () => {
  const show = (name: string) =>
    serveHttp(async (request) =>
      Response.json({
        name,
        method: request.method,
        url: request.url,
        body: await request.text(),
        forwarded: request.headers.get("x-forwarded-for"),
        id: request.headers.get("x-request-id") !== null,
      }, { status: 207, headers: { "X-From": name } })
    );
  await using a = show("a");
  await using b = show("b");
  await using api = show("api");
  const lb = new HttpL7({ backends: [a.addr, b.addr], fallback: true });
  lb.addRoute(new RouteBuilder().path("/api").target(api.addr).build());
  await using server = serveFetch(lb);
  const ask = async (path: string, init?: RequestInit) => {
    const response = await fetch(server.origin + path, init);
    assertEquals(response.status, 207);
    return await response.json();
  };
  assertEquals([(await ask("/")).name, (await ask("/")).name], ["a", "b"]);
  assertEquals(await ask("/api/x?q=1", { method: "PUT", body: "hello" }), {
    name: "api",
    method: "PUT",
    url: `${server.origin}/api/x?q=1`,
    body: "hello",
    forwarded: "127.0.0.1",
    id: true,
  });
});

Deno.test("lb.fetch works without a server and answers what it cannot pass on", async () => {
  const lb = new HttpL7();
  const refused = await lb.fetch(new Request("http://lb.test/"));
  assertEquals([refused.status, refused.headers.get("retry-after")], [503, "1"]);
  assertEquals((await refused.json()).code, "no_backend");
  await lb.close();
});

Deno.test("lb.fetch is in the metrics from its first request on", async () => {
  await using backend = serveName("served");
  const lb = new HttpL7({ backends: [backend.addr] });
  const names = () => Array.from(lb.metrics.listeners(), ({ name }) => name);
  assertEquals(names(), []);
  for (let i = 0; i < 2; i++) {
    assertEquals(await (await lb.fetch(new Request("http://lb.test/"))).text(), "served");
  }
  assertEquals(names(), ["http-l7-fetch"]);
  await lb.close();
});

Deno.test("lb.fetch answers HEAD, 204 and 304 without a body", async () => {
  await using backend = await serveScript(async (peer) => {
    for (;;) {
      const head = await peer.head();
      const status = /^\S+ \/(\d+)/.exec(head)![1];
      await peer.write(
        `HTTP/1.1 ${status} Fine\r\n${status === "204" ? "" : "Content-Length: 7\r\n"}\r\n`,
      );
    }
  });
  const lb = new HttpL7({ backends: [backend.addr] });
  await using server = serveFetch(lb);
  await using client = await Peer.connect(server.addr);
  const head = await client.ask("HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n", true);
  assertEquals([head.status, head.headers.get("content-length")], [200, "7"]);
  assertEquals((await client.get("/204")).status, 204);
  assertEquals((await client.get("/304")).status, 304);
});

Deno.test("lb.fetch streams a response as it comes", async () => {
  let release: (() => void) | undefined;
  await using backend = serveHttp(() =>
    new Response(
      new ReadableStream<Uint8Array>({
        async start(controller) {
          for (const part of ["one", "two", "three"]) {
            controller.enqueue(utf8(part));
            await new Promise<void>((resolve) => release = resolve);
          }
          controller.close();
        },
      }),
    )
  );
  await using server = serveFetch(new HttpL7({ backends: [backend.addr] }));
  const response = await fetch(server.origin);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (const part of ["one", "two", "three"]) {
    assertEquals((await reader.read()).value, part);
    release!();
  }
  assertEquals((await reader.read()).done, true);
});

Deno.test("lb.fetch streams a request as it comes, in chunks and with a length", async () => {
  const heard: string[] = [];
  await using backend = serveHttp(async (request) => {
    for await (const part of request.body!.pipeThrough(new TextDecoderStream())) heard.push(part);
    return new Response(request.headers.get("content-length"));
  });
  await using server = serveFetch(new HttpL7({ backends: [backend.addr] }));
  for (const framing of ["Transfer-Encoding: chunked", "Content-Length: 9"]) {
    heard.length = 0;
    await using client = await Peer.connect(server.addr);
    await client.write(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`);
    for (const part of ["one", "two", "six"]) {
      await client.write(framing.startsWith("T") ? `3\r\n${part}\r\n` : part);
      await until(() => heard.join("").endsWith(part), `${part} does not arrive (${framing})`);
    }
    if (framing.startsWith("T")) await client.write("0\r\n\r\n");
    const answer = await client.answer();
    assertEquals([answer.status, answer.text], [200, framing.startsWith("T") ? "" : "9"]);
    assertEquals(heard.join(""), "onetwosix");
  }
});

Deno.test("lb.fetch moves large bodies whole, both ways at once", async () => {
  await using backend = serveHttp((request) => new Response(request.body));
  await using server = serveFetch(new HttpL7({ backends: [backend.addr] }));
  const body = Uint8Array.from({ length: 3_000_001 }, (_, i) => (i * 97) >> 4);
  const response = await fetch(server.origin, { method: "POST", body });
  const echoed = await response.bytes();
  assertEquals(echoed.length, body.length);
  assert(echoed.every((byte, i) => byte === body[i]), "the body has changed");
});

Deno.test("a client that goes away cancels the backend behind lb.fetch", async () => {
  const { promise: cancelled, resolve: onCancel } = Promise.withResolvers<void>();
  await using backend = await serveScript(async (peer) => {
    await peer.head();
    await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin");
    await peer.rest();
    onCancel();
  });
  const lb = new HttpL7({ backends: [backend.addr] });
  await using server = serveFetch(lb);
  const abort = new AbortController();
  const response = await fetch(server.origin, { signal: abort.signal });
  const reader = response.body!.getReader();
  await reader.read();
  abort.abort();
  await assertRejects(() => reader.read(), DOMException);
  await cancelled;
  await settled(lb);
  assertEquals(lb.backends()[0]!.connections.idle, 0);
});

Deno.test("a request that is aborted before its answer cancels the backend", async () => {
  const { promise: asked, resolve: onAsked } = Promise.withResolvers<void>();
  await using backend = await serveScript(async (peer) => {
    await peer.head();
    onAsked();
    await peer.rest();
  });
  const lb = new HttpL7({ backends: [backend.addr] });
  const abort = new AbortController();
  const answer = lb.fetch(new Request("http://lb.test/", { signal: abort.signal }));
  await asked;
  abort.abort();
  await assertRejects(() => answer, DOMException, "aborted");
  await settled(lb);
  await backend.peers[0]!.closed;
  await lb.close();
});

Deno.test("a response whose reader loses interest cancels the backend", async () => {
  await using backend = await serveScript(async (peer) => {
    await peer.head();
    await peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    await peer.rest();
  });
  const lb = new HttpL7({ backends: [backend.addr] });
  const response = await lb.fetch(new Request("http://lb.test/"));
  await response.body!.cancel();
  await backend.peers[0]!.closed;
  await settled(lb);
  await lb.close();
});

Deno.test("a backend that breaks off inside a response breaks the stream of lb.fetch", async () => {
  for (
    const framing of [
      "Content-Length: 9\r\n\r\nabc",
      "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ]
  ) {
    await using backend = await serveScript(async (peer) => {
      await peer.head();
      await peer.write(`HTTP/1.1 200 OK\r\n${framing}`);
    });
    const lb = new HttpL7({ backends: [backend.addr] });
    const response = await lb.fetch(new Request("http://lb.test/"));
    assertEquals(response.status, 200);
    await assertRejects(() => response.text(), TypeError, "ended inside the response");
    await settled(lb);
    await lb.close();
  }
});

Deno.test("lb.fetch relays an answer that comes while the request is still being sent", async () => {
  await using backend = await serveScript(async (peer) => {
    await peer.head();
    await peer.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
  });
  const lb = new HttpL7({ backends: [backend.addr] });
  const { promise: cancelled, resolve: onCancel } = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      await delay(1);
      controller.enqueue(new Uint8Array(16_384));
    },
    cancel: () => onCancel(),
  });
  const response = await lb.fetch(new Request("http://lb.test/", { method: "POST", body }));
  assertEquals([response.status, await response.text()], [413, "large"]);
  await cancelled;
  await settled(lb);
  await lb.close();
});

Deno.test("lb.fetch refuses upgrades with 501", async () => {
  await using backend = serveName("never");
  await using server = serveFetch(new HttpL7({ backends: [backend.addr] }));
  await using client = await Peer.connect(server.addr);
  const answer = await client.get(
    "/",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
  );
  assertEquals(answer.status, 501);
  assertStringIncludes(answer.text, '"upgrade_unsupported"');
  assertEquals(backend.requests, 0);
});

Deno.test("lb.fetch passes odd bytes of a URL on, or refuses them, but never fails", async () => {
  await using backend = await serveScript(async (peer) => {
    for (;;) {
      const target = (await peer.head()).split(" ")[1]!;
      await peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${target.length}\r\n\r\n`);
      await peer.write(latin1(target));
    }
  });
  await using server = serveFetch(new HttpL7({ backends: [backend.addr] }));
  const same = [
    "/%00",
    "/%zz",
    "/a%2Fb",
    "/a;b=c@d:e",
    "/~(a)!$&'*+,",
    "/?a=b&c=%20",
    "//a",
    "/a//b/",
  ];
  const odd = [
    "/|",
    "/a[b]{c}",
    '/"',
    "/`^",
    "/\xe4",
    "/?\xff'\"<>",
    "/a\\b",
    "/a/../b",
    "/%2e%2e/x",
    "*",
  ];
  for (const target of [...same, ...odd]) {
    await using client = await Peer.connect(server.addr);
    const answer = await client.ask(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
    if (same.includes(target)) assertEquals([answer.status, answer.text], [200, target]);
    else assert(answer.status === 200 || answer.status === 400, `${target}: ${answer.status}`);
  }
});

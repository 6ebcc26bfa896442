import { assert, assertEquals, assertMatch } from "@std/assert";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { encodeBlock } from "../support/h2_peer.ts";
import { codeOf, GET, head, settleAll, testH2OverL7 } from "../support/h2_over_l7.ts";
import { A, B } from "../support/l7.ts";

const NO_CONTENT = "HTTP/1.1 204 No Content\r\n\r\n";

testH2OverL7("a request reaches an HTTP/1.1 backend as one of its own", {
  context: { via: "lb" },
}, async (lb, front) => {
  const asked = front.ask(
    head([":path", "/a/b?c=d"], [":authority", "test:81"], ["accept", "*/*"], ["x-a", "1"], [
      "x-a",
      "2",
    ]),
  );
  const request = await (await lb.accept()).answer(
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-B: 3\r\n\r\nhello",
  );
  assertEquals(request.start, "GET /a/b?c=d HTTP/1.1");
  assertMatch(request.get("x-request-id")!, /^[0-9a-f]{32}$/);
  assertEquals(
    request.fields.filter(([name]) => name !== "X-Request-Id"),
    [
      ["Host", "test:81"],
      ["accept", "*/*"],
      ["x-a", "1"],
      ["x-a", "2"],
      ["X-Forwarded-For", "192.0.2.1"],
      ["X-Forwarded-Proto", "http"],
      ["X-Forwarded-Host", "test:81"],
      ["Via", "2.0 lb"],
    ],
  );
  await front.end(asked);
  const [answer] = asked.heads;
  assertEquals(answer!.filter(([name]) => name !== "date"), [
    [":status", "200"],
    ["x-b", "3"],
    ["content-length", "5"],
  ]);
  assertEquals([asked.text, asked.reset, asked.trailers], ["hello", undefined, undefined]);
});

testH2OverL7("host stands in for :authority, and both may be there when they agree", {}, async (
  lb,
  front,
) => {
  lb.at().serve((request) =>
    `HTTP/1.1 200 OK\r\nX-Host: ${request.get("host")}\r\nContent-Length: 0\r\n\r\n`
  );
  const bare = GET.filter(([name]) => name !== ":authority");
  assertEquals((await front.get([...bare, ["host", "b:8"]])).value("x-host"), "b:8");
  const both = await front.get(head([":authority", "test:80"], ["host", "TEST"]));
  assertEquals(both.value("x-host"), "test:80");
});

testH2OverL7("OPTIONS * stays what it is", {}, async (lb, front) => {
  const asked = front.ask(head([":method", "OPTIONS"], [":path", "*"]));
  const request = await (await lb.accept()).answer(NO_CONTENT);
  assertEquals(request.start, "OPTIONS * HTTP/1.1");
  await front.end(asked);
});

testH2OverL7(
  "a body of a known length keeps it, one without goes in chunks, with its trailers",
  {},
  async (
    lb,
    front,
  ) => {
    const post = head([":method", "POST"], ["content-length", "5"]);
    const known = front.ask(post, { content: "hello", open: true });
    const backend = await lb.accept();
    let request = await backend.answer(NO_CONTENT);
    assertEquals([request.get("content-length"), request.body], ["5", "hello"]);
    known.stream.sendHeaders(encodeBlock([["x-t", "dropped"]]), true);
    await front.end(known);
    const chunked = front.ask(head([":method", "POST"]), { content: "hel", open: true });
    front.client.send(chunked, "lo");
    chunked.stream.sendHeaders(encodeBlock([["x-t", "1"], ["authorization", "no"]]), true);
    request = await backend.answer(NO_CONTENT);
    assertEquals([request.get("transfer-encoding"), request.body], ["chunked", "hello"]);
    assertEquals(request.trailers, ["x-t: 1"]);
    await front.end(chunked);
    const empty = front.ask(head([":method", "POST"]), { content: "" });
    request = await backend.answer(NO_CONTENT);
    assertEquals([request.get("transfer-encoding"), request.body], ["chunked", ""]);
    await front.end(empty);
    assertEquals(lb.at().dials, 1, "the connection to the backend is used again and again");
  },
);

testH2OverL7(
  "answers end where they end: by length, chunks, trailers, close, or at once",
  {},
  async (
    lb,
    front,
  ) => {
    const rows = [
      ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc", undefined],
      ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", undefined],
      [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n",
        "abc",
      ],
      ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""],
      [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\nSet-Cookie: a\r\n" +
        "Content-Length: 9\r\nConnection: x\r\n\r\n",
        "abc",
        [["x-t", "1"]],
      ],
      ["HTTP/1.1 204 No Content\r\n\r\n", ""],
      ["HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ""],
      ["HTTP/1.0 200 OK\r\n\r\nabc", "abc"],
    ] as const;
    for (const [response, text, trailers] of rows) {
      const asked = front.ask();
      const backend = await lb.accept();
      await backend.request();
      await backend.send(response);
      if (response.startsWith("HTTP/1.0")) backend.close();
      await front.end(asked);
      assertEquals([asked.text, asked.reset], [text, undefined], response);
      assertEquals(asked.trailers, trailers as [string, string][] | undefined, response);
      for (const live of lb.registry.backends) live.http.closeIdle();
    }
  },
);

testH2OverL7("the answer to HEAD keeps its length and has no content", {}, async (lb, front) => {
  lb.at().serve(() => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
  const asked = await front.get(head([":method", "HEAD"]));
  assertEquals([asked.value("content-length"), asked.received], ["1000", 0]);
  assertEquals(asked.reset, undefined);
});

testH2OverL7("fields of the connection, and those that it names, end at the balancer", {}, async (
  lb,
  front,
) => {
  lb.at().serve(() =>
    "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n" +
    "Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nTE: x\r\nTransfer-Encoding: chunked\r\n" +
    "Set-Cookie: A=1\r\nSet-Cookie: B=2\r\n\r\n0\r\n\r\n"
  );
  const asked = await front.get();
  assertEquals(asked.heads[0]!.filter(([name]) => name !== "date"), [
    [":status", "200"],
    ["set-cookie", "A=1"],
    ["set-cookie", "B=2"],
  ]);
});

testH2OverL7("interim responses are passed on, 100 Continue lets the content follow", {}, async (
  lb,
  front,
) => {
  const asked = front.ask(
    head([":method", "POST"], ["expect", "100-continue"], ["content-length", "2"]),
    { open: true },
  );
  const backend = await lb.accept();
  const request = (await backend.head())!;
  assertEquals(request.get("expect"), "100-continue");
  await backend.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
  await settleAll();
  assertEquals(asked.heads, [[[":status", "103"], ["link", "</a>"]], [[":status", "100"]]]);
  front.client.send(asked, "hi", true);
  assertEquals(await backend.read(2), "hi");
  await backend.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  await front.end(asked);
  assertEquals([asked.text, asked.heads.length], ["ok", 3]);
});

testH2OverL7(
  "a switch of protocols, which nobody can ask for here, is 502",
  {},
  async (lb, front) => {
    lb.at().serve(() => "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    const asked = await front.get();
    assertEquals([asked.value(":status"), codeOf(asked)], ["502", "upstream_protocol"]);
  },
);

testH2OverL7("an answer is the same however its bytes arrive", {}, async (lb, front) => {
  const response =
    "HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
    "5\r\nhello\r\n6;x\r\n world\r\n0\r\nX-T: 1\r\n\r\n";
  for (let at = 0; at <= response.length; at += 3) {
    const asked = front.ask();
    const backend = lb.at().connections[0] ?? await lb.accept();
    await backend.request();
    await backend.send(response.slice(0, at));
    await settleAll(2);
    await backend.send(response.slice(at));
    await front.end(asked);
    assertEquals(asked.heads.map(([status]) => status![1]), ["103", "200"], `split at ${at}`);
    assertEquals([asked.text, asked.trailers], ["hello world", [["x-t", "1"]]], `split at ${at}`);
  }
});

testH2OverL7("routes, redirects, changes of fields and refusals are those of HTTP/1.1", {
  routes: [
    new RouteBuilder().path("/b").stripPrefix().setRequestHeader("X-In", "1")
      .setResponseHeader("X-Out", "2").target(B).build(),
    new RouteBuilder().path("/old").redirect({ status: 308, path: "/new" }).build(),
  ],
}, async (lb, front) => {
  lb.at(B).serve((request) =>
    `HTTP/1.1 200 OK\r\nX-Start: ${request.start}\r\nX-Seen: ${request.get("x-in")}\r\n` +
    "Content-Length: 0\r\n\r\n"
  );
  const routed = await front.get(head([":path", "/b/c"]));
  assertEquals(
    ["x-start", "x-seen", "x-out"].map((name) => routed.value(name)),
    ["GET /c HTTP/1.1", "1", "2"],
  );
  const moved = await front.get(head([":path", "/old"]));
  assertEquals([moved.value(":status"), moved.value("location")], ["308", "http://test/new"]);
  const none = await front.get(head([":path", "/x"]));
  assertEquals([none.value(":status"), codeOf(none)], ["404", "no_route"]);
  const headed = await front.get(head([":path", "/x"], [":method", "HEAD"]));
  assertEquals([headed.value(":status"), headed.received], ["404", 0]);
});

testH2OverL7("management is answered, and told who calls", {
  context: {
    local: {
      claims: (path) => path.startsWith("/lb/"),
      handle: async (request, remote) =>
        new Response(`${request.method} ${await request.text()} ${remote.hostname}`),
    },
  },
}, async (_lb, front) => {
  const asked = await front.get(head([":method", "POST"], [":path", "/lb/add"]), {
    content: "body",
  });
  assertEquals([asked.value(":status"), asked.text], ["200", "POST body 192.0.2.1"]);
});

testH2OverL7("heads that are too large are told so, and the connection goes on", {}, async (
  lb,
  front,
) => {
  const fields = front.ask(head(["x", "y".repeat(20_000)]));
  const path = front.ask(head([":path", `/${"p".repeat(9000)}`]));
  for (
    const [asked, status, code] of [[fields, "431", "head_too_large"], [
      path,
      "414",
      "line_too_long",
    ]] as const
  ) {
    await front.end(asked);
    assertEquals([asked.value(":status"), codeOf(asked)], [status, code]);
  }
  assertEquals(lb.at().dials, 0);
});

testH2OverL7("requests above 250 at a time are refused so that they can be sent again", {
  connections: { maxConnections: 300 },
}, async (lb, front) => {
  const asked = Array.from({ length: 260 }, () => front.ask());
  await settleAll();
  const refused = asked.filter(({ reset }) => reset !== undefined);
  assertEquals(refused.length, 10);
  assert(refused.every(({ reset }) => reset!.unprocessed));
  assertEquals(lb.listener.refusals.get("too_many_streams"), 10);
  lb.at().serve(() => NO_CONTENT);
  for (const one of asked) await front.end(one);
  assertEquals((await front.get()).value(":status"), "204", "once some have ended there is room");
});

testH2OverL7("the log and the metrics tell of HTTP/2, and count bytes once", { log: true }, async (
  lb,
  front,
) => {
  lb.at().serve(() => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  await front.get(head(["user-agent", "test/1"], ["referer", "r"], ["x-request-id", "id-1"]));
  await front.get(head([":path", "foo"]));
  const [served, refused] = await lb.records();
  assertEquals(
    {
      ...served,
      time: undefined,
      duration_ms: undefined,
      bytes_in: undefined,
      bytes_out: undefined,
    },
    {
      ...served,
      method: "GET",
      target: "/a",
      protocol: "HTTP/2.0",
      status: 200,
      client: "192.0.2.1",
      host: "test",
      route: "-",
      backend: A,
      attempts: 1,
      request_id: "id-1",
      user_agent: "test/1",
      referer: "r",
      time: undefined,
      duration_ms: undefined,
      bytes_in: undefined,
      bytes_out: undefined,
    },
  );
  assertEquals([refused!.protocol, refused!.status, refused!.error], [
    "HTTP/2.0",
    400,
    "bad_target",
  ]);
  assertEquals(lb.requests().count, 1);
  const { bytesReceived, bytesSent } = lb.listener;
  assertEquals(
    [bytesReceived, bytesSent],
    [0, 0],
    "the connection that carries the streams counts",
  );
  await front.close();
  assert(lb.listener.bytesReceived > 0 && lb.listener.bytesReceived < 400);
  assert(lb.listener.bytesSent > 0 && lb.listener.bytesSent < 900, `${lb.listener.bytesSent}`);
});

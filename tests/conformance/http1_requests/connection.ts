/**
 * What belongs to one connection: hop-by-hop fields, Upgrade, Expect, pipelining, keep-alive; and
 * what the proxy says of the client.
 *
 * @module
 */
import {
  CHUNK,
  CHUNKED,
  EVIL,
  EXPECT,
  forward,
  FRAMING,
  get,
  head,
  post,
  reject,
  type RequestCase,
  sees,
  SEES_EVIL,
  seesGet,
  seesPost,
} from "./case.ts";

const WEBSOCKET = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
];
const SEES_KEY = WEBSOCKET.slice(2);

const HOP_BY_HOP: readonly RequestCase[] = [
  forward(
    "X01",
    "9110 7.6.1",
    "a field that Connection names goes",
    get("Connection: X-A", "X-A: 1"),
    [
      seesGet(),
    ],
  ),
  forward(
    "hop-by-hop",
    "9110 7.6.1",
    "so do those that everybody knows",
    get(
      "Connection: keep-alive, X-Hop",
      "X-Hop: 1",
      "Keep-Alive: timeout=5",
      "Proxy-Connection: keep-alive",
      "X-End: 1",
    ),
    [seesGet("X-End: 1")],
  ),
  forward(
    "connection-lines",
    "9110 5.3",
    "Connection in several lines, in any case, with empty members",
    get("connection: ,x-a ,", "X-A: 1", "CONNECTION:\tX-b", "x-B: 2", "X-C: 3"),
    [seesGet("X-C: 3")],
  ),
  forward("X02", "9110 7.6.1", "Host cannot be named away", get("Connection: Host"), [seesGet()]),
  forward(
    "connection-names-host",
    "9110 7.6.1",
    "nor can framing fields",
    post("Connection: host, Content-Length", "Content-Length: 3") + "abc",
    [seesPost("abc")],
  ),
  forward(
    "connection-names-te",
    "9110 7.6.1",
    "nor this one",
    post("Connection: transfer-encoding", CHUNKED) + "3\r\nabc\r\n0\r\n\r\n",
    [sees(["POST / HTTP/1.1", "Host: a", CHUNKED], "abc")],
  ),
  forward(
    "X05",
    "9110 7.6.1",
    "what the proxy says of the client cannot be named away",
    get(
      "Connection: X-Forwarded-For, Authorization",
      "X-Forwarded-For: 1.2.3.4",
      "Authorization: x",
    ),
    [seesGet()],
  ),
  forward(
    "connection-names-id",
    "9110 7.6.1",
    "the request id is replaced, not lost",
    get("Connection: X-Request-Id", "X-Request-Id: mine"),
    [seesGet()],
  ),
  forward(
    "X06",
    "9110 7.6.1",
    "hop-by-hop without being named",
    get("Keep-Alive: timeout=5", "Proxy-Connection: close", "TE: gzip", "X: 1"),
    [seesGet("X: 1")],
  ),
  forward(
    "te-trailers",
    "9110 10.1.4",
    "TE: trailers is said anew, for trailers pass",
    get("Connection: TE", "TE: gzip;q=0.5, trailers"),
    [seesGet("Connection: TE", "TE: trailers")],
  ),
  forward(
    "forwarded-spoofed",
    "7239 8.1",
    "a stranger does not say who it is",
    get(
      "X-Forwarded-For: 1.2.3.4",
      "x-forwarded-proto: https",
      "X-Forwarded-Host: b",
      "Forwarded: for=1.2.3.4",
    ),
    [seesGet()],
  ),
  forward(
    "forwarded-underscore",
    "7239 8.1",
    "nor by a look-alike that gateways to CGI take for the real field",
    get("X_Forwarded_For: 1.2.3.4", "X-Forwarded_Proto: https", "X_FORWARDED-HOST: b"),
    [seesGet()],
  ),
  forward("request-id", "9110 5.1", "a request id is kept", get("X-Request-Id: 4711"), [
    { ...seesGet(), requestId: "4711" },
  ]),
  forward(
    "proxy-auth",
    "9110 11.7.2",
    "credentials for proxies pass: a gateway is none",
    get("Authorization: Basic YTpi", "Cookie: a=b"),
    [seesGet("Authorization: Basic YTpi", "Cookie: a=b")],
  ),
];

const UPGRADE: readonly RequestCase[] = [
  forward("X07", "9110 7.8", "Upgrade that Connection does not name", get("Upgrade: websocket"), [
    seesGet(),
  ]),
  forward(
    "upgrade-unnamed",
    "9110 7.8",
    "Connection that names Upgrade, without Upgrade",
    get("Connection: upgrade"),
    [seesGet()],
  ),
  forward(
    "X08",
    "9113 3.1",
    "h2c would hide requests from the proxy",
    get(
      "Connection: Upgrade, HTTP2-Settings",
      "Upgrade: h2c",
      "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    ),
    [seesGet()],
  ),
  forward(
    "upgrade-h2c-list",
    "9113 3.1",
    "h2c among others",
    get("Connection: Upgrade", "Upgrade: websocket, H2C"),
    [
      seesGet(),
    ],
  ),
  forward(
    "upgrade-websocket",
    "6455 4.1",
    "an offer passes; the backend declines",
    get(...WEBSOCKET),
    [seesGet(...SEES_KEY, "Connection: upgrade", "Upgrade: websocket")],
  ),
  forward(
    "X09",
    "9110 7.8",
    "without 101 there is no tunnel: what follows is a request (CVE-2026-2833)",
    get("Connection: Upgrade", "Upgrade: foo") + EVIL,
    [seesGet("Connection: upgrade", "Upgrade: foo"), SEES_EVIL],
  ),
  forward(
    "X10",
    "6455 4.1",
    "no offer with a body: its bytes could be of either protocol",
    post(...WEBSOCKET, "Content-Length: 3") + "abc",
    [seesPost("abc", ...SEES_KEY)],
  ),
  forward(
    "X11",
    "9110 7.8",
    "HTTP/1.0 has no upgrade",
    head("GET / HTTP/1.0", "Host: a", ...WEBSOCKET),
    [seesGet(...SEES_KEY)],
    { closes: true },
  ),
];

const EXPECTATIONS: readonly RequestCase[] = [
  forward(
    "X12",
    "9110 10.1.1",
    "the backend's 100 is passed on",
    post("Expect: 100-continue", "Content-Length: 3") + "abc",
    [sees(["POST / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 3"], "abc")],
    { interim: [100] },
  ),
  forward(
    "expect-100",
    "9110 10.1.1",
    "in any case",
    post("expect: 100-Continue", "Content-Length: 2") + "ok",
    [sees(["POST / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 2"], "ok")],
    { interim: [100] },
  ),
  forward(
    "expect-chunked",
    "9110 10.1.1",
    "with a chunked body, and a request behind it",
    post("Expect: 100-continue", CHUNKED) + "3\r\nabc\r\n0\r\n\r\n" + EVIL,
    [sees(["POST / HTTP/1.1", "Host: a", "Expect: 100-continue", CHUNKED], "abc"), SEES_EVIL],
    { interim: [100] },
  ),
  reject(
    "expect-malformed",
    "9112 7.1",
    "a malformed body that was asked for",
    CHUNK,
    post("Expect: 100-continue", CHUNKED) + "x\r\n",
    { interim: [100], inBody: true },
  ),
  forward(
    "expect-no-body",
    "9110 10.1.1",
    "there is no body to wait for",
    get("Expect: 100-continue"),
    [
      seesGet(),
    ],
  ),
  forward(
    "expect-http10",
    "9110 10.1.1",
    "HTTP/1.0 has no expectations",
    head("POST / HTTP/1.0", "Host: a", "Expect: 100-continue", "Content-Length: 3") + "abc",
    [seesPost("abc")],
    { closes: true },
  ),
  reject(
    "X13",
    "9110 10.1.1",
    "an unknown expectation",
    EXPECT,
    post("Expect: foo", "Content-Length: 3") + "abc",
  ),
  reject(
    "X14",
    "9110 10.1.1",
    "a known one inside an unknown one",
    EXPECT,
    post("Expect: x 100-continue", "Content-Length: 3") + "abc",
  ),
  reject(
    "expect-unknown",
    "9110 10.1.1",
    "an unknown expectation",
    EXPECT,
    post("Expect: 200-ok", "Content-Length: 2") + "ok",
  ),
  reject(
    "expect-two",
    "9110 10.1.1",
    "a known and an unknown one",
    EXPECT,
    post("Expect: 100-continue, foo", "Content-Length: 2") + "ok",
  ),
  reject(
    "expect-empty",
    "9110 10.1.1",
    "an empty one",
    EXPECT,
    post("Expect:", "Content-Length: 2") + "ok",
  ),
];

const MAX_FORWARDS: readonly RequestCase[] = [
  forward(
    "X16",
    "9110 7.6.2",
    "Max-Forwards: 0 ends here",
    head("OPTIONS / HTTP/1.1", "Host: a", "Max-Forwards: 0"),
    [],
    { answers: [200] },
  ),
  forward(
    "max-forwards-zeros",
    "9110 7.6.2",
    "zero however it is written",
    head("OPTIONS * HTTP/1.1", "Host: a", "Max-Forwards: 000"),
    [],
    { answers: [200] },
  ),
  forward(
    "max-forwards-5",
    "9110 7.6.2",
    "it is counted down",
    head("OPTIONS / HTTP/1.1", "Host: a", "Max-Forwards: 5", "X: 1"),
    [sees(["OPTIONS / HTTP/1.1", "Host: a", "X: 1", "Max-Forwards: 4"])],
  ),
  forward(
    "max-forwards-get",
    "9110 7.6.2",
    "for other methods it means nothing",
    get("Max-Forwards: 0"),
    [
      seesGet("Max-Forwards: 0"),
    ],
  ),
];

const KEEP_ALIVE: readonly RequestCase[] = [
  forward("X17", "9112 9.3.2", "two requests at once, answered in order", get() + EVIL, [
    seesGet(),
    SEES_EVIL,
  ]),
  forward(
    "pipelined-two",
    "9112 9.3.2",
    "two requests at once",
    head("GET /1 HTTP/1.1", "Host: a.example") + head("GET /2 HTTP/1.1", "Host: a.example"),
    ["/1", "/2"].map((path) => sees([`GET ${path} HTTP/1.1`, "Host: a.example"])),
  ),
  forward(
    "pipelined-bodies",
    "9112 9.3.2",
    "with bodies of all kinds between them",
    post("Content-Length: 3") + "abc" + get() + post(CHUNKED) + "3\r\ndef\r\n0\r\n\r\n" +
      head("HEAD / HTTP/1.1", "Host: a") + post("Content-Length: 0") + EVIL,
    [
      seesPost("abc"),
      seesGet(),
      sees(["POST / HTTP/1.1", "Host: a", CHUNKED], "def"),
      sees(["HEAD / HTTP/1.1", "Host: a"]),
      seesPost(""),
      SEES_EVIL,
    ],
  ),
  forward(
    "pipelined-many",
    "9112 9.3.2",
    "thirty requests at once",
    Array.from({ length: 30 }, (_, i) => head(`GET /${i} HTTP/1.1`, "Host: a")).join(""),
    Array.from({ length: 30 }, (_, i) => sees([`GET /${i} HTTP/1.1`, "Host: a"])),
  ),
  forward(
    "pipelined-partial",
    "9112 9.6",
    "two requests and a part of a third that never gets whole",
    get() + EVIL + "GET /third HTTP/1.1\r\nHo",
    [seesGet(), SEES_EVIL],
    { end: true, closes: true },
  ),
  forward(
    "X18",
    "9112 9.6",
    "behind close, nothing is processed",
    get("Connection: close") + EVIL,
    [
      seesGet(),
    ],
    { closes: true },
  ),
  forward("close-and-keep", "9112 9.3", "close wins", get("Connection: keep-alive, close") + EVIL, [
    seesGet(),
  ], {
    closes: true,
  }),
  forward("http10-close", "9112 9.3", "HTTP/1.0 closes", head("GET / HTTP/1.0", "Host: a") + EVIL, [
    seesGet(),
  ], {
    closes: true,
  }),
  forward(
    "http10-keep-alive",
    "9112 9.3",
    "unless it asks not to",
    head("GET / HTTP/1.0", "Host: a", "Connection: Keep-Alive") + EVIL,
    [seesGet(), SEES_EVIL],
  ),
  forward(
    "http10-body",
    "9112 6.2",
    "HTTP/1.0 with a body",
    head("POST / HTTP/1.0", "Host: a", "Content-Length: 3") + "abc" + EVIL,
    [seesPost("abc")],
    { closes: true },
  ),
  reject(
    "smuggled-behind-refusal",
    "9112 6.3",
    "nothing behind a refused request is processed",
    FRAMING,
    post("Content-Length: 3", CHUNKED) + EVIL + EVIL,
  ),
  reject(
    "third-refused",
    "9112 9.3.2",
    "what comes before is answered in order",
    FRAMING,
    get() + post("Content-Length: 3") + "abc" + post("Content-Length: x") + EVIL,
    { forwarded: [seesGet(), seesPost("abc")] },
  ),
];

/** All cases about connections. */
export const CONNECTION_CASES: readonly RequestCase[] = [
  ...HOP_BY_HOP,
  ...UPGRADE,
  ...EXPECTATIONS,
  ...MAX_FORWARDS,
  ...KEEP_ALIVE,
];

/**
 * Responses that are more or less than one answer to one request: interim, early, to HTTP/1.0.
 *
 * @module
 */
import {
  CHUNKED,
  head,
  HTTP10,
  HTTP10_KEEP,
  LARGE,
  LAST,
  LENGTH_5,
  ok,
  pass,
  refuse,
  type ResponseCase,
  whole,
} from "./case.ts";

/** All cases about exchanges. */
export const EXCHANGE_CASES: readonly ResponseCase[] = [
  pass(
    "S31",
    "9110 15.2",
    "100 that nobody asked for passes",
    "HTTP/1.1 100 Continue\r\n\r\n" + ok("Content-Length: 5") + "hello",
    LENGTH_5,
    { interim: [[100]] },
  ),
  pass(
    "S31-http10",
    "9110 15.2",
    "but not to a client of HTTP/1.0",
    "HTTP/1.1 100 Continue\r\n\r\n" + ok("Content-Length: 5") + "hello",
    whole(200, ["Content-Length: 5", "Connection: close"], "hello"),
    { request: HTTP10, closes: true },
  ),
  pass(
    "S32",
    "8297 2",
    "103 passes with its fields",
    head("HTTP/1.1 103 Early Hints", "Link: </a.css>", "Connection: X-A", "X-A: 1") +
      ok("Content-Length: 5") + "hello",
    LENGTH_5,
    { interim: [[103, "Link: </a.css>"]] },
  ),
  pass(
    "interim-ten",
    "9110 15.2",
    "ten interim responses pass",
    head("HTTP/1.1 102 Processing").repeat(10) + ok("Content-Length: 5") + "hello",
    LENGTH_5,
    { interim: Array.from({ length: 10 }, () => [102] as const) },
  ),
  refuse(
    "S33",
    "9110 15.2",
    "a thousand do not: the final answer is a refusal",
    head("HTTP/1.1 100 Continue").repeat(1000) + ok("Content-Length: 0"),
    { interim: Array.from({ length: 10 }, () => [100] as const) },
  ),
  refuse(
    "interim-then-garbage",
    "9112 4",
    "a malformed response behind an interim one",
    head("HTTP/1.1 103 Early Hints") + "hello\r\n\r\n",
    { interim: [[103]] },
  ),
  refuse(
    "interim-then-end",
    "9112 8",
    "the backend closes behind an interim response",
    head("HTTP/1.1 100 Continue"),
    { then: "close", code: "upstream_closed", interim: [[100]] },
  ),
  refuse(
    "S34",
    "9110 7.8",
    "101 that nobody asked for",
    head("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: foo"),
  ),
  refuse(
    "S34-bare",
    "9110 15.2.2",
    "101 that does not say to what",
    head("HTTP/1.1 101 Switching Protocols"),
    { request: "GET /case HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n" },
  ),
  refuse(
    "S34-http10",
    "9110 7.8",
    "101 to a client of HTTP/1.0",
    head("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: foo"),
    {
      request: "GET /case HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
      closes: true,
    },
  ),
  pass(
    "http10-client",
    "9112 6.1",
    "a client of HTTP/1.0 gets no chunks, but the end of the connection",
    ok(CHUNKED) + "3\r\nhel\r\n2\r\nlo\r\n" + LAST,
    whole(200, ["Connection: close"], "hello"),
    { request: HTTP10_KEEP, closes: true },
  ),
  pass(
    "http10-client-length",
    "9112 9.3",
    "with a length its connection stays open",
    ok("Content-Length: 5") + "hello",
    whole(200, ["Content-Length: 5", "Connection: keep-alive"], "hello"),
    { request: HTTP10_KEEP },
  ),
  pass(
    "client-close",
    "9112 9.6",
    "the client says that it closes: that is between it and us",
    ok("Content-Length: 5") + "hello",
    whole(200, ["Content-Length: 5", "Connection: close"], "hello"),
    { request: "GET /case HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", closes: true },
  ),
  pass(
    "expect-refused",
    "9110 10.1.1",
    "a final answer instead of 100: the body is never sent",
    head("HTTP/1.1 413 Content Too Large", "Content-Length: 5") + "large",
    whole(413, ["Content-Length: 5", "Connection: close"], "large"),
    {
      request:
        "POST /case HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
      early: true,
      closes: true,
      reuse: false,
    },
  ),
  pass(
    "early",
    "9112 9.3",
    "an answer before the body has come: neither connection goes on",
    head("HTTP/1.1 403 Forbidden", "Content-Length: 2") + "no",
    whole(403, ["Content-Length: 2", "Connection: close"], "no"),
    {
      request: "POST /case HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
      early: true,
      closes: true,
      reuse: false,
    },
  ),
  pass(
    "early-close",
    "9112 9.6",
    "an early answer and a close, while a large body is being sent",
    head("HTTP/1.1 413 Content Too Large", "Content-Length: 5", "Connection: close") + "large",
    whole(413, ["Content-Length: 5", "Connection: close"], "large"),
    {
      request: `POST /case HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n${LARGE}`,
      early: true,
      then: "close",
      closes: true,
      reuse: false,
    },
  ),
];

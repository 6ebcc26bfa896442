/**
 * Malformed and ambiguous responses of a backend, and good ones beside them, each with what the client
 * must get and what becomes of the backend's connection.
 *
 * @module
 */

/** What a client must get. */
export type Outcome =
  /** A whole response. */
  | {
    readonly type: "whole";
    readonly status: number;
    /** The field lines, all of them and in this order, apart from a Date that the backend did not send. */
    readonly fields: readonly string[];
    readonly body: string;
    readonly trailers: readonly string[];
  }
  /** A problem document with status 502. */
  | { readonly type: "refused"; readonly code: string }
  /**
   * The begin of a response with this status and, as far as it got, this content; then the connection ends,
   * so that nobody can take it for the whole.
   */
  | { readonly type: "cut"; readonly status: number; readonly body: string }
  /** Refused when the fault is in the first bytes that are read, cut when it comes later. */
  | { readonly type: "refused or cut"; readonly status: number; readonly body: string };

/** A response of a backend, and what has to come of it. */
export interface ResponseCase {
  /** Unique. S with a number names classes of attack. */
  readonly id: string;
  /** RFC and section. */
  readonly rfc: string;
  /** What is tried, or why the verdict is what it is. */
  readonly why: string;
  /** What the client sends; its path must be `/case`. */
  readonly request: string;
  /** The bytes that the backend answers with, each a character. */
  readonly response: string;
  /** What the backend does behind its bytes. */
  readonly then: "nothing" | "close" | "reset";
  /** Whether it answers as soon as it has the head of the request. */
  readonly early: boolean;
  /** What the client must get. */
  readonly outcome: Outcome;
  /** The interim responses before that: status, then field lines. */
  readonly interim: readonly (readonly [number, ...string[]])[];
  /** Whether the client's connection ends with the response. */
  readonly closes: boolean;
  /** Whether the next request may go to the backend on the same connection. */
  readonly reuse: boolean;
  /** Whether the request is made again when its connection had been used before. */
  readonly retried: boolean;
}

type Details = Partial<
  Pick<ResponseCase, "request" | "then" | "early" | "interim" | "closes" | "reuse" | "retried">
>;

const GET = "GET /case HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD = "HEAD /case HTTP/1.1\r\nHost: a\r\n\r\n";
const HTTP10 = "GET /case HTTP/1.0\r\nHost: a\r\n\r\n";
const HTTP10_KEEP = "GET /case HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
const CHUNKED = "Transfer-Encoding: chunked";
const LAST = "0\r\n\r\n";
/** What an attacker who controls a backend would have the next client get. */
const EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
const LARGE = [..."abcdefghijklmnopqrstuvwxyz"].map((letter) => letter.repeat(8000)).join("");

/** A head of these lines. */
function head(...lines: readonly string[]): string {
  return lines.map((line) => `${line}\r\n`).join("") + "\r\n";
}

/** `200 OK` with these field lines. */
function ok(...fields: readonly string[]): string {
  return head("HTTP/1.1 200 OK", ...fields);
}

function whole(
  status: number,
  fields: readonly string[],
  body = "",
  trailers: readonly string[] = [],
): Outcome {
  return { type: "whole", status, fields, body, trailers };
}

function entry(
  id: string,
  rfc: string,
  why: string,
  response: string,
  outcome: Outcome,
  details: Details,
): ResponseCase {
  return {
    id,
    rfc,
    why,
    request: GET,
    response,
    then: "nothing",
    early: false,
    outcome,
    interim: [],
    closes: outcome.type.endsWith("cut"),
    reuse: outcome.type === "whole",
    retried: false,
    ...details,
  };
}

/** A response that must be passed on as this. */
function pass(
  id: string,
  rfc: string,
  why: string,
  response: string,
  outcome: Outcome,
  details: Details = {},
): ResponseCase {
  return entry(id, rfc, why, response, outcome, details);
}

/** A response that must be refused. */
function refuse(
  id: string,
  rfc: string,
  why: string,
  response: string,
  details: Details & { readonly code?: string } = {},
): ResponseCase {
  const { code = "upstream_protocol", ...rest } = details;
  return entry(id, rfc, why, response, { type: "refused", code }, rest);
}

const LENGTH_5 = whole(200, ["Content-Length: 5"], "hello");

const FRAMING: readonly ResponseCase[] = [
  pass("length", "9112 6.3", "the plain case", ok("Content-Length: 5") + "hello", LENGTH_5),
  pass(
    "chunked",
    "9112 7.1",
    "in chunks",
    ok(CHUNKED) + "3\r\nhel\r\n2\r\nlo\r\n" + LAST,
    whole(200, [CHUNKED], "hello"),
  ),
  pass(
    "chunked-extensions",
    "9112 7.1.1",
    "extensions end here",
    ok(CHUNKED) + "5;a=b\r\nhello\r\n0;c\r\n\r\n",
    whole(200, [CHUNKED], "hello"),
  ),
  pass(
    "chunked-trailers",
    "9112 7.1.2",
    "trailers pass, but not those that frame or set cookies",
    ok(CHUNKED) + "5\r\nhello\r\n0\r\nX-T: 1\r\nContent-Length: 1\r\nSet-Cookie: a=b\r\n\r\n",
    whole(200, [CHUNKED], "hello", ["X-T: 1"]),
  ),
  pass(
    "empty",
    "9112 6.2",
    "a length of 0",
    ok("Content-Length: 0"),
    whole(200, ["Content-Length: 0"]),
  ),
  pass(
    "large",
    "9112 6.2",
    "a body larger than any buffer on the way",
    ok(`Content-Length: ${LARGE.length}`) + LARGE,
    whole(200, [`Content-Length: ${LARGE.length}`], LARGE),
  ),
  pass(
    "large-chunked",
    "9112 7.1",
    "in one chunk",
    ok(CHUNKED) + `${LARGE.length.toString(16)}\r\n${LARGE}\r\n` + LAST,
    whole(200, [CHUNKED], LARGE),
  ),
  pass(
    "length-zeros",
    "9110 8.6",
    "leading zeros are not passed on",
    ok("Content-Length: 005") + "hello",
    LENGTH_5,
  ),
  pass(
    "S01",
    "9112 6.3",
    "chunks override the length, which is dropped; the connection is not trusted again",
    ok("Content-Length: 30", CHUNKED) + "5\r\nhello\r\n" + LAST,
    whole(200, [CHUNKED], "hello"),
    { reuse: false },
  ),
  refuse(
    "S02",
    "9112 6.3",
    "two lengths that differ",
    ok("Content-Length: 2", "Content-Length: 3") + "abc",
  ),
  refuse(
    "two-lengths-equal",
    "9110 8.6",
    "two equal lengths",
    ok("Content-Length: 3", "Content-Length: 3") + "abc",
  ),
  refuse("length-list", "9110 8.6", "a list of lengths", ok("Content-Length: 3, 3") + "abc"),
  refuse("S04", "9112 6.3", "a length with a sign", ok("Content-Length: +3") + "abc"),
  refuse("S04-empty", "9112 6.3", "an empty length", ok("Content-Length:") + "abc"),
  refuse(
    "length-huge",
    "9110 8.6",
    "a length that cannot be counted",
    ok("Content-Length: 18446744073709551619") + "abc",
  ),
  refuse(
    "length-on-304",
    "9112 6.3",
    "a bad length, though no body follows",
    head("HTTP/1.1 304 Not Modified", "Content-Length: x"),
  ),
  refuse(
    "S06",
    "9112 6.3",
    "a coding that is not known here",
    ok("Transfer-Encoding: foo") + "abc",
  ),
  refuse(
    "coding-gzip",
    "9112 6.1",
    "a coding that is not decoded here",
    ok("Transfer-Encoding: gzip, chunked") + LAST,
  ),
  refuse("coding-twice", "9112 6.1", "chunked twice", ok(CHUNKED, CHUNKED) + LAST),
  refuse("coding-empty", "9112 6.1", "an empty coding", ok("Transfer-Encoding:") + LAST),
  pass(
    "S08",
    "9112 6.1",
    "chunks in HTTP/1.0 are decoded; the connection is not trusted again",
    head("HTTP/1.0 200 OK", CHUNKED, "Connection: keep-alive") + "5\r\nhello\r\n" + LAST,
    whole(200, [CHUNKED], "hello"),
    { reuse: false },
  ),
  pass(
    "S39",
    "9112 6.3",
    "without framing the body ends with the connection; the client gets chunks",
    ok() + "hello",
    whole(200, [CHUNKED], "hello"),
    { then: "close", reuse: false },
  ),
  entry("S39-reset", "9112 8", "a reset is no end", ok() + "hello", {
    type: "cut",
    status: 200,
    body: "hello",
  }, {
    then: "reset",
  }),
  entry("S24", "9112 8", "the backend closes inside the body", ok("Content-Length: 10") + "abc", {
    type: "cut",
    status: 200,
    body: "abc",
  }, { then: "close" }),
  entry(
    "S24-reset",
    "9112 8",
    "the backend resets inside the body",
    ok("Content-Length: 10") + "abc",
    { type: "cut", status: 200, body: "abc" },
    { then: "reset" },
  ),
  entry(
    "S25",
    "9112 8",
    "the backend closes before the last chunk: none is made up",
    ok(CHUNKED) + "3\r\nabc\r\n",
    { type: "cut", status: 200, body: "abc" },
    { then: "close" },
  ),
  entry("S25-size", "9112 8", "the backend closes inside a size", ok(CHUNKED) + "3\r\nabc\r\n1", {
    type: "cut",
    status: 200,
    body: "abc",
  }, { then: "close" }),
  entry(
    "S25-trailer",
    "9112 8",
    "the backend closes inside the trailers",
    ok(CHUNKED) + "3\r\nabc\r\n0\r\nX-T: 1\r\n",
    { type: "cut", status: 200, body: "abc" },
    { then: "close" },
  ),
  entry("S26", "9112 7.1", "a bad chunk size, first", ok(CHUNKED) + "x\r\nabc\r\n" + LAST, {
    type: "refused or cut",
    status: 200,
    body: "",
  }, {}),
  entry(
    "S26-later",
    "9112 7.1",
    "a bad chunk size behind a good one",
    ok(CHUNKED) + "3\r\nabc\r\nx\r\n" + LAST,
    { type: "refused or cut", status: 200, body: "abc" },
    {},
  ),
  entry("S26-lf", "9112 7.1", "LF ends a size", ok(CHUNKED) + "3\nabc\r\n" + LAST, {
    type: "refused or cut",
    status: 200,
    body: "",
  }, {}),
  entry(
    "S26-overflow",
    "9112 7.1",
    "a size that cannot be counted",
    ok(CHUNKED) + "10000000000000003\r\nabc\r\n" + LAST,
    { type: "refused or cut", status: 200, body: "" },
    {},
  ),
  entry(
    "S26-trailer",
    "9112 7.1.2",
    "a bad trailer",
    ok(CHUNKED) + "3\r\nabc\r\n0\r\nX : 1\r\n\r\n",
    { type: "refused or cut", status: 200, body: "abc" },
    {},
  ),
  pass(
    "S27",
    "9112 6.3",
    "what follows a response is nobody's",
    ok("Content-Length: 5") + "hello" + EVIL,
    LENGTH_5,
    { reuse: false },
  ),
  pass("S27-byte", "9112 6.3", "a single byte", ok("Content-Length: 5") + "hello!", LENGTH_5, {
    reuse: false,
  }),
  pass(
    "S27-chunked",
    "9112 7.1",
    "behind the last chunk",
    ok(CHUNKED) + "5\r\nhello\r\n" + LAST + EVIL,
    whole(200, [CHUNKED], "hello"),
    { reuse: false },
  ),
  pass(
    "S27-empty",
    "9112 6.3",
    "behind a response without a body",
    ok("Content-Length: 0") + EVIL,
    whole(200, ["Content-Length: 0"]),
    { reuse: false },
  ),
  pass(
    "S28",
    "9110 8.6",
    "204 with a length and a body",
    head("HTTP/1.1 204 No Content", "Content-Length: 5") + "hello",
    whole(204, []),
    { reuse: false },
  ),
  pass(
    "S28-late",
    "9110 8.6",
    "204 with a length: the body may still come",
    head("HTTP/1.1 204 No Content", "Content-Length: 5"),
    whole(204, []),
    { reuse: false },
  ),
  pass(
    "S28-chunked",
    "9112 6.1",
    "204 with chunks",
    head("HTTP/1.1 204 No Content", CHUNKED) + LAST,
    whole(204, []),
    { reuse: false },
  ),
  pass(
    "S28-zero",
    "9110 8.6",
    "204 with length 0, as many servers send it",
    head("HTTP/1.1 204 No Content", "Content-Length: 0"),
    whole(204, []),
  ),
  pass(
    "S29",
    "9112 6.3",
    "304 with a length, which stays, and a body, which does not",
    head("HTTP/1.1 304 Not Modified", "Content-Length: 5") + "hello",
    whole(304, ["Content-Length: 5"]),
    { reuse: false },
  ),
  pass(
    "S29-plain",
    "9110 15.4.5",
    "304 as it should be",
    head("HTTP/1.1 304 Not Modified", "ETag: x", "Content-Length: 5"),
    whole(304, ["ETag: x", "Content-Length: 5"]),
  ),
  pass(
    "S30",
    "9112 6.3",
    "HEAD answered with a body",
    ok("Content-Length: 5") + "hello",
    whole(200, ["Content-Length: 5"]),
    { request: HEAD, reuse: false },
  ),
  pass(
    "S30-plain",
    "9110 9.3.2",
    "HEAD as it should be",
    ok("Content-Length: 5"),
    whole(200, ["Content-Length: 5"]),
    {
      request: HEAD,
    },
  ),
  pass("S30-chunked", "9110 9.3.2", "HEAD of something in chunks", ok(CHUNKED), whole(200, []), {
    request: HEAD,
  }),
  pass(
    "205",
    "9110 15.3.6",
    "205 has a length of 0",
    head("HTTP/1.1 205 Reset Content", "Content-Length: 0"),
    whole(205, ["Content-Length: 0"]),
  ),
];

const HEADS: readonly ResponseCase[] = [
  refuse("S09", "9112 5.1", "a space before the colon", ok("X-A : 1", "Content-Length: 0")),
  refuse("S10", "9112 5.2", "a folded line", ok("X-A: 1\r\n 2", "Content-Length: 0")),
  refuse("S11", "9110 5.5", "NUL in a value", ok("X-A: 1\x002", "Content-Length: 0")),
  refuse("S12", "9110 5.5", "a bare CR in a value", ok("X-A: 1\r2", "Content-Length: 0")),
  refuse("S13", "9112 2.2", "LF ends no line", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
  refuse(
    "S13-field",
    "9112 2.2",
    "LF ends no field line",
    "HTTP/1.1 200 OK\r\nX: 1\nContent-Length: 0\r\n\r\n",
  ),
  refuse("S14", "9112 4", "two digits", head("HTTP/1.1 99 Low", "Content-Length: 0")),
  refuse("S14-20", "9112 4", "two digits", head("HTTP/1.1 20", "Content-Length: 0")),
  refuse("S14-2000", "9112 4", "four digits", head("HTTP/1.1 2000 OK", "Content-Length: 0")),
  refuse("S14-sign", "9112 4", "a sign", head("HTTP/1.1 -20 OK", "Content-Length: 0")),
  refuse(
    "S17",
    "9110 15",
    "no class of status codes",
    head("HTTP/1.1 600 High", "Content-Length: 0"),
  ),
  refuse("S17-000", "9110 15", "no class either", head("HTTP/1.1 000 Low", "Content-Length: 0")),
  pass(
    "status-599",
    "9110 15",
    "any code of a known class",
    head("HTTP/1.1 599 Odd", "Content-Length: 0"),
    whole(599, ["Content-Length: 0"]),
  ),
  refuse("S19", "9112 4", "no HTTP", "hello world", { then: "close" }),
  refuse("S19-html", "1945", "HTTP/0.9", "<html>hello</html>\n", { then: "close" }),
  refuse("version-2", "9112 2.3", "HTTP/2 in text", head("HTTP/2.0 200 OK", "Content-Length: 0")),
  refuse(
    "version-lower",
    "9112 2.3",
    "the name has case",
    head("http/1.1 200 OK", "Content-Length: 0"),
  ),
  refuse("version-icy", "9112 4", "another protocol", head("ICY 200 OK", "Content-Length: 0")),
  refuse(
    "leading-crlf",
    "9112 2.2",
    "an empty line in front: servers ignore it, clients do not",
    "\r\n" + ok("Content-Length: 0"),
  ),
  refuse("two-spaces", "9112 4", "one space", head("HTTP/1.1  200 OK", "Content-Length: 0")),
  pass(
    "no-reason",
    "9112 4",
    "a reason may be empty",
    head("HTTP/1.1 200 ", "Content-Length: 0"),
    whole(200, ["Content-Length: 0"]),
  ),
  pass(
    "no-reason-space",
    "9112 4",
    "many servers leave its space out, too",
    head("HTTP/1.1 200", "Content-Length: 0"),
    whole(200, ["Content-Length: 0"]),
  ),
  refuse(
    "reason-control",
    "9112 4",
    "a control byte in the reason",
    head("HTTP/1.1 200 O\x00K", "Content-Length: 0"),
  ),
  refuse("S22", "9112 8", "the backend closes without a word", "", {
    then: "close",
    code: "upstream_closed",
    retried: true,
  }),
  refuse("S22-reset", "9112 8", "the backend resets without a word", "", {
    then: "reset",
    code: "upstream_reset",
    retried: true,
  }),
  refuse("S22-post", "9110 9.2.2", "what is not idempotent is not tried again", "", {
    request: "POST /case HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    then: "close",
    code: "upstream_closed",
  }),
  refuse("S23", "9112 8", "the backend closes inside the head", "HTTP/1.1 200 OK\r\nContent-Le", {
    then: "close",
    code: "upstream_closed",
  }),
  refuse("S23-line", "9112 8", "the backend closes inside the status line", "HTTP/1.", {
    then: "close",
    code: "upstream_closed",
  }),
  refuse(
    "S23-end",
    "9112 8",
    "the backend closes before the empty line",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
    {
      then: "close",
      code: "upstream_closed",
    },
  ),
  refuse(
    "S35",
    "9110 5.4",
    "a field of 100 KB",
    ok(`X-A: ${"a".repeat(100_000)}`, "Content-Length: 0"),
  ),
  refuse(
    "S35-many",
    "9110 5.4",
    "500 fields",
    ok(...Array.from({ length: 500 }, () => "X-A: 1"), "Content-Length: 0"),
  ),
  refuse(
    "S35-reason",
    "9112 4",
    "a reason of 10 KB",
    head(`HTTP/1.1 200 ${"a".repeat(10_000)}`, "Content-Length: 0"),
  ),
  pass(
    "field-large",
    "9110 5.4",
    "a field of 15 KB",
    ok(`X-A: ${"a".repeat(15_000)}`, "Content-Length: 0"),
    whole(200, [`X-A: ${"a".repeat(15_000)}`, "Content-Length: 0"]),
  ),
  refuse("S37", "9112 5", "a line without a colon", ok("X-A", "Content-Length: 0")),
  refuse("S38", "9112 5", "no name", ok(": 1", "Content-Length: 0")),
  pass(
    "S40",
    "9110 7.6.1",
    "a field that Connection names goes",
    ok("Connection: X-A", "X-A: 1", "Content-Length: 5") + "hello",
    LENGTH_5,
  ),
  pass(
    "hop-by-hop",
    "9110 7.6.1",
    "so do those that everybody knows",
    ok(
      "Keep-Alive: timeout=60",
      "Proxy-Connection: keep-alive",
      "Upgrade: h2c",
      "Connection: keep-alive, Upgrade",
      "Content-Length: 5",
    ) + "hello",
    LENGTH_5,
  ),
  pass(
    "connection-names-length",
    "9110 7.6.1",
    "framing fields cannot be named away",
    ok("Connection: Content-Length", "Content-Length: 5") + "hello",
    LENGTH_5,
  ),
  pass(
    "connection-close",
    "9112 9.6",
    "the backend says that it closes: that is between it and us",
    ok("Connection: close", "Content-Length: 5") + "hello",
    LENGTH_5,
    { reuse: false },
  ),
  pass(
    "keep-alive-timeout",
    "2068 19.7.1.1",
    "the backend keeps no idle connection",
    ok("Keep-Alive: timeout=1", "Content-Length: 5") + "hello",
    LENGTH_5,
    { reuse: false },
  ),
  pass(
    "fields-kept",
    "9110 5.3",
    "other fields keep order, spelling and bytes",
    ok(
      "Set-Cookie: a=1",
      "x-B:  \xe9\t2 ",
      "SET-COOKIE: a=2",
      "Date: Mon, 02 Nov 2026 08:00:00 GMT",
      "Content-Length: 0",
    ),
    whole(200, [
      "Set-Cookie: a=1",
      "x-B: \xe9\t2",
      "SET-COOKIE: a=2",
      "Date: Mon, 02 Nov 2026 08:00:00 GMT",
      "Content-Length: 0",
    ]),
  ),
  pass(
    "http10",
    "9112 9.3",
    "HTTP/1.0 closes unless it says otherwise",
    head("HTTP/1.0 200 OK", "Content-Length: 5") + "hello",
    LENGTH_5,
    { reuse: false },
  ),
  pass(
    "http10-keep-alive",
    "9112 9.3",
    "and this one does",
    head("HTTP/1.0 200 OK", "Content-Length: 5", "Connection: keep-alive") + "hello",
    LENGTH_5,
  ),
  pass(
    "minor-version",
    "9110 2.5",
    "a higher minor version is treated as 1.1",
    head("HTTP/1.9 200 OK", "Content-Length: 5") + "hello",
    LENGTH_5,
  ),
];

const EXCHANGES: readonly ResponseCase[] = [
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

/** All cases. */
export const RESPONSE_CASES: readonly ResponseCase[] = [...FRAMING, ...HEADS, ...EXCHANGES];

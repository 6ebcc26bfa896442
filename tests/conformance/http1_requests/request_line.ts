/**
 * Request lines: method, target, version, and what stands around them.
 *
 * @module
 */
import {
  EVIL,
  FIELD,
  forward,
  get,
  head,
  HEAD_SIZE,
  LINE_SIZE,
  METHOD,
  reject,
  REQUEST_LINE,
  type RequestCase,
  sees,
  SEES_EVIL,
  seesGet,
  TARGET,
  VERSION,
} from "./case.ts";

/** A request line before `Host: a`. */
const line = (text: string) => head(text, "Host: a");

/** A request line that must be refused. */
function refuse(
  id: string,
  rfc: string,
  why: string,
  text: string,
  refusal: readonly [number, string] = REQUEST_LINE,
): RequestCase {
  return reject(id, rfc, why, refusal, line(text));
}

/** A request line that must arrive as this one. */
function take(id: string, rfc: string, why: string, text: string, arrives = text): RequestCase {
  return forward(id, rfc, why, line(text), [sees([arrives, "Host: a"])]);
}

const GRAMMAR: readonly RequestCase[] = [
  forward("plain-get", "9112 2.1", "the plain case", head("GET / HTTP/1.1", "Host: a.example"), [
    sees(["GET / HTTP/1.1", "Host: a.example"]),
  ]),
  refuse("R01", "9112 3", "one space", "GET  / HTTP/1.1"),
  refuse("two-spaces", "9112 3", "one space, here too", "GET /  HTTP/1.1"),
  refuse("R02", "9112 3", "tabs are no spaces", "GET\t/\tHTTP/1.1"),
  refuse("tab-separator", "9112 3", "a tab is no space", "GET\t/ HTTP/1.1"),
  refuse("R03", "9112 3.2", "a space ends the target", "GET /a b HTTP/1.1"),
  refuse("space-in-target", "9112 3.2", "a space ends the target", "GET /a HTTP/1.1 b HTTP/1.1"),
  refuse("R04", "9112 2.2", "a space in front", " GET / HTTP/1.1"),
  forward("R05", "9112 2.2", "an empty line in front is ignored", "\r\n" + get(), [seesGet()]),
  forward("leading-crlf", "9112 2.2", "two are", "\r\n\r\n" + get(), [seesGet()]),
  reject("R05-three", "9112 2.2", "three are not", REQUEST_LINE, "\r\n\r\n\r\n" + get()),
  forward("R05-between", "9112 2.2", "an empty line between requests", get() + "\r\n" + EVIL, [
    seesGet(),
    SEES_EVIL,
  ]),
  reject("R05-lf", "9112 2.2", "a bare LF in front", REQUEST_LINE, "\n" + get()),
  reject("R05-cr", "9112 2.2", "a bare CR in front", REQUEST_LINE, "\r" + get()),
  reject("R06", "9112 2.2", "LF does not end a line", REQUEST_LINE, "GET / HTTP/1.1\nHost: a\n\n"),
  reject(
    "bare-lf",
    "9112 2.2",
    "LF does not end the request line",
    REQUEST_LINE,
    "GET / HTTP/1.1\nHost: a\r\n\r\n",
  ),
  reject("R08", "9112 2.2", "CR does not end a line", REQUEST_LINE, "GET / HTTP/1.1\rHost: a\r\r"),
  refuse("bare-cr-in-line", "9112 2.2", "a bare CR", "GET /\r HTTP/1.1"),
  refuse("two-cr", "9112 2.2", "CR CR LF", "GET / HTTP/1.1\r"),
  reject(
    "R27",
    "9112 2.2",
    "a TLS ClientHello",
    REQUEST_LINE,
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
  ),
  reject("bom", "9112 3", "a byte order mark", REQUEST_LINE, "\xef\xbb\xbf" + get()),
  reject(
    "proxy-protocol",
    "9112 3",
    "a PROXY header where none is expected",
    REQUEST_LINE,
    "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get(),
  ),
  reject("junk", "9112 3", "nothing like HTTP", REQUEST_LINE, "hello world\r\n\r\n"),
];

const METHODS: readonly RequestCase[] = [
  take("R15", "9110 9.1", "methods have case: another one, passed as it is", "get / HTTP/1.1"),
  refuse("R16", "9110 9.1", "a method is a token", "GE(T / HTTP/1.1"),
  refuse("bad-method", "9110 9.1", "a method is a token", "G<ET / HTTP/1.1"),
  refuse("method-colon", "9110 9.1", "a method is a token", "GET: / HTTP/1.1"),
  refuse("method-high", "9110 9.1", "a method is ASCII", "G\xc9T / HTTP/1.1"),
  refuse("method-nul", "9110 9.1", "NUL ends a string in C", "GET\x00 / HTTP/1.1"),
  take("R17", "9110 9.1", "an unknown method is for the backend to judge", "FOOBAR / HTTP/1.1"),
  take("method-odd", "9110 5.6.2", "all that a token may hold", "!#$%&'*+-.^_`|~0a / HTTP/1.1"),
  refuse("R17-long", "9110 15.6.2", "no method has 40 letters", `${"M".repeat(40)} / HTTP/1.1`, [
    501,
    "method_not_implemented",
  ]),
  reject(
    "R28",
    "9110 9.3.6",
    "no tunnels to anywhere",
    METHOD,
    head("CONNECT a:80 HTTP/1.1", "Host: a:80"),
  ),
  reject(
    "connect",
    "9110 9.3.6",
    "no tunnels to anywhere",
    METHOD,
    head("CONNECT a.example:443 HTTP/1.1", "Host: a.example:443"),
  ),
  refuse("connect-path", "9110 9.3.6", "in whatever form", "CONNECT / HTTP/1.1", METHOD),
  reject(
    "R29",
    "9110 9.3.8",
    "TRACE would echo credentials",
    METHOD,
    head("TRACE / HTTP/1.1", "Host: a", "Cookie: secret"),
  ),
  take("delete", "9110 9.3.5", "DELETE without a body", "DELETE /x HTTP/1.1"),
];

const VERSIONS: readonly RequestCase[] = [
  refuse("R18", "9112 2.3", "HTTP/0.9 has no version", "GET /"),
  reject("http09", "9112 2.3", "HTTP/0.9, and nothing more", REQUEST_LINE, "GET /\r\n\r\n"),
  take(
    "R19",
    "9110 2.5",
    "a higher minor version is treated as 1.1",
    "GET / HTTP/1.2",
    "GET / HTTP/1.1",
  ),
  refuse("R20", "9110 15.6.6", "HTTP/2 is not spoken in text", "GET / HTTP/2.0", VERSION),
  refuse("http-3-version", "9110 15.6.6", "nor is HTTP/3", "GET / HTTP/3.0", VERSION),
  refuse("http-0-version", "9110 15.6.6", "nor HTTP/0", "GET / HTTP/0.9", VERSION),
  refuse("R21", "9112 2.3", "one digit", "GET / HTTP/01.1"),
  refuse("R21-lower", "9112 2.3", "the name has case", "GET / http/1.1"),
  refuse("version-lower", "9112 2.3", "the name has case", "GET / Http/1.1"),
  refuse("R23", "9112 2.3", "one digit", "GET / HTTP/1.10"),
  refuse("R23-space", "9112 3", "nothing behind", "GET / HTTP/1.1 "),
  refuse("version-12", "9112 2.3", "one digit", "GET / HTTP/1.12"),
  refuse("version-empty", "9112 2.3", "a digit", "GET / HTTP/1."),
  refuse("version-comma", "9112 2.3", "a dot", "GET / HTTP/1,1"),
  refuse("version-space", "9112 2.3", "no space inside", "GET / HTTP /1.1"),
  refuse("version-name", "9112 2.3", "another protocol", "GET / HTTPS/1.1"),
  refuse("version-icy", "9112 2.3", "another protocol", "GET / RTSP/1.0"),
  reject("R26", "9113 3.4", "the preface of HTTP/2", VERSION, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
];

const TARGETS: readonly RequestCase[] = [
  refuse("R09", "9112 3.2", "NUL", "GET /\x00x HTTP/1.1"),
  refuse("ctl-in-target", "9112 3.2", "a control byte", "GET /a\x01b HTTP/1.1"),
  refuse("target-del", "9112 3.2", "DEL", "GET /a\x7f HTTP/1.1"),
  refuse("R10", "3986 2", "no ASCII", "GET /\xff HTTP/1.1"),
  refuse("R11", "9112 3.2", "a fragment is never sent", "GET /a#b HTTP/1.1"),
  refuse("R12", "9112 3.2", "neither a path nor a URI", "GET foo HTTP/1.1", TARGET),
  refuse("relative-target", "9112 3.2.1", "a path begins with a slash", "GET a/b HTTP/1.1", TARGET),
  refuse("target-empty", "9112 3.2", "no target", "GET  HTTP/1.1"),
  refuse("target-query", "9112 3.2.1", "a query without a path", "GET ?a HTTP/1.1", TARGET),
  refuse("R13", "9112 3.2.4", "* is for OPTIONS", "GET * HTTP/1.1", TARGET),
  refuse("target-stars", "9112 3.2.4", "one star", "OPTIONS ** HTTP/1.1", TARGET),
  take("R14", "9112 3.2.4", "OPTIONS of the whole server", "OPTIONS * HTTP/1.1"),
  forward("options-star", "9112 3.2.4", "the same", head("OPTIONS * HTTP/1.1", "Host: a.example"), [
    sees(["OPTIONS * HTTP/1.1", "Host: a.example"]),
  ]),
  take("R30", "3986 2.4", "escapes are not decoded", "GET /%0d%0aX:1 HTTP/1.1"),
  take("target-escaped-nul", "3986 2.4", "nor this one", "GET /%00%2e%2E/%2f HTTP/1.1"),
  take("target-broken-escape", "3986 2.1", "nor broken ones", "GET /%zz% HTTP/1.1"),
  take("R31", "3986 6.2.2.3", "dot segments are passed as they are", "GET /x/../../y HTTP/1.1"),
  take("target-double-slash", "9112 3.2.1", "a path, no authority", "GET //b/x HTTP/1.1"),
  take(
    "target-query-kept",
    "3986 3.4",
    "everything behind the first ? is query",
    "GET /a?b=/c?d&&e=%20 HTTP/1.1",
  ),
  take(
    "target-wide",
    "9112 3.2",
    "what clients do not escape though they should",
    'GET /"<>\\^`{|}[] HTTP/1.1',
  ),
  take("target-8000", "9112 3", "8000 bytes at least", `GET /${"a".repeat(8000)} HTTP/1.1`),
  refuse(
    "target-8200",
    "9112 3",
    "more than the limit of 8192",
    `GET /${"a".repeat(8200)} HTTP/1.1`,
    LINE_SIZE,
  ),
  refuse("R25", "9112 3", "70 KB", `GET /${"a".repeat(70_000)} HTTP/1.1`, LINE_SIZE),
  reject(
    "long-line",
    "9112 3",
    "70 KB and no end of the line",
    LINE_SIZE,
    `GET /${"a".repeat(70_000)}`,
  ),
];

const LIMITS: readonly RequestCase[] = [
  reject("N16", "9110 5.4", "a field of 100 KB", HEAD_SIZE, get(`X-A: ${"a".repeat(100_000)}`)),
  reject(
    "big-header",
    "9110 5.4",
    "a field of 200 KB",
    HEAD_SIZE,
    get(`X-A: ${"a".repeat(200_000)}`),
  ),
  reject("big-name", "9110 5.4", "a name of 20 KB", HEAD_SIZE, get(`X-${"a".repeat(20_000)}: 1`)),
  reject(
    "N17",
    "9110 5.4",
    "500 fields",
    HEAD_SIZE,
    get(...Array.from({ length: 500 }, (_, i) => `X-${i}: 1`)),
  ),
  reject(
    "many-headers",
    "9110 5.4",
    "2000 fields",
    HEAD_SIZE,
    get(...Array.from({ length: 2000 }, (_, i) => `X-${i}: 1`)),
  ),
  reject(
    "fields-101",
    "9110 5.4",
    "one field above the limit of 100",
    HEAD_SIZE,
    get(...Array.from({ length: 100 }, (_, i) => `X-${i}: 1`)),
  ),
  forward(
    "fields-100",
    "9110 5.4",
    "as many fields as the limit",
    get(...Array.from({ length: 99 }, (_, i) => `X-${i}: 1`)),
    [seesGet(...Array.from({ length: 99 }, (_, i) => `X-${i}: 1`))],
  ),
  reject(
    "head-total",
    "9110 5.4",
    "fields that are small enough one by one",
    HEAD_SIZE,
    get(...["A", "B", "C"].map((name) => `X-${name}: ${"a".repeat(15_000)}`)),
  ),
  forward("field-large", "9110 5.4", "a field of 15 KB", get(`Cookie: ${"a".repeat(15_000)}`), [
    seesGet(`Cookie: ${"a".repeat(15_000)}`),
  ]),
  forward(
    "name-300",
    "9110 5.4",
    "a name that hides another one where its length is counted in 8 bits (CVE-2021-40346)",
    get(`Content-Length0${"a".repeat(255)}: 1`, "Content-Length: 3") + "abc",
    [sees([
      "GET / HTTP/1.1",
      "Host: a",
      `Content-Length0${"a".repeat(255)}: 1`,
      "Content-Length: 3",
    ], "abc")],
  ),
  reject(
    "fields-no-end",
    "9112 2.2",
    "LF ends the header section for some",
    FIELD,
    "GET / HTTP/1.1\r\nHost: a\r\n\n" + EVIL,
  ),
];

/** All cases about request lines, and limits of heads. */
export const REQUEST_LINE_CASES: readonly RequestCase[] = [
  ...GRAMMAR,
  ...METHODS,
  ...VERSIONS,
  ...TARGETS,
  ...LIMITS,
];

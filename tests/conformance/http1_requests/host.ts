/**
 * Which host a request is for: Host, and targets in absolute form.
 *
 * @module
 */
import {
  FIELD,
  forward,
  head,
  HOST,
  LISTENER,
  reject,
  type RequestCase,
  sees,
  TARGET,
} from "./case.ts";

/** A value of Host that must be refused. */
function refuse(id: string, why: string, value: string): RequestCase {
  return reject(id, "9112 3.2", why, HOST, head("GET / HTTP/1.1", `Host: ${value}`));
}

/** A value of Host that must arrive as it is. */
function take(id: string, why: string, value: string): RequestCase {
  return forward(id, "9110 7.2", why, head("GET / HTTP/1.1", `Host: ${value}`), [
    sees(["GET / HTTP/1.1", `Host: ${value}`]),
  ]);
}

/** An absolute target before `Host: a` that must arrive as these lines. */
function absolute(id: string, why: string, target: string, ...lines: string[]): RequestCase {
  return forward(id, "9112 3.2.2", why, head(`GET ${target} HTTP/1.1`, "Host: a"), [sees(lines)]);
}

/** An absolute target that must be refused. */
function refuseAbsolute(id: string, why: string, target: string): RequestCase {
  return reject(id, "9112 3.2.2", why, TARGET, head(`GET ${target} HTTP/1.1`, "Host: a"));
}

/** All cases about hosts. */
export const HOST_CASES: readonly RequestCase[] = [
  reject("H01", "9112 3.2", "no Host", HOST, head("GET / HTTP/1.1", "X: 1")),
  reject("no-host", "9112 3.2", "no field at all", HOST, head("GET / HTTP/1.1")),
  reject("H02", "9112 3.2", "two that differ", HOST, head("GET / HTTP/1.1", "Host: a", "Host: b")),
  reject(
    "two-hosts",
    "9112 3.2",
    "two that differ, apart",
    HOST,
    head("GET / HTTP/1.1", "Host: a.example", "X: 1", "host: b.example"),
  ),
  reject(
    "H03",
    "9112 3.2",
    "two that are equal",
    HOST,
    head("GET / HTTP/1.1", "Host: a", "Host: a"),
  ),
  reject(
    "two-equal-hosts",
    "9112 3.2",
    "two that are equal",
    HOST,
    head("GET / HTTP/1.1", "Host: a.example", "Host: a.example"),
  ),
  reject(
    "two-hosts-http10",
    "9112 3.2",
    "two in HTTP/1.0",
    HOST,
    head("GET / HTTP/1.0", "Host: a", "Host: a"),
  ),
  refuse("H04", "no real host has a comma", "a,b"),
  refuse("H04-port", "no port is that high", "a:99999"),
  refuse("H04-port-65536", "nor this one", "a:65536"),
  refuse("H05", "a path", "a/x"),
  refuse("host-with-slash", "a path", "a.example/evil"),
  refuse("H06", "user information", "u@a"),
  refuse("H06-port", "a port that is no number", "a:99x"),
  refuse("host-userinfo", "user information", "u:p@a.example"),
  refuse("H07", "quotes", '"a b"'),
  refuse("bad-host", "a space", "a b"),
  refuse("host-tab", "a tab", "a\tb"),
  refuse("H08", "empty: there is nothing to route by", ""),
  refuse("host-port-only", "a port alone", ":80"),
  refuse("host-two-ports", "two ports", "a:80:90"),
  refuse("host-negative-port", "a port with a sign", "a:-1"),
  refuse("host-query", "a query", "a?b"),
  refuse("host-fragment", "a fragment", "a#b"),
  refuse("host-backslash", "a backslash, a slash for some", "a\\b"),
  refuse("host-escape", "an escape hides another host", "a%2eb"),
  refuse("host-high", "a name is ASCII", "\xe4.example"),
  refuse("host-uri", "a URI", "http://a"),
  refuse("host-bracket", "no end", "[::1"),
  refuse("host-brackets-empty", "no address", "[]"),
  refuse("host-brackets-name", "a name in brackets", "[zz]"),
  refuse("host-behind-brackets", "something behind", "[::1]a"),
  take("host-port", "a port", "a:65535"),
  take("host-empty-port", "the grammar allows a port without digits", "a:"),
  take("host-ipv6", "an IPv6 address", "[::1]:8080"),
  take("host-ipv4", "an IPv4 address", "127.0.0.1:80"),
  take("host-case", "passed as it came", "A.Example"),
  take("host-underscore", "names that are no host names exist", "_a.b_c-d"),
  forward(
    "host-white-space",
    "9112 5.1",
    "white space around a value",
    head("GET / HTTP/1.1", "Host:\t a \t"),
    [sees(["GET / HTTP/1.1", "Host: a"])],
  ),
  forward(
    "host-last",
    "9110 5.3",
    "Host goes first, wherever it came",
    head("GET / HTTP/1.1", "X: 1", "hOST: a"),
    [sees(["GET / HTTP/1.1", "Host: a", "X: 1"])],
  ),
  absolute("H09", "a target in absolute form", "http://a/x", "GET /x HTTP/1.1", "Host: a"),
  absolute("H10", "its authority counts, not Host", "http://b/x", "GET /x HTTP/1.1", "Host: b"),
  forward(
    "absolute-form",
    "9112 3.2.2",
    "its authority counts, not Host",
    head("GET http://b.example/x HTTP/1.1", "Host: a.example"),
    [sees(["GET /x HTTP/1.1", "Host: b.example"])],
  ),
  absolute("absolute-no-path", "the path is empty", "http://b", "GET / HTTP/1.1", "Host: b"),
  absolute("absolute-query", "only a query", "http://b?x=/y", "GET /?x=/y HTTP/1.1", "Host: b"),
  absolute("absolute-port", "a port", "http://b:81/", "GET / HTTP/1.1", "Host: b:81"),
  absolute("absolute-case", "schemes have no case", "HTTP://b/", "GET / HTTP/1.1", "Host: b"),
  absolute("absolute-https", "https", "https://b/x", "GET /x HTTP/1.1", "Host: b"),
  absolute(
    "absolute-ipv6",
    "an IPv6 address",
    "http://[::1]:80/",
    "GET / HTTP/1.1",
    "Host: [::1]:80",
  ),
  forward(
    "absolute-options",
    "9112 3.2.4",
    "OPTIONS of the whole server",
    head("OPTIONS http://b HTTP/1.1", "Host: a"),
    [sees(["OPTIONS * HTTP/1.1", "Host: b"])],
  ),
  reject(
    "absolute-no-host",
    "9112 3.2",
    "Host is needed all the same",
    HOST,
    head("GET http://b/x HTTP/1.1"),
  ),
  refuseAbsolute("absolute-empty", "no authority", "http:///x"),
  refuseAbsolute("absolute-user", "user information", "http://a@b/x"),
  refuseAbsolute("absolute-bad-port", "no port", "http://b:x/"),
  refuseAbsolute("absolute-ftp", "another scheme", "ftp://b/x"),
  refuseAbsolute("absolute-opaque", "no authority", "http:b"),
  refuseAbsolute("absolute-backslash", "a backslash, a slash for some", "http://b\\@c/"),
  forward(
    "H13",
    "9112 3.2",
    "HTTP/1.0 needs no Host: the one that was reached is named",
    head("GET / HTTP/1.0"),
    [sees(["GET / HTTP/1.1", `Host: ${LISTENER}`])],
    { closes: true },
  ),
  forward("http10-no-host", "9112 3.2", "HTTP/1.0 with a field", head("GET /x HTTP/1.0", "X: 1"), [
    sees(["GET /x HTTP/1.1", `Host: ${LISTENER}`, "X: 1"]),
  ], { closes: true }),
  forward("http10-host", "9112 3.2", "HTTP/1.0 with Host", head("GET / HTTP/1.0", "Host: a"), [
    sees(["GET / HTTP/1.1", "Host: a"]),
  ], { closes: true }),
  reject(
    "H14",
    "9112 5.2",
    "the host stands in a folded line",
    FIELD,
    head("GET / HTTP/1.1", "Host:\r\n a"),
  ),
  reject(
    "H15",
    "9110 5.5",
    "NUL ends a string in C",
    FIELD,
    head("GET / HTTP/1.1", "Host: a\x00b"),
  ),
];

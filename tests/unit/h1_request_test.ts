import { assert, assertEquals } from "@std/assert";
import { INCOMPLETE, Known, REFUSED } from "../../lib/http/h1/fields.ts";
import { RequestHead } from "../../lib/http/h1/request.ts";
import { fieldsOf, framingText, parseRequest, requestHead } from "../support/h1_parse.ts";
import { readRequest } from "../support/h1_reference.ts";
import { REFUSED_REQUESTS, REQUESTS } from "../support/h1_samples.ts";
import { bytesOf } from "../support/http_text.ts";

/** A head that must be accepted. */
function accepted(text: string): RequestHead {
  const { end, head } = parseRequest(text);
  assertEquals(end, text.length, `${JSON.stringify(text)}: ${head.error} ${head.detail}`);
  return head;
}

/** The code with which a head is refused. */
function refusal(text: string): string {
  const { end, head } = parseRequest(text);
  assertEquals(end, REFUSED, JSON.stringify(text));
  return head.error;
}

Deno.test("valid request heads are accepted and mean what the grammar says", () => {
  for (const text of REQUESTS) {
    const head = accepted(text);
    const expected = readRequest(text);
    assert(expected !== undefined, text);
    assertEquals(head.method, expected.method);
    assertEquals(head.target, expected.target);
    assertEquals(head.authority, expected.authority);
    assertEquals(head.minor, expected.minor);
    assertEquals(framingText(head.framing), expected.framing);
    const fields = fieldsOf(head.fields).map(([name, value]) => [name.toLowerCase(), value]);
    assertEquals(fields, expected.fields.map((field) => [...field]));
  }
});

Deno.test("request heads that are malformed or ambiguous are refused with their code", () => {
  for (const [text, code] of REFUSED_REQUESTS) {
    assertEquals(refusal(text), code, JSON.stringify(text));
    assertEquals(readRequest(text), undefined, JSON.stringify(text));
  }
});

Deno.test("a refusal says for the log what was wrong", () => {
  for (const [text] of REFUSED_REQUESTS) assert(parseRequest(text).head.detail !== "", text);
});

Deno.test("up to two empty lines before the request line are skipped (RFC 9112, 2.2)", () => {
  const head = requestHead();
  accepted(head);
  accepted("\r\n" + head);
  assertEquals(accepted("\r\n\r\n" + head).method, "GET");
  assertEquals(refusal("\r\n\r\n\r\n" + head), "bad_request_line");
});

Deno.test("what follows the head is left alone", () => {
  const text = requestHead("Content-Length: 3");
  const { end, head } = parseRequest(text + "abcGET / HTTP/1.1\r\n\r\n");
  assertEquals(end, text.length);
  assertEquals(framingText(head.framing), "3");
});

Deno.test("path and query are parts of the target, and nothing is decoded (RFC 9112, 3.2.1)", () => {
  const cases: readonly (readonly [target: string, path: string, query: string])[] = [
    ["/", "/", ""],
    ["/a/b", "/a/b", ""],
    ["/a%2fb?c=%20&d", "/a%2fb", "c=%20&d"],
    ["/?", "/", ""],
    ["/a?b?c", "/a", "b?c"],
    ["//x/../y", "//x/../y", ""],
    ["http://b", "/", ""],
    ["http://b/", "/", ""],
    ["http://b?q", "/", "q"],
    ["http://b:80/p?q=http://c/", "/p", "q=http://c/"],
  ];
  for (const [target, path, query] of cases) {
    const head = accepted(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
    assertEquals([head.path, head.query], [path, query], target);
  }
});

Deno.test("an absolute target names the host, not the Host field (RFC 9112, 3.2.2)", () => {
  const head = accepted("GET http://Inner.example:81/p HTTP/1.1\r\nHost: outer.example\r\n\r\n");
  assertEquals(head.authority, "Inner.example:81");
  assertEquals(head.host, "inner.example");
  assertEquals(head.target, "/p");
});

Deno.test("OPTIONS without a path asks about the server as a whole (RFC 9112, 3.2.4)", () => {
  const head = (target: string) => accepted(`OPTIONS ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
  assertEquals(head("*").target, "*");
  assertEquals(head("http://a:81").target, "*");
  assertEquals(head("http://a:81/").target, "/");
  assertEquals(head("http://a:81?x").target, "/?x");
});

Deno.test("the host is in lower case and without its port", () => {
  const host = (value: string) => accepted(`GET / HTTP/1.1\r\nHost: ${value}\r\n\r\n`).host;
  assertEquals(host("A.Example"), "a.example");
  assertEquals(host("A.Example:8080"), "a.example");
  assertEquals(host("a.example:"), "a.example");
  assertEquals(host("[2001:DB8::1]"), "[2001:db8::1]");
  assertEquals(host("[2001:db8::1]:443"), "[2001:db8::1]");
  assertEquals(accepted("GET / HTTP/1.0\r\n\r\n").host, "");
});

Deno.test("HTTP/1.0 needs no Host, and a higher minor version counts as 1 (RFC 9110, 2.5)", () => {
  assertEquals(accepted("GET / HTTP/1.0\r\n\r\n").minor, 0);
  assertEquals(accepted("GET / HTTP/1.9\r\nHost: a\r\n\r\n").minor, 1);
  assertEquals(refusal("GET / HTTP/1.9\r\n\r\n"), "bad_host");
});

Deno.test("the connection stays open as RFC 9112, 9.3 says", () => {
  const keep = (version: string, ...lines: string[]) =>
    accepted([`GET / HTTP/${version}`, "Host: a", ...lines].join("\r\n") + "\r\n\r\n").keepAlive;
  assertEquals(keep("1.1"), true);
  assertEquals(keep("1.1", "Connection: close"), false);
  assertEquals(keep("1.1", "Connection: x, CLOSE"), false);
  assertEquals(keep("1.1", "Connection: keep-alive", "Connection: close"), false);
  assertEquals(keep("1.1", "Connection: closed"), true);
  assertEquals(keep("1.0"), false);
  assertEquals(keep("1.0", "Connection: Keep-Alive"), true);
  assertEquals(keep("1.0", "Connection: keep-alive, close"), false);
});

Deno.test("Connection nominates fields, never those that frame or route (RFC 9110, 7.6.1)", () => {
  const head = accepted(requestHead(
    "Connection: close, X-One,\t x-two ,, Host",
    "Connection: Content-Length, transfer-encoding, X-Three",
  ));
  assertEquals(head.nominated, ["x-one", "x-two", "x-three"]);
});

Deno.test("Content-Length is digits and nothing else (RFC 9110, 8.6)", () => {
  const length = (value: string) =>
    framingText(accepted(requestHead(`Content-Length:${value}`)).framing);
  assertEquals(length(" 5"), "5");
  assertEquals(length("\t5 \t"), "5");
  assertEquals(length("0"), "0");
  assertEquals(length("00012"), "12");
  assertEquals(length("9007199254740991"), "9007199254740991");
  assertEquals(length("0".repeat(500) + "7"), "7");
});

Deno.test("100-continue counts in 1.1 and with a body only (RFC 9110, 10.1.1)", () => {
  const waits = (version: string, ...lines: string[]) =>
    accepted(
      [`PUT / HTTP/${version}`, "Host: a", "Expect: 100-CONTINUE", ...lines].join("\r\n") +
        "\r\n\r\n",
    ).expectContinue;
  assertEquals(waits("1.1", "Content-Length: 1"), true);
  assertEquals(waits("1.1", "Transfer-Encoding: chunked"), true);
  assertEquals(waits("1.1"), false);
  assertEquals(waits("1.0", "Content-Length: 1"), false);
});

Deno.test("an upgrade needs Connection, 1.1, no body, and is never h2c", () => {
  const upgrade = (version: string, ...lines: string[]) =>
    accepted([`GET / HTTP/${version}`, "Host: a", ...lines].join("\r\n") + "\r\n\r\n").upgrade;
  // RFC 9110, section 7.8; for h2c RFC 9113, section 3.1.
  assertEquals(upgrade("1.1", "Connection: Upgrade", "Upgrade: websocket"), true);
  assertEquals(upgrade("1.1", "Connection: x, upgrade", "Upgrade: a/1, b"), true);
  assertEquals(upgrade("1.1", "Upgrade: websocket"), false);
  assertEquals(upgrade("1.1", "Connection: upgrade"), false);
  assertEquals(upgrade("1.1", "Connection: upgrade", "Upgrade:"), false);
  assertEquals(upgrade("1.0", "Connection: upgrade", "Upgrade: websocket"), false);
  assertEquals(upgrade("1.1", "Connection: upgrade", "Upgrade: h2c"), false);
  assertEquals(upgrade("1.1", "Connection: upgrade", "Upgrade: websocket, H2C "), false);
  const body = ["Connection: upgrade", "Upgrade: websocket", "Content-Length: 1"];
  assertEquals(upgrade("1.1", ...body), false);
});

Deno.test("fields are found by name without case, and lines of one name are joined", () => {
  const head = accepted(requestHead("x-a: 1", "X-A:2", "X-Ab: 3", "Via: 1.1 p", "via: 1.0 q"));
  assertEquals(head.header("x-a"), "1, 2");
  assertEquals(head.header("x-ab"), "3");
  assertEquals(head.header("x"), undefined);
  assertEquals(head.header("host"), "a.example");
  assertEquals(head.fields.joined(Known.Via), "1.1 p, 1.0 q");
  assertEquals(head.fields.joined(Known.Te), undefined);
  assertEquals([head.fields.has(Known.Via), head.fields.has(Known.Te)], [2, 0]);
});

Deno.test("a name that resembles a known one means nothing to the proxy", () => {
  const names = ["Content_Length", "Content-Length-", "Content-Lengt", "ontent-Length", "C"];
  for (const name of [...names, "Transfer_Encoding", "Transfer-Encodinf", "Hosts", "X-Host"]) {
    const head = accepted(requestHead(`${name}: 1`));
    assertEquals(framingText(head.framing), "none", name);
    assertEquals(head.host, "a.example", name);
  }
});

Deno.test("field values keep every byte above ASCII", () => {
  const value = Array.from({ length: 128 }, (_, i) => String.fromCharCode(128 + i)).join("");
  assertEquals(accepted(requestHead(`X: ${value}`)).header("x"), value);
});

Deno.test("white space around a value is no part of it, white space inside is", () => {
  const head = accepted(requestHead("A:b", "C: \t d \t e\t ", "F:", "G: \t "));
  const values = ["a", "c", "f", "g"].map((name) => head.header(name));
  assertEquals(values, ["b", "d \t e", "", ""]);
});

Deno.test("gRPC is told by its content type", () => {
  const grpc = (type: string) => accepted(requestHead(`Content-Type: ${type}`)).grpc;
  for (const type of ["application/grpc", "Application/GRPC+proto", "application/grpc; x=y"]) {
    assertEquals(grpc(type), true, type);
  }
  for (const type of ["application/grpc-web", "application/grpcx", "text/plain", ""]) {
    assertEquals(grpc(type), false, type);
  }
  assertEquals(accepted(requestHead()).grpc, false);
});

Deno.test("one head object is used for one request after the other and keeps nothing", () => {
  const head = new RequestHead();
  const parse = (text: string) => {
    const bytes = bytesOf(text);
    return head.parse(bytes, 0, bytes.length);
  };
  const first = "POST http://b/x?y HTTP/1.1\r\nHost: a\r\nConnection: close, upgrade, x\r\n" +
    "Expect: 100-continue\r\nContent-Length: 7\r\n\r\n";
  assertEquals(parse(first), first.length);
  assertEquals([head.method, head.path, head.host], ["POST", "/x", "b"]);
  const second = "GET / HTTP/1.0\r\n\r\n";
  assertEquals(parse(second), second.length);
  assertEquals(
    [head.method, head.target, head.host, head.minor, head.keepAlive, head.upgrade],
    ["GET", "/", "", 0, false, false],
  );
  assertEquals([head.expectContinue, head.nominated, head.framing.type], [false, [], "none"]);
  assertEquals(parse("GET / HTTP/1.1\r\n"), INCOMPLETE);
  assertEquals(parse(first), first.length);
  assertEquals(head.nominated, ["x"]);
});

Deno.test("a head is found anywhere in its buffer", () => {
  const text = requestHead("X: y", "Content-Length: 4");
  const before = "\r\nX: no\r\n";
  const bytes = bytesOf(before + text + "rest");
  const head = new RequestHead();
  const end = head.parse(bytes, before.length, bytes.length);
  assertEquals(end, before.length + text.length);
  assertEquals(head.header("x"), "y");
  assertEquals(head.target, "/");
});

import { assertEquals, assertMatch } from "@std/assert";
import { type Client, forwardedElement, type ForwardedMode } from "../../lib/http/forwarded.ts";
import { encodeRequestHead } from "../../lib/http/h1/encode_request.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { parseRequest, requestHead } from "../support/h1_parse.ts";
import { textOf } from "../support/http_text.ts";

const CLIENT: Client = { address: "192.0.2.1", scheme: "http" };

/** What the backend is told of the client: the lines of the four fields. */
function told(
  mode: ForwardedMode,
  options: { trusted?: boolean; client?: Client; head?: string } = {},
): string[] {
  const { head } = parseRequest(options.head ?? requestHead());
  const out = new ByteWriter(new Uint8Array(512));
  encodeRequestHead(head, out, {
    forwarding: {
      mode,
      trusted: options.trusted ?? false,
      client: options.client ?? CLIENT,
      authority: "listener.example",
    },
    requestId: "id",
    target: undefined,
    changes: undefined,
    via: undefined,
  });
  return textOf(out.written).split("\r\n").filter((line) => /^(?:X-)?Forwarded/i.test(line));
}

/** A request that came through another proxy, or pretends to. */
const PROXIED = requestHead(
  "X-Forwarded-For: 203.0.113.9",
  "x-forwarded-for: 10.0.0.1",
  "X-Forwarded-Proto: https",
  "X-Forwarded-Host: public.example",
  "Forwarded: for=203.0.113.9;proto=https",
  "forwarded: for=10.0.0.1",
);

Deno.test("the client is told in the fields that nearly all understand", () => {
  assertEquals(told("x-forwarded"), [
    "X-Forwarded-For: 192.0.2.1",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Host: a.example",
  ]);
  const client = { address: "2001:db8::1", scheme: "https" } as const;
  assertEquals(told("x-forwarded", { client }).slice(0, 2), [
    "X-Forwarded-For: 2001:db8::1",
    "X-Forwarded-Proto: https",
  ]);
});

Deno.test("the client is told in Forwarded (RFC 7239), or in both", () => {
  const element = "Forwarded: for=192.0.2.1;proto=http;host=a.example";
  assertEquals(told("forwarded"), [element]);
  assertEquals(told("both"), [...told("x-forwarded"), element]);
});

Deno.test("fields of a peer that is not trusted are replaced, all of them", () => {
  for (const mode of ["x-forwarded", "forwarded", "both"] as const) {
    assertEquals(told(mode, { head: PROXIED }), told(mode), mode);
  }
});

Deno.test("fields of a trusted proxy are believed and extended", () => {
  const all = told("both", { head: PROXIED, trusted: true });
  assertEquals(all, [
    "X-Forwarded-For: 203.0.113.9, 10.0.0.1, 192.0.2.1",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: public.example",
    "Forwarded: for=203.0.113.9;proto=https, for=10.0.0.1, " +
    "for=192.0.2.1;proto=http;host=a.example",
  ]);
  // A proxy in front that speaks Forwarded is answered in it, too.
  assertEquals(told("x-forwarded", { head: PROXIED, trusted: true }), all);
  assertEquals(told("forwarded", { head: PROXIED, trusted: true }), all.slice(3));
});

Deno.test("what a trusted proxy does not say is said by us", () => {
  assertEquals(told("both", { trusted: true }), told("both"));
});

Deno.test("turned off, the fields go through as they came and none is added", () => {
  assertEquals(told("off"), []);
  assertEquals(told("off", { head: PROXIED }), [
    "X-Forwarded-For: 203.0.113.9",
    "x-forwarded-for: 10.0.0.1",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: public.example",
    "Forwarded: for=203.0.113.9;proto=https",
    "forwarded: for=10.0.0.1",
  ]);
});

Deno.test("a request that names no host is told of without one", () => {
  const head = "GET / HTTP/1.0\r\n\r\n";
  assertEquals(told("both", { head }), [
    "X-Forwarded-For: 192.0.2.1",
    "X-Forwarded-Proto: http",
    "Forwarded: for=192.0.2.1;proto=http",
  ]);
});

Deno.test("a node is written as RFC 7239, section 6 has it", () => {
  const node = (address: string) =>
    forwardedElement({ address, scheme: "http" }, "").replace(/;.*/, "");
  assertEquals(node("192.0.2.43"), "for=192.0.2.43");
  assertEquals(node("2001:db8:cafe::17"), 'for="[2001:db8:cafe::17]"');
  // What is no IP address can only be told as unknown.
  assertEquals(node("unix"), "for=unknown");
  assertEquals(node("memory"), "for=unknown");
  assertEquals(node(""), "for=unknown");
});

Deno.test("a host that is no token is quoted (RFC 7239, section 4)", () => {
  const host = (authority: string) => forwardedElement(CLIENT, authority).replace(/^.*;host=/, "");
  assertEquals(host("a.example"), "a.example");
  assertEquals(host("under_score-9.example"), "under_score-9.example");
  assertEquals(host("a.example:8080"), '"a.example:8080"');
  assertEquals(host("[::1]"), '"[::1]"');
  assertEquals(host("[::1]:80"), '"[::1]:80"');
});

Deno.test("every element has the form of RFC 7239, whatever the request says", () => {
  const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
  const pair = `${token}=(?:${token}|"[^"\\\\]*")`;
  const element = new RegExp(`^${pair}(?:;${pair})*$`);
  const addresses = ["192.0.2.1", "::1", "2001:db8::ff:1", "unix", "memory", ""];
  const hosts = ["", "a", "a:1", "[::1]:1", "a_b", "A.B:", "[1:2:3:4:5:6:7.8.9.0]"];
  for (const address of addresses) {
    for (const authority of hosts) {
      assertMatch(forwardedElement({ address, scheme: "https" }, authority), element);
    }
  }
});

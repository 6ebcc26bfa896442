import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { makeKeyReader, parseHashBy, readCookie } from "../../lib/http/l7/affinity.ts";
import type { RequestView } from "../../lib/http/message.ts";

function view(path: string, fields: Record<string, string> = {}): RequestView {
  return {
    method: "GET",
    path,
    query: "",
    host: "example.test",
    grpc: false,
    header: (name) => fields[name],
  };
}

Deno.test("what a request is hashed by is parsed, and what is none is refused with what is accepted", () => {
  assertEquals(parseHashBy("address"), { type: "address" });
  assertEquals(parseHashBy("path"), { type: "path" });
  assertEquals(parseHashBy("header:X-User"), { type: "header", name: "x-user" });
  assertEquals(parseHashBy("metadata:Tenant-Id"), { type: "header", name: "tenant-id" });
  assertEquals(parseHashBy("cookie:SID"), { type: "cookie", name: "SID" });
  for (
    const text of ["", "user", "header", "header:", "header:a b", ":x", "query:a", "address:x"]
  ) {
    assertThrows(() => parseHashBy(text), TypeError, JSON.stringify(text));
  }
});

Deno.test("equal values have equal keys, and nothing else counts", () => {
  const byHeader = makeKeyReader(parseHashBy("header:X-User"));
  const key = byHeader(view("/a", { "x-user": "ann" }), "10.0.0.1");
  assertEquals(byHeader(view("/b", { "x-user": "ann", other: "x" }), "10.0.0.2"), key);
  assertNotEquals(byHeader(view("/a", { "x-user": "bob" }), "10.0.0.1"), key);
  const byAddress = makeKeyReader(parseHashBy("address"));
  assertEquals(byAddress(view("/a"), "10.0.0.1"), byAddress(view("/b"), "10.0.0.1"));
  assertNotEquals(byAddress(view("/a"), "10.0.0.1"), byAddress(view("/a"), "10.0.0.2"));
  const byPath = makeKeyReader(parseHashBy("path"));
  assertEquals(byPath(view("/a"), "1"), byPath(view("/a"), "2"));
  assertNotEquals(byPath(view("/a"), "1"), byPath(view("/b"), "1"));
  const byCookie = makeKeyReader(parseHashBy("cookie:sid"));
  assertEquals(
    byCookie(view("/", { cookie: "a=1; sid=7" }), ""),
    byCookie(view("/", { cookie: 'sid="7"; b=2' }), ""),
  );
});

Deno.test("what is absent or empty has no key", () => {
  for (const by of ["header:x-user", "cookie:sid"]) {
    const read = makeKeyReader(parseHashBy(by));
    assertEquals(read(view("/"), "10.0.0.1"), undefined);
    assertEquals(read(view("/", { "x-user": "", cookie: "sid=" }), "10.0.0.1"), undefined);
  }
});

Deno.test("a cookie is found by its exact name, first come first served", () => {
  const cases: [string | undefined, string | undefined][] = [
    [undefined, undefined],
    ["", undefined],
    ["sid=7", "7"],
    [" a=1;sid=7 ; sid=8", "7"],
    ["SID=7", undefined],
    ["xsid=7; sidx=8", undefined],
    ["sid", undefined],
    ['sid="a b"', "a b"],
    ['sid="', '"'],
    ["a=1, sid=7", "7"],
    ["sid=a=b", "a=b"],
  ];
  for (const [field, value] of cases) assertEquals(readCookie(field, "sid"), value, field);
});

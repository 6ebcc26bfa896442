import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { normalizePath } from "../../lib/http/path.ts";

Deno.test("a plain path is matched as it is", () => {
  for (const path of ["/", "*", "/a/b", "/a.b/c..d", "/.well-known/x", "/a~b"]) {
    assertEquals(normalizePath(path), path);
  }
});

Deno.test("escapes of unreserved characters are matched unescaped, others stay (RFC 3986, 6.2.2.2)", () => {
  assertEquals(normalizePath("/%61dmin"), "/admin");
  assertEquals(normalizePath("/a%7Eb%2D"), "/a~b-");
  assertEquals(normalizePath("/a%2Fb%20c%"), "/a%2Fb%20c%");
});

Deno.test("empty segments are merged", () => {
  assertEquals(normalizePath("//admin///x"), "/admin/x");
});

Deno.test("dot segments are refused however they are spelt", () => {
  for (
    const path of [
      "/x/../admin",
      "/x/./admin",
      "/..",
      "/.",
      "/x/%2e%2e/admin",
      "/x/.%2E/admin",
      "/x%2f..%2fadmin",
      "/x%5c..%5cadmin",
      "/x/..\\admin",
    ]
  ) assertEquals(normalizePath(path), undefined, path);
});

Deno.test("what comes out has no dot segment and no empty one", () => {
  const piece = fc.constantFrom("/", "a", ".", "..", "%2e", "%2f", "%61", "%", "//");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const once = normalizePath("/" + pieces.join(""));
      if (once === undefined) return;
      assertEquals(once.split("/").some((s) => s === "." || s === ".."), false, once);
      assertEquals(once.includes("//"), false, once);
    }),
    { seed: 9110, numRuns: 2000 },
  );
});

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { MAX_PARAMS, parseQuery } from "../../lib/route/query.ts";

function pairs(query: string): [string, string][] {
  const { names, values } = parseQuery(query);
  return names.map((name, i) => [name, values[i]!]);
}

Deno.test("parameters are decoded as a form would be", () => {
  assertEquals(pairs("a=1&b=2&a=3"), [["a", "1"], ["b", "2"], ["a", "3"]]);
  assertEquals(pairs("q=a+b%20c&%C3%A9=%E2%82%AC"), [["q", "a b c"], ["\u00e9", "\u20ac"]]);
  assertEquals(pairs("a&b=&=c&&d=e=f"), [["a", ""], ["b", ""], ["", "c"], ["d", "e=f"]]);
  assertEquals(pairs(""), []);
});

Deno.test("a malformed percent sign stands for itself, and bytes that are no UTF-8 are replaced", () => {
  assertEquals(pairs("a=100%&b=%zz&c=%4&d=%41%"), [
    ["a", "100%"],
    ["b", "%zz"],
    ["c", "%4"],
    ["d", "A%"],
  ]);
  assertEquals(pairs("a=%ff%41"), [["a", "\ufffdA"]]);
});

Deno.test("any query gives the pairs that URLSearchParams finds", () => {
  const text = fc.string({
    unit: fc.constantFrom(
      "a",
      "B",
      "&",
      "=",
      "+",
      "%",
      "4",
      "1",
      "f",
      "%20",
      "%C3%A9",
      "%EF%BB%BF",
      "\u00e9",
    ),
  });
  fc.assert(
    fc.property(text, (query) => {
      assertEquals(pairs(query), [...new URLSearchParams(query)]);
    }),
    { seed: 20261122, numRuns: 3000 },
  );
});

Deno.test("a client cannot make the balancer read parameters without end", () => {
  assertEquals(parseQuery("a&".repeat(MAX_PARAMS + 500)).names.length, MAX_PARAMS);
});

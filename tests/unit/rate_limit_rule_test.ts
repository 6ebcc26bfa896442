import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  checkRateLimit,
  formatRateLimit,
  parseRateLimit,
  type RateLimitRule,
} from "../../lib/route/rate_limit.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { routeKey } from "../../lib/route/key.ts";
import { formatRule, parseRule } from "../../lib/route/rule_text.ts";
import { validateRoute } from "../../lib/route/validate.ts";

function refusal(text: string): string {
  return assertThrows(() => parseRateLimit(text), TypeError).message;
}

Deno.test("a rate has a unit, and a burst of one second's requests unless it is given", () => {
  assertEquals(parseRateLimit("100/s"), { rate: 100, burst: 100, key: "address" });
  assertEquals(parseRateLimit("90/m"), { rate: 1.5, burst: 2, key: "address" });
  assertEquals(parseRateLimit("1/h"), { rate: 1 / 3600, burst: 1, key: "address" });
  assertEquals(parseRateLimit("0.5/s,burst=20"), { rate: 0.5, burst: 20, key: "address" });
});

Deno.test("requests are counted by address, header, cookie, path or all together", () => {
  const key = (by: string) => parseRateLimit(`1/s,by=${by}`).key;
  assertEquals(key("header:X-User"), "header:x-user");
  assertEquals(key("metadata:X-User"), "header:x-user");
  assertEquals(key("cookie:Sid"), "cookie:Sid");
  for (const by of ["address", "path", "all"]) assertEquals(key(by), by);
});

Deno.test("what is no rate is refused with the value and what is accepted", () => {
  for (const text of ["", "100", "100/d", "/s", "x/s", "-1/s", "1e3/s", "100/s,", "100/s,10"]) {
    assertStringIncludes(refusal(text), JSON.stringify(text));
    assertStringIncludes(refusal(text), "accepted is RATE/s");
  }
  assertStringIncludes(refusal("1/s,burst=1,burst=2"), "there twice");
  assertStringIncludes(refusal("0/s"), "rate 0: out of range");
  assertStringIncludes(refusal("2000000/s"), "from 0.0001 to 1000000");
  assertStringIncludes(refusal("1/s,burst=0"), "an integer 1..1000000");
  assertStringIncludes(refusal("1/s,burst=1.5"), "an integer 1..1000000");
  assertStringIncludes(refusal("1/s,by=host"), "cookie:NAME, path or all");
  assertStringIncludes(refusal("1/s,by=header:a b"), "it is no field name");
  assertStringIncludes(refusal("1/s,by=cookie:"), "it is no field name");
  assertThrows(() => checkRateLimit({ rate: NaN }), TypeError, "out of range");
  assertThrows(() => checkRateLimit({ rate: 1, per: 2 } as RateLimitRule), TypeError, '"per"');
  assertThrows(
    () => checkRateLimit({ rate: 1, key: 7 } as unknown as RateLimitRule),
    TypeError,
    "it is no text",
  );
});

const token = fc.stringMatching(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,20}$/);
const rules: fc.Arbitrary<RateLimitRule> = fc.record({
  rate: fc.oneof(
    fc.integer({ min: 1, max: 1_000_000 }),
    fc.integer({ min: 1, max: 100_000 }).map((count) => count / 60),
    fc.integer({ min: 1, max: 100_000 }).map((count) => count / 3600),
    fc.double({ min: 0.0001, max: 1_000_000, noNaN: true }),
  ),
  burst: fc.integer({ min: 1, max: 1_000_000 }),
  key: fc.oneof(
    fc.constantFrom("address", "path", "all"),
    token.map((name) => `header:${name.toLowerCase()}`),
    token.map((name) => `cookie:${name}`),
  ),
});

Deno.test("the text of a rule is read as the same rule", () => {
  fc.assert(
    fc.property(rules, (rule) => {
      const text = formatRateLimit(rule);
      assertEquals(parseRateLimit(text), rule, text);
    }),
    { seed: 4, numRuns: 2000 },
  );
});

Deno.test("a rate is written in the unit in which it is whole", () => {
  assertEquals(formatRateLimit({ rate: 100, burst: 5 }), "100/s,burst=5,by=address");
  assertEquals(formatRateLimit({ rate: 1 / 60 }), "1/m,burst=1,by=address");
  assertEquals(formatRateLimit({ rate: 100 / 3600 }), "100/h,burst=1,by=address");
});

Deno.test("the rate of a route is the same from the builder, as text and as JSON", () => {
  const route = new RouteBuilder().path("/api")
    .rateLimit({ rate: 100, burst: 20, key: "header:X-User" })
    .target("http://a:80").build();
  assertEquals(route.rateLimit, { rate: 100, burst: 20, key: "header:x-user" });
  const text = formatRule(route);
  assertStringIncludes(text, " rate=100/s,burst=20,by=header:x-user ");
  assertEquals(parseRule(text), route);
  assertEquals(parseRule("path=/api rate=100/s,burst=20,by=header:X-User -> http://a"), route);
  assertEquals(validateRoute(JSON.parse(JSON.stringify(route))), route);
  assertThrows(() => parseRule("rate=1/s rate=2/s -> http://a"), TypeError, "already");
  assertThrows(
    () => validateRoute({ ...route, rateLimit: { rate: 0 } }),
    TypeError,
    "rate 0: out of range",
  );
});

Deno.test("rates tell routes apart, and a redirect may have one", () => {
  const keyOf = (rule: string) => routeKey(parseRule(rule));
  assertEquals(keyOf("rate=60/m -> http://a"), keyOf("rate=1/s -> http://a"));
  assertEquals(keyOf("rate=2/s -> http://a") === keyOf("rate=1/s -> http://a"), false);
  assertEquals(parseRule("rate=1/s redirect=308:/new").rateLimit?.rate, 1);
});

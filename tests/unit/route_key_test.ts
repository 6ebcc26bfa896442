import { assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { routeKey } from "../../lib/route/key.ts";
import type { Route } from "../../lib/route/route.ts";
import { parseRule } from "../../lib/route/rule_text.ts";
import { validateRoute } from "../../lib/route/validate.ts";
import { routeMatch } from "../support/route_arbitrary.ts";

const key = (rule: string) => routeKey(parseRule(rule));

Deno.test("the key does not depend on the order of conditions or on the targets", () => {
  assertEquals(
    key("path=/a path=/b header=X:1 header=Y -> localhost:1"),
    key("header=y path=/b/ header=x:1 path=/a path=/a -> localhost:2 weight=5, localhost:3"),
  );
  assertEquals(
    key("set-request-header=A:1 set-request-header=B:2 remove-request-header=C -> a:1"),
    key("remove-request-header=c set-request-header=b:2 set-request-header=a:1 -> b:1"),
  );
  assertEquals(
    key("add-response-header=A:1 add-response-header=B:2 add-response-header=A:3 -> a:1"),
    key("add-response-header=B:2 add-response-header=A:1 add-response-header=A:3 -> a:1"),
  );
});

Deno.test("the key depends on every condition and every change", () => {
  const rules = [
    "-> a:1",
    "path=/a -> a:1",
    "path-exact=/a -> a:1",
    "path-regex=/a -> a:1",
    "header=X:1 -> a:1",
    "header~=X:1 -> a:1",
    "header=X -> a:1",
    "grpc-header=X:1 -> a:1",
    "param=x:1 -> a:1",
    "host=a -> a:1",
    "http-method=GET -> a:1",
    "service=a -> a:1",
    "method=a -> a:1",
    "full-method=a/a -> a:1",
    "path=/a strip-prefix -> a:1",
    "path=/a rewrite-prefix=/b -> a:1",
    "path=/a rewrite-path=/b -> a:1",
    "set-request-header=a:1 -> a:1",
    "add-request-header=a:1 -> a:1",
    "set-response-header=a:1 -> a:1",
    "remove-response-header=a -> a:1",
    "redirect=301:https:",
    "redirect=302:https:",
    "redirect=301:/a",
    "redirect=301://a",
  ];
  assertEquals(new Set(rules.map(key)).size, rules.length);
});

Deno.test("the order in which fields of one name are added is part of the key", () => {
  assertNotEquals(
    key("add-request-header=a:1 add-request-header=a:2 -> a:1"),
    key("add-request-header=a:2 add-request-header=a:1 -> a:1"),
  );
});

Deno.test("any route has the same key with its lists in reverse", () => {
  const targets = [{ addr: "localhost:80", weight: 1 }];
  fc.assert(
    fc.property(routeMatch, (match) => {
      const reversed = Object.fromEntries(
        Object.entries(match).map(([kind, values]) => [kind, values.toReversed()]),
      );
      let route: Route;
      try {
        route = validateRoute({ match, targets });
      } catch {
        // Conditions that contradict each other make no route.
        return;
      }
      assertEquals(routeKey(validateRoute({ match: reversed, targets })), routeKey(route));
    }),
    { seed: 20261122, numRuns: 500 },
  );
});

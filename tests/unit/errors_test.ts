import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { describeError, ProxyError } from "../../lib/common/errors.ts";

Deno.test("an error says what happened, on whose side, and whether to try again", () => {
  const cause = new Error("below");
  const error = new ProxyError("connect_refused", "upstream", "no luck", { retry: "safe", cause });
  assert(error instanceof Error);
  assertEquals(
    [error.name, error.code, error.side, error.retry, error.message],
    ["ProxyError", "connect_refused", "upstream", "safe", "no luck"],
  );
  assertStrictEquals(error.cause, cause);
});

Deno.test("what may not be tried again is what nobody said could be", () => {
  const error = new ProxyError("bad_host", "downstream", "no Host");
  assertEquals(error.retry, "never");
  assertEquals("cause" in error, false);
});

Deno.test("an error is described with all its causes, on one line", () => {
  const system = new Deno.errors.ConnectionReset("os error 104");
  const inner = new ProxyError("upstream_reset", "upstream", "the backend failed", {
    cause: system,
  });
  const outer = new Error("exchange", { cause: inner });
  assertEquals(
    describeError(outer),
    "Error: exchange (the backend failed (ConnectionReset: os error 104))",
  );
  assertEquals(describeError(inner), "the backend failed (ConnectionReset: os error 104)");
});

Deno.test("anything that was thrown can be described", () => {
  assertEquals(describeError("text"), "text");
  assertEquals(describeError(undefined), "undefined");
  assertEquals(describeError(null), "null");
  assertEquals(describeError(new TypeError("x", { cause: 7 })), "TypeError: x (7)");
});

Deno.test("causes that go in a circle end", () => {
  const first: Error = new Error("first");
  first.cause = new Error("second", { cause: first });
  const text = describeError(first);
  assert(text.startsWith("Error: first (Error: second (Error: first ("));
  assert(text.length < 400, text);
});

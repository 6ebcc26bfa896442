import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  adaptRules,
  backoff,
  GRPC_RETRY_ON,
  HTTP_RETRY_ON,
  Recovery,
} from "../../lib/backend/recovery.ts";
import { Registry } from "../../lib/backend/registry.ts";
import { Alarm } from "../../lib/common/alarm.ts";
import { parseRetryAfter } from "../../lib/http/retry_after.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { routeKey } from "../../lib/route/key.ts";
import {
  formatRetryConditions,
  parseErrorCode,
  parseRetryConditions,
  type RetryCondition,
} from "../../lib/route/retry.ts";
import { formatRule, parseRule } from "../../lib/route/rule_text.ts";
import { validateRoute } from "../../lib/route/validate.ts";
import { FakeClock } from "../support/fake_clock.ts";

const TARGET = { addr: "http://a:80", weight: 1 };

function recovery(options: ConstructorParameters<typeof Recovery>[1] = {}): Recovery {
  const { clock } = new FakeClock();
  return new Recovery({ clock, waits: clock, on: HTTP_RETRY_ON }, options);
}

Deno.test("conditions are read as names, statuses of HTTP and statuses of gRPC", () => {
  assertEquals(
    parseRetryConditions("connect-failure,refused,reset,timeout,503,429,UNAVAILABLE,aborted,8"),
    ["connect-failure", "refused", "reset", "timeout", 503, 429, 14, 10, 8],
  );
  assertEquals(parseRetryConditions("none"), []);
  assertEquals(formatRetryConditions([]), "none");
  for (
    const text of ["", "ok", "0", "17", "200", "399", "600", "reset,", "Reset", "5xx", "invalid"]
  ) {
    const { message } = assertThrows(() => parseRetryConditions(text), TypeError);
    assert(message.includes("accepted is connect-failure"), message);
  }
  assertEquals([parseErrorCode("unavailable"), parseErrorCode("14")], [14, 14]);
  for (const text of ["OK", "0", "17", "missing", ""]) {
    assertThrows(() => parseErrorCode(text), TypeError, "accepted is UNAVAILABLE");
  }
});

Deno.test("every list of conditions is read again as it was written", () => {
  const condition: fc.Arbitrary<RetryCondition> = fc.oneof(
    fc.constantFrom("connect-failure" as const, "refused" as const, "reset" as const),
    fc.integer({ min: 1, max: 16 }),
    fc.integer({ min: 400, max: 599 }),
  );
  fc.assert(
    fc.property(fc.array(condition, { maxLength: 6 }), (conditions) => {
      assertEquals(parseRetryConditions(formatRetryConditions(conditions)), conditions);
    }),
    { seed: 4 },
  );
});

Deno.test("a route says in code and in text how it is tried again, and is another route then", () => {
  const built = new RouteBuilder().path("/a").target("http://a:80")
    .retry({ on: [503, "reset", 503], attempts: 3, perTryTimeout: 250 })
    .hedge({ delay: 50 })
    .build();
  assertEquals(built.retry, { on: [503, "reset"], attempts: 3, perTryTimeout: 250 });
  const text =
    "path=/a retry-on=503,reset max-attempts=3 per-try-timeout=250ms hedge=50ms -> http://a:80";
  assertEquals(formatRule(built), text);
  assertEquals(parseRule(text), built);
  assertEquals(parseRule("per-try-timeout=1.5s retry-on=none -> http://a:80").retry, {
    perTryTimeout: 1500,
    on: [],
  });
  const plain = new RouteBuilder().path("/a").target("http://a:80").build();
  assertEquals(validateRoute({ ...plain, retry: {} }), plain, "what says nothing is left out");
  const keys = [plain, built, { ...plain, hedge: { delay: 50 } }, { ...plain, retry: { on: [] } }];
  assertEquals(new Set(keys.map(routeKey)).size, keys.length);
  assertEquals(
    routeKey({ ...plain, retry: { on: [503, "reset"] } }),
    routeKey({ ...plain, retry: { on: ["reset", 503] } }),
  );
});

Deno.test("a route that is tried again in no way that makes sense is refused with what is accepted", () => {
  const cases: [unknown, string][] = [
    [{ attempts: 0 }, "an integer 1..100"],
    [{ attempts: 2.5 }, "an integer 1..100"],
    [{ on: "reset" }, "accepted is a list"],
    [{ on: ["resets"] }, "accepted is connect-failure"],
    [{ on: [302] }, "accepted is connect-failure"],
    [{ perTryTimeout: 0 }, "whole milliseconds from 1 to 3600000"],
    [{ perTryTimeout: Infinity }, "whole milliseconds from 1 to 3600000"],
    [{ retries: 3 }, "accepted is attempts, on, perTryTimeout"],
  ];
  for (const [retry, accepted] of cases) {
    const route = { match: {}, targets: [TARGET], retry } as never;
    const { message } = assertThrows(() => validateRoute(route), TypeError);
    assert(message.includes(accepted), message);
  }
  for (const hedge of [{}, { delay: -1 }, { delay: 0.5 }, { delay: 50, count: 2 }]) {
    assertThrows(
      () => validateRoute({ match: {}, targets: [TARGET], hedge } as never),
      TypeError,
      "accepted is",
    );
  }
  for (
    const word of ["hedge=50", "hedge=2h", "per-try-timeout=0ms", "max-attempts=x", "retry-on="]
  ) {
    assertThrows(() => parseRule(`${word} -> http://a:80`), TypeError, "accepted is");
  }
  for (const rule of ["retry-on=reset", "hedge=5ms"]) {
    assertThrows(
      () => parseRule(`path=/a ${rule} redirect=302:/b`),
      TypeError,
      "a redirect is answered and never forwarded",
    );
  }
});

Deno.test("routes of HTTP and of gRPC may ask for hedging", () => {
  const { clock } = new FakeClock();
  const make = (scheme: "http" | "grpc") =>
    new Registry({
      strategy: "round-robin",
      scheme,
      fallback: false,
      connections: {
        maxConnections: 1,
        maxWaiting: 1,
        waitTimeout: 1,
        idleTimeout: 1,
        connectTimeout: 1,
      },
      clock,
      connect: () => Promise.reject(new Error("nobody is there")),
    });
  const route = new RouteBuilder().path("/a").target("a:80").hedge({ delay: 5 }).build();
  for (const scheme of ["http", "grpc"] as const) {
    const { value, created } = make(scheme).addRoute(route);
    assertEquals([created, value.route.hedge], [true, { delay: 5 }]);
  }
});

Deno.test("a route changes only those rules that it names", () => {
  const { rules } = recovery({ retries: { on: ["reset"], perTryTimeout: 1000 } });
  assertEquals(adaptRules(rules, undefined, undefined), rules);
  assertEquals(adaptRules(rules, { attempts: 2 }, undefined), { ...rules, attempts: 2 });
  assertEquals(adaptRules(rules, { on: [503] }, { delay: 20 }), {
    ...rules,
    on: new Set([503]),
    hedgeDelay: 20,
  });
});

Deno.test("what is tried again by default needs no leave of the user", () => {
  assertEquals(HTTP_RETRY_ON.filter((one) => typeof one === "number"), []);
  assertEquals(GRPC_RETRY_ON.includes("reset"), false);
  assertEquals(GRPC_RETRY_ON.includes(14), true);
});

Deno.test("bad options are refused with their name and value", () => {
  const cases: [ConstructorParameters<typeof Recovery>[1], string][] = [
    [{ failureStatuses: [200] }, "failureStatuses 200: a status from 400 to 599 is accepted"],
    [{ failureCodes: [0] }, "failureCodes 0: a status of gRPC from 1 to 16 is accepted"],
    [{ retries: { on: ["sometimes" as never] } }, '"sometimes"'],
    [{ retries: { perTryTimeout: -5 } }, "perTryTimeout -5"],
    [{ retries: { budget: { share: -1 } } }, "retry budget share -1"],
  ];
  for (const [options, text] of cases) {
    assertThrows(() => recovery(options), TypeError, text);
  }
});

Deno.test("answers are judged by the user's lists; the pause is read only where it counts", () => {
  const judge = recovery({ failureStatuses: [500], failureCodes: [8] });
  const unread = () => {
    throw new Error("nobody needs it");
  };
  assertEquals(judge.judgeStatus(200, unread), { type: "answered" });
  assertEquals(judge.judgeStatus(503, unread), { type: "answered" });
  assertEquals(judge.judgeStatus(500, () => undefined), { type: "failed", reason: "status_500" });
  assertEquals(judge.judgeStatus(429, () => 50), {
    type: "busy",
    reason: "status_429",
    retryAfter: 50,
  });
  assertEquals(judge.judgeCode(14, unread), { type: "answered" });
  assertEquals(judge.judgeCode(8, () => 20), { type: "failed", reason: "grpc_8", retryAfter: 20 });
});

Deno.test("waits between tries grow up to a limit, and chance spreads them", () => {
  assertEquals([0, 1].map((attempts) => backoff(attempts, () => 1)), [0, 0]);
  const longest = [2, 3, 4, 5, 6, 7, 50].map((attempts) => backoff(attempts, () => 1));
  assertEquals(longest, [25, 50, 100, 200, 250, 250, 250]);
  assertEquals([2, 5].map((attempts) => backoff(attempts, () => 0.5)), [12.5, 100]);
});

Deno.test("Retry-After is seconds or a date in any of its three forms, and nothing else", () => {
  const now = Date.UTC(1994, 10, 6, 8, 49, 0);
  const cases: [string | undefined, number | undefined][] = [
    ["0", 0],
    ["120", 120_000],
    ["Sun, 06 Nov 1994 08:49:37 GMT", 37_000],
    ["Sunday, 06-Nov-94 08:49:37 GMT", 37_000],
    ["Sun Nov  6 08:49:37 1994", 37_000],
    ["Sun, 06 Nov 1994 08:40:00 GMT", 0],
    ["Sun, 99 Nov 1994 08:49:37 GMT", undefined],
    ["1994-11-06T08:49:37Z", undefined],
    ["-1", undefined],
    ["1.5", undefined],
    ["soon", undefined],
    ["", undefined],
    [undefined, undefined],
  ];
  for (const [value, expected] of cases) assertEquals(parseRetryAfter(value, now), expected, value);
});

Deno.test("an alarm rings once when its time has come, and not when it was stopped", async () => {
  const time = new FakeClock();
  let rings = 0;
  new Alarm(time.clock, 500, () => rings++);
  const stopped = new Alarm(time.clock, 500, () => rings++);
  await time.advance(500);
  assertEquals(rings, 0, "never before its time");
  stopped.stop();
  await time.advance(200);
  assertEquals([rings, time.clock.size], [1, 0]);
  await time.advance(5000);
  assertEquals(rings, 1);
});

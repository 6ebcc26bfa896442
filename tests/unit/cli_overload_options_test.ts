import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseOptions, UsageError } from "../../lib/cli/options.ts";
import {
  bodyLimits,
  clientLimits,
  connectionLimits,
  requestLimits,
  toOverloadLimits,
  toRateLimit,
} from "../../lib/cli/overload_options.ts";
import { exchangeLimits } from "../../lib/cli/server_options.ts";

const table = { ...clientLimits, ...requestLimits, ...bodyLimits };

function limits(...args: string[]) {
  return toOverloadLimits(parseOptions(table, args).values);
}

function refusal(...args: string[]): string {
  return assertThrows(() => limits(...args), UsageError).message;
}

Deno.test("without options against overload there are no such limits", () => {
  assertEquals(limits(), {});
  assertEquals(toRateLimit(parseOptions(table, []).values), {});
});

Deno.test("each option is the limit of its name", () => {
  assertEquals(
    limits(
      ...["--max-requests", "100", "--adaptive-limit", "--max-connections-per-client", "20"],
      ...["--min-body-rate", "1k", "--body-grace", "5s"],
    ),
    {
      maxRequests: 100,
      adaptive: true,
      maxConnectionsPerClient: 20,
      minBodyRate: 1024,
      bodyGrace: 5000,
    },
  );
  const { values } = parseOptions(table, ["--rate-limit", "100/s,burst=20,by=header:X-User"]);
  assertEquals(toRateLimit(values), {
    rateLimit: { rate: 100, burst: 20, key: "header:x-user" },
  });
});

Deno.test("what is no limit is refused with the name of its option", () => {
  assertStringIncludes(refusal("--max-requests", "0"), "--max-requests");
  assertStringIncludes(refusal("--rate-limit", "fast"), '--rate-limit: rate limit "fast"');
  assertStringIncludes(refusal("--min-body-rate", "-1"), "--min-body-rate");
  assertStringIncludes(
    refusal("--body-grace", "1s"),
    "--body-grace is given without --min-body-rate",
  );
});

Deno.test("at layer 4 connections are limited by the options that layer 7 has for them", () => {
  const { values } = parseOptions(connectionLimits, [
    ...["--max-upstream-connections", "5", "--max-waiting", "7", "--pool-wait-timeout", "2s"],
  ]);
  assertEquals(values, {
    "max-upstream-connections": 5,
    "max-waiting": 7,
    "pool-wait-timeout": 2000,
  });
});

Deno.test("nobody may have to wait: 0 is taken at either layer", () => {
  for (const table of [connectionLimits, exchangeLimits]) {
    const { values } = parseOptions(table, ["--max-waiting", "0"]);
    assertEquals(values["max-waiting"], 0);
    assertThrows(() => parseOptions(table, ["--max-waiting=-1"]), UsageError, "--max-waiting");
  }
});

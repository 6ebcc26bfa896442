import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseOptions, UsageError } from "../../lib/cli/options.ts";
import { toRoutingOptions } from "../../lib/cli/routing_options.ts";
import {
  failureCodes,
  failureStatuses,
  hashOption,
  retryOptions,
  stickyOption,
  toAffinityOptions,
  toRetryOptions,
} from "../../lib/cli/retry_options.ts";
import { GrpcL7, HttpL7, Mux } from "../../lib/load_balancer.ts";

const options = {
  ...retryOptions,
  ...failureStatuses,
  ...failureCodes,
  ...hashOption,
  ...stickyOption,
};

function parse(...args: string[]) {
  const { values } = parseOptions(options, args);
  return { ...toRetryOptions(values), ...toAffinityOptions(values) };
}

Deno.test("without options about retries the library's defaults hold", () => {
  assertEquals(parse(), {});
});

Deno.test("each option is one of the library", () => {
  const all = parse(
    ...["--retry-on", "connect-failure,503,UNAVAILABLE", "--per-try-timeout", "250ms"],
    ...["--retry-budget", "20%", "--retry-floor", "3"],
    ...["--failure-statuses", "500,502-504", "--failure-codes", "UNAVAILABLE,8"],
    ...["--hash-by", "header:X-User", "--sticky-cookie", "lb"],
  );
  assertEquals(all, {
    retries: {
      on: ["connect-failure", 503, 14],
      perTryTimeout: 250,
      budget: { share: 0.2, floor: 3 },
    },
    failureStatuses: [500, 502, 503, 504],
    failureCodes: [14, 8],
    hashBy: "header:X-User",
    sticky: { cookie: "lb" },
  });
  assertEquals(parse("--retry-on", "none"), { retries: { on: [] } });
});

Deno.test("what cannot be meant is refused with what is accepted", () => {
  const cases: [string, string, string][] = [
    ["--retry-on", "always", "connect-failure"],
    ["--per-try-timeout", "5", "500ms"],
    ["--retry-budget", "lots", "accepted"],
    ["--retry-floor", "-1", "a whole number"],
    ["--failure-statuses", "200-599", "400 to 599"],
    ["--failure-codes", "OK", "UNAVAILABLE"],
    ["--hash-by", "cookie:", "cookie:NAME"],
    ["--sticky-cookie", "a=b", "letters, digits"],
  ];
  for (const [name, value, accepted] of cases) {
    const { message } = assertThrows(() => parse(`${name}=${value}`), UsageError);
    assertStringIncludes(message, name);
    assertStringIncludes(message, accepted);
  }
});

Deno.test("balancers refuse a key without the strategy that goes by it, and a bad cookie", async () => {
  assertThrows(() => new HttpL7({ hashBy: "path" }), TypeError, "strategy consistent-hash only");
  assertThrows(
    () => new GrpcL7({ hashBy: "nothing", strategy: "consistent-hash" }),
    TypeError,
    "metadata:NAME",
  );
  assertThrows(() => new HttpL7({ sticky: { cookie: "" } }), TypeError, "sticky cookie");
  assertThrows(() => new Mux({ failureCodes: [99] }), TypeError, "failureCodes 99");
  const lb = new Mux({
    strategy: "consistent-hash",
    hashBy: "header:x-user",
    sticky: { cookie: "lb" },
    retries: { on: ["reset", 14], budget: { share: 0.5 } },
  });
  assertEquals(lb.http.name.length > 0, true);
  await lb.close();
});

Deno.test("a key without the strategy that goes by it is refused with both options", () => {
  const common = { backends: [] };
  const values = { "hash-by": "header:X-User", route: [], fallback: false } as const;
  const rest = { "trusted-proxy": [], forwarded: undefined, "rate-limit": undefined } as const;
  for (const strategy of [undefined, "round-robin"] as const) {
    const { message } = assertThrows(
      () =>
        toRoutingOptions({ ...common, ...(strategy === undefined ? {} : { strategy }) }, {
          ...values,
          ...rest,
        }),
      UsageError,
    );
    assertEquals(message, "--hash-by is given without --strategy consistent-hash");
  }
  const { hashBy } = toRoutingOptions({ ...common, strategy: "consistent-hash" }, {
    ...values,
    ...rest,
  });
  assertEquals(hashBy, "header:X-User");
});

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { healthOptions, toHealthOptions } from "../../lib/cli/health_options.ts";
import { parseOptions, UsageError } from "../../lib/cli/options.ts";
import { formatPercent, parseBackend, parsePercent } from "../../lib/cli/values.ts";

function parse(...args: string[]) {
  return toHealthOptions(parseOptions(healthOptions, args).values);
}

function refusal(...args: string[]): string {
  return assertThrows(() => parse(...args), UsageError).message;
}

Deno.test("without options about health the library's defaults hold", () => {
  assertEquals(parse(), {});
});

Deno.test("a check has its settings, and an HTTP check what is its own", () => {
  assertEquals(
    parse("--health-check", "grpc:a.B", "--health-interval", "10s", "--health-fall", "5"),
    { healthCheck: { check: { type: "grpc", service: "a.B" }, interval: 10_000, fall: 5 } },
  );
  assertEquals(parse("--health-check", "grpc-watch:a.B", "--health-timeout", "1s"), {
    healthCheck: { check: { type: "grpc-watch", service: "a.B" }, timeout: 1000 },
  });
  const all = parse(
    ...["--health-check", "http:/ready", "--health-status", "200,204", "--health-host", "app.test"],
    ...["--health-body", "all good", "--health-timeout", "500ms", "--health-rise", "1"],
    ...["--health-method", "OPTIONS"],
  );
  assertEquals(all.healthCheck, {
    check: {
      type: "http",
      path: "/ready",
      method: "OPTIONS",
      statuses: [[200, 200], [204, 204]],
      host: "app.test",
      body: "all good",
    },
    timeout: 500,
    rise: 1,
  });
});

Deno.test("what means nothing without another option is refused with both names", () => {
  assertStringIncludes(
    refusal("--health-interval", "1s"),
    "--health-interval is given without --health-check",
  );
  assertStringIncludes(
    refusal("--health-check", "tcp", "--health-body", "x"),
    "--health-body is given with a --health-check over tcp",
  );
  assertStringIncludes(
    refusal("--health-check", "grpc", "--health-method", "HEAD"),
    "--health-method is given with a --health-check over grpc",
  );
  for (const method of ["", "GET /", "CONNECT", "G\r\nX: y"]) {
    assertStringIncludes(
      refusal("--health-check", "http:/", "--health-method", method),
      `--health-method: ${JSON.stringify(method)} is not accepted`,
    );
  }
  assertStringIncludes(
    refusal("--health-check", "grpc-watch", "--health-status", "200"),
    "--health-status is given with a --health-check over grpc-watch",
  );
  assertStringIncludes(
    refusal("--no-ejection", "--ejection-time", "1s"),
    "--ejection-time is given with --no-ejection",
  );
  assertStringIncludes(refusal("--health-check", "ping"), '"ping"');
  assertStringIncludes(refusal("--health-check", "http:/", "--health-host", "a\nb"), "one line");
});

Deno.test("ejection can be tuned and switched off", () => {
  assertEquals(parse("--no-ejection"), { outlierDetection: false });
  assertEquals(
    parse(
      ...["--ejection-failures", "0", "--ejection-share", "80%", "--ejection-time", "1m"],
      ...["--max-ejected", "12.5%"],
    ).outlierDetection,
    { consecutiveFailures: 0, failureShare: 0.8, ejectionTime: 60_000, maxEjected: 0.125 },
  );
});

Deno.test("the name server that is asked is checked, and given to the library as it is", () => {
  assertEquals(parse("--dns-server", "127.0.0.1:8600"), { dns: { server: "127.0.0.1:8600" } });
  assertEquals(parse("--dns-interval", "5s", "--dns-server", "::1"), {
    dns: { interval: 5_000, server: "::1" },
  });
  assertThrows(() => parse("--dns-server", "ns.internal"), UsageError, "such as 10.0.0.53");
});

Deno.test("slow start, panic threshold and the interval of names are passed on", () => {
  assertEquals(parse("--slow-start", "30s", "--panic-threshold", "0%", "--dns-interval", "5s"), {
    slowStart: 30_000,
    panicThreshold: 0,
    dns: { interval: 5000 },
  });
});

Deno.test("shares are percentages from 0 to 100", () => {
  for (const text of ["0%", "25%", "33.3%", "100%"]) {
    assertEquals(formatPercent(parsePercent(text)), text);
  }
  for (const text of ["", "25", "0.25", "101%", "-1%", "1e1%", "%"]) {
    assertThrows(() => parsePercent(text), TypeError, JSON.stringify(text));
  }
});

Deno.test("a backend may be a name that is followed, with a weight", () => {
  assertEquals(parseBackend("dns:app.internal:8080,weight=3"), {
    addr: "dns:app.internal:8080",
    weight: 3,
  });
  assertEquals(parseBackend("srv:_http._tcp.app.internal"), {
    addr: "srv:_http._tcp.app.internal",
  });
  assertThrows(() => parseBackend("dns:app.internal"), TypeError, "dns:name:port");
});

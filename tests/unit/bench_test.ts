import { assertAlmostEquals, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseWrk, type Sample } from "../../scripts/bench/load.ts";
import { parseCpuTicks } from "../../scripts/bench/process.ts";
import {
  compare,
  median,
  renderMarkdown,
  renderText,
  type Report,
  type ScenarioReport,
  summarize,
} from "../../scripts/bench/report.ts";
import { pickScenarios, SCENARIOS } from "../../scripts/bench/scenario.ts";
import { chooseConnections } from "../../scripts/idle_memory.ts";
import { parseWhole, ScriptError, splitCommand } from "../../scripts/script.ts";

const WRK = `Running 1s test @ http://127.0.0.1:19001/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.28ms  640.01us  14.20ms   97.54%
    Req/Sec    50.63k     2.29k   53.76k    90.91%
  Latency Distribution
     50%  860.00us
     75%    1.35ms
     90%    1.51ms
     99%    1.10s
  55412 requests in 1.10s, 9.99MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:  50367.43
Transfer/sec:      9.08MB
`;

Deno.test("the output of wrk is read with its units and every kind of error", () => {
  assertEquals(parseWrk(WRK), {
    requestsPerSecond: 50367.43,
    p50Ms: 0.86,
    p99Ms: 1100,
    requests: 55412,
    errors: 15,
  });
});

Deno.test("a run of wrk without errors counts none", () => {
  assertEquals(parseWrk(WRK.replace(/^.*(errors|responses):.*\n/gm, "")).errors, 0);
});

Deno.test("a run of wrk that answered nothing has no percentiles", () => {
  const { p50Ms, requests } = parseWrk("  0 requests in 1.00s, 0.00B read\nRequests/sec:  0.00\n");
  assertEquals([p50Ms, requests], [NaN, 0]);
});

Deno.test("what wrk prints when it fails is no result", () => {
  const output = "unable to connect to 127.0.0.1:1 Connection refused";
  assertThrows(() => parseWrk(output), SyntaxError, output);
});

Deno.test("CPU ticks are found behind a process name with blanks and brackets", () => {
  const fields = Array.from({ length: 50 }, (_, index) => index + 4).join(" ");
  assertEquals(parseCpuTicks(`12 (a) b (c) S ${fields}`), 14 + 15);
  assertEquals(parseCpuTicks(""), NaN);
});

Deno.test("the median is the middle value and leaves out what was not measured", () => {
  assertEquals(median([3, 1, 2]), 2);
  assertEquals(median([4, 1, 2, 3]), 2.5);
  assertEquals(median([NaN, 5, NaN]), 5);
  assertEquals(median([]), NaN);
});

const sample = (requestsPerSecond: number, cpuMicroseconds: number, errors = 0): Sample => ({
  requestsPerSecond,
  cpuMicroseconds,
  p50Ms: 1,
  p99Ms: 2,
  residentBytes: 3 * 2 ** 20,
  errors,
});

const LB = { name: "lb", samples: [sample(100, 10), sample(50, 20, 1), sample(90, 15, 2)] };
const PEER = { name: "nginx", samples: [sample(200, 5), sample(50, 10), sample(100, 30)] };

Deno.test("a row has the medians of all rounds and the sum of the errors", () => {
  assertEquals(summarize(LB), {
    name: "lb",
    requestsPerSecond: 90,
    p50Ms: 1,
    p99Ms: 2,
    cpuMicroseconds: 15,
    residentMiB: 3,
    errors: 3,
  });
});

Deno.test("ratios are taken within a round", () => {
  const { name, requests, cpu } = compare(LB, PEER); // 0.5, 1, 0.9 and 2, 2, 0.5
  assertEquals(name, "nginx");
  assertAlmostEquals(requests, 0.9);
  assertEquals(cpu, 2);
});

const SCENARIO_REPORT: ScenarioReport = {
  scenario: SCENARIOS.find(({ name }) => name === "http-l4-1m")!,
  rows: [
    { ...summarize(PEER), name: "direct", cpuMicroseconds: NaN, residentMiB: NaN },
    summarize(PEER),
    summarize(LB),
  ],
  ratios: [compare(LB, PEER)],
  skipped: ["caddy: not installed"],
};

Deno.test("the table for the terminal is aligned and names what was skipped", () => {
  assertEquals(
    renderText(SCENARIO_REPORT),
    `http-l4-1m: GET /1m, 1048576 bytes, 16 connections
proxy   requests/s  p50 ms  p99 ms  CPU µs/request  memory MiB  errors  lb: requests  lb: CPU
direct         100    1.00    2.00               –           –       0
nginx          100    1.00    2.00            10.0         3.0       0         ×0.90    ×2.00
lb              90    1.00    2.00            15.0         3.0       3
skipped caddy: not installed`,
  );
});

Deno.test("the tables for the README say what they were measured on", () => {
  const report: Report = {
    machine: {
      cpu: "Some CPU",
      cores: 2,
      system: "linux 6.1",
      versions: { deno: "2.9.6", nginx: "1.22.1" },
      pinned: true,
    },
    rounds: 5,
    seconds: 4,
    scenarios: [SCENARIO_REPORT],
  };
  const text = renderMarkdown(report);
  assertStringIncludes(
    text,
    "Some CPU, 2 cores, linux 6.1; deno 2.9.6, nginx 1.22.1. Proxies take",
  );
  assertStringIncludes(text, "Median of 5 rounds of 4 s");
  assertStringIncludes(text, "\n| nginx | 100 | 1.00 | 2.00 | 10.0 | 3.0 | 0 | ×0.90 | ×2.00 |\n");
  assertStringIncludes(text, "\n\nSkipped caddy: not installed.\n");
});

Deno.test("scenarios are picked by name, and an unknown name is refused with the known ones", () => {
  assertEquals(pickScenarios("all"), SCENARIOS);
  assertEquals(pickScenarios("http-l7, http-l4").map(({ name }) => name), ["http-l7", "http-l4"]);
  assertThrows(() => pickScenarios("http-l5"), ScriptError, "'http-l5' is none of all, http-l4");
});

Deno.test("a command line is split at blanks outside quotes", () => {
  assertEquals(splitCommand(`deno run  -A "my folder/main.ts" --x='a "b"' ""`), [
    "deno",
    "run",
    "-A",
    "my folder/main.ts",
    `--x=a "b"`,
    "",
  ]);
  assertThrows(() => splitCommand("  "), ScriptError, "may not be empty");
  assertThrows(() => splitCommand(`deno "run`), ScriptError, "a quote that is not closed");
});

Deno.test("a whole number is refused outside its limits, with both", () => {
  assertEquals(parseWhole("rounds", "7", 1, 7), 7);
  for (const value of ["0", "8", "-1", "1.5", "1e0", "", undefined]) {
    const message = `--rounds: '${value}' is not a whole number from 1 to 7`;
    assertThrows(() => parseWhole("rounds", value, 1, 7), ScriptError, message);
  }
});

Deno.test("the number of idle connections stays below the limit of open files", () => {
  assertEquals(chooseConnections(undefined, 20_000), 10_000);
  assertEquals(chooseConnections(undefined, Infinity), 10_000);
  assertEquals(chooseConnections(undefined, 1024), 512);
  assertEquals(chooseConnections(300, 1024), 300);
  assertThrows(() => chooseConnections(513, 1024), ScriptError, "need a limit of 1025 open files");
  assertThrows(() => chooseConnections(undefined, 512), ScriptError, "too low");
});

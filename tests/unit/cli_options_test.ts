import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { formatHelp } from "../../lib/cli/help.ts";
import {
  flag,
  inSection,
  many,
  negatedFlag,
  one,
  oneOf,
  parseOptions,
  UsageError,
} from "../../lib/cli/options.ts";
import { h2Timeouts } from "../../lib/cli/server_options.ts";
import { toLoadBalancerOptions, toShutdown, toWanted } from "../../lib/cli/server_values.ts";
import { suggest } from "../../lib/cli/suggest.ts";
import { formatTable } from "../../lib/cli/table.ts";
import {
  formatDuration,
  parseBackend,
  parseDuration,
  parsePair,
  parseSize,
  parseWhole,
} from "../../lib/cli/values.ts";
import { VERSION } from "../../lib/common/version.ts";

const SEED = 20261122;

const table = {
  listen: many("ADDR", "where to listen", (text) => text),
  weight: one("N", "a share", (text) => parseWhole(text, 0, 10)),
  format: oneOf("FORMAT", "json or text", ["json", "text"]),
  log: one("FILE", "a file", (text) => text),
  json: flag("print JSON"),
  management: negatedFlag("no management"),
};

function refusal(...args: string[]): string {
  return assertThrows(() => parseOptions(table, args), UsageError).message;
}

Deno.test("options are read as their table says", () => {
  assertEquals(parseOptions(table, []), {
    values: {
      listen: [],
      weight: undefined,
      format: undefined,
      log: undefined,
      json: false,
      management: true,
    },
    operands: [],
  });
  const { values, operands } = parseOptions(table, [
    "first",
    "--listen",
    ":80",
    "--json",
    "--listen=[::1]:81",
    "--weight",
    "3",
    "--no-management",
    "--format=json",
    "8080",
    "--",
    "--listen",
    "-x",
  ]);
  assertEquals(values, {
    listen: [":80", "[::1]:81"],
    weight: 3,
    format: "json",
    log: undefined,
    json: true,
    management: false,
  });
  assertEquals(operands, ["first", "8080", "--listen", "-x"]);
});

Deno.test("a value may be a dash, begin with one, be empty or hold an equals sign", () => {
  const log = (...args: string[]) => parseOptions(table, args).values.log;
  assertEquals(log("--log", "-"), "-");
  assertEquals(log("--log", "-1"), "-1");
  assertEquals(log("--log=--json"), "--json");
  assertEquals(log("--log", "a=b=c"), "a=b=c");
  assertEquals(log("--log="), "");
  assertEquals(log("--log", ""), "");
  assertEquals(log("--log", "true"), "true");
});

Deno.test("words behind a flag stay operands", () => {
  for (const word of ["true", "false", "1e3", "0x10", "-"]) {
    const { values, operands } = parseOptions(table, ["--json", word]);
    assertEquals([values.json, operands], [true, [word]]);
  }
});

Deno.test("options that are not known are refused, with the nearest one that is", () => {
  assertEquals(
    refusal("--lisen", ":80"),
    "--lisen is not an option of this command; did you mean --listen?",
  );
  assertEquals(
    refusal("--wieght=3"),
    "--wieght is not an option of this command; did you mean --weight?",
  );
  assertEquals(
    refusal("--no-managment"),
    "--no-managment is not an option of this command; did you mean --no-management?",
  );
  for (
    const arg of [
      "--something",
      "-x",
      "--__proto__=1",
      "--constructor",
      "--listen.x=1",
      "--no-json",
    ]
  ) {
    assertStringIncludes(refusal(arg), "is not an option of this command");
  }
});

Deno.test("options that lack a value, have one too many or are given twice are refused by name", () => {
  assertEquals(refusal("--weight"), "--weight lacks its value: --weight N");
  assertEquals(refusal("--weight", "--json"), "--weight lacks its value: --weight N");
  assertEquals(refusal("--json=true"), "--json takes no value");
  assertEquals(
    refusal("--weight", "1", "--weight=2"),
    "--weight is given 2 times; accepted is once",
  );
  assertEquals(
    refusal("--management"),
    "--management is on by itself; accepted is --no-management",
  );
});

Deno.test("bad values are refused with the option, the value and what is accepted", () => {
  assertEquals(
    refusal("--weight", "11"),
    '--weight: number "11" is not accepted; accepted is a whole number from 0 to 10',
  );
  assertEquals(
    refusal("--format", "xml"),
    '--format: "xml" is not accepted; accepted is one of json, text',
  );
});

Deno.test("whatever the command line, the outcome is values or a usage error", () => {
  const word = fc.oneof(
    fc.constantFrom(
      "--listen",
      "--weight",
      "--json",
      "--no-management",
      "--",
      "-",
      "=",
      "--log=",
      "-h",
    ),
    fc.string(),
    fc.string().map((text) => `--${text}`),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (args) => {
      try {
        const { values, operands } = parseOptions(table, args);
        assertEquals(Object.keys(values), Object.keys(table));
        for (const operand of operands) assert(args.includes(operand), operand);
      } catch (error) {
        assert(error instanceof UsageError, String(error));
      }
    }),
    { seed: SEED, numRuns: 2000 },
  );
});

Deno.test("the help lists every option under its heading, within the width of a terminal", () => {
  const help = formatHelp({
    usage: "lb x [options]",
    description: "Does something. ".repeat(20).trim(),
    examples: [["lb x --json", "an example"]],
  }, { ...table, ...inSection("Other", { extra: flag("an option ".repeat(30).trim()) }) });
  for (
    const part of [
      "--listen ADDR",
      "--no-management",
      "--extra",
      "--help",
      "Other:",
      "may be repeated",
    ]
  ) {
    assertStringIncludes(help, part);
  }
  assert(help.split("\n").every((line) => line.length <= 100));
  assertStringIncludes(help, "  # an example\n  lb x --json");
});

Deno.test("durations need a unit and stay within what a timer takes", () => {
  const cases: [text: string, milliseconds: number][] = [
    ["500ms", 500],
    ["10s", 10_000],
    ["1.5s", 1500],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["576h", 2_073_600_000],
  ];
  for (const [text, milliseconds] of cases) assertEquals(parseDuration(text), milliseconds);
  for (
    const text of ["", "10", "s", "10 s", "-1s", "1d", "0s", "0.1ms", "577h", "1e3s", "10S", "1.s"]
  ) {
    assertStringIncludes(
      assertThrows(() => parseDuration(text), TypeError).message,
      `duration ${JSON.stringify(text)}`,
    );
  }
  assertEquals(parseDuration("0s", 0), 0);
});

Deno.test("a formatted duration parses to the same", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2_000_000_000 }), (milliseconds) => {
      assertEquals(parseDuration(formatDuration(milliseconds)), milliseconds);
    }),
    { seed: SEED },
  );
  assertEquals([0, 1, 1000, 90_000, 60_000, 7_200_000].map(formatDuration), [
    "0s",
    "1ms",
    "1s",
    "90s",
    "1m",
    "2h",
  ]);
});

Deno.test("sizes are bytes, or have a binary unit", () => {
  const cases: [text: string, bytes: number][] = [
    ["1", 1],
    ["8192", 8192],
    ["16k", 16_384],
    ["16KiB", 16_384],
    ["1m", 1_048_576],
    ["1024MiB", 1_073_741_824],
  ];
  for (const [text, bytes] of cases) assertEquals(parseSize(text), bytes);
  for (const text of ["", "0", "-1", "1.5k", "1g", "1 k", "1025m", "k"]) {
    assertThrows(() => parseSize(text), TypeError, `size ${JSON.stringify(text)}`);
  }
});

Deno.test("a backend has an address and perhaps a weight", () => {
  assertEquals(parseBackend("http://localhost:8081"), { addr: "http://localhost:8081" });
  assertEquals(parseBackend("[::1]:81,weight=0"), { addr: "[::1]:81", weight: 0 });
  for (
    const [text, problem] of [
      ["localhost", "the port is missing"],
      ["a:1,weight=x", '"x"'],
      ["a:1,weight=65536", "0 to 65535"],
      ["a:1,wait=3", "ADDR,weight=N"],
      ["a:1,weight=1,weight=2", '"1,weight=2"'],
      ["", "it is empty"],
    ] as const
  ) {
    assertThrows(() => parseBackend(text), TypeError, problem);
  }
});

Deno.test("a pair is cut at its first colon", () => {
  assertEquals(parsePair("X-Version:v2"), ["X-Version", "v2"]);
  assertEquals(parsePair("X-Url:http://a"), ["X-Url", "http://a"]);
  assertEquals(parsePair("X-Empty:"), ["X-Empty", ""]);
  for (const text of ["X-Version", ":v2", ""]) assertThrows(() => parsePair(text), TypeError);
});

Deno.test("only what is near is suggested", () => {
  const words = ["--listen", "--backend", "--json"];
  assertEquals(suggest("--lisetn", words), "--listen");
  assertEquals(suggest("--backends", words), "--backend");
  assertEquals(suggest("--completely", words), undefined);
  assertEquals(suggest("x", []), undefined);
});

Deno.test("a table is as wide as its cells", () => {
  assertEquals(
    formatTable([{ title: "NAME" }, { title: "N", align: "right" }], [["a", "10"], [
      "longer",
      "9",
    ]]),
    "NAME     N\na       10\nlonger   9",
  );
});

Deno.test("every option of the server reaches the library", () => {
  const options = toLoadBalancerOptions({
    backend: [{ addr: "a:1" }],
    strategy: "random",
    management: false,
    "admin-allow": ["10.0.0.0/8"],
    "default-port": 81,
    "connect-timeout": 1,
    "tunnel-idle-timeout": 2,
    "half-closed-timeout": 3,
    "drain-timeout": 0,
    "request-head-timeout": 4,
    "idle-timeout": 5,
    "body-stall-timeout": 6,
    "window-stall-timeout": 22,
    "response-timeout": 7,
    "expect-continue-timeout": 8,
    "upstream-idle-timeout": 9,
    "pool-wait-timeout": 10,
    "max-connection-age": 19,
    "max-connection-age-grace": Infinity,
    "keepalive-time": Infinity,
    "upstream-keepalive-time": 20,
    "keepalive-timeout": 21,
    "keepalive-without-calls": true,
    "min-ping-interval": 0,
    "max-connections": 11,
    "max-attempts": 12,
    "max-upstream-connections": 13,
    "max-waiting": 14,
    "max-request-line-size": 15,
    "max-field-size": 16,
    "max-head-size": 17,
    "max-fields": 18,
  });
  assertEquals(options, {
    backends: [{ addr: "a:1" }],
    strategy: "random",
    timeouts: {
      connect: 1,
      requestHead: 4,
      idle: 5,
      bodyStall: 6,
      windowStall: 22,
      response: 7,
      expectContinue: 8,
      tunnelIdle: 2,
      halfClosed: 3,
      upstreamIdle: 9,
      poolWait: 10,
      maxConnectionAge: 19,
      maxConnectionAgeGrace: Infinity,
      shutdown: 0,
    },
    keepalive: {
      time: Infinity,
      upstreamTime: 20,
      timeout: 21,
      withoutCalls: true,
      minPingInterval: 0,
    },
    limits: {
      maxConnections: 11,
      maxUpstreamConnections: 13,
      maxWaiting: 14,
      maxAttempts: 12,
      maxRequestLine: 15,
      maxFieldLine: 16,
      maxHead: 17,
      maxFields: 18,
    },
    management: { onListeners: false, allow: ["10.0.0.0/8"], defaultPort: 81 },
  });
  assertEquals(toWanted({}), { listen: [], admin: undefined, fallback: ":8080" });
  assertEquals(toWanted({ listen: [":1", ":2"], admin: ":3" }), {
    listen: [":1", ":2"],
    admin: ":3",
    fallback: ":8080",
  });
  assertEquals(toShutdown({}), { delay: 0, idle: 1_000 });
  assertEquals(toShutdown({ "drain-delay": 1, "drain-idle-timeout": 2 }), { delay: 1, idle: 2 });
});

Deno.test("a time that may be off says so, and what is too short for backends", () => {
  const read = (name: keyof typeof h2Timeouts, text: string) =>
    parseOptions(h2Timeouts, [`--${name}`, text]).values[name];
  assertEquals(read("keepalive-time", "off"), Infinity);
  assertEquals(read("max-connection-age", "30m"), 1_800_000);
  assertEquals(read("upstream-keepalive-time", "10s"), 10_000);
  assertEquals(read("min-ping-interval", "0s"), 0);
  const refused = assertThrows(() => read("upstream-keepalive-time", "9s"), UsageError).message;
  assertStringIncludes(refused, "9s is too short; accepted is 10s or more, or off");
});

Deno.test("files that cannot be used are refused by the option's name", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/file`;
    const load = (option: "ca-file" | "admin-token-file") => () =>
      toLoadBalancerOptions(option === "ca-file" ? { "ca-file": [file] } : { [option]: file });
    for (const option of ["ca-file", "admin-token-file"] as const) {
      assertThrows(load(option), UsageError, `--${option} ${file} cannot be read`);
    }
    await Deno.writeTextFile(file, "too short\n");
    assertThrows(load("ca-file"), UsageError, "has no certificate");
    assertThrows(load("admin-token-file"), UsageError, "the token has");
    await Deno.writeTextFile(file, "a-token-of-some-length\n");
    assertEquals(load("admin-token-file")().management, { token: "a-token-of-some-length" });
    await Deno.writeTextFile(file, "-----BEGIN CERTIFICATE-----\n");
    assertEquals(load("ca-file")().caCerts, ["-----BEGIN CERTIFICATE-----\n"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the version is that of deno.json", async () => {
  const url = new URL("../../deno.json", import.meta.url);
  assertEquals(VERSION, JSON.parse(await Deno.readTextFile(url)).version);
});

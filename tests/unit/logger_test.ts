import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { configureSync, type LogRecord, resetSync } from "@logtape/logtape";
import fc from "fast-check";
import { ProxyError } from "../../lib/common/errors.ts";
import { escapeControls, quoteIfNeeded, quoteJson } from "../../lib/observe/escape.ts";
import { formatLogJson, formatLogText, MAX_VALUE_LENGTH } from "../../lib/observe/log_format.ts";
import {
  configureLogging,
  flushLogging,
  getLogger,
  type LoggingOptions,
  MAX_PENDING_LOG,
} from "../../lib/observe/logger.ts";

/** Runs `act` with logging set up and returns the lines that came out. */
function linesOf(options: Omit<LoggingOptions, "write">, act: () => void): string[] {
  const lines: string[] = [];
  configureLogging({ ...options, write: (line) => lines.push(line) });
  try {
    act();
  } finally {
    resetSync();
  }
  return lines;
}

const entry = { time: Date.UTC(2026, 10, 22, 8, 7, 0, 123), level: "info", category: "lb.health" };

/** What must not be in a log line: anything a terminal or a line reader would act on. */
// deno-lint-ignore no-control-regex -- control characters are what this is about
const DANGEROUS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/;

Deno.test("a text line has time, level, category, message and key=value pairs", () => {
  const fields = { backend: "127.0.0.1:9000", attempts: 3, ok: false, error: "connection refused" };
  assertEquals(
    formatLogText({ ...entry, message: "backend is down", fields }),
    "2026-11-22T08:07:00.123Z info    lb.health: backend is down " +
      'backend=127.0.0.1:9000 attempts=3 ok=false error="connection refused"',
  );
});

Deno.test("a JSON line is one object with the fixed names first and the fields behind", () => {
  const fields = { backend: "[::1]:80", attempts: 3, ok: true, none: null, list: [1, "a"] };
  const line = formatLogJson({ ...entry, message: 'a "quoted" word', fields });
  assertEquals(JSON.parse(line), {
    time: "2026-11-22T08:07:00.123Z",
    level: "info",
    logger: "lb.health",
    message: 'a "quoted" word',
    ...fields,
  });
});

Deno.test("a field cannot take the place of time, level, logger or message", () => {
  const fields = { time: "never", level: "none", logger: "x", message: "y" };
  const parsed = JSON.parse(formatLogJson({ ...entry, message: "real", fields }));
  assertEquals(parsed.message, "real");
  assertEquals([parsed.level, parsed.level_, parsed.message_], ["info", "none", "y"]);
});

Deno.test("a value is quoted when it is empty or holds a space, a quote, a backslash or =", () => {
  assertEquals(["", "a b", 'a"b', "a\\b", "a=b"].map(quoteIfNeeded), [
    '""',
    '"a b"',
    '"a\\"b"',
    '"a\\\\b"',
    '"a=b"',
  ]);
  const bare = ["http://[::1]:80/", "10.0.0.0/8", "unix:/run/x.sock", "größe", "日本", "👍"];
  assertEquals(bare.map(quoteIfNeeded), bare);
});

Deno.test("line ends, escape sequences and direction overrides are written visibly", () => {
  assertEquals(escapeControls("a\r\nb\tc"), "a\\r\\nb\\tc");
  assertEquals(escapeControls("\u001b[2J\u009b31m\u007f"), "\\u001b[2J\\u009b31m\\u007f");
  assertEquals(escapeControls("\u202egnp.exe\u2028"), "\\u202egnp.exe\\u2028");
  assertEquals(escapeControls("\ud800 \u{e0041}"), "\\ud800 \\udb40\\udc41");
  assertEquals(quoteJson("\u009b\u2028"), '"\\u009b\\u2028"');
});

Deno.test("a value cannot forge a line or a field, in either format", () => {
  const attack = 'x\n2026-11-22T08:07:00.123Z error lb: forged level=error "';
  const text = formatLogText({ ...entry, message: attack, fields: { target: attack } });
  assertEquals(text.split("\n").length, 1);
  assertStringIncludes(text, 'target="x\\n2026');
  const json = formatLogJson({ ...entry, message: attack, fields: { target: attack } });
  assertEquals(json.split("\n").length, 1);
  assertEquals(JSON.parse(json).target, attack);
});

Deno.test("no text whatever gets a control character into a line, and JSON gives it back", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (message, value) => {
      const fields = { value, [value]: value, nested: { value } };
      const text = formatLogText({ ...entry, message, fields });
      const json = formatLogJson({ ...entry, message, fields });
      assert(!DANGEROUS.test(text), text);
      assert(!DANGEROUS.test(json), json);
      const parsed = JSON.parse(json);
      assertEquals([parsed.message, parsed.value, parsed.nested], [message, value, { value }]);
      assertEquals(JSON.parse(quoteJson(value)), value);
    }),
    { seed: 20261122, numRuns: 300 },
  );
});

Deno.test("errors are described with their causes, and odd values never break a line", () => {
  const cause = new ProxyError("connect_refused", "upstream", "cannot connect to 10.0.0.1:80", {
    cause: new TypeError("bad\naddress"),
  });
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  const fields = {
    error: cause,
    circular,
    big: 12n,
    date: new Date(0),
    nothing: undefined,
    missing: NaN,
    symbol: Symbol("s"),
  };
  const text = formatLogText({ ...entry, message: "m", fields });
  assertStringIncludes(text, 'error="cannot connect to 10.0.0.1:80 (TypeError: bad\\naddress)"');
  assertStringIncludes(text, "big=12 date=1970-01-01T00:00:00.000Z missing=NaN symbol=Symbol(s)");
  assertEquals(JSON.parse(formatLogJson({ ...entry, message: "m", fields })), {
    time: "2026-11-22T08:07:00.123Z",
    level: "info",
    logger: "lb.health",
    message: "m",
    error: "cannot connect to 10.0.0.1:80 (TypeError: bad\naddress)",
    circular: "[object Object]",
    big: "12",
    date: "1970-01-01T00:00:00.000Z",
    missing: "NaN",
    symbol: "Symbol(s)",
  });
});

Deno.test("a very long value is cut and says so", () => {
  const fields = { header: "x".repeat(60_000), list: Array(10_000).fill("y") };
  for (const format of [formatLogText, formatLogJson]) {
    const line = format({ ...entry, message: "m", fields });
    assert(line.length < 2 * MAX_VALUE_LENGTH + 2000, `${line.length}`);
    assertStringIncludes(line, `(${60_000 - MAX_VALUE_LENGTH} more)`);
  }
});

Deno.test("a key that is no word is made one", () => {
  const text = formatLogText({ ...entry, message: "m", fields: { "a b\n=": 1 } });
  assert(text.endsWith(" a_b__=1"), text);
});

Deno.test("what is below the level is not written", () => {
  const logAll = () => {
    const log = getLogger("test");
    log.debug("d");
    log.info("i");
    log.warning("w");
    log.error("e");
  };
  const counts = (["debug", "info", "warning", "error"] as const)
    .map((level) => linesOf({ level, format: "text" }, logAll).length);
  assertEquals(counts, [4, 3, 2, 1]);
});

Deno.test("isEnabled follows the level, and nobody listens before logging is configured", () => {
  const log = getLogger("test");
  assertEquals(log.isEnabled("error"), false);
  linesOf({ level: "warning", format: "text" }, () => {
    assertEquals([log.isEnabled("info"), log.isEnabled("warning")], [false, true]);
  });
});

Deno.test("a message with braces is not read as a template", () => {
  const lines = linesOf({ level: "info", format: "json" }, () => {
    getLogger("test").info("a {target} {{b}} {*}", { target: "/secret" });
  });
  assertEquals(lines.map((line) => JSON.parse(line).message), ["a {target} {{b}} {*}"]);
});

Deno.test("configuring twice replaces the first configuration and prints nothing of its own", () => {
  const first: string[] = [];
  configureLogging({ level: "debug", format: "text", write: (line) => first.push(line) });
  const second = linesOf({ level: "info", format: "text" }, () => getLogger("test").info("hello"));
  assertEquals(first, []);
  assertEquals(second.length, 1);
  assertMatch(second[0]!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info {4}lb\.test: hello$/);
});

Deno.test("an application's own LogTape configuration receives the records of category lb", () => {
  const records: LogRecord[] = [];
  configureSync({
    reset: true,
    sinks: { memory: (record) => records.push(record) },
    loggers: [
      { category: "lb", sinks: ["memory"] },
      { category: ["logtape", "meta"], sinks: ["memory"], lowestLevel: "warning" },
    ],
  });
  try {
    getLogger("health").warning("backend is down", { backend: "b1" });
  } finally {
    resetSync();
  }
  assertEquals(records.length, 1);
  const { category, level, message, properties } = records[0]!;
  assertEquals([...category], ["lb", "health"]);
  assertEquals([level, [...message], properties], ["warning", ["backend is down"], {
    backend: "b1",
  }]);
});

Deno.test("flushing resolves when nothing was ever logged", async () => {
  await flushLogging();
  assertEquals(linesOf({ level: "info", format: "text" }, () => {}), []);
});

/** Runs code that has `configureLogging`, `flushLogging` and `log` in a process of its own. */
function spawn(code: string): Deno.ChildProcess {
  const module = new URL("../../lib/observe/logger.ts", import.meta.url).href;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const script = `import { configureLogging, flushLogging, getLogger } from "${module}";
    const log = getLogger("child");
    ${code}`;
  return new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-lock", "--quiet", `--config=${config}`, script],
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
}

async function run(code: string): Promise<{ code: number; lines: string[] }> {
  const output = await spawn(code).output();
  const lines = new TextDecoder().decode(output.stderr).trimEnd().split("\n");
  return { code: output.code, lines };
}

Deno.test("lines reach standard error in order, complete after flushLogging", async () => {
  const { code, lines } = await run(`
    configureLogging({ level: "info", format: "json" });
    for (let i = 0; i < 500; i++) log.info("line", { i });
    await flushLogging();
    log.info("last");
    await flushLogging();`);
  assertEquals(code, 0);
  assertEquals(lines.slice(0, -1).map((line) => JSON.parse(line).i), [...Array(500).keys()]);
  assertEquals(JSON.parse(lines.at(-1)!).message, "last");
});

Deno.test("an exit without a flush loses no line", async () => {
  const { code, lines } = await run(`
    configureLogging({ level: "info", format: "json" });
    for (let i = 0; i < 500; i++) log.info("line", { i });
    Deno.exit(7);`);
  assertEquals(code, 7);
  assertEquals(lines.map((line) => JSON.parse(line).i), [...Array(500).keys()]);
});

Deno.test("an uncaught error ends the process as ever and loses no line before it", async () => {
  for (const failure of [`throw new Error("boom")`, `Promise.reject(new Error("boom"))`]) {
    const { code, lines } = await run(`
      configureLogging({ level: "info", format: "json" });
      log.info("one");
      log.info("two");
      ${failure};`);
    assertEquals(code, 1);
    assertEquals(lines.slice(0, 2).map((line) => JSON.parse(line).message), ["one", "two"]);
    assertMatch(lines[2]!, /^error: Uncaught .*boom/);
  }
});

Deno.test("a standard error that nobody reads stops neither the process nor its exit", async () => {
  const child = spawn(`
    configureLogging({ level: "info", format: "text" });
    const text = "x".repeat(1000);
    for (let i = 0; i < ${2 * MAX_PENDING_LOG / 1000}; i++) log.info("line", { text });
    for (let i = 0; i < 12; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      log.info("line", { text });
    }
    console.log("alive");
    Deno.exit(5);`);
  const { code } = await child.status;
  assertEquals(code, 5);
  assertEquals(await new Response(child.stdout).text(), "alive\n");
  await child.stderr.cancel();
});

Deno.test("lines that were dropped are counted once somebody reads again", async () => {
  const total = Math.ceil(3 * MAX_PENDING_LOG / 1000);
  const child = spawn(`
    configureLogging({ level: "info", format: "json" });
    const text = "x".repeat(1000);
    for (let i = 0; i < ${total}; i++) log.info("line", { text });
    await flushLogging();`);
  const lines = (await new Response(child.stderr).text()).trimEnd().split("\n");
  assertEquals((await child.status).code, 0);
  await child.stdout.cancel();
  const parsed = lines.map((line) => JSON.parse(line));
  const loss = parsed.filter(({ message }) => message.startsWith("log lines were dropped"));
  assertEquals(loss.length, 1);
  assert(loss[0].count > 0);
  assertEquals(lines.length - 1 + loss[0].count, total);
});

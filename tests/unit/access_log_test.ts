import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { resetSync } from "@logtape/logtape";
import fc from "fast-check";
import {
  AccessLog,
  type AccessRecord,
  type ByteSink,
  fileSink,
  formatCombined,
  formatJson,
} from "../../lib/observe/access_log.ts";
import { configureLogging } from "../../lib/observe/logger.ts";

const sample: AccessRecord = {
  time: Date.UTC(2026, 10, 2, 8, 7, 9, 45),
  listener: "main",
  client: "192.0.2.7",
  method: "GET",
  target: "/api/x?y=1",
  protocol: "HTTP/1.1",
  status: 200,
  bytesIn: 120,
  bytesOut: 3456,
  durationMs: 12.34567,
  route: "r1",
  backend: "http://10.0.0.1:8080",
  attempts: 1,
  requestId: "4f1c",
  host: "example.com",
  userAgent: "curl/8.0",
  referer: "https://example.com/",
  error: "",
};

/** Collects what is written; each write waits for `gate` and fails while `failing` is set. */
class MemorySink implements ByteSink {
  readonly #decoder = new TextDecoder();
  text = "";
  writes = 0;
  closed = 0;
  failing: Error | undefined;
  gate: Promise<void> = Promise.resolve();

  async write(bytes: Uint8Array): Promise<void> {
    this.writes++;
    await this.gate;
    if (this.failing !== undefined) throw this.failing;
    this.text += this.#decoder.decode(bytes);
  }

  close(): Promise<void> {
    this.closed++;
    return Promise.resolve();
  }

  get lines(): string[] {
    return this.text === "" ? [] : this.text.trimEnd().split("\n");
  }
}

/** Runs `act` and returns the lines that the program's own log got meanwhile. */
async function complaintsOf(act: () => Promise<void>): Promise<string[]> {
  const lines: string[] = [];
  configureLogging({ level: "debug", format: "text", write: (line) => lines.push(line) });
  try {
    await act();
  } finally {
    resetSync();
  }
  return lines;
}

async function withTempDir(act: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await act(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("a JSON line holds every part of the record under a name in snake case", () => {
  assertEquals(JSON.parse(formatJson(sample)), {
    time: "2026-11-02T08:07:09.045Z",
    listener: "main",
    client: "192.0.2.7",
    method: "GET",
    host: "example.com",
    target: "/api/x?y=1",
    protocol: "HTTP/1.1",
    status: 200,
    bytes_in: 120,
    bytes_out: 3456,
    duration_ms: 12.346,
    route: "r1",
    backend: "http://10.0.0.1:8080",
    attempts: 1,
    request_id: "4f1c",
    user_agent: "curl/8.0",
    referer: "https://example.com/",
    error: "",
  });
});

Deno.test("a combined line is what Apache would write", () => {
  assertEquals(
    formatCombined(sample),
    '192.0.2.7 - - [02/Nov/2026:08:07:09 +0000] "GET /api/x?y=1 HTTP/1.1" 200 3456 ' +
      '"https://example.com/" "curl/8.0"',
  );
});

Deno.test("the combined format writes - for what is empty and 000 for no status", () => {
  const empty = { client: "", method: "", target: "", protocol: "", userAgent: "", referer: "" };
  assertEquals(
    formatCombined({ ...sample, ...empty, status: 0, bytesOut: 0 }),
    '- - - [02/Nov/2026:08:07:09 +0000] "-" 000 - "-" "-"',
  );
});

Deno.test("times are right at every border of second, day and year, in any order", () => {
  for (
    const time of [
      "2026-12-31T23:59:59.999Z",
      "2027-01-01T00:00:00.000Z",
      "1999-02-03T04:05:06.007Z",
    ]
  ) {
    assertEquals(JSON.parse(formatJson({ ...sample, time: Date.parse(time) })).time, time);
  }
  const stamp = (time: string) => formatCombined({ ...sample, time: Date.parse(time) });
  assertStringIncludes(stamp("2026-12-31T23:59:59.999Z"), "[31/Dec/2026:23:59:59 +0000]");
  assertStringIncludes(stamp("2027-01-01T00:00:00.000Z"), "[01/Jan/2027:00:00:00 +0000]");
  fc.assert(
    fc.property(fc.date({ min: new Date(0), noInvalidDate: true }), (date) => {
      if (date.getUTCFullYear() > 9999) return;
      const { time } = JSON.parse(formatJson({ ...sample, time: date.getTime() + 0.25 }));
      assertEquals(time, date.toISOString());
    }),
    { seed: 20261122 },
  );
});

Deno.test("numbers that are not finite become null in JSON", () => {
  const line = formatJson({ ...sample, durationMs: NaN, bytesOut: Infinity });
  assertEquals(JSON.parse(line).duration_ms, null);
  assertEquals(JSON.parse(line).bytes_out, null);
});

Deno.test("what a client sends cannot forge a combined line, and bytes are written as hex", () => {
  const line = formatCombined({
    ...sample,
    client: "unix: a b\n",
    target: '/x" 200 1 "-" "-"\n10.0.0.1 - - [',
    userAgent: 'Mozilla\\" \u001b[31m\u00e9\u007f\u4e2d',
    referer: "\r\t",
  });
  assertEquals(
    line,
    "unix:\\x20a\\x20b\\x0a - - [02/Nov/2026:08:07:09 +0000] " +
      '"GET /x\\" 200 1 \\"-\\" \\"-\\"\\x0a10.0.0.1 - - [ HTTP/1.1" 200 3456 ' +
      '"\\x0d\\x09" "Mozilla\\\\\\" \\x1b[31m\\xe9\\x7f\\xe4\\xb8\\xad"',
  );
});

Deno.test("any text stays within its field in both formats", () => {
  const text = fc.string({ unit: "binary" });
  const combined =
    /^\S+ - - \[[^\]]+\] "((?:[^"\\]|\\.)*)" \d{3} \d+ "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"$/;
  fc.assert(
    fc.property(text, text, text, text, (client, target, referer, userAgent) => {
      const record = { ...sample, client, target, referer, userAgent };
      const line = formatCombined(record);
      assertMatch(line, /^[\x20-\x7e]+$/);
      assertMatch(line, combined);
      const json = formatJson(record);
      // deno-lint-ignore no-control-regex -- control characters are what this is about
      assert(!/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(json), json);
      const parsed = JSON.parse(json);
      assertEquals([parsed.client, parsed.target, parsed.user_agent], [client, target, userAgent]);
    }),
    { seed: 20261122, numRuns: 300 },
  );
});

Deno.test("records are not formatted in the turn of the exchange but come soon, in one write", async () => {
  const sink = new MemorySink();
  const log = new AccessLog({ format: "json", sink });
  for (let i = 0; i < 10; i++) log.write({ ...sample, requestId: String(i) });
  await Promise.resolve();
  assertEquals(sink.writes, 0);
  await delay(120);
  assertEquals(sink.writes, 1);
  assertEquals(sink.lines.map((line) => JSON.parse(line).request_id), [..."0123456789"]);
  await log.close();
});

Deno.test("a full batch does not wait for the timer, nor is it written in the same turn", async () => {
  const sink = new MemorySink();
  const log = new AccessLog({ format: "combined", sink });
  for (let i = 0; i < 200; i++) log.write(sample);
  assertEquals(sink.writes, 0);
  // Earlier than the timer of 50 ms: timers fire in the order of their deadlines.
  await delay(25);
  assertEquals([sink.writes, sink.lines.length], [1, 200]);
  await log.close();
});

Deno.test("flush writes all that was taken before, and more can follow", async () => {
  const sink = new MemorySink();
  const log = new AccessLog({ format: "json", sink });
  log.write(sample);
  await log.flush();
  assertEquals(sink.lines.length, 1);
  await log.flush();
  assertEquals(sink.writes, 1);
  log.write(sample);
  await log.close();
  assertEquals(sink.lines.length, 2);
});

Deno.test("close writes what is left, closes the sink once and drops what comes later", async () => {
  const sink = new MemorySink();
  const log = new AccessLog({ format: "json", sink });
  log.write(sample);
  const closing = log.close();
  log.write(sample);
  await closing;
  assertStrictEquals(log.close(), closing);
  await log.close();
  assertEquals([sink.lines.length, sink.closed, log.dropped], [1, 1, 1]);
});

Deno.test("a sink that is too slow costs records, which are counted, but no order and no memory", async () => {
  const sink = new MemorySink();
  const { promise, resolve } = Promise.withResolvers<void>();
  sink.gate = promise;
  const log = new AccessLog({ format: "json", sink, maxQueued: 200_000 });
  const complaints = await complaintsOf(async () => {
    for (let i = 0; i < 2000; i++) {
      log.write({ ...sample, requestId: String(i) });
      if (i % 100 === 0) await delay(0);
    }
  });
  const dropped = log.dropped;
  assert(dropped > 1000 && dropped < 2000, `${dropped}`);
  assertEquals(complaints.length, 1);
  assertStringIncludes(complaints[0]!, "max_queued_bytes=200000");
  resolve();
  await log.flush();
  log.write({ ...sample, requestId: "2000" });
  await log.close();
  const ids = sink.lines.map((line) => Number(JSON.parse(line).request_id));
  assertEquals(ids.length + dropped, 2001);
  assert(sink.text.length <= 200_000 + 1000, `${sink.text.length}`);
  assertEquals(ids, [...ids].sort((a, b) => a - b));
  assertEquals(ids.at(-1), 2000);
  assertEquals(log.dropped, dropped);
});

Deno.test("a failing sink is complained of once a minute, and writing goes on when it recovers", async () => {
  const sink = new MemorySink();
  let now = 0;
  const log = new AccessLog({ format: "json", sink, now: () => now });
  const complaints = await complaintsOf(async () => {
    sink.failing = new Error("No space left on device");
    for (const time of [0, 1000, 59_999, 60_000, 60_001]) {
      now = time;
      log.write(sample);
      log.write(sample);
      await log.flush();
    }
    sink.failing = undefined;
    log.write(sample);
    await log.flush();
  });
  await log.close();
  assertEquals(complaints.length, 2);
  assertStringIncludes(complaints[0]!, "lb.access_log: the access log could not be written");
  assertStringIncludes(complaints[0]!, "No space left on device");
  assertStringIncludes(complaints[1]!, "dropped=8");
  assertEquals([log.dropped, sink.lines.length], [10, 1]);
});

Deno.test("a record that cannot be formatted costs only itself", async () => {
  const sink = new MemorySink();
  const log = new AccessLog({ format: "json", sink });
  const complaints = await complaintsOf(async () => {
    log.write(sample);
    log.write({ ...sample, time: NaN });
    log.write(sample);
    await log.close();
  });
  assertEquals([sink.lines.length, log.dropped, complaints.length], [2, 1, 1]);
});

Deno.test("a sink that cannot be closed is reported and does not reject", async () => {
  const sink = new MemorySink();
  sink.close = () => Promise.reject(new Error("gone"));
  const complaints = await complaintsOf(() => new AccessLog({ format: "json", sink }).close());
  assertEquals(complaints.length, 1);
  assertStringIncludes(complaints[0]!, "could not be closed");
});

Deno.test("the file sink appends, keeps what is there, and its files are not for everybody", async () => {
  await withTempDir(async (dir) => {
    const path = `${dir}/access.log`;
    for (let i = 0; i < 2; i++) {
      const log = new AccessLog({ format: "combined", sink: fileSink(path) });
      log.write(sample);
      await log.close();
    }
    assertEquals(await Deno.readTextFile(path), `${formatCombined(sample)}\n`.repeat(2));
    if (Deno.build.os !== "windows") {
      assertEquals((await Deno.stat(path)).mode! & 0o007, 0);
    }
  });
});

Deno.test("a file that cannot be opened is refused when the sink is made", async () => {
  await withTempDir((dir) => {
    assertThrows(() => fileSink(`${dir}/missing/access.log`), Deno.errors.NotFound);
    return Promise.resolve();
  });
});

Deno.test("after a rotation by renaming, reopen goes on in a new file and loses no line", async () => {
  await withTempDir(async (dir) => {
    const path = `${dir}/access.log`;
    const sink = fileSink(path);
    const log = new AccessLog({ format: "json", sink });
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 100; i++) log.write({ ...sample, requestId: `${round}-${i}` });
      const flushed = log.flush();
      await Deno.rename(path, `${path}.${round}`);
      await sink.reopen();
      await flushed;
    }
    log.write({ ...sample, requestId: "last" });
    await log.close();
    let ids: string[] = [];
    for (
      const name of [
        "access.log.0",
        "access.log.1",
        "access.log.2",
        "access.log.3",
        "access.log.4",
        "access.log",
      ]
    ) {
      const text = await Deno.readTextFile(`${dir}/${name}`);
      const lines = text === "" ? [] : text.trimEnd().split("\n");
      ids = ids.concat(lines.map((line) => JSON.parse(line).request_id));
    }
    const expected = [0, 1, 2, 3, 4].flatMap((round) =>
      Array.from({ length: 100 }, (_, i) => `${round}-${i}`)
    );
    assertEquals(ids, [...expected, "last"]);
    assertEquals(JSON.parse((await Deno.readTextFile(path)).trimEnd()).request_id, "last");
    assertEquals(log.dropped, 0);
  });
});

Deno.test("a reopen that fails keeps the old file", async () => {
  await withTempDir(async (dir) => {
    await Deno.mkdir(`${dir}/logs`);
    const sink = fileSink(`${dir}/logs/access.log`);
    const log = new AccessLog({ format: "combined", sink });
    await Deno.rename(`${dir}/logs`, `${dir}/moved`);
    await assertRejects(() => sink.reopen(), Deno.errors.NotFound);
    log.write(sample);
    await log.close();
    assertEquals(await Deno.readTextFile(`${dir}/moved/access.log`), `${formatCombined(sample)}\n`);
  });
});

Deno.test({
  name: "a full disk drops lines, is complained of and ends nothing",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const log = new AccessLog({ format: "json", sink: fileSink("/dev/full") });
    const complaints = await complaintsOf(async () => {
      log.write(sample);
      await log.flush();
      log.write(sample);
      await log.close();
    });
    assertEquals([log.dropped, complaints.length], [2, 1]);
    assertStringIncludes(complaints[0]!, "No space left on device");
  },
});

Deno.test({
  name: "what follows a write that broke off in the middle begins on a line of its own",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await withTempDir(async (dir) => {
      const module = new URL("../../lib/observe/byte_sink.ts", import.meta.url).href;
      const path = `${dir}/access.log`;
      await Deno.writeTextFile(
        `${dir}/main.ts`,
        `import { fileSink } from "${module}";
        const sink = fileSink("${path}");
        const bytes = new TextEncoder().encode("a".repeat(9999) + "\\n");
        let failures = 0;
        for (let i = 0; i < 200; i++) await sink.write(bytes).catch(() => failures++);
        await Deno.truncate("${path}", 15000);
        await sink.write(new TextEncoder().encode("next\\n"));
        await sink.close();
        console.log(failures > 0);`,
      );
      // A limit on the size of files stands in for a full disk: the last write that fits is cut short.
      const { stdout } = await new Deno.Command("sh", {
        args: [
          "-c",
          'trap "" XFSZ; ulimit -f 1025; exec "$0" run --no-lock --quiet --no-config -A "$1"',
          Deno.execPath(),
          `${dir}/main.ts`,
        ],
      }).output();
      assertEquals(new TextDecoder().decode(stdout), "true\n");
      const lines = (await Deno.readTextFile(path)).split("\n");
      assertEquals(lines, ["a".repeat(9999), "a".repeat(5000), "next", ""]);
    });
  },
});

Deno.test("a log that nobody closes does not keep the process alive, and stdout gets the lines", async () => {
  const module = new URL("../../lib/observe/access_log.ts", import.meta.url).href;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const script = `import { AccessLog, stdoutSink } from "${module}";
    const log = new AccessLog({ format: "combined", sink: stdoutSink() });
    const record = ${JSON.stringify(sample)};
    for (let i = 0; i < 300; i++) log.write(record);
    await log.flush();
    log.write(record);`;
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-lock", "--quiet", `--config=${config}`, script],
  }).output();
  assertEquals(code, 0);
  const text = new TextDecoder().decode(stdout);
  assertEquals(text, `${formatCombined(sample)}\n`.repeat(300));
});

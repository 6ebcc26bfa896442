import { assert, assertEquals } from "@std/assert";
import type { ErrorCode } from "../../lib/common/errors.ts";
import { answerTo } from "../../lib/http/problem.ts";

const README = await Deno.readTextFile(new URL("../../README.md", import.meta.url));

Deno.test("the README tells every error code with its status and sentence", async () => {
  const source = await Deno.readTextFile(new URL("../../lib/common/errors.ts", import.meta.url));
  const union = source.slice(
    source.indexOf("export type ErrorCode"),
    source.indexOf("export interface"),
  );
  const codes = [...union.matchAll(/\| "(\w+)"/g)].map(([, code]) => code as ErrorCode);
  assert(codes.length > 30, `${codes.length} codes found`);
  const rows = [...README.matchAll(/^\| `(\w+)`\s+\| (\d+)\s+\| (.+?)\s+\|$/gm)]
    .map(([, code, status, detail]) => [code, Number(status), detail]);
  assertEquals(
    rows,
    codes.map((code) => [code, answerTo(code).status, answerTo(code).detail]),
  );
});

/** What the help of each command says. */
async function readHelp(command: string): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "main.ts", command, "--help"],
    cwd: new URL("../..", import.meta.url),
    env: { NO_COLOR: "1" },
  }).output();
  return new TextDecoder().decode(stdout);
}

Deno.test("every long option that the README names exists", async () => {
  const commands = ["http-l7", "http-l4", "grpc-l7", "mux", "tcp-l4", "demo", "list", "add"];
  const options = new Set<string>([
    "target",
    "portable",
    "scenario",
    "rounds",
    "seconds",
    "markdown",
    "mode",
    // curl's
    "http2-prior-knowledge",
  ]);
  for (const command of commands) {
    for (const [, name] of (await readHelp(command)).matchAll(/--([a-z0-9-]+)/g)) {
      options.add(name!);
    }
  }
  const named = [...README.matchAll(/(?<![\w-])--([a-z][a-z0-9-]+)/g)].map(([, name]) => name!);
  assert(named.length > 20);
  assertEquals(named.filter((name) => !options.has(name)), []);
});

/** A row of the table of limits. */
interface LimitRow {
  readonly limit: string;
  readonly counted: string;
}

function readLimits(): LimitRow[] {
  const chapter = README.slice(
    README.indexOf("## Timeouts and limits"),
    README.indexOf("### Slow readers"),
  );
  const rows = chapter.split("\n").filter((line) => line.startsWith("|")).slice(2)
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  assertEquals(rows.filter((cells) => cells.length !== 4 || cells.includes("")), []);
  return rows.map((cells) => ({ limit: cells[0]!, counted: cells[3]! }));
}

/** Options of which the help says under these headings what is limited. */
const LIMITING = /^(?:Timeouts|Limits|Overload)\b.*:$/;
/** Others that limit something. */
const OTHERS = [
  "health-timeout",
  "max-ejected",
  "per-try-timeout",
  "retry-budget",
  "retry-floor",
];
/** Limits at whose end nothing is refused or ended, so that there is nothing to count. */
const UNCOUNTED = [
  "`--expect-continue-timeout`",
  "`--keepalive-time`, `--keepalive-without-calls`",
  "`--drain-delay`",
  "keys that a rate is kept for",
  "calls of `grpc-l4` before there is a backend",
];

Deno.test("every option that limits something has a row in the README's table of limits", async () => {
  const options = new Set(OTHERS);
  for (const command of ["http-l7", "http-l4", "grpc-l7", "grpc-l4", "mux", "tcp-l4"]) {
    let limiting = false;
    for (const line of (await readHelp(command)).split("\n")) {
      if (/^\S/.test(line)) limiting = LIMITING.test(line);
      const option = limiting ? /^ {2}--([a-z0-9-]+)/.exec(line) : null;
      if (option !== null) options.add(option[1]!);
    }
  }
  assert(options.size > 35, `${options.size} options found`);
  const rows = new Set(
    readLimits().flatMap(({ limit }) => [...limit.matchAll(/`--([a-z0-9-]+)`/g)])
      .map(([, name]) => name!),
  );
  assertEquals([...options].filter((name) => !rows.has(name)), []);
});

/** The members of a union of texts in a source file. */
async function readUnion(path: string, name: string): Promise<string[]> {
  const source = await Deno.readTextFile(new URL(`../../lib/${path}`, import.meta.url));
  const union = source.slice(source.indexOf(`export type ${name} =`));
  const tokens = [...union.slice(0, union.indexOf(";\n")).matchAll(/\| "(\w+)"/g)]
    .map(([, token]) => token!);
  assert(tokens.length > 5, `${name} has ${tokens.length} members`);
  return tokens;
}

Deno.test("every row of it names what counts it, and every token of a flood or an end has its row", async () => {
  const codes = await readUnion("common/errors.ts", "ErrorCode");
  const floods = await readUnion("http/h2/budget.ts", "AbuseToken");
  const closes = await readUnion("observe/close_reason.ts", "CloseReason");
  const known = new Set([...codes, ...floods, ...closes]);
  const sources = await Promise.all([
    "observe/prometheus.ts",
    "control/gauges.ts",
    "grpc/l7/connection.ts",
  ].map((path) => Deno.readTextFile(new URL(`../../lib/${path}`, import.meta.url))));
  for (const [, metric, token] of sources.join("").matchAll(/"(lb_\w+)"|refused\("(\w+)"\)/g)) {
    known.add(metric ?? token!);
  }
  const named = new Set<string>();
  for (const { limit, counted } of readLimits()) {
    if (counted === "–") {
      assert(UNCOUNTED.includes(limit), `${limit} is not counted`);
      continue;
    }
    const tokens = counted.split(", ");
    for (const token of tokens) {
      assert(/^`\w+`$/.test(token), `${limit}: ${token}`);
      named.add(token.slice(1, -1));
    }
  }
  assertEquals([...named].filter((token) => !known.has(token)), []);
  assertEquals([...floods, ...closes].filter((token) => !named.has(token)), []);
});

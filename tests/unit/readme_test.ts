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
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "main.ts", command, "--help"],
      cwd: new URL("../..", import.meta.url),
      env: { NO_COLOR: "1" },
    }).output();
    for (const [, name] of new TextDecoder().decode(stdout).matchAll(/--([a-z0-9-]+)/g)) {
      options.add(name!);
    }
  }
  const named = [...README.matchAll(/(?<![\w-])--([a-z][a-z0-9-]+)/g)].map(([, name]) => name!);
  assert(named.length > 20);
  assertEquals(named.filter((name) => !options.has(name)), []);
});

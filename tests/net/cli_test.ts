import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { VERSION } from "../../lib/common/version.ts";
import { Program, runProgram } from "../support/program.ts";

const LISTEN = ["--listen", "127.0.0.1:0"];
const LISTENING = /listening addr=(\S+)/;
const ADMIN_OPEN = /the admin listener is open addr=(\S+)/;
const COMMANDS = [
  "http-l7",
  "http-l4",
  "tcp-l4",
  "demo",
  "add",
  "remove",
  "drain",
  "list",
  "version",
];
/** Windows has no signals that a program can follow. */
const noSignals = Deno.build.os === "windows";

interface Backend extends AsyncDisposable {
  readonly addr: string;
}

function startBackend(handler: () => Response | Promise<Response>): Backend {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, handler);
  return {
    addr: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** The body of an answer over a connection of its own. */
async function get(url: string): Promise<string> {
  using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  return (await (await fetch(url, { client })).text()).trim();
}

for (
  const [command, scheme] of [["http-l7", "http://"], ["http-l4", "http://"], [
    "tcp-l4",
    "",
  ]] as const
) {
  Deno.test({
    name: `${command} spreads over its backends until SIGTERM ends it with code 0`,
    ignore: noSignals,
    fn: async () => {
      await using a = startBackend(() => new Response("a"));
      await using b = startBackend(() => new Response("b"));
      await using program = new Program([
        command,
        ...LISTEN,
        ...["--backend", scheme + a.addr, "--backend", `${scheme}${b.addr},weight=1`],
      ]);
      const addr = await program.find(LISTENING);
      const answers = [];
      for (let i = 0; i < 4; i++) answers.push(await get(`http://${addr}/`));
      assertEquals(answers.sort(), ["a", "a", "b", "b"]);
      const { code, stdout, stderr } = await program.stop();
      assertEquals([code, stdout], [0, ""], stderr);
      assertStringIncludes(stderr, "shutting down; another signal ends at once signal=SIGTERM");
      assertMatch(stderr, /lb\.cli: ended\n$/);
    },
  });
}

Deno.test({
  name: "routes and the fallback come from the command line",
  ignore: noSignals,
  fn: async () => {
    await using a = startBackend(() => new Response("a"));
    await using b = startBackend(() => new Response("b"));
    const route = `path=/api header=X-Version:v2 -> http://${b.addr}`;
    for (const [fallback, other] of [[["--fallback"], "a"], [[], "404"]] as const) {
      await using program = new Program([
        "http-l7",
        ...LISTEN,
        ...["--backend", a.addr, "--route", route, ...fallback],
      ]);
      const url = `http://${await program.find(LISTENING)}/api`;
      const routed = await fetch(url, { headers: { "X-Version": "v2" } });
      assertEquals(await routed.text(), "b");
      const plain = await fetch(url);
      const text = await plain.text();
      assertEquals(plain.ok ? text : String(plain.status), other);
      assertEquals((await program.stop()).code, 0);
    }
  },
});

Deno.test({
  name: "SIGTERM lets a slow request finish, while the admin listener says that it ends",
  ignore: noSignals,
  fn: async () => {
    const { promise: release, resolve } = Promise.withResolvers<void>();
    const { promise: reached, resolve: arrive } = Promise.withResolvers<void>();
    await using slow = startBackend(async () => {
      arrive();
      await release;
      return new Response("slow");
    });
    await using program = new Program([
      "http-l7",
      ...LISTEN,
      ...["--backend", slow.addr, "--admin", "127.0.0.1:0"],
    ]);
    const admin = `http://${await program.find(ADMIN_OPEN)}`;
    const pending = get(`http://${await program.find(LISTENING)}/`);
    await reached;
    assertEquals(JSON.parse(await get(`${admin}/readyz`)).status, "ready");
    program.signal("SIGTERM");
    await program.find(/shutting down/);
    assertEquals(
      JSON.parse(await get(`${admin}/readyz`)).reason,
      "the balancer is shutting down",
    );
    resolve();
    assertEquals(await pending, "slow");
    assertEquals((await program.ended()).code, 0);
  },
});

Deno.test({
  name: "a second signal ends at once with code 1",
  ignore: noSignals,
  fn: async () => {
    const { promise: release, resolve } = Promise.withResolvers<void>();
    const { promise: reached, resolve: arrive } = Promise.withResolvers<void>();
    await using slow = startBackend(async () => {
      arrive();
      await release;
      return new Response("too late");
    });
    await using program = new Program(["http-l7", ...LISTEN, "--backend", slow.addr]);
    const pending = get(`http://${await program.find(LISTENING)}/`).catch(() => "cut");
    await reached;
    program.signal("SIGINT");
    await program.find(/signal=SIGINT/);
    program.signal("SIGINT");
    assertEquals((await program.ended()).code, 1);
    assertEquals(await pending, "cut");
    resolve();
  },
});

Deno.test({
  name: "SIGHUP opens the access log again, so that it can be renamed away",
  ignore: noSignals,
  fn: async () => {
    await using backend = startBackend(() => new Response("ok"));
    const folder = await Deno.makeTempDir();
    try {
      const path = `${folder}/access.log`;
      await using program = new Program([
        "http-l7",
        ...LISTEN,
        ...["--backend", backend.addr, "--access-log", path, "--access-log-format", "combined"],
      ]);
      const url = `http://${await program.find(LISTENING)}`;
      await get(`${url}/before`);
      // Lines wait up to 50 ms for others to be written with.
      await new Promise((resolve) => setTimeout(resolve, 300));
      await Deno.rename(path, `${path}.1`);
      program.signal("SIGHUP");
      await program.find(/the access log was opened again/);
      await get(`${url}/after`);
      assertEquals((await program.stop()).code, 0);
      const [old, fresh] = [await Deno.readTextFile(`${path}.1`), await Deno.readTextFile(path)];
      assertMatch(old, /^127\.0\.0\.1 - - \[.*\] "GET \/before HTTP\/1\.1" 200 .*\n$/);
      assertMatch(fresh, /^127\.0\.0\.1 - - \[.*\] "GET \/after HTTP\/1\.1" 200 .*\n$/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: "the access log goes to standard output with -, the log to standard error as JSON",
  ignore: noSignals,
  fn: async () => {
    await using backend = startBackend(() => new Response("ok"));
    await using program = new Program([
      "http-l7",
      ...LISTEN,
      ...["--backend", backend.addr, "--access-log", "-", "--log-format", "json"],
    ]);
    const addr = await program.find(/"listening","addr":"([^"]+)"/);
    await get(`http://${addr}/one`);
    const { code, stdout, stderr } = await program.stop();
    assertEquals(code, 0);
    const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
    assertEquals(lines.map(({ target, status }) => [target, status]), [["/one", 200]]);
    const entries = stderr.trim().split("\n").map((line) => JSON.parse(line));
    assertEquals(entries.at(-1).message, "ended");
    assertEquals(entries.find(({ message }) => message === "listening").version, VERSION);
  },
});

Deno.test({
  name: "add, list, drain and remove manage a running balancer at layer 7",
  ignore: noSignals,
  fn: async () => {
    await using backend = startBackend(() => new Response("v2"));
    await using program = new Program(["http-l7", ...LISTEN]);
    const url = `http://${await program.find(LISTENING)}`;
    const addr = `http://${backend.addr}`;
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await runProgram([...args, "--server", url]);
      assertEquals(code, 0, stderr);
      return stdout.trim();
    };
    const conditions = ["--path", "/api", "--header", "X-Version:v2", "--header", "X-Version:v3"];
    const added = await run("add", "--backend-addr", addr, ...conditions);
    const [, id, route] = /^added \S+ \((b-\w+), route (r-\w+)\)$/.exec(added) ?? [];
    assert(id !== undefined && route !== undefined, added);
    assertStringIncludes(
      await run("add", "--backend-addr", addr, ...conditions),
      `${addr} was there already (${id}`,
    );
    const routed = await fetch(`${url}/api`, { headers: { "X-Version": "v3" } });
    assertEquals(await routed.text(), "v2");
    const table = await run("list");
    for (const part of ["ADDRESS", "RULE", id, route, addr, "active", "path=/api"]) {
      assertStringIncludes(table, part);
    }
    assertEquals(
      await run("drain", backend.addr, "--wait", "5s"),
      `${addr} drains, 0 under way (${id})`,
    );
    const { backends } = JSON.parse(await run("list", "--json"));
    assertEquals(backends[0].state, "draining");
    assertStringIncludes(await run("remove", route), `removed route path=/api`);
    assertEquals(await run("list"), "no backends\n\nno routes");
    const missing = await runProgram(["remove", id, "--server", url]);
    assertEquals(missing.code, 1);
    assertStringIncludes(missing.stderr, `no backend has the id or the address "${id}"`);
    assertEquals((await program.stop()).code, 0);
  },
});

Deno.test({
  name: "add registers this machine, or another one, at layer 4",
  ignore: noSignals,
  fn: async () => {
    await using program = new Program(["http-l4", ...LISTEN, "--default-port", "8081"]);
    const server = ["--server", `http://${await program.find(LISTENING)}`];
    const add = async (...args: string[]) => {
      const { code, stdout, stderr } = await runProgram(["add", "--json", ...args, ...server]);
      assertEquals(code, 0, stderr);
      return JSON.parse(stdout).addr;
    };
    assertEquals(await add(), "http://127.0.0.1:8081");
    assertEquals(await add("--port", "8082", "--weight", "2"), "http://127.0.0.1:8082");
    assertEquals(await add("--addr", "10.0.0.5:80"), "http://10.0.0.5:80");
    const refused = await runProgram(["add", "--backend-addr", "http://a:1", ...server]);
    assertEquals(refused.code, 1);
    assertStringIncludes(refused.stderr, "(409 failed_precondition)");
  },
});

Deno.test({
  name: "the token comes from a file or the environment, and a wrong one is refused",
  ignore: noSignals,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const file = `${folder}/token`;
      await Deno.writeTextFile(file, "a-token-of-some-length\n");
      await using program = new Program(["http-l7", ...LISTEN, "--admin-token-file", file]);
      const list = ["list", "--server", `http://${await program.find(LISTENING)}`];
      const right = await runProgram(list, { LB_ADMIN_TOKEN: "a-token-of-some-length" });
      assertEquals([right.code, right.stdout], [0, "no backends\n\nno routes\n"], right.stderr);
      assertEquals((await runProgram([...list, "--admin-token-file", file])).code, 0);
      const wrong = await runProgram(list, { LB_ADMIN_TOKEN: "another-token-of-some-length" });
      assertEquals(wrong.code, 1);
      assertStringIncludes(wrong.stderr, "401 unauthenticated");
      const short = await runProgram(list, { LB_ADMIN_TOKEN: "short" });
      assertEquals(short.code, 2);
      assertStringIncludes(short.stderr, "LB_ADMIN_TOKEN: the token has 5 characters");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test("a command line that cannot be understood ends with code 2 and names what is wrong", async () => {
  const cases: [args: string[], parts: string[]][] = [
    [["http-l7", "--lisen", ":1"], ["--lisen is not an option", "did you mean --listen?"]],
    [["http-l7", "--backend", "localhost"], ['--backend: address "localhost"', "port is missing"]],
    [["http-l7", "--route", "path=api -> a:1"], ['--route: path "api"']],
    [["http-l7", "--connect-timeout", "5"], ['--connect-timeout: duration "5"', "500ms"]],
    [["http-l7", "--strategy", "best"], ['--strategy: "best"', "round-robin"]],
    [["http-l7", "--admin-allow", "10.1.0.0/8"], ["--admin-allow: network", "10.0.0.0/8"]],
    [["http-l7", "--access-log-format", "json"], ["without --access-log"]],
    [["http-l7", "--access-log", "/none/x.log", ...LISTEN], ["--access-log /none/x.log cannot"]],
    [["http-l7", "extra"], ['"extra" is no option']],
    [["http-l4", "--route", "path=/ -> a:1"], ["--route is not an option"]],
    [["add", "--path", "/x"], ["--path is given without --backend-addr"]],
    [["add", "--addr", "a:1", "--port", "2"], ["--port is given beside --addr"]],
    [["list", "--server", "localhost:8080"], ['--server: "localhost:8080"', "http://localhost"]],
    [["remove"], ["ID|ADDR is missing"]],
    [["lst"], ['no command "lst"', "did you mean list?"]],
  ];
  for (const [args, parts] of cases) {
    const { code, stdout, stderr } = await runProgram(args);
    assertEquals([code, stdout], [2, ""], `${args.join(" ")}\n${stderr}`);
    for (const part of [...parts, "See lb "]) assertStringIncludes(stderr, part);
  }
});

Deno.test("every command has help, which ends with code 0", async () => {
  const top = await runProgram(["--help"]);
  assertEquals(top.code, 0);
  for (const command of COMMANDS) {
    assertStringIncludes(top.stdout, `\n  ${command} `);
    const { code, stdout, stderr } = await runProgram([command, "--nonsense", "--help"]);
    assertEquals([code, stderr], [0, ""]);
    assertMatch(stdout, new RegExp(`^Usage: lb ${command}`));
    assertStringIncludes(stdout, "Examples:\n");
  }
  const help = await runProgram(["help", "list"]);
  assertEquals([help.code, help.stdout], [0, (await runProgram(["list", "-h"])).stdout]);
});

Deno.test("without a command the help is an error", async () => {
  const { code, stdout, stderr } = await runProgram([]);
  assertEquals([code, stdout], [2, ""]);
  assertMatch(stderr, /^Usage: lb COMMAND/);
});

Deno.test("version prints the versions for people and programs", async () => {
  const { deno, v8 } = Deno.version;
  const people = await runProgram(["version"]);
  assertEquals([people.code, people.stdout], [0, `lb ${VERSION} (deno ${deno}, v8 ${v8})\n`]);
  const programs = await runProgram(["--version", "--json"]);
  assertEquals(JSON.parse(programs.stdout), { lb: VERSION, deno, v8 });
});

Deno.test("an address that is taken ends with code 1 and is named", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const addr = `127.0.0.1:${listener.addr.port}`;
  for (const args of [["--listen", addr], [...LISTEN, "--admin", addr]]) {
    const { code, stderr } = await runProgram(["http-l7", ...args]);
    assertEquals(code, 1);
    assertStringIncludes(stderr, `cannot listen on ${addr}: AddrInUse`);
  }
});

Deno.test("a balancer that is not there, or is none, is told of", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${listener.addr.port}`;
  const silent = await runProgram(["list", "--server", url, "--timeout", "200ms"]);
  assertEquals(silent.code, 1);
  assertStringIncludes(silent.stderr, `no answer from ${url}`);
  await using other = startBackend(() => new Response("hello"));
  const { code, stderr } = await runProgram(["list", "--server", `http://${other.addr}`]);
  assertEquals(code, 1);
  assertStringIncludes(stderr, "was answered with 200 and not by a balancer");
});

Deno.test("the demo prints who answered what and ends with code 0", async () => {
  const { code, stdout, stderr } = await runProgram(["demo", "--once"]);
  assertEquals([code, stderr], [0, ""], stdout);
  for (const answers of ["blue 10, green 10", "green 10", "canary 10", "blue 18, canary 2"]) {
    assertStringIncludes(stdout, answers);
  }
  assertStringIncludes(stdout, "P99 MS");
  // deno-lint-ignore no-control-regex -- colours are control characters
  assert(!/\x1b/.test(stdout));
});

Deno.test({
  name: "the demo stays up for what it suggests, and ends with SIGINT and code 0",
  ignore: noSignals,
  fn: async () => {
    await using program = new Program(["demo"]);
    const url = await program.find(/^curl (http:\S+\d)\/$/m, "stdout");
    assertMatch(await get(`${url}/`), /^(blue|green)$/);
    const body = await program.find(/-d '(\{.*\})'/, "stdout");
    const added = await fetch(`${url}/lb/add`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body,
    });
    assertEquals(added.status, 201);
    await added.body?.cancel();
    assertEquals(await get(`${url}/new`), "canary");
    program.signal("SIGINT");
    assertEquals((await program.ended()).code, 0);
  },
});

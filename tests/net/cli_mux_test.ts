import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { H2Backend, H2Client } from "../support/h2_peer.ts";
import { serveName } from "../support/net.ts";
import { Program, runProgram } from "../support/program.ts";

const LISTENING = /listening addr=(\S+)/;
const ADMIN_OPEN = /the admin listener is open addr=(\S+)/;
/** Windows has no signals that a program can follow. */
const noSignals = Deno.build.os === "windows";

function addrOf(text: string): Deno.NetAddr {
  const [hostname = "", port] = text.split(":");
  return { transport: "tcp", hostname, port: Number(port) };
}

Deno.test({
  name: "mux balances HTTP and gRPC on one port, with routes for both, until SIGTERM",
  ignore: noSignals,
  fn: async () => {
    await using http = serveName("http");
    await using api = serveName("api");
    await using grpc = H2Backend.listen();
    await using users = H2Backend.listen({ onCall: (call) => call.answer("users") });
    await using program = new Program([
      "mux",
      ...["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--fallback", "--access-log", "-"],
      ...["--http-backend", `${http.addr},weight=2`, "--grpc-backend", `grpc://${grpc.addr}`],
      ...["--route", `path=/api -> ${api.addr}`, "--route", `service=a.Users -> ${users.addr}`],
    ]);
    const admin = await program.find(ADMIN_OPEN);
    const addr = await program.find(LISTENING);
    {
      using client = Deno.createHttpClient({ http1: false, http2: true });
      for (const [path, name] of [["/", "http"], ["/api/x", "api"]] as const) {
        assertEquals(await (await fetch(`http://${addr}${path}`)).text(), name);
        assertEquals(await (await fetch(`http://${addr}${path}`, { client })).text(), name);
      }
    }
    {
      await using client = await H2Client.connect(addrOf(addr));
      const calls = [client.call("/a.B/M"), client.call("/a.Users/Get")];
      for (const call of calls) await call.done;
      assertEquals(calls.map(({ text }) => text), ["hello", "users"]);
    }
    const list = await runProgram(["list", "--server", `http://${addr}`]);
    for (const part of [`http://${http.addr}`, `grpc://${users.addr}`, "service=a.Users"]) {
      assertStringIncludes(list.stdout, part);
    }
    const added = await runProgram([
      ...["add", "--server", `http://${addr}`, "--backend-addr", "grpc://127.0.0.1:9"],
    ]);
    assertEquals(added.code, 0, added.stderr);
    const ready = await (await fetch(`http://${admin}/readyz`)).json();
    assertEquals([ready.backends.active, ready.routes], [5, 2]);
    const { code, stdout, stderr } = await program.stop();
    assertEquals(code, 0, stderr);
    const protocols = stdout.trim().split("\n").map((line) => JSON.parse(line))
      .filter(({ target }) => !target.startsWith("/lb/")).map(({ protocol }) => protocol);
    assertEquals(protocols.sort(), [
      ...["HTTP/1.1", "HTTP/1.1", "HTTP/2.0", "HTTP/2.0", "HTTP/2.0", "HTTP/2.0"],
    ]);
  },
});

Deno.test("mux says what it does not understand, and on which side", async () => {
  const cases: readonly [args: readonly string[], message: RegExp][] = [
    [
      ["--backend", "a:1"],
      /--backend is not an option of this command/,
    ],
    [
      ["--http-backend", "grpc://a:1"],
      /--http-backend: address grpc:\/\/a:1 is for gRPC; accepted/,
    ],
    [["--grpc-backend", "http://a:1,weight=2"], /--grpc-backend: .* is for HTTP; accepted/],
    [["--grpc-backend", "a"], /--grpc-backend: .*the port is missing/],
    [["--route", "-> a:1"], /--route: rule "-> a:1": nothing says whether it is for HTTP or gRPC/],
    [["--route", "service=a.B -> http://a:1"], /--route: service matches gRPC calls only/],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await runProgram(["mux", ...args]);
    assertEquals(code, 2, stderr);
    assertMatch(stderr, message);
  }
});

Deno.test("the help of mux tells of both sides, with examples", async () => {
  const { code, stdout } = await runProgram(["mux", "--help"]);
  assertEquals(code, 0);
  for (
    const option of ["--http-backend ADDR", "--grpc-backend ADDR", "--route RULE", "--via NAME"]
  ) {
    assertStringIncludes(stdout, `  ${option}`);
  }
  assertStringIncludes(stdout, "Examples:");
  assertStringIncludes((await runProgram(["--help"])).stdout, "mux");
});

/** A time of day that jumps by hours, and what must not be seen of it. */
import { assert, assertEquals } from "@std/assert";
import { ChildProgram } from "../support/program.ts";
import { PROJECT_ROOT } from "../../scripts/module_graph.ts";
import { H2Client } from "../support/h2_peer.ts";
import { answer, WireBackend } from "../support/h2_wire.ts";
import { delay, Peer, serveScript } from "../support/net.ts";

/** How long an answer takes, in milliseconds: several jumps. */
const SLOW_MS = 300;
const HALF_AN_HOUR_MS = 1_800_000;
/** Short enough to pass within the test, long enough that no answer of it takes as long on a busy machine. */
const TIMEOUTS = [
  ...["--response-timeout", "5s", "--idle-timeout", "5s", "--request-head-timeout", "5s"],
  ...["--body-stall-timeout", "5s", "--connect-timeout", "5s", "--upstream-idle-timeout", "5s"],
  ...["--ejection-time", "30s", "--slow-start", "1s", "--health-check", "tcp"],
  ...["--health-interval", "200ms", "--health-timeout", "5s"],
];

/** A balancer whose time of day jumps. */
async function startJumping(args: readonly string[]): Promise<[ChildProgram, Deno.NetAddr]> {
  const program = new ChildProgram(
    new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-lock", "--no-check", "-A"],
        ...["--preload", "tests/support/jumping_clock.ts", "main.ts"],
        ...args,
        ...["--listen", "127.0.0.1:0", ...TIMEOUTS],
      ],
      cwd: PROJECT_ROOT,
      env: { NO_COLOR: "1", LB_ADMIN_TOKEN: "" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }),
  );
  const port = Number(await program.find(/: listening addr=127\.0\.0\.1:(\d+)/));
  return [program, { transport: "tcp", hostname: "127.0.0.1", port }];
}

Deno.test("a clock that jumps by hours times nothing out, and timeouts last as long as they should", async () => {
  await using backend = await serveScript(async (peer) => {
    for (;;) {
      const head = await peer.head();
      if (head.startsWith("GET /never")) return void await peer.rest();
      await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl");
      await delay(SLOW_MS);
      await peer.write("ow");
    }
  });
  await using calls = WireBackend.listen({
    async onEnd(request) {
      await delay(SLOW_MS);
      void answer(request);
    },
  });
  const [program, addr] = await startJumping([
    "mux",
    ...["--http-backend", backend.addr, "--grpc-backend", calls.addr],
  ]);
  await using _ = program;
  let far = 0;
  const http = async () => {
    await using client = await Peer.connect(addr);
    for (let i = 0; i < 4; i++) {
      assertEquals((await client.get("/slow")).text, "slow");
      // What the balancer takes for the time of day stands in its own answers.
      const { headers } = await client.get("/lb/backends");
      if (Math.abs(Date.parse(headers.get("date")!) - Date.now()) > HALF_AN_HOUR_MS) far++;
      // Idle, though not for as long as it may be.
      await delay(SLOW_MS);
    }
  };
  const upload = async () => {
    await using client = await Peer.connect(addr);
    await client.write("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    for (let i = 0; i < 4; i++) {
      await delay(SLOW_MS);
      await client.write("x");
    }
    assertEquals((await client.answer()).text, "slow");
  };
  const grpc = async () => {
    await using client = await H2Client.connect(addr);
    for (let i = 0; i < 4; i++) {
      const call = await client.call("/s.S/M", { content: "a", fields: [["grpc-timeout", "5S"]] })
        .done;
      assertEquals([call.value("grpc-status"), call.text], ["0", "hello"]);
    }
  };
  const never = async () => {
    await using client = await Peer.connect(addr);
    const started = performance.now();
    assertEquals((await client.get("/never")).status, 504);
    const took = performance.now() - started;
    assert(took >= 4950 && took < 20_000, `it took ${took} ms`);
  };
  await Promise.all([http(), http(), upload(), grpc(), grpc(), never()]);
  assert(far > 0, "the clock of the balancer has not jumped");
  const { code, stderr } = await program.stop();
  assertEquals(code, 0, stderr);
  assert(!/ejected|fails its checks/.test(stderr), stderr);
});

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { FaultNet } from "../../lib/cli/fault_net.ts";
import { Metrics } from "../../lib/observe/metrics.ts";
import { Program } from "../support/program.ts";

/** A client whose connections nobody pools. */
async function get(url: string): Promise<string> {
  using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  return await (await fetch(url, { client })).text();
}

Deno.test({
  name:
    "a fault that no exchange catches is logged with its stack and counted, and serving goes on",
  // There is no signal on Windows that the program could be told by when to fail.
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const backend = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      () => new Response("served"),
    );
    await using _backend = { [Symbol.asyncDispose]: () => backend.shutdown() };
    await using program = new Program(
      [JSON.stringify({
        listen: ["127.0.0.1:0"],
        admin: "127.0.0.1:0",
        backend: [{ addr: `127.0.0.1:${backend.addr.port}` }],
        "log-format": "json",
      })],
      {},
      "tests/support/failing_program.ts",
    );
    const admin = await program.find(/admin listener is open.*?"addr":"([^"]+)"/);
    const url = `http://${await program.find(/"listening".*?"addr":"([^"]+)"/)}/`;
    assertEquals(await get(url), "served");
    assertMatch(await get(`http://${admin}/metrics`), /^lb_internal_errors_total 0$/m);

    program.signal("SIGWINCH");
    await program.find(/nobody waits/);
    await program.find(/nobody catches/);
    assertEquals(await get(url), "served", "the listener serves on");
    assertMatch(await get(`http://${admin}/metrics`), /^lb_internal_errors_total 2$/m);

    const { code, stderr } = await program.stop();
    assertEquals(code, 0, stderr);
    const errors = stderr.split("\n").filter((line) => line.includes('"level":"error"'))
      .map((line) => JSON.parse(line));
    assertEquals(errors.length, 2, stderr);
    const [rejected, thrown] = errors;
    assertStringIncludes(
      JSON.stringify(rejected),
      "Error: nobody waits (TypeError: the first cause)",
    );
    assertStringIncludes(JSON.stringify(thrown), "RangeError: nobody catches");
    for (const entry of errors) {
      assertStringIncludes(JSON.stringify(entry), "failing_program.ts", "the stack says where");
    }
  },
});

Deno.test("outside the program, and once it has ended, these events are the application's", () => {
  const metrics = new Metrics();
  const seen: string[] = [];
  const own = (event: ErrorEvent) => {
    event.preventDefault();
    seen.push(event.message);
  };
  globalThis.addEventListener("error", own);
  try {
    const fail = () => {
      const event = new ErrorEvent("error", {
        error: new Error("x"),
        message: "x",
        cancelable: true,
      });
      globalThis.dispatchEvent(event);
    };
    {
      using _net = new FaultNet(metrics);
      fail();
    }
    assertEquals(metrics.internalErrors, 1);
    fail();
    assertEquals(metrics.internalErrors, 1, "it catches no more");
    assert(seen.length === 2);
  } finally {
    globalThis.removeEventListener("error", own);
  }
});

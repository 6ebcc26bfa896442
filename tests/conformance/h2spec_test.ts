import { assertEquals } from "@std/assert";
import { GrpcL4, GrpcL7, type LoadBalancer, Mux } from "../../mod.ts";
import { H2Backend } from "../support/h2_peer.ts";
import { serveHttp } from "../support/net.ts";
import { findTool } from "../support/tools.ts";

const h2spec = findTool("h2spec");
const SUMMARY = /(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed/;

/** Runs all of h2spec against a listener of `lb`. */
async function passes(lb: LoadBalancer): Promise<void> {
  const server = await lb.start("127.0.0.1:0");
  try {
    const { port } = server.addr as Deno.NetAddr;
    const { stdout } = await new Deno.Command(h2spec!, {
      args: ["-h", "127.0.0.1", "-p", String(port), "--strict"],
      stdout: "piped",
      stderr: "inherit",
    }).output();
    const text = new TextDecoder().decode(stdout);
    const [, tests, passed, skipped, failed] = SUMMARY.exec(text) ?? [];
    assertEquals({ skipped, failed }, { skipped: "0", failed: "0" }, text);
    assertEquals(passed, tests);
    assertEquals(Number(tests) >= 146, true, text);
  } finally {
    await lb.close();
  }
}

function testH2spec(what: string, fn: () => Promise<void>): void {
  const missing = " (left out: h2spec is not installed, run `deno task conformance`)";
  Deno.test({
    name: `h2spec passes every test against ${what}${h2spec === undefined ? missing : ""}`,
    ignore: h2spec === undefined,
    fn,
  });
}

for (const Kind of [GrpcL7, GrpcL4]) {
  testH2spec(Kind.name, async () => {
    await using backend = H2Backend.listen();
    await passes(new Kind({ backends: [backend.addr] }));
  });
}

// Its requests are no gRPC calls, so each of them is translated.
testH2spec("Mux, with a backend that speaks HTTP/1.1", async () => {
  // Requests that are not complete must not be answered: an answer makes us ask for the rest not to be sent.
  await using backend = serveHttp(async (request) => {
    // Most of them never are: the balancer aborts what h2spec has broken.
    await request.arrayBuffer().catch(() => {});
    return new Response("hello");
  });
  await passes(new Mux({ http: { backends: [backend.addr] } }));
});

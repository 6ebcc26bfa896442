import { assertEquals } from "@std/assert";
import { GrpcL4, GrpcL7 } from "../../mod.ts";
import { H2Backend } from "../support/h2_peer.ts";
import { findTool } from "../support/tools.ts";

const h2spec = findTool("h2spec");
const SUMMARY = /(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed/;

for (const Kind of [GrpcL7, GrpcL4]) {
  Deno.test({
    name: `h2spec passes every test against ${Kind.name}${
      h2spec === undefined
        ? " (left out: h2spec is not installed, run `deno task conformance`)"
        : ""
    }`,
    ignore: h2spec === undefined,
    fn: async () => {
      await using backend = H2Backend.listen();
      const lb = new Kind({ backends: [backend.addr] });
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
    },
  });
}

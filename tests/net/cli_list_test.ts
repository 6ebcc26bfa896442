import { assertEquals, assertMatch } from "@std/assert";
import { runProgram } from "../support/program.ts";

Deno.test("lb list says why a backend is out, in short, and which pools are in panic", async () => {
  const backend = (id: string, health: object) => ({
    id,
    addr: `http://${id}:80`,
    state: "active",
    weight: 1,
    in_flight: 0,
    pool: true,
    routes: [],
    connections: { idle: 0, active: 0 },
    health: { ejections: 0, ...health },
  });
  const backends = [
    backend("well", { state: "healthy" }),
    backend("out", { state: "ejected", reason: "5 failures in a row", seconds_left: 8 }),
    backend("odd", { state: "failing", reason: `\x1b[31mred\n${"x".repeat(300)}` }),
  ];
  const panic = [{ pool: "default", protocol: "http" }];
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    ({ url }) =>
      Response.json(url.endsWith("/lb/routes") ? { routes: [] } : { backends, names: [], panic }),
  );
  const url = ["--server", `http://127.0.0.1:${server.addr.port}`];
  const table = (await runProgram(["list", ...url])).stdout;
  const [, well, out, odd] = table.split("\n");
  assertMatch(table.split("\n")[0]!, /HEALTH\s+REASON\s+WEIGHT/);
  assertMatch(well!, /healthy\s+-\s+1/);
  assertMatch(out!, /ejected\s+5 failures in a row; 8 s left\s+1/);
  assertMatch(odd!, /failing\s+\\u001b\[31mred\\nx{40,}…\s+1/);
  assertMatch(table, /too few backends of pool default \(http\) are healthy/);
  const json = JSON.parse((await runProgram(["list", "--json", ...url])).stdout);
  assertEquals([json.backends, json.panic], [backends, panic]);
});

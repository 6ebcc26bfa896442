import { assert, assertEquals, assertGreaterOrEqual, assertStringIncludes } from "@std/assert";
import { HttpL7, RouteBuilder } from "../../mod.ts";
import {
  Peer,
  runL7,
  runMux,
  serveHttp,
  serveScript,
  settled,
  until,
  within,
} from "../support/net.ts";
import { Program } from "../support/program.ts";

/** Far more than a test takes, in milliseconds. */
const LATE_MS = 20_000;

/** A backend that never answers what it is asked, and counts it; it learns that its clients have gone. */
async function serveNothing() {
  let asked = 0;
  let gone = 0;
  const server = await serveScript(async (peer) => {
    await peer.head();
    asked++;
    await peer.rest();
    gone++;
  });
  return {
    addr: server.addr,
    counts: () => [asked, gone],
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** A backend that answers with the body that it has got. */
function serveEcho() {
  return serveHttp(async (request) => new Response(`echo ${await request.text()}`));
}

Deno.test("lb.fetch hedges requests of routes that ask for it", async () => {
  await using silent = await serveNothing();
  await using echo = await serveEcho();
  const lb = new HttpL7();
  lb.addRoute(
    new RouteBuilder().path("/").hedge({ delay: 20 }).target(silent.addr).target(echo.addr).build(),
  );
  for (let i = 0; i < 4; i++) {
    const request = new Request("http://lb.test/", { method: "PUT", body: `${i}` });
    const response = await within(LATE_MS, "the answer", lb.fetch(request));
    assertEquals([response.status, await response.text()], [200, `echo ${i}`]);
  }
  await settled(lb);
  const [asked] = silent.counts();
  assert(asked! > 0, "the silent one was asked too");
  await until(() => silent.counts()[1] === asked, "its connections are closed");
  const listener = lb.metrics.listener(`${lb.name}-fetch`);
  const stats = [...listener.upstreamSeries()].map(([, stats]) => stats);
  // Where the machine is slow, the other one is hedged as well.
  assertGreaterOrEqual(stats.reduce((sum, { hedges }) => sum + hedges, 0), asked!);
  assert(stats.every(({ failures }) => failures.size === 0));
  await lb.close();
});

Deno.test("management and metrics show hedging over HTTP, and a mux hedges both protocols", async () => {
  await using silent = await serveNothing();
  await using echo = await serveEcho();
  const route = new RouteBuilder().path("/").hedge({ delay: 20 })
    .target(`http://${silent.addr}`).target(`http://${echo.addr}`).build();
  for (
    const running of [await runL7({ routes: [route] }), await runMux({ http: { routes: [route] } })]
  ) {
    await using balancer = running;
    const { routes } = await (await fetch(`${balancer.origin}/lb/routes`)).json();
    assertStringIncludes(JSON.stringify(routes), "hedge=20ms");
    await using client = await Peer.connect(balancer.addr);
    for (let i = 0; i < 2; i++) {
      const answer = await within(LATE_MS, "the answer", client.get("/"));
      assertEquals([answer.status, answer.text], [200, "echo "]);
    }
  }
});

Deno.test({
  name: "the command line takes a hedge for a route over HTTP",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using silent = await serveNothing();
    await using echo = await serveEcho();
    const rule = `path=/ hedge=20ms -> http://${silent.addr}, http://${echo.addr}`;
    await using program = new Program([
      ...["http-l7", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--route", rule],
    ]);
    const admin = await program.find(/the admin listener is open addr=(\S+)/);
    const addr = await program.find(/listening addr=(\S+)/);
    for (let i = 0; i < 2; i++) {
      const response = await within(LATE_MS, "the answer", fetch(`http://${addr}/`));
      assertEquals([response.status, await response.text()], [200, "echo "]);
    }
    const metrics = await (await fetch(`http://${admin}/metrics`)).text();
    const hedges = [...metrics.matchAll(/^lb_upstream_hedges_total\{[^}]*\} (\d+)$/gm)];
    assertGreaterOrEqual(hedges.reduce((sum, [, count]) => sum + Number(count), 0), 1);
    assertEquals((await program.stop()).code, 0);
  },
});

/** Name servers that fail, in front of a balancer whose backends are given by name. */
import { assert, assertEquals } from "@std/assert";
import { connect } from "../../lib/backend/connector.ts";
import { parseDnsName, type Resolved } from "../../lib/backend/discovery/resolver.ts";
import { coreOf } from "../../lib/load_balancer/core.ts";
import { Resilience } from "../../lib/load_balancer/resilience.ts";
import {
  besideCleanTraffic,
  delay,
  Peer,
  runL7,
  serveName,
  until,
  within,
} from "../support/net.ts";

/** What a name server may say. */
type Answer = () => Promise<readonly Resolved[]>;

/** Answers that are no answers. */
const FAILURES: Readonly<Record<string, Answer>> = {
  "an error": () => Promise.reject(new Error("SERVFAIL")),
  "nothing": () => new Promise(() => {}),
  "no address": () => Promise.resolve([]),
};

for (const [what, fail] of Object.entries(FAILURES)) {
  Deno.test(`a name server that says ${what} takes no backend away, and the next answer counts`, async () => {
    await using first = serveName("served");
    await using second = serveName("served");
    await using balancer = await runL7();
    const { registry, clock } = coreOf(balancer.lb);
    let asked = 0;
    let answer: Answer = () => Promise.resolve([{ addr: first.addr, weight: 1 }]);
    const resilience = new Resilience({
      registry,
      clock,
      connect,
      options: { dns: { interval: 20, retryInterval: 10, timeout: 100 } },
      resolve: () => {
        asked++;
        return answer();
      },
    });
    resilience.follow(parseDnsName("dns:backends.test:80"), 1);
    await resilience.start();
    try {
      await besideCleanTraffic(balancer.addr, "/", "served", async () => {
        answer = fail;
        const before = asked;
        await until(() => asked >= before + 4, "it is asked again and again");
        assertEquals(balancer.lb.backends().map(({ addr }) => addr), [`http://${first.addr}`]);
        answer = () => Promise.resolve([{ addr: second.addr, weight: 1 }]);
        await until(
          () => balancer.lb.backends().some(({ addr }) => addr.endsWith(second.addr)),
          "the new address",
        );
        const { requests } = second;
        await until(() => second.requests > requests + 5, "requests at the new address");
        assertEquals(balancer.lb.backends().length, 1);
      });
    } finally {
      await within(1_000, "the end", resilience.stop());
      resilience.close();
    }
  });
}

Deno.test("a name that nobody knows does not stand in the way of one that is known", async () => {
  await using backend = serveName("served");
  const port = backend.addr.split(":")[1]!;
  // RFC 6761, sections 6.3 and 6.4: `localhost` is loopback, and names below `invalid` never exist.
  await using balancer = await runL7({
    backends: ["dns:nowhere.invalid:80", `dns:localhost:${port}`],
    dns: { interval: 100, retryInterval: 50, timeout: 1_000 },
  });
  await using client = await Peer.connect(balancer.addr);
  for (let i = 0; i < 5; i++) {
    assertEquals((await client.get("/")).text, "served");
    await delay(50);
  }
  const addresses = balancer.lb.backends().map(({ addr }) => addr);
  assert(addresses.includes(`http://127.0.0.1:${port}`), addresses.join());
  assert(addresses.every((addr) => addr.endsWith(`:${port}`)), addresses.join());
});

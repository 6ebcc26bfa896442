import { assert, assertEquals } from "@std/assert";
import { A, B, L4, testL4 } from "../support/l4.ts";
import { sayOutcome } from "../support/recovery.ts";

const C = "tcp://c:80";

testL4("a connection that is made is an answer, one that is not a failure", {
  backends: [A, B],
}, async (lb) => {
  const seen: string[] = [];
  for (const backend of lb.registry.backends) {
    backend.onOutcome = (outcome) => seen.push(`${backend.addr} ${sayOutcome(outcome)}`);
  }
  lb.at(A).refuse();
  const client = lb.connect();
  const backend = await lb.accept(B);
  void client.send("x");
  assertEquals(await backend.read(1), "x");
  assertEquals(seen, [`${A} connect_refused`, `${B} ok`], "before anything has been said");
});

testL4("clients are hashed by their address", {
  backends: [A, B, C],
  strategy: "consistent-hash",
}, async (lb) => {
  const closeAll = async (addr: string) => {
    for (;;) (await lb.accept(addr)).close();
  };
  for (const addr of [A, B, C]) void closeAll(addr);
  const dials = () => [A, B, C].map((addr) => lb.at(addr).dials);
  const homeOf = async (address: string): Promise<number> => {
    const before = dials();
    const client = lb.connect(address);
    assert(await client.ended());
    client.close();
    return dials().findIndex((count, i) => count > before[i]!);
  };
  const homes: number[] = [];
  for (let i = 0; i < 30; i++) homes.push(await homeOf(`198.51.100.${i}`));
  assertEquals(new Set(homes).size, 3);
  for (let i = 0; i < 30; i++) assertEquals(await homeOf(`198.51.100.${i}`), homes[i]);
});

Deno.test("in an outage of all backends there are less than 1.2 tries for each connection", async () => {
  const lb = new L4({ backends: [A, B, C], maxAttempts: 8 });
  for (const addr of [A, B, C]) lb.at(addr).refuse();
  let connections = 0;
  for (let step = 0; step < 60; step++) {
    const clients = Array.from({ length: 100 }, () => lb.connect());
    connections += clients.length;
    await lb.time.advance(200);
    for (const client of clients) assert(await client.ended());
  }
  const dials = [A, B, C].reduce((sum, addr) => sum + lb.at(addr).dials, 0);
  assert(dials / connections > 1.05 && dials / connections < 1.2, `${dials} for ${connections}`);
  assert(lb.metrics.retryBudgetExhausted > 0);
  await lb.assertSettled();
});

import { assertEquals } from "@std/assert";
import { HeldBackends, REJOIN_MS } from "../../lib/control/held_backends.ts";
import { FakeClock } from "../support/fake_clock.ts";

Deno.test("a backend leaves with the last who holds it, and what others put in stays", () => {
  const held = new HeldBackends();
  assertEquals(held.hold("b", true), true);
  assertEquals(held.hold("b", false), true);
  assertEquals(held.hold("other", false), false);
  assertEquals([held.leave("b"), held.leave("b")], [false, true]);
  assertEquals([...held.ids()], []);
});

Deno.test("when we send them away, backends stay until nothing is under way any more", () => {
  const held = new HeldBackends();
  held.hold("b", true);
  held.suspend();
  assertEquals(held.leave("b"), false);
  const removed: string[] = [];
  held.close((id) => removed.push(id));
  assertEquals(removed, ["b"]);
});

Deno.test("who held a backend in the process before has a minute to come to this one", async () => {
  const time = new FakeClock();
  const held = new HeldBackends();
  const removed: string[] = [];
  held.adopt(["a", "b"], (id) => removed.push(id), time.clock);
  assertEquals(held.hold("a", false), true, "it was there, but only because of whoever holds it");
  await time.advance(REJOIN_MS - 1000);
  assertEquals(removed, []);
  await time.advance(2000);
  assertEquals(removed, ["b"]);
  assertEquals(time.clock.size, 0);
  assertEquals(held.leave("a"), true);
});

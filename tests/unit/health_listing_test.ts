import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { ChangeFeed } from "../../lib/control/change_feed.ts";
import { describeGauges } from "../../lib/control/gauges.ts";
import { makeManagement } from "../support/management.ts";

function panicOf(management: ReturnType<typeof makeManagement>["management"]) {
  const family = describeGauges(management).find(({ name }) => name === "lb_pool_panic")!;
  return [...family.samples].map(({ labels, value }) => [labels!.pool, labels!.protocol, value]);
}

Deno.test("an ejected backend is listed with the reason and the seconds that are left", () => {
  const { registry, management } = makeManagement("l7");
  management.addL7({ backend_addr: "localhost:1" });
  const [backend] = registry.backends;
  assertEquals(management.listBackends()[0]!.health, { state: "healthy", ejections: 0 });
  backend!.health.eject("5 failures in a row", backend!.now + 9_500);
  const { seconds_left, ...rest } = management.listBackends()[0]!.health;
  assertEquals(rest, { state: "ejected", reason: "5 failures in a row", ejections: 1 });
  assert(seconds_left !== undefined);
  assertLessOrEqual(seconds_left, 10);
  backend!.health.eject("5 failures in a row", backend!.now - 1);
  assertEquals(management.listBackends()[0]!.health.seconds_left, 0);
  backend!.health.fail("status 500");
  assertEquals(management.listBackends()[0]!.health.seconds_left, undefined);
});

Deno.test("that time passes is no change for those who watch", () => {
  const { registry, management } = makeManagement("l7");
  management.addL7({ backend_addr: "localhost:1" });
  const [backend] = registry.backends;
  const feed = new ChangeFeed(management);
  const until = backend!.now + 60_000;
  backend!.health.eject("it fails", until);
  assertEquals(feed.next().length, 1);
  Object.defineProperty(backend, "now", { get: () => until - 1000 });
  assertEquals(management.listBackends()[0]!.health.seconds_left, 1);
  assertEquals(feed.next(), []);
});

Deno.test("pools in panic have a gauge, and are gone from it with their route", () => {
  const { registry, management } = makeManagement("l7");
  management.addL7({ backend_addr: "localhost:1" });
  const { route_id } = management.addL7({ backend_addr: "localhost:2", paths: ["/api"] });
  assertEquals(panicOf(management), [["default", "http", 0], [route_id, "http", 0]]);
  const second = [...registry.backends].find(({ addr }) => addr.endsWith(":2"))!;
  second.health.onChange(() => second.pools.forEach((pool) => pool.refresh()));
  second.health.fail("down");
  assertEquals(panicOf(management), [["default", "http", 0], [route_id, "http", 1]]);
  management.removeRoute(route_id!);
  assertEquals(panicOf(management), [["default", "http", 0]]);
});

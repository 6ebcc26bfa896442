import { assertEquals } from "@std/assert";
import { canServe, countBackends } from "../../lib/backend/readiness.ts";
import { assessReadiness } from "../../lib/control/readiness.ts";
import { parseRule } from "../../lib/route/rule_text.ts";
import { makeManagement } from "../support/management.ts";

/** A registry with so many backends in its default pool. */
function scene(count: number, layer: "l4" | "l7" = "l7") {
  const { registry, management } = makeManagement(layer);
  const backends = Array.from(
    { length: count },
    (_, i) => registry.addBackend({ addr: `localhost:${i + 1}` }).value,
  );
  return {
    registry,
    backends,
    /** What is said of it while it listens. */
    ready: () => assessReadiness(management, "serving"),
  };
}

Deno.test("a balancer is ready while one backend is healthy, also below the panic threshold", () => {
  const { registry, backends, ready } = scene(10);
  for (const [i, backend] of backends.entries()) {
    assertEquals([ready().status, registry.pool.panics], ["ready", i > 7], `${i} are not well`);
    if (i % 2 === 0) backend.health.fail("no answer");
    else backend.health.eject("too many failures", 1);
  }
  // All are picked again, but none is known to be well.
  assertEquals(registry.pool.panics, true);
  assertEquals(ready(), {
    status: "not ready",
    reason: "no backend is healthy",
    backends: { active: 10, healthy: 0, failing: 5, ejected: 5, unreachable: 0, draining: 0 },
    routes: 0,
  });
  backends[3]!.health.readmit();
  assertEquals(ready().status, "ready");
});

Deno.test("draining backends are not counted on", () => {
  const { registry, backends, ready } = scene(2);
  registry.drain(backends[0]!);
  assertEquals(ready().status, "ready");
  backends[1]!.health.fail("no answer");
  assertEquals([ready().reason, ready().backends], ["no backend is healthy", {
    active: 1,
    healthy: 0,
    failing: 1,
    ejected: 0,
    unreachable: 0,
    draining: 1,
  }]);
  registry.removeBackend(backends[1]!);
  assertEquals(ready().reason, "no backend is active");
});

Deno.test("a healthy backend that no request comes to does not make a balancer ready", () => {
  const { registry, backends, ready } = scene(1);
  registry.addRoute(parseRule("path=/api -> localhost:7"));
  const target = [...registry.backends].find((backend) => backend !== backends[0])!;
  assertEquals(ready().status, "ready");
  target.health.fail("no answer");
  assertEquals(ready().reason, "no healthy backend has a share of what is routed");
  registry.addRoute(parseRule("path=/other -> localhost:1"));
  assertEquals(ready().status, "ready");
});

Deno.test("a backend of weight 0 counts only while there are no others", () => {
  const { registry, backends: [one, two, three], ready } = scene(3);
  registry.setWeight(one!, 0);
  registry.setWeight(two!, 0);
  three!.health.fail("no answer");
  assertEquals(ready().status, "not ready");
  registry.drain(three!);
  assertEquals(ready().status, "ready");
  two!.health.fail("no answer");
  assertEquals(ready().status, "ready");
  one!.health.fail("no answer");
  assertEquals(ready().status, "not ready");
});

Deno.test("a balancer that only redirects is ready without backends", () => {
  const { registry, ready } = scene(0);
  registry.addRoute({
    match: { hosts: ["old.test"] },
    targets: [],
    redirect: { status: 308, host: "new.test" },
  });
  assertEquals([ready().status, ready().routes], ["ready", 1]);
  const { value } = registry.addBackend({ addr: "localhost:1" });
  registry.addRoute(parseRule("path=/api -> localhost:1"));
  value.health.fail("no answer");
  assertEquals(ready().reason, "no backend is healthy");
});

Deno.test("services that were found count as routes do", () => {
  const { registry } = makeManagement("l7", "grpc", "always");
  const { value } = registry.addBackend({ addr: "localhost:1" });
  assertEquals(canServe(registry), true);
  registry.setServices(value, new Set(["a.B"]));
  registry.addRoute(parseRule("service=c.D -> localhost:2"));
  const other = [...registry.backends].find((backend) => backend !== value)!;
  other.health.fail("no answer");
  assertEquals(canServe(registry), true);
  value.health.fail("no answer");
  assertEquals(canServe(registry), false);
  assertEquals(countBackends(registry.backends).failing, 2);
});

Deno.test("without a listener that stays nothing makes a balancer ready", () => {
  const { management, registry } = makeManagement("l4");
  registry.addBackend({ addr: "localhost:1" });
  assertEquals(assessReadiness(management, "stopped").reason, "no listener is open");
  assertEquals(assessReadiness(management, "leaving").reason, "the balancer is shutting down");
  assertEquals(assessReadiness(management, "serving").reason, undefined);
});

import { assertEquals } from "@std/assert";
import { HealthLookup, HealthStatus } from "../../lib/grpc/health_status.ts";
import { parseRule } from "../../lib/route/rule_text.ts";
import { makeManagement } from "../support/management.ts";

Deno.test("a service whose backends all fail their checks is not served, and is again when one recovers", () => {
  const { registry } = makeManagement("l7", "grpc");
  const health = new HealthStatus({ registry, own: [], listed: () => [] });
  const at = () => [health.all().get(""), health.all().get("a.B")];
  registry.addRoute(parseRule("service=a.B -> localhost:1, localhost:2"));
  registry.addRoute(parseRule("service=c.D -> localhost:3"));
  registry.addBackend({ addr: "localhost:4" });
  const [first, second, third] = [...registry.backends];
  first!.health.fail("no answer");
  assertEquals(at(), ["SERVING", "SERVING"]);
  second!.health.fail("no answer");
  assertEquals(at(), ["SERVING", "NOT_SERVING"]);
  third!.health.fail("no answer");
  // The fourth is well, but where there are routes no call comes to it.
  assertEquals(at(), ["NOT_SERVING", "NOT_SERVING"]);
  second!.health.pass();
  assertEquals(at(), ["SERVING", "SERVING"]);
});

Deno.test("backends are asked only before something bad or nothing is said of a service", async () => {
  const { registry } = makeManagement("l7", "grpc");
  let asked = 0;
  const listed = new Map<string, string[]>();
  const health = new HealthLookup({
    status: new HealthStatus({
      registry,
      own: ["lb.LoadBalancer"],
      listed: () => Array.from(registry.backends, (one) => [one, listed.get(one.addr) ?? []]),
    }),
    refresh() {
      asked++;
      listed.set("grpc://localhost:1", ["new.Service"]);
      return Promise.resolve();
    },
  });
  assertEquals([await health.find(""), asked], ["NOT_SERVING", 0]);
  registry.addBackend({ addr: "localhost:1" });
  assertEquals([await health.find(""), await health.find("lb.LoadBalancer"), asked], [
    "SERVING",
    "SERVING",
    0,
  ]);
  assertEquals([await health.find("new.Service"), asked], ["SERVING", 1]);
  assertEquals([await health.find("new.Service"), asked], ["SERVING", 1]);
  assertEquals([await health.find("no.Such"), asked], [undefined, 2]);
});

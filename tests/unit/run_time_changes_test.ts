import { assertEquals, assertThrows } from "@std/assert";
import { HttpL7, type HttpL7Options, Mux, RouteBuilder } from "../../mod.ts";
import type { RunTimeChanges } from "../../lib/control/run_time_changes.ts";
import type { LoadBalancer } from "../../mod.ts";

const OPTIONS: HttpL7Options = {
  backends: ["a:1", "b:1", { addr: "c:1", weight: 2 }],
  routes: [
    new RouteBuilder().path("/old").target("r:1").build(),
    new RouteBuilder().path("/stays").target("s:1").target("s:2").build(),
  ],
};

/** What a process passes on, as it arrives in the next one. */
function pass(lb: LoadBalancer, since?: number): RunTimeChanges {
  return JSON.parse(JSON.stringify(lb.management.collectChanges(since)));
}

function view(lb: LoadBalancer) {
  const { management } = lb;
  return {
    backends: management.listBackends().map(({ id, state, weight, routes }) =>
      [id, state, weight, [...routes].sort()].join(" ")
    ).sort(),
    routes: management.listRoutes().map(({ id, rule, origin }) => [id, rule, origin].join(" "))
      .sort(),
  };
}

Deno.test("whatever management changes is there in the next process, and in the one after that", () => {
  const first = new HttpL7(OPTIONS);
  const { management } = first;
  management.addL4({ addr: "new:1", weight: 5 });
  management.addL7({ backend_addr: "v2:1", paths: ["/v2"], headers: { "x-a": ["b"] }, weight: 0 });
  management.addL7({ backend_addr: "s:3", paths: ["/stays"] });
  management.removeBackend("a:1");
  management.removeRoute(management.listRoutes().find(({ rule }) => rule.includes("/old"))!.id);
  management.drain("b:1");
  management.setWeight("c:1", 7);
  management.addL4({ addr: "gone:1" });
  management.removeBackend("gone:1");

  const second = new HttpL7(OPTIONS);
  second.applyChanges(pass(first));
  assertEquals(view(second), view(first));

  second.management.addL4({ addr: "later:1" });
  const third = new HttpL7(OPTIONS);
  third.applyChanges(pass(second));
  assertEquals(view(third), view(second));
});

Deno.test("what is configured otherwise by now is as configured, but for what was changed", () => {
  const first = new HttpL7(OPTIONS);
  first.management.setWeight("c:1", 9);
  const second = new HttpL7({ backends: ["a:1", "d:1"] });
  second.applyChanges(pass(first));
  assertEquals(
    second.backends().map(({ addr, weight }) => [addr, weight]),
    [["http://a:1", 1], ["http://d:1", 1], ["http://c:1", 9]],
  );
});

Deno.test("a change that came later is passed on alone", () => {
  const first = new HttpL7(OPTIONS);
  first.management.setWeight("c:1", 7);
  const told = first.management.changeCount;
  const second = new HttpL7(OPTIONS);
  second.applyChanges(pass(first));
  second.management.setWeight("c:1", 8);
  first.management.addL4({ addr: "late:1" });
  second.applyChanges(pass(first, told));
  const weights = Object.fromEntries(second.backends().map(({ addr, weight }) => [addr, weight]));
  assertEquals([weights["http://late:1"], weights["http://c:1"]], [1, 8]);
});

Deno.test("both sides of a mux pass on what is theirs", () => {
  const first = new Mux();
  first.management.addL7({ backend_addr: "grpc://g:1", services: ["pkg.S"] });
  first.management.addL7({ backend_addr: "http://h:1" });
  const second = new Mux();
  second.applyChanges(pass(first));
  assertEquals(view(second), view(first));
  assertThrows(
    () => new HttpL7().applyChanges(pass(first)),
    TypeError,
    "nothing here balances grpc",
  );
});

Deno.test("what has come and gone is forgotten, so that a year of changes stays small", () => {
  const lb = new HttpL7(OPTIONS);
  const { management } = lb;
  management.removeBackend("a:1");
  for (let i = 0; i < 2_000; i++) {
    management.addL4({ addr: `pod-${i}:1` });
    management.addL7({ backend_addr: `v-${i}:1`, paths: [`/${i}`] });
    management.removeBackend(`pod-${i}:1`);
    management.removeBackend(`v-${i}:1`);
  }
  const { removedBackends = [], removedRoutes = [] } = pass(lb).registries[0] ?? {};
  assertEquals(removedBackends[0], "http://a:1", "what was configured must go there too");
  assertEquals(
    removedBackends.length + removedRoutes.length < 600,
    true,
    `${removedBackends.length}`,
  );
});

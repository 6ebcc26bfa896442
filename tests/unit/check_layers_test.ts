import { assertEquals } from "@std/assert";
import { findViolations } from "../../scripts/check_layers.ts";

Deno.test("imports from the outer to the inner layers are accepted", () => {
  const graph = new Map([
    ["main.ts", ["lib/cli/http.ts", "mod.ts"]],
    ["mod.ts", ["lib/load_balancer.ts", "lib/route/route.ts"]],
    ["lib/cli/http.ts", ["lib/load_balancer.ts", "lib/std/cli.ts"]],
    ["lib/load_balancer.ts", ["lib/control/api.ts", "lib/grpc/l7/proxy.ts"]],
    ["lib/control/api.ts", ["lib/grpc/status.ts"]],
    ["lib/grpc/l7/proxy.ts", ["lib/http/l7/pipeline.ts"]],
    ["lib/http/l7/pipeline.ts", ["lib/http/l4/relay.ts", "lib/backend/pool.ts"]],
    ["lib/backend/pool.ts", ["lib/mux/mux.ts", "lib/strategy/random.ts"]],
    ["lib/strategy/random.ts", ["lib/route/route.ts", "lib/http/message.ts"]],
    ["lib/http/message.ts", ["lib/http/h1/parser.ts", "lib/observe/metrics.ts"]],
    ["lib/observe/metrics.ts", ["lib/common/errors.ts"]],
  ]);
  assertEquals(findViolations(graph), []);
});

Deno.test("an import of an outer layer is reported with both layers", () => {
  const graph = new Map([
    ["lib/common/errors.ts", ["lib/observe/log.ts"]],
    ["lib/http/h1/parser.ts", ["lib/http/l7/pipeline.ts"]],
    ["lib/route/table.ts", ["lib/common/errors.ts", "lib/backend/backend.ts"]],
    ["lib/load_balancer.ts", ["mod.ts"]],
  ]);
  assertEquals(findViolations(graph), [
    "lib/common/errors.ts imports lib/observe/log.ts: common may not use observe",
    "lib/http/h1/parser.ts imports lib/http/l7/pipeline.ts: codecs may not use http/l4, http/l7",
    "lib/load_balancer.ts imports mod.ts: load_balancer may not use mod",
    "lib/route/table.ts imports lib/backend/backend.ts: route, strategy may not use mux, backend",
  ]);
});

Deno.test("a file of the library that belongs to no layer is reported", () => {
  const graph = new Map([["lib/helpers.ts", ["lib/common/errors.ts"]]]);
  assertEquals(findViolations(graph), [
    "lib/helpers.ts: belongs to no layer; add it to LAYERS in scripts/check_layers.ts",
  ]);
});

Deno.test("the library may not use tests or scripts", () => {
  const graph = new Map([["lib/common/clock.ts", ["tests/support/clock.ts"]]]);
  assertEquals(findViolations(graph), [
    "lib/common/clock.ts imports tests/support/clock.ts: common may not use a file of no layer",
  ]);
});

Deno.test("the standard library may be used by all and uses none of the layers", () => {
  const graph = new Map([
    ["lib/common/clock.ts", ["lib/std/async.ts"]],
    ["lib/std/async.ts", ["lib/common/errors.ts"]],
  ]);
  assertEquals(findViolations(graph), [
    "lib/std/async.ts imports lib/common/errors.ts: std may not use common",
  ]);
});

Deno.test("every file that imports itself through others is in a reported cycle, the shortest", () => {
  const graph = new Map([
    ["lib/route/a.ts", ["lib/route/b.ts"]],
    ["lib/route/b.ts", ["lib/route/c.ts", "lib/route/d.ts"]],
    ["lib/route/c.ts", ["lib/route/d.ts"]],
    ["lib/route/d.ts", ["lib/route/a.ts"]],
    ["lib/route/e.ts", ["lib/route/a.ts"]],
  ]);
  assertEquals(findViolations(graph), [
    "import cycle: lib/route/a.ts -> lib/route/b.ts -> lib/route/d.ts -> lib/route/a.ts",
    "import cycle: lib/route/c.ts -> lib/route/d.ts -> lib/route/a.ts -> lib/route/b.ts -> lib/route/c.ts",
  ]);
});

Deno.test("a file that imports itself is a cycle", () => {
  const graph = new Map([["lib/common/a.ts", ["lib/common/a.ts"]]]);
  assertEquals(findViolations(graph), ["import cycle: lib/common/a.ts -> lib/common/a.ts"]);
});

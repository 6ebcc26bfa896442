import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Clock } from "../../lib/common/clock.ts";
import { ProxyError } from "../../lib/common/errors.ts";
import { HealthStatus } from "../../lib/grpc/health_status.ts";
import {
  HEALTH_PROTO,
  LB_PROTO,
  REFLECTION_ALPHA_PROTO,
  REFLECTION_PROTO,
} from "../../lib/grpc/protos.ts";
import { summarize } from "../../lib/grpc/reflection/file_summary.ts";
import { parseRequest, responseOf } from "../../lib/grpc/reflection/messages.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { LocalServices } from "../../lib/grpc/services/local_services.ts";
import { MemoryServer } from "../../lib/grpc/services/server.ts";
import { parseRule } from "../../lib/route/rule_text.ts";
import { makeManagement } from "../support/management.ts";

Deno.test("every definition yields its services and a descriptor with its symbols", () => {
  for (
    const [file, service, symbol] of [
      [LB_PROTO, "lb.LoadBalancer", "lb.Backend.State"],
      [HEALTH_PROTO, "grpc.health.v1.Health", "grpc.health.v1.HealthCheckResponse.ServingStatus"],
      [REFLECTION_PROTO, "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1.ErrorResponse"],
      [
        REFLECTION_ALPHA_PROTO,
        "grpc.reflection.v1alpha.ServerReflection",
        "grpc.reflection.v1alpha.ErrorResponse",
      ],
    ] as const
  ) {
    const loaded = loadProto(file);
    const { name, symbols } = summarize(loaded.descriptor);
    assertEquals(name, file.name);
    assert(symbols.includes(service) && symbols.includes(symbol), symbols.join());
    for (const method of Object.keys(loaded.service(service))) {
      assert(symbols.includes(`${service}.${method}`), method);
    }
    assertThrows(() => loaded.service("no.Such"), TypeError, "no.Such");
  }
});

Deno.test("files define the same when only comments and options differ", () => {
  const shapeOf = (text: string) =>
    summarize(
      loadProto({ name: "a.proto", text: `syntax = "proto3"; package a; ${text}` }).descriptor,
    )
      .shape;
  const shape = shapeOf("message M { string name = 1; }");
  assertEquals(shapeOf('option go_package = "x"; /* M */ message M { string name = 1; }'), shape);
  assert(shapeOf("message M { string name = 2; }") !== shape);
  assert(shapeOf("message M { bytes name = 1; }") !== shape);
});

Deno.test("each kind of question is told apart, and an answer repeats it", () => {
  assertEquals(parseRequest({ list_services: "" }), { type: "services" });
  assertEquals(parseRequest({ file_by_filename: "a" }), { type: "file", name: "a" });
  assertEquals(parseRequest({ file_containing_symbol: "a.B" }), { type: "symbol", name: "a.B" });
  assertEquals(
    parseRequest({ file_containing_extension: { containing_type: "a.B", extension_number: 3 } }),
    { type: "extension", name: "a.B", number: 3 },
  );
  assertEquals(
    parseRequest({ all_extension_numbers_of_type: "a.B" }),
    { type: "extension_numbers", name: "a.B" },
  );
  assertEquals(parseRequest({ host: "h" }), undefined);
  const request = { host: "h", list_services: "*" };
  assertEquals(responseOf(request, { type: "services", names: ["a.B"] }), {
    valid_host: "h",
    original_request: request,
    list_services_response: { service: [{ name: "a.B" }] },
  });
});

Deno.test("a service is served while one target of its routes is active", () => {
  const { registry } = makeManagement("l7", "grpc");
  const health = new HealthStatus({ registry, own: ["lb.LoadBalancer"], listed: () => [] });
  const at = (name: string) => health.all().get(name);
  assertEquals([at(""), at("lb.LoadBalancer"), at("a.B")], ["NOT_SERVING", "SERVING", undefined]);
  registry.addRoute(parseRule("service=a.B -> localhost:1, localhost:2"));
  registry.addRoute(parseRule("full-method=a.C/D -> localhost:2"));
  assertEquals([at(""), at("a.B"), at("a.C")], ["SERVING", "SERVING", "SERVING"]);
  const [first, second] = [...registry.backends];
  registry.drain(second!);
  assertEquals([at(""), at("a.B"), at("a.C")], ["SERVING", "SERVING", "NOT_SERVING"]);
  registry.drain(first!);
  assertEquals([at(""), at("a.B")], ["NOT_SERVING", "NOT_SERVING"]);
});

Deno.test("own services start with the first call and connect anew after a loss", async () => {
  let starts = 0;
  const clock = new Clock();
  const services = new LocalServices({
    names: ["a.B"],
    clock,
    start() {
      starts++;
      return Promise.resolve(new MemoryServer([]));
    },
  });
  assertEquals([services.claims("/a.B/C"), services.claims("/a.Bc/D")], [true, false]);
  await services.close();
  assertEquals([starts, services.take()], [0, undefined]);
  const [first, same] = await Promise.all([services.acquire(), services.acquire()]);
  assert(first === same && services.take() === first);
  first.abort();
  await first.finished;
  const second = await services.acquire();
  assert(second !== first);
  assertEquals(starts, 1);
  await services.close();
  assertEquals(services.take(), undefined);
  assertEquals(clock.size, 0);
});

Deno.test("own services that do not start fail the call, and the next one tries again", async () => {
  let starts = 0;
  const services = new LocalServices({
    names: [],
    clock: new Clock(),
    start: () =>
      ++starts === 1 ? Promise.reject(new Error("no")) : Promise.resolve(new MemoryServer([])),
  });
  const error = await assertRejects(() => services.acquire(), ProxyError);
  assertEquals(error.code, "internal");
  assert((await services.acquire()).available);
  await services.close();
});

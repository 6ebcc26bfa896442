import { assertEquals, assertThrows } from "@std/assert";
import { DEFAULT_H2_OPTIONS } from "../../lib/http/h2/options.ts";
import { backendConnections, clientConnections } from "../../lib/load_balancer/h2_options.ts";
import { GrpcL7 } from "../../mod.ts";

Deno.test("without options clients are asked after five minutes, backends never, and no connection is too old", () => {
  const fields = { maxBlock: 65_536, maxListSize: 32_768, maxFields: 100 };
  assertEquals(clientConnections({}), {
    fields,
    keepaliveTime: 300_000,
    keepaliveTimeout: 20_000,
    keepaliveIdle: false,
    minPingInterval: 5_000,
    permitIdlePings: true,
    maxAge: Infinity,
    maxAgeGrace: Infinity,
    windowTimeout: 300_000,
    idleTimeout: 300_000,
    frameTimeout: 10_000,
  });
  assertEquals(backendConnections({}), {
    fields,
    windowTimeout: 300_000,
    keepaliveTime: Infinity,
    keepaliveTimeout: 20_000,
    keepaliveIdle: false,
  });
});

Deno.test("every option reaches the side that it is for", () => {
  const options = {
    keepalive: {
      time: 1,
      upstreamTime: 10_000,
      timeout: 2,
      withoutCalls: true,
      minPingInterval: 3,
      permitWithoutCalls: false,
    },
    timeouts: {
      idle: 6_000,
      maxConnectionAge: 4,
      maxConnectionAgeGrace: 5,
      requestHead: 7_000,
      windowStall: 8_000,
    },
    limits: { maxHead: 100_000, maxFields: 6 },
  };
  const fields = { maxBlock: 200_000, maxListSize: 100_000, maxFields: 6 };
  assertEquals(clientConnections(options), {
    fields,
    keepaliveTime: 1,
    keepaliveTimeout: 2,
    keepaliveIdle: true,
    minPingInterval: 3,
    permitIdlePings: false,
    maxAge: 4,
    maxAgeGrace: 5,
    windowTimeout: 8_000,
    idleTimeout: 6_000,
    frameTimeout: 7_000,
  });
  assertEquals(backendConnections(options), {
    fields,
    windowTimeout: 8_000,
    keepaliveTime: 10_000,
    keepaliveTimeout: 2,
    keepaliveIdle: true,
  });
  for (const name of Object.keys(clientConnections(options))) {
    assertEquals(name in DEFAULT_H2_OPTIONS, true, name);
  }
});

Deno.test("backends are not asked more often than gRPC allows its clients", () => {
  for (const upstreamTime of [9_999, 0, -1, NaN]) {
    const make = () => new GrpcL7({ keepalive: { upstreamTime } });
    assertThrows(make, TypeError, `keepalive.upstreamTime ${upstreamTime}: at least 10000`);
  }
});

import { assert, assertEquals, assertThrows } from "@std/assert";
import { ChangeFeed } from "../../lib/control/change_feed.ts";
import { Management } from "../../lib/control/management.ts";
import { ManagementError } from "../../lib/control/management_error.ts";
import { checkProtocol, type Protocol, protocolOfRoute } from "../../lib/control/protocol.ts";
import { parseRule } from "../../lib/route/rule_text.ts";
import { makeManagement } from "../support/management.ts";

/** The management of an HTTP and of a gRPC registry, as an API of `prefers` sees it. */
function makeBoth(prefers?: Protocol) {
  const http = makeManagement("l7", "http").registry;
  const grpc = makeManagement("l7", "grpc").registry;
  const see = (prefers?: Protocol) =>
    new Management([http, grpc], {
      layer: "l7",
      defaultPort: 80,
      ...(prefers === undefined ? {} : { prefers }),
    });
  return { http, grpc, management: see(prefers), see };
}

function refuses(run: () => unknown, code: string, ...parts: readonly string[]): void {
  const error = assertThrows(run, ManagementError);
  assertEquals(error.code, code);
  for (const part of parts) assert(error.message.includes(part), error.message);
}

Deno.test("a rule is for the protocol of its targets, or else of its conditions", () => {
  const rows: readonly [rule: string, protocol: Protocol | undefined][] = [
    ["path=/a -> localhost:1", "http"],
    ["host=a.com -> localhost:1", "http"],
    ["header=X:1 -> localhost:1", "http"],
    ["param=x:1 -> localhost:1", "http"],
    ["http-method=GET -> localhost:1", "http"],
    ["path=/old redirect=308:/new", "http"],
    ["redirect=308:https:", "http"],
    ["service=a.B -> localhost:1", "grpc"],
    ["method=M -> localhost:1", "grpc"],
    ["full-method=/a.B/M -> localhost:1", "grpc"],
    ["grpc-header=k:v -> localhost:1", "grpc"],
    ["host=a.com service=a.B -> localhost:1", "grpc"],
    ["path=/a -> grpc://localhost:1", "grpc"],
    ["path=/a -> localhost:1, grpcs://localhost:2", "grpc"],
    ["-> https://localhost:1", "http"],
    ["-> grpc://localhost:1", "grpc"],
    ["-> localhost:1", undefined],
    ["-> unix:/run/a.sock", undefined],
  ];
  for (const [rule, protocol] of rows) {
    assertEquals(protocolOfRoute(parseRule(rule)), protocol, rule);
  }
});

Deno.test("a rule that contradicts itself is refused with what it is that does", () => {
  for (
    const [rule, ...parts] of [
      [
        "service=a.B -> http://localhost:1",
        "service matches gRPC calls only",
        "http://localhost:1",
      ],
      ["grpc-header=k redirect=308:/x", "grpc-header", "cannot be redirected"],
      [
        "path=/ -> http://localhost:1, grpc://localhost:2",
        "http://localhost:1 and grpc://localhost:2",
      ],
    ] as const
  ) {
    const { message } = assertThrows(() => protocolOfRoute(parseRule(rule)), TypeError);
    for (const part of parts) assert(message.includes(part), message);
  }
});

Deno.test("an address with the scheme of the other protocol is refused", () => {
  for (const addr of ["localhost:1", "http://a", "https://a", "unix:/a", "tcp://a:1"]) {
    checkProtocol(addr, "http");
  }
  for (const addr of ["localhost:1", "grpc://a", "grpcs://a"]) checkProtocol(addr, "grpc");
  const { message } = assertThrows(() => checkProtocol("http://a", "grpc"), TypeError);
  assertEquals(
    message,
    "address http://a:80 is for HTTP; accepted for gRPC is grpc://, grpcs:// or an address without scheme",
  );
  assertThrows(() => checkProtocol("grpcs://a", "http"), TypeError, "is for gRPC");
});

Deno.test("what is added goes by the scheme, then by the conditions, then by the protocol of the call", () => {
  const { http, grpc, see } = makeBoth();
  const add = (prefers: Protocol, backend_addr: string, conditions = {}) => {
    const { addr } = see(prefers).addL7({ backend_addr, ...conditions });
    return addr.split("://")[0];
  };
  assertEquals(add("http", "grpc://localhost:1"), "grpc");
  assertEquals(add("grpc", "https://localhost:2"), "https");
  assertEquals(add("http", "localhost:3", { services: ["a.B"] }), "grpc");
  assertEquals(add("grpc", "localhost:4", { paths: ["/a"] }), "http");
  assertEquals(add("http", "localhost:5"), "http");
  assertEquals(add("grpc", "localhost:5"), "grpc");
  assertEquals(see("grpc").addL4({ addr: "localhost:6" }).addr, "grpc://localhost:6");
  assertEquals(see("http").addL4({ port: 7 }, { hostname: "10.0.0.1" }).addr, "http://10.0.0.1:7");
  assertEquals([...http.backends].length, 4);
  assertEquals([...grpc.backends].length, 4);
  refuses(
    () => see().addL7({ backend_addr: "localhost:8" }),
    "invalid_argument",
    "backend_addr:",
    "http:// or grpc://",
  );
  refuses(
    () => see("grpc").addL7({ backend_addr: "http://localhost:8", methods: ["M"] }),
    "invalid_argument",
    "backend_addr: method matches gRPC calls only",
  );
});

Deno.test("the same address and the same rule have other ids for the other protocol", () => {
  const { http, grpc, management, see } = makeBoth("http");
  const one = see("http").addL4({ addr: "unix:/run/a.sock" });
  const other = see("grpc").addL4({ addr: "unix:/run/a.sock" });
  assert(one.id !== other.id);
  const rule = parseRule("host=a.com -> localhost:1");
  const routes = [http.addRoute(rule).value.id, grpc.addRoute(rule).value.id];
  assert(routes[0] !== routes[1]);
  assertEquals(management.listBackends().map(({ id }) => id).slice(0, 1), [one.id]);
  assertEquals(management.listBackends().length, 4);
  assertEquals(management.listRoutes().map(({ id }) => id), routes);
  assertEquals(management.routeCount, 2);
  management.removeBackend(other.id);
  management.removeRoute(routes[1]!);
  assertEquals(management.listBackends().map(({ addr }) => addr), [
    "unix:/run/a.sock",
    "http://localhost:1",
  ]);
  assertEquals(management.route(routes[0]!).targets.length, 1);
  refuses(() => management.route(routes[1]!), "not_found");
});

Deno.test("an address that both have means that of the call, or is refused", () => {
  const { see } = makeBoth();
  for (const prefers of ["http", "grpc"] as const) see(prefers).addL4({ addr: "localhost:1" });
  assertEquals(see("http").describeBackend("localhost:1").addr, "http://localhost:1");
  assertEquals(see("grpc").setWeight("localhost:1", 5).addr, "grpc://localhost:1");
  assertEquals(see().drain("http://localhost:1").state, "draining");
  refuses(() => see().drain("localhost:1"), "invalid_argument", "accepted is one of their ids");
  assertEquals(see("grpc").removeBackend("localhost:1").addr, "grpc://localhost:1");
  assertEquals(see("grpc").describeBackend("localhost:1").addr, "http://localhost:1");
  see().removeBackend("localhost:1");
  refuses(() => see("http").describeBackend("localhost:1"), "not_found");
});

Deno.test("whoever watches sees changes of both", async () => {
  const { http, grpc, management } = makeBoth();
  const feed = new ChangeFeed(management);
  const seen: string[] = [];
  const stop = management.onChange(() => {
    for (const { kind, subject } of feed.next()) {
      seen.push(`${kind} ${subject.type === "backend" ? subject.info.addr : subject.info.rule}`);
    }
  });
  http.addBackend({ addr: "localhost:1" });
  await Promise.resolve();
  grpc.addBackend({ addr: "localhost:1" });
  grpc.addRoute(parseRule("service=a.B -> localhost:2"));
  await Promise.resolve();
  assertEquals(seen, [
    "added http://localhost:1",
    "added grpc://localhost:1",
    "added grpc://localhost:2",
    "added service=a.B -> grpc://localhost:2",
  ]);
  stop();
  http.addBackend({ addr: "localhost:3" });
  await Promise.resolve();
  assertEquals(seen.length, 4);
});

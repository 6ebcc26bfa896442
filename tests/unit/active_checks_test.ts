import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { LiveBackend } from "../../lib/backend/backend.ts";
import { H1Pool } from "../../lib/backend/h1_pool.ts";
import { H2Pool } from "../../lib/backend/h2_pool.ts";
import { ActiveChecks } from "../../lib/backend/health/active_checks.ts";
import {
  formatHealthCheck,
  type HealthCheckOptions,
  parseHealthCheck,
  parseStatuses,
} from "../../lib/backend/health/check.ts";
import type { Probe } from "../../lib/backend/health/probe.ts";
import { parseAddress } from "../../lib/common/address.ts";
import { FakeClock, RESOLUTION, settle } from "../support/fake_clock.ts";
import { exhaustedFor, ScriptedBackend } from "../support/scripted_backend.ts";

const LIMITS = {
  maxConnections: 4,
  maxWaiting: 0,
  waitTimeout: 1000,
  idleTimeout: 1000,
  connectTimeout: 1000,
};

/** Checks of backends in memory. */
class Scene implements AsyncDisposable {
  readonly time = new FakeClock();
  readonly script = new ScriptedBackend();
  readonly backends: LiveBackend[] = [];
  readonly #checks: ActiveChecks;
  #changed = () => {};

  constructor(options: HealthCheckOptions, grpc: (service: string | undefined) => Probe = noGrpc) {
    this.add("a");
    this.#checks = new ActiveChecks({
      backends: () => this.backends,
      onChange: (listener) => {
        this.#changed = listener;
        return () => this.#changed = () => {};
      },
      clock: this.time.clock,
      connect: () => this.script.connect(),
      grpc,
      grpcWatch: () => () => Promise.resolve({ type: "broken", reason: "no stream is expected" }),
      random: () => 0.5,
    }, options);
  }

  add(name: string): LiveBackend {
    const addr = `http://${name}:80`;
    const address = parseAddress(addr);
    const parts = {
      address,
      addr,
      clock: this.time.clock,
      connect: () => this.script.connect(),
    };
    const backend = new LiveBackend(`id-${name}`, address, {
      http: new H1Pool(parts, LIMITS),
      h2: new H2Pool(parts, LIMITS),
      clock: this.time.clock,
    });
    this.backends.push(backend);
    this.#changed();
    return backend;
  }

  remove(): void {
    this.backends.pop();
    this.#changed();
  }

  get state() {
    return this.backends[0]!.health.state;
  }

  /** Answers the check that is under way, and lets the next one begin. */
  async answer(response: string): Promise<string> {
    const asked = await this.script.accept();
    const request = await asked.answer(response);
    await settle();
    return `${request.start} ${request.get("host")}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#checks.close();
    assertEquals(this.time.clock.size, 0);
  }
}

function noGrpc(): Probe {
  return () => Promise.reject(new Error("no check over gRPC is expected"));
}

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BAD = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";

Deno.test("the text of a check is parsed, and what is none is refused with what is accepted", () => {
  for (
    const text of [
      ...["tcp", "http:/", "http:/healthz?full=1", "grpc", "grpc:myapp.UserService"],
      ...["grpc-watch", "grpc-watch:myapp.UserService"],
    ]
  ) {
    assertEquals(formatHealthCheck(parseHealthCheck(text)), text);
  }
  for (
    const text of [
      "",
      "http",
      "http:",
      "http:healthz",
      "http:/a b",
      "grpc:",
      "grpc:a/b",
      "grpc-watch:",
      "udp",
    ]
  ) {
    assertThrows(() => parseHealthCheck(text), TypeError, JSON.stringify(text));
  }
  assertEquals(parseStatuses("200,204,300-399"), [[200, 200], [204, 204], [300, 399]]);
  for (const text of ["", "99", "600", "299-200", "200-", "2xx", "200,,201"]) {
    assertThrows(() => parseStatuses(text), TypeError, JSON.stringify(text));
  }
});

Deno.test("the first check is made at once and decides alone", async () => {
  await using scene = new Scene({ check: "http:/healthz" });
  assertEquals(await scene.answer(BAD), "GET /healthz HTTP/1.1 a:80");
  assertEquals(scene.state, { type: "failing", reason: "status 500" });
});

Deno.test("later it takes three failures to fall and two successes to rise, asked for sooner after the first", async () => {
  await using scene = new Scene({ check: "http:/" });
  await scene.answer(OK);
  await scene.time.advance(4900);
  assertEquals(scene.script.dials, 1);
  await scene.time.expire(0);
  for (const [index, expected] of ["healthy", "healthy", "failing"].entries()) {
    await scene.time.expire(index === 0 ? 100 : 1000);
    assertEquals(scene.script.dials, 2 + index);
    await scene.answer(BAD);
    assertEquals(scene.state.type, expected);
  }
  for (const expected of ["failing", "healthy"]) {
    await scene.time.expire(1000);
    await scene.answer(OK);
    assertEquals(scene.state.type, expected);
  }
});

Deno.test("a success between failures begins the count anew, and the wait is the longer one again", async () => {
  await using scene = new Scene({ check: "http:/", fall: 2 });
  await scene.answer(OK);
  for (const response of [BAD, OK, BAD, OK, BAD]) {
    await scene.time.expire(response === BAD ? 5000 : 1000);
    await scene.answer(response);
    assertEquals(scene.state.type, "healthy");
  }
  await scene.time.expire(5000);
  await scene.answer(BAD);
  assertEquals(scene.state.type, "failing");
});

Deno.test("no answer in time is a failure, and the connection is closed", async () => {
  await using scene = new Scene({ check: "http:/", timeout: 300 });
  const connection = await scene.script.accept();
  await connection.request();
  await scene.time.expire(300);
  assertEquals(scene.state, { type: "failing", reason: "no answer within 300 ms" });
  assert(connection.closedByProxy);
});

Deno.test("a backend that hangs is found within an interval, three timeouts and two short intervals", async () => {
  await using scene = new Scene({ check: "http:/" });
  await scene.answer(OK);
  const began = scene.time.clock.now();
  const held: unknown[] = [];
  for (let i = 0; i < 3; i++) {
    await scene.time.expire(i === 0 ? 5000 : 1000);
    held.push(await scene.script.accept());
    assertEquals(scene.state.type, "healthy");
    await scene.time.expire(2000);
  }
  assertEquals([held.length, scene.state.type], [3, "failing"]);
  assertLessOrEqual(scene.time.clock.now() - began, 13_000 + 6 * RESOLUTION);
});

Deno.test("a check that this host has no descriptor or port for counts for nothing", async () => {
  await using scene = new Scene({ check: "http:/", rise: 2, fall: 1 });
  await scene.answer(OK);
  for (const lack of ["descriptors", "ports"] as const) {
    scene.script.failure = exhaustedFor(lack);
    for (let i = 0; i < 5; i++) await scene.time.expire(5000);
    assertEquals(scene.state.type, "healthy");
  }
  assertEquals(scene.script.dials, 11);
  scene.script.refuse();
  await scene.time.expire(5000);
  assertEquals(scene.state.type, "failing");
  // Neither does it end a failure, or begin its count anew.
  scene.script.failure = undefined;
  await scene.time.expire(1000);
  await scene.answer(OK);
  scene.script.failure = exhaustedFor("descriptors");
  await scene.time.expire(1000);
  scene.script.failure = undefined;
  assertEquals(scene.state.type, "failing");
  await scene.time.expire(1000);
  await scene.answer(OK);
  assertEquals(scene.state.type, "healthy");
});

Deno.test("the first check decides alone only once it could be made", async () => {
  const prevented = { type: "grpc" } as const;
  let error: Error = exhaustedFor("descriptors");
  const grpc = () => () => Promise.reject(error);
  await using scene = new Scene({ check: prevented }, grpc);
  await scene.time.expire(0);
  assertEquals(scene.state.type, "healthy");
  error = new Error("it is down");
  await scene.time.expire(5000);
  assertEquals(scene.state.type, "failing");
});

Deno.test("statuses, a text of the body, the method and the host can be asked for", async () => {
  const check = {
    type: "http",
    path: "/ready?deep=1",
    method: "POST",
    host: "app.internal",
    statuses: [[418, 418]],
    body: "all good",
  } as const;
  const teapot = (body: string) =>
    `HTTP/1.1 418 Teapot\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;
  await using scene = new Scene({ check, rise: 1, fall: 1 });
  assertEquals(
    await scene.answer(teapot("4\r\nall \r\n5\r\ngood.\r\n0\r\n\r\n")),
    "POST /ready?deep=1 HTTP/1.1 app.internal",
  );
  assertEquals(scene.state.type, "healthy");
  for (
    const [response, reason] of [
      [OK, "status 200"],
      [teapot("4\r\nlies\r\n0\r\n\r\n"), 'the body does not contain "all good"'],
      [teapot("zz\r\n"), "the chunked body of the answer is malformed"],
      ["no HTTP\r\n\r\n", "the answer is malformed: status line"],
    ] as const
  ) {
    await scene.time.expire(5000);
    await scene.answer(response);
    assertEquals(scene.state, { type: "failing", reason });
    await scene.time.expire(1000);
    await scene.answer(teapot("8\r\nall good\r\n0\r\n\r\n"));
    assertEquals(scene.state.type, "healthy");
  }
});

Deno.test("a tcp check asks for a connection and nothing more", async () => {
  await using scene = new Scene({ check: "tcp" });
  const connection = await scene.script.accept();
  await settle();
  assert(connection.closedByProxy);
  assertEquals(scene.state.type, "healthy");
});

Deno.test("a check over gRPC is left to the probe that was given", async () => {
  const asked: (string | undefined)[] = [];
  await using scene = new Scene({ check: "grpc:myapp.UserService" }, (service) => (backend) => {
    asked.push(`${service} at ${backend.addr}`);
    return Promise.reject(new Error("the health service says NOT_SERVING"));
  });
  await settle();
  assertEquals(asked, ["myapp.UserService at http://a:80"]);
  assertEquals(scene.state, {
    type: "failing",
    reason: "Error: the health service says NOT_SERVING",
  });
});

Deno.test("backends that come are checked, and those that go no more", async () => {
  await using scene = new Scene({ check: "tcp" });
  await settle();
  scene.add("b");
  await settle();
  assertEquals(scene.script.dials, 2);
  scene.remove();
  await scene.time.expire(5000);
  await settle();
  assertEquals(scene.script.dials, 3);
});

Deno.test("options out of their range are refused with their name and value", async () => {
  const scene = new Scene({ check: "tcp" });
  await scene[Symbol.asyncDispose]();
  for (
    const [options, message] of [
      [{ check: "tcp", interval: 0 }, "interval 0"],
      [{ check: "tcp", timeout: NaN }, "timeout NaN"],
      [{ check: "tcp", rise: -1 }, "rise -1"],
      [{ check: "ping" }, '"ping"'],
    ] as const
  ) {
    assertThrows(() => new Scene(options), TypeError, message);
  }
});

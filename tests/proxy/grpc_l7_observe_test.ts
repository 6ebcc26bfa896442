import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { AccessLog } from "../../lib/observe/access_log.ts";
import { MAX_METHODS, STATUS_LABELS } from "../../lib/observe/grpc_metrics.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { settle } from "../support/fake_clock.ts";
import { type GrpcL7Options, GrpcL7Scene } from "../support/grpc_l7.ts";
import { type Call, echo, OK } from "../support/h2_peer.ts";

/** A message with its prefix. */
function message(text: string): string {
  return `\0\0\0\0${String.fromCharCode(text.length)}${text}`;
}

/** All calls that were counted: `service/method backend STATUS` and how often. */
function counted({ listener, registry }: GrpcL7Scene): Record<string, number> {
  const hosts = new Map(Array.from(registry.backends, ({ id, addr }) => [id, addr.slice(7)]));
  const counts: Record<string, number> = {};
  for (const stats of listener.grpc.series()) {
    assertEquals(stats.active, 0, `active calls of ${stats.method}`);
    for (const [backend, statuses] of stats.backends()) {
      for (const [i, count] of statuses.entries()) {
        const name = `${stats.service}/${stats.method} ${hosts.get(backend) ?? "-"}`;
        if (count > 0) counts[`${name} ${STATUS_LABELS[i]}`] = count;
      }
    }
  }
  return counts;
}

/** A scene with an access log, and its records. */
async function openLogged(options: GrpcL7Options = {}) {
  const lines: string[] = [];
  const accessLog = new AccessLog({
    format: "json",
    sink: {
      write(bytes) {
        lines.push(...new TextDecoder().decode(bytes).split("\n").filter((line) => line !== ""));
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
    },
  });
  const scene = await GrpcL7Scene.open({ ...options, context: { ...options.context, accessLog } });
  return {
    scene,
    async records(): Promise<Record<string, unknown>[]> {
      await settle();
      await accessLog.flush();
      return lines.map((line) => JSON.parse(line));
    },
    async [Symbol.asyncDispose]() {
      await scene[Symbol.asyncDispose]();
      await accessLog.close();
    },
  };
}

async function settled(): Promise<void> {
  for (let i = 0; i < 6; i++) await settle();
}

Deno.test("calls are counted by the status in trailers and in answers of trailers only", async () => {
  await using scene = await GrpcL7Scene.open({ backends: ["a:80", "b:80"] });
  for (const backend of scene.backends.values()) {
    backend.onCall = (call) => {
      const status = call.path.endsWith("Missing") ? "5" : "0";
      if (status === "5") call.end([...OK, ["grpc-status", status]]);
      else call.answer(message("hi"));
    };
  }
  for (let i = 0; i < 4; i++) await scene.end(scene.client.call("/shop.S/Find"));
  for (let i = 0; i < 2; i++) await scene.end(scene.client.call("/shop.S/Missing"));
  assertEquals(counted(scene), {
    "shop.S/Find a:80 OK": 2,
    "shop.S/Find b:80 OK": 2,
    "shop.S/Missing a:80 NOT_FOUND": 1,
    "shop.S/Missing b:80 NOT_FOUND": 1,
  });
});

Deno.test("what ended without a status is told apart, and a status of HTTP stands for one", async () => {
  await using scene = await GrpcL7Scene.open();
  const answers: ((call: Call) => void)[] = [
    (call) => {
      call.head();
      call.stream.sendData(new Uint8Array(6), 0, 6, true);
    },
    (call) => call.end([[":status", "200"], ["content-type", "application/grpc"]]),
    (call) => call.end([[":status", "503"]]),
    (call) => call.end([[":status", "404"], ["grpc-status", "7"]]),
    (call) => call.end([...OK, ["grpc-status", "nonsense"]]),
    (call) => call.end([...OK, ["grpc-status", "123"]]),
  ];
  for (const answer of answers) {
    scene.backend().onCall = answer;
    await scene.end(scene.client.call("/s.S/M"));
  }
  await settled();
  assertEquals(counted(scene), {
    "s.S/M a:80 missing": 3,
    "s.S/M a:80 UNAVAILABLE": 1,
    "s.S/M a:80 PERMISSION_DENIED": 1,
    "s.S/M a:80 invalid": 1,
  });
});

Deno.test("a call that the client, the backend or the proxy cuts counts as what the client gets", async () => {
  await using scene = await GrpcL7Scene.open();
  const { client } = scene;
  scene.backend().onCall = (call) => call.answer(message("x"));
  await scene.end(client.call("/s.S/M"));

  scene.backend().onCall = (call) => call.head();
  const cancelled = client.call("/s.S/M", { open: true });
  await settled();
  cancelled.stream.reset(H2Code.Cancel);
  await settled();
  scene.backend().onCall = (call) => call.stream.reset(H2Code.EnhanceYourCalm);
  await scene.end(client.call("/s.S/M"));
  scene.backend().onCall = (call) => call.head();
  const lost = client.call("/s.S/M");
  await settled();
  scene.backend().kill();
  await scene.end(lost);
  scene.down.add("a:80");
  const unreached = await scene.end(client.call("/s.S/M"));
  assertEquals([lost.value("grpc-status"), unreached.value("grpc-status")], ["14", "14"]);
  assertEquals(counted(scene), {
    "s.S/M a:80 OK": 1,
    "s.S/M a:80 CANCELLED": 1,
    "s.S/M a:80 RESOURCE_EXHAUSTED": 1,
    "s.S/M a:80 UNAVAILABLE": 2,
  });
});

Deno.test("a call without backend or route counts without backend, and other requests not at all", async () => {
  await using scene = await GrpcL7Scene.open({
    routes: [new RouteBuilder().service("x.Y").target("a:80").build()],
  });
  await scene.end(scene.client.call("/z.Z/M"));
  await scene.end(scene.client.call("/x.Y/M", { grpc: false }));
  assertEquals(counted(scene), { "other/other - UNIMPLEMENTED": 1 });
});

Deno.test("names that routes have are told apart before any backend has answered", async () => {
  await using scene = await GrpcL7Scene.open({
    routes: [
      new RouteBuilder().service("a.A").method("Login").target("a:80").build(),
      new RouteBuilder().fullMethod("/b.B/Find").target("a:80").build(),
      new RouteBuilder().service("c.C").target("a:80").build(),
    ],
  });
  scene.down.add("a:80");
  const paths = ["/a.A/Login", "/b.B/Find", "/c.C/One", "/c.C/Two", "/a.A/L%6fgin", "/a.A/Other"];
  for (const path of paths) await scene.end(scene.client.call(path));
  assertEquals(counted(scene), {
    "a.A/Login a:80 UNAVAILABLE": 1,
    "a.A/other a:80 UNAVAILABLE": 1,
    "b.B/Find a:80 UNAVAILABLE": 1,
    "c.C/other a:80 UNAVAILABLE": 2,
    "other/other - UNIMPLEMENTED": 1,
  });
  scene.down.delete("a:80");
  scene.backend().onCall = (call) => call.answer(message("x"));
  await scene.end(scene.client.call("/c.C/One"));
  assertEquals(counted(scene)["c.C/One a:80 OK"], 1);
});

Deno.test("messages and bytes are counted in both directions while a stream is open", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: echo });
  const call = scene.client.call("/chat.C/Talk", { open: true });
  const { grpc } = scene.listener;
  scene.client.send(call, message("one"));
  await settled();
  const stats = grpc.find("/chat.C/Talk")!;
  assertEquals([stats.active, grpc.other.active], [1, 0]);
  assertEquals([stats.messagesReceived, stats.messagesSent], [1, 1]);
  assertEquals([stats.bytesReceived, stats.bytesSent], [8, 8]);
  const both = message("two") + message("three");
  for (const part of [both.slice(0, 3), both.slice(3, 11), both.slice(11)]) {
    scene.client.send(call, part);
    await settled();
  }
  assertEquals([stats.messagesReceived, stats.messagesSent, stats.count], [3, 3, 0]);
  scene.client.send(call, "", true);
  await scene.end(call);
  assertEquals([stats.active, stats.count, stats.bytesReceived, stats.bytesSent], [0, 1, 26, 26]);
});

Deno.test("bytes that are no messages pass as they are", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: echo });
  const call = scene.client.call("/a.B/C", { open: true });
  const text = "\x09 no prefix at all, and a length of \0\xff\xff\xff\xff";
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  scene.client.send(call, bytes, true);
  await scene.end(call);
  assertEquals([call.text, call.value("grpc-status")], [text, "0"]);
  assertEquals(scene.listener.grpc.find("/a.B/C")!.messagesReceived, 0);
});

Deno.test("names that no backend knows are counted together, however many there are", async () => {
  await using scene = await GrpcL7Scene.open();
  scene.backend().onCall = (call) => {
    if (call.path === "/real.S/M") call.answer(message("x"));
    else call.end([...OK, ["grpc-status", "12"]]);
  };
  for (let i = 0; i < 60; i++) {
    const calls = Array.from({ length: 50 }, (_, j) => scene.client.call(`/fake.S${i}/M${j}`));
    for (const call of calls) await scene.end(call);
  }
  await scene.end(scene.client.call("/real.S/M"));
  assertEquals(counted(scene), {
    "real.S/M a:80 OK": 1,
    "other/other a:80 UNIMPLEMENTED": 3000,
  });
  assertEquals(scene.listener.grpc.other.count, 3000);
});

Deno.test("a backend that takes any name cannot make more series than there may be", async () => {
  await using scene = await GrpcL7Scene.open();
  scene.backend().onCall = (call) => call.answer(message("x"));
  const batches = Math.ceil((MAX_METHODS + 100) / 50);
  for (let i = 0; i < batches; i++) {
    const calls = Array.from({ length: 50 }, (_, j) => scene.client.call(`/fake.S/M${i}-${j}`));
    for (const call of calls) await scene.end(call);
  }
  const all = [...scene.listener.grpc.series()];
  assertEquals(all.length, MAX_METHODS + 1);
  const { other } = scene.listener.grpc;
  assertEquals([other.count, other.messagesSent], [batches * 50 - MAX_METHODS, other.count]);
  assertEquals(all.reduce((sum, { active }) => sum + active, 0), 0);
});

Deno.test("series of a backend that is gone do not come back with the end of its calls", async () => {
  await using scene = await GrpcL7Scene.open({ onCall: (call) => call.head() });
  scene.registry.watcher = {
    onBackendRemoved: (id) => scene.listener.forgetBackend(id),
    onRouteRemoved() {},
  };
  const call = scene.client.call("/a.B/C");
  await settled();
  scene.registry.removeBackend([...scene.registry.backends][0]!);
  scene.backend().calls[0]!.send(message("late"));
  scene.backend().calls[0]!.end();
  await scene.end(call);
  assertEquals(call.value("grpc-status"), "0");
  assertEquals(counted(scene), {});
  assertEquals([...scene.listener.requestSeries()], []);
  assertEquals([...scene.listener.upstreamSeries()], []);
});

Deno.test("the access log tells of a call what it was and how it ended", async () => {
  await using logged = await openLogged();
  const { scene } = logged;
  scene.backend().onCall = (call) => {
    call.head();
    call.send(message("first"));
    call.send(message("second"));
    call.end([["grpc-status", "9"], ["grpc-message", "not yet %E2%98%BA"]]);
  };
  await scene.end(scene.client.call("/shop.S/Buy", {
    content: message("tea"),
    fields: [["grpc-timeout", "5S"], ["user-agent", "test/1"]],
  }));
  const [record, ...more] = await logged.records();
  assertEquals(more, []);
  const { time, duration_ms: _, client, ...rest } = record!;
  assert(typeof time === "string" && typeof client === "string");
  assertEquals(rest, {
    listener: "test",
    method: "POST",
    host: "test",
    target: "/shop.S/Buy",
    protocol: "HTTP/2.0",
    status: 200,
    bytes_in: 8,
    bytes_out: 21,
    route: "-",
    backend: "grpc://a:80",
    attempts: 1,
    request_id: "",
    user_agent: "test/1",
    referer: "",
    error: "",
    grpc_service: "shop.S",
    grpc_method: "Buy",
    grpc_status: 9,
    grpc_message: "not yet ☺",
    grpc_timeout: "5S",
    messages_in: 1,
    messages_out: 2,
  });
});

Deno.test("the access log has the status of calls that were cut, and no call in other requests", async () => {
  await using logged = await openLogged({
    routes: [new RouteBuilder().service("a.B").target("a:80").build()],
  });
  const { scene } = logged;
  scene.backend().onCall = (call) => call.path === "/a.B/Bare" ? call.end(OK) : undefined;
  await scene.end(scene.client.call("/none.S/M"));
  await scene.end(scene.client.call("/none", { grpc: false }));
  const cancelled = scene.client.call("/a.B/C", { open: true });
  await settled();
  cancelled.stream.reset(H2Code.Cancel);
  await settled();
  await scene.end(scene.client.call("/a.B/Bare"));
  const records = await logged.records();
  assertEquals(
    records.map(({ grpc_status, error, status }) => [grpc_status, error, status]),
    [
      [12, "no_route", 200],
      [undefined, "no_route", 404],
      [1, "client_closed", 0],
      [null, "", 200],
    ],
  );
});

import { assert, assertEquals } from "@std/assert";
import { type Duplex, writeAll } from "../../lib/common/duplex.ts";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameReader, NEED_MORE } from "../../lib/http/h2/frame_reader.ts";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { AccessLog } from "../../lib/observe/access_log.ts";
import { settle } from "../support/fake_clock.ts";
import { GrpcL4Scene, OWN_PREFIX, TableEncoder } from "../support/grpc_l4.ts";
import {
  type Call,
  DONE,
  echo,
  encodeBlock,
  Exchange,
  type Fields,
  type H2Client,
  OK,
} from "../support/h2_peer.ts";
import { concat, type Frame, headers, settings, windowUpdate } from "../support/h2_raw.ts";
import { Random } from "../support/prng.ts";

const GOAWAY_PING_MS = 1000;

/** Lets everything happen that needs no time, in some turns. */
async function turns(count = 12): Promise<void> {
  for (let i = 0; i < count; i++) await settle();
}

/** Takes frames apart until the end. */
async function readFrames(socket: Duplex, frames: Frame[]): Promise<void> {
  const reader = new FrameReader();
  const into = new Uint8Array(64 * 1024);
  let end = 0;
  let at = 0;
  for (;;) {
    const count = await socket.read(into.subarray(end)).catch(() => null);
    if (count === null) return;
    end += count;
    for (let next; (next = reader.next(into, at, end)) !== NEED_MORE; at = next) {
      const { type, flags, streamId: id, start } = reader;
      frames.push({ type, flags, id, payload: into.slice(start, reader.end) });
    }
  }
}

/** Begins a call with these fields, encoded by an encoder with a table or without. */
function begin(
  client: H2Client,
  fields: Fields,
  encode: (fields: Fields) => Uint8Array = encodeBlock,
): Exchange {
  const exchange = new Exchange();
  exchange.stream = client.connection.openStream(encode(fields), {
    endStream: false,
    noBody: false,
    listener: exchange,
  });
  return exchange;
}

function head(path: string, ...more: Fields): Fields {
  return [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "test"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ...more,
  ];
}

Deno.test("a call comes and goes as it is, with the stream identifier that the client gave it", async () => {
  await using scene = await GrpcL4Scene.open();
  scene.backend().onCall = (call) => {
    call.head([...OK, ["x-initial", "a"]]);
    call.send("answer");
    call.end([...DONE, ["x-trailing-bin", "q6ur"]]);
  };
  const own = scene.client.call(`${OWN_PREFIX}S/M`);
  await scene.end(own);
  const call = scene.client.call("/s.S/M", { content: "ask", fields: [["grpc-timeout", "5S"]] });
  await scene.end(call);
  const [seen] = scene.backend().calls;
  assertEquals([seen!.stream.id, seen!.text], [call.stream.id, "ask"]);
  assertEquals(seen!.fields, head("/s.S/M", ["grpc-timeout", "5S"]).map(([n, v]) => [n, v]));
  assertEquals(call.heads, [[[":status", "200"], ["content-type", "application/grpc"], [
    "x-initial",
    "a",
  ]]]);
  assertEquals(call.text, "answer");
  assertEquals(call.trailers, [["grpc-status", "0"], ["x-trailing-bin", "q6ur"]]);
  assertEquals(scene.own.calls.map(({ path }) => path), [`${OWN_PREFIX}S/M`]);
  // What a backend has in flight at layer 4 is connections.
  assertEquals([scene.backend().accepted, scene.inFlight], [1, 1]);
});

Deno.test("the own services answer without any backend, and tell who calls", async () => {
  await using scene = await GrpcL4Scene.open({ backends: [] });
  const call = scene.client.call(`${OWN_PREFIX}S/M`, { fields: [["lb-caller", "forged"]] });
  const none = scene.client.call("/s.S/M");
  await scene.end(call, none);
  assertEquals([call.value("grpc-status"), none.value("grpc-status")], ["0", "14"]);
  const callers = scene.own.calls[0]!.fields.filter(([name]) => name === "lb-caller");
  assertEquals(callers, [["lb-caller", "192.0.2.1"]]);
});

for (const table of [true, false]) {
  const name = table ? "that uses its dynamic table" : "without a dynamic table";
  Deno.test(`calls of the backend and of own services mix in any order, of a client ${name}`, async () => {
    for (let seed = 1; seed <= 25; seed++) {
      const random = new Random(seed);
      await using scene = await GrpcL4Scene.open({ onCall: echo, keepsTable: table });
      const encoder = new TableEncoder();
      const encode = (fields: Fields) => table ? encoder.encode(fields) : encodeBlock(fields);
      const open: { exchange: Exchange; sent: string; own: boolean; fields: Fields }[] = [];
      const all: typeof open = [];
      for (let step = 0; step < 80; step++) {
        const what = random.below(10);
        if (what < 4 || open.length === 0) {
          const own = random.below(3) === 0;
          const fields = head(
            `${own ? OWN_PREFIX : "/"}s.S/M${random.below(4)}`,
            [`x-${random.below(5)}`, "v".repeat(random.below(300))],
            ["x-id", String(random.below(30))],
          );
          const exchange = begin(scene.client, fields, encode);
          if (random.below(4) === 0) exchange.reads = false;
          const call = { exchange, sent: "", own, fields };
          open.push(call);
          all.push(call);
        } else if (what < 8) {
          const call = open[random.below(open.length)]!;
          const text = String(random.below(10)).repeat(random.below(random.below(4) * 20_000 + 2));
          call.sent += text;
          scene.client.send(call.exchange, text);
        } else {
          const [call] = open.splice(random.below(open.length), 1);
          if (random.below(8) === 0) {
            call!.exchange.stream.reset(H2Code.Cancel);
            all.splice(all.indexOf(call!), 1);
          } else scene.client.send(call!.exchange, "", true);
        }
        if (random.below(3) === 0) await turns(random.below(4));
      }
      for (const { exchange } of open) scene.client.send(exchange, "", true);
      await turns();
      for (const { exchange } of all) if (!exchange.reads) exchange.resume();
      await scene.end(...all.map(({ exchange }) => exchange));
      for (const [i, { exchange, sent, own, fields }] of all.entries()) {
        const where = `call ${i} of seed ${seed}`;
        assertEquals(exchange.value("grpc-status"), "0", `${where}: ${exchange.reset?.detail}`);
        assert(exchange.text === sent, `${where} has another answer`);
        if (own) continue;
        const seen = scene.backend().calls.find(({ stream }) => stream.id === exchange.stream.id);
        assertEquals(seen!.fields, fields.map(([n, v]) => [n, v]), where);
      }
      assertEquals([scene.client.connection.error, scene.backend().accepted], [undefined, 1]);
    }
  });
}

Deno.test("100 streams both ways stay open side by side, beside calls of own services", async () => {
  await using scene = await GrpcL4Scene.open({
    onCall: echo,
    client: { connectionWindow: 4 * 1024 * 1024 },
  });
  const calls = Array.from({ length: 100 }, () => scene.client.call("/s.S/Chat", { open: true }));
  let text = "";
  for (let round = 0; round < 20; round++) {
    for (const call of calls) scene.client.send(call, `${round};`);
    text += `${round};`;
    const own = scene.client.call(`${OWN_PREFIX}S/M`);
    await scene.end(own);
    await scene.until(() => calls.every((call) => call.text === text), `round ${round}`);
  }
  for (const call of calls) scene.client.send(call, "", true);
  await scene.end(...calls);
  assertEquals(calls.map((call) => call.value("grpc-status")), calls.map(() => "0"));
  assertEquals([scene.inFlight, scene.backend().accepted], [1, 1]);
});

Deno.test("large streams both ways and large answers of own services share the client's window", async () => {
  const size = 1024 * 1024;
  await using scene = await GrpcL4Scene.open({
    onCall: (call) => {
      if (call.path.endsWith("Down")) {
        call.head();
        call.send(new Uint8Array(size));
        call.end();
      } else echo(call);
    },
    // No more than the window that a connection begins with, which both the backend and we may use.
    client: { connectionWindow: 65_535 },
  });
  for (let i = 0; i < 3; i++) {
    const calls = [
      scene.client.call("/s.S/Down"),
      scene.client.call(`${OWN_PREFIX}S/Down`),
      scene.client.call("/s.S/Both", { content: new Uint8Array(size) }),
      scene.client.call(`${OWN_PREFIX}S/Both`, { content: new Uint8Array(size / 4) }),
      scene.client.call("/s.S/Down"),
    ];
    for (const call of calls) call.keeps = false;
    await scene.end(...calls);
    assertEquals(calls.map((call) => call.value("grpc-status")), calls.map(() => "0"));
    assertEquals(
      calls.map(({ received }) => received),
      [size, size, size, size / 4, size],
    );
  }
  assertEquals(scene.client.connection.error, undefined);
});

Deno.test("a backend that is lost ends every call with UNAVAILABLE, and the client is told to connect anew", async () => {
  await using scene = await GrpcL4Scene.open({ onCall: () => {} });
  const silent = scene.client.call("/s.S/Silent", { open: true });
  const begun = scene.client.call("/s.S/Begun", { content: "ask" });
  const own = scene.client.call(`${OWN_PREFIX}S/M`, { open: true });
  await scene.until(() => scene.backend().calls.length === 2, "both calls");
  const [, second] = scene.backend().calls;
  second!.head();
  second!.send("part");
  await scene.until(() => begun.text === "part", "the beginning of the answer");
  for (const connection of scene.backend().connections) connection.abort();
  await scene.end(silent, begun);
  assertEquals([silent.heads.length, silent.trailers, silent.value("grpc-status")], [
    1,
    undefined,
    "14",
  ]);
  assertEquals([begun.text, begun.value("grpc-status")], ["part", "14"]);
  await scene.until(() => scene.client.connection.ending, "GOAWAY");
  assertEquals([scene.inFlight, own.ended], [0, false]);
  scene.own.calls[0]!.answer();
  scene.client.send(own, "", true);
  await scene.end(own);
  assertEquals(own.value("grpc-status"), "0");
  await scene.until(() => scene.finished, "the end of the connection");
});

Deno.test("GOAWAY of the backend: what it has begun ends as it will, the rest is refused, and the client goes", async () => {
  await using scene = await GrpcL4Scene.open({ onCall: () => {} });
  const first = scene.client.call("/s.S/M", { open: true });
  await scene.until(() => scene.backend().calls.length === 1, "the first call");
  for (const connection of scene.backend().connections) connection.drain();
  await scene.until(() => scene.client.connection.ending, "GOAWAY");
  assertEquals(first.ended, false);
  scene.backend().calls[0]!.answer("done");
  scene.client.send(first, "", true);
  await scene.end(first);
  assertEquals([first.text, first.value("grpc-status")], ["done", "0"]);
  await scene.until(() => scene.finished, "the end of the connection");
  assertEquals(scene.inFlight, 0);
});

Deno.test("a backend that is drained or removed sends its clients elsewhere when their calls have ended", async () => {
  for (const leave of ["drain", "remove"] as const) {
    await using scene = await GrpcL4Scene.open({ onCall: () => {} });
    const [live] = scene.registry.backends;
    const call = scene.client.call("/s.S/M");
    await scene.until(() => scene.backend().calls.length === 1, "the call");
    if (leave === "drain") scene.registry.drain(live!);
    else scene.registry.removeBackend(live!);
    await scene.until(() => scene.client.connection.ending, "GOAWAY");
    scene.backend().calls[0]!.answer();
    await scene.end(call);
    assertEquals(call.value("grpc-status"), "0");
    await scene.until(() => scene.finished, "the end of the connection");
    await live!.whenIdle();
  }
});

Deno.test("a backend that cannot be reached is passed over, and asked again by a later call", async () => {
  await using scene = await GrpcL4Scene.open({ backends: ["a:80", "b:80"] });
  scene.down.add("a:80").add("b:80");
  const none = scene.client.call("/s.S/M", { content: "ask" });
  await scene.end(none);
  assertEquals(none.value("grpc-status"), "14");
  scene.down.delete("b:80");
  const calls = [1, 2, 3].map(() => scene.client.call("/s.S/M", { content: "ask" }));
  await scene.end(...calls);
  assertEquals(calls.map((call) => call.value("grpc-status")), ["0", "0", "0"]);
  assertEquals([scene.backend("a:80").accepted, scene.backend("b:80").accepted], [0, 1]);
});

Deno.test("a backend that says nothing is left for the next when its time is over", async () => {
  await using scene = await GrpcL4Scene.open({ backends: ["a:80"] });
  // It takes connections, and speaks no HTTP/2.
  scene.backend().serve = () => scene.own.connections.values().next().value!;
  const call = scene.client.call("/s.S/M");
  await turns();
  assertEquals(call.ended, false);
  await scene.time.expire(1_000);
  await scene.end(call);
  assertEquals([call.value("grpc-status"), scene.inFlight], ["14", 0]);
});

Deno.test("a client that is gone cancels at the backend, and nothing of it is left", async () => {
  await using scene = await GrpcL4Scene.open({ onCall: (call) => call.head() });
  const calls = [1, 2, 3].map(() => scene.client.call("/s.S/M", { open: true }));
  await scene.until(() => calls.every(({ heads }) => heads.length === 1), "the heads");
  scene.client.connection.abort();
  await scene.until(() => scene.finished, "the end of the connection");
  await turns();
  assertEquals(scene.backend().calls.map(({ reset }) => reset?.connectionLost), [true, true, true]);
  assertEquals([scene.inFlight, scene.backend().connections.size], [0, 0]);
  const [stats] = [...scene.listener.upstreamSeries()].map(([, stats]) => stats);
  assertEquals(stats!.active, 0);
});

Deno.test("the deadline of a call is kept when neither side does, and only that call ends", async () => {
  await using scene = await GrpcL4Scene.open({
    onCall: (call) => void (call.path === "/b" && call.head()),
  });
  const silent = scene.client.call("/a", { fields: [["grpc-timeout", "1S"]] });
  const begun = scene.client.call("/b", { fields: [["grpc-timeout", "1S"]] });
  const other = scene.client.call("/b", { fields: [["grpc-timeout", "1H"]] });
  const malformed = scene.client.call("/c", { fields: [["grpc-timeout", "soon"]] });
  await scene.until(() => begun.heads.length + other.heads.length === 2, "the heads");
  await scene.time.advance(2_000);
  await scene.end(silent, begun, malformed);
  assertEquals(
    [silent, begun, malformed].map((call) => call.value("grpc-status")),
    ["4", "4", "13"],
  );
  assertEquals(other.ended, false);
  await turns();
  assertEquals(
    scene.backend().calls.map(({ path, reset }) => [path, reset?.code]),
    [["/a", H2Code.Cancel], ["/b", H2Code.Cancel], ["/b", undefined]],
  );
});

Deno.test("SETTINGS of a client that change reach its backend, and its acknowledgement the client", async () => {
  const held: Call[] = [];
  await using scene = await GrpcL4Scene.open({ onCall: (call) => void held.push(call) });
  const socket = scene.connect();
  const frames: Frame[] = [];
  const reading = readFrames(socket, frames);
  await writeAll(
    socket,
    concat(CLIENT_PREFACE, settings([Setting.InitialWindowSize, 10]), headers(1, 0x5)),
  );
  await scene.until(() => held.length === 1, "the call");
  held[0]!.head();
  held[0]!.send("0123456789and more");
  await scene.until(() => held[0]!.stream.queued === 8, "the first window");
  const acks = () =>
    frames.filter(({ type, flags }) => type === FrameType.Settings && flags === 1).length;
  assertEquals(acks(), 1);
  await writeAll(socket, settings([Setting.InitialWindowSize, 15]));
  await scene.until(() => held[0]!.stream.queued === 3 && acks() === 2, "the second");
  await writeAll(socket, settings([Setting.InitialWindowSize, 0], [Setting.MaxFrameSize, 20_000]));
  await scene.until(() => acks() === 3, "the acknowledgement");
  await writeAll(socket, windowUpdate(1, 100));
  await scene.until(() => held[0]!.stream.queued === 0, "the rest");
  const data = frames.filter(({ type }) => type === FrameType.Data);
  assertEquals(
    data.map(({ payload }) => new TextDecoder().decode(payload)).join(""),
    "0123456789and more",
  );
  socket.close();
  await reading;
  await scene.until(() => scene.finished, "the end of the connection");
});

Deno.test("calls above what the backend takes are refused, so that they may be made again", async () => {
  await using scene = await GrpcL4Scene.open({
    onCall: () => {},
    h2: { maxConcurrentStreams: 2 },
  });
  // The client does not know yet how many there may be, and loses nothing by it.
  const calls = Array.from({ length: 150 }, () => scene.client.call("/s.S/M", { content: "ask" }));
  await scene.until(() => calls.filter(({ ended }) => ended).length === 148, "the refusals");
  const codes = new Set(calls.slice(2).map(({ reset }) => reset?.code));
  assertEquals(codes, new Set([H2Code.RefusedStream]));
  assertEquals(calls.slice(2).every(({ reset }) => reset!.unprocessed), true);
  await scene.until(() => scene.backend().calls.length === 2, "the first two");
  for (const call of scene.backend().calls) call.answer();
  await scene.end(...calls);
  assertEquals(calls.slice(0, 2).map((call) => call.value("grpc-status")), ["0", "0"]);
  assertEquals(scene.backend().accepted, 1);
});

Deno.test("drain says GOAWAY in two steps, lets calls end and then the connection", async () => {
  await using scene = await GrpcL4Scene.open({ onCall: () => {} });
  const call = scene.client.call("/s.S/M");
  await scene.until(() => scene.backend().calls.length === 1, "the call");
  scene.server.drain();
  await scene.until(() => scene.client.connection.ending, "GOAWAY");
  await scene.time.expire(GOAWAY_PING_MS);
  assertEquals([call.ended, scene.finished], [false, false]);
  scene.backend().calls[0]!.answer();
  await scene.end(call);
  await scene.until(() => scene.finished, "the end of the connection");
});

Deno.test("an old connection is drained, and cut when its grace is over", async () => {
  await using scene = await GrpcL4Scene.open({
    onCall: () => {},
    calls: { h2: { maxAge: 10_000, maxAgeGrace: 5_000 } },
  });
  const call = scene.client.call("/s.S/M");
  await scene.until(() => scene.backend().calls.length === 1, "the call");
  await scene.time.advance(11_200);
  await scene.until(() => scene.client.connection.ending, "GOAWAY");
  assertEquals(call.ended, false);
  await scene.time.expire(5_000);
  await scene.until(() => scene.finished, "the end of the connection");
  assertEquals([call.ended, scene.inFlight], [true, 0]);
});

Deno.test("a backend that is silent is asked, and left when it does not answer", async () => {
  await using scene = await GrpcL4Scene.open({
    onCall: () => {},
    upstream: { keepaliveTime: 10_000, keepaliveTimeout: 2_000 },
  });
  const call = scene.client.call("/s.S/M");
  await scene.until(() => scene.backend().calls.length === 1, "the call");
  // Our engine answers; so the call stays.
  await scene.time.advance(10_200);
  await turns();
  await scene.time.advance(2_200);
  assertEquals(call.ended, false);
});

Deno.test("each call is counted and logged with its status, its messages and its backend", async () => {
  const lines: string[] = [];
  const accessLog = new AccessLog({
    format: "json",
    sink: {
      write: (bytes) => {
        lines.push(...new TextDecoder().decode(bytes).trim().split("\n"));
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
    },
  });
  const message = new Uint8Array([0, 0, 0, 0, 2, 1, 2]);
  await using scene = await GrpcL4Scene.open({
    onCall: (call: Call) => {
      call.head();
      call.send(message);
      call.send(message);
      call.end([["grpc-status", "5"], ["grpc-message", "no%20such"]]);
    },
    calls: { accessLog },
  });
  const call = scene.client.call("/s.S/M", { content: message });
  await scene.end(call);
  await accessLog.close();
  const [record] = lines.map((line) => JSON.parse(line));
  assertEquals(
    [record.grpc_service, record.grpc_method, record.grpc_status, record.grpc_message],
    ["s.S", "M", 5, "no such"],
  );
  assertEquals([record.messages_in, record.messages_out, record.bytes_out], [1, 2, 14]);
  assertEquals([record.backend, record.client], ["grpc://a:80", "192.0.2.1"]);
  const stats = scene.listener.grpc.find("/s.S/M")!;
  assertEquals([stats.count, stats.active, stats.messagesSent], [1, 0, 2]);
});

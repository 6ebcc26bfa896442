/**
 * What a client of a balancer at layer 4 sends while its backend is being connected to: calls are held, everything
 * else is served at once.
 */
import { assert, assertEquals } from "@std/assert";
import { FrameType, MAX_UINT31 } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { settle } from "../support/fake_clock.ts";
import { GrpcL4Scene, OWN_PREFIX, TableEncoder } from "../support/grpc_l4.ts";
import {
  type Call,
  DONE,
  echo,
  encodeBlock,
  Exchange,
  type Fields,
  OK,
} from "../support/h2_peer.ts";
import { data, frame, headers, rst, settings, windowUpdate } from "../support/h2_raw.ts";
import { callFields } from "../support/h2_wire.ts";
import { Random } from "../support/prng.ts";
import { RawEnd } from "../support/raw_end.ts";

const OPEN = 0x4;
const END = 0x5;
/** What is held of a client at most, and what one read may bring on top; in bytes. */
const MOST = (256 + 64) * 1024;
const PING = frame(FrameType.Ping, 0, 0, new Uint8Array(8));

/** Lets everything happen that needs no time, in some turns. */
async function turns(count = 12): Promise<void> {
  for (let i = 0; i < count; i++) await settle();
}

/** A client that the test speaks frame by frame, which has greeted. */
async function connect(scene: GrpcL4Scene): Promise<RawEnd> {
  const raw = new RawEnd(scene.connect());
  await raw.send(CLIENT_PREFACE, settings());
  return raw;
}

Deno.test("PINGs, own services and cancellation do not wait for a backend that is connected to", async () => {
  await using scene = await GrpcL4Scene.open();
  const open = scene.shut();
  await using raw = await connect(scene);
  await raw.send(headers(1, OPEN, callFields()), data(1, 10));
  await raw.send(PING, headers(3, END, callFields(`${OWN_PREFIX}S/M`)));
  await scene.until(() => raw.count(FrameType.Ping, true) === 1, "the answer to PING");
  await scene.until(() => raw.frames.some(({ id }) => id === 3), "that of the own service");
  assertEquals(scene.backend().accepted, 0);
  await raw.send(rst(1), headers(5, END, callFields("/s.S/Later")));
  open();
  await scene.until(() => raw.frames.some(({ id }) => id === 5), "the answer");
  assertEquals(scene.backend().calls.map(({ path }) => path), ["/s.S/Later"]);
  assertEquals(raw.frames.filter(({ id }) => id === 1), []);
  assertEquals(scene.listener.grpc.other.active, 0);
});

for (const table of [true, false]) {
  const name = table ? "that uses its dynamic table" : "without a dynamic table";
  Deno.test(`calls that are held come as they are, cancelled ones never, of a client ${name}`, async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = new Random(seed);
      await using scene = await GrpcL4Scene.open({ onCall: echo, keepsTable: table });
      const encoder = new TableEncoder();
      const all: { exchange: Exchange; fields: Fields; sent: string; own: boolean }[] = [];
      const cancelled = new Set<number>();
      const begin = () => {
        const own = random.below(4) === 0;
        const fields = callFields(
          `${own ? OWN_PREFIX : "/"}s.S/M${random.below(3)}`,
          [`x-${random.below(4)}`, "v".repeat(random.below(200))],
          ["x-id", `${all.length}`],
        );
        const exchange = new Exchange();
        const block = table ? encoder.encode(fields) : encodeBlock(fields);
        exchange.stream = scene.client.connection.openStream(block, {
          endStream: false,
          noBody: false,
          listener: exchange,
        });
        all.push({ exchange, fields, sent: "", own });
      };
      const act = async (steps: number, mayCancel: boolean) => {
        for (let step = 0; step < steps; step++) {
          const call = all[random.below(all.length)];
          const what = random.below(8);
          if (what < 3 || call === undefined) begin();
          else if (cancelled.has(call.exchange.stream.id)) continue;
          else if (what < 6) {
            const content = `${step};`.repeat(random.below(100));
            scene.client.send(call.exchange, content);
            call.sent += content;
          } else if (what < 7) {
            if (!mayCancel || call.own) continue;
            cancelled.add(call.exchange.stream.id);
            call.exchange.stream.reset(H2Code.Cancel);
          } else await settle();
        }
      };
      const open = scene.shut();
      await act(30, true);
      await turns();
      assertEquals(scene.backend().calls, []);
      open();
      await act(20, false);
      const left = all.filter(({ exchange }) => !cancelled.has(exchange.stream.id));
      for (const { exchange } of left) scene.client.send(exchange, "", true);
      await scene.end(...left.map(({ exchange }) => exchange));
      const seen = new Map(
        [...scene.backend().calls, ...scene.own.calls].map((call) => [
          call.fields.find(([name]) => name === "x-id")![1],
          call.fields.filter(([name]) => name !== "lb-caller"),
        ]),
      );
      for (const { exchange, fields, sent } of left) {
        assertEquals([exchange.text, exchange.value("grpc-status")], [sent, "0"], `seed ${seed}`);
        const id = fields.find(([name]) => name === "x-id")![1];
        assertEquals(seen.get(id), fields.map(([name, value]) => [name, value]), `seed ${seed}`);
      }
      assertEquals(seen.size, left.length, `seed ${seed}: a cancelled call has come`);
    }
  });
}

for (const table of [true, false]) {
  const name = table ? "with a dynamic table" : "without a dynamic table";
  Deno.test(`calls that are held are answered when no backend is reached, and later ones served, ${name}`, async () => {
    await using scene = await GrpcL4Scene.open({ keepsTable: table });
    const encoder = new TableEncoder();
    const begin = (fields: Fields) => {
      const exchange = new Exchange();
      exchange.stream = scene.client.connection.openStream(
        table ? encoder.encode(fields) : encodeBlock(fields),
        { endStream: false, noBody: false, listener: exchange },
      );
      return exchange;
    };
    for (let round = 0; round < 10; round++) {
      scene.down.add("a:80");
      const open = scene.shut();
      const held = [1, 2, 3].map(() => begin(callFields("/s.S/M", ["x-shared", "value"])));
      for (const call of held) scene.client.send(call, new Uint8Array(20_000));
      await turns();
      // What the rounds before had of the connection's window was given back.
      assertEquals(held.map(({ stream }) => stream.queued), [0, 0, 0], `round ${round}`);
      open();
      await scene.end(...held);
      assertEquals(held.map((call) => call.value("grpc-status")), ["14", "14", "14"]);
    }
    scene.down.clear();
    const fields = callFields("/s.S/M", ["x-shared", "value"]);
    const call = begin(fields);
    scene.client.send(call, new Uint8Array(100_000), true);
    await scene.end(call);
    assertEquals(call.value("grpc-status"), "0");
    assertEquals(
      scene.backend().calls.map((seen) => seen.fields),
      [fields.map(([name, value]) => [name, value])],
    );
    assertEquals(scene.backend().calls[0]!.received, 100_000);
  });
}

Deno.test("the windows that hold without a word bound the content that is held", async () => {
  await using scene = await GrpcL4Scene.open();
  const open = scene.shut();
  const content = new Uint8Array(1024 * 1024).fill(0x61);
  const call = scene.client.call("/s.S/M", { content });
  await turns();
  assertEquals(call.stream.queued, content.length - 65_535);
  await using raw = await connect(scene);
  await raw.send(headers(1, OPEN, callFields()));
  for (let i = 0; i < 4; i++) await raw.send(data(1, 16_384));
  await scene.until(() => raw.farewell !== undefined, "GOAWAY");
  assertEquals(raw.farewell!.code, H2Code.FlowControlError);
  open();
  await scene.end(call);
  assertEquals([call.value("grpc-status"), scene.backend().calls[0]!.received], [
    "0",
    content.length,
  ]);
});

Deno.test("who sends more than may be held is read on when the backend is there", async () => {
  await using scene = await GrpcL4Scene.open();
  const open = scene.shut();
  await using raw = await connect(scene);
  const big = callFields("/s.S/M", ["x-big", "v".repeat(8_000)]);
  const ids = Array.from({ length: 100 }, (_, i) => 2 * i + 1);
  let sent = 0;
  for (const id of ids) {
    const block = headers(id, END, big);
    await raw.send(block);
    sent += block.length;
  }
  await raw.send(PING);
  await turns();
  assertEquals(raw.count(FrameType.Ping, true), 0);
  assert(sent - raw.unsent <= MOST, `${sent - raw.unsent} bytes were taken`);
  open();
  await scene.until(() => raw.count(FrameType.Ping, true) === 1, "the answer to PING");
  await scene.until(() => scene.backend().calls.length === ids.length, "the calls");
  assertEquals(scene.backend().calls.map(({ stream }) => stream.id), ids);
});

Deno.test("of the calls that are held a backend gets the oldest, as many as it takes", async () => {
  await using scene = await GrpcL4Scene.open({ h2: { maxConcurrentStreams: 8 } });
  const open = scene.shut();
  await using raw = await connect(scene);
  const ids = Array.from({ length: 16 }, (_, i) => 51 + 2 * i);
  for (const id of ids) await raw.send(headers(id, END, callFields()));
  await turns();
  open();
  await scene.until(() => raw.count(FrameType.RstStream) === 8, "the refusals");
  await scene.until(() => scene.backend().calls.length === 8, "the calls");
  assertEquals(scene.backend().calls.map(({ stream }) => stream.id), ids.slice(0, 8));
  const refused = raw.frames.filter(({ type }) => type === FrameType.RstStream);
  assertEquals(refused.map(({ id }) => id), ids.slice(8));
});

Deno.test("calls that are cancelled make room for what else is held", async () => {
  await using scene = await GrpcL4Scene.open();
  const open = scene.shut();
  await using raw = await connect(scene);
  // Twice what may be held, and twice the window of the connection; a second must pass for so many cancellations.
  for (let id = 1; id < 120; id += 2) {
    await raw.send(headers(id, OPEN, callFields("/s.S/M", ["x-big", "v".repeat(8_000)])));
    await raw.send(data(id, 2_000));
    await raw.send(rst(id));
  }
  await raw.send(PING);
  await scene.until(() => raw.count(FrameType.Ping, true) === 1, "the answer to PING");
  await raw.send(headers(121, END, callFields()));
  open();
  await scene.until(() => scene.backend().calls.length > 0, "the last call");
  await turns();
  assertEquals(scene.backend().calls.map(({ stream }) => stream.id), [121]);
  const granted = raw.frames.filter(({ type, id }) => type === FrameType.WindowUpdate && id === 0);
  assert(granted.length > 0, "the window is given back");
});

Deno.test("calls whose deadline passes make room, so that their client is read on", async () => {
  await using scene = await GrpcL4Scene.open();
  const open = scene.shut();
  await using raw = await connect(scene);
  const big = callFields("/s.S/M", ["grpc-timeout", "1S"], ["x-big", "v".repeat(8_000)]);
  for (let id = 1; id < 120; id += 2) await raw.send(headers(id, END, big));
  await raw.send(PING);
  await turns();
  assertEquals(raw.count(FrameType.Ping, true), 0);
  await scene.time.advance(2_000);
  await scene.until(() => raw.count(FrameType.Ping, true) === 1, "the answer to PING");
  open();
});

Deno.test("a deadline that passes while a call is held ends it, and the backend does not hear of it", async () => {
  await using scene = await GrpcL4Scene.open();
  const open = scene.shut();
  const short = scene.client.call("/s.S/M", { content: "ask", fields: [["grpc-timeout", "1S"]] });
  const long = scene.client.call("/s.S/M", { content: "ask" });
  await turns();
  await scene.time.advance(2_000);
  await scene.end(short);
  assertEquals([short.value("grpc-status"), long.ended], ["4", false]);
  open();
  await scene.end(long);
  assertEquals([long.value("grpc-status"), scene.backend().calls.length], ["0", 1]);
});

Deno.test("a client that breaks a rule of a call that is held loses that call only", async () => {
  await using scene = await GrpcL4Scene.open();
  const open = scene.shut();
  await using raw = await connect(scene);
  await raw.send(
    headers(1, OPEN, callFields("/s.S/M", ["content-length", "5"])),
    headers(3, END, callFields()),
    data(1, 10),
  );
  await scene.until(() => raw.resets.has(1), "RST_STREAM");
  assertEquals(raw.resets.get(1), H2Code.ProtocolError);
  open();
  await scene.until(() => scene.backend().calls.length > 0, "the other call");
  await turns();
  assertEquals(scene.backend().calls.map(({ stream }) => stream.id), [3]);
});

Deno.test("what a client changes while its backend has not greeted holds for the backend", async () => {
  const held: Call[] = [];
  await using scene = await GrpcL4Scene.open({ onCall: (call) => void held.push(call) });
  const backend = scene.backend();
  const serve = backend.serve.bind(backend);
  const connected = Promise.withResolvers<() => void>();
  backend.serve = (duplex) => {
    connected.resolve(() => void serve(duplex));
    return scene.own.connections.values().next().value!;
  };
  await using raw = await connect(scene);
  await raw.send(headers(1, END, callFields()));
  const greet = await connected.promise;
  await raw.send(settings([Setting.InitialWindowSize, 10]), windowUpdate(1, 2));
  await raw.send(windowUpdate(0, 1_000));
  assertEquals(raw.count(FrameType.Settings, true), 2, "both are acknowledged at once");
  greet();
  await scene.until(() => held.length === 1, "the call");
  held[0]!.head();
  held[0]!.send("0123456789ab and more");
  await turns();
  const content = raw.frames.filter(({ type }) => type === FrameType.Data);
  assertEquals(
    content.map(({ payload }) => new TextDecoder().decode(payload)).join(""),
    "0123456789ab",
  );
  await raw.send(windowUpdate(1, 100));
  await scene.until(() => held[0]!.stream.queued === 0, "the rest");
});

Deno.test("what a client grants while its calls are held is there for the answers", async () => {
  await using scene = await GrpcL4Scene.open({
    onCall: (call) => {
      call.head();
      call.send(new Uint8Array(100_000));
    },
  });
  const open = scene.shut();
  await using raw = await connect(scene);
  await raw.send(headers(1, END, callFields()), settings([Setting.InitialWindowSize, 100_000]));
  await raw.send(windowUpdate(0, 40_000));
  open();
  const received = () =>
    raw.frames.filter(({ type }) => type === FrameType.Data)
      .reduce((sum, { payload }) => sum + payload.length, 0);
  await scene.until(() => received() === 100_000, "the content");
});

Deno.test("content that was held counts in the backend's window, which it may open to the last byte", async () => {
  await using scene = await GrpcL4Scene.open();
  const connected = Promise.withResolvers<RawEnd>();
  scene.backend().serve = (duplex) => {
    connected.resolve(new RawEnd(duplex, CLIENT_PREFACE.length));
    return scene.own.connections.values().next().value!;
  };
  await using raw = await connect(scene);
  await raw.send(headers(1, OPEN, callFields()), data(1, 10_000, 1));
  await using backend = await connected.promise;
  await backend.send(settings());
  await scene.until(() => backend.count(FrameType.Data, true) === 1, "the content");
  await backend.send(windowUpdate(0, MAX_UINT31 - (65_535 - 10_000)));
  await backend.send(headers(1, OPEN, OK), headers(1, END, DONE));
  await scene.until(() => raw.count(FrameType.Headers, true) === 1, "the end of the answer");
  assertEquals(backend.farewell, undefined);
  await backend.send(windowUpdate(0, 1));
  await scene.until(() => backend.farewell !== undefined, "GOAWAY");
  assertEquals(backend.farewell!.code, H2Code.FlowControlError);
});

Deno.test("a client that goes while its calls are held leaves nothing behind", async () => {
  await using scene = await GrpcL4Scene.open();
  const open = scene.shut();
  const call = scene.client.call("/s.S/M", { content: "ask" });
  await turns();
  scene.client.connection.abort();
  await turns();
  assertEquals(call.ended, true);
  open();
  await scene.until(() => scene.finished, "the end of the connection");
  assertEquals([scene.inFlight, scene.backend().calls.length], [0, 0]);
  const [stats] = [...scene.listener.upstreamSeries()].map(([, stats]) => stats);
  assertEquals([stats!.active, [...stats!.failures]], [0, []]);
});

Deno.test("a balancer that drains serves the calls that it holds", async () => {
  await using scene = await GrpcL4Scene.open();
  const open = scene.shut();
  const call = scene.client.call("/s.S/M", { content: "ask" });
  await turns();
  scene.server.drain();
  await scene.until(() => scene.client.connection.ending, "GOAWAY");
  open();
  await scene.end(call);
  assertEquals(call.value("grpc-status"), "0");
  await scene.until(() => scene.finished, "the end of the connection");
});

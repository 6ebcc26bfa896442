/**
 * What gRPC wants of a proxy between a client and a backend that both may misbehave: PROTOCOL-HTTP2.md, the
 * negative HTTP/2 tests of the interop suite, and what other proxies have got wrong. Both ends send and see
 * frames; each case runs against every listener.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { codeName, H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType, MAX_UINT31 } from "../../lib/http/h2/frames.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { type HttpL7Options, RouteBuilder } from "../../mod.ts";
import { GRPC_LISTENERS, type GrpcListener, GrpcScene } from "../support/grpc_listeners.ts";
import { DONE, encodeBlock, type Fields, OK } from "../support/h2_peer.ts";
import { data, frame, goaway, headers, rst, settings, windowUpdate } from "../support/h2_raw.ts";
import {
  answer,
  callFields,
  type Wire,
  WireBackend,
  type WireOptions,
  type WireRequest,
  type WireScript,
} from "../support/h2_wire.ts";
import { Peer, until, within } from "../support/net.ts";

const OPEN = 0x4;
const END = 0x5;
const PADDED = 0x8;
const ACK = 1;

/** What a case is given: it makes what it needs, and all of it is closed behind it. */
class Stage implements AsyncDisposable {
  readonly kind: GrpcListener;
  readonly #open: AsyncDisposable[] = [];

  constructor(kind: GrpcListener) {
    this.kind = kind;
  }

  /** Whether connections to backends are shared by clients, and their windows are not those of a client. */
  get shares(): boolean {
    return this.kind.layer === "l7";
  }

  backend(script: WireScript, options: WireOptions = {}): WireBackend {
    const backend = WireBackend.listen(script, options);
    this.#open.push(backend);
    return backend;
  }

  /** A balancer before these backends. */
  async scene(backends: readonly WireBackend[], options: HttpL7Options = {}): Promise<GrpcScene> {
    const scene = await GrpcScene.open(this.kind, {
      backends: backends.map(({ addr }) => addr),
      ...options,
    });
    this.#open.push(scene);
    return scene;
  }

  /** A client of a balancer before one backend. */
  async pair(
    script: WireScript,
    options: { readonly client?: WireOptions; readonly backend?: WireOptions } = {},
  ): Promise<{ client: Wire; backend: WireBackend; scene: GrpcScene }> {
    const backend = this.backend(script, options.backend);
    const scene = await this.scene([backend]);
    return { client: await scene.wire(options.client), backend, scene };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#open.toReversed()) await one[Symbol.asyncDispose]();
  }
}

interface GrpcCase {
  readonly id: string;
  readonly why: string;
  /** The only layer that it is about. */
  readonly only?: "l7" | "l4";
  /** A listener that it is not about. */
  readonly not?: string;
  readonly run: (stage: Stage) => Promise<void>;
}

/** That an answer is Trailers-Only: one HEADERS that ends the stream, whose status line says 200. */
function assertTrailersOnly(client: Wire, id: number, status: string): void {
  const frames = client.frames.filter((one) => one.id === id && one.type !== FrameType.RstStream);
  assertEquals(frames.map(({ type, flags }) => [type, flags]), [[FrameType.Headers, END]]);
  const [fields] = client.stream(id).sections;
  assertEquals(fields!.slice(0, 3), [
    [":status", "200"],
    ["content-type", "application/grpc"],
    ["grpc-status", status],
  ]);
  assertEquals(fields!.slice(3).map(([name]) => name), ["grpc-message"]);
}

/** The first request of a backend. */
async function first(backend: WireBackend): Promise<WireRequest> {
  await until(() => backend.requests.length > 0, "the request reaches the backend");
  return backend.requests[0]!;
}

/** A message with its prefix (PROTOCOL-HTTP2, "Length-Prefixed-Message"). */
function message(length: number): Uint8Array {
  const bytes = new Uint8Array(5 + length).fill(0x6d);
  bytes[0] = 0;
  new DataView(bytes.buffer).setUint32(1, length);
  return bytes;
}

const content = (id: number, bytes: Uint8Array, flags = 0) =>
  frame(FrameType.Data, flags, id, bytes);

/** The port of nobody. */
function closedPort(): string {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return `127.0.0.1:${port}`;
}

const ERRORS_OF_OURS: readonly GrpcCase[] = [
  {
    id: "OWN-NONE",
    why: "without a backend the answer is Trailers-Only with UNAVAILABLE",
    run: async (stage) => {
      const client = await (await stage.scene([])).wire();
      await client.send(headers(1, END, callFields()));
      await client.over(1);
      assertTrailersOnly(client, 1, "14");
    },
  },
  {
    id: "OWN-REFUSED",
    why: "a backend that refuses connections is UNAVAILABLE, also while the request goes on",
    run: async (stage) => {
      const scene = await stage.scene([], { backends: [closedPort()] });
      const client = await scene.wire();
      await client.send(headers(1, OPEN, callFields()), content(1, message(10)));
      await client.over(1);
      assertTrailersOnly(client, 1, "14");
      await client.until(() => client.stream(1).reset !== undefined, "RST_STREAM");
      assertEquals(client.stream(1).reset, H2Code.NoError);
      assertEquals(scene.refusals("connect_refused"), 1);
    },
  },
  {
    id: "OWN-HTTP1-BACKEND",
    why: "a backend that speaks HTTP/1.1 only is an error, never a call without trailers",
    run: async (stage) => {
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const serving = (async () => {
        for await (const conn of listener) {
          await conn.read(new Uint8Array(4096));
          await conn.write(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"));
          conn.close();
        }
      })();
      const addr = `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
      const scene = await stage.scene([], { backends: [addr] });
      const client = await scene.wire();
      await client.send(headers(1, END, callFields()));
      const status = (await client.over(1)).value("grpc-status");
      assertTrailersOnly(client, 1, status!);
      assertNotEquals(status, "0");
      listener.close();
      await serving;
    },
  },
  {
    id: "OWN-HTTP1-CLIENT",
    why: "a gRPC request over HTTP/1.1 is refused, never passed on without trailers",
    run: async (stage) => {
      const backend = stage.backend({});
      const scene = await stage.scene([backend]);
      await using peer = await Peer.connect(scene.addr);
      const { status } = await peer.ask(
        "POST /s.S/M HTTP/1.1\r\nHost: test\r\nContent-Type: application/grpc\r\nTE: trailers\r\n" +
          "Content-Length: 0\r\n\r\n",
      );
      assert(status >= 400, `status ${status}`);
      assertEquals(backend.wires.length, 0);
    },
  },
];

const RETRIES: readonly GrpcCase[] = [
  {
    id: "RETRY-REFUSED-STREAM",
    why: "a stream that was refused is tried elsewhere, whatever the method, with its content",
    only: "l7",
    run: async (stage) => {
      const refusing = stage.backend({
        onHead: ({ wire, id }) => void wire.send(rst(id, H2Code.RefusedStream)),
      });
      const good = stage.backend({ onEnd: (request) => void answer(request) });
      const client = await (await stage.scene([refusing, good])).wire();
      for (const id of [1, 3, 5, 7]) {
        await client.send(headers(id, OPEN, callFields()), content(id, message(1000), 1));
        assertEquals((await client.over(id)).value("grpc-status"), "0");
      }
      assert(refusing.requests.length > 0);
      assertEquals(good.requests.map(({ stream }) => stream.received), [1005, 1005, 1005, 1005]);
    },
  },
  {
    id: "RETRY-GOAWAY-ABOVE",
    why: "a stream above the last one of GOAWAY is tried again, over a new connection",
    only: "l7",
    run: async (stage) => {
      const { client, backend } = await stage.pair({
        onHead: (request) => {
          const { wire, id } = request;
          if (backend.wires.length > 1) void answer(request);
          else void wire.send(goaway(0, H2Code.NoError)).then(() => wire.end());
        },
      });
      await client.send(headers(1, OPEN, callFields()), content(1, message(10), 1));
      assertEquals((await client.over(1)).value("grpc-status"), "0");
      assertEquals(backend.wires.length, 2);
    },
  },
  {
    id: "RETRY-NEVER",
    why: "what a backend may have acted on is not sent twice",
    run: async (stage) => {
      const script: WireScript = {
        onEnd: ({ wire, id }) => void wire.send(rst(id, H2Code.InternalError)),
      };
      const backends = [stage.backend(script), stage.backend(script)];
      const client = await (await stage.scene(backends)).wire();
      await client.send(headers(1, OPEN, callFields()), content(1, message(10), 1));
      assertEquals((await client.over(1)).reset, H2Code.InternalError);
      assertEquals(backends.flatMap(({ requests }) => requests).length, 1);
    },
  },
  {
    id: "RETRY-LOST",
    why: "a connection that is lost behind the request is UNAVAILABLE, and not tried again",
    run: async (stage) => {
      const script: WireScript = { onEnd: ({ wire }) => void wire.close() };
      const backends = [stage.backend(script), stage.backend(script)];
      const client = await (await stage.scene(backends)).wire();
      await client.send(headers(1, END, callFields()));
      await client.over(1);
      assertTrailersOnly(client, 1, "14");
      assertEquals(backends.flatMap(({ requests }) => requests).length, 1);
    },
  },
];

/** A code of RST_STREAM passes as it is: what it means is for the client to say. */
const RESETS: readonly GrpcCase[] = Object.values(H2Code)
  .filter((code) => code !== H2Code.RefusedStream)
  .map((code) => ({
    id: `RST-${codeName(code)}`,
    why: "a reset of the backend is one for the client, before and behind its head",
    run: async (stage) => {
      const { client, backend, scene } = await stage.pair({
        onEnd: ({ wire, id, path }) => {
          if (path === "/head") void wire.send(headers(id, OPEN, OK), content(id, message(100)));
          void wire.send(rst(id, code));
        },
      });
      await client.send(headers(1, END, callFields("/bare")), headers(3, END, callFields("/head")));
      for (const id of [1, 3]) {
        const stream = await client.over(id);
        assertEquals([stream.reset, stream.ended], [code, false]);
      }
      assert(client.stream(3).received <= 105);
      // Its connection is as good as before.
      backend.script = { onEnd: (request) => void answer(request) };
      await client.send(headers(5, END, callFields()));
      assertEquals((await client.over(5)).value("grpc-status"), "0");
      assertEquals([backend.wires.length, client.farewells.length], [1, 0]);
      await scene.idle();
    },
  }));

const CANCELS: readonly GrpcCase[] = [
  {
    id: "CANCEL-BEFORE",
    why: "a call that is cancelled before its backend is there is never begun",
    only: "l7",
    run: async (stage) => {
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const addr = `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
      const scene = await stage.scene([], { backends: [addr] });
      const client = await scene.wire();
      await client.send(headers(1, OPEN, callFields()));
      const conn = await listener.accept();
      await client.send(rst(1, H2Code.Cancel));
      await client.settle();
      await conn.write(settings());
      await scene.idle();
      await client.send(headers(3, END, callFields()));
      const seen = new Uint8Array(65_536);
      let length = 0;
      const count = (type: number) => {
        let frames = 0;
        for (let at = 24; at + 9 <= length;) {
          if (seen[at + 3] === type) frames++;
          at += 9 + (seen[at]! << 16 | seen[at + 1]! << 8 | seen[at + 2]!);
        }
        return frames;
      };
      while (count(FrameType.Headers) === 0) length += (await conn.read(seen.subarray(length)))!;
      assertEquals([count(FrameType.Headers), count(FrameType.RstStream)], [1, 0]);
      conn.close();
      listener.close();
      assertEquals((await client.over(3)).value("grpc-status"), "14");
    },
  },
  ...([
    ["HEAD", "behind its head", []],
    ["MIDDLE", "inside its messages", [content(1, message(100).subarray(0, 50))]],
    ["END", "behind its end", [content(1, message(100), 1)]],
  ] as const).map(([id, where, frames]): GrpcCase => ({
    id: `CANCEL-${id}`,
    why: `a request that is cancelled ${where} is cancelled at the backend, and no other`,
    run: async (stage) => {
      const { client, backend } = await stage.pair({
        onHead: (request) => {
          if (request.path === "/other") void request.wire.send(headers(request.id, OPEN, OK));
        },
      });
      await client.send(
        headers(1, OPEN, callFields()),
        ...frames,
        headers(3, OPEN, callFields("/other")),
      );
      await client.until(() => client.stream(3).sections.length === 1, "the other call");
      await client.send(rst(1, H2Code.Cancel));
      const { wire, stream } = await first(backend);
      await wire.until(() => stream.reset !== undefined, "RST_STREAM");
      assertEquals(stream.reset, H2Code.Cancel);
      await client.send(content(3, message(1), 1));
      const other = backend.requests[1]!;
      await wire.until(() => other.stream.ended, "the other call's end");
      void wire.send(headers(other.id, END, DONE));
      assertEquals((await client.over(3)).value("grpc-status"), "0");
      assertEquals(backend.wires.length, 1);
    },
  })),
  {
    id: "CANCEL-ANSWER",
    why:
      "a call that is cancelled inside its answer is cancelled at the backend, whoever is slower",
    run: async (stage) => {
      const { client, backend, scene } = await stage.pair(
        { onEnd: (request) => void answer(request, new Uint8Array(1_000_000)) },
        { client: { grants: false } },
      );
      await client.send(headers(1, END, callFields()));
      await client.until(() => client.stream(1).received === 65_535, "a window of the answer");
      await client.send(rst(1, H2Code.Cancel));
      const { wire, stream } = await first(backend);
      await wire.until(() => stream.reset !== undefined, "RST_STREAM");
      assertEquals(stream.reset, H2Code.Cancel);
      await scene.idle();
    },
  },
  {
    id: "CANCEL-CONNECTION",
    why:
      "a client that is lost cancels its calls and no one else's; the backend's connection stays",
    run: async (stage) => {
      const { client, backend, scene } = await stage.pair({
        onEnd: (request) => request.path === "/hold" ? undefined : void answer(request),
      });
      const ids = [1, 3, 5, 7, 9];
      await client.send(...ids.map((id) => headers(id, END, callFields("/hold"))));
      await until(() => backend.requests.length === 5, "the calls are at the backend");
      const other = await scene.wire();
      await other.send(headers(1, END, callFields("/hold")));
      await until(() => backend.requests.length === 6, "the other call is at a backend");
      await client.close();
      const { wire } = backend.requests[0]!;
      // At layer 4 the connection to the backend is this client's alone, and ends with it.
      const cancelled = () =>
        backend.requests.slice(0, 5).every(({ stream }) => stream.reset === H2Code.Cancel);
      await wire.until(() => cancelled() || wire.ended, "five cancellations");
      assertEquals(cancelled(), stage.shares);
      assertEquals(backend.requests[5]!.stream.reset, undefined);
      await other.send(headers(3, END, callFields()));
      assertEquals((await other.over(3)).value("grpc-status"), "0");
      assertEquals(backend.wires.length, stage.shares ? 1 : 2);
    },
  },
];

const ENDS: readonly GrpcCase[] = [
  {
    id: "EARLY-TRAILERS",
    why: "an answer in full before the request has ended arrives in full, then RST_STREAM NO_ERROR",
    run: async (stage) => {
      const size = 300_000;
      const { client, backend } = await stage.pair({
        onHead: (request) => void answer(request, new Uint8Array(size)),
      }, { client: { grants: false } });
      await client.send(headers(1, OPEN, callFields()), content(1, message(10)));
      await client.until(() => client.stream(1).received === 65_535, "a window of the answer");
      // The backend gets rid of its stream as soon as it has answered.
      const { wire, stream, id } = await first(backend);
      await client.settle();
      assertEquals(client.stream(1).over, false);
      await client.send(windowUpdate(0, size), windowUpdate(1, size));
      await client.until(() => client.stream(1).reset !== undefined, "RST_STREAM");
      assertEquals(
        [client.stream(1).received, client.stream(1).ended, client.stream(1).reset],
        [size, true, H2Code.NoError],
      );
      assertEquals(client.stream(1).value("grpc-status"), "0");
      await wire.until(() => stream.reset !== undefined, "the backend need not wait for the rest");
      assertEquals(wire.stream(id).reset, H2Code.NoError);
    },
  },
  {
    id: "EARLY-RST",
    why: "RST_STREAM NO_ERROR of the backend behind its whole answer takes nothing from the answer",
    run: async (stage) => {
      const { client } = await stage.pair({
        onHead: (request) =>
          void answer(request, new Uint8Array(150_000)).then(() =>
            request.wire.send(rst(request.id, H2Code.NoError))
          ),
      });
      await client.send(headers(1, OPEN, callFields()));
      await client.until(() => client.stream(1).reset !== undefined, "RST_STREAM");
      const { received, ended, reset } = client.stream(1);
      assertEquals([received, ended, reset], [150_000, true, H2Code.NoError]);
      assertEquals(client.stream(1).value("grpc-status"), "0");
    },
  },
  {
    id: "CLOSED-WINDOW",
    why: "an answer that ends while the client's window is closed is held, trailers and all",
    run: async (stage) => {
      const { client, scene } = await stage.pair(
        { onEnd: (request) => void answer(request, new Uint8Array(50_000)) },
        { client: { grants: false, settings: [[Setting.InitialWindowSize, 0]] } },
      );
      await client.send(headers(1, END, callFields()));
      await client.until(() => client.stream(1).sections.length === 1, "the head");
      if (stage.shares) await scene.idle();
      await client.settle();
      assertEquals([client.stream(1).received, client.stream(1).over], [0, false]);
      await client.send(windowUpdate(1, 50_000));
      const { received, reset } = await client.over(1);
      assertEquals([received, reset], [50_000, undefined]);
      assertEquals(client.stream(1).value("grpc-status"), "0");
    },
  },
  {
    id: "DRAIN",
    why: "GOAWAY of 2^31-1 and a PING, then the true one; streams finish, and the connection ends",
    run: async (stage) => {
      const { client, backend, scene } = await stage.pair({}, { client: { acknowledges: false } });
      await client.send(frame(FrameType.Settings, ACK, 0), headers(1, OPEN, callFields()));
      const { wire, id } = await first(backend);
      const closed = scene.lb.close();
      await client.until(() => client.farewells.length === 1, "the first GOAWAY");
      assertEquals(client.farewell, { lastId: MAX_UINT31, code: H2Code.NoError, debug: "" });
      const ping = client.frames.findLast((one) => one.type === FrameType.Ping)!;
      // A stream that was on its way.
      await client.send(headers(3, END, callFields("/late")));
      await until(() => backend.requests.length === 2, "the late stream is served");
      await client.send(frame(FrameType.Ping, ACK, 0, ping.payload));
      await client.until(() => client.farewells.length === 2, "the last GOAWAY");
      assertEquals(client.farewell, { lastId: 3, code: H2Code.NoError, debug: "" });
      await client.send(headers(5, END, callFields("/lost")));
      void wire.send(headers(id, END, [...OK, ...DONE]));
      const late = backend.requests[1]!;
      void late.wire.send(headers(late.id, END, [...OK, ...DONE]));
      await client.over(3);
      assertEquals((await client.over(1)).value("grpc-status"), "0");
      await client.until(() => client.ended, "the end of the connection");
      assertEquals(client.stream(5).sections, []);
      assertEquals(backend.requests.length, 2);
      await closed;
    },
  },
  {
    id: "DRAIN-GRACE",
    why: "what has not ended when the grace period is over is cut, at the backend too",
    run: async (stage) => {
      const backend = stage.backend({});
      const scene = await stage.scene([backend], { timeouts: { shutdown: 200 } });
      const client = await scene.wire();
      await client.send(headers(1, OPEN, callFields()));
      const { wire, stream } = await first(backend);
      await scene.lb.close();
      await client.until(() => client.ended, "the end of the connection");
      await wire.until(() => stream.reset !== undefined || wire.ended, "the end at the backend");
    },
  },
];

const PING = frame(FrameType.Ping, 0, 0, new Uint8Array(8));

/** Keepalive of clients (gRFC A8, grpc/doc/keepalive.md). */
const KEEPALIVE: readonly GrpcCase[] = [
  {
    id: "KEEPALIVE-STRIKES",
    why: "who pings more often than every 5 minutes is told so, and loses the connection",
    run: async (stage) => {
      const { client, backend, scene } = await stage.pair({});
      await client.send(headers(1, OPEN, callFields()));
      const { wire, stream } = await first(backend);
      for (let pings = 0; pings < 10 && !client.ended; pings++) await client.send(PING);
      await client.until(() => client.ended, "the end of the connection");
      const { code, debug } = client.farewell!;
      assertEquals([code, debug], [H2Code.EnhanceYourCalm, "too_many_pings"]);
      assertEquals(scene.refusals("too_many_pings"), 1);
      await wire.until(() => stream.reset !== undefined || wire.ended, "the call is given up");
    },
  },
  {
    id: "KEEPALIVE-BUSY",
    why: "strikes are forgotten whenever the client is sent HEADERS or DATA",
    run: async (stage) => {
      const { client } = await stage.pair({
        onHead: ({ wire, id, stream }) => {
          void wire.send(headers(id, OPEN, OK));
          // Each message comes back.
          let sent = 0;
          const { onFrame } = wire;
          wire.onFrame = (one, wire) => {
            onFrame?.(one, wire);
            for (; sent < stream.chunks.length; sent++) {
              void wire.send(content(id, stream.chunks[sent]!));
            }
          };
        },
      });
      await client.send(headers(1, OPEN, callFields()));
      for (let round = 1; round <= 20; round++) {
        await client.send(PING, PING, content(1, message(1)));
        await client.until(() => client.stream(1).received === 6 * round, "the echo");
      }
      await client.until(() => client.count(FrameType.Ping, ACK) === 40, "40 answers");
      assertEquals(client.farewells, []);
    },
  },
];

/** Calls that do not get on, beside others. */
const STALLS: readonly GrpcCase[] = [
  {
    id: "STALL-UP",
    why: "requests that their backend does not take stop no other call of the same client",
    only: "l7",
    run: async (stage) => {
      const stuck = stage.backend({}, { grants: false });
      const good = stage.backend({ onEnd: (request) => void answer(request) });
      const scene = await stage.scene([], {
        routes: [[stuck, "stuck.S"] as const, [good, "s.S"] as const].map(([{ addr }, service]) =>
          new RouteBuilder().service(service).target(addr).build()
        ),
      });
      const client = await scene.wire();
      const ids = Array.from({ length: 200 }, (_, i) => 2 * i + 1);
      const sending = ids.map(async (id) => {
        await client.send(headers(id, OPEN, callFields("/stuck.S/M")));
        await client.content(id, new Uint8Array(65_535));
      });
      await within(5000, "room for all", Promise.all(sending));
      await client.send(headers(1001, OPEN, callFields()));
      await client.content(1001, message(10), true);
      assertEquals((await client.over(1001)).value("grpc-status"), "0");
    },
  },
  {
    id: "STALL-DOWN",
    why: "answers that one client does not take stop those of no other",
    only: "l7",
    run: async (stage) => {
      const backend = stage.backend({
        onEnd: (request) => void answer(request, new Uint8Array(200_000)),
      });
      const scene = await stage.scene([backend]);
      const slow = await scene.wire({ grants: false, settings: [[Setting.InitialWindowSize, 0]] });
      const ids = Array.from({ length: 200 }, (_, i) => 2 * i + 1);
      await slow.send(...ids.map((id) => headers(id, END, callFields())));
      await slow.until(() => ids.every((id) => slow.stream(id).sections.length === 1), "the heads");
      const other = await scene.wire();
      await other.send(headers(1, END, callFields()));
      assertEquals((await other.over(1)).received, 200_000);
      assertEquals(backend.wires.length, 1, "over the same connection");
      await slow.send(settings([Setting.InitialWindowSize, 300_000]), windowUpdate(0, 2 ** 30));
      for (const id of ids) assertEquals((await slow.over(id)).received, 200_000);
    },
  },
];

/** The negative HTTP/2 tests of the interop suite, whose server misbehaves. */
const NEGATIVE: readonly GrpcCase[] = [
  {
    id: "NEG-GOAWAY",
    why: "behind GOAWAY of the backend the next call goes over another connection, unnoticed",
    only: "l7",
    run: async (stage) => {
      const { client, backend } = await stage.pair({
        onEnd: (request) => {
          const { wire, id } = request;
          void wire.send(goaway(id, H2Code.NoError));
          void answer(request);
        },
      });
      for (const id of [1, 3, 5]) {
        await client.send(headers(id, END, callFields()));
        assertEquals((await client.over(id)).value("grpc-status"), "0");
      }
      assertEquals(backend.wires.length, 3);
      assertEquals(client.farewells, []);
    },
  },
  ...([
    ["AFTER-HEADER", 0],
    ["DURING-DATA", 500],
    ["AFTER-DATA", 1005],
  ] as const).map(([id, size]): GrpcCase => ({
    id: `NEG-RST-${id}`,
    why: `a backend that resets behind ${size} bytes of a message is never taken for the end`,
    run: async (stage) => {
      const { client } = await stage.pair({
        onEnd: ({ wire, id }) => {
          void wire.send(headers(id, OPEN, OK), content(id, message(1000).subarray(0, size)));
          void wire.send(rst(id, H2Code.NoError));
        },
      });
      await client.send(headers(1, END, callFields()));
      const stream = await client.over(1);
      assertEquals([stream.ended, stream.reset], [false, H2Code.NoError]);
    },
  })),
  {
    id: "NEG-PING",
    why: "PINGs of a backend are answered here, one by one, and are no business of the client",
    run: async (stage) => {
      const { client, backend } = await stage.pair({
        onEnd: (request) => {
          const { wire } = request;
          const pings = [1, 2, 3, 4, 5].map((n) =>
            frame(FrameType.Ping, 0, 0, new Uint8Array(8).fill(n))
          );
          void wire.send(...pings).then(() => answer(request));
        },
      });
      await client.send(headers(1, END, callFields()));
      assertEquals((await client.over(1)).value("grpc-status"), "0");
      const { wire } = await first(backend);
      await wire.until(() => wire.count(FrameType.Ping, ACK) === 5, "five answers");
      assertEquals(
        wire.frames.filter(({ type }) => type === FrameType.Ping).map(({ payload }) => payload[0]),
        [1, 2, 3, 4, 5],
      );
      assertEquals(client.count(FrameType.Ping), 0);
    },
  },
  {
    id: "NEG-MAX-STREAMS",
    why: "200 calls at once to a backend that takes one a connection: none fails, none hangs",
    only: "l7",
    run: async (stage) => {
      const { client, backend } = await stage.pair({
        onEnd: (request) => void answer(request),
      }, { backend: { settings: [[Setting.MaxConcurrentStreams, 1]] } });
      const ids = Array.from({ length: 200 }, (_, i) => 2 * i + 1);
      await client.send(...ids.map((id) => headers(id, END, callFields())));
      for (const id of ids) assertEquals((await client.over(id)).value("grpc-status"), "0");
      assertEquals(backend.requests.length, 200);
    },
  },
  {
    id: "NEG-MAX-STREAMS-LIMIT",
    why: "where no more connections may be opened, calls wait for a stream",
    only: "l7",
    run: async (stage) => {
      const held: WireRequest[] = [];
      const backend = stage.backend(
        { onEnd: (request) => void held.push(request) },
        { settings: [[Setting.MaxConcurrentStreams, 1]] },
      );
      const scene = await stage.scene([backend], { limits: { maxUpstreamConnections: 2 } });
      const client = await scene.wire();
      const ids = Array.from({ length: 20 }, (_, i) => 2 * i + 1);
      await client.send(...ids.map((id) => headers(id, END, callFields())));
      for (let answered = 0; answered < ids.length;) {
        await until(() => held.length > 0, () => `a call behind ${answered}`);
        assert(held.length <= 2, "one call a connection");
        for (const request of held.splice(0)) {
          await answer(request);
          answered++;
        }
      }
      for (const id of ids) assertEquals((await client.over(id)).value("grpc-status"), "0");
      assertEquals(backend.wires.length, 2);
    },
  },
  {
    id: "NEG-MAX-STREAMS-0",
    why: "a backend that takes no stream at all is not asked over hundreds of connections",
    only: "l7",
    run: async (stage) => {
      const backend = stage.backend({}, { settings: [[Setting.MaxConcurrentStreams, 0]] });
      const scene = await stage.scene([backend], { timeouts: { poolWait: 300 } });
      const client = await scene.wire();
      await client.send(headers(1, END, callFields()), headers(3, END, callFields()));
      for (const id of [1, 3]) {
        await client.over(id);
        assertTrailersOnly(client, id, "14");
      }
      assertEquals(backend.wires.length, 1);
    },
  },
  {
    id: "NEG-PADDING",
    why: "padding of either side is left out, and counts for the windows of nobody else",
    run: async (stage) => {
      const rounds = 600;
      const padded = (id: number) =>
        frame(FrameType.Data, PADDED, id, [200, 1, 2, 3, ...new Uint8Array(200)]);
      const { client, backend } = await stage.pair({
        onEnd: async ({ wire, id }) => {
          void wire.send(headers(id, OPEN, OK));
          // 204 bytes on the wire for each 3 of content, within what is granted meanwhile.
          for (let round = 0; round < rounds; round += 100) {
            void wire.send(...Array.from({ length: 100 }, () => padded(id)));
            const granted = () =>
              wire.frames.filter((one) => one.type === FrameType.WindowUpdate && one.id === id)
                .reduce((sum, { payload }) => sum + new DataView(payload.buffer).getUint32(0), 0);
            await wire.until(() => granted() >= (round + 100) * 204 - 40_000, "a window");
          }
          void wire.send(headers(id, END, DONE));
        },
      });
      await client.send(headers(1, OPEN, callFields()));
      for (let round = 0; round < 100; round++) await client.send(padded(1));
      await client.send(content(1, new Uint8Array(0), 1));
      const { received } = await client.over(1);
      assertEquals(received, 3 * rounds);
      assertEquals(client.stream(1).value("grpc-status"), "0");
      assertEquals((await first(backend)).stream.received, 300);
    },
  },
];

/** Duties of PROTOCOL-HTTP2.md. */
const DUTIES: readonly GrpcCase[] = [
  {
    id: "DUTY-METADATA",
    why: "te, repeated and binary metadata arrive as they were, in order, both ways",
    run: async (stage) => {
      const metadata: Fields = [
        ["grpc-encoding", "gzip"],
        ["grpc-accept-encoding", "identity,deflate,gzip"],
        ["k-bin", "AAEC"],
        ["k-bin", "AAEC, AwQF"],
        ["k-bin", "AAE="],
        ["a", "1"],
        ["b", "2"],
        ["a", "3"],
        ["empty", ""],
      ];
      const { client, backend } = await stage.pair({
        onEnd: ({ wire, id }) => {
          void wire.send(headers(id, OPEN, [...OK, ...metadata]), content(id, message(3)));
          void wire.send(
            headers(id, END, [...DONE, ["grpc-message", "%E2%98%BA %25"], ...metadata]),
          );
        },
      });
      await client.send(headers(1, END, callFields("/s.S/M", ...metadata)));
      const { sections } = await client.over(1);
      assertEquals(sections, [
        [...OK, ...metadata].map((field) => [...field]),
        [...DONE, ["grpc-message", "%E2%98%BA %25"] as const, ...metadata].map((
          field,
        ) => [...field]),
      ] as [string, string][][]);
      const [head] = (await first(backend)).stream.sections;
      const own = head!.filter(([name]) => name.startsWith("x-forwarded-"));
      assertEquals(
        head!.filter((field) => !own.includes(field)),
        callFields("/s.S/M", ...metadata).map(([name, value]) => [name, value]),
      );
    },
  },
  {
    id: "DUTY-TIMEOUT",
    why:
      "a deadline reaches the backend, less what was spent here; when it passes, both sides are told",
    run: async (stage) => {
      const { client, backend } = await stage.pair({});
      await client.send(headers(1, OPEN, callFields("/s.S/M", ["grpc-timeout", "200m"])));
      const { wire, stream } = await first(backend);
      const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(stream.value("grpc-timeout") ?? "")!;
      const ms = Number(digits) * { m: 1, u: 1e-3, n: 1e-6 }[unit as "m"];
      assert(ms > 0 && ms <= 200, stream.value("grpc-timeout"));
      await client.over(1);
      assertTrailersOnly(client, 1, "4");
      await wire.until(() => stream.reset !== undefined, "RST_STREAM");
      assertEquals(stream.reset, H2Code.Cancel);
    },
  },
  {
    id: "DUTY-TRAILERS-ONLY",
    why: "Trailers-Only stays one HEADERS that ends the stream",
    run: async (stage) => {
      const { client } = await stage.pair({
        onEnd: ({ wire, id }) => void wire.send(headers(id, END, [...OK, ["grpc-status", "5"]])),
      });
      await client.send(headers(1, END, callFields()));
      await client.over(1);
      assertEquals(
        client.frames.filter((one) => one.id === 1).map(({ type, flags }) => [type, flags]),
        [[FrameType.Headers, END]],
      );
      assertEquals(client.stream(1).value("grpc-status"), "5");
    },
  },
  {
    id: "DUTY-REQUEST-TRAILERS",
    why: "trailers of a request, which HTTP/2 allows, reach the backend as trailers",
    run: async (stage) => {
      const { client, backend } = await stage.pair({ onEnd: (request) => void answer(request) });
      await client.send(
        headers(1, OPEN, callFields()),
        content(1, message(10)),
        headers(1, END, [["x-sum", "abc"], ["k-bin", "AAEC"]]),
      );
      assertEquals((await client.over(1)).value("grpc-status"), "0");
      const { stream } = await first(backend);
      assertEquals([stream.received, stream.ended], [15, true]);
      assertEquals(stream.sections[1], [["x-sum", "abc"], ["k-bin", "AAEC"]]);
    },
  },
  {
    id: "DUTY-INTERIM",
    why: "interim answers pass, and the final one behind them",
    run: async (stage) => {
      const { client } = await stage.pair({
        onEnd: (request) => {
          const { wire, id } = request;
          void wire.send(headers(id, OPEN, [[":status", "100"]]));
          void wire.send(headers(id, OPEN, [[":status", "103"], ["link", "</x>"]]));
          void answer(request);
        },
      });
      await client.send(headers(1, END, callFields()));
      const { sections } = await client.over(1);
      assertEquals(sections.map(([field]) => field), [
        [":status", "100"],
        [":status", "103"],
        [":status", "200"],
        ["grpc-status", "0"],
      ]);
    },
  },
  {
    id: "DUTY-FRAMES",
    why:
      "messages have nothing to do with frames: bytes one by one, and many messages in one frame",
    run: async (stage) => {
      const many = new Uint8Array(300 * 40);
      for (let i = 0; i < 300; i++) many.set(message(35), i * 40);
      const { client, backend } = await stage.pair({
        onEnd: async ({ wire, id }) => {
          void wire.send(headers(id, OPEN, OK));
          for (const byte of message(50)) void wire.send(content(id, Uint8Array.of(byte)));
          void wire.send(content(id, many));
          await wire.send(headers(id, END, DONE));
        },
      });
      await client.send(headers(1, OPEN, callFields()));
      for (const byte of message(50)) await client.send(content(1, Uint8Array.of(byte)));
      await client.send(content(1, many, 1));
      const { chunks } = await client.over(1);
      const whole = [...message(50), ...many];
      assertEquals(chunks.flatMap((chunk) => [...chunk]), whole);
      assertEquals((await first(backend)).stream.chunks.flatMap((chunk) => [...chunk]), whole);
    },
  },
  {
    id: "DUTY-8K",
    why: "8 KiB of metadata in head and trailers pass either way",
    run: async (stage) => {
      const large: Fields = [["x-large", "v".repeat(4000)], ["x-other", "w".repeat(4000)]];
      const { client, backend } = await stage.pair({
        onEnd: ({ wire, id }) => {
          void wire.send(
            headers(id, OPEN, [...OK, ...large]),
            headers(id, END, [...DONE, ...large]),
          );
        },
      });
      await client.send(headers(1, END, callFields("/s.S/M", ...large)));
      const { sections } = await client.over(1);
      for (const section of sections) {
        assertEquals(section.slice(-2), large.map((field) => [...field]) as [string, string][]);
      }
      assertEquals((await first(backend)).stream.value("x-large"), "v".repeat(4000));
    },
  },
  {
    id: "DUTY-CONTINUATION",
    why: "a head that came in CONTINUATION frames is one head for the backend",
    run: async (stage) => {
      const { client, backend } = await stage.pair({ onEnd: (request) => void answer(request) });
      const block = encodeBlock(callFields("/s.S/M", ["x", "y".repeat(600)]));
      const parts = Array.from({ length: 7 }, (_, i) => block.subarray(i * 100, (i + 1) * 100));
      await client.send(
        frame(FrameType.Headers, 1, 1, parts[0]!),
        ...parts.slice(1).map((part, i) =>
          frame(FrameType.Continuation, i === parts.length - 2 ? OPEN : 0, 1, part)
        ),
      );
      assertEquals((await client.over(1)).value("grpc-status"), "0");
      assertEquals((await first(backend)).stream.value("x"), "y".repeat(600));
    },
  },
  {
    id: "DUTY-415",
    why: "what is no gRPC is for the backend to refuse, where all is for gRPC backends",
    not: "mux",
    run: async (stage) => {
      const { client } = await stage.pair({
        onEnd: ({ wire, id }) => void wire.send(headers(id, END, [[":status", "415"]])),
      });
      const fields = callFields().map(([name, value]) =>
        [name, name === "content-type" ? "application/json" : value] as const
      );
      await client.send(headers(1, END, fields));
      assertEquals((await client.over(1)).sections, [[[":status", "415"]]]);
    },
  },
];

/** Answers of HTTP to calls: which status of gRPC they stand for is for the client to say, and for nobody else. */
const HTTP_ANSWERS: readonly GrpcCase[] = [
  ...["400", "401", "403", "404", "429", "431", "500", "502", "503", "504"].map((
    status,
  ): GrpcCase => ({
    id: `HTTP-${status}`,
    why: "an answer of HTTP passes untouched",
    run: async (stage) => {
      const html = new TextEncoder().encode("<html>no</html>");
      const { client, scene } = await stage.pair({
        onEnd: ({ wire, id }) => {
          void wire.send(
            headers(id, OPEN, [[":status", status], ["content-type", "text/html"], [
              "content-length",
              `${html.length}`,
            ]]),
            content(id, html, 1),
          );
        },
      });
      await client.send(headers(1, END, callFields()));
      const stream = await client.over(1);
      assertEquals(stream.sections, [[[":status", status], ["content-type", "text/html"], [
        "content-length",
        "15",
      ]]]);
      assertEquals([stream.text, stream.reset], ["<html>no</html>", undefined]);
      await scene.idle();
      const [series] = [...scene.lb.metrics.listener(scene.lb.name).requestSeries()];
      assertEquals(series!.codes[Number(status[0])], 1);
    },
  })),
  {
    id: "HTTP-NO-STATUS",
    why: "an answer without grpc-status passes as it is, with trailers and without",
    run: async (stage) => {
      const { client } = await stage.pair({
        onEnd: ({ wire, id, path }) => {
          void wire.send(headers(id, OPEN, OK));
          if (path === "/none") void wire.send(content(id, message(3), 1));
          else void wire.send(content(id, message(3)), headers(id, END, [["x", "y"]]));
        },
      });
      await client.send(
        headers(1, END, callFields("/none")),
        headers(3, END, callFields("/other")),
      );
      const fields = OK.map((field) => [...field]) as [string, string][];
      assertEquals((await client.over(1)).sections, [fields]);
      assertEquals((await client.over(3)).sections, [fields, [["x", "y"]]]);
      assertEquals([client.stream(1).received, client.stream(3).received], [8, 8]);
    },
  },
];

/** At layer 4, what backends say of their connection is said to the client of the connection. */
const BOUND: readonly GrpcCase[] = [
  {
    id: "L4-ONE",
    why: "calls that begin in the same moment go to one backend, over one connection",
    only: "l4",
    run: async (stage) => {
      const backends = [0, 1].map(() =>
        stage.backend({ onEnd: (request) => void answer(request) })
      );
      const scene = await stage.scene(backends);
      for (let round = 0; round < 4; round++) {
        const client = await scene.wire();
        const before = backends.map(({ requests }) => requests.length);
        await client.send(...[1, 3, 5].map((id) => headers(id, END, callFields())));
        for (const id of [1, 3, 5]) assertEquals((await client.over(id)).value("grpc-status"), "0");
        const counts = backends.map(({ requests }, i) => requests.length - before[i]!);
        assertEquals(counts.toSorted(), [0, 3]);
      }
      assertEquals(backends.map(({ wires }) => wires.length), [2, 2]);
    },
  },
  {
    id: "L4-GOAWAY",
    why:
      "GOAWAY of the backend is one for the client: what was begun ends, what was not is refused",
    only: "l4",
    run: async (stage) => {
      const { client, backend } = await stage.pair({});
      await client.send(headers(1, OPEN, callFields()), headers(3, OPEN, callFields()));
      await until(() => backend.requests.length === 2, "both calls");
      const [request] = backend.requests;
      void request!.wire.send(goaway(1, H2Code.NoError));
      await client.until(() => client.farewells.length > 0, "GOAWAY");
      assertEquals(client.farewell?.code, H2Code.NoError);
      assertEquals((await client.over(3)).reset, H2Code.RefusedStream);
      assertEquals(client.stream(1).over, false);
      await answer(request!);
      await client.send(content(1, new Uint8Array(0), 1));
      assertEquals((await client.over(1)).value("grpc-status"), "0");
      await client.until(() => client.ended, "the end of the connection");
    },
  },
  {
    id: "L4-MAX-STREAMS",
    why: "how many streams the backend takes is what the client is told, and may have",
    only: "l4",
    run: async (stage) => {
      const { client } = await stage.pair(
        { onEnd: (request) => request.path === "/hold" ? undefined : void answer(request) },
        { backend: { settings: [[Setting.MaxConcurrentStreams, 2]] } },
      );
      await client.send(headers(1, END, callFields()));
      assertEquals((await client.over(1)).value("grpc-status"), "0");
      const limits = client.frames.filter(({ type }) => type === FrameType.Settings)
        .flatMap(({ payload }) => {
          const view = new DataView(payload.buffer);
          return Array.from({ length: payload.length / 6 }, (_, i) => i * 6)
            .filter((at) => view.getUint16(at) === Setting.MaxConcurrentStreams)
            .map((at) => view.getUint32(at + 2));
        });
      assertEquals(limits.at(-1), 2);
      await client.send(...[3, 5, 7].map((id) => headers(id, END, callFields("/hold"))));
      assertEquals((await client.over(7)).reset, H2Code.RefusedStream);
      assertEquals([client.stream(3).over, client.stream(5).over], [false, false]);
    },
  },
  {
    id: "L4-DEAD",
    why: "a client whose backend is gone is told to connect again, and then meets another backend",
    only: "l4",
    run: async (stage) => {
      const backends = [0, 1].map(() =>
        stage.backend({ onEnd: (request) => void answer(request) })
      );
      const scene = await stage.scene(backends);
      const client = await scene.wire();
      await client.send(headers(1, END, callFields()));
      assertEquals((await client.over(1)).value("grpc-status"), "0");
      const bound = backends.find(({ requests }) => requests.length > 0)!;
      await bound[Symbol.asyncDispose]();
      await client.send(headers(3, END, callFields()));
      assertEquals((await client.over(3)).value("grpc-status"), "14");
      await client.until(() => client.ended, "GOAWAY and the end of the connection");
      assertEquals(client.farewell?.code, H2Code.NoError);
      const again = await scene.wire();
      await again.send(headers(1, END, callFields()));
      assertEquals((await again.over(1)).value("grpc-status"), "0");
    },
  },
  {
    id: "L4-LOST",
    why:
      "streams that are lost with their backend end with UNAVAILABLE, and GOAWAY tells to connect again",
    only: "l4",
    run: async (stage) => {
      const backends = [0, 1].map(() =>
        stage.backend({ onHead: ({ wire, id }) => void wire.send(headers(id, OPEN, OK)) })
      );
      const client = await (await stage.scene(backends)).wire();
      await client.send(headers(1, OPEN, callFields()), headers(3, OPEN, callFields()));
      await client.until(() => client.stream(3).sections.length === 1, "both have begun");
      await backends.find(({ requests }) => requests.length > 0)![Symbol.asyncDispose]();
      for (const id of [1, 3]) assertEquals((await client.over(id)).value("grpc-status"), "14");
      await client.until(() => client.ended, "GOAWAY and the end of the connection");
      assertEquals(client.farewell?.code, H2Code.NoError);
    },
  },
  {
    id: "L4-REMOVED",
    why:
      "a client of a backend that leaves is told to connect again with its next call, which is served",
    only: "l4",
    run: async (stage) => {
      const backends = [0, 1].map(() =>
        stage.backend({ onEnd: (request) => void answer(request) })
      );
      for (const leave of ["drain", "remove"] as const) {
        const scene = await stage.scene(backends);
        const client = await scene.wire();
        const before = backends.map(({ requests }) => requests.length);
        await client.send(headers(1, END, callFields()));
        assertEquals((await client.over(1)).value("grpc-status"), "0");
        const index = backends.findIndex(({ requests }, i) => requests.length > before[i]!);
        const { addr } = backends[index]!;
        if (leave === "drain") await scene.lb.drainBackend(addr);
        else scene.lb.removeBackend(addr);
        await client.send(headers(3, END, callFields()));
        assertEquals((await client.over(3)).value("grpc-status"), "0");
        await client.until(() => client.ended, "GOAWAY and the end of the connection");
        const again = await scene.wire();
        const count = backends[1 - index]!.requests.length;
        await again.send(headers(1, END, callFields()));
        assertEquals((await again.over(1)).value("grpc-status"), "0");
        assertEquals(backends[1 - index]!.requests.length, count + 1);
      }
    },
  },
];

const CASES: readonly GrpcCase[] = [
  ...ERRORS_OF_OURS,
  ...RETRIES,
  ...RESETS,
  ...CANCELS,
  ...ENDS,
  ...KEEPALIVE,
  ...STALLS,
  ...NEGATIVE,
  ...DUTIES,
  ...HTTP_ANSWERS,
  ...BOUND,
];

for (const kind of GRPC_LISTENERS) {
  Deno.test(`${kind.name}: each gRPC case comes to what was promised`, async (t) => {
    for (const { id, why, only, not, run } of CASES) {
      await t.step({
        name: `${id}: ${why}`,
        ignore: (only !== undefined && only !== kind.layer) || not === kind.name,
        fn: async () => {
          await using stage = new Stage(kind);
          await run(stage);
        },
      });
    }
  });
}

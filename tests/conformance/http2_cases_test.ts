/**
 * Every row of the HTTP/2 case list, frame by frame, against each listener that speaks HTTP/2: those of frames in
 * the table beside this, those with a course of their own below.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType, MAX_UINT31 } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { GRPC_LISTENERS, GrpcScene, SteadyCaller } from "../support/grpc_listeners.ts";
import type { Fields } from "../support/h2_peer.ts";
import {
  concat,
  data,
  frame,
  headers as headersOf,
  rst,
  settings,
  windowUpdate,
} from "../support/h2_raw.ts";
import { answer, callFields, Wire, WireBackend, type WireRequest } from "../support/h2_wire.ts";
import { until } from "../support/net.ts";
import { cut, Random } from "../support/prng.ts";
import { HTTP2_CASES, type Http2Case } from "./http2_cases.ts";

const OPEN = 0x4;
/** The stream of the request that shows that a connection goes on. */
const NEXT = 9001;
/** Longer cases come in one piece only. */
const LONGEST_CUT = 4096;
const ACK = 1;

const LARGE = new Uint8Array(200_000);

/** Answers when the request has ended, but never where it was asked to hold. */
function serve(request: WireRequest): void {
  if (request.path === "/hold") return;
  void answer(request, request.path === "/large" ? LARGE : undefined);
}

interface Scene {
  readonly scene: GrpcScene;
  readonly backend: WireBackend;
}

/** The head of a call; END_STREAM and END_HEADERS unless other flags are given. */
function headers(id: number, flags = 5, fields: Fields = callFields("/a")): Uint8Array {
  return headersOf(id, flags, fields);
}

function last(backend: WireBackend, path: string): WireRequest {
  return backend.requests.findLast((request) => request.path === path)!;
}

async function runCase(
  { frames, verdict, forwarded = 0 }: Http2Case,
  { scene, backend }: Scene,
  { behind, pieces }: { readonly behind: boolean; readonly pieces: Random | undefined },
): Promise<void> {
  await using wire = await Wire.open(scene.addr);
  const first = behind ? 3 : 1;
  if (behind) {
    await wire.send(headers(1));
    await wire.over(1);
  }
  const { reason = undefined } = verdict.type === "goaway" ? verdict : {};
  const refused = reason === undefined ? 0 : scene.refusals(reason);
  const asked = () => backend.requests.filter(({ path }) => path !== "/steady").length;
  const before = asked();
  const bytes = concat(...frames(first));
  if (pieces === undefined) await wire.send(bytes);
  else for (const piece of cut(bytes, pieces, 20)) await wire.send(piece);
  switch (verdict.type) {
    case "goaway": {
      await wire.until(() => wire.ended, "the end of the connection");
      assertEquals(wire.farewell?.code, verdict.code, wire.farewell?.debug);
      // What was begun and not answered is given up at the backend.
      await scene.idle();
      // Of a flood, little is answered.
      assert(wire.frames.length < 1300, wire.describe());
      break;
    }
    case "reset":
      await wire.until(() => wire.stream(first).reset !== undefined, "RST_STREAM");
      assertEquals(wire.stream(first).reset, verdict.code);
      break;
    case "served":
      assertEquals((await wire.over(first)).value(":status"), "200");
  }
  if (verdict.type !== "goaway") {
    await wire.send(headers(NEXT));
    assertEquals((await wire.over(NEXT)).value(":status"), "200", "the connection goes on");
    assertEquals(wire.farewells, []);
    forwarded++;
  }
  assert(asked() - before <= forwarded, `${asked() - before} requests reached the backend`);
  if (reason !== undefined) assertEquals(scene.refusals(reason), refused + 1, "it is counted once");
}

/** Rows that are more than bytes and an answer. */
const COURSES: readonly (readonly [
  name: string,
  run: (parts: Scene) => Promise<void>,
])[] = [
  [
    "E4-CLOSED: DATA on streams that have ended is answered like resets, not for ever",
    async ({ scene }) => {
      await using wire = await Wire.open(scene.addr);
      const before = scene.refusals("rapid_reset");
      const ids = Array.from({ length: 400 }, (_, i) => 2 * i + 1);
      for (let at = 0; at < ids.length; at += 100) {
        const some = ids.slice(at, at + 100);
        await wire.send(...some.map((id) => headers(id)));
        for (const id of some) await wire.over(id);
      }
      await wire.send(data(1, 1));
      await wire.until(() => wire.stream(1).reset !== undefined, "RST_STREAM");
      assertEquals(wire.stream(1).reset, H2Code.StreamClosed);
      for (let round = 0; round < 20; round++) await wire.send(...ids.map((id) => data(id, 1)));
      await wire.until(() => wire.ended, "the end of the connection");
      assertEquals(wire.farewell?.code, H2Code.EnhanceYourCalm);
      assertEquals(scene.refusals("rapid_reset"), before + 1);
      assert(wire.count(FrameType.RstStream) < 400, wire.describe());
    },
  ],
  ["E8: nothing is sent into a negative window until it is above 0", async ({ scene }) => {
    await using wire = await Wire.open(scene.addr, {
      settings: [[Setting.InitialWindowSize, 1000]],
      grants: false,
    });
    await wire.send(headers(1, 5, callFields("/large")));
    await wire.until(() => wire.stream(1).received === 1000, "a window");
    await wire.send(settings([Setting.InitialWindowSize, 0]));
    await wire.settle();
    await wire.send(windowUpdate(1, 1000));
    await wire.settle();
    assertEquals(wire.stream(1).received, 1000, "the window is 0");
    await wire.send(windowUpdate(1, 5));
    await wire.until(() => wire.stream(1).received > 1000, "the window is 5");
    await wire.settle();
    assertEquals(wire.stream(1).received, 1005);
    assertEquals(wire.farewells, []);
  }],
  ["E16: the block of a refused stream still changes the table", async ({ scene, backend }) => {
    await using wire = await Wire.open(scene.addr);
    const count = 1010;
    const ids = Array.from({ length: count }, (_, i) => 2 * i + 1);
    const block = (id: number, ...extra: number[]) =>
      concat(headers(id, 5, callFields("/hold")).subarray(9), extra);
    await wire.send(...ids.map((id, i) =>
      // The last one, which is refused, puts x: y into the table.
      frame(
        FrameType.Headers,
        5,
        id,
        block(id, ...(i === count - 1 ? [0x40, 1, 0x78, 1, 0x79] : [])),
      )
    ));
    await wire.until(() => wire.stream(ids[count - 1]!).reset !== undefined, "a refusal");
    assertEquals(wire.stream(ids[count - 1]!).reset, H2Code.RefusedStream);
    await wire.send(
      rst(1),
      frame(FrameType.Headers, 5, 5001, concat(headers(1).subarray(9), [0xbe])),
    );
    assertEquals((await wire.over(5001)).value(":status"), "200");
    assertEquals(last(backend, "/a").stream.value("x"), "y");
    assertEquals(wire.farewells, []);
  }],
  ["A5-UNREAD: who asks and does not read is cut off, with little held", async ({ scene }) => {
    await using wire = await Wire.open(scene.addr, {
      reads: false,
      settings: [[Setting.InitialWindowSize, MAX_UINT31]],
    });
    await wire.send(windowUpdate(0, MAX_UINT31 - 65_535));
    for (let id = 1; id < 200; id += 2) await wire.send(headers(id, 5, callFields("/large")));
    const pings = Array.from(
      { length: 5000 },
      () => frame(FrameType.Ping, 0, 0, new Uint8Array(8)),
    );
    const refusals = () =>
      ["ping_flood", "too_many_pings", "control_queue"]
        .reduce((sum, reason) => sum + scene.refusals(reason), 0);
    const before = refusals();
    await wire.send(...pings);
    await until(() => refusals() > before, "the client is cut off");
    assertEquals(refusals(), before + 1);
  }],
  [
    "A10: fields are counted, crumbs of cookies too, and too many are refused for their stream alone",
    async ({ scene, backend }) => {
      await using wire = await Wire.open(scene.addr, {
        grants: false,
        settings: [[Setting.InitialWindowSize, 0]],
      });
      const crumbs: Fields = Array.from(
        { length: 500 },
        (_, i) => ["cookie", `c${i % 10}`] as const,
      );
      const refused = scene.refusals("head_too_large");
      const other = callFields("/crumbs").filter(([name]) => name !== "content-type");
      await wire.send(headers(1, 5, [...other, ...crumbs]));
      await wire.send(headers(3, 5, callFields("/crumbs", ...crumbs)));
      // The answer of HTTP may have content, for which there is no window.
      await wire.until(() => wire.stream(1).sections.length === 1, "an answer");
      assertEquals(wire.stream(1).value(":status"), "431");
      const call = await wire.over(3);
      assertEquals([call.value(":status"), call.value("grpc-status")], ["200", "8"]);
      assertEquals(wire.farewells, []);
      assert(backend.requests.every(({ path }) => path !== "/crumbs"));
      assertEquals(scene.refusals("head_too_large"), refused + 2);
      // Thousands of references to one small entry, as the bomb of 2026 has them, and a window of 0.
      const entry = [0x40, 1, 0x61, 0];
      await wire.send(
        frame(
          FrameType.Headers,
          5,
          5,
          concat(headers(1).subarray(9), entry, new Uint8Array(16_000).fill(0xbe)),
        ),
      );
      await wire.until(() => wire.stream(5).over || wire.ended, "the verdict");
      assert(
        wire.stream(5).value(":status") === "431" || wire.farewell?.code === H2Code.EnhanceYourCalm,
        wire.describe(),
      );
    },
  ],
  [
    "A11: a client that opens no window holds one window of each of its calls, and nobody else's call",
    async ({ scene }) => {
      await using wire = await Wire.open(scene.addr, {
        grants: false,
        settings: [[Setting.InitialWindowSize, 0]],
      });
      const ids = Array.from({ length: 60 }, (_, i) => 2 * i + 1);
      await wire.send(...ids.map((id) => headers(id, 5, callFields("/large"))));
      await wire.until(() => ids.every((id) => wire.stream(id).sections.length === 1), "the heads");
      await wire.settle();
      assertEquals(ids.reduce((sum, id) => sum + wire.stream(id).received, 0), 0);
      // Calls of another client to the same backend, which has no window of its own for each client.
      await using other = await Wire.open(scene.addr);
      await other.send(headers(1, 5, callFields("/large")));
      assertEquals((await other.over(1)).received, 200_000);
      // And all that was held comes when the window opens.
      await wire.send(
        settings([Setting.InitialWindowSize, 1_000_000]),
        windowUpdate(0, 100_000_000),
      );
      for (const id of ids) assertEquals((await wire.over(id)).received, 200_000);
      assertEquals(wire.farewells, []);
    },
  ],
  [
    "A12: streams above the limit are refused, so that they may be tried again, and others go on",
    async ({ scene, backend }) => {
      await using wire = await Wire.open(scene.addr);
      const limit = new DataView(
        wire.frames.find((one) => one.type === FrameType.Settings)!.payload.buffer,
      ).getUint32(2);
      const ids = Array.from({ length: limit + 50 }, (_, i) => 2 * i + 1);
      const before = backend.requests.length;
      await wire.send(...ids.map((id) => headers(id, 5, callFields("/hold"))));
      await wire.settle();
      const refused = ids.filter((id) => wire.stream(id).reset === H2Code.RefusedStream);
      assertEquals(refused, ids.slice(limit));
      await until(() => backend.requests.length >= before + limit, "the others are at the backend");
      await wire.send(rst(1), headers(NEXT));
      assertEquals((await wire.over(NEXT)).value(":status"), "200");
    },
  ],
  [
    "A13: after GOAWAY of a client its streams are served to their end",
    async ({ scene, backend }) => {
      await using wire = await Wire.open(scene.addr);
      await wire.send(headers(1, OPEN), frame(FrameType.Goaway, 0, 0, new Uint8Array(8)));
      await wire.settle();
      await wire.send(data(1, 3, 1));
      assertEquals((await wire.over(1)).value(":status"), "200");
      await wire.until(() => wire.ended, "the end of the connection");
      assertEquals(wire.farewell?.code, H2Code.NoError);
      assertEquals(last(backend, "/a").stream.text, "aaa");
    },
  ],
  ["3.4: a connection that does not begin with SETTINGS ends", async ({ scene }) => {
    await using wire = await Wire.connect(scene.addr);
    await wire.send(CLIENT_PREFACE, headers(1));
    await wire.until(() => wire.ended, "the end");
    assertEquals(wire.farewell?.code, H2Code.ProtocolError);
  }],
  [
    "6.5.3 and 6.7: SETTINGS and PING are acknowledged, each once and with its content",
    async ({ scene }) => {
      await using wire = await Wire.open(scene.addr);
      const opaque = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
      await wire.send(
        settings([Setting.MaxFrameSize, 20_000]),
        frame(FrameType.Ping, 0, 0, opaque),
      );
      await wire.until(() => wire.count(FrameType.Ping, ACK) === 1, "PING");
      assertEquals(wire.frames.find((one) => one.type === FrameType.Ping)!.payload, opaque);
      assertEquals(wire.count(FrameType.Settings, ACK), 2);
    },
  ],
];

for (const kind of GRPC_LISTENERS) {
  Deno.test(`${kind.name}: each HTTP/2 case gets its verdict, first and later, whole and in pieces`, async (t) => {
    await using backend = WireBackend.listen({ onEnd: serve });
    await using scene = await GrpcScene.open(kind, { backends: [backend.addr] });
    await using steady = await SteadyCaller.start(scene.addr);
    // What a step leaves open, the next ones and the clean client share; the test as a whole is checked.
    const sanitize = { sanitizeOps: false, sanitizeResources: false };
    const parts = { scene, backend };
    for (const one of HTTP2_CASES) {
      await t.step({
        name: `${one.id}: ${one.why} (${one.section})`,
        fn: async () => {
          await runCase(one, parts, { behind: false, pieces: undefined });
          await runCase(one, parts, { behind: true, pieces: undefined });
          if (concat(...one.frames(1)).length > LONGEST_CUT) return;
          await runCase(one, parts, { behind: false, pieces: new Random(1) });
        },
        ...sanitize,
      });
    }
    for (const [name, run] of COURSES) await t.step({ name, fn: () => run(parts), ...sanitize });
    await scene.idle();
    await steady.stop();
    assertEquals(steady.errors, [], "a client that did nothing wrong was disturbed");
    assert(steady.answered > HTTP2_CASES.length, `only ${steady.answered} calls beside`);
  });
}

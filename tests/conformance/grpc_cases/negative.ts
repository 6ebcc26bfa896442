/**
 * The negative HTTP/2 tests of the interop suite, whose server misbehaves.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../../lib/http/h2/errors.ts";
import { FrameType } from "../../../lib/http/h2/frames.ts";
import { Setting } from "../../../lib/http/h2/settings.ts";
import { DONE, OK } from "../../support/h2_peer.ts";
import { frame, goaway, headers, rst } from "../../support/h2_raw.ts";
import { answer, callFields, type WireRequest } from "../../support/h2_wire.ts";
import { until } from "../../support/net.ts";
import {
  ACK,
  assertTrailersOnly,
  content,
  END,
  first,
  type GrpcCase,
  message,
  OPEN,
  PADDED,
} from "./case.ts";

/** The negative HTTP/2 tests of the interop suite, whose server misbehaves. */
export const NEGATIVE_CASES: readonly GrpcCase[] = [
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

/**
 * Layer 4: what backends say of their connection is said to the client of the connection.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { H2Code } from "../../../lib/http/h2/errors.ts";
import { FrameType } from "../../../lib/http/h2/frames.ts";
import { Setting } from "../../../lib/http/h2/settings.ts";
import { OK } from "../../support/h2_peer.ts";
import { goaway, headers } from "../../support/h2_raw.ts";
import { answer, callFields } from "../../support/h2_wire.ts";
import { until } from "../../support/net.ts";
import { content, END, type GrpcCase, OPEN } from "./case.ts";

/** At layer 4, what backends say of their connection is said to the client of the connection. */
export const LAYER_4_CASES: readonly GrpcCase[] = [
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
        // It ends with its last connection, and that with what has been said before GOAWAY is answered.
        const left = leave === "drain" ? scene.lb.drainBackend(addr) : scene.lb.removeBackend(addr);
        await client.send(headers(3, END, callFields()));
        assertEquals((await client.over(3)).value("grpc-status"), "0");
        await client.until(() => client.ended, "GOAWAY and the end of the connection");
        await left;
        const again = await scene.wire();
        const count = backends[1 - index]!.requests.length;
        await again.send(headers(1, END, callFields()));
        assertEquals((await again.over(1)).value("grpc-status"), "0");
        assertEquals(backends[1 - index]!.requests.length, count + 1);
      }
    },
  },
];

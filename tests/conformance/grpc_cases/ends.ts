/**
 * How answers and connections end.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { H2Code } from "../../../lib/http/h2/errors.ts";
import { FrameType, MAX_UINT31 } from "../../../lib/http/h2/frames.ts";
import { Setting } from "../../../lib/http/h2/settings.ts";
import { DONE, OK } from "../../support/h2_peer.ts";
import { frame, headers, rst, windowUpdate } from "../../support/h2_raw.ts";
import { answer, callFields } from "../../support/h2_wire.ts";
import { until } from "../../support/net.ts";
import { ACK, content, END, first, type GrpcCase, message, OPEN } from "./case.ts";

/** How answers and connections end. */
export const END_CASES: readonly GrpcCase[] = [
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

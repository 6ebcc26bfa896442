/**
 * Which calls are tried again, and which are not.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../../lib/http/h2/errors.ts";
import { goaway, headers, rst } from "../../support/h2_raw.ts";
import { answer, callFields, type WireScript } from "../../support/h2_wire.ts";
import { assertTrailersOnly, content, END, type GrpcCase, message, OPEN } from "./case.ts";

/** Which calls are tried again, and which are not. */
export const RETRY_CASES: readonly GrpcCase[] = [
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
          const { wire } = request;
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

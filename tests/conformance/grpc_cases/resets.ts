/**
 * Resets of backends.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { codeName, H2Code } from "../../../lib/http/h2/errors.ts";
import { OK } from "../../support/h2_peer.ts";
import { headers, rst } from "../../support/h2_raw.ts";
import { answer, callFields } from "../../support/h2_wire.ts";
import { content, END, type GrpcCase, message, OPEN } from "./case.ts";

/** A code of RST_STREAM passes as it is: what it means is for the client to say. */
export const RESET_CASES: readonly GrpcCase[] = Object.values(H2Code)
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

/**
 * Calls that do not get on, beside others.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Setting } from "../../../lib/http/h2/settings.ts";
import { RouteBuilder } from "../../../mod.ts";
import { headers, settings, windowUpdate } from "../../support/h2_raw.ts";
import { answer, callFields } from "../../support/h2_wire.ts";
import { within } from "../../support/net.ts";
import { END, type GrpcCase, message, OPEN } from "./case.ts";

/** Calls that do not get on, beside others. */
export const STALL_CASES: readonly GrpcCase[] = [
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

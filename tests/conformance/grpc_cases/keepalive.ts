/**
 * PINGs of clients (gRFC A8, grpc/doc/keepalive.md).
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { H2Code } from "../../../lib/http/h2/errors.ts";
import { FrameType } from "../../../lib/http/h2/frames.ts";
import { OK } from "../../support/h2_peer.ts";
import { frame, headers } from "../../support/h2_raw.ts";
import { callFields } from "../../support/h2_wire.ts";
import { ACK, content, first, type GrpcCase, message, OPEN } from "./case.ts";

const PING = frame(FrameType.Ping, 0, 0, new Uint8Array(8));

/** Keepalive of clients (gRFC A8, grpc/doc/keepalive.md). */
export const KEEPALIVE_CASES: readonly GrpcCase[] = [
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

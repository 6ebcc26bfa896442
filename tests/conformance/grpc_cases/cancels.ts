/**
 * Calls that their client gives up.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { H2Code } from "../../../lib/http/h2/errors.ts";
import { FrameType } from "../../../lib/http/h2/frames.ts";
import { DONE, OK } from "../../support/h2_peer.ts";
import { headers, rst, settings } from "../../support/h2_raw.ts";
import { answer, callFields } from "../../support/h2_wire.ts";
import { until } from "../../support/net.ts";
import { content, END, first, type GrpcCase, message, OPEN } from "./case.ts";

/** Calls that their client gives up. */
export const CANCEL_CASES: readonly GrpcCase[] = [
  {
    id: "CANCEL-BEFORE",
    why: "a call that is cancelled before its backend is there is never begun",
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

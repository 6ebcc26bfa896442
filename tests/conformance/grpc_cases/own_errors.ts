/**
 * Errors that the balancer makes itself.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { H2Code } from "../../../lib/http/h2/errors.ts";
import { headers } from "../../support/h2_raw.ts";
import { callFields } from "../../support/h2_wire.ts";
import { Peer } from "../../support/net.ts";
import { assertTrailersOnly, content, END, type GrpcCase, message, OPEN } from "./case.ts";

/** The port of nobody. */
function closedPort(): string {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return `127.0.0.1:${port}`;
}

/** Errors that the balancer makes itself. */
export const OWN_ERROR_CASES: readonly GrpcCase[] = [
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
      assertEquals(scene.refusals("no_backend"), 1);
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

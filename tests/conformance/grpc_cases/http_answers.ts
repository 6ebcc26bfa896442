/**
 * Answers of HTTP to calls: which status of gRPC they stand for is for the client to say, and for nobody else.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { OK } from "../../support/h2_peer.ts";
import { headers } from "../../support/h2_raw.ts";
import { callFields } from "../../support/h2_wire.ts";
import { content, END, type GrpcCase, message, OPEN } from "./case.ts";

/** Answers of HTTP to calls: which status of gRPC they stand for is for the client to say, and for nobody else. */
export const HTTP_ANSWER_CASES: readonly GrpcCase[] = [
  ...["400", "401", "403", "404", "429", "431", "500", "502", "503", "504"].map((
    status,
  ): GrpcCase => ({
    id: `HTTP-${status}`,
    why: "an answer of HTTP passes untouched",
    run: async (stage) => {
      const html = new TextEncoder().encode("<html>no</html>");
      const { client, scene } = await stage.pair({
        onEnd: ({ wire, id }) => {
          void wire.send(
            headers(id, OPEN, [[":status", status], ["content-type", "text/html"], [
              "content-length",
              `${html.length}`,
            ]]),
            content(id, html, 1),
          );
        },
      });
      await client.send(headers(1, END, callFields()));
      const stream = await client.over(1);
      assertEquals(stream.sections, [[[":status", status], ["content-type", "text/html"], [
        "content-length",
        "15",
      ]]]);
      assertEquals([stream.text, stream.reset], ["<html>no</html>", undefined]);
      await scene.idle();
      const [series] = [...scene.lb.metrics.listener(scene.lb.name).requestSeries()];
      assertEquals(series!.codes[Number(status[0])], 1);
    },
  })),
  {
    id: "HTTP-NO-STATUS",
    why: "an answer without grpc-status passes as it is, with trailers and without",
    run: async (stage) => {
      const { client } = await stage.pair({
        onEnd: ({ wire, id, path }) => {
          void wire.send(headers(id, OPEN, OK));
          if (path === "/none") void wire.send(content(id, message(3), 1));
          else void wire.send(content(id, message(3)), headers(id, END, [["x", "y"]]));
        },
      });
      await client.send(
        headers(1, END, callFields("/none")),
        headers(3, END, callFields("/other")),
      );
      const fields = OK.map((field) => [...field]) as [string, string][];
      assertEquals((await client.over(1)).sections, [fields]);
      assertEquals((await client.over(3)).sections, [fields, [["x", "y"]]]);
      assertEquals([client.stream(1).received, client.stream(3).received], [8, 8]);
    },
  },
];

/**
 * Duties of PROTOCOL-HTTP2.md.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../../lib/http/h2/errors.ts";
import { FrameType } from "../../../lib/http/h2/frames.ts";
import { DONE, encodeBlock, type Fields, OK } from "../../support/h2_peer.ts";
import { frame, headers } from "../../support/h2_raw.ts";
import { answer, callFields } from "../../support/h2_wire.ts";
import { assertTrailersOnly, content, END, first, type GrpcCase, message, OPEN } from "./case.ts";

/** Duties of PROTOCOL-HTTP2.md. */
export const DUTY_CASES: readonly GrpcCase[] = [
  {
    id: "DUTY-METADATA",
    why: "te, repeated and binary metadata arrive as they were, in order, both ways",
    run: async (stage) => {
      const metadata: Fields = [
        ["grpc-encoding", "gzip"],
        ["grpc-accept-encoding", "identity,deflate,gzip"],
        ["k-bin", "AAEC"],
        ["k-bin", "AAEC, AwQF"],
        ["k-bin", "AAE="],
        ["a", "1"],
        ["b", "2"],
        ["a", "3"],
        ["empty", ""],
      ];
      const { client, backend } = await stage.pair({
        onEnd: ({ wire, id }) => {
          void wire.send(headers(id, OPEN, [...OK, ...metadata]), content(id, message(3)));
          void wire.send(
            headers(id, END, [...DONE, ["grpc-message", "%E2%98%BA %25"], ...metadata]),
          );
        },
      });
      await client.send(headers(1, END, callFields("/s.S/M", ...metadata)));
      const { sections } = await client.over(1);
      assertEquals(sections, [
        [...OK, ...metadata].map((field) => [...field]),
        [...DONE, ["grpc-message", "%E2%98%BA %25"] as const, ...metadata].map((
          field,
        ) => [...field]),
      ] as [string, string][][]);
      const [head] = (await first(backend)).stream.sections;
      const own = head!.filter(([name]) => name.startsWith("x-forwarded-"));
      assertEquals(
        head!.filter((field) => !own.includes(field)),
        callFields("/s.S/M", ...metadata).map(([name, value]) => [name, value]),
      );
    },
  },
  {
    id: "DUTY-TIMEOUT",
    why:
      "a deadline reaches the backend, less what was spent here; when it passes, both sides are told",
    run: async (stage) => {
      const { client, backend } = await stage.pair({});
      await client.send(headers(1, OPEN, callFields("/s.S/M", ["grpc-timeout", "200m"])));
      const { wire, stream } = await first(backend);
      const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(stream.value("grpc-timeout") ?? "")!;
      const ms = Number(digits) * { m: 1, u: 1e-3, n: 1e-6 }[unit as "m"];
      assert(ms > 0 && ms <= 200, stream.value("grpc-timeout"));
      await client.over(1);
      assertTrailersOnly(client, 1, "4");
      await wire.until(() => stream.reset !== undefined, "RST_STREAM");
      assertEquals(stream.reset, H2Code.Cancel);
    },
  },
  {
    id: "DUTY-TRAILERS-ONLY",
    why: "Trailers-Only stays one HEADERS that ends the stream",
    run: async (stage) => {
      const { client } = await stage.pair({
        onEnd: ({ wire, id }) => void wire.send(headers(id, END, [...OK, ["grpc-status", "5"]])),
      });
      await client.send(headers(1, END, callFields()));
      await client.over(1);
      assertEquals(
        client.frames.filter((one) => one.id === 1).map(({ type, flags }) => [type, flags]),
        [[FrameType.Headers, END]],
      );
      assertEquals(client.stream(1).value("grpc-status"), "5");
    },
  },
  {
    id: "DUTY-REQUEST-TRAILERS",
    why: "trailers of a request, which HTTP/2 allows, reach the backend as trailers",
    run: async (stage) => {
      const { client, backend } = await stage.pair({ onEnd: (request) => void answer(request) });
      await client.send(
        headers(1, OPEN, callFields()),
        content(1, message(10)),
        headers(1, END, [["x-sum", "abc"], ["k-bin", "AAEC"]]),
      );
      assertEquals((await client.over(1)).value("grpc-status"), "0");
      const { stream } = await first(backend);
      assertEquals([stream.received, stream.ended], [15, true]);
      assertEquals(stream.sections[1], [["x-sum", "abc"], ["k-bin", "AAEC"]]);
    },
  },
  {
    id: "DUTY-INTERIM",
    why: "interim answers pass, and the final one behind them",
    run: async (stage) => {
      const { client } = await stage.pair({
        onEnd: (request) => {
          const { wire, id } = request;
          void wire.send(headers(id, OPEN, [[":status", "100"]]));
          void wire.send(headers(id, OPEN, [[":status", "103"], ["link", "</x>"]]));
          void answer(request);
        },
      });
      await client.send(headers(1, END, callFields()));
      const { sections } = await client.over(1);
      assertEquals(sections.map(([field]) => field), [
        [":status", "100"],
        [":status", "103"],
        [":status", "200"],
        ["grpc-status", "0"],
      ]);
    },
  },
  {
    id: "DUTY-FRAMES",
    why:
      "messages have nothing to do with frames: bytes one by one, and many messages in one frame",
    run: async (stage) => {
      const many = new Uint8Array(300 * 40);
      for (let i = 0; i < 300; i++) many.set(message(35), i * 40);
      const { client, backend } = await stage.pair({
        onEnd: async ({ wire, id }) => {
          void wire.send(headers(id, OPEN, OK));
          for (const byte of message(50)) void wire.send(content(id, Uint8Array.of(byte)));
          void wire.send(content(id, many));
          await wire.send(headers(id, END, DONE));
        },
      });
      await client.send(headers(1, OPEN, callFields()));
      for (const byte of message(50)) await client.send(content(1, Uint8Array.of(byte)));
      await client.send(content(1, many, 1));
      const { chunks } = await client.over(1);
      const whole = [...message(50), ...many];
      assertEquals(chunks.flatMap((chunk) => [...chunk]), whole);
      assertEquals((await first(backend)).stream.chunks.flatMap((chunk) => [...chunk]), whole);
    },
  },
  {
    id: "DUTY-8K",
    why: "8 KiB of metadata in head and trailers pass either way",
    run: async (stage) => {
      const large: Fields = [["x-large", "v".repeat(4000)], ["x-other", "w".repeat(4000)]];
      const { client, backend } = await stage.pair({
        onEnd: ({ wire, id }) => {
          void wire.send(
            headers(id, OPEN, [...OK, ...large]),
            headers(id, END, [...DONE, ...large]),
          );
        },
      });
      await client.send(headers(1, END, callFields("/s.S/M", ...large)));
      const { sections } = await client.over(1);
      for (const section of sections) {
        assertEquals(section.slice(-2), large.map((field) => [...field]) as [string, string][]);
      }
      assertEquals((await first(backend)).stream.value("x-large"), "v".repeat(4000));
    },
  },
  {
    id: "DUTY-CONTINUATION",
    why: "a head that came in CONTINUATION frames is one head for the backend",
    run: async (stage) => {
      const { client, backend } = await stage.pair({ onEnd: (request) => void answer(request) });
      const block = encodeBlock(callFields("/s.S/M", ["x", "y".repeat(600)]));
      const parts = Array.from({ length: 7 }, (_, i) => block.subarray(i * 100, (i + 1) * 100));
      await client.send(
        frame(FrameType.Headers, 1, 1, parts[0]!),
        ...parts.slice(1).map((part, i) =>
          frame(FrameType.Continuation, i === parts.length - 2 ? OPEN : 0, 1, part)
        ),
      );
      assertEquals((await client.over(1)).value("grpc-status"), "0");
      assertEquals((await first(backend)).stream.value("x"), "y".repeat(600));
    },
  },
  {
    id: "DUTY-415",
    why: "what is no gRPC is for the backend to refuse, where all is for gRPC backends",
    not: "mux",
    run: async (stage) => {
      const { client } = await stage.pair({
        onEnd: ({ wire, id }) => void wire.send(headers(id, END, [[":status", "415"]])),
      });
      const fields = callFields().map(([name, value]) =>
        [name, name === "content-type" ? "application/json" : value] as const
      );
      await client.send(headers(1, END, fields));
      assertEquals((await client.over(1)).sections, [[[":status", "415"]]]);
    },
  },
];

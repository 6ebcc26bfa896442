import { assertEquals } from "@std/assert";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import { DONE, type Fields, OK } from "../support/h2_peer.ts";

/** Heads that come in turns and in a row, so that each kind of memory of earlier ones is met. */
const METADATA: readonly Fields[] = [
  [],
  [],
  [],
  [["k", "v"]],
  [["k", "v"]],
  [["k", "v"]],
  [["k", "w"]],
  [["k", "v"]],
  [],
  [["grpc-timeout", "5S"]],
  [["grpc-timeout", "5S"]],
  [["grpc-timeout", "5S"]],
  [["grpc-timeout", "7S"]],
  [],
  [],
];

Deno.test("a head that came before reaches the backend like the first one, and so do others", async () => {
  await using scene = await GrpcL7Scene.open({ context: { forwarded: "x-forwarded" } });
  for (const [at, fields] of METADATA.entries()) {
    await scene.end(scene.client.call("/s.S/M", { content: `message ${at}`, fields }));
    const seen = scene.backend().calls[at]!;
    assertEquals(seen.text, `message ${at}`);
    assertEquals(seen.fields, [
      [":method", "POST"],
      [":scheme", "http"],
      [":path", "/s.S/M"],
      [":authority", "test"],
      ["content-type", "application/grpc"],
      ["te", "trailers"],
      ...fields.map(([name, value]): [string, string] => [name, value]),
      ["x-forwarded-for", "memory"],
      ["x-forwarded-proto", "http"],
      ["x-forwarded-host", "test"],
    ]);
  }
});

Deno.test("heads and trailers of answers are those of each call, repeated or not", async () => {
  await using scene = await GrpcL7Scene.open();
  scene.backend().onCall = (call) => {
    const [, extra] = call.fields.find(([name]) => name === "k") ?? [];
    const more: Fields = extra === undefined ? [] : [["x-more", extra]];
    call.head([...OK, ...more]);
    call.send("answer");
    call.end([...DONE, ...more]);
  };
  for (const fields of METADATA) {
    const call = await scene.end(scene.client.call("/s.S/M", { content: "ask", fields }));
    const more = fields.filter(([name]) => name === "k")
      .map(([, value]): [string, string] => ["x-more", value]);
    assertEquals(call.heads, [[[":status", "200"], ["content-type", "application/grpc"], ...more]]);
    assertEquals(call.trailers, [["grpc-status", "0"], ...more]);
    assertEquals(call.text, "answer");
  }
});

Deno.test("the same head goes where a changed table sends it, with the changes of that route", async () => {
  await using scene = await GrpcL7Scene.open({ backends: ["a:80"], others: ["b:80"] });
  const call = async () => {
    await scene.end(scene.client.call("/s.S/M", { content: "ask" }));
  };
  for (let i = 0; i < 4; i++) await call();
  assertEquals(scene.backend("a:80").calls.length, 4);
  const moved = scene.registry.addRoute(
    new RouteBuilder().service("s.S").target("b:80").setRequestHeader("x-route", "moved")
      .setResponseHeader("x-route", "moved").build(),
  );
  for (let i = 0; i < 4; i++) await call();
  const seen = scene.backend("b:80").calls;
  assertEquals(
    seen.map(({ fields }) => fields.find(([name]) => name === "x-route")?.[1]),
    ["moved", "moved", "moved", "moved"],
  );
  assertEquals(scene.registry.removeRoute(moved.value.id), true);
  for (let i = 0; i < 3; i++) await call();
  assertEquals(scene.backend("a:80").calls.length, 7);
  assertEquals(
    scene.backend("a:80").calls.at(-1)!.fields.some(([name]) => name === "x-route"),
    false,
  );
});

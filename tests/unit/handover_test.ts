import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  HANDOVER_FORMAT,
  HandoverChannel,
  parseChanges,
  parseHandover,
} from "../../lib/cli/handover_channel.ts";
import { HttpL7 } from "../../mod.ts";

const STATE = {
  format: HANDOVER_FORMAT,
  balancer: "http-l7",
  sockets: [{ role: "listen" as const, key: "--listen :80", fd: 7, file: "/run/lb" }],
};
const parse = (state: unknown) => parseHandover(JSON.stringify(state));

Deno.test("an older process may say less, and a newer one more", () => {
  const empty = { registries: [] };
  assertEquals(parse(STATE), { ...STATE, changes: empty, knowledge: undefined });
  const older = parse({ ...STATE, changes: { registries: [{ scheme: "http" }] } });
  new HttpL7().applyChanges(older.changes);
  const newer = parse({
    ...STATE,
    invented: [1],
    knowledge: { version: 99 },
    changes: { ...new HttpL7().management.collectChanges(), invented: 1 },
  });
  const lb = new HttpL7();
  lb.applyChanges(newer.changes);
  lb.applyKnowledge(newer.knowledge);
  assertEquals(lb.backends(), []);
});

Deno.test("what is not a handover, or of another format, is refused with the reason", () => {
  for (
    const [state, reason] of [
      [7, "it is no JSON object"],
      [{ ...STATE, format: 2 }, "its form of passing on is 2, accepted is 1"],
      [{ ...STATE, balancer: undefined }, "it does not say what it balances"],
      [{ ...STATE, sockets: "7" }, "it does not say which sockets it passes on"],
      [{ ...STATE, sockets: [{ role: "listen", key: "a", fd: "7" }] }, "which sockets"],
      [{ ...STATE, sockets: [{ role: "spy", key: "a", fd: 7 }] }, "which sockets"],
    ] as const
  ) assertThrows(() => parse(state), Error, reason);
  assertThrows(() => parseHandover("{"), SyntaxError);
  assertThrows(() => parseChanges({ registries: 7 }), Error, "its changes are no list");
});

/** A connection in memory that is read from. */
function reading(...pieces: readonly string[]): HandoverChannel {
  const chunks = pieces.map((piece) => new TextEncoder().encode(piece));
  const conn = {
    read(buffer: Uint8Array) {
      const chunk = chunks.shift();
      if (chunk === undefined) return Promise.resolve(null);
      buffer.set(chunk);
      return Promise.resolve(chunk.length);
    },
  };
  return new HandoverChannel(conn as unknown as Deno.Conn);
}

Deno.test("lines come whole, however they are cut", async () => {
  const channel = reading("on", "e\ntw", "o", "\n\nthree\nfo");
  for (const line of ["one", "two", "", "three", undefined]) {
    assertEquals(await channel.readLine(), line);
  }
});

Deno.test("a line without end is not read for ever", async () => {
  const piece = "x".repeat(64 * 1024);
  const endless = {
    read(buffer: Uint8Array) {
      return Promise.resolve(new TextEncoder().encodeInto(piece, buffer).written);
    },
  };
  const channel = new HandoverChannel(endless as unknown as Deno.Conn);
  await assertRejects(() => channel.readLine(), Error, "it has said more than");
});

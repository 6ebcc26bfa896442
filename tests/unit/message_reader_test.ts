import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { frameMessages } from "../../lib/grpc/client.ts";
import { MessageReader } from "../../lib/grpc/message_reader.ts";

Deno.test("messages are read the same however their bytes come", () => {
  const message = fc.uint8Array({ maxLength: 40 });
  fc.assert(
    fc.property(fc.array(message), fc.array(fc.nat(30)), (messages, sizes) => {
      const bytes = frameMessages(messages);
      const reader = new MessageReader(40);
      const read: Uint8Array[] = [];
      let at = 0;
      for (const size of [...sizes, bytes.length]) {
        const end = Math.min(at + size, bytes.length);
        read.push(...reader.take(bytes, at, end)!);
        at = end;
      }
      assertEquals(read, messages);
    }),
    { seed: 4, numRuns: 300 },
  );
});

Deno.test("a message that is compressed or too long is refused by its prefix", () => {
  for (const prefix of [[1, 0, 0, 0, 0], [0, 0, 0, 0, 41], [0, 255, 255, 255, 255]]) {
    const reader = new MessageReader(40);
    const bytes = Uint8Array.from([0, 0, 0, 0, 1, 7, ...prefix]);
    assertEquals(reader.take(bytes, 0, bytes.length - 1), [Uint8Array.of(7)]);
    assertEquals(reader.take(bytes, bytes.length - 1, bytes.length), undefined);
  }
});

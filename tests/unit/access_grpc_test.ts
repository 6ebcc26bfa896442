import { assert, assertEquals, assertMatch } from "@std/assert";
import fc from "fast-check";
import { type AccessRecord, formatCombined, formatJson } from "../../lib/observe/access_format.ts";

const call: AccessRecord = {
  time: Date.UTC(2026, 10, 2, 8, 7, 9, 45),
  listener: "main",
  client: "192.0.2.7",
  method: "POST",
  target: "/shop.Orders/Find",
  protocol: "HTTP/2.0",
  status: 200,
  bytesIn: 12,
  bytesOut: 0,
  durationMs: 1.5,
  route: "r1",
  backend: "grpc://10.0.0.1:50051",
  attempts: 1,
  requestId: "",
  host: "shop.example",
  userAgent: "grpc-go/1.61.0",
  referer: "",
  error: "",
  grpc: { status: 5, message: "no order 7", messagesIn: 1, messagesOut: 0, timeout: "5S" },
};

function withGrpc(change: Partial<NonNullable<AccessRecord["grpc"]>>): AccessRecord {
  return { ...call, grpc: { ...call.grpc!, ...change } };
}

Deno.test("a call is logged with its service, method, status, message, timeout and messages", () => {
  const { grpc_service, grpc_method, grpc_status, grpc_message, grpc_timeout, ...rest } = JSON
    .parse(
      formatJson(call),
    );
  assertEquals([grpc_service, grpc_method], ["shop.Orders", "Find"]);
  assertEquals([grpc_status, grpc_message, grpc_timeout], [5, "no order 7", "5S"]);
  assertEquals([rest.messages_in, rest.messages_out, rest.bytes_in, rest.error], [1, 0, 12, ""]);
});

Deno.test("in the combined format the same stands behind what every line has", () => {
  assertEquals(
    formatCombined(call),
    '192.0.2.7 - - [02/Nov/2026:08:07:09 +0000] "POST /shop.Orders/Find HTTP/2.0" 200 - "-" ' +
      '"grpc-go/1.61.0" grpc_status=5 grpc_message="no order 7" grpc_timeout=5S messages_in=1 ' +
      "messages_out=0 bytes_in=12",
  );
  assertMatch(
    formatCombined(withGrpc({ status: 0, message: "", timeout: "" })),
    / grpc_status=0 grpc_message="-" grpc_timeout=- messages_in=1 messages_out=0 bytes_in=12$/,
  );
});

Deno.test("an answer without a status has none in the log either", () => {
  const record = withGrpc({ status: -1 });
  assertEquals(JSON.parse(formatJson(record)).grpc_status, null);
  assertMatch(formatCombined(record), / grpc_status=- /);
});

Deno.test("other exchanges have none of it", () => {
  const { grpc: _, ...other } = call;
  assert(!formatJson(other).includes("grpc_") && !formatJson(other).includes("messages_"));
  assertMatch(formatCombined(other), /"grpc-go\/1\.61\.0"$/);
});

Deno.test("a target that is no method, and a query, make no service", () => {
  const names = (target: string) => {
    const { grpc_service, grpc_method } = JSON.parse(formatJson({ ...call, target }));
    return [grpc_service, grpc_method];
  };
  assertEquals(names("/a.B/C?x=/y"), ["a.B", "C"]);
  assertEquals([names("/a"), names(""), names("/a/b/c")], [["", ""], ["", ""], ["", ""]]);
});

Deno.test("a long message is cut off, and never within a character", () => {
  const text = `${"x".repeat(255)}𝄞${"y".repeat(5000)}`;
  const { grpc_message } = JSON.parse(formatJson(withGrpc({ message: text })));
  assertEquals(grpc_message, `${"x".repeat(255)}…`);
  assert(formatCombined(withGrpc({ message: text })).length < 600);
});

Deno.test("no message and no timeout can forge a line in either format", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const record = withGrpc({ message: text, timeout: text });
      const json = formatJson(record);
      // deno-lint-ignore no-control-regex -- control characters are what must not be there
      assert(!/[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(json));
      assertEquals(JSON.parse(json).grpc_timeout, text);
      assertMatch(formatCombined(record), /^[\x20-\x7e]*$/);
      assertEquals(formatCombined(record).split('" grpc_status=').length, 2);
    }),
    { seed: 20261123 },
  );
});

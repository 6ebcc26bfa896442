import { assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { decodeMessage, encodeMessage } from "../../lib/grpc/respond.ts";
import { GrpcStatus, statusOf, statusOfHttp, statusOfReset } from "../../lib/grpc/status.ts";
import { STATUS_LABELS } from "../../lib/observe/grpc_metrics.ts";

Deno.test("each status code has the label that statuscodes.md gives it", () => {
  for (const [name, code] of Object.entries(GrpcStatus)) {
    const label = name.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
    assertEquals(STATUS_LABELS[code], label);
  }
});

Deno.test("a status of HTTP stands for that of http-grpc-status-mapping.md", () => {
  const { Internal, Unauthenticated, PermissionDenied, Unimplemented, Unavailable, Unknown } =
    GrpcStatus;
  const table: [http: number, status: number][] = [
    [400, Internal],
    [401, Unauthenticated],
    [403, PermissionDenied],
    [404, Unimplemented],
    [429, Unavailable],
    [502, Unavailable],
    [503, Unavailable],
    [504, Unavailable],
    [200, Unknown],
    [302, Unknown],
    [418, Unknown],
    [500, Unknown],
  ];
  for (const [http, status] of table) assertEquals(statusOfHttp(http), status, String(http));
});

Deno.test("a reset stands for the status of PROTOCOL-HTTP2.md", () => {
  const { Unavailable, Cancelled, ResourceExhausted, PermissionDenied, Internal } = GrpcStatus;
  const others = new Map<number, number>([
    [H2Code.RefusedStream, Unavailable],
    [H2Code.Cancel, Cancelled],
    [H2Code.EnhanceYourCalm, ResourceExhausted],
    [H2Code.InadequateSecurity, PermissionDenied],
  ]);
  for (const code of [...Object.values(H2Code), 0xff]) {
    assertEquals(statusOfReset(code), others.get(code) ?? Internal, String(code));
  }
});

Deno.test("a deadline that has passed and one that cannot be read have statuses of their own", () => {
  assertEquals(statusOf("deadline_exceeded"), GrpcStatus.DeadlineExceeded);
  assertEquals(statusOf("bad_timeout"), GrpcStatus.Internal);
});

Deno.test("messages come back as they were, and malformed ones are taken as far as they go", () => {
  for (const text of ["", "plain", "100 %", "☺ ok\n", "ü€𝄞"]) {
    assertEquals(decodeMessage(encodeMessage(text)), text);
  }
  assertEquals(decodeMessage("%E2%98%BA%zz %4 %"), "☺%zz %4 %");
  assertEquals(decodeMessage("a%ffb%E2%98"), "a\ufffdb\ufffd");
});

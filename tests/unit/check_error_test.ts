import { assertEquals } from "@std/assert";
import { describeCheck, MAX_TEXT } from "../../lib/grpc/check_error.ts";
import { GrpcCallError } from "../../lib/grpc/client.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import { answerWhenEnded, OK } from "../support/h2_peer.ts";
import { GrpcL7Scene } from "../support/grpc_l7.ts";
import { makeGrpcProbe } from "../../lib/grpc/health_probe.ts";

const NOT_FOUND = new GrpcCallError(GrpcStatus.NotFound, "unknown%20service", { given: true });

Deno.test("a status of the health service is told with its name and the service asked for", () => {
  assertEquals(
    describeCheck(NOT_FOUND, "myapp.Users"),
    "grpc-status 5 (NOT_FOUND) for myapp.Users: unknown service",
  );
  assertEquals(
    describeCheck(NOT_FOUND, undefined),
    "grpc-status 5 (NOT_FOUND) for the server as a whole: unknown service",
  );
  const odd = new GrpcCallError(99, "x".repeat(1000), { given: true });
  assertEquals(
    describeCheck(odd, "a.B"),
    `grpc-status 99 (unknown) for a.B: ${"x".repeat(MAX_TEXT)}`,
  );
});

Deno.test("what the backend has not said is told as it is", () => {
  const late = new GrpcCallError(GrpcStatus.DeadlineExceeded, "no answer within 300 ms");
  assertEquals(describeCheck(late, "a.B"), "no answer within 300 ms");
  assertEquals(describeCheck(new TypeError("odd"), "a.B"), "TypeError: odd");
});

Deno.test("a check over gRPC fails with that reason", async () => {
  await using scene = await GrpcL7Scene.open({
    onCall: (call) => call.end([...OK, ["grpc-status", "5"], ["grpc-message", "unknown service"]]),
  });
  const [backend] = scene.registry.backends;
  const probe = makeGrpcProbe("myapp.Users", scene.time.clock);
  const { signal } = new AbortController();
  const failed = await probe(backend!, { timeout: 1000, signal }).then(() => undefined, String);
  assertEquals(
    failed,
    "CheckFailure: grpc-status 5 (NOT_FOUND) for myapp.Users: unknown service",
  );
  scene.backend().onCall = answerWhenEnded;
});

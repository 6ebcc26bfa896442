import { assertEquals, assertStringIncludes } from "@std/assert";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import { Balancer, type Listening, runClient, startBackend } from "../support/grpc_programs.ts";
import { testWithTools } from "../support/tools.ts";

const TOOLS = ["grpcurl", "grpc_backend"] as const;

const UNARY = "grpc.testing.TestService/UnaryCall";

/** Questions and calls: what comes before the address, and what after it. */
const CASES: Readonly<Record<string, readonly [before: string[], after: string[]]>> = {
  "list of a service's methods": [[], ["list", "grpc.testing.TestService"]],
  "describe of a service": [[], ["describe", "grpc.testing.TestService"]],
  "describe of a method": [[], ["describe", "grpc.testing.TestService.FullDuplexCall"]],
  "describe of a message": [[], ["describe", "grpc.testing.SimpleRequest"]],
  "describe of an enum": [[], ["describe", "grpc.testing.PayloadType"]],
  "describe with a template": [["-msg-template"], ["describe", "grpc.testing.SimpleResponse"]],
  "describe of what the balancer has too": [[], ["describe", "grpc.health.v1.Health"]],
  "describe of what nobody has": [[], ["describe", "grpc.testing.Nothing"]],
  "a unary call": [["-d", '{"payload":{"body":"AAEC/w=="}}'], [UNARY]],
  "a unary call with defaults": [["-emit-defaults"], [UNARY]],
  "metadata both ways": [
    [
      ...["-v", "-H", "x-grpc-test-echo-initial: as it was sent"],
      ...["-H", "x-grpc-test-echo-trailing-bin: AAECAw=="],
    ],
    [UNARY],
  ],
  "an error with details": [
    ["-d", '{"response_status":{"code":5,"message":"no \\t☺ 100%"}}'],
    [UNARY],
  ],
  "an error with details as JSON": [
    [
      ...["-format", "json", "-format-error", "-d"],
      '{"response_status":{"code":9,"message":"\\nno ☺ 100%"}}',
    ],
    [UNARY],
  ],
  "a server stream": [
    ["-d", '{"response_parameters":[{"size":3},{"size":0},{"size":40000}]}'],
    ["grpc.testing.TestService/StreamingOutputCall"],
  ],
  "a client stream": [
    ["-d", '{"payload":{"body":"AAAA"}} {"payload":{"body":"AAAAAAAA"}}'],
    ["grpc.testing.TestService/StreamingInputCall"],
  ],
  "streams both ways": [
    ["-H", "echo: 1", "-d", '{"payload":{"body":"AA=="}} {"payload":{"body":"/w=="}}'],
    ["grpc.testing.TestService/FullDuplexCall"],
  ],
  "a stream that ends with an error": [
    [
      "-d",
      '{"response_parameters":[{"size":1}]} {"response_status":{"code":10,"message":"aborted"}}',
    ],
    ["grpc.testing.TestService/FullDuplexCall"],
  ],
  "a method without implementation": [[], ["grpc.testing.TestService/UnimplementedCall"]],
  "a method that is not there": [[], ["grpc.testing.TestService/Nothing"]],
  "a service that is not there": [[], ["grpc.testing.Nothing/Call"]],
  "the health of the whole": [[], ["grpc.health.v1.Health/Check"]],
};

/** Runs grpcurl; `Ended` has all that it printed and how it ended. */
function run(grpcurl: string, addr: string, before: readonly string[], after: readonly string[]) {
  return runClient(grpcurl, ["-plaintext", "-max-time", "20", ...before, addr, ...after]);
}

for (const kind of ["grpc-l7", "grpc-l4"] as const) {
  testWithTools(TOOLS, `grpcurl prints the same through ${kind} as directly`, async (tools, t) => {
    const { grpcurl, grpc_backend } = tools;
    await using one = await startBackend(grpc_backend);
    await using two = await startBackend(grpc_backend);
    const backends: Listening[] = [one, two];
    await using balancer = await Balancer.start(kind, backends, ["--no-management"]);
    for (const [name, [before, after]] of Object.entries(CASES)) {
      await t.step(name, async () => {
        const direct = await run(grpcurl, one.addr, before, after);
        assertEquals(await run(grpcurl, balancer.addr, before, after), direct);
      });
    }
    for (const verb of ["list", "describe"]) {
      await t.step(`${verb} of all services`, async () => {
        const direct = await run(grpcurl, one.addr, [], [verb]);
        assertEquals(await run(grpcurl, balancer.addr, [], [verb]), direct);
      });
    }
    // The balancer answers for all backends in words of its own, with the same status.
    await t.step("the health of what nobody has", async () => {
      for (const { addr } of [one, balancer]) {
        const question = ["-d", '{"service":"nothing"}'];
        const { code, stdout } = await run(grpcurl, addr, question, [
          "grpc.health.v1.Health/Check",
        ]);
        assertEquals([code, stdout], [64 + GrpcStatus.NotFound, ""]);
      }
    });
    await t.step("list has lb.LoadBalancer besides where it is answered", async () => {
      await using managed = await Balancer.start(kind, backends);
      const { code, stdout } = await run(grpcurl, managed.addr, [], ["list"]);
      const direct = await run(grpcurl, one.addr, [], ["list"]);
      assertEquals(code, 0);
      assertEquals(stdout.replace("lb.LoadBalancer\n", ""), direct.stdout);
      assertStringIncludes(stdout, "lb.LoadBalancer\n");
      await managed.stop();
    });
    await balancer.stop();
  });
}

/**
 * What gRPC wants of a proxy between a client and a backend that both may misbehave: PROTOCOL-HTTP2.md, the
 * negative HTTP/2 tests of the interop suite, and what other proxies have got wrong. Both ends send and see
 * frames; each case runs against every listener.
 *
 * @module
 */
import { GRPC_LISTENERS } from "../support/grpc_listeners.ts";
import { type GrpcCase, Stage } from "./grpc_cases/case.ts";
import { CANCEL_CASES } from "./grpc_cases/cancels.ts";
import { DUTY_CASES } from "./grpc_cases/duties.ts";
import { END_CASES } from "./grpc_cases/ends.ts";
import { HTTP_ANSWER_CASES } from "./grpc_cases/http_answers.ts";
import { KEEPALIVE_CASES } from "./grpc_cases/keepalive.ts";
import { LAYER_4_CASES } from "./grpc_cases/layer4.ts";
import { NEGATIVE_CASES } from "./grpc_cases/negative.ts";
import { OWN_ERROR_CASES } from "./grpc_cases/own_errors.ts";
import { RESET_CASES } from "./grpc_cases/resets.ts";
import { RETRY_CASES } from "./grpc_cases/retries.ts";
import { STALL_CASES } from "./grpc_cases/stalls.ts";

const CASES: readonly GrpcCase[] = [
  ...OWN_ERROR_CASES,
  ...RETRY_CASES,
  ...RESET_CASES,
  ...CANCEL_CASES,
  ...END_CASES,
  ...KEEPALIVE_CASES,
  ...STALL_CASES,
  ...NEGATIVE_CASES,
  ...DUTY_CASES,
  ...HTTP_ANSWER_CASES,
  ...LAYER_4_CASES,
];

for (const kind of GRPC_LISTENERS) {
  Deno.test(`${kind.name}: each gRPC case comes to what was promised`, async (t) => {
    for (const { id, why, only, not, run } of CASES) {
      await t.step({
        name: `${id}: ${why}`,
        ignore: (only !== undefined && only !== kind.layer) || not === kind.name,
        fn: async () => {
          await using stage = new Stage(kind);
          await run(stage);
        },
      });
    }
  });
}
